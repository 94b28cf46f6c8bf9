/**
 * Time that moves only when told to, over the fake timers of `node:test`.
 *
 * @module
 */

import { mock } from "node:test";
import { setTimeout as realSetTimeout } from "node:timers";

/** An error related to faking time. */
export class TimeError extends Error {
  static {
    this.prototype.name = "TimeError";
  }
}

let current: FakeTime | undefined;

/**
 * Overrides `Date`, `setTimeout()` and `setInterval()` by ones that obey this object, until
 * {@linkcode FakeTime.restore} or the end of a `using` scope.
 */
export class FakeTime implements Disposable {
  /** When fake time began, in milliseconds since 1970. */
  readonly start: number;

  /**
   * @param start When fake time begins; now, if not given.
   */
  constructor(start?: number | string | Date | null) {
    current?.restore();
    this.start = new Date(start ?? Date.now()).getTime();
    if (Number.isNaN(this.start)) throw new TimeError("invalid start time");
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: this.start });
    current = this;
  }

  /** The fake time, in milliseconds since 1970. Setting it runs what is due in between. */
  get now(): number {
    return Date.now();
  }
  set now(value: number) {
    if (value < this.now) throw new RangeError("Cannot set time in the past");
    mock.timers.tick(value - this.now);
  }

  /** Adds milliseconds to the fake time and runs what is due in between. */
  tick(ms = 0): void {
    mock.timers.tick(ms);
  }

  /** Runs pending microtasks, then does as {@linkcode FakeTime.tick}. */
  async tickAsync(ms = 0): Promise<void> {
    await this.runMicrotasks();
    this.tick(ms);
  }

  /** Runs all pending microtasks. */
  async runMicrotasks(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Resolves after the given milliseconds of real time. */
  async delay(ms: number): Promise<void> {
    await new Promise((resolve) => realSetTimeout(resolve, ms));
  }

  /** Runs all timers until none is left. */
  runAll(): void {
    mock.timers.runAll();
  }

  /** Goes back to real time. */
  restore(): void {
    if (current !== this) throw new TimeError("Cannot restore time: time already restored");
    current = undefined;
    mock.timers.reset();
  }

  /** Goes back to real time. */
  [Symbol.dispose](): void {
    this.restore();
  }
}
