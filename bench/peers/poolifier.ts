import { fileURLToPath } from "node:url";
import { FixedThreadPool } from "poolifier";
import type { Contestant } from "./contestant.ts";

let pool: FixedThreadPool<number | undefined, number>;

/** https://github.com/poolifier/poolifier, as it comes: tasks are posted to a worker at once. */
const poolifier: Contestant = {
  name: "poolifier",
  documentedFor: "Node",
  mapIdiom: "pool.mapExecute(numbers, name)",
  open(workers) {
    pool = new FixedThreadPool(
      workers,
      fileURLToPath(import.meta.resolve("./poolifier_worker.ts")),
    );
  },
  task: () => pool.execute(undefined, "noop"),
  map: (numbers) => pool.mapExecute(numbers, "double"),
  close: () => pool.destroy(),
};

export default poolifier;
