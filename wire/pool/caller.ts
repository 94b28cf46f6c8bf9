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
async function addCaller(error: unknown, mark: Error, sources: Sources): Promise<void> {
  const frames = userFrames(mark);
  await tell(error, frames, frames === "" ? "" : `\n${frames}`, sources);
}

/** The same, for an error and what it consists of: only the error itself was thrown to the caller. */
async function tell(
  error: unknown,
  frames: string,
  added: string,
  sources: Sources,
): Promise<void> {
  if (!(error instanceof Error) || complete.has(error)) return;
  complete.add(error);
  const { cause, errors } = error as AggregateError;
  for (const part of [cause, ...Array.isArray(errors) ? errors : []]) {
    await tell(part, frames, "", sources);
  }
  if (typeof error.stack !== "string") return;
  let stack = withoutLoop(error.stack);
  if (stack.includes("multiprocessing:") && sources.texts.size > 0) {
    stack = await inFiles(stack, sources, frames);
  }
  try {
    error.stack = stack + added;
  } catch {
    // A frozen error keeps its own.
  }
}

/** Errors that have their caller's frames: the same one may reject several calls. */
const complete = new WeakSet<Error>();

/** Takes the library's own frames out of the stack of an error that rejects calls of all kinds. */
export async function withoutOwnFrames(error: unknown): Promise<void> {
  await tell(error, "", "", NO_SOURCES);
}

/** Of errors that were made here. */
export const NO_SOURCES: Sources = { texts: new Map(), mark: undefined };

/** What of a function has travelled as text. */
export interface Sources {
  /** The texts, by the name in stacks. */
  readonly texts: ReadonlyMap<string, string>;
  /** Made where the function was sent first: for those of whose caller nothing is known. */
  readonly mark: Error | undefined;
}

/** The places that were found, by the functions and the caller's frames. */
const found = new WeakMap<Sources, Map<string, ReadonlyMap<string, Locator>>>();

/** Puts the user's files in the place of texts that were sent; they are where the caller's frames are. */
async function inFiles(stack: string, sources: Sources, frames: string): Promise<string> {
  const { framesOf, locate, relocate } = await import("../target/locate.ts");
  const first = sources.mark === undefined ? "" : userFrames(sources.mark);
  const files = framesOf(`${frames}\n${first}`).map(({ file }) => file);
  const key = files.join("\n");
  let byFiles = found.get(sources);
  if (byFiles === undefined) found.set(sources, byFiles = new Map());
  let locators = byFiles.get(key);
  if (locators === undefined) {
    const entries = Array.from(
      sources.texts,
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
function userFrames({ stack = "" }: Error): string {
  return stack.split("\n")
    .filter((line) => /^\s+at /.test(line) && !FOLDERS.some((folder) => line.includes(folder)))
    .join("\n");
}

/** A worker's stack, without what called the task there. */
function withoutLoop(stack: string): string {
  const lines = stack.split("\n");
  const loop = lines.findIndex((line) => line.includes(LOOP));
  return lines.slice(0, loop < 0 ? lines.length : loop)
    .filter((line) => !FOLDERS.some((folder) => line.includes(folder)))
    .join("\n");
}
