import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { Contestant } from "./contestant.ts";

let pool: Piscina;

/** https://github.com/piscinajs/piscina, as it comes: one task at a time in each worker. */
const piscina: Contestant = {
  name: "piscina",
  documentedFor: "Node",
  mapIdiom: "Promise.all of one run() a number",
  open(workers) {
    const filename = fileURLToPath(import.meta.resolve("./tasks.ts"));
    pool = new Piscina({ filename, name: "noop", minThreads: workers, maxThreads: workers });
  },
  task: () => pool.run(undefined),
  map: (numbers) => Promise.all(numbers.map((x) => pool.run(x, { name: "double" }))),
  close: () => pool.destroy(),
};

export default piscina;
