import { ClosedError, ProcessError, type WaitOptions } from "../errors.ts";
import { checkOptions, checkSpelling, spelling } from "../memory/options.ts";
import { show } from "../memory/show.ts";
import { checkWait, within } from "../memory/timeout.ts";
import { PENDING } from "../memory/wait.ts";
import { cpuCount } from "../process.ts";
import type { Target } from "../target.ts";
import { atCall, markCall } from "../wire/pool/caller.ts";
import { Imap } from "../wire/pool/imap.ts";
import {
  type Answer,
  type Backend,
  type FullJob,
  type JobMode,
  type PoolStats,
  SETTLED,
} from "../wire/pool/job.ts";
import { LocalBackend } from "../wire/pool/local_backend.ts";
import { MapRun } from "../wire/pool/map_run.ts";
import { packInitializer } from "../wire/pool/initializer.ts";
import { checkTransferables } from "../wire/codec/graph.ts";
import { refuseToSend } from "../wire/codec/kind_of.ts";
import { registerExports } from "../wire/target/exports.ts";
import { WORKER_URL } from "../_worker.ts";
import { defaultBackend, type PoolBackend } from "../backend.ts";
import { type AsyncCallbacks, type AsyncResult, type Call, CallResult } from "./async_result.ts";
import {
  checkCallback,
  checkCallOptions,
  checkChunkSize,
  checkCount,
  checkTaskOptions,
  type ImapOptions,
  type MapOptions,
  type PoolOptions,
  type TaskOptions,
} from "./options.ts";

export type { PoolStats };

const NO_ARGS: never[] = [];
const NO_OPTIONS = {};

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
export class Pool {
  readonly #backend: Backend;
  /** Those whose inputs are still to be read as they are consumed. */
  readonly #imaps = new Set<Imap<unknown>>();
  /** Maps whose inputs are being read, or whose items may still be given back. */
  readonly #maps = new Set<MapRun>();
  #state: "open" | "closed" | "terminated" = "open";

  /**
   * Starts the workers.
   *
   * @param options How many, and how.
   * @throws {RangeError} If `processes` or `maxTasksPerChild` is no integer >= 1.
   * @throws {TypeError} If `initializer` is no function, or `initargs` no array.
   * @throws {TargetError} If `initializer` cannot be sent.
   * @throws {EncodingError} If `initargs` cannot be sent.
   * @throws {ProcessError} If this process may not start others: see {@linkcode Process.start}.
   */
  constructor(options: PoolOptions = NO_OPTIONS) {
    checkOptions("create Pool", options, { number: "processes" });
    checkSpelling("create Pool", options, POOL_NAMES);
    const { initializer, initargs = NO_ARGS, name = "PoolWorker" } = options;
    const processes = checkCount("create Pool", "processes", options.processes);
    const maxTasksPerChild = checkCount(
      "create Pool",
      "maxTasksPerChild",
      options.maxTasksPerChild,
    );
    checkArray("create Pool", "initargs", initargs);
    if (typeof name !== "string") {
      throw new TypeError(`Cannot create Pool: 'name' must be a string, but is ${show(name)}`);
    }
    const backend = options.backend ?? defaultBackend ?? here;
    if (typeof backend?.open !== "function") {
      throw new TypeError(
        `Cannot create Pool: 'backend' must have a method open(), but is ${show(backend)}`,
      );
    }
    this.#backend = backend.open({ processes, initializer, initargs, maxTasksPerChild, name });
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
   * @param options Signal, timeout, and what is moved.
   * @returns What it returns.
   * @throws {ClosedError} If the pool has been closed.
   * @throws {TargetError} If the function cannot be sent.
   * @throws {EncodingError} If an argument or the result cannot be sent.
   * @throws {ProcessLostError} If the worker ended before it answered.
   * @throws {TimeoutError} If the function took longer than `timeout`.
   */
  apply<A extends [], R>(
    fn: Target<[], R>,
    args?: A,
    options?: TaskOptions,
  ): Promise<Awaited<R>>;
  /**
   * Calls a function in a worker, with arguments.
   *
   * @param fn The function; see {@linkcode Target} for what can be sent.
   * @param args Its arguments, copied now.
   * @param options Signal, timeout, and what is moved.
   * @returns What it returns.
   */
  apply<A extends unknown[], R>(
    fn: Target<A, R>,
    args: readonly [...A] | undefined,
    options?: TaskOptions,
  ): Promise<Awaited<R>>;
  apply<R>(
    fn: Target<never[], R>,
    args: readonly unknown[] = NO_ARGS,
    options?: TaskOptions,
  ): Promise<Awaited<R>> {
    try {
      checkArray("apply", "args", args);
      this.#checkOpen();
      if (options !== undefined) return this.#call("apply", fn, args, options).promise as never;
    } catch (error) {
      return Promise.reject(error);
    }
    const promise = new Promise(capture) as Promise<Awaited<R>>;
    const { resolve, reject } = captured;
    const mark = markCall();
    try {
      this.#backend.submit(
        fn,
        args as unknown[],
        mark === undefined ? resolve as Answer : fullCall(mark),
      );
    } catch (error) {
      reject(atCall(error, this.apply, mark));
    }
    return promise;
  }

