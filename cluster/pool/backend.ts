/**
 * The client's half of a pool that runs on a cluster.
 *
 * ```text
 * submit → backlog → (some at a time) BullMQ's queue → daemons → completed → settled
 *                                  ▲                      │
 *                                  └──── begun anew ◄─────┘ its daemon is lost
 * ```
 *
 * | a job     | is                           | ends by                                                     |
 * | --------- | ---------------------------- | ----------------------------------------------------------- |
 * | waits     | in the backlog               | sent; cancelled                                             |
 * | is sent   | in the table, and in Redis   | its result; lost more often than is allowed; cancelled      |
 * | settled   | nowhere here                 | Redis may have it, and a daemon run it: nobody hears of it  |
 *
 * How a job is settled, and that each is, is the business of results.ts. Where no daemon is, jobs fail
 * after `waitForWorkers`.
 *
 * **Another life.** A pool that the daemons have given up, because its program was silent for too long,
 * goes on as a new one: with an id, a queue and keys that nothing late can be meant for.
 *
 * @module
 */

import {
  type Backend,
  type BackendOptions,
  encodeValue,
  type FullJob,
  isCall,
  type Job,
  type PoolStats,
  WAITS,
} from "@multiprocessing/core/backend";
import { ClosedError, TimeoutError } from "@multiprocessing/core/errors";
import { NoWorkersError } from "../errors.ts";
import { availableParallelism, toBase64 } from "../runtime/host.ts";
import { Parcels } from "../wire/bytes.ts";
import type { NodeRecord, PoolRecord } from "../wire/messages.ts";
import { Names } from "../wire/names.ts";
import { refuse } from "../wire/refusal.ts";
import { Functions } from "./functions.ts";
import { Link, type Place } from "./link.ts";
import type { Settled } from "./options.ts";
import { Outbox, type Sent } from "./outbox.ts";
import { newPoolId, Presence } from "./presence.ts";
import { Recalls } from "./recalls.ts";
import { Results } from "./results.ts";

/** Runs a pool's jobs on a cluster. */
export class ClusterBackend implements Backend {
  readonly ended: Promise<void>;
  readonly #options: BackendOptions;
  readonly #settled: Settled;
  readonly #names: Names;
  readonly #functions: Functions;
  readonly #presence: Presence;
  readonly #outbox: Outbox;
  readonly #results: Results;
  readonly #watched = new WeakMap<object, Sent>();
  readonly #link: Promise<Link>;
  readonly #end: () => void;
  /** As it is announced; its id is another after it was given up. */
  #record: PoolRecord;
  /** Once the daemons know of the pool. */
  #ready = Promise.withResolvers<Link>();
  #isReady = false;
  readonly #recalls: Recalls;
  #parcels: Parcels | undefined;
  #state: "open" | "closed" | "ending" = "open";
  #broken: { reason: unknown } | undefined;
  #count = 0;
  #slots = 0;
  #lonelySince: number | undefined;

