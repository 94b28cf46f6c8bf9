/** 200 pools of two workers, one task each. */

import { Pool } from "../../pool.ts";
import { measure } from "./meter.ts";

await measure(200, 1, async () => {
  const pool = new Pool({ processes: 2 });
  const sum = await pool.apply((a: number, b: number) => a + b, [1, 2]);
  if (sum !== 3) throw new Error(`The task gave ${sum}`);
  await pool[Symbol.asyncDispose]();
});
