/** Nothing to have yet. */
export const PENDING: unique symbol = Symbol("pending");

/** Where to sleep. */
export interface SleepSpot {
  /** The word to sleep on, and the value it was seen to have. */
  readonly cells: Int32Array;
  readonly index: number;
  readonly expected: number;
  /** Where sleepers are counted, if its wakers look at a count. */
  readonly sleepers?: number | undefined;
  /** Sleep at most so many milliseconds before the next attempt; `SLICE_MS` if undefined. */
  readonly patience?: number | undefined;
}

/** A wait in the making. */
export interface Attempt<T> extends SleepSpot {
  /** Tries once. Returns the outcome or, having set where to sleep, `PENDING`. */
  attempt(): T | typeof PENDING;
  /** Whether the first in line has taken what it can no longer give back: it waits on, come what may. */
  readonly committed?: boolean;
  /** Whether others wait for this wait to go on: who blocks this thread goes on with it meanwhile. */
  readonly inFlight?: boolean;
  /**
   * Called when the wait is given up: leaves the state as if it had never begun. If it is too late for
   * that, returns the outcome.
   */
  cancel?(): T | undefined | void;
}
