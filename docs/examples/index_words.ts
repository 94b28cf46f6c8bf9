/**
 * Counts the words of all text files below a folder, on all CPUs and on one.
 *
 * `npm start` runs it on each runtime. What the workers do is in index_words/words.ts.
 */

import { statSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cpuCount, Pool } from "@multiprocessing/core";
import {
  type Batch,
  findTextFiles,
  inBatches,
  reasonOf,
  type Skipped,
} from "./index_words/files.ts";
import { showProgress } from "./index_words/progress.ts";
import { countFiles, WordIndex } from "./index_words/words.ts";

const HELP = `Counts the words of all text files below a folder, on all CPUs and on one.

index_words.ts [FOLDER] [--processes N] [--json FILE]

  FOLDER         where to look; default: the project's node_modules
  --processes N  how many processes count; default: as many as there are CPUs
  --json FILE    writes the counts to a file, too
  --help         prints this

Text files are those named *.txt, *.md, *.ts, *.mts, *.cts and *.h. A word is a letter, followed by
letters, marks and digits of any script; upper and lower case are the same.`;

/** So many of the files that could not be counted are named. */
const SHOWN = 5;

/** So many of the commonest words are shown. */
const TOP = 10;

/** The command line asks for what cannot be. */
class UsageError extends Error {}

interface Options {
  folder: string;
  processes: number;
  json: string | undefined;
}

/** The command line in parts; parseArgs() says clearly what is wrong with it. */
function parseCommandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: "boolean" },
        json: { type: "string" },
        processes: { type: "string", default: String(cpuCount()) },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** What the command line asks for. */
function readOptions(): Options | "help" {
  const { values, positionals } = parseCommandLine();
  if (values.help) return "help";
  const [folder = fileURLToPath(import.meta.resolve("../../node_modules")), ...more] = positionals;
  if (more.length > 0) throw new UsageError(`there is one folder too many: ${more[0]}`);
  const processes = Number(values.processes);
  if (!Number.isInteger(processes) || processes < 1) {
    throw new UsageError(`'--processes' must be a whole number from 1, but is ${values.processes}`);
  }
  return { folder, processes, json: values.json };
}

/** Throws unless the folder is one. */
function checkFolder(folder: string): void {
  let isFolder: boolean;
  try {
    isFolder = statSync(folder).isDirectory();
  } catch (error) {
    throw new UsageError(`${folder}: ${reasonOf(error)}`);
  }
  if (!isFolder) throw new UsageError(`${folder}: this is not a folder`);
}

/** Counts the words in as many processes as wanted, and merges the counts in this one. */
async function countInPool(batches: Batch[], processes: number, label: string): Promise<WordIndex> {
  const index = new WordIndex();
  const progress = showProgress(label, sumOfBytes(batches));
  const pool = new Pool({ processes });
  const lists = batches.map(({ paths }) => paths);
  let done = 0;
  for await (const counted of pool.imap(countFiles, lists, { chunkSize: 1 })) {
    index.add(counted);
    progress.advance(batches[done++]!.bytes);
  }
  pool.close();
  await pool.join();
  progress.stop();
  return index;
}

/** The same, all in this process. */
function countHere(batches: Batch[], label: string): WordIndex {
  const index = new WordIndex();
  const progress = showProgress(label, sumOfBytes(batches));
  for (const { paths, bytes } of batches) {
    index.add(countFiles(paths));
    progress.advance(bytes);
  }
  progress.stop();
  return index;
}

function sumOfBytes(batches: Batch[]): number {
  return batches.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Names the first few files that could not be counted. */
function printSkipped(skipped: Skipped[]): void {
  for (const { path, reason } of skipped.slice(0, SHOWN)) {
    console.error(`left out ${relative("", path)}: ${reason}`);
  }
  if (skipped.length > SHOWN) console.error(`left out ${skipped.length - SHOWN} more`);
}

function printTable(rows: [name: string, value: number | string][]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) {
    const text = typeof value === "number" ? value.toLocaleString("en-US") : value;
    console.log(`${name.padEnd(width)}  ${text.padStart(13)}`.trimEnd());
  }
}

interface Times {
  /** Milliseconds without a pool. */
  one: number;
  /** Milliseconds in the pool. */
  all: number;
}

function printReport(index: WordIndex, { one, all }: Times, label: string): void {
  printTable([
    ["files", index.files],
    ["bytes", index.bytes],
    ["words", index.words],
    ["distinct words", index.distinct],
    ["the commonest", ""],
    ...index.top(TOP).map(([word, count]): [string, number] => [`  ${word}`, count]),
    ["1 process", `${Math.round(one).toLocaleString("en-US")} ms`],
    [label, `${Math.round(all).toLocaleString("en-US")} ms`],
    ["speed-up", (one / all).toFixed(2)],
  ]);
}

function writeReport(path: string, index: WordIndex, milliseconds: Times): void {
  const { files, bytes, words, distinct } = index;
  const report = { files, bytes, words, distinct, top: index.top(TOP), milliseconds };
  writeFileSync(path, JSON.stringify(report));
}

async function main({ folder, processes, json }: Options): Promise<void> {
  checkFolder(folder);
  const { files, skipped } = findTextFiles(folder);
  const batches = inBatches(files, processes);
  const label = `pool of ${processes}`;

  // The pool goes first: should the disk be slow the first time, that is to its disadvantage.
  const start = performance.now();
  const index = await countInPool(batches, processes, label);
  const middle = performance.now();
  const again = countHere(batches, "1 process");
  const times = { one: performance.now() - middle, all: middle - start };

  printSkipped([...skipped, ...index.skipped].sort((a, b) => a.path < b.path ? -1 : 1));
  if (again.words !== index.words) console.error("the files changed while they were counted");
  printReport(index, times, label);
  if (json !== undefined) writeReport(json, index, times);
}

if (import.meta.main) {
  try {
    const options = readOptions();
    if (options === "help") console.log(HELP);
    else await main(options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`Cannot index words: ${error.message}`);
    process.exitCode = 1;
  }
}
