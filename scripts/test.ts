/**
 * `npm test`: every check, and every test on every runtime.
 *
 * - `npm test -- tests/pool_test.ts` runs only these files, on all runtimes;
 * - `npm test -- --runtime=bun,node tests/pool_test.ts` only on these runtimes;
 * - `npm test -- --only=walls,lint` only these steps; `--only=checks` all steps without the tests;
 * - `--timeout=30` gives a test file 30 seconds instead of 240.
 *
 * The last line is `N passed, N failed`: the tests of all runtimes, and one for each check.
 *
 * @module
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { packages, readJson, walk } from "./files.ts";
import { chooseRuntimes, ROOT, type Runtime, runtime, runtimes } from "./runtimes.ts";
import { capture } from "./spawn.ts";
import { type Counts, readCounts } from "./summary.ts";

/** A test file may take this long, in seconds. */
const FILE_TIMEOUT = 240;

/** A check may take this long, in milliseconds. */
const CHECK_TIMEOUT = 300_000;

/**
 * So many test files of a package run at once: more would make the timings of tests meaningless. Those of
 * the cluster wait most of their time, for leases that are to end, so they are no load for the others.
 */
const PARALLEL = 2;

const deno = runtime("deno").binary;

/** The exported files of all packages. */
function exported(): string[] {
  return packages(ROOT).flatMap((folder) =>
    Object.values(
      readJson<{ exports: Record<string, string> }>(ROOT, `${folder}/deno.json`)!.exports,
    )
      .map((path) => folder === "." ? path : `./${folder}/${path.replace("./", "")}`)
  );
}

/** The documents whose examples run. */
function documents(): string[] {
  return walk(ROOT).filter((path) => /^(?:cluster\/)?(?:README\.md|docs\/[^/]+\.md)$/.test(path));
}

/** The checks, in order; `publish` comes after the tests. */
const CHECKS: Record<string, () => string[]> = {
  fmt: () => [deno, "fmt", "--check"],
  lint: () => [deno, "lint"],
  types: () => [deno, "check", "."],
  docs: () => [deno, "doc", "--lint", ...exported()],
  examples: () => [deno, "test", "--doc", "-A", ...exported(), ...documents()],
  manifests: () => [process.execPath, "scripts/check_manifests.ts"],
  walls: () => [process.execPath, "scripts/check_walls.ts"],
  site: () => [process.execPath, "scripts/docs.ts"],
  publish: () => [deno, "publish", "--dry-run", "--allow-dirty"],
};

/** Where Node 22 finds modules without types; see node22_preload.mjs. */
const stripped = mkdtempSync(join(tmpdir(), "stripped_"));
process.once("exit", () => rmSync(stripped, { recursive: true, force: true }));

/** How a runtime runs one test file. */
function testCommand({ name, binary }: Runtime, path: string, seconds: number): string[] {
  if (name === "deno") {
    return [binary, "test", "-A", "--no-check", "--preload=scripts/deno_preload.ts", `./${path}`];
  }
  // Bun gives a test 5 seconds; here the file's timeout is the only one.
  if (name === "bun") return [binary, "test", `--timeout=${seconds * 1_000}`, `./${path}`];
  // Not `node --test`, which counts a file without tests as a test that passed.
  const options = ["--test-reporter=tap"];
  if (name === "node22") {
    const preload = pathToFileURL(join(ROOT, "scripts/node22_preload.mjs"));
    preload.searchParams.set("folder", stripped);
    options.push(`--import=${preload}`);
  }
  return [binary, ...options, `./${path}`];
}

const total: Counts = { passed: 0, failed: 0, skipped: 0 };

function heading(name: string): void {
  process.stdout.write(name.padEnd(11));
}

function result(start: number, failed: boolean, note = ""): void {
  const seconds = ((performance.now() - start) / 1_000).toFixed(1);
  console.log(`${failed ? "FAILED" : "ok    "} ${seconds.padStart(6)} s  ${note}`.trimEnd());
}

/** What a child printed, set off from this script's own lines; some colour it whatever NO_COLOR says. */
function show(output: string): void {
  console.log(stripVTControlCharacters(output).trimEnd().replace(/^/gm, "    | "));
}

