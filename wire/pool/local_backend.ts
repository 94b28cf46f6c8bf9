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
import { Leases } from "../../memory/lease.ts";
import { Poller } from "../../memory/poller.ts";
import { type Item, Ring } from "../../memory/ring.ts";
import { nap } from "../../memory/wait.ts";
import { hold, receive, release, runtime } from "../../runtime/mod.ts";
import { encode } from "../codec/codec.ts";
import { withoutFrames } from "../frames.ts";
import { rethrow, type Sources, withoutOwnFrames } from "./caller.ts";
import { Crew, type Worker } from "./crew.ts";
import { Definitions } from "./definitions.ts";
import {
  type Backend,
  type FullJob,
  isCall,
  type Job,
  type MapResult,
  type Moving,
  type PoolStats,
  rejectJob,
  resolveJob,
} from "./job.ts";
import { JobTable } from "./job_table.ts";
import { Outbox } from "./outbox.ts";
import { GHOST, Overseer } from "./overseer.ts";
import { dropAttachments, fromInbox, toItem, unpackWhole } from "../packet.ts";
import type { LastWords, PackedCall, TaskLoopPayload } from "../protocol.ts";
import {
  kindOf,
  millisecondsOf,
  RESULT_DROPPED,
  RESULT_ERROR,
  RESULT_PARTIAL,
  taskWord,
} from "./task_frame.ts";
import type { Transferable } from "../../runtime/port.ts";

/** What to open. */
export interface LocalBackendOptions {
  /** URL of the worker module. */
  module: string;
  /** Number of workers. */
  size: number;
  /** Workers are named `${name}-1` and so on. */
  name: string;
  /** Called in each worker before its first task; what it throws breaks the pool. */
  initializer?: PackedCall | undefined;
  /** A worker is replaced after so many tasks. */
  maxTasks?: number | undefined;
}

