import { ProcessError, TimeoutError, type WaitOptions } from "../errors.ts";
import { checkWait, within } from "../memory/timeout.ts";
import { PENDING } from "../memory/wait.ts";
import { refuseToSend } from "../wire/codec/kind_of.ts";

/** What to call when a task has ended: one of them, once. */
export interface AsyncCallbacks<R> {
  /** Called with the result. What it throws is an unhandled rejection. */
  callback?: ((result: R) => void) | undefined;
  /** Called with the error. What it throws is an unhandled rejection. */
  errorCallback?: ((error: unknown) => void) | undefined;
}

/**
 * The result of a task that was submitted by {@linkcode Pool.applyAsync}, {@linkcode Pool.mapAsync} or
 * {@linkcode Pool.starmapAsync}: now or later. It can be awaited, too.
 *
 * An error that nobody asks for is dropped. Semantics: Python's `multiprocessing.pool.AsyncResult`.
 */
export interface AsyncResult<R> extends PromiseLike<R> {
  /**
   * Waits for the result.
   *
   * @throws {TimeoutError} When `timeout` is over: the task goes on.
   * @throws {unknown} The error of the task.
   */
  get(options?: WaitOptions): Promise<R>;
  /** Waits until the task has ended, either way. Resolves with false when `timeout` is over. */
  wait(options?: WaitOptions): Promise<boolean>;
  /** Whether the task has ended. */
  ready(): boolean;
  /**
   * Whether the task has ended well.
   *
   * @throws {ProcessError} If it has not ended.
   */
  successful(): boolean;
  /**
   * Cancels the task, as the `signal` of its options does. Harmless when it has ended.
   *
   * @param reason What the result rejects with.
   */
  cancel(reason?: unknown): void;
}

/** A call that can be cancelled. */
export interface Call<R> {
  readonly promise: Promise<R>;
  cancel(reason: unknown): void;
}

/** The result of a {@linkcode Call}. */
export class CallResult<R> implements AsyncResult<R> {
  readonly #call: Call<R>;
  #state: "pending" | "fulfilled" | "rejected" = "pending";
  #ended: Promise<true> | undefined;

  constructor(call: Call<R>, { callback, errorCallback }: AsyncCallbacks<R>) {
    this.#call = call;
    call.promise.then((result) => {
      this.#state = "fulfilled";
      callback?.(result);
    }, (error) => {
      this.#state = "rejected";
      errorCallback?.(error);
    });
  }

  async get(options?: WaitOptions): Promise<R> {
    const timeout = checkWait(options);
    const result = await within(this.#call.promise, timeout, options?.signal);
    if (result !== PENDING) return result;
    throw new TimeoutError(`The task has not ended within ${timeout} ms`);
  }

  async wait(options?: WaitOptions): Promise<boolean> {
    const timeout = checkWait(options);
    this.#ended ??= this.#call.promise.then(() => true, () => true);
    return await within(this.#ended, timeout, options?.signal) !== PENDING;
  }

  ready(): boolean {
    return this.#state !== "pending";
  }

  successful(): boolean {
    if (this.#state !== "pending") return this.#state === "fulfilled";
    throw new ProcessError("Cannot tell whether the task was successful: it has not ended");
  }

  cancel(reason: unknown = new DOMException("The task was cancelled", "AbortError")): void {
    if (!this.ready()) this.#call.cancel(reason);
  }

  then<S = R, E = never>(
    onFulfilled?: ((result: R) => S | PromiseLike<S>) | null,
    onRejected?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): Promise<S | E> {
    return this.#call.promise.then(onFulfilled, onRejected);
  }
}

refuseToSend(CallResult.prototype, "AsyncResult", "await it first");
