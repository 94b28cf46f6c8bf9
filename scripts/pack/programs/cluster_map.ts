/** A pool on a cluster, whose function uses an import; and a lock by name. */

import { Pool, task } from "@multiprocessing/core";
import { cluster } from "@multiprocessing/cluster";
import { withUnit } from "./units.ts";

function double(distance: number): string {
  return withUnit(distance * 2);
}
task(import.meta, double);

if (import.meta.main) {
  const here = cluster();
  await here.lock("print").use(async () => {
    const pool = new Pool({ backend: here });
    console.log((await pool.map(double, [1, 2, 3])).join());
    pool.close();
    await pool.join();
  });
  await here.close();
}
