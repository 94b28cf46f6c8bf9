/**
 * `npm run bench`: every bench/*_bench.ts on each runtime in turn, one at a time.
 *
 * `npm run bench -- --runtime=bun queue` runs those whose path contains `queue`, on Bun; words that
 * begin with `--` go to the benchmark.
 *
 * @module
 */

import process from "node:process";
import { walk } from "./files.ts";
import { chooseRuntimes, ROOT, runtimes } from "./runtimes.ts";
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
