import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { Contestant } from "./contestant.ts";

let pool: Piscina;

/** https://github.com/piscinajs/piscina, as it comes: one task at a time in each worker. */
const piscina: Contestant = {
  documentedFor: "Node",
  mapIdiom: "Promise.all of one run() an item",
  unorderedIdiom: "one run().then() a number",
  open(workers) {
    const filename = fileURLToPath(import.meta.resolve("./tasks.ts"));
    pool = new Piscina({ filename, name: "noop", minThreads: workers, maxThreads: workers });
  },
  task: () => pool.run(undefined),
  call: (name, argument, transferList = []) => pool.run(argument, { name, transferList }),
  map: (name, items) => Promise.all(items.map((item) => pool.run(item, { name }))),
  unordered: (numbers, take) =>
    Promise.all(numbers.map((x) => pool.run(x, { name: "double" }).then(take))),
  close: () => pool.destroy(),
};

export default piscina;
