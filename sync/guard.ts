import { TimeoutError } from "../errors.ts";
import { ABANDONED, type Acquired } from "../memory/mutex.ts";
import { refuseToSend } from "../wire/codec/kind_of.ts";

/** What acquiring a lock returns: releases it once, by `using` or by hand. */
export interface LockGuard extends Disposable {
  /** Whether the previous owner died with the lock; what it protects may be half-changed. */
  readonly abandoned: boolean;
  /** Releases the lock. Harmless after the first time. */
  release(): void;
}

/** The guard of whatever can be released. */
export class Guard implements LockGuard {
  readonly abandoned: boolean;
  #held: { release(): void } | undefined;

  constructor(acquired: Acquired, held: { release(): void }) {
    this.abandoned = acquired === ABANDONED;
    this.#held = held;
  }

  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The error of a wait to acquire `what` that took too long. */
export function acquireTimeout(what: object, timeout: number): TimeoutError {
  const { name } = what.constructor;
  return new TimeoutError(`Cannot acquire ${name}: it was not free within ${timeout} ms`);
}
refuseToSend(Guard.prototype, "LockGuard", "send the lock; whoever gets it may release it");
