/** Ways to die, from within. */

import { MAIN_PID, ownPid } from "../../memory/control.ts";

const { wait } = Atomics;

interface Globals {
  process: { exit(code: number): void };
  Deno?: { exit(code: number): void };
}

/** The exit code of who has died before an atomic step. */
export const STEPPED = 33;

/** The exit code of who has parked there, and was not killed. */
export const UNPARKED = 34;

/** The exit code of who ran on when it had ended; nobody sees it. */
export const FENCED = 35;

/** The exit code of who has seen what must not be. */
export const VIOLATED = 77;

const STEPS = [
  "load",
  "store",
  "add",
  "sub",
  "and",
  "or",
  "exchange",
  "compareExchange",
  "notify",
  "wait",
  "waitAsync",
] as const;

type Table = Record<string, (...args: unknown[]) => unknown>;

const table = Atomics as unknown as Table;
const originals = STEPS.map((name) => [name, table[name]!] as const);

/** Ends this process, at once. */
export function leave(code: number): never {
  disarm();
  const { Deno, process } = globalThis as unknown as Globals;
  // process.exit() of a worker that was terminated meanwhile would spin for ever on Deno.
  if (Deno !== undefined) Deno.exit(code);
  else process.exit(code);
  // It takes a moment. A terminated worker of Deno goes on: like a fenced one, by an error.
  spin(1000);
  throw new Error("This process has left");
}

/** Lets this process die just before its `n`-th atomic step from now on, sleeping and waking included. */
export function arm(n: number, die: () => void = () => leave(STEPPED)): void {
  let left = n;
  for (const [name, original] of originals) {
    table[name] = (...args) => {
      if (left-- === 0) {
        disarm();
        die();
      }
      return original.apply(Atomics, args);
    };
  }
}

/** Undoes {@linkcode arm}. */
export function disarm(): void {
  for (const [name, original] of originals) table[name] = original;
}

/** Blocks this thread, without the library. */
export function park(ms: number): void {
  wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Keeps the CPU busy. */
export function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Says what must not be, and ends this process; the main process only throws. */
export function violate(message: string): never {
  disarm();
  if (ownPid === MAIN_PID) throw new Error(message);
  console.error(`VIOLATION: ${message}`);
  leave(VIOLATED);
}
