/**
 * The workers of this machine: two rings, and the processes that serve them.
 *
 * ```text
 * caller ──► backlog ──► ring of tasks ──► worker ──► ring of results ──► caller
 *          (this heap)  (shared memory)  (any idle)    (shared memory)
 * ```
 *
 * | step | run by | wakes |
 * |---|---|---|
 * | encode the job, put it into the ring; into the backlog while that is full | the pool | one sleeping worker |
 * | take the next task, leaving a claim | the worker that comes first | |
 * | run it, put the result | that worker | the pool |
 * | take results, settle their jobs, put from the backlog | the pool | the next worker |
 * | a worker has ended: fail what it had claimed, start another | the pool | |
 *
 * @module
 */

import { ProcessLostError } from "../errors.ts";
import { Claims } from "../memory/claim.ts";
import { KILLED, TERMINATED } from "../memory/control.ts";
import { Poller } from "../memory/poller.ts";
import { DONE, type Item, Ring } from "../memory/ring.ts";
import { RingPut } from "../memory/ring_wait.ts";
import { Line, nap } from "../memory/wait.ts";
import { hold, openChannel, type Port, release, yieldLoop } from "../runtime/mod.ts";
import { encode } from "./codec.ts";
import { Definitions } from "./definitions.ts";
import type { Backend, Job, MapResult, Outcome, PoolStats } from "./job.ts";
import { type JobEntry, JobTable } from "./job_table.ts";
import { fromInbox, toItem, unpack } from "./packet.ts";
import type { LastWords, TaskLoopPayload } from "./protocol.ts";
import { closed, spawn, stop } from "./spawn.ts";
import { RESULT_ERROR, RESULT_PARTIAL, taskWord } from "./task_frame.ts";

/** What to open. */
export interface LocalBackendOptions {
  /** URL of the worker module. */
  module: string;
  /** Number of workers. */
  size: number;
  /** Workers are named `${name}-1` and so on. */
  name: string;
}

interface PoolWorker {
  slot: number;
  pid: number;
  name: string;
  port: Port;
  /** The uncaught error that ended it, if it got to say so. */
  lastWords: unknown;
}

interface Queued {
  entry: JobEntry;
  item: Item;
}

const RING_BYTES = 4 * 2 ** 20;
// Results may come without a pause: the event loop gets its turn at least this often.
const YIELD_MS = 8;
// Waking takes a system call: one for so many tasks that are submitted together.
const ANNOUNCE_AT_ONCE = 32;
// So many workers that end before their first task, one after the other, are no accident.
const MAX_FAILED_STARTS = 3;

