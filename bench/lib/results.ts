/**
 * bench/results.json: what the benchmarks have found, on which machine and with which versions. A run
 * replaces what it has measured, and leaves the rest.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { current, ROOT } from "../../scripts/runtimes.ts";
import { digits, median, quantile } from "./figures.ts";

/** What a contestant has achieved in a measure; or why it has not. */
export type Figure = {
  median: number;
  quartiles: [number, number];
  /** How many times this one's cost is the project's own: above 1, the project is better. */
  ratio?: number;
  /** How many times as fast as what the measure sets beside it. */
  beside?: number;
} | { out: string };

/** A bar, and whether it holds. */
export interface Bar {
  /** Such as `>= 3 x python`. */
  bar: string;
  value: number;
  holds: boolean;
}

/** One measure on one runtime. */
export interface Outcome {
  title: string;
  unit: string;
  better: "more" | "less";
  contestants: Record<string, Figure>;
  bars: Bar[];
}

/** One benchmark on one runtime. */
export interface Part {
  /** Of the last run that measured any of it. */
  date: string;
  /** Processes that wanted a processor when it ended, over the last minute. */
  load: number;
  /** The operating system's version: machines that are alike may differ in it. */
  system: string;
  versions: Record<string, string>;
  measures: Record<string, Outcome>;
}

/** The file: parts by benchmark and runtime. */
export interface Results {
  machine: { cpu: string; cores: number; memoryGiB: number };
  benches: Record<string, Record<string, Part>>;
}

const FILE = join(ROOT, "bench", "results.json");

function thisMachine(): Results["machine"] {
  const all = cpus();
  return {
    cpu: all[0]?.model ?? "unknown",
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}

/** What the file holds; nothing if there is none yet. */
export function readResults(): Results | undefined {
  return existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : undefined;
}

const PYTHON = "import multiprocessing, platform\n" +
  "print(f'{platform.python_version()} ({multiprocessing.get_start_method()})')";

/** The version of a contestant: of a package, of this one, of Python with its way to start processes. */
export function versionOf(name: string): string {
  if (name === "python") {
    return spawnSync("python3", ["-c", PYTHON], { encoding: "utf8" }).stdout?.trim() || "none";
  }
  if (name === "core") return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version;
  const folders = [join(ROOT, "bench"), ROOT].map((folder) => join(folder, "node_modules", name));
  const path = folders.map((folder) => join(folder, "package.json")).find(existsSync);
  return path === undefined ? "none" : JSON.parse(readFileSync(path, "utf8")).version;
}

/** Four digits: more would only be noise in a diff. */
function short(value: number): number {
  return Number(value.toPrecision(4));
}

/** The figure of such values; `more` may hold its ratios. */
export function figure(
  values: number[],
  more: { ratio?: number; beside?: number } = {},
): Figure {
  const known = Object.entries(more).filter(([, value]) => Number.isFinite(value));
  return {
    median: short(median(values)),
    quartiles: [short(quantile(values, 0.25)), short(quantile(values, 0.75))],
    ...Object.fromEntries(known.map(([name, value]) => [name, short(value)])),
  };
}

/** A bar's outcome, printed. */
export function judge(bar: string, value: number, holds: boolean): Bar {
  console.log(`  bar: ${bar}: ${digits(value)}, ${holds ? "holds" : "MISSED"}`);
  return { bar, value: Number.isNaN(value) ? 0 : short(value), holds };
}

/** Prints how many bars hold, and which do not. */
export function printBars(measures: Record<string, Outcome>): void {
  const all = Object.entries(measures).flatMap(([name, { bars }]) =>
    bars.map(({ bar, holds }) => ({ text: `${name} (${bar})`, holds }))
  );
  const missed = all.filter(({ holds }) => !holds).map(({ text }) => text);
  console.log(`\n${all.length - missed.length} of ${all.length} bars hold`);
  if (missed.length > 0) console.log(`missed: ${missed.join(", ")}`);
}

/**
 * Writes what a benchmark has measured on the runtime that runs this. Results of another machine are
 * dropped, for they compare with nothing here.
 *
 * @param bench The benchmark's name.
 * @param measures What was measured; other measures stay as they are.
 * @param versions Of the contestants.
 */
export function record(
  bench: string,
  measures: Record<string, Outcome>,
  versions: Record<string, string> = {},
): void {
  const machine = thisMachine();
  const known = readResults();
  const same = JSON.stringify(known?.machine) === JSON.stringify(machine);
  const benches = same ? known!.benches : {};
  const { name, version } = current();
  const before = benches[bench]?.[name];
  const part: Part = {
    date: new Date().toISOString().slice(0, 10),
    load: short(loadavg()[0]!),
    system: `${type()} ${release()}`,
    versions: { ...before?.versions, [name]: version, ...versions },
    measures: { ...before?.measures, ...measures },
  };
  const results: Results = {
    machine,
    benches: { ...benches, [bench]: { ...benches[bench], [name]: part } },
  };
  writeFileSync(FILE, `${JSON.stringify(results, null, 2)}\n`);
}
