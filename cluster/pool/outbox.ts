/**
 * Jobs on their way into Redis.
 *
 * Only some are there at a time. The stream of events that BullMQ keeps is cut at about 10,000, with some
 * four a job: as long as fewer than {@linkcode WINDOW} jobs are unsettled, none is cut before it is read.
 *
 * @module
 */

import type { Job } from "@multiprocessing/core/backend";
import { pause } from "../runtime/timers.ts";
import type { Parcels } from "../wire/bytes.ts";
import type { JobData } from "../wire/messages.ts";
import { isDisconnection } from "../wire/server.ts";
import type { Link } from "./link.ts";

/** So many jobs are in Redis at most. */
export const WINDOW = 1_000;

/** So many bytes of inputs are in Redis at most, unless a single job has more. */
const WINDOW_BYTES = 2 ** 27;

/** After a connection broke it is tried again to send in so many milliseconds. */
const RETRY_MS = 50;

/** Jobs that are sent with one command, at most. */
const BATCH = 250;

/** A job on its way. */
export interface Sent {
  readonly id: string;
  readonly job: Job;
  /** Key of its function. */
  readonly fn: string;
  /** Its encoded input. */
  readonly bytes: Uint8Array;
  /** What is in Redis, once it is. */
  data: JobData | undefined;
  /** Whether it may not be there yet, because it is on its way. */
  sending: boolean;
  /** When it was sent, by performance.now(). */
  since: number;
  running: boolean;
  /** Where its result lies that is being fetched: it may be both told and read. */
  fetching: string | undefined;
  /** How often it was sent again because something of it was gone from Redis. */
  again: number;
}

/** What an {@linkcode Outbox} needs. */
export interface OutboxOptions {
  /** The connections, once the daemons know of the pool. */
  ready(): Promise<Link>;
  parcels(link: Link): Parcels;
  /** Called before each batch: tells the daemons of functions that they do not know. */
  prepare(link: Link): Promise<void>;
  /** Jobs that Redis does not take. */
  refuse(sent: Sent, error: unknown): void;
}

/** Keeps jobs until there is room in Redis, and sends them in batches. */
export class Outbox {
  /** Those that wait here, in order. */
  readonly backlog: Set<Sent> = new Set();
  /** Those that are in Redis and not settled, by id. */
  readonly sent: Map<string, Sent> = new Map();
  readonly #options: OutboxOptions;
  readonly #underWay = new Set<Promise<void>>();
  #bytes = 0;
  #sending = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Unsettled jobs. */
  get size(): number {
    return this.backlog.size + this.sent.size;
  }

  /** When a job was sent whose result is told; Infinity if there is none. Of several, not each is told. */
  get since(): number {
    if (this.sent.size > 1) return 0;
    return this.sent.values().next().value?.since ?? Infinity;
  }

  /** Takes a job. */
  add(sent: Sent): void {
    this.backlog.add(sent);
    // Those that are submitted in one go are sent in one go.
    if (this.backlog.size === 1) queueMicrotask(() => this.pump());
  }

  /** Takes a job out, wherever it is. Returns false if it is not here any more. */
  delete(sent: Sent): boolean {
    if (this.backlog.delete(sent)) return true;
    if (!this.sent.delete(sent.id)) return false;
    this.#bytes -= sent.bytes.length;
    return true;
  }

  /** All that was sent waits here again, in its order: where it was sent, nobody takes it any more. */
  takeBack(): void {
    const all = [...this.sent.values(), ...this.backlog];
    this.sent.clear();
    this.backlog.clear();
    this.#bytes = 0;
    for (const sent of all) {
      sent.data = undefined;
      this.backlog.add(sent);
    }
  }

  /** Sends what there is room for; not single ones while many wait. */
  pump(): void {
    if (this.#sending || this.backlog.size === 0) return;
    if (this.#room() < Math.min(BATCH, this.backlog.size)) return;
    this.#sending = true;
    this.#sendSome().finally(() => {
      this.#sending = false;
      this.pump();
    });
  }

  #room(): number {
    return this.#bytes >= WINDOW_BYTES ? 0 : WINDOW - this.sent.size;
  }

  async #sendSome(): Promise<void> {
    const { ready, prepare, refuse } = this.#options;
    const batch: Sent[] = [];
    try {
      const link = await ready();
      for (const sent of this.backlog) {
        if (batch.length >= BATCH || this.#room() <= 0) break;
        this.backlog.delete(sent);
        this.sent.set(sent.id, sent);
        sent.since = performance.now();
        this.#bytes += sent.bytes.length;
        batch.push(sent);
      }
      await prepare(link);
      await this.send(link, batch);
    } catch (error) {
      for (const sent of batch) refuse(sent, error);
    }
  }

  /**
   * Sends jobs, also again: a job that Redis has stays as it is. So where the connection breaks, and
   * nobody knows which are there, all are sent once more.
   */
  async send(link: Link, batch: Sent[]): Promise<void> {
    for (const sent of batch) sent.sending = true;
    const sending = this.#sendAll(link, batch);
    this.#underWay.add(sending);
    try {
      await sending;
    } finally {
      this.#underWay.delete(sending);
      for (const sent of batch) sent.sending = false;
    }
  }

  /** Resolves when what is being sent now is sent, or will not be. */
  async quiet(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #sendAll(link: Link, batch: Sent[]): Promise<void> {
    while (!await this.#trySend(link, batch)) await pause(RETRY_MS);
  }

  async #trySend(link: Link, batch: Sent[]): Promise<boolean> {
    try {
      await this.#send(link, batch);
      return true;
    } catch (error) {
      if (isDisconnection(error)) return false;
      throw error;
    }
  }

  async #send(link: Link, batch: Sent[]): Promise<void> {
    for (const sent of batch) {
      if (sent.data !== undefined || !this.sent.has(sent.id)) continue;
      const data = await this.#dataOf(link, sent);
      if (this.sent.has(sent.id)) sent.data = data;
    }
    // Some may have been cancelled meanwhile, or taken back.
    const jobs = batch.filter(({ id }) => this.sent.has(id)).map(({ id, data }) => ({
      name: "job",
      data: data!,
      opts: { attempts: 1, removeOnComplete: KEPT, removeOnFail: KEPT, jobId: id },
    }));
    const [first] = jobs;
    if (first === undefined) return;
    // One takes less than a bulk of one.
    if (jobs.length === 1) await link.queue.add(first.name, first.data, first.opts);
    else await link.queue.addBulk(jobs);
    link.heed();
  }

  async #dataOf(link: Link, { id, job, fn, bytes }: Sent): Promise<JobData> {
    const input = await this.#options.parcels(link).send(id, "in", bytes);
    const { watch } = job;
    const { timeout = Infinity, grace = Infinity } = watch ?? {};
    return {
      f: fn,
      m: job.mode ?? "call",
      i: input,
      ...watch !== undefined && { c: true },
      ...timeout < Infinity && { t: timeout },
      ...grace < Infinity && { g: grace },
    };
  }
}

/** So many that have ended BullMQ keeps: one whose event was not heard is found among them. */
const KEPT = { count: 2 * WINDOW };
