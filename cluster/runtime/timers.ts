/**
 * Timers that have `unref()` on every runtime: Deno's global ones are numbers.
 *
 * @module
 */

import { setTimeout } from "node:timers";

export { nextTick } from "node:process";
export { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";

/** The longest time that timers know, in ms: some 24 days. Longer ones would be over at once. */
export const LONGEST: number = 2 ** 31 - 1;

/** So many milliseconds, as timers can take them: a timer may be early, so look at the clock. */
export function within(ms: number): number {
  return Math.min(Math.max(0, ms), LONGEST);
}

/** Resolves after so many milliseconds. Does not keep the program alive. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
