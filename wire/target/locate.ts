/**
 * Where in the user's file a function stands that has travelled as source text, so that the stack of an
 * error shows his lines and not those of the text.
 *
 * ```text
 * at double (multiprocessing:double:9:11)            what the receiver's stack says
 *     │ minus the header of `new Function`
 *     ▼
 * word 31 of the text that was sent
 *     │ alignment
 *     ▼
 * word 1207 of the file ──▶ at double (file:///…/main.ts:42:5)
 * ```
 *
 * No runtime tells a function's place, and the text is not that of the file: Deno and Bun have taken out
 * types and comments and have printed the rest anew, Bun with small changes (`new Error` is `Error`, a
 * constant is its value). The words are left, nearly all of them, and nearly in the same order. So the
 * text's words are aligned with those of the file, from the places where its first word occurs; places
 * around which the rare words of the text are found come first. Of several places that with the best
 * alignment counts, and none if it is poor: then the frame stays as it was.
 *
 * All of this happens only when an error has come back.
 *
 * @module
 */

import { addMoved, alignBest, PERFECT, scoreOf } from "./align.ts";
import { compileSource } from "./target_resolve.ts";
import { type Words, wordsOf } from "./words.ts";

/** A place in a file; line and column from 1, as in a stack. */
export interface Place {
  /** The file, as it was given: a path or a URL. */
  file: string;
  /** The line, from 1. */
  line: number;
  /** The column in UTF-16 units, from 1. */
  column: number;
}

/** Maps a line and a column of a text that was sent, both from 1, to the user's file. */
export type Locator = (line: number, column: number) => Place;

/** A place in a file, and the part of a stack's line that tells it. */
export interface Frame extends Place {
  /** Such as `file:///main.ts:3:7`. */
  text: string;
}

/** Longer files are not read by people. */
const MAX_FILE = 4e6;
/** Below this part of the best score there is, it is another function that looks alike. */
const GOOD = 0.45;

/**
 * Finds a function in the files where it may have been written.
 *
 * @param source The text that was compiled, `SourceRef.source`. Lines and columns are counted in it.
 * @param files Paths or URLs, the likeliest first.
 * @param readText Reads one; undefined if it cannot.
 * @returns Maps places in the text to places in the file; undefined if no file has the function.
 */
export function locate(
  source: string,
  files: Iterable<string>,
  readText: (file: string) => string | undefined,
): Locator | undefined {
  const words = functionWords(source);
  let best = GOOD * PERFECT * words.ids.length;
  let locator: Locator | undefined;
  for (const file of new Set(files)) {
    const text = readText(file);
    if (text === undefined || text.length > MAX_FILE) continue;
    const among = wordsOf(text);
    const map = alignBest(words, among);
    const score = scoreOf(map);
    addMoved(words, among, map);
    const missing = map.filter((at) => at < 0).length;
    if (score <= best || missing > Math.max(0, words.ids.length / 3 - 2)) continue;
    best = score;
    locator = locatorOf(source, words, { file, text, words: among, map });
  }
  return locator;
}

/** The words of the function alone, without what `capture.ts` has put around it. */
function functionWords(source: string): Words {
  const { ids, starts } = wordsOf(source);
  // A compiler's helpers stand before it, the name of a method after it.
  const start = source.startsWith("(() => {\nconst __") ? source.indexOf("\nreturn (") + 8 : 0;
  const first = lastAtMost(starts, start - 1) + 1;
  const last = ids.length - (/\n}\)\[[^\n]*\](;\n}\)\(\))?$/.test(source) ? 1 : 0);
  return { ids: ids.slice(first, last), starts: starts.slice(first, last) };
}

/** A file, its words, and where among them those of a function are. */
interface Aligned {
  file: string;
  text: string;
  words: Words;
  map: Int32Array;
}

