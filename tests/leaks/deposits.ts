/** 20,000 tasks of a pool with a shared value as argument: each a deposit at the exchange. */

import { Pool } from "../../pool.ts";
import { Value } from "../../shared.ts";
import { Barrier } from "../../sync.ts";
import { closure } from "../../target.ts";
import { collect, measure } from "./meter.ts";

const BATCH = 200;

const WORKERS = 2;
const pool = new Pool({ processes: WORKERS });
const increment = (value: Value<"i32">) => void value.add(1);

const all = new Barrier(WORKERS);
const collectThere = closure(async () => {
  await all.wait();
  await collect();
}, { all, collect });

/** Both workers hold what they were sent until they collect their garbage, which they seldom do. */
async function tidy(): Promise<void> {
  await Promise.all(Array.from({ length: WORKERS }, () => pool.apply(collectThere)));
}

await measure(20_000, BATCH, async () => {
  const values = Array.from({ length: BATCH }, () => new Value("i32"));
  await Promise.all(values.map((value) => pool.apply(increment, [value])));
  if (values.some(({ value }) => value !== 1)) throw new Error("A value was not incremented");
}, tidy);

await pool[Symbol.asyncDispose]();
