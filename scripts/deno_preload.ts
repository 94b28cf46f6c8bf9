/**
 * Makes stray errors visible on Deno, whose `node:test` swallows them: a file that throws while it
 * loads, a timer that throws and a rejection that nobody handles all pass there with exit code 0.
 *
 * `deno test` loads this before each test file; summary.ts looks for what it prints.
 *
 * @module
 */

/** Begins the line that an uncaught error prints. */
const MARK = "uncaught in the test file:";

globalThis.addEventListener("error", (event) => console.error(MARK, event.error));
globalThis.addEventListener("unhandledrejection", (event) => console.error(MARK, event.reason));
