/**
 * Pools: a fixed number of processes that take tasks as they become idle.
 *
 * @example Usage
 * ```ts
 * import { Pool } from "@multiprocessing/core/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool({ processes: 2 });
 * assertEquals(await pool.map((n: number) => n + 3, [1, 2, 3, 4, 5]), [4, 5, 6, 7, 8]);
 * ```
 *
 * The way of the data is drawn in `wire/pool/local_backend.ts`.
 *
 * @module
 */

import { ClosedError, ProcessError, type WaitOptions } from "./errors.ts";
import { checkTimeout, within } from "./memory/timeout.ts";
import { PENDING } from "./memory/wait.ts";
import { cpuCount } from "./process.ts";
import type { Target } from "./target.ts";
import { registerExports } from "./wire/target/exports.ts";
import type { Backend, Job, JobMode, MapResult, PoolStats } from "./wire/pool/job.ts";
import { LocalBackend } from "./wire/pool/local_backend.ts";
import { WORKER_URL } from "./_worker.ts";

export type { PoolStats, Target, WaitOptions };

/** Options of a {@linkcode Pool}. */
export interface PoolOptions {
  /**
   * Number of workers.
   *
   * @default {cpuCount()}
   */
  processes?: number;
  /**
   * Workers are named `${name}-1` and so on.
   *
   * @default {"PoolWorker"}
   */
  name?: string;
}

/** Options of {@linkcode Pool.map}. */
export interface MapOptions {
  /**
   * Items that travel, and are run, together.
   *
   * @default {items / (4 * workers), at most 1024; for imap 1}
   */
  chunkSize?: number;
  /** Called after each chunk with the number of items done, and of all items if it is known. */
  onProgress?: (done: number, total: number | undefined) => void;
}

/** Options of {@linkcode Pool.imap}. */
export interface ImapOptions extends MapOptions {
  /**
   * Inputs read ahead of the consumer.
   *
   * @default {4 chunks a worker}
   */
  bufferSize?: number;
}

const NO_ARGS: never[] = [];
const MAX_CHUNK = 1024;
const CHUNKS_PER_WORKER = 4;

/**
 * A pool of worker processes.
 *
 * **Pulled.** Idle workers take the next task themselves: a long task holds up nothing but itself.
 * **Robust.** A worker that dies fails the task that it was running, with {@linkcode ProcessLostError};
 * it is replaced, and the pool goes on. **Quiet.** An idle pool does not keep the program alive.
 * **Awaited.** At the end of `await using`, what was accepted still runs (Python's `with` terminates).
 *
 * Semantics: Python's `multiprocessing.Pool`.
 *
 * @example Usage
 * ```ts
 * import { Pool } from "@multiprocessing/core/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool({ processes: 2 });
 * assertEquals(await pool.apply((a: number, b: number) => a * b, [6, 7]), 42);
 * for await (const square of pool.imap((n: number) => n * n, [1, 2, 3])) {
 *   assertEquals(Math.sqrt(square) % 1, 0);
 * }
 * ```
 */
export class Pool implements AsyncDisposable {
  readonly #backend: Backend;
  #state: "open" | "closed" | "terminated" = "open";

  /**
   * Starts the workers.
   *
   * @param options How many, and their name.
   * @throws {RangeError} If `processes` is no integer >= 1.
   * @throws {ProcessError} If this process may not start others: see {@linkcode Process.start}.
   */
  constructor(options: PoolOptions = {}) {
    const { processes = cpuCount(), name = "PoolWorker" } = options;
    if (!Number.isSafeInteger(processes) || processes < 1) {
      throw new RangeError(
        `Cannot create Pool: 'processes' must be an integer >= 1, but is ${processes}`,
      );
    }
    this.#backend = new LocalBackend({ module: WORKER_URL, size: processes, name });
  }

  /** Number of workers. */
  get size(): number {
    return this.#backend.size;
  }

