/** Monte Carlo π: processes take numbers from one Value, and add what they find to another. */

import { cpuCount, Process, Value } from "@multiprocessing/core";
import { readOptions } from "./common/options.ts";
import { printSpeedUp, timed } from "./common/times.ts";

/** Points that a process draws before it adds those in the circle, and takes the next number. */
const BATCH = 1_000_000;

/** Draws batch after batch in the unit square, and counts the points in the quarter circle. */
function drawPoints(batches: number, size: number, next: Value<"u32">, inside: Value<"i64">): void {
  /** Random numbers from 0 to 1: sfc32. Each seed gives a sequence of its own. */
  function randomFrom(seed: number): () => number {
    let [a, b, c] = [seed, 0x9e3779b9, 0x243f6a88];
    let counter = 1;
    const random = () => {
      const sum = (a + b + counter++) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      return (sum >>> 0) / 2 ** 32;
    };
    for (let i = 0; i < 15; i++) random(); // Until then, neighbouring seeds look alike.
    return random;
  }

  // add() is one step, and returns the old value: no two processes get the same batch.
  for (let batch = next.add(1); batch < batches; batch = next.add(1)) {
    const random = randomFrom(batch);
    let hits = 0;
    for (let i = 0; i < size; i++) {
      const x = random();
      const y = random();
      if (x * x + y * y < 1) hits++;
    }
    inside.add(BigInt(hits));
  }
}

/** Lets so many processes share the batches. */
async function countInside(batches: number, processes: number): Promise<bigint> {
  const next = new Value("u32", 0, { lock: false });
  const inside = new Value("i64", 0n, { lock: false });
  const args: Parameters<typeof drawPoints> = [batches, BATCH, next, inside];
  const drawing = Array.from(
    { length: processes },
    () => new Process({ target: drawPoints, args }),
  );
  for (const process of drawing) process.start();
  for (const process of drawing) await process.join();
  return inside.value;
}

if (import.meta.main) {
  const { millions, processes } = readOptions("Estimates π by drawing random points.", {
    millions: { initial: 200, about: "millions of points to draw", to: 1_000_000 },
    processes: { initial: cpuCount(), about: "how many processes draw" },
  });
  const all = await timed(() => countInside(millions, processes));
  const one = await timed(() => countInside(millions, 1));

  // The points follow from the numbers of the batches, not from who draws them.
  if (one.result !== all.result) throw new Error("the counts differ");
  const points = millions * BATCH;
  const estimate = 4 * Number(all.result) / points;
  console.log(`π ≈ ${estimate.toFixed(6)}, from ${millions} million points`);
  const [error, expected] = [Math.abs(estimate - Math.PI), 1.64 / Math.sqrt(points)];
  console.log(`off by ${error.toFixed(6)}; the standard error is ${expected.toFixed(6)}`);
  printSpeedUp(processes, one, all);
}
