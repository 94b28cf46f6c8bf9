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

import { ClosedError, ProcessLostError } from "../../errors.ts";
import { Claims } from "../../memory/claim.ts";
import { KILLED, TERMINATED } from "../../memory/control.ts";
import { Poller } from "../../memory/poller.ts";
import { DONE, type Item, Ring } from "../../memory/ring.ts";
import { RingPut } from "../../memory/ring_wait.ts";
import { Line, nap } from "../../memory/wait.ts";
import { hold, openChannel, type Port, receive, release, yieldLoop } from "../../runtime/mod.ts";
import { encode } from "../codec/codec.ts";
import { type Definition, Definitions } from "./definitions.ts";
import { Fifo } from "./fifo.ts";
import type { Backend, Job, MapResult, PoolStats } from "./job.ts";
import { JobTable } from "./job_table.ts";
import { fromInbox, toItem, unpack } from "../packet.ts";
import type { LastWords, TaskLoopPayload } from "../protocol.ts";
import { closed, spawn, stop } from "../spawn.ts";
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

/** A job for which there was no room in the ring yet. */
interface Queued {
  job: Job;
  definition: Definition;
  item: Item;
}

const ARGS = { root: "args" };
const ITEMS = { root: "items" };
const RING_BYTES = 4 * 2 ** 20;
// Results may come without a pause: the event loop gets its turn at least this often.
const YIELD_MS = 8;
// Waking takes a system call: one for so many tasks that are submitted together, then for twice as many.
const MIN_ANNOUNCE = 32;
const MAX_ANNOUNCE = 1024;
// Results settled in one turn at the ring.
const BATCH = 64;
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
  readonly #backlog = new Fifo<Queued>();
  readonly #poller = new Poller();
  readonly #streamLine = new Line();
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };
  /** Results whose attachments are on their way. */
  readonly #fetching = new Set<Promise<void>>();
  readonly #stopped = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #unannounced = 0;
  #announceAt = MIN_ANNOUNCE;
  #streaming = false;
  #receiving = false;
  #closing = false;
  #broken: { reason: unknown } | undefined;
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
    try {
      for (let slot = 0; slot < options.size; slot++) this.#start(slot);
    } catch (error) {
      this.terminate(error);
      throw error;
    }
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  submit(target: unknown, input: unknown[], job: Job): void {
    if (this.#broken !== undefined) throw this.#broken.reason;
    if (this.#closing) throw new ClosedError("Cannot use Pool: it has been closed");
    const definition = this.#definitions.define(target);
    const item = this.#item;
    toItem(encode(input, job.mode === "map" ? ITEMS : ARGS), item);
    item.b = taskWord(definition.index, job.mode);
    if (!this.#mayPutNow(item) || !this.#put(job, definition, item)) {
      const kept = { ...item, bytes: item.bytes.slice(0, item.length) };
      this.#backlog.push({ job, definition, item: kept });
      definition.users++;
    }
    if (!this.#receiving) this.#receive();
    else if (this.#backlog.length > 0) this.#refill();
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
      queued: this.#outstanding - running,
      running,
      completed: this.#completed,
      failed: this.#failed,
      replaced: this.#replaced,
    };
  }

  /** Jobs that are not settled. */
  get #outstanding(): number {
    return this.#pending.size + this.#backlog.length;
  }

  #mayPutNow(item: Item): boolean {
    return this.#backlog.length === 0 && !this.#streaming && this.#tasks.fitsFrame(item.length);
  }

  #put(job: Job, definition: Definition, item: Item): boolean {
    item.a = this.#pending.add(job, definition);
    const put = this.#tasks.tryPutQuietly(item) === DONE;
    if (put) this.#announce();
    else this.#pending.remove(item.a);
    return put;
  }

  /** Wakes workers for what was put: seldom while much is submitted together, but not too late. */
  #announce(): void {
    if (this.#unannounced++ === 0) queueMicrotask(this.#announceRest);
    if (this.#unannounced < this.#announceAt) return;
    this.#tasks.wakeGetters(this.#unannounced);
    this.#unannounced = 1;
    this.#announceAt = Math.min(this.#announceAt * 2, MAX_ANNOUNCE);
  }

  readonly #announceRest = (): void => {
    this.#tasks.wakeGetters(this.#unannounced);
    this.#unannounced = 0;
    this.#announceAt = MIN_ANNOUNCE;
  };

  *#ports(): Iterable<Port> {
    for (const worker of this.#workers) if (worker !== undefined) yield worker.port;
  }

  #start(slot: number): void {
    const [port, raw] = openChannel();
    // Before the start: a task may lie in the ring already, and the worker may run before spawn() returns.
    this.#definitions.tellAll(port);
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
    // A closed ring that is drained has nothing for another worker.
    const drained = this.#tasks.closed && this.#tasks.size === 0;
    const done = this.#closing && (this.#outstanding === 0 || drained);
    if (!done && this.#broken === undefined) this.#replace(worker.slot);
    if (this.#alive === 0) this.#ended.resolve();
  }

  #replace(slot: number): void {
    this.#replaced++;
    try {
      this.#start(slot);
    } catch (error) {
      this.#break(error);
    }
  }

  /** Gives up: what is pending and what comes later fails with `reason`. */
  #break(reason: unknown): void {
    this.#broken = { reason };
    this.#failAll(reason);
  }

  /** Settles what a dead worker has left behind. */
  async #bury(worker: PoolWorker, code: number): Promise<void> {
    const { slot } = worker;
    // Nobody may be amid a claim when we read them.
    while (!this.#tasks.quiesceGets()) await nap(this.#tasks);
    const task = this.#claims.taken(slot, this.#tasks);
    const ready = this.#claims.isReady(slot);
    this.#claims.clear(slot);
    // Whatever it has answered counts.
    await this.#drain();
    await Promise.all(this.#fetching);
    const words = receive(worker.port)?.message as LastWords | undefined;
    if (words !== undefined) worker.lastWords = unpack(words.error);
    if (this.#pending.get(task) !== undefined) {
      this.#reject(task, lostError(worker, code));
    } else if (worker.lastWords !== undefined) {
      console.error(`Uncaught error in ${worker.name} (pid ${worker.pid}):`, worker.lastWords);
    }
    this.#results.wakeGetters(1);
    this.#failedStarts = ready ? 0 : this.#failedStarts + 1;
    if (this.#failedStarts < MAX_FAILED_STARTS || code === TERMINATED || code === KILLED) return;
    this.#break(lostError(worker, code, "before it could take a task, as others before it"));
  }

  /** Takes results as long as there are jobs; the event loop is kept alive meanwhile. */
  async #receive(): Promise<void> {
    this.#receiving = true;
    hold();
    const poller = this.#poller;
    try {
      while (this.#outstanding > 0) {
        if (await this.#drain() > 0) poller.found();
        if (poller.again()) await yieldLoop();
        else if (this.#outstanding > 0) await nap(this.#results);
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
    for (;;) {
      const batch = this.#results.getMany(BATCH, this.#takeResult);
      this.#refill();
      count += batch;
      if (batch < BATCH) return count;
      if (Date.now() - yielded < YIELD_MS) continue;
      await yieldLoop();
      yielded = Date.now();
    }
  }

  readonly #takeResult = (): void => {
    const { a: task, b } = this.#results.inbox;
    try {
      const value = fromInbox(this.#results);
      if (!(value instanceof Promise)) return this.#settle(task, b, value);
      const fetching = value
        .then((late) => this.#settle(task, b, late), (error) => this.#reject(task, error))
        .finally(() => this.#fetching.delete(fetching));
      this.#fetching.add(fetching);
    } catch (error) {
      this.#reject(task, error);
    }
  };

  #settle(task: number, b: number, value: unknown): void {
    if (b === RESULT_ERROR) return this.#reject(task, value);
    const job = this.#pending.remove(task);
    if (job === undefined) return;
    this.#completed++;
    job.resolve(job.mode === "map" ? mapResult(b, value) : value);
  }

  #reject(task: number, error: unknown): void {
    const job = this.#pending.remove(task);
    if (job === undefined) return;
    this.#failed++;
    job.reject(error);
  }

  /** Puts from the backlog what has room now. */
  #refill(): void {
    while (!this.#streaming && this.#backlog.first !== undefined) {
      const { job, definition, item } = this.#backlog.first;
      if (!this.#tasks.fitsFrame(item.length)) {
        item.a = this.#pending.add(job, definition);
        this.#stream(item);
      } else if (!this.#put(job, definition, item)) {
        return;
      }
      definition.users--;
      this.#backlog.shift();
    }
    this.#closeWhenPut();
  }

  /** Closes the ring of tasks once all that was accepted is in it: the workers drain it, and end. */
  #closeWhenPut(): void {
    if (this.#closing && this.#backlog.length === 0 && !this.#streaming) this.#tasks.close();
  }

  /** Puts an item too large for one frame, as the workers take it. */
  async #stream(item: Item): Promise<void> {
    this.#streaming = true;
    try {
      await this.#streamLine.wait(new RingPut(this.#tasks, item), Infinity, this.#stopped.signal);
    } catch (error) {
      this.#reject(item.a, error);
    }
    this.#streaming = false;
    this.#refill();
  }

  #failAll(reason: unknown): void {
    for (const task of this.#pending.numbers()) this.#reject(task, reason);
    for (let next = this.#backlog.shift(); next !== undefined; next = this.#backlog.shift()) {
      next.definition.users--;
      this.#failed++;
      next.job.reject(reason);
    }
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