function locatorOf(source: string, sent: Words, { file, text, words, map }: Aligned): Locator {
  const sentLines = lineStarts(source);
  const fileLines = lineStarts(text);
  // What the compiler has made belongs to the word before it.
  let last = map.find((at) => at >= 0)!;
  const nearest = map.map((at) => last = at < 0 ? last : at);
  const find = (offset: number): number => {
    const index = Math.max(lastAtMost(sent.starts, offset), 0);
    const at = nearest[index]!;
    const start = words.starts[at]!;
    if (source.startsWith(")(", offset - 1)) {
      // The call of what is no name: behind the last word of that or, if Bun has moved that, before the next.
      const call = /\)\s*\(/.exec(text.slice(start, words.starts[at + 1]));
      return call ? start + call.index + call[0].length - 1 : find(offset + 1);
    }
    // Bun points at the dot before a property.
    if (source[offset] === ".") return find(offset + 1);
    // Bun points behind the name of what is called.
    const length = map[index]! < 0 ? 0 : text.slice(start, start + 100).search(/[^\w$]|$/);
    return start + Math.max(0, Math.min(offset - sent.starts[index]!, length));
  };
  return (line, column) => {
    const start = find((sentLines[line - 1] ?? 0) + column - 1);
    const row = lastAtMost(fileLines, start);
    return { file, line: row + 1, column: start - fileLines[row]! + 1 };
  };
}

function lineStarts(text: string): number[] {
  return [0, ...Array.from(text.matchAll(/\r\n?|[\n\u2028\u2029]/g), (m) => m.index + m[0].length)];
}

/** The index of the last value that is not above a limit, of values that rise; -1 if there is none. */
function lastAtMost(values: ArrayLike<number>, limit: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= limit) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** A frame of a sent function. Deno adds a part; V8 calls an anonymous function in such text `eval`. */
const SENT_FRAME =
  /(?:(?<=\bat (?:async )?)(eval \())?multiprocessing:([^\s:,()]+)(?:, <anonymous>)?:(\d+):(\d+)(\)?)/g;

/**
 * Rewrites the frames of sent functions in a stack, so that they show the user's files.
 *
 * @param stack The stack of an error that came from another process.
 * @param locators Name in the text's `sourceURL`, after `multiprocessing:` → the function's locator.
 * @returns The stack. Frames without a locator stay as they are.
 */
export function relocate(stack: string, locators: ReadonlyMap<string, Locator>): string {
  return stack.replace(SENT_FRAME, (frame, isEval, name, line, column, end) => {
    const row = Number(line) - headerLines();
    // The first line begins with "return ".
    const place = locators.get(name)?.(row, Number(column) - (row === 1 ? 7 : 0));
    if (place === undefined) return frame;
    return `${place.file}:${place.line}:${place.column}${isEval === undefined ? end : ""}`;
  });
}

/** What today's engines add, and `"use strict"`: for programs that have turned stacks off. */
const USUAL_HEADER = 3;

let measuredLines: number | undefined;

/** How many lines come before a text where `compileSource()` compiles it: the runtime adds its own. */
export function headerLines(): number {
  if (measuredLines === undefined) {
    const stack = String(compileSource("Error().stack", [], []));
    const line = /multiprocessing:[^:]*:(\d+)/.exec(stack)?.[1];
    measuredLines = line === undefined ? USUAL_HEADER : Number(line) - 1;
  }
  return measuredLines;
}

/**
 * Finds the user's files in a stack, that of V8 or that of JavaScriptCore.
 *
 * @param stack An error's stack.
 * @returns The frames in files, as the runtime prints them; those of the runtime itself are left out.
 */
export function framesOf(stack: string): Frame[] {
  const pattern =
    /^.*?(?:\(|@|\bat (?:async )?)((file:\/\/|\/|[a-z]:[\\/])([^<>\n]*?):(\d+):(\d+))\)?$/gim;
  return Array.from(stack.matchAll(pattern), ([, text, root, path, line, column]) => ({
    file: `${root}${path}`,
    line: Number(line),
    column: Number(column),
    text: text!,
  }));
}
