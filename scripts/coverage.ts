/**
 * `npm run coverage`: the lines of the library that its tests run.
 *
 * - `npm run coverage -- tests/pool_test.ts` runs only these files;
 * - `--min=95` fails if a folder has less than 95 % of its lines covered;
 * - `--timeout=60` gives a test file 60 seconds instead of 240.
 *
 * **On Node**, because only V8's own reports tell of workers as well. What cannot write one is not
 * counted: a worker that is terminated, or a process that is killed. Node takes the types out of a
 * file and leaves blanks in their place, so an offset in a report is one in the file.
 *
 * **Functions that travel.** `boot()` and `inside()` run in each worker as a part of its entry, under
 * the entry's name. There they are found by their names, and counted where they are written. Other
 * text that travels is the user's.
 *
 * **On Deno and Bun** only a few of the tests are run: they add the lines that no other runtime runs.
 * Bun's reports know nothing of workers; with Deno's, tests that stop workers take minutes.
 *
 * A line counts if there is code in it, a name or a text, and is covered if some of that has run.
 * Those in the list with a `~` have run in part.
 *
 * @module
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { boot } from "../memory/boot.ts";
import { inside } from "../runtime/inside.ts";
import { node } from "../runtime/node.ts";
import { shorten } from "../runtime/node_worker.ts";
import { isLibrary, read, walk } from "./files.ts";
import { ROOT, type Runtime, runtime } from "./runtimes.ts";
import { capture } from "./spawn.ts";
import { strip } from "./strip.ts";
import { readCounts } from "./summary.ts";

/** A test file may take this long, in seconds: each worker writes a report at its end. */
const FILE_TIMEOUT = 240;

/** So many test files run at once. */
const PARALLEL = 2;

/** Where the runtimes put their reports. */
const REPORTS = join(ROOT, "node_modules/.cache/coverage");

/** The name of a worker's entry. */
const ENTRY = "multiprocessing:entry";

/** The tests that also run on these runtimes. */
const ON_DENO = ["tests/locate_test.ts", "tests/runtime_quirks_test.ts"];
const ON_BUN = ["tests/runtime_test.ts"];

/** A function in a report of V8: its own range first, then the blocks in it that have another count. */
interface FunctionCoverage {
  functionName: string;
  ranges: { startOffset: number; endOffset: number; count: number }[];
}

interface ScriptCoverage {
  url: string;
  functions: FunctionCoverage[];
}

/** A file of the library, and what of it has run. */
class Source {
  readonly path: string;
  /** Its text without types, comments and what texts say; each other character in its place. */
  readonly code: string;
  /** For each character, whether it has run in any process. */
  readonly ran: Uint8Array;

  constructor(path: string) {
    this.path = path;
    const text = read(ROOT, path);
    const bare = stripTypeScriptTypes(text);
    if (bare.length !== text.length) throw new Error(`Cannot take the types out of ${path}`);
    this.code = strip(bare);
    this.ran = new Uint8Array(text.length);
  }

  /** Adds what one process has run. `places` has the places here of those in its text, if they differ. */
  add(functions: FunctionCoverage[], places?: Uint32Array): void {
    const ran = new Uint8Array(this.ran.length);
    // Outer functions and blocks come before those within them.
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges) {
        const [start, end] = [startOffset, endOffset].map((at) => places?.[at] ?? at);
        ran.fill(Math.min(count, 1), start, end);
      }
    }
    for (let at = 0; at < ran.length; at++) this.ran[at]! |= ran[at]!;
  }

  /** Adds a whole line that another runtime has run. */
  addLine(line: number): void {
    const before = this.code.split("\n").slice(0, line - 1).join("\n").length;
    const end = this.code.indexOf("\n", before + 1);
    this.ran.fill(1, before, end < 0 ? this.code.length : end);
  }

  /** Its lines with code, and how much of each has run. */
  lines(): { line: number; ran: "all" | "some" | "none" }[] {
    let offset = 0;
    return this.code.split("\n").flatMap((text, index) => {
      const start = offset;
      offset += text.length + 1;
      const places = [...text.matchAll(/[\w$]/g)].map((found) => this.ran[start + found.index]!);
      if (places.length === 0) return [];
      const sum = places.reduce((a, b) => a + b, 0);
      return [{ line: index + 1, ran: sum === places.length ? "all" : sum > 0 ? "some" : "none" }];
    });
  }
}