  /**
   * Calls a function in a worker.
   *
   * @param fn The function; see {@linkcode Target} for what can be sent.
   * @param args Its arguments, copied now.
   * @returns What it returns.
   * @throws {ClosedError} If the pool has been closed.
   * @throws {TargetError} If the function cannot be sent.
   * @throws {EncodingError} If an argument or the result cannot be sent.
   * @throws {ProcessLostError} If the worker ended before it answered.
   */
  apply<A extends unknown[], R>(fn: Target<A, R>, args?: A): Promise<Awaited<R>> {
    if (args !== undefined && !Array.isArray(args)) {
      const error = `Cannot apply: 'args' must be an array, but is ${typeof args}`;
      return Promise.reject(new TypeError(error));
    }
    return this.#run(fn, "call", args ?? NO_ARGS) as Promise<Awaited<R>>;
  }

  /**
   * Calls a function with each of the items, and waits for all.
   *
   * @param fn The function.
   * @param items Its arguments, one a call.
   * @param options Chunks and progress.
   * @returns The results, in the order of the items.
   * @throws {unknown} The first error in the order of the items, after the others have run.
   */
  async map<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options: MapOptions = {},
  ): Promise<Awaited<R>[]> {
    const chunkSize = checkChunkSize(options.chunkSize);
    this.#checkOpen();
    // What is there is submitted now: a close() right after this call does not come before it.
    const inputs = Symbol.asyncIterator in Object(items)
      ? await Array.fromAsync(items)
      : Array.from(items as Iterable<T>);
    const spread = Math.ceil(inputs.length / (CHUNKS_PER_WORKER * this.size));
    const size = chunkSize ?? Math.min(Math.max(1, spread), MAX_CHUNK);
    let done = 0;
    const chunks = chunked(inputs, size).map(async (chunk) => {
      const result = await this.#runChunk(fn, chunk);
      options.onProgress?.(done += chunk.length, inputs.length);
      return result;
    });
    const results = await Promise.all(chunks);
    for (const { errors } of results) for (const error of errors.values()) throw error;
    return results.flatMap(({ values }) => values) as Awaited<R>[];
  }

  /**
   * Calls a function with each of the items, and yields the results in the order of the items. The items
   * may be endless: they are read as the results are consumed.
   *
   * @param fn The function.
   * @param items Its arguments, one a call.
   * @param options Chunks, progress, and how far to read ahead.
   * @returns An iterator. An item that failed throws its error, which ends the iteration.
   */
  imap<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options: ImapOptions = {},
  ): AsyncIterableIterator<Awaited<R>> {
    const size = checkChunkSize(options.chunkSize) ?? 1;
    const bufferSize = checkBufferSize(options.bufferSize) ?? CHUNKS_PER_WORKER * this.size * size;
    const ahead = Math.max(1, Math.floor(bufferSize / size));
    this.#checkOpen();
    const run = (chunk: T[]) => this.#runChunk(fn, chunk);
    return yieldItems(readAhead(items, size, ahead, run), options.onProgress);
  }

  /** Takes no more work; what was accepted still runs. */
  close(): void {
    if (this.#state !== "open") return;
    this.#state = "closed";
    this.#backend.close();
  }

  /**
   * Stops the workers now; pending calls reject with {@linkcode ClosedError}.
   *
   * @returns When all workers have ended.
   */
  async terminate(): Promise<void> {
    this.#state = "terminated";
    this.#backend.terminate(new ClosedError("The pool was terminated"));
    await within(this.#backend.ended, Infinity);
  }

  /**
   * Waits until all workers have ended.
   *
   * @param options Timeout and signal.
   * @returns True; false when `timeout` is over.
   * @throws {ProcessError} If the pool is still open.
   */
  async join(options: WaitOptions = {}): Promise<boolean> {
    if (this.#state === "open") {
      throw new ProcessError("Cannot join Pool: it is open; call close() or terminate() first");
    }
    const timeout = checkTimeout(options.timeout);
    return await within(this.#backend.ended, timeout, options.signal) !== PENDING;
  }

  /**
   * What the pool is doing; cheap.
   *
   * @returns Counts of workers and of tasks; a chunk of a map is one task.
   */
  stats(): PoolStats {
    return this.#backend.stats();
  }

  /** Closes the pool and joins it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.join();
  }

  #run(target: unknown, mode: JobMode, input: unknown[]): Promise<unknown> {
    const promise = new Promise(capture);
    const job = { mode, resolve: captured.resolve, reject: captured.reject };
    try {
      this.#checkOpen();
      this.#backend.submit(target, input, job);
    } catch (error) {
      job.reject(error);
    }
    return promise;
  }

  #checkOpen(): void {
    if (this.#state !== "open") throw new ClosedError("Cannot use Pool: it has been closed");
  }

  /** Runs the items of a chunk together. What fails the whole chunk is the error of its first item. */
  async #runChunk(fn: unknown, chunk: unknown[]): Promise<MapResult> {
    try {
      return await this.#run(fn, "map", chunk) as MapResult;
    } catch (error) {
      return { values: new Array(chunk.length), errors: new Map([[0, error]]) };
    }
  }
}

/** The functions of the promise made last: so that a task takes no closure of its own. */
const captured: Pick<Job, "resolve" | "reject"> = { resolve() {}, reject() {} };

function capture(resolve: Job["resolve"], reject: Job["reject"]): void {
  captured.resolve = resolve;
  captured.reject = reject;
}

function chunked<T>(items: T[], size: number): T[][] {
  const chunks: T[][] = [];
  for (let i = 0; i < items.length; i += size) chunks.push(items.slice(i, i + size));
  return chunks;
}

/**
 * Runs chunks of the items, at most `ahead` of them before the consumer, and yields what comes of them in
 * order. An error of the items' iterator comes in its place.
 */
async function* readAhead<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  size: number,
  ahead: number,
  run: (chunk: T[]) => Promise<R>,
): AsyncGenerator<R> {
  const source = chunksOf(items, size);
  const running: Promise<R>[] = [];
  let reading: Promise<boolean> | undefined;
  let failure: { error: unknown } | undefined;
  let ended = false;
  const read = async (): Promise<boolean> => {
    try {
      const { done, value } = await source.next();
      if (done) ended = true;
      else running.push(run(value));
    } catch (error) {
      failure = { error };
      ended = true;
    }
    reading = undefined;
    return false;
  };
  try {
    for (;;) {
      // A slow source must not hold back results that are there already.
      while (!ended && running.length < ahead) {
        reading ??= read();
        const first = running[0]?.then(() => true, () => true);
        if (await (first === undefined ? reading : Promise.race([first, reading]))) break;
      }
      const next = running.shift();
      if (next === undefined) break;
      yield await next;
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    const left = source.return(undefined);
    // A source that is stuck must not hold up whoever leaves the loop.
    if (reading === undefined) await left;
    else left.catch(() => {});
  }
}

/** Yields the values of chunks, up to the first error. */
async function* yieldItems<R>(
  chunks: AsyncIterable<MapResult>,
  onProgress: MapOptions["onProgress"],
): AsyncGenerator<R> {
  let done = 0;
  for await (const { values, errors } of chunks) {
    onProgress?.(done += values.length, undefined);
    for (let i = 0; i < values.length; i++) {
      if (errors.has(i)) throw errors.get(i);
      yield values[i] as R;
    }
  }
}

async function* chunksOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  size: number,
): AsyncGenerator<T[]> {
  let chunk: T[] = [];
  try {
    for await (const item of items) {
      chunk.push(item);
      if (chunk.length < size) continue;
      yield chunk;
      chunk = [];
    }
  } catch (error) {
    // What was read before the error is run before it is reported.
    if (chunk.length > 0) yield chunk;
    throw error;
  }
  if (chunk.length > 0) yield chunk;
}

function checkChunkSize(value: number | undefined): number | undefined {
  return checkCount("chunkSize", value);
}

function checkBufferSize(value: number | undefined): number | undefined {
  return checkCount("bufferSize", value);
}

function checkCount(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) return value;
  throw new RangeError(`Cannot map: '${name}' must be an integer >= 1, but is ${value}`);
}

registerExports({ Pool });
