/** Tasks of the pools of a round. */

import { currentProcess } from "../../process.ts";
import type { SharedArray } from "../../shared.ts";
import type { Lock } from "../../sync.ts";
import { task } from "../../target.ts";
import { arm as armDeath, leave } from "./dying.ts";

/** Notes that it runs, and gives the square. */
export const square = task(
  import.meta,
  async function square(n: number, runs: SharedArray<"i32">, place: number): Promise<number> {
    Atomics.add(runs.array as Int32Array, place, 1);
    if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, n % 5));
    return n * n;
  },
);

/** Throws. */
export const fail = task(import.meta, function fail(n: number): never {
  throw new RangeError(`chaos ${n}`);
});

/** Exits. */
export const die = task(import.meta, function die(code: number): void {
  leave(code);
});

/** Exits with a lock. */
export const dieWith = task(import.meta, function dieWith(lock: Lock): void {
  lock.acquireSync();
  leave(5);
});

/** Never ends, unless it is told to. */
export const hang = task(import.meta, async function hang(heeds: boolean): Promise<string> {
  const { signal } = currentProcess();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 3_600_000);
    if (!heeds) return;
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return "told";
});

/** Gives what cannot be sent. */
export const uncloneable = task(import.meta, function uncloneable(): unknown {
  return { fn: () => {} };
});

/** Its worker will die some atomic steps later, in this task, between two, or in the next one. */
export const arm = task(import.meta, function arm(steps: number): string {
  armDeath(steps);
  return "armed";
});
