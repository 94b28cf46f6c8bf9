import { fileURLToPath } from "node:url";
import { FixedThreadPool } from "poolifier";
import type { Contestant } from "./contestant.ts";

let pool: FixedThreadPool<unknown, unknown>;

/** https://github.com/poolifier/poolifier, as it comes: tasks are posted to a worker at once. */
const poolifier: Contestant = {
  documentedFor: "Node",
  mapIdiom: "pool.mapExecute(items, name)",
  unorderedIdiom: "one execute().then() a number",
  open(workers) {
    pool = new FixedThreadPool(
      workers,
      fileURLToPath(import.meta.resolve("./poolifier_worker.ts")),
    );
  },
  task: () => pool.execute(undefined, "noop"),
  call: (name, argument, moved = []) => pool.execute(argument, name, undefined, moved),
  map: (name, items) => pool.mapExecute(items, name),
  unordered: (numbers, take) =>
    Promise.all(numbers.map((x) => pool.execute(x, "double").then((y) => take(y as number)))),
  close: () => pool.destroy(),
};

export default poolifier;
