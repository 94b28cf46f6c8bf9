/** Initializers of the pools of a round. */

import { currentProcess } from "../../process.ts";
import type { SharedArray, Value } from "../../shared.ts";
import { task } from "../../target.ts";
import { arm } from "./dying.ts";

/** What this worker was initialized with. */
let key = -1;

/** Notes which worker it runs in, and keeps the key. */
export const begin = task(import.meta, function begin(begun: SharedArray<"i32">, given: number) {
  Atomics.add(begun.array as Int32Array, currentProcess().pid % begun.length, 1);
  key = given;
});

/** Gives the key. */
export const readKey = task(import.meta, function readKey(): number {
  return key;
});

export const throws = task(import.meta, function throws(n: number) {
  throw new RangeError(`chaos ${n}`);
});

export const rejects = task(import.meta, async function rejects(n: number) {
  await new Promise((resolve) => setTimeout(resolve, 1));
  throw new RangeError(`chaos ${n}`);
});

/** Throws in the worker that is the `at`-th to begin, from 0 on. */
export const failAt = task(
  import.meta,
  function failAt(count: Value<"i32">, at: number, given: number) {
    if (count.add(1) === at) throw new RangeError(`chaos ${given}`);
    key = given;
  },
);

/** The first two workers die some atomic steps later. */
export const armFirst = task(
  import.meta,
  function armFirst(count: Value<"i32">, steps: number, given: number) {
    key = given;
    if (count.add(1) < 2) arm(steps);
  },
);

/** Never ends. */
export const never = task(import.meta, async function never() {
  await new Promise(() => {});
});
