import { ProcessError, type WaitOptions, type WaitSyncOptions } from "../errors.ts";
import { ACQUIRED, type Acquired, Mutex } from "../memory/mutex.ts";
import { RecursiveMutex } from "../memory/recursive_mutex.ts";
import { checkWait } from "../memory/timeout.ts";
import { Line, PENDING, waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { acquireTimeout, Guard, type LockGuard } from "./guard.ts";

const LOCK_BYTES = 8;

/** The mutex of a lock: what Condition needs, and no user sees. */
export let mutexOf: (lock: Lock) => Mutex;
let adopt: (lock: Lock, buffer: SharedArrayBuffer) => void;

/**
 * A mutual exclusion lock; shareable, robust.
 *
 * **Not recursive.** A process that acquires it twice waits for itself. **Not owned.** Any process may
 * release it. **Arrival order.** The asynchronous waiters of a process get the lock in the order in
 * which they came.
 *
 * **Death.** When the owner dies, however and wherever, the next waiter gets the lock within 250 ms, and
 * its guard says `abandoned`. A waiter that dies is forgotten; one that dies just after it was woken
 * delays the others by at most 250 ms.
 *
 * Semantics: Python's `multiprocessing.Lock`.
 *
 * @example Usage
 * ```ts
 * import { Lock } from "@multiprocessing/core/sync";
 * import { assert } from "@std/assert";
 *
 * const lock = new Lock();
 * {
 *   using guard = await lock.acquire({ timeout: 1000 });
 *   assert(lock.locked());
 *   assert(!guard.abandoned);
 * }
 * assert(!lock.locked());
 * ```
 */
export class Lock {
  #mutex: Mutex;
  readonly #line = new Line();

  static {
    mutexOf = (lock) => lock.#mutex;
    adopt = (lock, buffer) => {
      lock.#mutex = newMutex(lock, buffer);
    };
  }

  /** Creates a lock that nobody holds. */
  constructor() {
    this.#mutex = newMutex(this, new SharedArrayBuffer(LOCK_BYTES));
  }

  /**
   * Acquires the lock.
   *
   * @param options Timeout and signal.
   * @returns The guard that releases it.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async acquire(options?: WaitOptions): Promise<LockGuard> {
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    const mutex = this.#mutex;
    // Who holds the lock does not queue behind those who wait for its release.
    if (mutex instanceof RecursiveMutex && mutex.reenter()) return this.#guard(ACQUIRED);
    const acquired = await this.#line.wait(mutex, timeout, options?.signal);
    if (acquired === PENDING) throw acquireTimeout(this, timeout);
    return this.#guard(acquired);
  }

  /**
   * Acquires the lock, blocking this thread.
   *
   * @param options Timeout.
   * @returns The guard that releases it.
   * @throws {TimeoutError} If `timeout` is over.
   */
  acquireSync(options?: WaitSyncOptions): LockGuard {
    const timeout = checkWait(options);
    const acquired = this.#mutex.tryAcquire();
    if (acquired !== undefined) return this.#guard(acquired);
    const later = waitSync(this.#mutex, timeout);
    if (later === PENDING) throw acquireTimeout(this, timeout);
    return this.#guard(later);
  }

  /**
   * Acquires the lock if it is free.
   *
   * @returns The guard that releases it, or null.
   */
  tryAcquire(): LockGuard | null {
    const acquired = this.#mutex.tryAcquire();
    return acquired === undefined ? null : this.#guard(acquired);
  }

  /**
   * Releases the lock, whoever holds it.
   *
   * @throws {ProcessError} If nobody holds it.
   */
  release(): void {
    if (this.#mutex.forceRelease() === "free") {
      throw new ProcessError("Cannot release Lock: it is not held");
    }
  }

  /**
   * Tells whether a living process holds the lock.
   *
   * @returns False if it is free or its owner has died.
   */
  locked(): boolean {
    return this.#mutex.owner !== 0;
  }

  #guard(acquired: Acquired): LockGuard {
    return new Guard(acquired, this);
  }
}

/**
 * A lock that its owner may acquire again; shareable, robust.
 *
 * **Owned by a process, and counted.** It is free when the owner has released it as often as acquired;
 * nobody else can release it. All code of a process is the owner alike.
 *
 * **Death.** As of {@linkcode Lock}; whoever takes the lock over holds it once.
 *
 * Semantics: Python's `multiprocessing.RLock`.
 *
 * @example Usage
 * ```ts
 * import { RLock } from "@multiprocessing/core/sync";
 * import { assert } from "@std/assert";
 *
 * const lock = new RLock();
 * const outer = lock.acquireSync();
 * const inner = lock.acquireSync();
 * inner.release();
 * assert(lock.locked());
 * outer.release();
 * assert(!lock.locked());
 * ```
 */
export class RLock extends Lock {
  /**
   * Undoes one acquisition.
   *
   * @throws {ProcessError} If this process does not hold the lock.
   */
  override release(): void {
    const released = mutexOf(this).release();
    if (released === "released") return;
    throw new ProcessError(
      released === "free"
        ? "Cannot release RLock: it is not held"
        : "Cannot release RLock: another process holds it, and only the owner may release it",
    );
  }
}

function newMutex(lock: Lock, buffer: SharedArrayBuffer): Mutex {
  const cells = new Int32Array(buffer);
  return lock instanceof RLock ? new RecursiveMutex(cells, 0) : new Mutex(cells, 0);
}

function registerLock(kind: string, ctor: new () => Lock): void {
  registerShareable(kind, ctor, (lock) => mutexOf(lock).cells.buffer, (parts) => {
    const lock = new ctor();
    adopt(lock, parts as SharedArrayBuffer);
    return lock;
  });
}

registerLock("Lock", Lock);
registerLock("RLock", RLock);
registerExports({ Lock, RLock });