  /** @throws {TargetError | EncodingError} If the initializer or its arguments cannot be sent. */
  constructor(settled: Settled, options: BackendOptions) {
    this.#options = options;
    this.#settled = settled;
    this.#names = new Names(settled.name);
    const id = newPoolId();
    this.#functions = new Functions(settled.root, this.#names.functions(id));
    this.#record = this.#describe(id);
    this.#presence = new Presence({
      names: this.#names,
      record: () => this.#record,
      patience: settled.patience,
      onBeat: (link, daemons) => this.#onBeat(link, daemons),
      onLoss: (link) => this.#beginAnew(link),
      quiet: () => this.#outbox.quiet(),
      onSilence: () => this.#failAll(this.#unreachable()),
      onRefusal: (error) => this.#break(error),
    });
    this.#outbox = new Outbox({
      ready: () => this.#ready.promise,
      parcels: (link) => this.#parcels ??= new Parcels(link.redis, this.#names, this.#record),
      prepare: ({ redis }) => this.#functions.tell(redis),
      refuse: (sent, error) => this.#results.reject(sent, error),
    });
    this.#results = new Results({
      name: options.name,
      lossRetries: settled.lossRetries,
      outbox: this.#outbox,
      functions: this.#functions,
      link: () => this.#link,
      parcels: () => this.#parcels,
      onSettled: () => this.#goOn(),
    });
    this.#link = Link.open(settled.server, this.#place(id), this.#names.bull, {
      ...this.#results.hears(),
      refused: (error) => this.#break(error),
      since: () => this.#outbox.since,
    });
    this.#recalls = new Recalls(this.#link, () => this.#names.cancel(this.#record.id));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
    void this.#open();
  }

  #place(id: string): Place {
    return { queue: this.#names.queue(id), results: this.#names.results(id) };
  }

  #describe(id: string): PoolRecord {
    const { processes, maxTasksPerChild, name, initializer, initargs } = this.#options;
    const { lossRetries, lease } = this.#settled;
    return {
      id,
      name,
      processes: processes ?? null,
      maxTasks: maxTasksPerChild ?? null,
      lossRetries,
      lease,
      initializer: initializer === undefined ? null : {
        fn: this.#functions.define(initializer),
        args: toBase64(encodeValue(initargs, "initargs", refuse)),
      },
    };
  }

  async #open(): Promise<void> {
    try {
      const link = await this.#link;
      this.#keepAlive(link);
      this.#presence.begin(link);
    } catch (error) {
      this.#break(error);
    }
  }

  /** Slots of all daemons or, if the pool asks for fewer, so many. */
  get size(): number {
    const { processes } = this.#options;
    // Before any has been heard of: enough for chunks of a sensible size.
    const slots = this.#slots || availableParallelism();
    return processes === undefined ? slots : Math.min(processes, this.#slots || processes);
  }

  submit(target: unknown, input: unknown[], job: Job): void {
    if (this.#broken !== undefined) throw this.#broken.reason;
    if (this.#state !== "open") throw new ClosedError("Cannot use Pool: it has been closed");
    const fn = this.#functions.define(target);
    const bytes = isCall(job) ? encodeValue(input, "args", refuse) : encodeItems(input, job);
    const sent: Sent = {
      id: `j${++this.#count}`,
      job,
      fn,
      bytes,
      data: undefined,
      sending: true,
      since: 0,
      fetching: undefined,
      running: false,
      again: 0,
    };
    if (job.watch !== undefined) {
      job.watch.task = WAITS;
      this.#watched.set(job, sent);
    }
    if (this.#outbox.size === 0) this.#busy();
    this.#outbox.add(sent);
  }

  cancel(job: Job, reason: unknown, grace: number | undefined): void {
    const sent = this.#watched.get(job);
    if (sent === undefined) return;
    const inRedis = this.#outbox.sent.has(sent.id);
    if (this.#results.reject(sent, reason) && inRedis) this.#recalls.add(sent, grace !== undefined);
  }

  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.#endIfDone();
  }

  terminate(reason: unknown): void {
    this.#failAll(reason);
    void this.#finish();
  }

  stats(): PoolStats {
    const { size } = this;
    const { running, completed, failed } = this.#results;
    const queued = this.#outbox.size - running;
    const idle = Math.max(0, size - running);
    return { size, idle, queued, running, completed, failed, replaced: 0 };
  }

  // ── Waiting

  #goOn(): void {
    if (this.#outbox.size > 0) return this.#outbox.pump();
    this.#busy();
    this.#endIfDone();
  }

  /** There are jobs again, or none any more. */
  #busy(): void {
    this.#results.hear();
    this.#link.then((link) => this.#keepAlive(link)).catch(() => {});
  }

  /** An idle pool does not keep the program alive. */
  #keepAlive(link: Link): void {
    link.keepAlive(this.#outbox.size > 0 || this.#state !== "open");
  }

  async #onBeat(link: Link, daemons: NodeRecord[]): Promise<void> {
    link.pingEar();
    this.#slots = daemons.reduce((sum, { slots }) => sum + slots, 0);
    this.#judge(daemons.length);
    const { processes } = this.#record;
    await this.#functions.tell(link.redis, true);
    if (processes !== null) await link.queue.setGlobalConcurrency(processes);
    this.#isReady = true;
    this.#ready.resolve(link);
    await this.#recalls.repeat(link);
    await this.#parcels?.sweep((id) => !this.#outbox.sent.has(id));
    await this.#results.ask(link);
  }

  /** What was sent may have begun, and daemons have dropped it: whether it may begin again is to be seen. */
  #beginAnew(link: Link): void {
    const id = newPoolId();
    this.#record = { ...this.#record, id };
    this.#functions.move(this.#names.functions(id));
    link.move(this.#place(id));
    this.#parcels = undefined;
    this.#recalls.clear();
    // Who waits already goes on waiting.
    if (this.#isReady) this.#ready = Promise.withResolvers();
    this.#isReady = false;
    this.#results.loseAll();
    this.#outbox.takeBack();
    this.#outbox.pump();
  }

  /** Gives up where nobody is there to do anything. */
  #judge(daemons: number): void {
    if (daemons > 0 || this.#outbox.size === 0) {
      this.#lonelySince = undefined;
      return;
    }
    const now = performance.now();
    this.#lonelySince ??= now;
    const { waitForWorkers, name } = this.#settled;
    if (now - this.#lonelySince < waitForWorkers) return;
    this.#lonelySince = undefined;
    this.#failAll(
      new NoWorkersError(
        `No daemon of cluster "${name}" has been there for ${waitForWorkers} ms; start one with ` +
          "multiprocessing-worker --url … --root …, or raise 'waitForWorkers'",
      ),
    );
  }

  #unreachable(): TimeoutError {
    const { server, patience } = this.#settled;
    return new TimeoutError(`Redis at ${server.shown} has not answered for ${patience} ms`);
  }

  // ── The end

  #failAll(reason: unknown): void {
    const { backlog, sent } = this.#outbox;
    for (const each of backlog) this.#results.reject(each, reason);
    for (const each of sent.values()) {
      this.#results.reject(each, reason);
      // Else its whole queue is removed.
      if (this.#state === "open") this.#recalls.add(each, true);
    }
  }

  #break(reason: unknown): void {
    this.#broken ??= { reason };
    this.#failAll(reason);
  }

  #endIfDone(): void {
    if (this.#state === "closed" && this.#outbox.size === 0) void this.#finish();
  }

  /** Leaves nothing in Redis, and lets go of it. */
  async #finish(): Promise<void> {
    if (this.#state === "ending") return;
    this.#state = "ending";
    try {
      const link = await this.#link;
      this.#keepAlive(link);
      // What stays behind where that fails, the daemons remove when the lease is over.
      await this.#presence.end(link).catch(() => {});
      await link.close();
    } catch {
      // It was never opened.
    }
    this.#end();
  }
}

/** @throws {EncodingError} If one of them cannot be sent; its path begins with its index in the map. */
function encodeItems(items: unknown[], job: Job): Uint8Array {
  try {
    return encodeValue(items, "items", refuse);
  } catch (error) {
    const { first } = job as FullJob;
    items.forEach((item, at) => encodeValue(item, `items[${first + at}]`, refuse));
    throw error;
  }
}
