/** Finds the text files below a folder, and deals them into batches. */

import { readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";

/** A file that could not be counted, and why. */
export interface Skipped {
  path: string;
  reason: string;
}

/** A file, and how large it is. */
export interface TextFile {
  path: string;
  bytes: number;
}

/** Files to be counted in one go. */
export interface Batch {
  paths: string[];
  bytes: number;
}

/** Text, Markdown, TypeScript, and the C headers that come with Node. */
const TEXT = /\.(?:txt|md|[cm]?ts|h)$/i;

/** So many batches for each process, or more: all of them have work to the end. */
const BATCHES_PER_PROCESS = 8;

/** No batch need be larger: the results are few enough already. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** To open a file costs about as much as to count so many bytes. */
const OPENING_BYTES = 4 * 1024;

const REASONS: Record<string, string> = {
  EACCES: "permission denied",
  ELOOP: "the link leads back to itself",
  EIO: "it cannot be read",
  ENOENT: "there is nothing of that name",
  EPERM: "permission denied",
};

/** Why the file system refused something, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  return REASONS[code ?? ""] ?? code ?? message;
}

/**
 * All text files below a folder, in order of their paths, and what could not be looked at.
 *
 * Links are followed. A folder that is met again by another way is passed over, so circles end.
 */
export function findTextFiles(root: string): { files: TextFile[]; skipped: Skipped[] } {
  const files: TextFile[] = [];
  const skipped: Skipped[] = [];
  const seen = new Set<string>();

  function visitFolder(folder: string): void {
    const real = realpathSync(folder);
    if (seen.has(real)) return;
    seen.add(real);
    for (const name of readdirSync(folder).sort()) attempt(visit, join(folder, name));
  }

  function visit(path: string): void {
    const status = statSync(path);
    if (status.isDirectory()) attempt(visitFolder, path);
    else if (status.isFile() && TEXT.test(path)) files.push({ path, bytes: status.size });
  }

  function attempt(look: (path: string) => void, path: string): void {
    try {
      look(path);
    } catch (error) {
      skipped.push({ path, reason: reasonOf(error) });
    }
  }

  attempt(visitFolder, root);
  return { files, skipped };
}

/** Deals files into batches of about equal work, the large files first: the small ones even out. */
export function inBatches(files: TextFile[], processes: number): Batch[] {
  const work = files.reduce((sum, { bytes }) => sum + bytes + OPENING_BYTES, 0);
  const size = Math.min(work / (BATCHES_PER_PROCESS * processes), MAX_BATCH_BYTES);
  const batches: Batch[] = [];
  let room = 0;
  for (const { path, bytes } of files.toSorted((a, b) => b.bytes - a.bytes)) {
    let batch = batches.at(-1);
    if (batch === undefined || room <= 0) {
      batch = { paths: [], bytes: 0 };
      batches.push(batch);
      room = size;
    }
    batch.paths.push(path);
    batch.bytes += bytes;
    room -= bytes + OPENING_BYTES;
  }
  return batches;
}
