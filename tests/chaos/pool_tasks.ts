/** Tasks of the pools of a round. */

import { currentProcess } from "../../process.ts";
import type { Connection, Queue } from "../../queue.ts";
import type { SharedArray } from "../../shared.ts";
import type { Lock } from "../../sync.ts";
import { task } from "../../target.ts";
import { arm as armDeath, leave } from "./dying.ts";
import { bytesOf } from "./letter.ts";

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

/** An item of an iteration. */
export interface Step {
  n: number;
  act: "square" | "throw" | "exit" | "hang";
  runs: SharedArray<"i32">;
  place: number;
}

/** The exit code of who is told to exit by an item. */
export const STEP_EXIT = 7;

/** Notes that it runs, and does what the item says. */
export const step = task(
  import.meta,
  async function step({ n, act, runs, place }: Step): Promise<number> {
    Atomics.add(runs.array as Int32Array, place, 1);
    if (act === "throw") throw new RangeError(`chaos ${n}`);
    if (act === "exit") leave(STEP_EXIT);
    if (act === "hang") await new Promise<void>((resolve) => setTimeout(resolve, 3_600_000));
    if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, n % 5));
    return n * n;
  },
);

/** The exit code of who was lent an end of a pipe, and dies with it. */
export const LENT_EXIT = 6;

/** Puts and sends a number, and then gives up the end, or dies with it. */
export const lend = task(
  import.meta,
  async function lend(end: Connection, queue: Queue<number>, n: number): Promise<number> {
    for (let i = 0; i < 3; i++) queue.putSync(n + i);
    await end.sendBytes(bytesOf(n, 3 * n));
    if (n % 2 === 0) leave(LENT_EXIT);
    end.close();
    return n;
  },
);

/** Its worker will die some atomic steps later, in this task, between two, or in the next one. */
export const arm = task(import.meta, function arm(steps: number): string {
  armDeath(steps);
  return "armed";
});
