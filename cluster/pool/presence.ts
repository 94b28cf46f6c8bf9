/**
 * A pool's sign of life, and what it sees of the daemons.
 *
 * The pool's lease lapses when its client has died, is cut off, or blocks its event loop for too long.
 * Daemons then remove all that the pool has in Redis; its id never comes back. A client that does finds
 * that out at its next beat: it goes on under another id, and what was lost is sent again.
 *
 * @module
 */

import type { Queue } from "bullmq";
import { randomUUID } from "../runtime/host.ts";
import { clearInterval, pause, setInterval } from "../runtime/timers.ts";
import { keepFor } from "../wire/bytes.ts";
import { type NodeRecord, type PoolRecord, readNode } from "../wire/messages.ts";
import type { Names } from "../wire/names.ts";
import { isRefusal } from "../wire/server.ts";
import type { Link } from "./link.ts";

/** A daemon that has said nothing for so long, in ms, is gone. */
export const SILENT_MS = 10_000;

/** Redis has so many milliseconds to hear that a pool ends. */
const GOODBYE_MS = 5_000;

/** A pool says that it lives, and looks for daemons, at least so often, in ms. */
const BEAT_MS = 2_000;

/** However short its lease or its patience is, it does so no more often, in ms. */
const MIN_BEAT_MS = 100;

/**
 * Says that a pool lives, and announces one that is new. Answers {0} if it was given up, or Redis has
 * forgotten it; else {1, Redis's time in seconds, the daemons' records}.
 */
const BEAT = `
local known = redis.call("HGET", KEYS[1], ARGV[1])
if known ~= ARGV[2] then
  if known or ARGV[3] == "0" then return {0} end
  redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
  redis.call("PUBLISH", ARGV[6], ARGV[1])
end
redis.call("SET", KEYS[2], "alive", "PX", ARGV[4])
redis.call("PEXPIRE", KEYS[3], ARGV[5])
return {1, redis.call("TIME")[1], redis.call("HVALS", KEYS[4])}`;

/** What a {@linkcode Presence} is made of. */
export interface PresenceOptions {
  names: Names;
  /** The pool, under the id that it has now. */
  record(): PoolRecord;
  /** So long may Redis not answer, in ms. */
  patience: number;
  /** Called at each beat, with the daemons that there are. */
  onBeat(link: Link, daemons: NodeRecord[]): Promise<void> | void;
  /** Called when the pool was given up, or Redis has forgotten it: it must have another id now. */
  onLoss(link: Link): void;
  /** Resolves when nothing is written any more of what is being written now. */
  quiet(): Promise<void>;
  /** Called when Redis has not answered for `patience` ms. */
  onSilence(): void;
  /** Called when Redis does not let it be announced. */
  onRefusal(error: unknown): void;
}

/** Keeps a pool announced. */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #interval: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastLook = 0;
  /** Whether Redis was asked something that it has not answered yet. */
  #unanswered = false;
  /** For so long it has not, in ms. */
  #silence = 0;
  #beating: Promise<void> | undefined;
  /** Whether nobody knows of the pool's id yet. */
  #isNew = true;
  #begun = false;
  /** The queues of ids that it had before, under which something may have been written too late. */
  readonly #former = new Map<string, Queue>();
  #tidying: Promise<void> | undefined;
  #ended = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    // Several beats go by before the lease is over, or Redis is held to be silent.
    const wanted = Math.min(options.record().lease, options.patience) / 3;
    this.#interval = Math.max(MIN_BEAT_MS, Math.min(wanted, BEAT_MS));
  }

  /** Announces the pool, and keeps it so. */
  begin(link: Link): void {
    if (this.#ended) return;
    this.#timer = setInterval(() => this.#look(link), this.#interval);
    this.#timer.unref();
    this.#look(link);
  }

  #look(link: Link): void {
    const now = performance.now();
    // While this program was paused, or blocked, it did not hear what Redis answered: one look is no proof.
    if (this.#unanswered) this.#silence += Math.min(now - this.#lastLook, this.#interval);
    this.#unanswered = true;
    this.#lastLook = now;
    if (this.#silence > this.#options.patience) {
      this.#silence = 0;
      this.#options.onSilence();
    }
    link.revive();
    this.#beating ??= this.#beat(link)
      .catch((error) => {
        if (!this.#begun && isRefusal(error)) this.#options.onRefusal(error);
        // Else the next one will do.
      })
      .finally(() => this.#beating = undefined);
  }

  async #beat(link: Link): Promise<void> {
    const { names, record, onLoss, onBeat } = this.#options;
    const pool = record();
    const keys = [names.pools, names.lease(pool.id), names.bytes(pool.id), names.nodes];
    const args = [pool.id, JSON.stringify(pool), this.#isNew ? 1 : 0, pool.lease];
    const [alive, seconds, nodes] = await link.redis
      .eval(BEAT, keys.length, ...keys, ...args, keepFor(pool.lease), names.wake) as
        | [1, string, string[]]
        | [0, undefined, undefined];
    this.#unanswered = false;
    this.#silence = 0;
    if (this.#ended) return;
    if (alive === 0) {
      this.#former.set(pool.id, link.queue);
      onLoss(link);
      this.#isNew = true;
      return await this.#beat(link);
    }
    this.#isNew = false;
    const now = Number(seconds) * 1_000;
    const daemons = nodes.flatMap((text) => readNode(text) ?? [])
      .filter(({ at }) => at > now - SILENT_MS);
    await onBeat(link, daemons);
    this.#begun = true;
    this.#tidying ??= this.#tidy(link)
      .catch(() => {}) // A daemon does the same just now: after the next beat, then.
      .finally(() => this.#tidying = undefined);
  }

  /** Removes what is left of former ids. */
  async #tidy({ redis }: Link): Promise<void> {
    if (this.#former.size > 0) await this.#options.quiet();
    for (const [id, queue] of this.#former) {
      await queue.obliterate({ force: true });
      await redis.unlink(...this.#keys(id));
      this.#former.delete(id);
      await queue.close();
    }
  }

  #keys(id: string): string[] {
    const { names } = this.#options;
    return [names.lease(id), names.functions(id), names.bytes(id)];
  }

  /** Ends it: the pool is gone. Where Redis is out of reach, its lease will be over some time. */
  async end(link: Link): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    if (link.redis.status === "ready") await Promise.race([this.#remove(link), pause(GOODBYE_MS)]);
  }

  async #remove(link: Link): Promise<void> {
    const { redis, queue } = link;
    await this.#beating?.catch(() => {});
    const { names } = this.#options;
    const pool = this.#options.record();
    // Until nothing is left: should this be cut off, the daemons see to the rest once the lease is over.
    const ended: PoolRecord = { ...pool, ended: true };
    await redis.multi()
      .hset(names.pools, pool.id, JSON.stringify(ended))
      .publish(names.wake, pool.id)
      .exec();
    await queue.obliterate({ force: true });
    // At once: a daemon must not find a pool without a lease.
    await redis.multi().unlink(...this.#keys(pool.id)).hdel(names.pools, pool.id).exec();
    await this.#tidying;
    await this.#tidy(link).catch(() => {});
  }
}

/** A new pool's id. */
export function newPoolId(): string {
  return randomUUID().slice(0, 13);
}
