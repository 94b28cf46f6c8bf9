import { Pool } from "@multiprocessing/core/pool";
import type { Contestant } from "./contestant.ts";
import { double, noop } from "./tasks.ts";

let pool: Pool;

/** This project's pool; the tasks are plain functions, which travel as source text. */
const core: Contestant = {
  name: "core",
  documentedFor: "Node, Deno, Bun",
  mapIdiom: "pool.map(fn, numbers)",
  open(processes) {
    pool = new Pool({ processes });
  },
  task: () => pool.apply(noop),
  map: (numbers) => pool.map(double, numbers),
  close: () => pool.terminate(),
};

export default core;
