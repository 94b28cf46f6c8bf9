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
import { Imap } from "./wire/pool/imap.ts";
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
  /** Those whose inputs are still to be read as they are consumed. */
  readonly #imaps = new Set<Imap>();
  /** Inputs of map() that are being read. */
  readonly #reading = new Set<Promise<void>>();
  /** Rejects when the pool is terminated. */
  readonly #terminated = Promise.withResolvers<never>();
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
    this.#terminated.promise.catch(() => {});
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
    if (this.#state !== "open") return Promise.reject(closedError());
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
    const chunks = await this.#accept(async () => {
      // What is there is submitted now; only a source of promises takes its time.
      const inputs = Symbol.asyncIterator in Object(items)
        ? await Promise.race([Array.fromAsync(items), this.#terminated.promise])
        : Array.from(items as Iterable<T>);
      return this.#runChunks(fn, inputs, chunkSize, options.onProgress);
    });
    const results = await Promise.all(chunks);
    for (const { errors } of results) for (const error of errors.values()) throw error;
    return results.flatMap(({ values }) => values) as Awaited<R>[];
  }

  /** Submits all items, in chunks. */
  #runChunks(
    fn: unknown,
    inputs: unknown[],
    chunkSize: number | undefined,
    onProgress: MapOptions["onProgress"],
  ): Promise<MapResult>[] {
    const spread = Math.ceil(inputs.length / (CHUNKS_PER_WORKER * this.size));
    const size = chunkSize ?? Math.min(Math.max(1, spread), MAX_CHUNK);
    let done = 0;
    return chunked(inputs, size).map(async (chunk) => {
      const result = await this.#runChunk(fn, chunk);
      onProgress?.(done += chunk.length, inputs.length);
      return result;
    });
  }

  /** Reads inputs and submits them: a close() that comes meanwhile waits for that. */
  async #accept<R>(submit: () => Promise<R>): Promise<R> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reading.add(promise);
    try {
      return await submit();
    } finally {
      this.#reading.delete(promise);
      resolve();
      this.#closeWhenRead();
    }
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
    const run = (chunk: unknown[]) => this.#runChunk(fn, chunk);
    const imap = new Imap(items, { size, ahead, run });
    this.#imaps.add(imap);
    return this.#yieldItems(imap, options.onProgress);
  }

  async *#yieldItems<R>(imap: Imap, onProgress: MapOptions["onProgress"]): AsyncGenerator<R> {
    let done = 0;
    try {
      for (let next = await imap.next(); next !== undefined; next = await imap.next()) {
        onProgress?.(done += next.values.length, undefined);
        for (let i = 0; i < next.values.length; i++) {
          if (next.errors.has(i)) throw next.errors.get(i);
          yield next.values[i] as R;
        }
      }
    } finally {
      this.#imaps.delete(imap);
      this.#closeWhenRead();
      await imap.stop();
    }
  }

  /**
   * Takes no more work; what was accepted still runs. An {@linkcode imap} over a list, a set or a map is
   * read to its end now; one over any other source goes on as its results are consumed.
   */
  close(): void {
    if (this.#state !== "open") return;
    this.#state = "closed";
    for (const imap of this.#imaps) {
      if (!imap.sized) continue;
      imap.flush();
      this.#imaps.delete(imap);
    }
    this.#closeWhenRead();
  }

  /** Lets the workers end once nobody reads inputs any more. */
  #closeWhenRead(): void {
    if (this.#state === "closed" && this.#imaps.size + this.#reading.size === 0) {
      this.#backend.close();
    }
  }

  /**
   * Stops the workers now; pending calls reject with {@linkcode ClosedError}.
   *
   * @returns When all workers have ended.
   */
  async terminate(): Promise<void> {
    this.#state = "terminated";
    const reason = new ClosedError("The pool was terminated");
    this.#terminated.reject(reason);
    this.#backend.terminate(reason);
    await within(this.#backend.ended, Infinity);
  }

  /**
   * Waits until all workers have ended. What reads its inputs only as its results are consumed (an
   * {@linkcode imap} over a generator or a stream) is cut off by it: its next read fails with
   * {@linkcode ClosedError}, since nobody might ever consume it.
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
    return await within(this.#finish(), timeout, options.signal) !== PENDING;
  }

  async #finish(): Promise<void> {
    await Promise.all(this.#reading);
    this.#imaps.clear();
    this.#closeWhenRead();
    await this.#backend.ended;
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
      this.#backend.submit(target, input, job);
    } catch (error) {
      job.reject(error);
    }
    return promise;
  }

  #checkOpen(): void {
    if (this.#state !== "open") throw closedError();
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

function closedError(): ClosedError {
  return new ClosedError("Cannot use Pool: it has been closed");
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
