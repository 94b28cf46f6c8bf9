/**
 * How tasks and results lie in a pool's rings. The item's `a` is the task's number; its `b` tells the
 * rest.
 *
 * | `b` of a task | bits |
 * |---|---|
 * | mode | 2 |
 * | whether it is watched | 1 |
 * | number of the function | the others |
 *
 * | `b` of a result | bits |
 * |---|---|
 * | what it is | 2 |
 * | microseconds that a chunk took | the others |
 *
 * @module
 */

import type { JobMode } from "./job.ts";

const MODES: readonly JobMode[] = ["call", "map", "starmap"];
const MODE_MASK = 3;
const WATCHED_BIT = 4;
const DEFINITION_SHIFT = 3;
const KIND_MASK = 3;
const MICROS_SHIFT = 2;
const MAX_MICROS = 2 ** 29;

/** `b` of a task. */
export function taskWord(definition: number, mode: JobMode, watched: boolean): number {
  return (definition << DEFINITION_SHIFT) | (watched ? WATCHED_BIT : 0) | MODES.indexOf(mode);
}

/** The function's number in a task's `b`. */
export function definitionOf(b: number): number {
  return b >>> DEFINITION_SHIFT;
}

/** The mode in a task's `b`. */
export function modeOf(b: number): JobMode {
  return MODES[b & MODE_MASK]!;
}

/** Whether a task's `b` is that of a call that nobody watches: by far the most frequent. */
export function isPlainCall(b: number): boolean {
  return (b & (MODE_MASK | WATCHED_BIT)) === 0;
}

/** Whether a task is watched: see `memory/lease.ts`. */
export function isWatched(b: number): boolean {
  return (b & WATCHED_BIT) !== 0;
}

/** A result that is the function's value or, of a chunk, all items' values. */
export const RESULT_VALUE = 0;
/** A result that is what the function threw. */
export const RESULT_ERROR = 1;
/** A chunk's result of which some items have failed: `[values, [[index, error], …]]`. */
export const RESULT_PARTIAL = 2;
/** The task was dropped, and not run. */
export const RESULT_DROPPED = 3;

/** `b` of a result. */
export function resultWord(kind: number, milliseconds: number): number {
  return (Math.min(milliseconds * 1000, MAX_MICROS) << MICROS_SHIFT) | kind;
}

/** What a result is. */
export function kindOf(b: number): number {
  return b & KIND_MASK;
}

/** How many milliseconds the chunk took. */
export function millisecondsOf(b: number): number {
  return (b >>> MICROS_SHIFT) / 1000;
}
