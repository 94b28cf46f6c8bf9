/**
 * Timers that have `unref()` on every runtime: Deno's global ones are numbers.
 *
 * @module
 */

export { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
