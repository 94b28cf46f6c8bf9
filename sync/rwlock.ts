import { ProcessError, type WaitOptions, type WaitSyncOptions } from "../errors.ts";
import type { Acquired } from "../memory/mutex.ts";
import { POLITENESS_MS, RWLockState } from "../memory/rwlock.ts";
import { checkWait } from "../memory/timeout.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { acquireTimeout, Guard, type LockGuard } from "./guard.ts";

/**
 * A lock for many readers or one writer; shareable, robust.
 *
 * **Fair.** A waiting writer is not overtaken by new readers, and waiting readers are let in between two
 * writers. **Not recursive.** A reader that waits to write, or the other way round, waits for itself.
 * **Ended by its guard**, and only by it.
 *
 * **Death.** A dead reader does not count. Whoever follows a dead writer gets the lock within 250 ms, and
 * its guard says `abandoned`. A process that dies while it waits is forgotten.
 *
 * Python's `multiprocessing` has none. Semantics: POSIX's `pthread_rwlock`, with writers preferred.
 *
 * @example Usage
 * ```ts
 * import { RWLock } from "@multiprocessing/core/sync";
 *
 * const lock = new RWLock();
 * const one = await lock.read();
 * const two = await lock.read();
 * one.release();
 * two.release();
 * const writing = await lock.write({ timeout: 1000 });
 * writing.release();
 * ```
 */
export class RWLock {
  #attached: RWLockState | undefined;

  /** Made when it is needed: not for a handle that arrives. */
  get #state(): RWLockState {
    return this.#attached ??= RWLockState.create();
  }

  static {
    registerShareable("RWLock", RWLock, (lock) => lock.#state.buffer, (parts) => {
      const lock = new RWLock();
      lock.#attached = RWLockState.attach(parts as SharedArrayBuffer);
      return lock;
    });
  }

  /**
   * Acquires the lock for reading: others may read too, nobody writes.
   *
   * @param options Timeout and signal.
   * @returns The guard that ends the reading.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async read(options?: WaitOptions): Promise<LockGuard> {
    return this.#reading(await this.#acquire("read", options));
  }

  /**
   * Acquires the lock for reading, blocking this thread.
   *
   * @param options Timeout.
   * @returns The guard that ends the reading.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ProcessError} If this process writes, and so would wait for itself for ever.
   */
  readSync(options?: WaitSyncOptions): LockGuard {
    return this.#reading(this.#acquireSync("read", options));
  }

  /**
   * Acquires the lock for writing: nobody else writes or reads.
   *
   * @param options Timeout and signal.
   * @returns The guard that ends the writing.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async write(options?: WaitOptions): Promise<LockGuard> {
    return this.#writing(await this.#acquire("write", options));
  }

  /**
   * Acquires the lock for writing, blocking this thread.
   *
   * @param options Timeout.
   * @returns The guard that ends the writing.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ProcessError} If this process reads or writes, and so would wait for itself for ever.
   */
  writeSync(options?: WaitSyncOptions): LockGuard {
    return this.#writing(this.#acquireSync("write", options));
  }

  async #acquire(mode: "read" | "write", options?: WaitOptions): Promise<Acquired> {
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    const state = this.#state;
    const wait = mode === "read" ? state.read() : state.write(isPatient(timeout));
    const acquired = await state.line.wait(wait, timeout, options?.signal);
    if (acquired === PENDING) throw acquireTimeout(this, timeout);
    return acquired;
  }

  #acquireSync(mode: "read" | "write", options?: WaitSyncOptions): Acquired {
    const timeout = checkWait(options);
    const state = this.#state;
    const { held } = state;
    const forever = timeout === Infinity;
    // Only guards of this process could end that, and its thread would be blocked.
    if (forever && (held === "write" || (held === "read" && mode === "write"))) {
      throw new ProcessError(
        `Cannot acquire RWLock to ${mode}: this process holds it to ${held}, and would wait for ` +
          "itself for ever; release that guard first",
      );
    }
    const wait = mode === "read"
      ? state.read(forever && held === "read")
      : state.write(isPatient(timeout));
    const acquired = forever ? state.whileBlocked(() => waitSync(wait)) : waitSync(wait, timeout);
    if (acquired === PENDING) throw acquireTimeout(this, timeout);
    return acquired;
  }

  #reading(acquired: Acquired): LockGuard {
    return new Guard(acquired, { release: () => this.#state.releaseRead() });
  }

  #writing(acquired: Acquired): LockGuard {
    return new Guard(acquired, { release: () => this.#state.releaseWrite() });
  }
}

function isPatient(timeout: number): boolean {
  return timeout > POLITENESS_MS;
}

registerExports({ RWLock });
