import { fileURLToPath } from "node:url";
import { type Pool, pool as openPool } from "workerpool";
import type { Contestant } from "./contestant.ts";

let pool: Pool;

/** https://github.com/josdejong/workerpool, with threads and methods registered in a worker file. */
const workerpool: Contestant = {
  documentedFor: "Node, browsers",
  mapIdiom: "Promise.all of one exec() an item",
  unorderedIdiom: "one exec().then() a number",
  open(workers) {
    const file = fileURLToPath(import.meta.resolve("./workerpool_worker.ts"));
    pool = openPool(file, { workerType: "thread", minWorkers: workers, maxWorkers: workers });
  },
  task: () => pool.exec("noop"),
  call: (name, argument, transfer = []) => pool.exec(name, [argument], { transfer }),
  map: (name, items) => Promise.all(items.map((item) => pool.exec(name, [item]))),
  unordered: (numbers, take) =>
    Promise.all(numbers.map((x) => pool.exec("double", [x]).then(take))),
  close: () => pool.terminate(true),
};

export default workerpool;
