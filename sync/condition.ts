import { ProcessError, type WaitOptions, type WaitSyncOptions } from "../errors.ts";
import { ConditionState } from "../memory/condition.ts";
import { ownPid } from "../memory/control.ts";
import { RecursiveMutex } from "../memory/recursive_mutex.ts";
import { show } from "../memory/show.ts";
import { checkWait } from "../memory/timeout.ts";
import { waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import type { LockGuard } from "./guard.ts";
import { Lock, mutexOf, RLock } from "./lock.ts";

/** How a Condition crosses. */
interface ConditionParts {
  buffer: SharedArrayBuffer;
  lock: Lock;
}

/**
 * A condition variable: processes that hold its lock wait, releasing it meanwhile, until another that
 * holds the lock notifies them; shareable, robust.
 *
 * **Nothing is missed.** From the moment when a wait gives the lock up, each notify counts. **Exactly.**
 * `notify(n)` wakes `n` waits or all there are; of one process, the oldest first. One that timed out or
 * was aborted takes no notification away from another.
 *
 * **Death.** A process that dies while it waits is forgotten; if it had been notified and had not got the
 * lock again, another is woken in its place within 250 ms, perhaps one more than was notified. A process
 * that dies with the lock counts as if it had notified all: their waits return true within 250 ms, for
 * what they wait for may have come. So look at your data, best by {@linkcode waitFor}.
 *
 * Semantics: Python's `multiprocessing.Condition`.
 *
 * @example Usage
 * ```ts
 * import { Condition } from "@multiprocessing/core/sync";
 * import { assert } from "@std/assert";
 *
 * const condition = new Condition();
 * let ready = false;
 * setTimeout(async () => {
 *   const guard = await condition.acquire();
 *   ready = true;
 *   condition.notify();
 *   guard.release();
 * }, 10);
 * const guard = await condition.acquire();
 * assert(await condition.waitFor(() => ready));
 * guard.release();
 * ```
 */
export class Condition {
  #attached: ConditionState | undefined;
  readonly #lock: Lock;

  /** Made when it is needed: not for a handle that arrives. */
  get #state(): ConditionState {
    return this.#attached ??= ConditionState.create();
  }

  static {
    registerShareable(
      "Condition",
      Condition,
      (condition): ConditionParts => ({ buffer: condition.#state.buffer, lock: condition.#lock }),
      (parts) => {
        const { buffer, lock } = parts as ConditionParts;
        const condition = new Condition(lock);
        condition.#attached = ConditionState.attach(buffer);
        return condition;
      },
    );
  }

  /**
   * Creates a condition.
   *
   * @param lock The lock that goes with it; a new RLock if undefined.
   * @throws {TypeError} If `lock` is neither a Lock nor an RLock.
   */
  constructor(lock: Lock | RLock = new RLock()) {
    if (!(lock instanceof Lock)) {
      throw new TypeError(
        `Cannot create Condition: 'lock' must be a Lock or an RLock, but is ${String(lock)}`,
      );
    }
    this.#lock = lock;
  }

  /**
   * Acquires the lock; see {@linkcode Lock.acquire}.
   *
   * @param options Timeout and signal.
   * @returns The guard that releases it.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async acquire(options?: WaitOptions): Promise<LockGuard> {
    return this.#heed(await this.#lock.acquire(options));
  }

  /**
   * Acquires the lock, blocking this thread; see {@linkcode Lock.acquireSync}.
   *
   * @param options Timeout.
   * @returns The guard that releases it.
   * @throws {TimeoutError} If `timeout` is over.
   */
  acquireSync(options?: WaitSyncOptions): LockGuard {
    return this.#heed(this.#lock.acquireSync(options));
  }

  /**
   * Releases the lock.
   *
   * @throws {ProcessError} If it is not held, or not by this process if it is an RLock.
   */
  release(): void {
    this.#lock.release();
  }

  /**
   * Releases the lock, however often it was acquired, waits to be notified, and acquires it as often
   * again: whatever happened, for which no timeout counts and no signal.
   *
   * @param options Timeout and signal.
   * @returns True if it was notified, false if `timeout` was over before.
   * @throws {ProcessError} If this process does not hold the lock.
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    this.#checkHeld("wait for");
    const state = this.#state;
    const wait = state.enlist(mutexOf(this.#lock));
    const depth = this.#releaseAll();
    try {
      await state.line.wait(wait, timeout, options?.signal);
    } catch (error) {
      this.#resume(await this.#lock.acquire(), depth);
      state.cancel(wait);
      throw error;
    }
    this.#resume(await this.#lock.acquire(), depth);
    return state.leave(wait);
  }

  /**
   * Like {@linkcode wait}, blocking this thread.
   *
   * @param options Timeout.
   * @returns True if it was notified, false if `timeout` was over before.
   * @throws {ProcessError} If this process does not hold the lock.
   */
  waitSync(options?: WaitSyncOptions): boolean {
    const timeout = checkWait(options);
    this.#checkHeld("wait for");
    const state = this.#state;
    const wait = state.enlist(mutexOf(this.#lock));
    const depth = this.#releaseAll();
    waitSync(wait, timeout);
    this.#resume(this.#lock.acquireSync(), depth);
    return state.leave(wait);
  }

  /**
   * Waits until a predicate holds: calls it, with the lock held, at first and after each notification.
   *
   * @param predicate What is waited for.
   * @param options Timeout, for all of it, and signal.
   * @returns What the predicate said last: false if `timeout` was over before it held.
   * @throws {ProcessError} If this process does not hold the lock.
   */
  async waitFor(predicate: () => boolean, options?: WaitOptions): Promise<boolean> {
    checkPredicate(predicate);
    const deadline = performance.now() + checkWait(options);
    const signal = options?.signal;
    signal?.throwIfAborted();
    this.#checkHeld("wait for");
    while (!predicate()) {
      const timeout = deadline - performance.now();
      if (!(timeout > 0)) return false;
      await this.wait(signal === undefined ? { timeout } : { timeout, signal });
    }
    return true;
  }

  /**
   * Like {@linkcode waitFor}, blocking this thread.
   *
   * @param predicate What is waited for.
   * @param options Timeout, for all of it.
   * @returns What the predicate said last: false if `timeout` was over before it held.
   * @throws {ProcessError} If this process does not hold the lock.
   */
  waitForSync(predicate: () => boolean, options?: WaitSyncOptions): boolean {
    checkPredicate(predicate);
    const deadline = performance.now() + checkWait(options);
    this.#checkHeld("wait for");
    while (!predicate()) {
      const timeout = deadline - performance.now();
      if (!(timeout > 0)) return false;
      this.waitSync({ timeout });
    }
    return true;
  }

  /**
   * Wakes waits: they return when they have got the lock again.
   *
   * @param n How many; all of them if there are fewer.
   * @default {1}
   * @throws {ProcessError} If this process does not hold the lock.
   * @throws {RangeError} If `n` is negative or no integer.
   */
  notify(n = 1): void {
    if (!(Number.isSafeInteger(n) && n >= 0)) {
      throw new RangeError(
        `Cannot notify Condition: 'n' must be an integer >= 0, but is ${String(n)}`,
      );
    }
    this.#checkHeld("notify");
    this.#state.notify(n);
  }

  /**
   * Wakes all waits.
   *
   * @throws {ProcessError} If this process does not hold the lock.
   */
  notifyAll(): void {
    this.#checkHeld("notify");
    this.#state.notify(Infinity);
  }

  #checkHeld(verb: string): void {
    if (mutexOf(this.#lock).owner === ownPid) return;
    throw new ProcessError(
      `Cannot ${verb} Condition: this process does not hold its lock; acquire() it first`,
    );
  }

  /** Returns how often the lock was held. */
  #releaseAll(): number {
    const mutex = mutexOf(this.#lock);
    if (mutex instanceof RecursiveMutex) return mutex.releaseAll();
    mutex.release();
    return 1;
  }

  /** Whoever died with the lock may have changed what is waited for. */
  #heed(guard: LockGuard): LockGuard {
    if (guard.abandoned) this.#state.notify(Infinity);
    return guard;
  }

  /** Makes one acquisition as many. */
  #resume(guard: LockGuard, depth: number): void {
    this.#heed(guard);
    const mutex = mutexOf(this.#lock);
    if (mutex instanceof RecursiveMutex) mutex.deepen(depth - 1);
  }
}

function checkPredicate(predicate: unknown): void {
  if (typeof predicate === "function") return;
  throw new TypeError(
    `Cannot wait for Condition: 'predicate' must be a function, but is ${show(predicate)}`,
  );
}

registerExports({ Condition });
