import { fileURLToPath } from "node:url";
import { type Pool, pool as openPool } from "workerpool";
import type { Contestant } from "./contestant.ts";

let pool: Pool;

/** https://github.com/josdejong/workerpool, with threads and methods registered in a worker file. */
const workerpool: Contestant = {
  name: "workerpool",
  documentedFor: "Node, browsers",
  mapIdiom: "Promise.all of one exec() a number",
  open(workers) {
    const file = fileURLToPath(import.meta.resolve("./workerpool_worker.ts"));
    pool = openPool(file, { workerType: "thread", minWorkers: workers, maxWorkers: workers });
  },
  task: () => pool.exec("noop"),
  map: (numbers) => Promise.all(numbers.map((x) => pool.exec("double", [x]))),
  close: () => pool.terminate(true),
};

export default workerpool;
