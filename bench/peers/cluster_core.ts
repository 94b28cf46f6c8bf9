import { cluster } from "../../cluster/mod.ts";
import { Pool } from "../../pool.ts";
import { ROOT } from "../../scripts/runtimes.ts";
import type { ClusterContestant } from "./cluster_contestant.ts";
import type { double } from "./tasks.ts";

let pool: Pool;

/** By its module: a function that travels as text, the daemon would refuse. */
const task = {
  module: new URL("./tasks.ts", import.meta.url).href,
  name: "double",
} as unknown as typeof double;

/** This project's pool on a cluster. */
const core: ClusterContestant = {
  async open(url) {
    pool = new Pool({ backend: cluster(url, { root: ROOT }) });
    await pool.apply(task, [1]);
  },
  one: (number) => pool.apply(task, [number]),
  single: (numbers) => Promise.all(numbers.map((number) => pool.apply(task, [number]))),
  chunked: (numbers, chunkSize) =>
    pool.map(task, numbers, chunkSize === undefined ? {} : { chunkSize }),
};

export default core;
