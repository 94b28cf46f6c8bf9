/**
 * `npm start`: the word index of docs/examples on each runtime in turn, with the same counts.
 *
 * Words after `--` go to the example: `npm start -- --runtime=bun some/folder`.
 *
 * @module
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { chooseRuntimes, runtimes } from "./runtimes.ts";
import { inherit } from "./spawn.ts";

const EXAMPLE = "docs/examples/index_words.ts";

/** What the example counted; how long it took may differ. */
const COUNTS = ["files", "bytes", "words", "distinct", "top"] as const;

type Index = Record<typeof COUNTS[number], unknown>;

/** The counts in which two runtimes differ, as sentences. */
function differences(one: [name: string, Index], other: [name: string, Index]): string[] {
  return COUNTS.flatMap((key) => {
    const [a, b] = [JSON.stringify(one[1][key]), JSON.stringify(other[1][key])];
    return a === b ? [] : [`${key} differs: ${one[0]} counted ${a}, ${other[0]} ${b}`];
  });
}

const folder = mkdtempSync(join(tmpdir(), "index_words_"));
try {
  const shown = runtimes().filter(({ name }) => name !== "node22");
  const { chosen, rest } = chooseRuntimes(process.argv.slice(2), shown);
  const counted: [name: string, Index][] = [];
  for (const { name, version, command } of chosen) {
    console.log(`\n${name} ${version}`);
    const report = join(folder, `${name}.json`);
    const code = await inherit([...command, EXAMPLE, ...rest, "--json", report]);
    if (code === 0) {
      counted.push([name, JSON.parse(readFileSync(report, "utf8"))]);
    } else {
      console.log(`${name}: ${EXAMPLE} ended with code ${code}`);
      process.exitCode = 1;
    }
  }
  const found = counted.slice(1).flatMap((other) => differences(counted[0]!, other));
  for (const sentence of found) console.log(sentence);
  if (found.length > 0) process.exitCode = 1;
  else if (counted.length === 3) console.log("\nsame counts on all three");
} finally {
  rmSync(folder, { recursive: true });
}
