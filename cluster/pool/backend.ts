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
 * **Settled once.** A job leaves the table before it is settled, so that a second result finds nothing.
 *
 * **Not awaited for ever.** Events may be lost: when there is no news for a while, each job is asked for.
 * One that Redis does not know is sent again under its id. Where no daemon is, jobs fail after
 * `waitForWorkers`.
 *
 * **Another life.** A pool that the daemons have given up, because its program was silent for too long,
 * goes on as a new one: with an id, a queue and keys that nothing late can be meant for.
 *
 * @module
 */

import {
  type Backend,
  type BackendOptions,
  decodeValue,
  encodeValue,
  type FullJob,
  isCall,
  type Job,
  NO_SOURCES,
  type PoolStats,
  rejectJob,
  resolveJob,
  rethrow,
  SETTLED,
  WAITS,
} from "@multiprocessing/core/backend";
import { ClosedError, ProcessLostError, TimeoutError } from "@multiprocessing/core/errors";
import { ModuleMismatchError, NoWorkersError } from "../errors.ts";
import { availableParallelism, fromBase64, toBase64 } from "../runtime/host.ts";
import { Gone, Parcels } from "../wire/bytes.ts";
import type { ChunkResult, JobResult, NodeRecord, PoolRecord } from "../wire/messages.ts";
import { Names } from "../wire/names.ts";
import { refuse } from "../wire/refusal.ts";
import { Functions } from "./functions.ts";
import { Link, type Listener } from "./link.ts";
import type { Settled } from "./options.ts";
import { Outbox, type Sent } from "./outbox.ts";
import { newPoolId, Presence } from "./presence.ts";
import { Recalls } from "./recalls.ts";

/** After so many milliseconds without news each job is asked for. */
const SILENCE_MS = 2_000;

/** So often a job is sent again of which Redis has lost a part. */
const AGAIN = 5;

