/**
 * The caller's half of the stack of an error that came from a worker.
 *
 * Making an error takes V8 some microseconds, more than a whole task. So a call that succeeds pays
 * nothing there: when its error has come, it is thrown once more by an async function that the
 * caller's promise has been resolved with, whose stack shows who awaits that promise. JavaScriptCore
 * does not show that, but makes an error in 0.2 µs.
 *
 * @module
 */

import { readSource, runtime } from "../../runtime/mod.ts";
import type { Locator } from "../target/locate.ts";

/** Of the calls made in one turn of the event loop, so many are marked each by itself. */
const MAX_MARKS = 256;

let marks = 0;

/** Marks the place of a call, of which there may be very many. */
export function markCall(): Error | undefined {
  if (runtime.asyncStacks || marks === MAX_MARKS) return undefined;
  if (marks++ === 0) queueMicrotask(forgetMarks);
  return new Error();
}

function forgetMarks(): void {
  marks = 0;
}

/** Throws the error of a call, with the frames of whoever awaits the promise that it rejects. */
export async function rethrow(
  error: unknown,
  mark: Error | undefined,
  sources: Sources,
): Promise<never> {
  if (mark === undefined) {
    // So many turns until the promise that was resolved with this one waits for it.
    for (let turn = 0; turn < 3; turn++) await null;
    mark = new Error();
  }
  await addCaller(error, mark, sources);
  throw error;
}

/** Makes the stack of a worker's error tell the user's files, and appends the caller's frames. */
export async function addCaller(error: unknown, mark: Error, sources: Sources): Promise<void> {
  if (!(error instanceof Error) || typeof error.stack !== "string" || complete.has(error)) return;
  complete.add(error);
  const frames = framesOf(mark);
  let stack = withoutLoop(error.stack);
  if (stack.includes("multiprocessing:") && sources.size > 0) {
    stack = await inFiles(stack, sources, frames);
  }
  try {
    error.stack = frames === "" ? stack : `${stack}\n${frames}`;
  } catch {
    // A frozen error keeps its own.
  }
}

/** Errors that have their caller's frames: the same one may reject several calls. */
const complete = new WeakSet<Error>();

/** Functions that have travelled as text, by the name in stacks. */
export type Sources = ReadonlyMap<string, string>;

/** The places that were found, by the functions and the caller's frames. */
const found = new WeakMap<Sources, Map<string, ReadonlyMap<string, Locator>>>();

/** Puts the user's files in the place of texts that were sent; they are where the caller's frames are. */
async function inFiles(stack: string, sources: Sources, frames: string): Promise<string> {
  const { framesOf, locate, relocate } = await import("../target/locate.ts");
  const files = framesOf(frames).map(({ file }) => file);
  const key = files.join("\n");
  let byFiles = found.get(sources);
  if (byFiles === undefined) found.set(sources, byFiles = new Map());
  let locators = byFiles.get(key);
  if (locators === undefined) {
    const entries = Array.from(
      sources,
      ([name, source]) => [name, locate(source, files, readSource)],
    );
    locators = new Map(
      entries.filter(([, locator]) => locator !== undefined) as [string, Locator][],
    );
    byFiles.set(key, locators);
  }
  return relocate(stack, locators);
}

/** Where the library lies, as it stands in stacks; undefined if it is part of a bundle. */
const ROOT = /^\w+:\/\/(.*\/)wire\/pool\/caller\.[jt]s$/.exec(import.meta.url)?.[1];
const LOOP = `${ROOT}wire/pool/task_loop.`;
const FOLDERS = ["memory", "pool", "runtime", "wire"].map((folder) => `${ROOT}${folder}/`);

/** The frames of a stack, without the library's own. */
function framesOf({ stack = "" }: Error): string {
  return stack.split("\n")
    .filter((line) => /^\s+at /.test(line) && !FOLDERS.some((folder) => line.includes(folder)))
    .join("\n");
}

/** A worker's stack, without what called the task there. */
function withoutLoop(stack: string): string {
  const lines = stack.split("\n");
  const loop = lines.findIndex((line) => line.includes(LOOP));
  return loop < 0 ? stack : lines.slice(0, loop).join("\n");
}
