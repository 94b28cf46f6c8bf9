/**
 * `npm run fuzz`: a million forged messages for the decoder, on each runtime.
 *
 * - `npm run fuzz -- --count=50000` so many instead;
 * - `npm run fuzz -- --seed=7` the same messages each time; otherwise others each time;
 * - `npm run fuzz -- --runtime=bun,node` only on these runtimes.
 *
 * They are decoded in child processes, a batch each. No message may crash, hang, hold up or fill the
 * process that decodes it, change a global, or come out as more than data: tests/fuzz/fuzz.ts has the
 * bounds. If one does, the batch is run again, message by message, to find out which. The last line is
 * `N passed, N failed`, in messages.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import type { Figures } from "../tests/fuzz/fuzz.ts";
import { chooseRuntimes, ROOT, type Runtime } from "./runtimes.ts";
import { capture } from "./spawn.ts";

const COUNT = 1_000_000;
const BATCH = 50_000;

/** A batch may take this long, in milliseconds: a message that hangs is found by that. */
const BATCH_TIMEOUT = 180_000;

const PROGRAM = join(ROOT, "tests/fuzz/batch.ts");
const MEBIBYTE = 2 ** 20;

interface Batch {
  seed: number;
  from: number;
  count: number;
}

function run({ command }: Runtime, batch: Batch, ...more: string[]) {
  const args = Object.entries(batch).map(([name, value]) => `--${name}=${value}`);
  return capture([...command, PROGRAM, ...args, ...more], BATCH_TIMEOUT);
}

/** The words of an error, or the message that a batch did not get over. */
async function explain(runtime: Runtime, batch: Batch, output: string): Promise<string> {
  if (/Message \d+ of seed/.test(output)) return output;
  const again = await run(runtime, batch, "--announce");
  const last = again.output.match(/^\d+$/gm)?.at(-1);
  const how = again.timedOut ? "hangs" : `ends the process with code ${again.code}`;
  return `Message ${last} of seed ${batch.seed} ${how}:\n${output}`;
}

async function fuzzOn(runtime: Runtime, seed: number, count: number): Promise<number> {
  const begun = performance.now();
  const sum: Figures = { values: 0, errors: 0, slowest: 0, growth: 0, longest: 0 };
  for (let from = 0; from < count; from += BATCH) {
    const batch = { seed, from, count: Math.min(BATCH, count - from) };
    const { code, output, timedOut } = await run(runtime, batch);
    if (code !== 0 || timedOut) {
      console.log(`${runtime.name.padEnd(8)}FAILED\n${await explain(runtime, batch, output)}`);
      return sum.values + sum.errors;
    }
    const figures: Figures = JSON.parse(output.trim().split("\n").at(-1) as string);
    sum.values += figures.values;
    sum.errors += figures.errors;
    for (const key of ["slowest", "growth", "longest"] as const) {
      sum[key] = Math.max(sum[key], figures[key]);
    }
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  console.log(
    `${runtime.name.padEnd(8)}${sum.values} values, ${sum.errors} errors, slowest ` +
      `${sum.slowest.toFixed(1)} ms, most memory ${(sum.growth / MEBIBYTE).toFixed(1)} MiB, ` +
      `longest ${sum.longest} bytes, ${seconds} s`,
  );
  return sum.values + sum.errors;
}

function option(args: string[], name: string, otherwise: number): number {
  const arg = args.find((arg) => arg.startsWith(`--${name}=`));
  const value = arg === undefined ? otherwise : Number(arg.slice(name.length + 3));
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new RangeError(`Cannot run '${arg}': it takes a whole number`);
}

async function main(): Promise<number> {
  const { chosen, rest } = chooseRuntimes(process.argv.slice(2));
  const unknown = rest.find((arg) => !/^--(?:seed|count)=/.test(arg));
  if (unknown !== undefined) throw new RangeError(`Cannot run '${unknown}': no such option`);
  const seed = option(rest, "seed", Date.now() % 2 ** 31);
  const count = option(rest, "count", COUNT);
  console.log(`seed ${seed}`);
  let passed = 0;
  let failed = 0;
  for (const runtime of chosen) {
    const done = await fuzzOn(runtime, seed, count);
    passed += done;
    failed += done < count ? 1 : 0;
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
