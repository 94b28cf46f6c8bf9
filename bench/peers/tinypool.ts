import { Tinypool } from "tinypool";
import type { Contestant } from "./contestant.ts";

let pool: Tinypool;

/** https://github.com/tinylibs/tinypool, as it comes: one task at a time in each worker. */
const tinypool: Contestant = {
  documentedFor: "Node",
  mapIdiom: "Promise.all of one run() an item",
  unorderedIdiom: "one run().then() a number",
  open(workers) {
    const filename = import.meta.resolve("./tasks.ts");
    pool = new Tinypool({ filename, name: "noop", minThreads: workers, maxThreads: workers });
  },
  task: () => pool.run(undefined),
  call: (name, argument, transferList = []) => pool.run(argument, { name, transferList }),
  map: (name, items) => Promise.all(items.map((item) => pool.run(item, { name }))),
  unordered: (numbers, take) =>
    Promise.all(numbers.map((x) => pool.run(x, { name: "double" }).then(take))),
  close: () => pool.destroy(),
};

export default tinypool;
