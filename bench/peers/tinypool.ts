import { Tinypool } from "tinypool";
import type { Contestant } from "./contestant.ts";

let pool: Tinypool;

/** https://github.com/tinylibs/tinypool, as it comes: one task at a time in each worker. */
const tinypool: Contestant = {
  name: "tinypool",
  documentedFor: "Node",
  mapIdiom: "Promise.all of one run() a number",
  open(workers) {
    const filename = import.meta.resolve("./tasks.ts");
    pool = new Tinypool({ filename, name: "noop", minThreads: workers, maxThreads: workers });
  },
  task: () => pool.run(undefined),
  map: (numbers) => Promise.all(numbers.map((x) => pool.run(x, { name: "double" }))),
  close: () => pool.destroy(),
};

export default tinypool;
