/** The stages of log_pipeline.ts. Each is what one process does, and knows only its two queues. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { type Queue, task } from "@multiprocessing/core";

/** A line of the log, understood: what one commit did to one file. */
export interface Change {
  folder: string;
  added: number;
  removed: number;
}

/** What was done to one folder in all. */
export interface Total {
  changes: number;
  added: number;
  removed: number;
}

/** So many lines travel together: a message each would cost more than the work. */
const BATCH = 250;

/** `git log --numstat` prints a line for each file of each commit: added, removed, path. */
const GIT = ["log", "--numstat", "--format=", "--no-renames"];

/** Reads lines from a file, or from `git log` in a folder. */
export const readLines = task(
  import.meta,
  async function readLines(file: string, folder: string, lines: Queue<string[]>): Promise<void> {
    const git = file === ""
      ? spawn("git", ["-C", folder, ...GIT], { stdio: ["ignore", "pipe", "inherit"] })
      : undefined;
    const ended = git && once(git, "close");
    const input = git?.stdout ?? createReadStream(file);
    let batch: string[] = [];
    for await (const line of createInterface({ input })) {
      if (batch.push(line) < BATCH) continue;
      await lines.put(batch);
      batch = [];
    }
    await lines.put(batch);
    const [code] = await ended ?? [0];
    if (code !== 0) throw new Error(`git has ended with code ${code}`);
  },
);

/** Understands lines, until the queue of lines is closed and empty. */
export const parseLines = task(
  import.meta,
  async function parseLines(lines: Queue<string[]>, changes: Queue<Change[]>): Promise<void> {
    for await (const batch of lines) {
      const parsed = batch.flatMap((line): Change[] => {
        // Files that are no text have "-" for both numbers.
        const [, added, removed, path] = /^(\d+|-)\t(\d+|-)\t(.+)$/.exec(line) ?? [];
        if (path === undefined) return [];
        const folder = path.includes("/") ? path.slice(0, path.indexOf("/") + 1) : "./";
        return [{ folder, added: Number(added) || 0, removed: Number(removed) || 0 }];
      });
      await changes.put(parsed);
    }
  },
);

/** Adds changes up, and puts what it has when there are no more. */
export const aggregate = task(
  import.meta,
  async function aggregate(
    changes: Queue<Change[]>,
    totals: Queue<Map<string, Total>>,
  ): Promise<void> {
    const sums = new Map<string, Total>();
    for await (const batch of changes) for (const change of batch) add(sums, change.folder, change);
    await totals.put(sums);
  },
);

/** Adds one change, or the totals of somebody else. */
export function add(
  sums: Map<string, Total>,
  folder: string,
  { changes = 1, added, removed }: Omit<Total, "changes"> & { changes?: number },
): void {
  const sum = sums.get(folder) ?? { changes: 0, added: 0, removed: 0 };
  sum.changes += changes;
  sum.added += added;
  sum.removed += removed;
  sums.set(folder, sum);
}
