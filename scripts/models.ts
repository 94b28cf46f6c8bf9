/**
 * `npm run models`: checks the algorithms of memory/ with spin, in all orders of their steps.
 *
 * - `npm run models -- ring` checks only tests/models/ring.pml;
 * - `--timeout=60` gives a check 60 seconds instead of 300.
 *
 * The checks of a model are comments at its head. Definitions are the model's; flags are gcc's, and
 * options those of the search that spin generates:
 *
 * ```text
 * // check: WHAT IS TRUE: DEFINITIONS | FLAGS | OPTIONS
 * // caught: WHAT IS BROKEN: DEFINITIONS | FLAGS | OPTIONS
 * ```
 *
 * A check passes when the search is complete and finds no error; what is to be caught, when it finds
 * one. So each run also shows that the models can fail. A file without checks is for the others to
 * include. The last line is `N passed, N failed`.
 *
 * @module
 */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { read } from "./files.ts";
import { ROOT } from "./runtimes.ts";
import { capture } from "./spawn.ts";

const FOLDER = "tests/models";

/** A check may take this long, in seconds. */
const CHECK_TIMEOUT = 300;

/** So many checks run at once. */
const PARALLEL = 2;

/** Only assertions and deadlocks are looked for, unless a check says otherwise. */
const FLAGS = ["-DSAFETY"];

/** Depth of the search, and no list of what it did not reach. */
const OPTIONS = ["-m1000000", "-n"];

/** So many lines of an error's trail are shown. */
const TRAIL_LINES = 120;

interface Check {
  /** The model's name. */
  model: string;
  /** What is true, or broken. */
  title: string;
  /** Whether an error is to be found. */
  caught: boolean;
  definitions: string[];
  flags: string[];
  options: string[];
}

interface Finding {
  passed: boolean;
  states: string;
  depth: string;
  /** What there is to see if it did not pass. */
  output: string;
}

const words = (text = ""): string[] => text.split(/\s+/).filter((word) => word !== "");

/** The checks at the head of a model. */
function checksOf(model: string, text: string): Check[] {
  return [...text.matchAll(/^\/\/ (check|caught): (.+)$/gm)].map(([, kind, line]) => {
    const [, title, rest] = /^(.*?):(?:\s+(-.*))?$/.exec(line as string) ?? [];
    if (title === undefined) throw new RangeError(`Cannot read a check of ${model}: '${line}'`);
    const [definitions, flags, options] = (rest ?? "").split("|").map(words);
    return {
      model,
      title,
      caught: kind === "caught",
      definitions: definitions ?? [],
      flags: flags ?? FLAGS,
      options: options ?? [],
    };
  });
}

/** All checks of the models so named; of all models if none is. */
function checks(names: string[]): Check[] {
  const models = readdirSync(join(ROOT, FOLDER)).filter((name) => name.endsWith(".pml")).sort();
  const texts = models.map((name) => read(ROOT, `${FOLDER}/${name}`));
  for (const name of names) {
    if (!models.includes(`${name}.pml`)) {
      throw new RangeError(`Cannot check '${name}': there is no ${FOLDER}/${name}.pml`);
    }
  }
  return models.flatMap((name, i) => {
    const model = name.replace(".pml", "");
    if (names.length > 0 && !names.includes(model)) return [];
    const found = checksOf(model, texts[i] as string);
    if (found.length === 0 && !texts.some((text) => text.includes(`#include "${name}"`))) {
      throw new RangeError(`Cannot check ${FOLDER}/${name}: it has no '// check:'`);
    }
    return found;
  });
}

