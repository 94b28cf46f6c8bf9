/**
 * The frames of stacks: which are the user's, and which the library's own.
 *
 * @module
 */

import { MultiprocessingError } from "../errors.ts";
import { runtime } from "../runtime/mod.ts";

/** Where the library lies, as it stands in stacks; undefined if it is part of a bundle. */
const ROOT = /^\w+:\/\/(.*\/)wire\/frames\.[jt]s$/.exec(import.meta.url)?.[1];
const LOOP = `${ROOT}wire/pool/task_loop.`;
const OWN = ["memory/", "pool/", "runtime/", "wire/", "process."].map((part) => `${ROOT}${part}`);

/** The frames of a stack, without the library's own. */
export function userFrames({ stack = "" }: Error): string {
  return stack.split("\n").filter((line) => /^\s+at /.test(line) && !isOwn(line)).join("\n");
}

/** A worker's stack, without what called the task there. */
export function withoutLoop(stack: string): string {
  const lines = stack.split("\n");
  const loop = lines.findIndex((line) => line.includes(LOOP));
  return lines.slice(0, loop < 0 ? lines.length : loop).filter((line) => !isOwn(line)).join("\n");
}

/** Takes away the frames of an error that the library has made: they say nothing; its caller's will follow. */
export function withoutFrames<E>(error: E): E {
  if (error instanceof MultiprocessingError) error.stack = String(error);
  return error;
}

/** Bun passes over frames without a name when it shows an error whose stack was set. */
export function withNames(stack: string): string {
  if (runtime.asyncStacks) return stack;
  return stack.replace(/^(\s+at (?:async )?)([^\s()]+:\d+:\d+)$/gm, "$1<anonymous> ($2)");
}

function isOwn(line: string): boolean {
  return OWN.some((part) => line.includes(part));
}
