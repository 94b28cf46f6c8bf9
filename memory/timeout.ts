import type { WaitOptions } from "../errors.ts";
import { hold, release } from "../runtime/mod.ts";
import { checkNoBare, checkOptions, checkSignal } from "./options.ts";
import { show } from "./show.ts";
import { PENDING } from "./wait.ts";

const MEANT = { number: "timeout" };

/**
 * Checks the options of a wait given by the user.
 *
 * @param options Timeout and signal; undefined if there are none.
 * @param otherwise The timeout where the options have none, in milliseconds.
 * @returns The timeout in milliseconds, `Infinity` for ever.
 * @throws {TypeError} If the options are no object, or one of them is of the wrong type.
 * @throws {RangeError} If the timeout is NaN.
 */
export function checkWait(options: WaitOptions | undefined, otherwise = Infinity): number {
  if (options === undefined) return otherwise;
  checkOptions("wait", options, MEANT);
  const { timeout, signal } = options;
  if (timeout === undefined && signal === undefined) {
    checkNoBare("wait", options, "signal", AbortSignal);
    return otherwise;
  }
  checkSignal("wait", signal);
  return timeout === undefined ? otherwise : checkTimeout(timeout);
}

/**
 * Checks a timeout given by the user.
 *
 * @param timeout Milliseconds; undefined waits for ever.
 * @returns Milliseconds, `Infinity` for ever.
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is NaN.
 */
export function checkTimeout(timeout: number | undefined): number {
  if (timeout === undefined) return Infinity;
  if (typeof timeout !== "number") {
    throw new TypeError(
      `Cannot wait: 'timeout' must be a number of milliseconds, but is ${show(timeout)}`,
    );
  }
  if (Number.isNaN(timeout)) {
    throw new RangeError("Cannot wait: 'timeout' must be a number of milliseconds, but is NaN");
  }
  return timeout;
}

/**
 * Waits for a promise, at most `timeout` milliseconds or until the signal aborts. The event loop stays
 * alive meanwhile.
 *
 * @returns What the promise resolves with, or `PENDING` when the time is over.
 */
export function within<T>(
  promise: Promise<T>,
  timeout: number,
  signal?: AbortSignal,
): Promise<T | typeof PENDING> {
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let finished = false;
    const finish = (end: () => void): void => {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      ends.delete(waiter);
      release();
      end();
    };
    const onAbort = (): void => finish(() => reject(signal?.reason));
    hold();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (timeout < 2 ** 31) {
      timer = setTimeout(() => finish(() => resolve(PENDING)), Math.max(0, timeout));
    }
    const ends = waiting.get(promise) ?? listenTo(promise);
    const waiter: Waiter = {
      resolve: (value) => finish(() => resolve(value as T)),
      reject: (error) => finish(() => reject(error)),
    };
    ends.add(waiter);
  });
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Who waits for each promise. It gets one reaction: those of waits that are over could not be taken back. */
const waiting = new WeakMap<Promise<unknown>, Set<Waiter>>();

function listenTo(promise: Promise<unknown>): Set<Waiter> {
  const waiters = new Set<Waiter>();
  waiting.set(promise, waiters);
  promise.then(
    (value) => {
      waiting.delete(promise);
      for (const waiter of waiters) waiter.resolve(value);
    },
    (error) => {
      waiting.delete(promise);
      for (const waiter of waiters) waiter.reject(error);
    },
  );
  return waiters;
}
