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

import { MultiprocessingError } from "../../errors.ts";
import { readSource, runtime } from "../../runtime/mod.ts";
import { userFrames, withNames, withoutLoop } from "../frames.ts";
import type { AnyFunction } from "../target/tasks.ts";
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
  pointAtCaller(error);
  throw error;
}

/** V8 shows a line of source above an error that nobody catches: that of who called. */
function pointAtCaller(error: unknown): void {
  if (!runtime.asyncStacks || !(error instanceof Error)) return;
  const { stack } = error;
  try {
    Error.captureStackTrace(error, rethrow);
    // By assignment, V8 would forget again where it is.
    Object.defineProperty(error, "stack", { value: stack, writable: true, configurable: true });
  } catch {
    // A frozen error keeps its own.
  }
}

/**
 * Gives an error that a call threw before anything was sent the place of the call. By itself it has ten
 * frames at most, and there all of them may be the library's own.
 */
export function atCall(error: unknown, method: AnyFunction, mark = new Error()): unknown {
  if (!(error instanceof MultiprocessingError)) return error;
  // JavaScriptCore has no frame of a method whose last step is a call.
  if (runtime.asyncStacks) Error.captureStackTrace(error, method);
  else error.stack = withNames(`${error}\n${userFrames(mark)}`);
  return error;
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
    error.stack = withNames(stack + added);
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
