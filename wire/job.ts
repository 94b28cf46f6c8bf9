/**
 * What a pool asks of whatever runs its tasks: the workers of this machine, or those of a cluster.
 *
 * @module
 */

/** How a job's function is called: once with all of the input, or with each item of it. */
export type JobMode = "call" | "map";

/** What came of a job. */
export type Outcome =
  | { ok: true; value: unknown }
  | { ok: false; error: unknown };

/** What came of a `map` job: the values and, by index, the errors of items that have none. */
export interface MapResult {
  values: unknown[];
  errors: Map<number, unknown>;
}

/** Something to be run by a worker, once. */
export interface Job {
  /** The function: anything that describeTarget() takes. */
  readonly target: unknown;
  readonly mode: JobMode;
  readonly input: unknown[];
  /** Called once; the value of a `map` job is a {@linkcode MapResult}. */
  settle(outcome: Outcome): void;
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
  /** Takes a job. Throws if its function or input cannot be sent. */
  submit(job: Job): void;
  /** Runs what was submitted, then ends the workers. */
  close(): void;
  /** Ends the workers now; unsettled jobs fail with `reason`. */
  terminate(reason: unknown): void;
  /** Resolves when all workers have ended, after `close` or `terminate`. */
  readonly ended: Promise<void>;
  stats(): PoolStats;
}
