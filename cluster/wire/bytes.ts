/**
 * Inputs and results on their way: in messages, or beside them.
 *
 * @module
 */

import type { Redis } from "ioredis";
import { toBase64, toBuffer } from "../runtime/host.ts";
import { type Bytes, MANY_BYTES } from "./messages.ts";
import type { Names } from "./names.ts";

/** How long bytes are kept of whose pool nothing is heard, in ms. */
export function keepFor(lease: number): number {
  return 6 * lease;
}

/** Redis does not have what a job needs, or what it came to: its pool was taken for dead meanwhile. */
export class Gone extends Error {
  override name = "Gone";
}

/** Which bytes of a job. */
export type Part = "in" | "out";

/**
 * Keeps the bytes of one pool that are too many for a message.
 *
 * They lie under the name of their job: should it run twice, its second result replaces the first. One
 * that comes when the job is settled, such as of a daemon that was paused, the client sweeps away.
 */
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

  /** Makes bytes of a job ready for a message. */
  async send(job: string, part: Part, bytes: Uint8Array): Promise<Bytes> {
    if (bytes.length < MANY_BYTES) return { b: toBase64(bytes) };
    const k = `${part}:${job}`;
    // Not as one transaction: such a one the client does not send again when the connection breaks.
    await Promise.all([
      this.#redis.hset(this.#key, k, toBuffer(bytes)),
      this.#redis.pexpire(this.#key, this.#keep),
    ]);
    return { k };
  }

  /**
   * The bytes that lie beside a message.
   *
   * @throws {Gone} If they do not.
   */
  async fetch({ k }: { k: string }): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#redis.hgetBuffer(this.#key, k);
    if (bytes === null) throw new Gone(`The bytes ${k} are gone: Redis has lost them`);
    return new Uint8Array(bytes);
  }

  /** Forgets what lies beside a message that nobody will read again. */
  drop(message: Bytes): void {
    if ("k" in message) this.#redis.hdel(this.#key, message.k).catch(() => {});
  }

  /** Forgets what lies beside the messages of jobs that are settled. */
  async sweep(isSettled: (job: string) => boolean): Promise<void> {
    const fields = await this.#redis.hkeys(this.#key);
    const left = fields.filter((field) => isSettled(field.slice(field.indexOf(":") + 1)));
    if (left.length > 0) await this.#redis.hdel(this.#key, ...left);
  }
}