  /**
   * Like {@linkcode apply}, but returns at once what can be asked for the result, and cancelled.
   *
   * @param fn The function.
   * @param args Its arguments, copied now.
   * @param options As of {@linkcode apply}, and what to call at the end.
   * @returns The result, now or later.
   * @throws {ClosedError} If the pool has been closed.
   * @throws {TypeError} If an option is of the wrong type.
   */
  applyAsync<A extends [], R>(
    fn: Target<[], R>,
    args?: A,
    options?: TaskOptions & AsyncCallbacks<Awaited<R>>,
  ): AsyncResult<Awaited<R>>;
  /**
   * Like {@linkcode apply}, with arguments, but returns at once what can be asked for the result.
   *
   * @param fn The function.
   * @param args Its arguments, copied now.
   * @param options As of {@linkcode apply}, and what to call at the end.
   * @returns The result, now or later.
   */
  applyAsync<A extends unknown[], R>(
    fn: Target<A, R>,
    args: readonly [...A] | undefined,
    options?: TaskOptions & AsyncCallbacks<Awaited<R>>,
  ): AsyncResult<Awaited<R>>;
  applyAsync<R>(
    fn: Target<never[], R>,
    args: readonly unknown[] = NO_ARGS,
    options: TaskOptions & AsyncCallbacks<Awaited<R>> = NO_OPTIONS,
  ): AsyncResult<Awaited<R>> {
    checkCallbacks("applyAsync", options);
    checkArray("applyAsync", "args", args);
    this.#checkOpen();
    const call = this.#call("applyAsync", fn, args, options) as Call<Awaited<R>>;
    return new CallResult(call, options);
  }

