/**
 * What a pool asks of whatever runs its tasks: the workers of this machine, or those of a cluster.
 *
 * @module
 */

import type { Sources } from "./caller.ts";
import type { Transferable } from "../../runtime/port.ts";

/**
 * How a job's function is called: once with all of the input as arguments; with each item of it; or
 * with each item's own items as arguments.
 */
export type JobMode = "call" | "map" | "starmap";

/** What came of a chunk of a map: the values and, by index, the errors of items that have none. */
export interface MapResult {
  /** Fewer than the items, if the last ones were given back. */
  values: unknown[];
  /** What was thrown, by index. */
  errors: ReadonlyMap<number, unknown>;
  /** How long the worker took, in ms. */
  took: number;
  /** For the stacks of the errors. */
  sources: Sources;
}

/** Something to be run by a worker, once. */
export type Job = Answer | FullJob;

/**
 * A plain call of which only the answer matters: the function that resolves its promise. There may be a
 * million of them, and each object that stays costs the memory's keeper as much as the call itself.
 */
export interface Answer {
  (value: unknown): void;
  /** It is a call. */
  readonly mode?: undefined;
  /** It asks for nothing. */
  readonly watch?: undefined;
  /** The runtime knows who awaits it. */
  readonly mark?: undefined;
}

/** Any other job: one of its two functions is called in the end. */
export interface FullJob {
  /** How its function is called. */
  readonly mode: JobMode;
  /** What it asks for beyond being run; undefined if nothing. */
  readonly watch: Watch | undefined;
  /** Which item of its map the input begins with. */
  readonly first: number;
  /** Made where the job was submitted; undefined if that took too long. */
  readonly mark: Error | undefined;
  /** Takes what the function returned; a {@linkcode MapResult} if the mode is not `call`. */
  resolve(value: unknown): void;
  /** Takes what the function threw, or why there is no answer. */
  reject(error: unknown): void;
}

/** Whether a job is a single call. */
export function isCall(job: Job): boolean {
  return job.mode === undefined || job.mode === "call";
}

/** Settles a job with what came of it. */
export function resolveJob(job: Job, value: unknown): void {
  if (typeof job === "function") job(value);
  else job.resolve(value);
}

/** Settles a job with why nothing came of it. */
export function rejectJob(job: Job, error: unknown): void {
  if (typeof job === "function") job(Promise.reject(error));
  else job.reject(error);
}

/** What a job asks for beyond being run. Only a job that has one can be cancelled. */
export interface Watch {
  /** So long may a call take, in ms. */
  readonly timeout: number;
  /** So long may a call go on after it was told to stop, in ms; then its worker is stopped. */
  readonly grace: number;
  /**
   * Takes back the items from `from` on: no worker has begun them. Called while another worker has
   * nothing to do, or when the worker of a chunk has ended. The backend forgets it where something of
   * the input was moved.
   */
  giveBack: ((from: number) => void) | undefined;
  /** The task's number while the workers know it; otherwise one of the two below. The backend's. */
  task: number;
}

/** {@linkcode Watch.task} of a job that waits in the backlog. */
export const WAITS: number = 0;

/** {@linkcode Watch.task} of a job that has been settled, or was not submitted. */
export const SETTLED: number = -1;

/** A pool at a glance. */
export interface PoolStats {
  /** Number of workers. */
  size: number;
  /** Workers without a task. */
  idle: number;
  /** Tasks that wait for a worker. */
  queued: number;
  /** Tasks that a worker is running, or whose result is on its way. */
  running: number;
  /** Tasks that have ended well. */
  completed: number;
  /** Tasks that have failed, or were cancelled. */
  failed: number;
  /** Workers that were replaced. */
  replaced: number;
}

/** What of an input is moved rather than copied. */
export interface Moving {
  /** Moved with this input, wherever it stands. */
  transfer?: readonly Transferable[] | undefined;
  /** Moved if it stands in this input. */
  movable?: ReadonlySet<unknown> | undefined;
}

/** Runs jobs. */
export interface Backend {
  /** Number of workers. */
  readonly size: number;
  /**
   * Takes a job.
   *
   * @param target The function: anything that describeTarget() takes.
   * @param input Its arguments or, for `map`, the items.
   * @throws {TargetError} If the function cannot be sent.
   * @throws {EncodingError} If the input cannot be sent.
   */
  submit(target: unknown, input: unknown[], job: Job, moving?: Moving): void;
  /**
   * Rejects a job that has a watch, unless it is settled. If a worker runs it, the task is told to stop,
   * and the worker is stopped after `grace` milliseconds; if that is undefined, it is left alone.
   */
  cancel(job: Job, reason: unknown, grace: number | undefined): void;
  /** Runs what was submitted, then ends the workers. */
  close(): void;
  /** Ends the workers now; unsettled jobs fail with `reason`. */
  terminate(reason: unknown): void;
  /** Resolves when all workers have ended, after `close` or `terminate`. */
  readonly ended: Promise<void>;
  /** The pool at a glance. */
  stats(): PoolStats;
}