/** Runs jobs on workers of this machine. */
export class LocalBackend implements Backend {
  readonly size: number;
  readonly #options: LocalBackendOptions;
  readonly #tasks = Ring.create({ capacity: RING_BYTES, maxItems: 0 });
  readonly #results = Ring.create({ capacity: RING_BYTES, maxItems: 0 });
  readonly #claims: Claims;
  readonly #workers: (PoolWorker | undefined)[] = [];
  readonly #definitions = new Definitions(() => this.#ports());
  /** Jobs in the ring, with a worker, or on their way back. */
  readonly #pending = new JobTable();
  readonly #backlog: Queued[] = [];
  readonly #poller = new Poller();
  readonly #streamLine = new Line();
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };
  readonly #stopped = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #backlogHead = 0;
  #unannounced = 0;
  #streaming = false;
  #receiving = false;
  #closing = false;
  #broken: ProcessLostError | undefined;
  #started = 0;
  #failedStarts = 0;
  #alive = 0;
  #completed = 0;
  #failed = 0;
  #replaced = 0;

  constructor(options: LocalBackendOptions) {
    this.#options = options;
    this.size = options.size;
    this.#claims = new Claims(options.size);
    for (let slot = 0; slot < options.size; slot++) this.#start(slot);
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  submit(job: Job): void {
    if (this.#broken !== undefined) throw this.#broken;
    const definition = this.#definitions.define(job.target);
    const item = this.#item;
    toItem(encode(job.input, { root: job.mode === "map" ? "items" : "args" }), item);
    item.b = taskWord(definition.index, job.mode);
    definition.users++;
    const entry = { job, definition };
    if (!this.#mayPutNow(item) || !this.#put(entry, item)) {
      this.#backlog.push({ entry, item: { ...item, bytes: item.bytes.slice(0, item.length) } });
    }
    if (!this.#receiving) this.#receive();
  }

  close(): void {
    this.#closing = true;
    this.#closeWhenPut();
  }

  terminate(reason: unknown): void {
    this.#closing = true;
    this.#stopped.abort(reason);
    for (const worker of this.#workers) if (worker !== undefined) stop(worker.pid, TERMINATED);
    this.#failAll(reason);
  }

  stats(): PoolStats {
    let running = 0;
    for (let slot = 0; slot < this.size; slot++) {
      if (this.#pending.get(this.#claims.taken(slot, this.#tasks)) !== undefined) running++;
    }
    return {
      size: this.size,
      idle: this.size - running,
      queued: this.#pending.size + this.#queued - running,
      running,
      completed: this.#completed,
      failed: this.#failed,
      replaced: this.#replaced,
    };
  }

  get #queued(): number {
    return this.#backlog.length - this.#backlogHead;
  }

  #mayPutNow(item: Item): boolean {
    return this.#queued === 0 && !this.#streaming && this.#tasks.fitsFrame(item.length);
  }

  #put(entry: JobEntry, item: Item): boolean {
    item.a = this.#pending.add(entry);
    const put = this.#tasks.tryPutQuietly(item) === DONE;
    if (put) this.#announce();
    else this.#pending.remove(item.a);
    return put;
  }

  /** Wakes workers for what was put: once for what is submitted together, but not too late. */
  #announce(): void {
    if (this.#unannounced++ === 0) queueMicrotask(this.#wakeWorkers);
    else if (this.#unannounced > ANNOUNCE_AT_ONCE) this.#wakeWorkers();
  }

  readonly #wakeWorkers = (): void => {
    if (this.#unannounced > 0) this.#tasks.wakeGetters(this.#unannounced);
    this.#unannounced = 0;
  };

  *#ports(): Iterable<Port> {
    for (const worker of this.#workers) if (worker !== undefined) yield worker.port;
  }

  #start(slot: number): void {
    const [port, raw] = openChannel();
    const name = `${this.#options.name}-${++this.#started}`;
    const payload: TaskLoopPayload = {
      kind: "tasks",
      port: raw,
      tasks: this.#tasks.buffer,
      results: this.#results.buffer,
      claims: this.#claims.buffer,
      slot,
    };
    const pid = spawn({
      module: this.#options.module,
      name,
      identity: name,
      daemon: true,
      plain: null,
      payload,
      transfer: [raw],
    });
    const worker: PoolWorker = { slot, pid, name, port, lastWords: undefined };
    port.listen((message) => worker.lastWords = unpack((message as LastWords).error));
    this.#definitions.tellAll(port);
    this.#workers[slot] = worker;
    this.#alive++;
    this.#watch(worker);
  }

  async #watch(worker: PoolWorker): Promise<void> {
    const code = await closed(worker.pid);
    await this.#bury(worker, code);
    worker.port.close();
    this.#workers[worker.slot] = undefined;
    this.#alive--;
    const done = this.#closing && this.#pending.size === 0 && this.#queued === 0;
    if (!done && this.#broken === undefined) {
      this.#replaced++;
      this.#start(worker.slot);
    } else if (this.#alive === 0) {
      this.#ended.resolve();
    }
  }

  /** Settles what a dead worker has left behind. */
  async #bury(worker: PoolWorker, code: number): Promise<void> {
    const { slot } = worker;
    // First whatever it has answered; and nobody may be amid a claim when we read them.
    await this.#drain();
    while (!this.#tasks.quiesceGets()) await nap(this.#tasks);
    const task = this.#claims.taken(slot, this.#tasks);
    const ready = this.#claims.isReady(slot);
    this.#claims.clear(slot);
    if (this.#pending.get(task) !== undefined) {
      this.#settle(task, { ok: false, error: lostError(worker, code) });
    } else if (worker.lastWords !== undefined) {
      console.error(`Uncaught error in ${worker.name} (pid ${worker.pid}):`, worker.lastWords);
    }
    this.#results.wakeGetters(1);
    this.#failedStarts = ready ? 0 : this.#failedStarts + 1;
    if (this.#failedStarts < MAX_FAILED_STARTS || code === TERMINATED || code === KILLED) return;
    this.#broken = lostError(worker, code, "before it could take a task, as others before it");
    this.#failAll(this.#broken);
  }

  /** Takes results as long as there are jobs; the event loop is kept alive meanwhile. */
  async #receive(): Promise<void> {
    this.#receiving = true;
    hold();
    const poller = this.#poller;
    try {
      while (this.#pending.size > 0 || this.#queued > 0) {
        if (await this.#drain() > 0) poller.found();
        if (poller.again()) await yieldLoop();
        else await nap(this.#results);
      }
    } finally {
      this.#receiving = false;
      release();
    }
  }

  /** Settles all jobs whose results lie there. Returns how many that were. */
  async #drain(): Promise<number> {
    let count = 0;
    let yielded = Date.now();
    while (this.#results.tryGet() === DONE) {
      const { a: task, b } = this.#results.inbox;
      this.#take(task, b);
      this.#refill();
      count++;
      if ((count & 63) === 0 && Date.now() - yielded > YIELD_MS) {
        await yieldLoop();
        yielded = Date.now();
      }
    }
    if (count === 0) this.#refill();
    return count;
  }

  #take(task: number, b: number): void {
    try {
      const value = fromInbox(this.#results);
      if (value instanceof Promise) {
        value.then(
          (fetched) => this.#settleResult(task, b, fetched),
          (error) => this.#settle(task, { ok: false, error }),
        );
      } else {
        this.#settleResult(task, b, value);
      }
    } catch (error) {
      this.#settle(task, { ok: false, error });
    }
  }

  #settleResult(task: number, b: number, value: unknown): void {
    if (b === RESULT_ERROR) this.#settle(task, { ok: false, error: value });
    else if (this.#pending.get(task)?.job.mode === "map") {
      this.#settle(task, { ok: true, value: mapResult(b, value) });
    } else this.#settle(task, { ok: true, value });
  }

  #settle(task: number, outcome: Outcome): void {
    const entry = this.#pending.remove(task);
    if (entry !== undefined) this.#finish(entry, outcome);
  }

  #finish({ job, definition }: JobEntry, outcome: Outcome): void {
    definition.users--;
    if (outcome.ok) this.#completed++;
    else this.#failed++;
    job.settle(outcome);
  }

  /** Puts from the backlog what has room now. */
  #refill(): void {
    while (this.#queued > 0 && !this.#streaming) {
      const { entry, item } = this.#backlog[this.#backlogHead] as Queued;
      if (!this.#tasks.fitsFrame(item.length)) {
        item.a = this.#pending.add(entry);
        this.#stream(item);
      } else if (!this.#put(entry, item)) {
        return;
      }
      this.#shiftBacklog();
    }
    this.#closeWhenPut();
  }

  /** Closes the ring of tasks once all that was accepted is in it: the workers drain it, and end. */
  #closeWhenPut(): void {
    if (this.#closing && this.#queued === 0 && !this.#streaming) this.#tasks.close();
  }

  #shiftBacklog(): void {
    this.#backlog[this.#backlogHead++] = undefined as never;
    if (this.#backlogHead < 1024 && this.#backlogHead < this.#backlog.length) return;
    this.#backlog.splice(0, this.#backlogHead);
    this.#backlogHead = 0;
  }

  /** Puts an item too large for one frame, as the workers take it. */
  async #stream(item: Item): Promise<void> {
    this.#streaming = true;
    try {
      await this.#streamLine.wait(new RingPut(this.#tasks, item), Infinity, this.#stopped.signal);
    } catch (error) {
      this.#settle(item.a, { ok: false, error });
    }
    this.#streaming = false;
    this.#refill();
  }

  #failAll(reason: unknown): void {
    const outcome = { ok: false, error: reason } as const;
    for (const task of this.#pending.numbers()) this.#settle(task, outcome);
    const queued = this.#backlog.splice(0).slice(this.#backlogHead);
    this.#backlogHead = 0;
    for (const { entry } of queued) this.#finish(entry, outcome);
    // Whoever takes results has none to wait for.
    this.#results.wakeGetters(1);
  }
}

function mapResult(b: number, value: unknown): MapResult {
  if (b !== RESULT_PARTIAL) return { values: value as unknown[], errors: new Map() };
  const [values, errors] = value as [unknown[], [number, unknown][]];
  return { values, errors: new Map(errors) };
}

function lostError(worker: PoolWorker, exitCode: number, when = "while it ran the task") {
  const { name: processName, pid, lastWords } = worker;
  const cause = lastWords === undefined ? undefined : { cause: lastWords };
  return new ProcessLostError(
    `${processName} (pid ${pid}) ended with exit code ${exitCode} ${when}`,
    { exitCode, pid, processName },
    cause,
  );
}