/** Runs one check in a folder of its own. */
async function run(check: Check, folder: string, timeout: number): Promise<Finding> {
  const source = join(ROOT, FOLDER, `${check.model}.pml`);
  const inside = (...command: string[]) =>
    capture(["sh", "-c", 'cd "$0" && exec "$@"', folder, ...command], timeout);
  const failure = (output: string) => ({ passed: false, states: "-", depth: "-", output });

  const spin = await inside("spin", ...check.definitions, "-a", source);
  if (spin.code !== 0 || /error|warning/i.test(spin.output)) return failure(spin.output);
  // What is to be caught is found soon: a better pan would not pay for its making.
  const level = check.caught ? "-O0" : "-O1";
  const gcc = await inside("gcc", level, "-w", ...check.flags, "-o", "pan", "pan.c");
  if (gcc.code !== 0) return failure(gcc.output);
  const pan = await inside("./pan", ...OPTIONS, ...check.options);
  if (pan.timedOut) return failure(`${pan.output}\ndid not end in time`);

  const number = (pattern: RegExp) => pattern.exec(pan.output)?.[1];
  const errors = Number(number(/errors: (\d+)/) ?? NaN);
  const incomplete = /not completed|search depth too small|out of memory|truncated|aborting/i;
  const complete = errors === 0 && !incomplete.test(pan.output);
  const passed = check.caught ? errors > 0 : complete;
  const trail = !passed && errors > 0
    ? await inside(
      "spin",
      ...check.definitions,
      "-k",
      `${check.model}.pml.trail`,
      "-t",
      "-p",
      source,
    )
    : undefined;
  return {
    passed,
    states: number(/(\d+) states, stored/) ?? "-",
    depth: number(/depth reached (\d+)/) ?? "-",
    output: [pan.output, ...(trail?.output.split("\n") ?? []).slice(-TRAIL_LINES)].join("\n"),
  };
}

const temporary = mkdtempSync(join(tmpdir(), "models_"));
const total = { passed: 0, failed: 0 };

async function runAll(queue: Check[], timeout: number): Promise<void> {
  const takeTurns = async () => {
    for (let check = queue.shift(); check !== undefined; check = queue.shift()) {
      const start = performance.now();
      const folder = mkdtempSync(join(temporary, "check_"));
      const { passed, states, depth, output } = await run(check, folder, timeout);
      const seconds = ((performance.now() - start) / 1_000).toFixed(1);
      console.log(
        `${check.model.padEnd(10)} ${passed ? "ok    " : "FAILED"} ${seconds.padStart(6)} s ` +
          `${states.padStart(9)} states, depth ${depth.padStart(6)}  ` +
          `${check.caught ? "caught: " : ""}${check.title}`,
      );
      if (!passed) {
        const wanted = check.caught ? "this should have been caught" : "see the trail";
        console.log(`  ${wanted}: ${check.definitions.join(" ")}`);
        console.log(output.trimEnd().replace(/^/gm, "    | "));
      }
      passed ? total.passed++ : total.failed++;
      rmSync(folder, { recursive: true });
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, takeTurns));
}

/** What is missing on this machine, as a sentence. */
async function missing(): Promise<string | undefined> {
  const absent: string[] = [];
  for (const [program, flag] of [["spin", "-V"], ["gcc", "--version"]] as const) {
    const { code } = await capture([program, flag], 10_000);
    if (code !== 0) absent.push(program);
  }
  return absent.length > 0
    ? `Cannot check the models: there is no ${absent.join(" and no ")}; ` +
      "install Debian's packages spin, gcc and libc6-dev"
    : undefined;
}

async function main(args: string[]): Promise<void> {
  const names: string[] = [];
  let seconds = CHECK_TIMEOUT;
  for (const arg of args) {
    const timeout = /^--timeout=(\d+)$/.exec(arg)?.[1];
    if (timeout !== undefined) seconds = Number(timeout);
    else if (!arg.startsWith("-")) names.push(arg.replace(/^.*\//, "").replace(/\.pml$/, ""));
    else throw new RangeError(`Cannot check '${arg}': there is no such model or option`);
  }
  const problem = await missing();
  if (problem !== undefined) throw new RangeError(problem);
  const queue = checks(names);
  await runAll(queue, seconds * 1_000);
}

process.once("exit", () => rmSync(temporary, { recursive: true, force: true }));
// Exits through "exit", where spawn.ts kills the children.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
  total.failed++;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