const sources = new Map(
  walk(ROOT).filter((path) => isLibrary(path) && !path.startsWith("cluster/")).map((path) =>
    [path, new Source(path)] as const
  ),
);

/** The places of what is not blank. */
const marks = (code: string) => [...code.matchAll(/\S/g)].map(({ index }) => index);

/** For each place in the entry, the one in a source of which a function is a part of it. */
function placesOf(travelled: (...args: never[]) => unknown, { code }: Source): Uint32Array {
  const entry = strip(shorten(node.entryText(String(boot))));
  const text = strip(shorten(String(travelled)));
  const places = new Uint32Array(entry.length + 1);
  const begin = entry.indexOf(text);
  const written = code.indexOf(`function ${travelled.name}(`);
  const there = marks(code.slice(written));
  marks(text).forEach((mark, i) => places[begin + mark] = written + there[i]!);
  // Blanks, and all that comes before or behind, are at the next place.
  for (let at = entry.length; at >= 0; at--) places[at] ||= places[at + 1] ?? code.length;
  return places;
}

/** For the source of each function that travels in an entry, where that entry's text is written. */
const travelling = new Map(
  Object.entries({ "memory/boot.ts": boot, "runtime/inside.ts": inside }).map(([path, travelled]) =>
    [path, placesOf(travelled, sources.get(path)!)] as const
  ),
);

/** The file of the library at a URL, if there is one. */
function sourceAt(url: string): Source | undefined {
  if (!url.startsWith("file:")) return undefined;
  return sources.get(relative(ROOT, fileURLToPath(url)).replaceAll("\\", "/"));
}

/** Adds the report of one thread of Node. */
function addReport(scripts: ScriptCoverage[]): void {
  for (const { url, functions } of scripts) {
    sourceAt(url)?.add(functions);
    if (url === ENTRY) {
      travelling.forEach((places, path) => sources.get(path)!.add(functions, places));
    }
  }
}

/** Adds what `lcov` says of the lines of files. */
function addLcov(lcov: string): void {
  let source: Source | undefined;
  for (const row of lcov.split("\n")) {
    const [, path] = /^SF:(.+)/.exec(row) ?? [];
    if (path) source = sources.get(relative(ROOT, resolve(ROOT, path)).replaceAll("\\", "/"));
    const [, line, count] = /^DA:(\d+),(\d+)/.exec(row) ?? [];
    if (Number(count) > 0) source?.addLine(Number(line));
  }
}

/** Runs a test file; tells whether it passed. */
async function passes(
  on: Runtime,
  path: string,
  command: string[],
  seconds: number,
): Promise<boolean> {
  const outcome = await capture(command, seconds * 1_000);
  const { problem } = readCounts(on.name, outcome);
  if (problem) {
    // Each failed test with its diagnostics, or all of it from who speaks no TAP.
    const failed = outcome.output.match(/^not ok .*(?:\n {2}.*)*/gm) ?? [outcome.output];
    console.log(`${path} on ${on.name}: ${problem}`);
    console.log(failed.join("\n").replace(/^/gm, "    | "));
  }
  return problem === undefined;
}

/** A new folder for the reports of one test file. */
function reportFolder(on: Runtime, path: string): string {
  const folder = join(REPORTS, `${on.name}-${path.replaceAll("/", "-")}`);
  mkdirSync(folder, { recursive: true });
  return folder;
}

async function runNode(path: string, seconds: number): Promise<boolean> {
  const on = runtime("node");
  const folder = reportFolder(on, path);
  // capture() hands it on before anybody else can set it.
  process.env.NODE_V8_COVERAGE = folder;
  const passed = passes(on, path, [on.binary, "--test-reporter=tap", `./${path}`], seconds);
  delete process.env.NODE_V8_COVERAGE;
  await passed;
  for (const name of readdirSync(folder)) {
    let report: { result: ScriptCoverage[] };
    try {
      report = JSON.parse(readFileSync(join(folder, name), "utf8"));
    } catch {
      continue; // its process was killed while it wrote
    }
    addReport(report.result);
  }
  rmSync(folder, { recursive: true });
  return passed;
}

async function runDeno(path: string, seconds: number): Promise<boolean> {
  const on = runtime("deno");
  const folder = reportFolder(on, path);
  const options = ["-A", "--no-check", `--coverage=${folder}`, "--coverage-raw-data-only"];
  options.push("--preload=scripts/deno_preload.ts");
  const passed = await passes(on, path, [on.binary, "test", ...options, `./${path}`], seconds);
  const { output } = await capture([on.binary, "coverage", "--lcov", folder], seconds * 1_000);
  addLcov(output);
  return passed;
}

