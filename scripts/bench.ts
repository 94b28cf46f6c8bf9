/**
 * `npm run bench`: every bench/*_bench.ts on each runtime in turn, one at a time, and then the drawings
 * of what they have found.
 *
 * `npm run bench -- --runtime=bun pool` runs those whose path contains `pool`, on Bun; words that begin
 * with `--` go to the benchmark. Results of what does not run now stay as they are.
 *
 * @module
 */

import process from "node:process";
import { walk } from "./files.ts";
import { chooseRuntimes, ROOT, runtime, runtimes } from "./runtimes.ts";
import { inherit } from "./spawn.ts";

const { chosen, rest } = chooseRuntimes(
  process.argv.slice(2),
  runtimes().filter(({ name }) => name !== "node22"),
);
const options = rest.filter((word) => word.startsWith("--"));
const names = rest.filter((word) => !word.startsWith("--"));
const files = walk(ROOT).filter((path) =>
  path.endsWith("_bench.ts") && (names.length === 0 || names.some((name) => path.includes(name)))
);
if (files.length === 0) throw new RangeError(`Cannot run ${names}: no *_bench.ts has such a path`);

for (const path of files) {
  for (const { name, version, command } of chosen) {
    console.log(`\n${path} on ${name} ${version}`);
    if (await inherit([...command, path, ...options]) !== 0) process.exitCode = 1;
  }
}
if (await inherit([...runtime("node").command, "bench/plot.ts"]) !== 0) process.exitCode = 1;
