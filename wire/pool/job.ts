/**
 * What a pool asks of whatever runs its tasks: the workers of this machine, or those of a cluster.
 *
 * @module
 */

/** How a job's function is called: once with all of the input, or with each item of it. */
export type JobMode = "call" | "map";

/** What came of a `map` job: the values and, by index, the errors of items that have none. */
export interface MapResult {
  values: unknown[];
  errors: Map<number, unknown>;
}

/** Something to be run by a worker, once: one of the two functions is called in the end. */
export interface Job {
  readonly mode: JobMode;
  /** Takes what the function returned; a {@linkcode MapResult} if the mode is `map`. */
  resolve(value: unknown): void;
  /** Takes what the function threw, or why there is no answer. */
  reject(error: unknown): void;
}

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
  /** Tasks that have failed. */
  failed: number;
  /** Workers that were replaced. */
  replaced: number;
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
  submit(target: unknown, input: unknown[], job: Job): void;
  /** Runs what was submitted, then ends the workers. */
  close(): void;
  /** Ends the workers now; unsettled jobs fail with `reason`. */
  terminate(reason: unknown): void;
  /** Resolves when all workers have ended, after `close` or `terminate`. */
  readonly ended: Promise<void>;
  stats(): PoolStats;
}