async function runBun(path: string, seconds: number): Promise<boolean> {
  const on = runtime("bun");
  const folder = reportFolder(on, path);
  const options = ["--coverage", "--coverage-reporter=lcov", `--coverage-dir=${folder}`];
  options.push(`--timeout=${seconds * 1_000}`);
  const passed = await passes(on, path, [on.binary, "test", ...options, `./${path}`], seconds);
  const file = join(folder, "lcov.info");
  if (existsSync(file)) addLcov(readFileSync(file, "utf8"));
  return passed;
}

/** What has not run, as `3, 5-9`, with a `~` behind lines that have run in part. */
function missing(lines: ReturnType<Source["lines"]>): string {
  const spans: { from: number; to: number; ran: string }[] = [];
  for (const { line, ran } of lines) {
    const last = spans.at(-1);
    if (ran === "none" && last?.ran === ran) last.to = line;
    else spans.push({ from: line, to: line, ran });
  }
  return spans.filter(({ ran }) => ran !== "all").map(({ from, to, ran }) =>
    `${from}${to > from ? `-${to}` : ""}${ran === "some" ? "~" : ""}`
  ).join(", ");
}

interface Sum {
  lines: number;
  covered: number;
}

const percent = ({ lines, covered }: Sum): number => lines === 0 ? 100 : 100 * covered / lines;

/** Prints the table; returns the sums of the folders. */
function report(): Map<string, Sum> {
  const folders = new Map<string, Sum>();
  const row = (name: string, sum: Sum, rest: string) =>
    console.log(
      `${name.padEnd(34)}${String(sum.lines).padStart(6)}${String(sum.covered).padStart(6)}` +
        `${percent(sum).toFixed(1).padStart(7)}  ${rest}`.trimEnd(),
    );
  console.log(`${"".padEnd(34)} lines   ran      %  not run`);
  for (const source of sources.values()) {
    const lines = source.lines();
    if (lines.length === 0) continue;
    const covered = lines.filter(({ ran }) => ran !== "none").length;
    row(source.path, { lines: lines.length, covered }, missing(lines));
    const folder = /^.*\//.exec(source.path)?.[0] ?? "./";
    for (const name of [folder.split("/")[0]!, "all"]) {
      const sum = folders.get(name) ?? { lines: 0, covered: 0 };
      sum.lines += lines.length;
      sum.covered += covered;
      folders.set(name, sum);
    }
  }
  console.log("");
  for (const [name, sum] of folders) row(name === "." ? "top" : name, sum, "");
  return folders;
}

async function main(args: string[]): Promise<boolean> {
  const files: string[] = [];
  let min = 0;
  let seconds = FILE_TIMEOUT;
  for (const arg of args) {
    const [, option, value = ""] = /^--(min|timeout)=(\d+)$/.exec(arg) ?? [];
    if (option === "min") min = Number(value);
    else if (option === "timeout") seconds = Number(value);
    else if (arg.endsWith("_test.ts") && existsSync(join(ROOT, arg))) files.push(arg);
    else throw new RangeError(`Cannot run '${arg}': there is no such file or option`);
  }
  const tests = files.length > 0
    ? files
    : walk(ROOT).filter((path) => /^tests\/.*_test\.ts$/.test(path));
  rmSync(REPORTS, { recursive: true, force: true });
  const turns = tests.map((path) => () => runNode(path, seconds));
  for (const path of tests) {
    if (ON_DENO.includes(path)) turns.push(() => runDeno(path, seconds));
    if (ON_BUN.includes(path)) turns.push(() => runBun(path, seconds));
  }
  let passed = true;
  const takeTurns = async () => {
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) {
      passed = await turn() && passed;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, takeTurns));
  const folders = [...report()];
  const low = folders.filter(([, sum]) => percent(sum) < min).map(([name]) => name);
  if (low.length > 0) console.log(`\nless than ${min} %: ${low.join(", ")}`);
  return passed && low.length === 0;
}

// Who is tired of waiting sees what has been counted by then. Exits through "exit", where spawn.ts
// kills the children.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    report();
    process.exit(130);
  });
}

try {
  process.exitCode = await main(process.argv.slice(2)) ? 0 : 1;
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
  process.exitCode = 1;
}
