import type { WaitOptions, WaitSyncOptions } from "../errors.ts";
import { MAX_VALUE, SemaphoreState } from "../memory/semaphore.ts";
import type { Acquired } from "../memory/mutex.ts";
import { show } from "../memory/show.ts";
import { checkWait } from "../memory/timeout.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { acquireTimeout, Guard, type LockGuard } from "./guard.ts";

let stateOf: (semaphore: Semaphore) => SemaphoreState;
let adopt: (semaphore: Semaphore, state: SemaphoreState) => void;

/**
 * A number of permits that processes take and give back; shareable, robust.
 *
 * **Not owned.** Any process may release, also beyond the initial value: then the semaphore is a signal
 * that counts. **Arrival order.** The asynchronous waiters of a process get permits in the order in which
 * they came.
 *
 * **Death.** The permits that a process holds when it dies come back within 250 ms of somebody's need,
 * whose guard says `abandoned`; but never more than make up the initial value. So a semaphore that limits
 * a resource never shrinks, and one made with 0, for signals, never hears a signal twice. A release by
 * a process that holds none gives back for one that does.
 *
 * Semantics: Python's `multiprocessing.Semaphore`, where the permits of the dead are lost.
 *
 * @example Usage
 * ```ts
 * import { Semaphore } from "@multiprocessing/core/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const downloads = new Semaphore(2);
 * const permit = await downloads.acquire({ timeout: 1000 });
 * assertEquals(downloads.getValue(), 1);
 * permit.release();
 * assertEquals(downloads.getValue(), 2);
 * ```
 */
export class Semaphore {
  readonly #value: number;
  #attached: SemaphoreState | undefined;

  /** Made when it is needed: not for a handle that arrives. */
  get #state(): SemaphoreState {
    return this.#attached ??= SemaphoreState.create(this.#value);
  }

  static {
    stateOf = (semaphore) => semaphore.#state;
    adopt = (semaphore, state) => {
      semaphore.#attached = state;
    };
  }

  /**
   * Creates a semaphore.
   *
   * @param value How many permits it has.
   * @default {1}
   * @throws {RangeError} If `value` is negative or no integer.
   */
  constructor(value = 1) {
    if (!Number.isSafeInteger(value) || value < 0 || value > MAX_VALUE) {
      throw new RangeError(
        `Cannot create ${this.constructor.name}: 'value' must be an integer >= 0 and < 2^31, ` +
          `but is ${show(value)}`,
      );
    }
    this.#value = value;
  }

  /**
   * Takes a permit, waiting for one if there is none.
   *
   * @param options Timeout and signal.
   * @returns The guard that gives it back.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async acquire(options?: WaitOptions): Promise<LockGuard> {
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    const state = this.#state;
    const acquired = await state.line.wait(state.acquire(), timeout, options?.signal);
    if (acquired === PENDING) throw acquireTimeout(this, timeout);
    return this.#guard(acquired);
  }

  /**
   * Takes a permit, blocking this thread while there is none.
   *
   * @param options Timeout.
   * @returns The guard that gives it back.
   * @throws {TimeoutError} If `timeout` is over.
   */
  acquireSync(options?: WaitSyncOptions): LockGuard {
    const timeout = checkWait(options);
    const acquired = this.#state.tryAcquire() ?? waitSync(this.#state.acquire(), timeout);
    if (acquired === PENDING) throw acquireTimeout(this, timeout);
    return this.#guard(acquired);
  }

  /**
   * Takes a permit if there is one.
   *
   * @returns The guard that gives it back, or null.
   */
  tryAcquire(): LockGuard | null {
    const acquired = this.#state.tryAcquire();
    return acquired === undefined ? null : this.#guard(acquired);
  }

  /**
   * Gives permits back, or makes new ones.
   *
   * @param n How many.
   * @default {1}
   * @throws {RangeError} If `n` is no integer above 0, or the value would get too large.
   */
  release(n = 1): void {
    if (!Number.isSafeInteger(n) || n < 1) {
      throw new RangeError(
        `Cannot release ${this.constructor.name}: 'n' must be an integer >= 1, but is ${show(n)}`,
      );
    }
    const bounded = this instanceof BoundedSemaphore;
    if (this.#state.release(n, bounded ? this.#state.initial : MAX_VALUE)) return;
    throw new RangeError(
      `Cannot release ${this.constructor.name}: ${n} more would exceed ` +
        (bounded ? `its initial value of ${this.#state.initial}` : `the largest value, 2^31 - 1`),
    );
  }

  /**
   * The permits that can be taken.
   *
   * @returns Those that no living process holds, at the moment of asking.
   */
  getValue(): number {
    return this.#state.value;
  }

  #guard(acquired: Acquired): LockGuard {
    return new Guard(acquired, this);
  }
}

/**
 * A {@linkcode Semaphore} that is never released above its initial value; shareable, robust.
 *
 * Semantics: Python's `multiprocessing.BoundedSemaphore`.
 *
 * @example Usage
 * ```ts
 * import { BoundedSemaphore } from "@multiprocessing/core/sync";
 * import { assertThrows } from "@std/assert";
 *
 * const semaphore = new BoundedSemaphore(1);
 * semaphore.acquireSync().release();
 * assertThrows(() => semaphore.release(), RangeError);
 * ```
 */
export class BoundedSemaphore extends Semaphore {}

function register(kind: string, ctor: new () => Semaphore): void {
  registerShareable(kind, ctor, (semaphore) => stateOf(semaphore).buffer, (parts) => {
    const semaphore = new ctor();
    adopt(semaphore, SemaphoreState.attach(parts as SharedArrayBuffer));
    return semaphore;
  });
}

register("Semaphore", Semaphore);
register("BoundedSemaphore", BoundedSemaphore);
registerExports({ BoundedSemaphore, Semaphore });
