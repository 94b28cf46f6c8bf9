import { setImmediate, setInterval } from "node:timers";

// The longest interval there is: it is never meant to fire.
const FOREVER_MS = 2 ** 31 - 1;

let keeper: ReturnType<typeof setInterval> | undefined;
let holders = 0;

/**
 * Keeps this thread's event loop alive until {@linkcode release}. Counted.
 *
 * A pending asynchronous wait on shared memory does not keep the loop alive on any of the three
 * runtimes, so every wait holds it.
 */
export function hold(): void {
  if (++holders > 1) return;
  if (keeper === undefined) keeper = setInterval(() => {}, FOREVER_MS);
  else keeper.ref();
}

/** Undoes one {@linkcode hold}. */
export function release(): void {
  if (--holders === 0) keeper?.unref();
}

/** What Deno and Node do to let the event loop go round once. */
export function yieldLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