  /**
   * Calls a function with each of the items, and waits for all.
   *
   * @param fn The function.
   * @param items Its arguments, one a call. All are read now.
   * @param options Chunks, progress, signal and timeout.
   * @returns The results, in the order of the items.
   * @throws {unknown} The first error in the order of the items, after the others have run; the
   * signal's reason at once.
   */
  map<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options?: MapOptions,
  ): Promise<Awaited<R>[]> {
    return this.#promiseMap("map", fn, items, options) as Promise<Awaited<R>[]>;
  }

  /**
   * Like {@linkcode map}, but returns at once what can be asked for the results, and cancelled.
   *
   * @param fn The function.
   * @param items Its arguments, one a call.
   * @param options As of {@linkcode map}, and what to call at the end.
   * @returns The results, now or later.
   * @throws {ClosedError} If the pool has been closed.
   */
  mapAsync<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options: MapOptions & AsyncCallbacks<Awaited<R>[]> = NO_OPTIONS,
  ): AsyncResult<Awaited<R>[]> {
    checkCallbacks("mapAsync", options);
    const call = this.#map("mapAsync", fn, items, options);
    return new CallResult(call as Call<Awaited<R>[]>, options);
  }

  /**
   * Like {@linkcode map}, but each item is an array of arguments.
   *
   * @param fn The function.
   * @param items Arrays of its arguments, one a call.
   * @param options As of {@linkcode map}.
   * @returns The results, in the order of the items.
   */
  starmap<A extends unknown[], R>(
    fn: Target<A, R>,
    items: Iterable<readonly [...A]> | AsyncIterable<readonly [...A]>,
    options?: MapOptions,
  ): Promise<Awaited<R>[]> {
    return this.#promiseMap("starmap", fn, items, options) as Promise<Awaited<R>[]>;
  }

  /**
   * Like {@linkcode starmap}, but returns at once what can be asked for the results, and cancelled.
   *
   * @param fn The function.
   * @param items Arrays of its arguments, one a call.
   * @param options As of {@linkcode map}, and what to call at the end.
   * @returns The results, now or later.
   * @throws {ClosedError} If the pool has been closed.
   */
  starmapAsync<A extends unknown[], R>(
    fn: Target<A, R>,
    items: Iterable<readonly [...A]> | AsyncIterable<readonly [...A]>,
    options: MapOptions & AsyncCallbacks<Awaited<R>[]> = NO_OPTIONS,
  ): AsyncResult<Awaited<R>[]> {
    checkCallbacks("starmapAsync", options);
    const call = this.#map("starmapAsync", fn, items, options);
    return new CallResult(call as Call<Awaited<R>[]>, options);
  }

  /**
   * Calls a function with each of the items, and yields the results in the order of the items. The items
   * may be endless: they are read as the results are consumed. Who leaves the loop early stops the
   * reading, and what has not begun.
   *
   * @param fn The function.
   * @param items Its arguments, one a call.
   * @param options Chunks, progress, how far to read ahead, signal and timeout.
   * @returns An iterator. An item that failed throws its error, which ends the iteration.
   * @throws {ClosedError} If the pool has been closed.
   */
  imap<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options?: ImapOptions,
  ): AsyncIterableIterator<Awaited<R>> {
    return this.#imap(true, fn, items, options) as AsyncIterableIterator<Awaited<R>>;
  }

  /**
   * Like {@linkcode imap}, but yields each result as soon as it is there.
   *
   * @param fn The function.
   * @param items Its arguments, one a call.
   * @param options As of {@linkcode imap}.
   * @returns An iterator.
   * @throws {ClosedError} If the pool has been closed.
   */
  imapUnordered<T, R>(
    fn: Target<[T], R>,
    items: Iterable<T> | AsyncIterable<T>,
    options?: ImapOptions,
  ): AsyncIterableIterator<Awaited<R>> {
    const imap = this.#imap(false, fn, items, options);
    return imap as AsyncIterableIterator<Awaited<R>>;
  }

  /**
   * Takes no more work; what was accepted still runs. An {@linkcode imap} over a list, a set or a map is
   * read to its end now; one over any other source goes on as its results are consumed.
   */
  close(): void {
    if (this.#state !== "open") return;
    this.#state = "closed";
    for (const imap of this.#imaps) if (imap.sized) imap.flush();
    this.#closeWhenRead();
  }

  /** Lets the workers end once nobody reads inputs any more. */
  #closeWhenRead(): void {
    if (this.#state === "closed" && this.#imaps.size + this.#maps.size === 0) {
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
    for (const run of this.#maps) run.cancel(reason);
    this.#backend.terminate(reason);
    // Those whose items do not come.
    for (const imap of this.#imaps) imap.cancel(reason);
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
  async join(options?: WaitOptions): Promise<boolean> {
    if (this.#state === "open") {
      throw new ProcessError("Cannot join Pool: it is open; call close() or terminate() first");
    }
    const timeout = checkWait(options);
    return await within(this.#finish(), timeout, options?.signal) !== PENDING;
  }

  async #finish(): Promise<void> {
    await Promise.allSettled(Array.from(this.#maps, ({ promise }) => promise));
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

  /** A call with options. */
  #call(
    verb: "apply" | "applyAsync",
    fn: unknown,
    args: readonly unknown[],
    options: TaskOptions,
  ): Call<unknown> {
    const { signal, timeout, grace, transfer } = checkTaskOptions(verb, options);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const watch = { timeout, grace, giveBack: undefined, task: SETTLED };
    const job: FullJob = { mode: "call", watch, first: 0, mark: new Error(), resolve, reject };
    const cancel = (reason: unknown) => this.#backend.cancel(job, reason, grace);
    try {
      signal?.throwIfAborted();
      this.#backend.submit(fn, args as unknown[], job, transfer && { transfer });
      cancelBy(signal, cancel, promise);
    } catch (error) {
      reject(atCall(error, this[verb], job.mark));
    }
    return { promise, cancel };
  }

  async #promiseMap(
    verb: MapVerb,
    fn: unknown,
    items: Items,
    options: MapOptions = NO_OPTIONS,
  ): Promise<unknown[]> {
    return await this.#map(verb, fn, items, options).promise;
  }

  #map(verb: MapVerb, fn: unknown, items: Items, options: MapOptions): Call<unknown[]> {
    const { signal, timeout, grace, transfer } = checkTaskOptions(verb, options);
    const chunkSize = checkChunkSize(verb, options);
    if (transfer !== undefined) checkTransferables(verb, transfer);
    const { mode, cancellable } = MAPS[verb];
    const caller = new Error();
    this.#checkOpen();
    const run = new MapRun({
      backend: this.#backend,
      target: fn,
      mode,
      moving: transfer && { movable: new Set(transfer) },
      chunkSize,
      timeout,
      grace,
      cancellable: cancellable || signal !== undefined,
      caller,
      onProgress: options.onProgress,
    });
    const cancel = (reason: unknown) => run.cancel(reason);
    try {
      if (signal?.aborted !== true) this.#accept(run, items);
    } catch (error) {
      cancel(atCall(error, this[verb], caller));
    }
    cancelBy(signal, cancel, run.promise);
    return { promise: run.promise, cancel };
  }

  /** Starts a map: a close() that comes meanwhile waits for it. */
  #accept(run: MapRun, items: Items): void {
    this.#maps.add(run);
    const end = (): void => {
      this.#maps.delete(run);
      this.#closeWhenRead();
    };
    run.promise.then(end, end);
    run.start(items);
  }

  #imap(
    ordered: boolean,
    fn: unknown,
    items: Items,
    options: ImapOptions = NO_OPTIONS,
  ): Imap<unknown> {
    const verb = ordered ? "imap" : "imapUnordered";
    const { signal, timeout, grace, transfer } = checkTaskOptions(verb, options);
    const chunkSize = checkChunkSize(verb, options);
    if (transfer !== undefined) checkTransferables(verb, transfer);
    const bufferSize = checkCount(verb, "bufferSize", options.bufferSize);
    this.#checkOpen();
    const ended = Promise.withResolvers<void>();
    const imap = new Imap<unknown>(items, {
      backend: this.#backend,
      target: fn,
      mode: "map",
      moving: transfer && { movable: new Set(transfer) },
      ordered,
      chunkSize,
      bufferSize,
      timeout,
      grace,
      caller: new Error(),
      onProgress: options.onProgress,
      onDrained: () => {
        this.#imaps.delete(imap);
        this.#closeWhenRead();
      },
      onEnd: ended.resolve,
    });
    this.#imaps.add(imap);
    if (signal?.aborted) imap.cancel(signal.reason);
    else cancelBy(signal, (reason) => imap.cancel(reason), ended.promise);
    return imap;
  }

  #checkOpen(): void {
    if (this.#state !== "open") throw new ClosedError("Cannot use Pool: it has been closed");
  }
}

// JSR leaves methods that are named by a symbol out of the declarations that it makes for npm.
/** A pool is closed and joined at the end of `await using`. */
export interface Pool extends AsyncDisposable {}

/** Workers on this machine. */
const here: PoolBackend = {
  open({ processes = cpuCount(), initializer, initargs, maxTasksPerChild, name }) {
    return new LocalBackend({
      module: WORKER_URL,
      size: processes,
      name,
      maxTasks: maxTasksPerChild,
      initializer: initializer === undefined ? undefined : packInitializer(initializer, initargs),
    });
  },
};

const POOL_NAMES = spelling("initargs", "maxTasksPerChild");

type Items = Iterable<unknown> | AsyncIterable<unknown>;

type MapVerb = "map" | "mapAsync" | "starmap" | "starmapAsync";

/** How the methods differ that run a map. */
const MAPS: Record<MapVerb, { mode: JobMode; cancellable: boolean }> = {
  map: { mode: "map", cancellable: false },
  mapAsync: { mode: "map", cancellable: true },
  starmap: { mode: "starmap", cancellable: false },
  starmapAsync: { mode: "starmap", cancellable: true },
};

/** The functions of the promise made last: so that a task takes no closure of its own. */
const captured: Pick<FullJob, "resolve" | "reject"> = { resolve() {}, reject() {} };

function capture(resolve: FullJob["resolve"], reject: FullJob["reject"]): void {
  captured.resolve = resolve;
  captured.reject = reject;
}

/** The job of the promise made last, whose caller is known. */
function fullCall(mark: Error): FullJob {
  return { mode: "call", watch: undefined, first: 0, mark, ...captured };
}

/** What each signal cancels: thousands of tasks may have the same, and it hears only one listener. */
const cancelled = new WeakMap<AbortSignal, Set<(reason: unknown) => void>>();

/** Lets a signal cancel something until it has ended. */
function cancelBy(
  signal: AbortSignal | undefined,
  cancel: (reason: unknown) => void,
  ended: Promise<unknown>,
): void {
  if (signal === undefined) return;
  // By what was read or sent meanwhile.
  if (signal.aborted) return cancel(signal.reason);
  const cancels = cancelled.get(signal) ?? listenTo(signal);
  cancels.add(cancel);
  const forget = (): void => void cancels.delete(cancel);
  ended.then(forget, forget);
}

function listenTo(signal: AbortSignal): Set<(reason: unknown) => void> {
  const cancels = new Set<(reason: unknown) => void>();
  cancelled.set(signal, cancels);
  const onAbort = (): void => {
    for (const cancel of cancels) cancel(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return cancels;
}

function checkArray(verb: string, name: string, value: unknown): void {
  if (Array.isArray(value)) return;
  throw new TypeError(`Cannot ${verb}: '${name}' must be an array, but is ${show(value)}`);
}

function checkCallbacks(verb: string, options: AsyncCallbacks<never>): void {
  checkCallOptions(verb, options);
  checkCallback(verb, "callback", options.callback);
  checkCallback(verb, "errorCallback", options.errorCallback);
}

registerExports({ Pool });
refuseToSend(Pool.prototype, "Pool", "send a queue whose items its owner gives to the pool");
