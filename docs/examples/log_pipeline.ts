/** A log goes through three stages of processes, with queues between them: read, parse, aggregate. */

import { existsSync } from "node:fs";
import process from "node:process";
import { cpuCount, Process, Queue } from "@multiprocessing/core";
import { readOptions, refuse } from "./common/options.ts";
import { timed } from "./common/times.ts";
import {
  add,
  aggregate,
  type Change,
  parseLines,
  readLines,
  type Total,
} from "./log_pipeline/stages.ts";

/** Starts so many processes of a stage; all of them have the same queues. */
function startStage<A extends unknown[]>(
  name: string,
  count: number,
  target: (...args: A) => Promise<void>,
  args: A,
): Process<A>[] {
  const stage = Array.from(
    { length: count },
    (_, i) => new Process({ target, args, name: `${name}-${i + 1}` }),
  );
  for (const member of stage) member.start();
  return stage;
}

/**
 * Waits until all processes of a stage have ended, and closes its queues: the next stage gets what
 * is left and ends, too. Had this one failed, the one before it would notice, and not wait for ever.
 */
async function endStage<A extends unknown[]>(stage: Process<A>[], queues: Queue[]): Promise<void> {
  const codes = await Promise.all(stage.map(({ exited }) => exited));
  for (const queue of queues) queue.close();
  if (codes.some((code) => code !== 0)) process.exitCode = 1;
}

async function run(
  file: string,
  folder: string,
  parsers: number,
  aggregators: number,
): Promise<Map<string, Total>> {
  // No more than so many batches wait: a fast stage does not run away from a slow one.
  const lines = new Queue<string[]>({ maxSize: 100 });
  const changes = new Queue<Change[]>({ maxSize: 100 });
  const totals = new Queue<Map<string, Total>>();

  const reading = startStage("read", 1, readLines, [file, folder, lines]);
  const parsing = startStage("parse", parsers, parseLines, [lines, changes]);
  const adding = startStage("aggregate", aggregators, aggregate, [changes, totals]);
  await Promise.all([
    endStage(reading, [lines]),
    endStage(parsing, [lines, changes]),
    endStage(adding, [changes, totals]),
  ]);

  const sums = new Map<string, Total>();
  for await (const part of totals) for (const [name, total] of part) add(sums, name, total);
  return sums;
}

function printTotals(sums: Map<string, Total>): void {
  const print = (name: string, cells: (number | string)[]) =>
    console.log(
      name.padEnd(24) +
        cells.map((cell) => cell.toLocaleString("en-US").padStart(10)).join(""),
    );
  print("folder", ["changes", "added", "removed"]);
  const rows = [...sums].sort(([a, x], [b, y]) => y.changes - x.changes || (a < b ? -1 : 1));
  for (const [name, { changes, added, removed }] of rows.slice(0, 10)) {
    print(name, [changes, added, removed]);
  }
}

if (import.meta.main) {
  const { file, repository, parsers, aggregators } = readOptions(
    "Adds up a log of git by folder.",
    {
      repository: { initial: ".", about: "the folder of a repository, whose log is read" },
      file: { initial: "", about: "instead: a file with the output of git log --numstat" },
      parsers: { initial: cpuCount(), about: "how many processes parse lines" },
      aggregators: { initial: 2, about: "how many processes add changes up" },
    },
  );
  const source = file || repository;
  if (!existsSync(source)) refuse(`there is no '${source}'`);
  const { result, time } = await timed(() => run(file, repository, parsers, aggregators));
  if (result.size === 0) refuse(`there is no change in '${source}'`);
  printTotals(result);
  const changes = [...result.values()].reduce((sum, total) => sum + total.changes, 0);
  console.log(`\n${changes} changes in ${result.size} folders: 1 process read, ${parsers} parsed,`);
  console.log(`${aggregators} added up, ${Math.round(time)} ms`);
}
