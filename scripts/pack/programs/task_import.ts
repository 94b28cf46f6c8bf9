/** A function that uses an import, in a process and in a pool; and an error that keeps its class. */

import { Pool, Process, task } from "@multiprocessing/core";
import { DistanceError, withUnit } from "./units.ts";

task(import.meta, DistanceError);

function print(distance: number): void {
  console.log(withUnit(distance));
}
task(import.meta, print);

function double(distance: number): string {
  return withUnit(distance * 2);
}
task(import.meta, double);

if (import.meta.main) {
  const process = new Process({ target: print, args: [1] });
  process.start();
  await process.join();

  const pool = new Pool({ processes: 1 });
  console.log((await pool.map(double, [1, 2, 3])).join());
  try {
    await pool.apply(double, [-1]);
  } catch (error) {
    if (error instanceof DistanceError) console.log(error.message);
  }
  pool.close();
  await pool.join();
}