/** Runs a pool's jobs on a cluster. */
export class ClusterBackend implements Backend {
  readonly ended: Promise<void>;
  readonly #options: BackendOptions;
  readonly #settled: Settled;
  readonly #names: Names;
  readonly #functions: Functions;
  readonly #presence: Presence;
  readonly #outbox: Outbox;
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
  #heard = 0;
  #lonelySince: number | undefined;
  #running = 0;
  #completed = 0;
  #failed = 0;

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
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
    this.#link = Link.open(
      settled.server,
      this.#names.queue(id),
      this.#names.bull,
      this.#hears(),
    );
    this.#recalls = new Recalls(this.#link, () => this.#names.cancel(this.#record.id));
    void this.#open();
    this.#outbox = new Outbox({
      ready: () => this.#ready.promise,
      parcels: (link) => this.#parcels ??= new Parcels(link.redis, this.#names, this.#record),
      prepare: ({ redis }) => this.#functions.tell(redis),
      refuse: (sent, error) => this.#reject(sent, error),
    });
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
    if (this.#reject(sent, reason) && inRedis) this.#recalls.add(sent, grace !== undefined);
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
    const running = this.#running;
    const queued = this.#outbox.size - running;
    const [completed, failed] = [this.#completed, this.#failed];
    const idle = Math.max(0, size - running);
    return { size, idle, queued, running, completed, failed, replaced: 0 };
  }

  // ── Results

  #hears(): Listener {
    const mark = (id: string, running: boolean): void => {
      const sent = this.#outbox.sent.get(id);
      if (sent !== undefined) this.#mark(sent, running);
    };
    const hear = (): void => void (this.#heard = performance.now());
    return {
      active: (id) => (hear(), mark(id, true)),
      waiting: (id) => mark(id, false),
      completed: (id, result) => (hear(), this.#take(id, result)),
      failed: (id, reason) => (hear(), void this.#lose(id, reason).catch(() => {})),
      refused: (error) => this.#break(error),
    };
  }

  #mark(sent: Sent, running: boolean): void {
    if (sent.running === running) return;
    sent.running = running;
    this.#running += running ? 1 : -1;
  }

  /** Takes a result; of a job that is settled, it is dropped. */
  #take(id: string, result: JobResult | null): void {
    const sent = this.#outbox.sent.get(id);
    if (sent === undefined) return;
    if (result === null) {
      this.#reject(sent, this.#lost(`The result of job ${id} is lost`));
    } else if ("r" in result) {
      this.#reject(sent, new ModuleMismatchError(result.r));
    } else if ("g" in result) {
      void this.#sendAgain(sent, result.g);
    } else {
      const answer = "v" in result ? result.v : result.e;
      const failed = "e" in result;
      // At once: no promise for each of thousands.
      if ("b" in answer) this.#settle(sent, fromBase64(answer.b), failed);
      else {
        const parcels = this.#parcels!;
        parcels.fetch(answer).then(
          (bytes) => this.#settle(sent, bytes, failed),
          (error) => this.#missResult(sent, error),
        ).finally(() => parcels.drop(answer));
      }
    }
  }

  #settle(sent: Sent, bytes: Uint8Array, failed: boolean): void {
    const { job } = sent;
    let value: unknown;
    try {
      value = decodeValue(bytes);
      if (!failed && !isCall(job)) value = mapResult(value as ChunkResult);
    } catch (error) {
      return void this.#reject(sent, error);
    }
    if (failed && !isCall(job)) return void this.#reject(sent, value);
    if (!this.#forget(sent)) return;
    if (failed) this.#failed++;
    else this.#completed++;
    resolveJob(job, failed ? rethrow(value, job.mark, NO_SOURCES) : value);
    this.#goOn();
  }

  /** The job has run, but what came of it is not there. */
  #missResult(sent: Sent, error: unknown): void {
    if (!(error instanceof Gone)) return void this.#reject(sent, error);
    if (this.#settled.lossRetries > 0) return void this.#sendAgain(sent, error.message);
    this.#reject(sent, this.#lost(`The result of job ${sent.id} is lost: ${error.message}`));
  }

  /** While this program was silent its pool was taken for dead, and a part of a job with it. */
  async #sendAgain(sent: Sent, reason: string): Promise<void> {
    if (sent.sending || !this.#outbox.sent.has(sent.id)) return;
    if (++sent.again > AGAIN) return void this.#reject(sent, this.#lost(reason));
    sent.sending = true;
    sent.data = undefined;
    this.#mark(sent, false);
    try {
      const link = await this.#link;
      await this.#functions.tell(link.redis, true);
      await link.queue.remove(sent.id);
      await this.#outbox.send(link, [sent]);
    } catch (error) {
      this.#reject(sent, error);
    }
  }

  /** Settles a job that its daemons have not survived; unless it had not begun when the last one was lost. */
  async #lose(id: string, reason: string): Promise<void> {
    const sent = this.#outbox.sent.get(id);
    if (sent === undefined) return;
    const { lossRetries } = this.#settled;
    const times = lossRetries === 0 ? "once" : `${lossRetries + 1} times`;
    const error = this.#lost(
      `The task was lost ${times}: each daemon that ran it has died, or was cut off ` +
        `(job ${id}: ${reason})`,
    );
    if (lossRetries === 0) return void this.#reject(sent, error);
    const job = await (await this.#link).queue.getJob(id);
    // Sent again meanwhile.
    if (!job?.failedReason) return;
    const waited = job.stalledCounter > lossRetries && job.progress !== lossRetries;
    if (waited) await this.#sendAgain(sent, error.message);
    else this.#reject(sent, error);
  }

  /** Nothing is known of the daemon but that it is silent. */
  #lost(message: string): ProcessLostError {
    return new ProcessLostError(message, { exitCode: -9, pid: 0, processName: this.#record.name });
  }

  /** Returns false if the job was settled before. */
  #reject(sent: Sent, error: unknown): boolean {
    if (!this.#forget(sent)) return false;
    this.#failed++;
    rejectJob(sent.job, error);
    this.#goOn();
    return true;
  }

  #forget(sent: Sent): boolean {
    if (!this.#outbox.delete(sent)) return false;
    this.#mark(sent, false);
    const { job: { watch }, data } = sent;
    if (watch !== undefined) watch.task = SETTLED;
    if (data !== undefined) this.#parcels?.drop(data.i);
    return true;
  }

  #goOn(): void {
    if (this.#outbox.size > 0) return this.#outbox.pump();
    this.#busy();
    this.#endIfDone();
  }

  // ── Waiting

  /** There are jobs again, or none any more. */
  #busy(): void {
    this.#heard = performance.now();
    this.#link.then((link) => this.#keepAlive(link)).catch(() => {});
  }

  /** An idle pool does not keep the program alive. */
  #keepAlive(link: Link): void {
    link.keepAlive(this.#outbox.size > 0 || this.#state !== "open");
  }

  async #onBeat(link: Link, daemons: NodeRecord[]): Promise<void> {
    this.#slots = daemons.reduce((sum, { slots }) => sum + slots, 0);
    this.#judge(daemons.length);
    const { processes } = this.#record;
    await this.#functions.tell(link.redis, true);
    if (processes !== null) await link.queue.setGlobalConcurrency(processes);
    this.#isReady = true;
    this.#ready.resolve(link);
    await this.#recalls.repeat(link);
    await this.#parcels?.sweep((id) => !this.#outbox.sent.has(id));
    if (this.#outbox.sent.size > 0 && performance.now() - this.#heard > SILENCE_MS) {
      await this.#askForAll(link);
    }
  }

  /** What was sent may have begun, and daemons have dropped it: whether it may begin again is to be seen. */
  #beginAnew(link: Link): void {
    const id = newPoolId();
    this.#record = { ...this.#record, id };
    this.#functions.move(this.#names.functions(id));
    link.move(this.#names.queue(id));
    this.#parcels = undefined;
    this.#recalls.clear();
    // Who waits already goes on waiting.
    if (this.#isReady) this.#ready = Promise.withResolvers();
    this.#isReady = false;
    const { sent } = this.#outbox;
    for (const each of [...sent.values()]) {
      if (this.#settled.lossRetries > 0) this.#mark(each, false);
      else this.#reject(each, this.#lost(`Redis has lost job ${each.id}, which may have begun`));
    }
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

  /** Settles what was settled unheard, and sends what Redis has lost. */
  async #askForAll(link: Link): Promise<void> {
    const asked = [...this.#outbox.sent.values()].filter(({ sending }) => !sending);
    const jobs = await Promise.all(asked.map(({ id }) => link.queue.getJob(id)));
    const lost: Sent[] = [];
    asked.forEach((sent, at) => {
      const job = jobs[at];
      if (job === undefined) {
        // What lay beside it is lost, too.
        sent.data = undefined;
        if (this.#settled.lossRetries > 0) lost.push(sent);
        else this.#reject(sent, this.#lost(`Redis has lost job ${sent.id}, which may have begun`));
      } else if (job.finishedOn === undefined) return;
      else if (job.failedReason) void this.#lose(sent.id, job.failedReason).catch(() => {});
      else this.#take(sent.id, job.returnvalue);
    });
    if (lost.length > 0) await this.#outbox.send(link, lost);
  }

  // ── The end

  #failAll(reason: unknown): void {
    const { backlog, sent } = this.#outbox;
    for (const each of backlog) this.#reject(each, reason);
    for (const each of sent.values()) {
      this.#reject(each, reason);
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

function mapResult({ values, errors, took }: ChunkResult) {
  const decoded = errors.map(([at, bytes]): [number, unknown] => [at, decodeValue(bytes)]);
  return { values, errors: new Map(decoded), took, sources: NO_SOURCES };
}
