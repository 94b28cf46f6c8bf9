/** The product of two matrices in SharedArrays, beside the one that a single thread computes. */

import { closure, cpuCount, Pool, SharedArray } from "@multiprocessing/core";
import { readOptions } from "./common/options.ts";
import { printSpeedUp, timed } from "./common/times.ts";

/** Computes some rows of c = a × b; all three are square, and lie row behind row. */
export function multiplyRows(
  a: Float64Array,
  b: Float64Array,
  c: Float64Array,
  size: number,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) {
    for (let k = 0; k < size; k++) {
      const factor = a[i * size + k]!;
      // In this order of the loops, b and c are read as they lie in memory.
      for (let j = 0; j < size; j++) c[i * size + j]! += factor * b[k * size + j]!;
    }
  }
}

/** Each process reads all of a and b, and writes rows of c; nobody writes another's: no lock. */
async function multiplyInPool(
  a: SharedArray<"f64">,
  b: SharedArray<"f64">,
  size: number,
  processes: number,
): Promise<SharedArray<"f64">> {
  const c = new SharedArray("f64", size * size, { lock: false });
  const multiply = closure((from: number, to: number) => {
    multiplyRows(a.array, b.array, c.array, size, from, to);
  }, { multiplyRows, a, b, c, size });

  const bands: [from: number, to: number][] = [];
  const height = Math.ceil(size / (8 * processes));
  for (let from = 0; from < size; from += height) {
    bands.push([from, Math.min(from + height, size)]);
  }
  const pool = new Pool({ processes });
  await pool.starmap(multiply, bands);
  pool.close();
  await pool.join();
  return c;
}

/** The same with a thread and memory of its own. */
function multiplyHere(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const c = new Float64Array(size * size);
  multiplyRows(a, b, c, size, 0, size);
  return c;
}

if (import.meta.main) {
  const { size, processes } = readOptions("Multiplies two square matrices.", {
    size: { initial: 1200, about: "rows and columns of each matrix", to: 8000 },
    processes: { initial: cpuCount(), about: "how many processes multiply" },
  });
  const a = new SharedArray("f64", size * size, { lock: false });
  const b = new SharedArray("f64", size * size, { lock: false });
  for (const { array } of [a, b]) {
    for (let i = 0; i < array.length; i++) array[i] = Math.random();
  }
  const [ownA, ownB] = [Float64Array.from(a.array), Float64Array.from(b.array)];

  const all = await timed(() => multiplyInPool(a, b, size, processes));
  const one = await timed(() => multiplyHere(ownA, ownB, size));

  // Each sum is made in the same order, so that not even the last bit may differ.
  const product = all.result.array;
  const differ = one.result.findIndex((n, i) => n !== product[i]);
  if (differ !== -1) throw new Error(`element ${differ} is ${product[differ]}`);
  console.log(`${size} × ${size}: all ${size * size} elements are equal`);
  printSpeedUp(processes, one, all);
}
