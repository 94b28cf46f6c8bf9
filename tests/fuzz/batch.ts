/**
 * A batch of `npm run fuzz`: decodes the messages `--from` to `--from + --count` of `--seed`, and prints
 * the figures as JSON. With `--announce` it prints each number before it decodes that message.
 */

import { writeSync } from "node:fs";
import process from "node:process";
import { fuzz } from "./fuzz.ts";

function number(name: string): number {
  const arg = process.argv.find((arg) => arg.startsWith(`--${name}=`));
  return Number(arg?.slice(name.length + 3));
}

const announce = process.argv.includes("--announce");
const figures = fuzz({
  seed: number("seed"),
  from: number("from"),
  count: number("count"),
  // At once: who crashes has no time for it afterwards.
  ...(announce ? { onMessage: (at: number) => void writeSync(1, `${at}\n`) } : {}),
});
console.log(JSON.stringify(figures));
// Some of the corpus's ports and streams would keep the program.
process.exit(0);
