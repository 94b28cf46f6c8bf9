/**
 * A pool's sign of life, and what it sees of the daemons.
 *
 * The pool's lease lapses when its client has died, is cut off, or blocks its event loop for too long.
 * Daemons then remove all that the pool has in Redis. A client that comes back finds that out at its
 * next beat: it announces itself anew, and what was lost is sent again.
 *
 * @module
 */

import { randomUUID } from "../runtime/host.ts";
import { clearInterval, pause, setInterval } from "../runtime/timers.ts";
import type { NodeRecord, PoolRecord } from "../wire/messages.ts";
import { keepFor } from "../wire/bytes.ts";
import type { Names } from "../wire/names.ts";
import type { Link } from "./link.ts";

/** A daemon that has said nothing for so long, in ms, is gone. */
export const SILENT_MS = 10_000;

/** Redis has so many milliseconds to hear that a pool ends. */
const GOODBYE_MS = 5_000;

/** What a {@linkcode Presence} is made of. */
export interface PresenceOptions {
  names: Names;
  record: PoolRecord;
  /** So long may Redis not answer, in ms. */
  patience: number;
  /** Writes down all functions, for daemons that come later. */
  tellAll(link: Link): Promise<void>;
  /** Called at each beat, with the daemons that there are. */
  onBeat(link: Link, daemons: NodeRecord[]): Promise<void> | void;
  /** Called when Redis has not answered for `patience` ms. */
  onSilence(): void;
}

/** Keeps a pool announced. */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #interval: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastLook = performance.now();
  #silence = 0;
  #beating: Promise<void> | undefined;
  #ended = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#interval = options.record.lease / 3;
  }

  /** Announces the pool, and keeps it so. Resolves when it is announced. */
  async begin(link: Link): Promise<void> {
    this.#timer = setInterval(() => this.#look(link), this.#interval);
    this.#timer.unref();
    this.#beating = this.#beat(link).finally(() => this.#beating = undefined);
    await this.#beating;
  }

  #look(link: Link): void {
    const now = performance.now();
    // While this program was paused, or blocked, Redis could not answer.
    this.#silence += Math.min(now - this.#lastLook, 2 * this.#interval);
    this.#lastLook = now;
    if (this.#silence > this.#options.patience) {
      this.#silence = 0;
      this.#options.onSilence();
    }
    this.#beating ??= this.#beat(link)
      .catch(() => {}) // The next one will do.
      .finally(() => this.#beating = undefined);
  }

  async #beat(link: Link): Promise<void> {
    const { names, record, tellAll, onBeat } = this.#options;
    const { redis, queue } = link;
    await tellAll(link);
    if (record.processes !== null) await queue.setGlobalConcurrency(record.processes);
    if (this.#ended) return;
    const answers = await redis.multi()
      .hset(names.pools, record.id, JSON.stringify(record))
      .set(names.lease(record.id), "alive", "PX", record.lease)
      .pexpire(names.bytes(record.id), keepFor(record.lease))
      .hgetall(names.nodes)
      .time()
      .exec();
    const [announced, , , nodes, time] = answers!.map(([, answer]) => answer) as [
      number,
      string,
      number,
      Record<string, string>,
      [seconds: string, microseconds: string],
    ];
    this.#silence = 0;
    if (announced === 1) await redis.publish(names.wake, record.id);
    const now = Number(time[0]) * 1_000;
    const daemons = Object.values(nodes).map((text) => JSON.parse(text) as NodeRecord)
      .filter(({ at }) => at > now - SILENT_MS);
    await onBeat(link, daemons);
  }

  /** Ends it: the pool is gone. Where Redis is out of reach, its lease will be over some time. */
  async end(link: Link): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    if (link.redis.status === "ready") await Promise.race([this.#remove(link), pause(GOODBYE_MS)]);
  }

  async #remove({ redis, queue }: Link): Promise<void> {
    await this.#beating?.catch(() => {});
    const { names, record } = this.#options;
    // Until nothing is left: should this be cut off, the daemons see to the rest once the lease is over.
    const ended: PoolRecord = { ...record, ended: true };
    await redis.multi()
      .hset(names.pools, record.id, JSON.stringify(ended))
      .publish(names.wake, record.id)
      .exec();
    await queue.obliterate({ force: true });
    await redis.multi()
      .unlink(names.lease(record.id), names.functions(record.id), names.bytes(record.id))
      .hdel(names.pools, record.id)
      .exec();
  }
}

/** A new pool's id. */
export function newPoolId(): string {
  return randomUUID().slice(0, 13);
}
