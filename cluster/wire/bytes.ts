/**
 * Inputs and results on their way: in messages, or beside them.
 *
 * @module
 */

import type { Redis } from "ioredis";
import { randomUUID, toBase64, toBuffer } from "../runtime/host.ts";
import { type Bytes, MANY_BYTES } from "./messages.ts";
import type { Names } from "./names.ts";

/** How long bytes are kept of whose pool nothing is heard, in ms. */
export function keepFor(lease: number): number {
  return 6 * lease;
}

/** Keeps the bytes of one pool that are too many for a message. */
export class Parcels {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #keep: number;

  /**
   * @param redis The connection.
   * @param names The cluster's keys.
   * @param pool Which pool, and how long its lease is.
   */
  constructor(redis: Redis, names: Names, pool: { id: string; lease: number }) {
    this.#redis = redis;
    this.#key = names.bytes(pool.id);
    this.#keep = keepFor(pool.lease);
  }

  /** Makes bytes ready for a message. */
  async send(bytes: Uint8Array): Promise<Bytes> {
    if (bytes.length < MANY_BYTES) return { b: toBase64(bytes) };
    const k = randomUUID();
    const answers = await this.#redis.multi()
      .hset(this.#key, k, toBuffer(bytes))
      .pexpire(this.#key, this.#keep)
      .exec();
    for (const [error] of answers!) if (error !== null) throw error;
    return { k };
  }

  /** The bytes that lie beside a message. */
  async fetch({ k }: { k: string }): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#redis.hgetBuffer(this.#key, k);
    if (bytes === null) throw new Error(`The bytes ${k} are gone: Redis has lost them`);
    return new Uint8Array(bytes);
  }

  /** Forgets what lies beside a message that nobody will read again. */
  drop(message: Bytes): void {
    if ("k" in message) this.#redis.hdel(this.#key, message.k).catch(() => {});
  }
}
