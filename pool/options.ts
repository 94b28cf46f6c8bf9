import type { PoolBackend } from "../backend.ts";
import {
  checkNoBare,
  checkOptions,
  checkSignal,
  checkSpelling,
  spelling,
} from "../memory/options.ts";
import { show } from "../memory/show.ts";
import type { Target } from "../target.ts";
import type { Transferable } from "../target.ts";

/** Options of a {@linkcode Pool}. */
export interface PoolOptions {
  /**
   * Number of workers.
   *
   * @default {cpuCount()}
   */
  processes?: number | undefined;
  /**
   * Called once in each worker, before its first task. If it throws, what is pending and what comes
   * later rejects with that error.
   */
  initializer?: Target<never[], unknown> | undefined;
  /** Arguments of the initializer, copied to each worker. */
  initargs?: unknown[] | undefined;
  /**
   * A worker is replaced after so many tasks. A chunk of a map is one task.
   *
   * @default {Infinity}
   */
  maxTasksPerChild?: number | undefined;
  /**
   * Workers are named `${name}-1` and so on.
   *
   * @default {"PoolWorker"}
   */
  name?: string | undefined;
  /**
   * What runs the tasks, if not workers on this machine. Its own documentation says what is different.
   *
   * @default {the one that was set by `setDefaultBackend()`, or workers on this machine}
   */
  backend?: PoolBackend | undefined;
}

/** Options of {@linkcode Pool.apply}. */
export interface TaskOptions {
  /**
   * Cancels the task: the call rejects with the signal's reason. Who waits in the queue is dropped. If
   * the task is running, `currentProcess().signal` aborts in it, and after `grace` its worker is
   * stopped and replaced.
   */
  signal?: AbortSignal | undefined;
  /**
   * So many milliseconds may the function take, from when it is called in the worker; then the task is
   * stopped as by `signal`, and rejects with {@linkcode TimeoutError}. In a map it goes for each item.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * So many milliseconds a task that was told to stop may go on.
   *
   * @default {0}
   */
  grace?: number | undefined;
  /** Buffers and ports in the arguments, or in the items, that are moved rather than copied. */
  transfer?: Transferable[] | undefined;
}

/** Options of {@linkcode Pool.map}. */
export interface MapOptions extends TaskOptions {
  /**
   * Items that travel, and are run, together. With a `timeout` each travels alone.
   *
   * @default {chosen by the pool: in map, split when a worker has nothing to do; in imap, 1 at first, and
   * more as long as they take less than 0.2 ms}
   */
  chunkSize?: number | undefined;
  /** Called after each chunk with the number of items done, and of all items if it is known. */
  onProgress?: ((done: number, total: number | undefined) => void) | undefined;
}

/** Options of {@linkcode Pool.imap}. */
export interface ImapOptions extends MapOptions {
  /**
   * Inputs read ahead of the consumer.
   *
   * @default {4 chunks a worker}
   */
  bufferSize?: number | undefined;
}

/** Options of a task, checked. */
export interface CheckedTaskOptions {
  signal: AbortSignal | undefined;
  timeout: number;
  grace: number;
  transfer: readonly Transferable[] | undefined;
}

const MEANT_BY_APPLY = { number: "timeout" };
/** Python's maps take a chunk size behind the items. */
const MEANT_BY_MAP = { number: "chunkSize" };

const CALL_NAMES = spelling("onProgress", "chunkSize", "bufferSize", "callback", "errorCallback");

/** Checks that the options of a call are an object. `verb` is what was called, for errors. */
export function checkCallOptions(verb: string, options: object): void {
  checkOptions(verb, options, verb.startsWith("apply") ? MEANT_BY_APPLY : MEANT_BY_MAP);
  checkNoBare(verb, options, "signal", AbortSignal);
  checkSpelling(verb, options, CALL_NAMES);
}

/** Checks the options of a task. */
export function checkTaskOptions(verb: string, options: TaskOptions): CheckedTaskOptions {
  checkCallOptions(verb, options);
  const { signal, timeout = Infinity, grace = 0, transfer } = options;
  checkSignal(verb, signal);
  if (typeof timeout !== "number") {
    throw new TypeError(
      `Cannot ${verb}: 'timeout' must be a number of milliseconds, but is ${show(timeout)}`,
    );
  }
  if (Number.isNaN(timeout)) {
    throw new RangeError(`Cannot ${verb}: 'timeout' must be a number of milliseconds, but is NaN`);
  }
  if (typeof grace !== "number" || !(grace >= 0)) {
    throw new RangeError(
      `Cannot ${verb}: 'grace' must be a number of milliseconds >= 0, but is ${show(grace)}`,
    );
  }
  if (transfer !== undefined && !Array.isArray(transfer)) {
    throw new TypeError(
      `Cannot ${verb}: 'transfer' must be an array of buffers and ports, but is ${show(transfer)}`,
    );
  }
  return { signal, timeout: Math.max(0, timeout), grace, transfer };
}

/** Checks the options that a map has besides. */
export function checkChunkSize(verb: string, options: MapOptions): number | undefined {
  checkCallback(verb, "onProgress", options.onProgress);
  return checkCount(verb, "chunkSize", options.chunkSize);
}

/** Checks a number of things: undefined, or an integer from 1 on. */
export function checkCount(verb: string, name: string, value: number | undefined): typeof value {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) return value;
  throw new RangeError(`Cannot ${verb}: '${name}' must be an integer >= 1, but is ${show(value)}`);
}

/** Checks a function that is to be called here. */
export function checkCallback(verb: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(`Cannot ${verb}: '${name}' must be a function, but is ${show(value)}`);
}