async function runCheck(name: string): Promise<void> {
  const start = performance.now();
  heading(name);
  const { code, output, timedOut } = await capture(CHECKS[name]!(), CHECK_TIMEOUT);
  const failed = code !== 0 || timedOut;
  result(start, failed, timedOut ? "did not end in time" : "");
  if (failed) show(output);
  failed ? total.failed++ : total.passed++;
}

async function runTests(on: Runtime, files: string[], seconds: number): Promise<void> {
  const start = performance.now();
  heading(on.name);
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 };
  const failures: { path: string; problem: string; output: string }[] = [];
  const queues = Object.values(Object.groupBy(files, (path) => path.split("/")[0]!)) as string[][];
  const takeTurns = async (queue: string[]) => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      const outcome = await capture(testCommand(on, path, seconds), seconds * 1_000);
      const { counts, problem } = readCounts(on.name, outcome);
      for (const key of ["passed", "failed", "skipped"] as const) sum[key] += counts[key];
      if (problem) failures.push({ path, problem, output: outcome.output });
    }
  };
  const lanes = queues.flatMap((queue) => Array.from({ length: PARALLEL }, () => takeTurns(queue)));
  await Promise.all(lanes);
  const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : "";
  result(
    start,
    failures.length > 0,
    `${sum.passed} passed, ${sum.failed} failed${skipped} in ${files.length} files (${on.version})`,
  );
  for (const { path, problem, output } of failures) {
    console.log(`  ${path} on ${on.name}: ${problem}`);
    show(output);
  }
  total.passed += sum.passed;
  total.failed += Math.max(sum.failed, failures.length);
}

interface Plan {
  steps: string[];
  chosen: Runtime[];
  files: string[];
  seconds: number;
}

/** Turns the command line into a plan; a word that means nothing is an error. */
function plan(args: string[]): Plan {
  const everyone = runtimes();
  const { chosen, rest } = chooseRuntimes(args, everyone);
  const testFiles = walk(ROOT).filter((path) => path.endsWith("_test.ts"));
  const names = everyone.map(({ name }) => name as string);
  const { publish: _, ...first } = CHECKS;
  const order = [...Object.keys(first), ...names, "publish"];
  const groups: Record<string, string[]> = { checks: Object.keys(CHECKS), tests: names };

  const files: string[] = [];
  let only: string[] | undefined;
  let seconds = FILE_TIMEOUT;
  for (const arg of rest) {
    const [, option, value = ""] = /^--([a-z]+)=(.+)$/.exec(arg) ?? [];
    if (option === "only") {
      only = value.split(",").flatMap((step) => groups[step] ?? [step]);
      const unknown = only.find((step) => !order.includes(step));
      if (unknown) {
        throw new RangeError(`Cannot run '${unknown}': the steps are ${order.join(", ")}`);
      }
    } else if (option === "timeout" && Number(value) > 0) {
      seconds = Number(value);
    } else if (!arg.startsWith("-") && existsSync(arg)) {
      const path = relative(ROOT, resolve(arg)).replaceAll("\\", "/");
      const found = testFiles.filter((file) => file === path || file.startsWith(`${path}/`));
      if (found.length === 0) throw new RangeError(`Cannot run '${arg}': it has no *_test.ts`);
      files.push(...found);
    } else {
      throw new RangeError(`Cannot run '${arg}': there is no such file or option`);
    }
  }
  // Naming files or runtimes asks for tests.
  const narrowed = files.length > 0 || chosen.length < everyone.length;
  const wanted = only ?? (narrowed ? names : order);
  return {
    steps: order.filter((step) => wanted.includes(step)),
    chosen,
    files: files.length > 0 ? files : testFiles,
    seconds,
  };
}

async function main(): Promise<void> {
  const { steps, chosen, files, seconds } = plan(process.argv.slice(2));
  for (const step of steps) {
    if (step in CHECKS) {
      await runCheck(step);
    } else {
      const on = chosen.find(({ name }) => name === step);
      if (on) await runTests(on, files, seconds);
    }
  }
}

// Exits through "exit", where spawn.ts kills the children.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  await main();
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
  total.failed++;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
