/**
 * Inputs and results on their way: in messages, or beside them.
 *
 * @module
 */

import type { Redis } from "ioredis";
import { randomUUID, toBase64, toBuffer } from "../runtime/host.ts";
import { type Aside, type Bytes, MANY_BYTES } from "./messages.ts";
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

/** So many bytes pass at a time: what is urgent, such as a sign of life, waits for no more than these. */
const PIECE_BYTES = 2 ** 22;

/**
 * Keeps the bytes of one pool that are too many for a message.
 *
 * They lie under the name of their job. Should it run twice, there are two results; the one that comes
 * when it is settled, such as of a daemon that was paused, the client sweeps away.
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
    const k = `${part}:${job}:${randomUUID().slice(0, 8)}`;
    const n = Math.ceil(bytes.length / PIECE_BYTES);
    for (let at = 0; at < n; at++) {
      const piece = bytes.subarray(at * PIECE_BYTES, (at + 1) * PIECE_BYTES);
      // Not as one transaction: such a one the client does not send again when the connection breaks.
      await Promise.all([
        this.#redis.hset(this.#key, `${k}:${at}`, toBuffer(piece)),
        this.#redis.pexpire(this.#key, this.#keep),
      ]);
    }
    return { k, n };
  }

  /**
   * The bytes that lie beside a message.
   *
   * @throws {Gone} If they do not.
   */
  async fetch(message: Aside): Promise<Uint8Array<ArrayBuffer>> {
    const pieces: Uint8Array[] = [];
    for (const field of fieldsOf(message)) {
      const piece = await this.#redis.hgetBuffer(this.#key, field);
      if (piece === null) throw new Gone(`The bytes ${field} are gone: Redis has lost them`);
      pieces.push(piece);
    }
    const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** Forgets what lies beside a message that nobody will read again. */
  drop(message: Bytes): void {
    if ("k" in message) this.#redis.hdel(this.#key, ...fieldsOf(message)).catch(() => {});
  }

  /** Forgets what lies beside the messages of jobs that are settled. */
  async sweep(isSettled: (job: string) => boolean): Promise<void> {
    const fields = await this.#redis.hkeys(this.#key);
    const left = fields.filter((field) => isSettled(field.split(":")[1]!));
    if (left.length > 0) await this.#redis.hdel(this.#key, ...left);
  }
}

function fieldsOf({ k, n }: Aside): string[] {
  return Array.from({ length: n }, (_, at) => `${k}:${at}`);
}
