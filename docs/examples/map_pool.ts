/** A pool that applies a function to each item of a list. */

import { Pool } from "@multiprocessing/core";

const addThree = (n: number) => n + 3;

if (import.meta.main) {
  const pool = new Pool({ processes: 2 });
  console.log(await pool.map(addThree, [1, 2, 3, 4, 5]));
  pool.close();
  await pool.join();
}
