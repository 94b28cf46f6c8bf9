/**
 * Timers that have `unref()` on every runtime: Deno's global ones are numbers.
 *
 * @module
 */

import { setTimeout } from "node:timers";

export { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";

/** Resolves after so many milliseconds. Does not keep the program alive. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
