/**
 * A daemon's work for one pool: jobs from BullMQ's queue, each run as a task of a pool on this machine.
 *
 * | a job is   | meanwhile                              | ends by                                       |
 * | ---------- | -------------------------------------- | --------------------------------------------- |
 * | taken      | its lock in Redis is renewed by BullMQ | result; cancelled; given back; daemon lost    |
 * | finished   | its result is in Redis                 | –                                             |
 * | cancelled  | its worker is told to stop, or stopped | a result that nobody awaits any more          |
 * | given back | its worker is stopped                  | it waits in Redis again, for another daemon   |
 * | lost       | nobody renews its lock                 | another daemon finds that, and puts it back   |
 *
 * The main thread runs no function of the user's: it could not renew locks meanwhile.
 *
 * @module
 */

import { type Job, WaitingError } from "bullmq";
import type { Redis } from "ioredis";
import { decodeValue, encodeError, encodeValue } from "@multiprocessing/core/backend";
import { ClosedError } from "@multiprocessing/core/errors";
import { Pool } from "@multiprocessing/core/pool";
import { fromBase64, hostName } from "../runtime/host.ts";
import { Gone, Parcels } from "../wire/bytes.ts";
import type { ChunkResult, JobData, JobResult, PoolRecord } from "../wire/messages.ts";
import type { Names } from "../wire/names.ts";
import { refuse } from "../wire/refusal.ts";
import type { Server } from "../wire/server.ts";
import { Appetite } from "./appetite.ts";
import { Functions, type Permits, Refused } from "./functions.ts";
import { JobWorker } from "./job_worker.ts";
import { type Input, type Output, prepare, runJob, type Runnable } from "./run.ts";

/** After so long BullMQ tries again what has failed because Redis was out of reach; its own is 15 s. */
const RETRY_MS = 500;

/** So often BullMQ looks by itself for jobs; where a pool has a cap, nobody may tell it. Its own is 5. */
const DRAIN_SECONDS = 1;

/** What a {@linkcode Member} is made of. */
export interface MemberOptions extends Permits {
  server: Server;
  /** The daemon's connection. */
  redis: Redis;
  names: Names;
  pool: PoolRecord;
  /** So many jobs run at once. */
  slots: number;
  /** So long may this daemon be silent before its jobs are given to others, in ms. */
  lock: number;
}

/** Works for a pool until it is told to stop. */
export class Member {
  readonly pool: PoolRecord;
  readonly #slots: number;
  readonly #parcels: Parcels;
  readonly #functions: Functions;
  readonly #worker: JobWorker<JobData, JobResult>;
  readonly #appetite: Appetite;
  /** Jobs that are here, and how to stop those that may be cancelled. */
  readonly #running = new Map<string, AbortController | undefined>();
  #ended = false;
  #givingBack = false;
  #whenIdle: (() => void) | undefined;
  /** Jobs that the workers have. */
  #working = 0;
  /** Called when there is one fewer of these. */
  #freed: (() => void) | undefined;
  /** When those may begin that come now; at once, if there is none. */
  #turn: Promise<void> | undefined;
  /** Workers on this machine, started with the first job. */
  #local: Promise<Pool> | undefined;
  #ready: Pool | undefined;

