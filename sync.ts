/**
 * Locks and events between processes.
 *
 * All of them are shareable, and **robust**: when the owner dies, however it dies, the next waiter gets
 * the lock within 250 ms, and its guard says `abandoned`. No wait burns CPU, and no pending wait lets
 * the program end early. An aborted or timed-out wait leaves the state as if it had never begun.
 *
 * @example Ten processes take turns
 * ```ts no-eval
 * import { closure, Lock, Process } from "@multiprocessing/core";
 *
 * const lock = new Lock();
 * const target = closure((i: number) => {
 *   const guard = lock.acquireSync();
 *   console.log("hello from", i);
 *   guard.release();
 * }, { lock });
 * for (let i = 0; i < 10; i++) new Process({ target, args: [i] }).start();
 * ```
 *
 * @module
 */

import { ProcessError, TimeoutError, type WaitOptions, type WaitSyncOptions } from "./errors.ts";
import { checkAlive } from "./memory/control.ts";
import { EventFlag } from "./memory/event_flag.ts";
import { ABANDONED, ACQUIRED, type Acquired, Mutex } from "./memory/mutex.ts";
import { RecursiveMutex } from "./memory/recursive_mutex.ts";
import { checkTimeout } from "./memory/timeout.ts";
import { Line, PENDING, waitSync } from "./memory/wait.ts";
import { registerExports } from "./wire/target/exports.ts";
import { registerShareable } from "./wire/codec/shareable.ts";

export type { WaitOptions, WaitSyncOptions };

/** What acquiring a lock returns: releases it once, by `using` or by hand. */
export interface LockGuard extends Disposable {
  /** Whether the previous owner died with the lock; what it protects may be half-changed. */
  readonly abandoned: boolean;
  /** Releases the lock. Harmless after the first time. */
  release(): void;
}

class Guard implements LockGuard {
  readonly abandoned: boolean;
  #release: (() => void) | undefined;

  constructor(acquired: Acquired, release: () => void) {
    this.abandoned = acquired === ABANDONED;
    this.#release = release;
  }

  release(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

const LOCK_BYTES = 8;

// What no user sees: how a Lock is taken apart and put together again.
let mutexOf: (lock: Lock) => Mutex;
let adopt: (lock: Lock, buffer: SharedArrayBuffer) => void;

/**
 * A mutual exclusion lock; shareable, robust.
 *
 * **Not recursive.** A process that acquires it twice waits for itself. **Not owned.** Any process may
 * release it. **Arrival order.** The asynchronous waiters of a process get the lock in the order in
 * which they came.
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
  async acquire(options: WaitOptions = {}): Promise<LockGuard> {
    const timeout = checkTimeout(options.timeout);
    options.signal?.throwIfAborted();
    const mutex = this.#mutex;
    // Who holds the lock does not queue behind those who wait for its release.
    if (mutex instanceof RecursiveMutex && mutex.reenter()) return this.#guard(ACQUIRED);
    const acquired = await this.#line.wait(mutex, timeout, options.signal);
    if (acquired === PENDING) throw this.#timeoutError(timeout);
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
    const timeout = checkTimeout(options?.timeout);
    const acquired = this.#mutex.tryAcquire();
    if (acquired !== undefined) return this.#guard(acquired);
    const later = waitSync(this.#mutex, timeout);
    if (later === PENDING) throw this.#timeoutError(timeout);
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
    return new Guard(acquired, () => this.release());
  }

  #timeoutError(timeout: number): TimeoutError {
    const { name } = this.constructor;
    return new TimeoutError(`Cannot acquire ${name}: it was not free within ${timeout} ms`);
  }
}

/**
 * A lock that its owner may acquire again; shareable, robust.
 *
 * **Owned by a process, and counted.** It is free when the owner has released it as often as acquired;
 * nobody else can release it. All code of a process is the owner alike.
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

/**
 * A flag that processes wait for; shareable.
 *
 * Semantics: Python's `multiprocessing.Event`.
 *
 * @example Usage
 * ```ts
 * import { Event } from "@multiprocessing/core/sync";
 * import { assert } from "@std/assert";
 *
 * const event = new Event();
 * setTimeout(() => event.set(), 10);
 * assert(await event.wait());
 * assert(event.isSet());
 * ```
 */
export class Event {
  #flag = new EventFlag();
  readonly #line = new Line();

  static {
    registerShareable("Event", Event, (event) => event.#flag.buffer, (parts) => {
      const event = new Event();
      event.#flag = new EventFlag(parts as SharedArrayBuffer);
      return event;
    });
  }

  /**
   * Tells whether the flag is set.
   *
   * @returns True after {@linkcode set}, false at first and after {@linkcode clear}.
   */
  isSet(): boolean {
    return this.#flag.isSet;
  }

  /** Sets the flag: all who wait pass. */
  set(): void {
    checkAlive();
    this.#flag.set();
  }

  /** Clears the flag: who comes from now on waits. */
  clear(): void {
    checkAlive();
    this.#flag.clear();
  }

  /**
   * Waits until the flag is set. Passes even if it is cleared again at once.
   *
   * @param options Timeout and signal.
   * @returns True; false when `timeout` is over.
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    const timeout = checkTimeout(options.timeout);
    return await this.#line.wait(this.#flag.waiter(), timeout, options.signal) !== PENDING;
  }

  /**
   * Waits until the flag is set, blocking this thread.
   *
   * @param options Timeout.
   * @returns True; false when `timeout` is over.
   */
  waitSync(options: WaitSyncOptions = {}): boolean {
    const timeout = checkTimeout(options.timeout);
    return waitSync(this.#flag.waiter(), timeout) !== PENDING;
  }
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
registerExports({ Event, Lock, RLock });
