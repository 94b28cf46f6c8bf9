/**
 * `npm run leaks`: what processes, pools, queues and waits leave behind, in many repetitions.
 *
 * - `npm run leaks -- --only=pools,waits` measures only these programs of tests/leaks;
 * - `npm run leaks -- --runtime=bun,node` only on these runtimes.
 *
 * Each program runs by itself, and prints what it holds after a warm-up and at five points from there
 * on. It passes if
 *
 * - resident memory has grown by less than 10 MB, or by no more than bare workers of the runtime make it
 *   grow, as many of them as the program has started; on Deno after glibc's `malloc_trim`;
 * - there are no more threads and open files than after the warm-up.
 *
 * The last line is `N passed, N failed`, in programs.
 *
 * @module
 */

import process from "node:process";
import { MARK, type Report, type Sample } from "../tests/leaks/meter.ts";
import { chooseRuntimes, type Runtime, runtimes } from "./runtimes.ts";
import { capture } from "./spawn.ts";

/** A program may take this long, in milliseconds. */
const TIMEOUT = 600_000;

/** So many programs run at once: what they measure does not depend on how fast they are. */
const PARALLEL = 2;

const MB = 1_000_000;
const MAX_GROWTH = 10 * MB;

/** The program that starts bare workers. */
const BARE = "bare_workers";

/** The programs, and how many workers each starts after its warm-up; 0 if few. */
const PROGRAMS: Record<string, number> = {
  processes: 2_000,
  pools: 400,
  queue_within: 0,
  queue_across: 0,
  waits: 0,
  waits_sync: 0,
  deposits: 0,
  cancels: 0,
};

/**
 * For V8: lets a program collect its garbage when it wants to; and keeps the space for young objects
 * small, which otherwise grows by tens of MB when much is made, and tells nothing of what is kept.
 */
const V8_FLAGS = ["--expose-gc", "--max-semi-space-size=1"];

function command({ name, command }: Runtime, path: string): string[] {
  const [binary, ...words] = command as [string, ...string[]];
  if (name === "bun") return [binary, path];
  if (name === "deno") return [binary, ...words, `--v8-flags=${V8_FLAGS.join()}`, path];
  return [binary, ...V8_FLAGS, path];
}

/** What a program has measured; its output if it has not come to that. */
async function run(on: Runtime, name: string): Promise<Sample[] | string> {
  const { code, output, timedOut } = await capture(command(on, `tests/leaks/${name}.ts`), TIMEOUT);
  const line = output.split("\n").find((line) => line.startsWith(MARK));
  if (code === 0 && line !== undefined) {
    return (JSON.parse(line.slice(MARK.length)) as Report).samples;
  }
  return `${timedOut ? "did not end in time" : `ended with code ${code}`}\n${output}`.trimEnd();
}

interface Measured {
  /** As {@linkcode run} gives them. */
  samples: Sample[] | string;
  seconds: number;
}

/** Runs programs, {@linkcode PARALLEL} at once. */
function startAll(on: Runtime, names: string[]): Map<string, Promise<Measured>> {
  const measured = new Map(names.map((name) => [name, Promise.withResolvers<Measured>()]));
  const queue = [...measured];
  const takeTurns = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [name, { resolve }] = next;
      const start = performance.now();
      const samples = await run(on, name);
      resolve({ samples, seconds: (performance.now() - start) / 1_000 });
    }
  };
  for (let lane = 0; lane < PARALLEL; lane++) takeTurns();
  return new Map(Array.from(measured, ([name, { promise }]) => [name, promise]));
}

type Size = "rss" | "heap" | "threads" | "files";

/** By how much something has grown since the warm-up. */
function growth(samples: Sample[], size: Size, at: Sample = samples.at(-1)!): number {
  return at[size] - samples[0]![size];
}

function megabytes(bytes: number): string {
  const text = (bytes / MB).toFixed(1);
  return bytes < 0 ? text : `+${text}`;
}

/** What so many bare workers have added to resident memory; undefined if there were not so few. */
function bareGrowth(bare: Sample[], workers: number): number | undefined {
  const at = bare.findLast(({ done }) => done > 0 && done <= workers);
  return at && growth(bare, "rss", at);
}

/** A line about what a program has measured. */
function describe(name: string, samples: Sample[], seconds: number): string {
  const { threads, files } = samples[0]!;
  const last = samples.at(-1)!;
  return [
    `  ${name.padEnd(12)}`,
    `rss ${samples.slice(1).map((at) => megabytes(growth(samples, "rss", at))).join(" ")} MB`,
    `heap ${megabytes(growth(samples, "heap"))} MB`,
    `threads ${threads} → ${last.threads}`,
    `files ${files} → ${last.files}`,
    `${seconds.toFixed(0)} s`,
  ].join("   ");
}

/** What is wrong with what a program has left behind. */
function faults(samples: Sample[], bare: number | undefined): string[] {
  const rss = growth(samples, "rss");
  const found: string[] = [];
  if (rss >= MAX_GROWTH && !(bare !== undefined && rss <= bare)) {
    found.push(`resident memory has grown by ${megabytes(rss)} MB`);
  }
  for (const size of ["threads", "files"] as const) {
    const more = growth(samples, size);
    if (more > 0) found.push(`${more} more ${size} than after the warm-up`);
  }
  return found;
}

/** Takes `--only=a,b` out of a command line: the programs to run. */
function choose(args: string[]): string[] {
  const flag = "--only=";
  const unknown = args.find((arg) => !arg.startsWith(flag));
  if (unknown) throw new RangeError(`Cannot run '${unknown}': there is no such option`);
  const names = args.flatMap((arg) => arg.slice(flag.length).split(","));
  const all = Object.keys(PROGRAMS);
  const stranger = names.find((name) => !all.includes(name));
  if (stranger !== undefined) {
    throw new RangeError(`Cannot run '${stranger}': the programs are ${all.join(", ")}`);
  }
  return names.length === 0 ? all : names;
}

async function main(args: string[]): Promise<{ passed: number; failed: number }> {
  const { chosen, rest } = chooseRuntimes(args, runtimes().filter(({ name }) => name !== "node22"));
  const names = choose(rest);
  const needsBare = names.some((name) => PROGRAMS[name]! > 0);
  let passed = 0;
  let failed = 0;
  for (const on of chosen) {
    console.log(`\n${on.name} ${on.version}`);
    let bare: Sample[] = [];
    const measured = startAll(on, needsBare ? [BARE, ...names] : names);
    for (const [name, promise] of measured) {
      const { samples, seconds } = await promise;
      if (typeof samples === "string") {
        console.log(`  ${name.padEnd(12)} FAILED: ${samples}`);
        failed++;
        continue;
      }
      console.log(describe(name, samples, seconds));
      if (name === BARE) {
        bare = samples;
        continue;
      }
      const beside = bareGrowth(bare, PROGRAMS[name]!);
      if (beside !== undefined) {
        console.log(`    bare workers, as many: rss ${megabytes(beside)} MB`);
      }
      const found = faults(samples, beside);
      for (const fault of found) console.log(`    FAILED: ${fault}`);
      found.length > 0 ? failed++ : passed++;
    }
  }
  return { passed, failed };
}

// Exits through "exit", where spawn.ts kills the children.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  const { passed, failed } = await main(process.argv.slice(2));
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
  console.log("\n0 passed, 1 failed");
  process.exitCode = 1;
}
