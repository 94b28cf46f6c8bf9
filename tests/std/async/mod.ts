/**
 * A stand-in for `@std/async` where JSR cannot be reached: the same names, signatures and messages,
 * for what the tests of this project use.
 *
 * @module
 */

/** Options for {@linkcode delay}. */
export interface DelayOptions {
  /** Signal used to abort the delay. */
  signal?: AbortSignal;
  /**
   * Whether the process should continue to run as long as the timer exists.
   *
   * @default {true}
   */
  persistent?: boolean;
}

/** Options for {@linkcode deadline}. */
export interface DeadlineOptions {
  /** Signal used to abort the deadline. */
  signal?: AbortSignal;
}

/** Options for {@linkcode retry}. */
export interface RetryOptions {
  /**
   * How much to back off after each retry.
   *
   * @default {2}
   */
  multiplier?: number;
  /**
   * The maximum milliseconds between attempts.
   *
   * @default {60000}
   */
  maxTimeout?: number;
  /**
   * The maximum amount of attempts until failure.
   *
   * @default {5}
   */
  maxAttempts?: number;
  /**
   * The initial and minimum amount of milliseconds between attempts.
   *
   * @default {1000}
   */
  minTimeout?: number;
  /**
   * How much of a wait is random, from 0 to 1.
   *
   * @default {1}
   */
  jitter?: number;
  /**
   * Whether to try again after this error.
   *
   * @default {() => true}
   */
  isRetriable?: (err: unknown) => boolean;
}

/** The error of {@linkcode retry} when its attempts are used up; `cause` is the last error. */
export class RetryError extends Error {
  /**
   * @param cause The last attempt's error.
   * @param attempts The number of attempts made.
   */
  constructor(cause: unknown, attempts: number) {
    super(`Retrying exceeded the maxAttempts (${attempts}).`, { cause });
    this.name = "RetryError";
  }
}

/** Resolves after the given milliseconds, or rejects with the signal's reason. */
export function delay(ms: number, options: DelayOptions = {}): Promise<void> {
  const { signal, persistent = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
    // Deno's global setTimeout() answers a number or, with Node's types, an object.
    if (!persistent) (timer as { unref?(): void }).unref?.();
  });
}

/** A promise that also rejects when the signal is aborted. */
export function abortable<T>(p: Promise<T>, signal: AbortSignal): Promise<T>;
/** An async iterable that also throws when the signal is aborted. */
export function abortable<T>(p: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T>;
export function abortable<T>(
  p: Promise<T> | AsyncIterable<T>,
  signal: AbortSignal,
): Promise<T> | AsyncGenerator<T> {
  return p instanceof Promise ? abortablePromise(p, signal) : abortableIterable(p, signal);
}

async function abortablePromise<T>(p: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, p]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function* abortableIterable<T>(p: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = p[Symbol.asyncIterator]();
  while (true) {
    const step = await abortablePromise(Promise.resolve(iterator.next()), signal);
    if (step.done) return;
    yield step.value;
  }
}

/** A promise that rejects with a `TimeoutError` DOMException when the milliseconds are over. */
export async function deadline<T>(
  p: Promise<T>,
  ms: number,
  options: DeadlineOptions = {},
): Promise<T> {
  // Not AbortSignal.timeout(): its timer does not keep Node alive, so that a test whose promise never
  // settles would end as "promise resolution is still pending" instead of with this error.
  const timeout = new AbortController();
  const timer = setTimeout(
    () => timeout.abort(new DOMException("Signal timed out.", "TimeoutError")),
    ms,
  );
  const signals = [timeout.signal];
  if (options.signal) signals.push(options.signal);
  try {
    return await abortable(p, AbortSignal.any(signals));
  } finally {
    clearTimeout(timer);
  }
}

/** Calls the function until it does not throw, with longer and longer waits in between. */
export async function retry<T>(
  fn: (() => Promise<T>) | (() => T),
  options: RetryOptions = {},
): Promise<T> {
  const { multiplier = 2, maxTimeout = 60_000, maxAttempts = 5 } = options;
  const { minTimeout = 1_000, jitter = 1, isRetriable = () => true } = options;
  for (let attempt = 0;; attempt++) {
    try {
      return await fn();
    } catch (error) {
      if (!isRetriable(error)) throw error;
      if (attempt + 1 >= maxAttempts) throw new RetryError(error, maxAttempts);
      const wait = Math.min(maxTimeout, minTimeout * multiplier ** attempt);
      await delay(wait * (1 - jitter * Math.random()));
    }
  }
}