  constructor(options: MemberOptions) {
    const { server, redis, names, pool, slots, lock } = options;
    this.pool = pool;
    this.#slots = slots;
    this.#parcels = new Parcels(redis, names, pool);
    this.#functions = new Functions(redis, names.functions(pool.id), options);
    this.#appetite = new Appetite(slots, pool.lossRetries > 0);
    const process = (job: Job<JobData, JobResult>, token?: string) => this.#process(job, token);
    this.#worker = new JobWorker<JobData, JobResult>(
      names.queue(pool.id),
      process,
      {
        connection: server.options,
        prefix: names.bull,
        concurrency: slots,
        lockDuration: lock,
        stalledInterval: Math.floor(lock / 3), // A fraction Redis would refuse.
        maxStalledCount: pool.lossRetries,
        runRetryDelay: RETRY_MS,
        drainDelay: DRAIN_SECONDS,
      },
      redis,
      names.results(pool.id),
    );
    this.#worker.on("error", () => {}); // It connects again by itself.
  }

  /** Jobs that are here now. */
  get running(): number {
    return this.#running.size;
  }

  /** Stops a job, if it is here: the job itself says how long it may go on. */
  cancel(job: string): void {
    this.#running.get(job)?.abort();
  }

  /** Takes no more jobs, and finishes those that are here. */
  async stop(): Promise<void> {
    await this.#worker.close();
    await this.#endLocal();
  }

  /** Gives back what has not ended, once it is stopping. */
  giveBack(): void {
    this.#givingBack = true;
    void this.#endLocal();
  }

  /** Lets go of everything: nobody awaits it. Then nothing here writes to Redis any more. */
  async abandon(): Promise<void> {
    await Promise.allSettled([this.#worker.close(true), this.#endLocal()]);
    if (this.running > 0) await new Promise<void>((resolve) => this.#whenIdle = resolve);
  }

  async #endLocal(): Promise<void> {
    this.#ended = true;
    const local = await this.#local?.catch(() => undefined);
    await local?.terminate();
  }

  /** What BullMQ calls for each job. */
  async #process(job: Job<JobData, JobResult>, token: string | undefined): Promise<JobResult> {
    const controller = job.data.c ? new AbortController() : undefined;
    this.#running.set(job.id!, controller);
    try {
      return await this.#answer(job, controller?.signal);
    } catch (error) {
      if (this.#givingBack) {
        await job.moveToWait(token);
        throw new WaitingError();
      }
      if (error instanceof Gone) return { g: error.message };
      if (error instanceof Refused) return { r: `Cannot run on ${hostName()}: ${error.message}` };
      return { e: await this.#parcels.send(job.id!, "out", encodeError(error, refuse)) };
    } finally {
      this.#running.delete(job.id!);
      if (this.running === 0) this.#whenIdle?.();
    }
  }

  async #answer(job: Job<JobData>, signal: AbortSignal | undefined): Promise<JobResult> {
    const { f, i } = job.data;
    // Whatever is there is not awaited: a worker is woken before BullMQ asks Redis for the next job.
    const found = this.#functions.find(f);
    const runnable = typeof found === "string" ? found : await found;
    const input = "b" in i ? i.b : await this.#parcels.fetch(i);
    const local = this.#ready ?? await this.#workers();
    const inTurn = job.stalledCounter > 0 || this.#turn !== undefined;
    const next = inTurn ? await this.#takeTurn(job) : undefined;
    this.#working++;
    next?.();
    try {
      return this.#pack(job.id!, await this.#run(local, job.data, runnable, input, signal));
    } finally {
      this.#working--;
      this.#freed?.();
    }
  }

  #run(
    local: Pool,
    { m, t, g }: JobData,
    runnable: Runnable,
    input: Input,
    signal: AbortSignal | undefined,
  ): Promise<Output> {
    if (signal === undefined) return local.apply(runJob, [runnable, m, input]);
    const limits = { signal, timeout: t ?? Infinity, grace: g ?? Infinity };
    return t !== undefined && m !== "call"
      ? runEach(local, runnable, m === "starmap", input, limits)
      : local.apply(runJob, [runnable, m, input], limits);
  }

  /**
   * A job that was lost before begins only when a worker is free, and tells the client first: should it be
   * lost again, that may be its own doing. Those that come later wait behind it, until the function that
   * this returns is called.
   */
  async #takeTurn(job: Job<JobData>): Promise<() => void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    const next = (): void => {
      if (this.#turn === promise) this.#turn = undefined;
      resolve();
    };
    await before;
    if (job.stalledCounter === 0) return next;
    while (this.#working >= this.#slots) {
      await new Promise<void>((resolve) => this.#freed = resolve);
    }
    try {
      await job.updateProgress(job.stalledCounter);
      return next;
    } catch (error) {
      next();
      throw error;
    }
  }

  #pack(job: string, [kind, bytes, took]: Output): JobResult | Promise<JobResult> {
    this.#appetite.note(took);
    this.#worker.concurrency = this.#appetite.size;
    if (typeof bytes !== "string") return this.#packMany(job, kind, bytes);
    return kind === "v" ? { v: { b: bytes } } : { e: { b: bytes } };
  }

  async #packMany(job: string, kind: "v" | "e", bytes: Uint8Array): Promise<JobResult> {
    const sent = await this.#parcels.send(job, "out", bytes);
    return kind === "v" ? { v: sent } : { e: sent };
  }

  async #workers(): Promise<Pool> {
    if (this.#ended) throw new ClosedError("Cannot run a job: the daemon has left its pool");
    try {
      return this.#ready = await (this.#local ??= this.#open());
    } catch (error) {
      this.#local = undefined;
      throw error;
    }
  }

  async #open(): Promise<Pool> {
    const { initializer, maxTasks, name } = this.pool;
    const options = {
      processes: this.#slots,
      name,
      ...maxTasks !== null && { maxTasksPerChild: maxTasks },
    };
    if (initializer === null) return new Pool(options);
    const runnable = await this.#functions.find(initializer.fn);
    const args = fromBase64(initializer.args);
    return new Pool({ ...options, initializer: prepare, initargs: [runnable, args] });
  }
}

/** What a call may take. */
interface Limits {
  signal: AbortSignal;
  timeout: number;
  grace: number;
}

/** Runs a chunk whose items have a time limit, each as a task of its own: one that is late fails alone. */
async function runEach(
  local: Pool,
  runnable: Runnable,
  spread: boolean,
  input: Input,
  options: Limits,
): Promise<Output> {
  const begun = performance.now();
  const items = decodeValue(bytesOf(input)) as unknown[];
  const result: ChunkResult = { values: [], errors: [], took: 0 };
  const run = async (item: unknown, at: number): Promise<void> => {
    const args = encodeValue(spread ? item : [item], "args", refuse);
    try {
      const [kind, output] = await local.apply(runJob, [runnable, "call", args], options);
      const bytes = bytesOf(output);
      if (kind === "v") result.values[at] = decodeValue(bytes);
      else result.errors.push([at, bytes]);
    } catch (error) {
      result.errors.push([at, encodeError(error, refuse)]);
    }
  };
  await Promise.all(items.map(run));
  options.signal.throwIfAborted();
  result.values.length = items.length;
  result.took = performance.now() - begun;
  return ["v", encodeValue(result, "result", refuse), result.took];
}

function bytesOf(bytes: string | Uint8Array): Uint8Array {
  return typeof bytes === "string" ? fromBase64(bytes) : bytes;
}