const RING_BYTES = 4 * 2 ** 20;
// Results may come without a pause: the event loop gets its turn at least this often.
const YIELD_MS = 8;
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
  readonly #leases: Leases;
  readonly #crew: Crew;
  readonly #definitions: Definitions;
  /** Jobs in the ring, with a worker, or on their way back. */
  readonly #pending = new JobTable();
  readonly #overseer: Overseer;
  readonly #outbox: Outbox;
  readonly #poller = new Poller();
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };
  /** Results whose attachments are on their way. */
  readonly #fetching = new Set<Promise<void>>();
  #receiving = false;
  #closing = false;
  #broken: { reason: unknown } | undefined;
  #failedStarts = 0;
  #completed = 0;
  #failed = 0;

  constructor(options: LocalBackendOptions) {
    const { size, module, name } = options;
    this.#options = options;
    this.size = size;
    this.#claims = new Claims(size);
    this.#leases = new Leases(size);
    this.#crew = new Crew({
      size,
      module,
      name,
      payload: (slot, port) => this.#payload(slot, port),
      greet: (port) => this.#definitions.tellAll(port),
      bury: (worker, code) => this.#bury(worker, code),
      giveUp: (reason) => this.#break(reason),
    });
    this.#definitions = new Definitions(() => this.#crew.workers());
    this.#overseer = new Overseer({
      leases: this.#leases,
      jobs: this.#pending,
      crew: this.#crew,
      idleWorkers: () => this.#outbox.drained ? this.size - this.#running().workers : 0,
    });
    this.#outbox = new Outbox({
      tasks: this.#tasks,
      overseer: this.#overseer,
      onLost: (task, error) => this.#reject(task, error),
    });
    try {
      this.#crew.start();
    } catch (error) {
      this.terminate(error);
      throw error;
    }
  }

  get ended(): Promise<void> {
    return this.#crew.ended.then(() => this.#sweep());
  }

  submit(target: unknown, input: unknown[], job: Job, moving?: Moving): void {
    if (this.#broken !== undefined) throw this.#broken.reason;
    if (this.#closing) throw new ClosedError("Cannot use Pool: it has been closed");
    const definition = this.#definitions.define(target);
    const item = this.#item;
    const root = isCall(job) ? "args" : "items";
    const encoded = encode(input, moving === undefined ? ROOTS[root] : { root, ...moving });
    // What was moved cannot be sent anew.
    if (encoded.transfer.length > 0 && job.watch) job.watch.giveBack = undefined;
    toItem(encoded, item);
    item.b = taskWord(definition.index, job.mode ?? "call", job.watch !== undefined);
    this.#outbox.push(job, definition, item);
    if (!this.#receiving) this.#receive();
  }

  cancel(job: Job, reason: unknown, grace: number | undefined): void {
    this.#overseer.cancel(job, reason, grace);
  }

  close(): void {
    this.#closing = true;
    this.#outbox.close();
  }

  terminate(reason: unknown): void {
    this.#closing = true;
    this.#crew.stopAll();
    this.#failAll(reason);
  }

  /** Nobody will decode what lies in the rings: what was deposited for it is not needed any more. */
  #sweep(): void {
    for (const ring of [this.#tasks, this.#results]) {
      ring.getMany(Infinity, () => dropAttachments(ring.inbox));
    }
  }

  stats(): PoolStats {
    const { workers, tasks } = this.#running();
    const { ghosts, left, cancelled } = this.#overseer;
    return {
      size: this.size,
      idle: this.size - workers,
      queued: this.#outstanding - tasks - ghosts - left,
      running: workers,
      completed: this.#completed,
      failed: this.#failed + cancelled,
      replaced: this.#crew.replaced,
    };
  }

  /** How many workers run a task, and how many of these tasks somebody waits for. */
  #running(): { workers: number; tasks: number } {
    let workers = 0;
    let tasks = 0;
    for (let slot = 0; slot < this.size; slot++) {
      const job = this.#pending.get(this.#claims.taken(slot, this.#tasks));
      if (job !== undefined) workers++;
      if (job !== undefined && job !== GHOST) tasks++;
    }
    return { workers, tasks };
  }

  /** Jobs that the workers have not done with. */
  get #outstanding(): number {
    return this.#pending.size + this.#outbox.length;
  }

  #payload(slot: number, port: unknown): { payload: TaskLoopPayload; transfer: Transferable[] } {
    const payload: TaskLoopPayload = {
      kind: "tasks",
      port,
      tasks: this.#tasks.buffer,
      results: this.#results.buffer,
      claims: this.#claims.buffer,
      leases: this.#leases.buffer,
      slot,
      maxTasks: this.#options.maxTasks ?? Infinity,
      initializer: this.#options.initializer,
    };
    return { payload, transfer: [port as Transferable] };
  }

  /** Gives up: what is pending and what comes later fails with `reason`. */
  #break(reason: unknown): void {
    if (this.#broken !== undefined) return;
    this.#broken = { reason };
    this.#failAll(reason);
    this.#crew.stopAll();
  }

  /** Settles what a dead worker has left behind. Returns whether another is to take its place. */
  async #bury(worker: Worker, code: number): Promise<boolean> {
    const { slot } = worker;
    // Nobody may be amid a claim when we read them.
    while (!this.#tasks.quiesceGets()) await nap(this.#tasks);
    const task = this.#claims.taken(slot, this.#tasks);
    const ready = this.#claims.isReady(slot);
    const item = this.#leases.item(slot, task);
    const rest = this.#leases.takeBack(slot, task, 1);
    this.#claims.clear(slot);
    this.#leases.clear(slot);
    // Whatever it has answered counts.
    await this.#drain();
    await Promise.all(this.#fetching);
    const words = receive(worker.port)?.message as LastWords | undefined;
    // Words that cannot be read must not keep the dead unburied.
    const lastWords = words && {
      error: await unpackWhole(words.error).catch((unreadable: unknown) => unreadable),
    };
    const job = this.#pending.get(task);
    if (job !== undefined) {
      if (rest !== undefined) job.watch?.giveBack?.(rest);
      const what = isCall(job) ? "the task" : `item ${(job as FullJob).first + item} of the map`;
      this.#reject(task, lostError(worker, code, `while it ran ${what}`, lastWords));
    } else if (lastWords !== undefined && ready) {
      console.error(`Uncaught error in ${worker.name} (pid ${worker.pid}):`, lastWords.error);
    }
    this.#results.wakeGetters(1);
    await this.#judgeStart(worker, code, ready, lastWords);
    // A closed ring that is drained has nothing for another worker.
    const drained = this.#tasks.closed && this.#tasks.size === 0;
    const done = this.#closing && (this.#outstanding === 0 || drained);
    return !done && this.#broken === undefined;
  }

  /** Breaks the pool if its workers cannot start. */
  async #judgeStart(worker: Worker, code: number, ready: boolean, words?: Words): Promise<void> {
    this.#failedStarts = ready ? 0 : this.#failedStarts + 1;
    if (ready || code === TERMINATED || code === KILLED) return;
    if (this.#options.initializer !== undefined && words !== undefined) {
      await withoutOwnFrames(words.error);
      this.#break(words.error);
    }
    if (this.#failedStarts < MAX_FAILED_STARTS) return;
    const when = "before it could take a task, as others before it";
    this.#break(lostError(worker, code, when, words));
  }

  /** Takes results as long as there are jobs; the event loop is kept alive meanwhile. */
  async #receive(): Promise<void> {
    this.#receiving = true;
    hold();
    const poller = this.#poller;
    try {
      while (this.#outstanding > 0) {
        if (await this.#drain() > 0) poller.found();
        this.#overseer.balance();
        if (poller.again()) await runtime.yieldLoop();
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
      this.#outbox.refill();
      count += batch;
      if (batch < BATCH) return count;
      if (Date.now() - yielded < YIELD_MS) continue;
      await runtime.yieldLoop();
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
    const kind = kindOf(b);
    if (kind === RESULT_ERROR) return this.#reject(task, value);
    const sources = this.#pending.definition(task)?.sources;
    const job = this.#overseer.leave(task);
    if (job === undefined || kind === RESULT_DROPPED) return;
    this.#completed++;
    resolveJob(job, isCall(job) ? value : mapResult(b, value, sources!));
  }

  /** Rejects a job with an error that came from its worker, or is about it. */
  #reject(task: number, error: unknown): void {
    const sources = this.#pending.definition(task)?.sources;
    const job = this.#overseer.leave(task);
    if (job === undefined) return;
    this.#failed++;
    if (isCall(job)) resolveJob(job, rethrow(error, job.mark, sources!));
    else rejectJob(job, error);
  }

  #failAll(reason: unknown): void {
    const tasks = this.#pending.numbers();
    const entered = tasks.map((task) => this.#overseer.leave(task)).filter((job) =>
      job !== undefined
    );
    for (const job of [...entered, ...this.#outbox.clear(reason)]) {
      this.#failed++;
      rejectJob(job, reason);
    }
    // Whoever takes results has none to wait for.
    this.#results.wakeGetters(1);
  }
}

// Whoever calls with an array has no use for what else that may have.
const ROOTS = { args: { root: "args", dense: true }, items: { root: "items", dense: true } };

/** The uncaught error that ended a worker. */
interface Words {
  error: unknown;
}

function mapResult(b: number, value: unknown, sources: Sources): MapResult {
  const took = millisecondsOf(b);
  if (kindOf(b) !== RESULT_PARTIAL) {
    return { values: value as unknown[], errors: NO_ERRORS, took, sources };
  }
  const [values, errors] = value as [unknown[], [number, unknown][]];
  return { values, errors: new Map(errors), took, sources };
}

const NO_ERRORS: ReadonlyMap<number, unknown> = new Map();

function lostError(
  { name: processName, pid }: Worker,
  exitCode: number,
  when: string,
  words?: Words,
) {
  const error = new ProcessLostError(
    `${processName} (pid ${pid}) ended with exit code ${exitCode} ${when}`,
    { exitCode, pid, processName },
    words === undefined ? undefined : { cause: words.error },
  );
  return withoutFrames(error);
}
