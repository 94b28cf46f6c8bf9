/** Reads files, and counts their words: what the workers of index_words.ts do. */

import { readFileSync } from "node:fs";
import { task } from "@multiprocessing/core";
import { reasonOf, type Skipped } from "./files.ts";

/** What was counted in some files, in a form that is cheap to send and to merge. */
export interface Counted {
  files: number;
  bytes: number;
  /** The distinct words, a line each: one long text crosses much faster than many short ones. */
  words: string;
  /** How often each of them was met, in the same order. */
  counts: Uint32Array;
  skipped: Skipped[];
}

/** A letter, then letters, marks and digits of any script. */
const WORD = /\p{L}[\p{L}\p{M}\p{N}]*/gu;

/** A file with a zero byte so near its beginning is no text. */
const LOOK_BYTES = 8 * 1024;

/**
 * The words of a text, in lower case and in Unicode's composed form (NFC), so that `É` written as one
 * character and as two is the same word. The user's locale plays no part.
 */
export function wordsIn(text: string): string[] {
  return text.toLowerCase().normalize().match(WORD) ?? [];
}

/** The text of a file, or why there is none. Bytes that are no UTF-8 become U+FFFD, which is no letter. */
function readText(path: string): { text: string; bytes: number } | { reason: string } {
  try {
    const bytes = readFileSync(path);
    if (bytes.subarray(0, LOOK_BYTES).includes(0)) return { reason: "it is binary" };
    return { text: bytes.toString("utf8"), bytes: bytes.length };
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** Counts the words of some files. */
export const countFiles = task(import.meta, function countFiles(paths: string[]): Counted {
  const counts = new Map<string, number>();
  const skipped: Skipped[] = [];
  let bytes = 0;
  for (const path of paths) {
    const read = readText(path);
    if ("reason" in read) {
      skipped.push({ path, reason: read.reason });
      continue;
    }
    bytes += read.bytes;
    for (const word of wordsIn(read.text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return {
    files: paths.length - skipped.length,
    bytes,
    words: [...counts.keys()].join("\n"),
    counts: Uint32Array.from(counts.values()),
    skipped,
  };
});

/** What was counted in all files. */
export class WordIndex {
  files = 0;
  bytes = 0;
  words = 0;
  readonly skipped: Skipped[] = [];
  readonly #counts = new Map<string, number>();

  /** How many different words there are. */
  get distinct(): number {
    return this.#counts.size;
  }

  /** Merges what was counted in some of the files. */
  add({ files, bytes, words, counts, skipped }: Counted): void {
    this.files += files;
    this.bytes += bytes;
    this.skipped.push(...skipped);
    for (const [i, word] of (words === "" ? [] : words.split("\n")).entries()) {
      const count = counts[i] as number;
      this.words += count;
      this.#counts.set(word, (this.#counts.get(word) ?? 0) + count);
    }
  }

  /** The commonest words, those of the same count in order of their characters' numbers. */
  top(n: number): [word: string, count: number][] {
    return [...this.#counts]
      .sort(([a, countOfA], [b, countOfB]) => countOfB - countOfA || (a < b ? -1 : 1))
      .slice(0, n);
  }
}
