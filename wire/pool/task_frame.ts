/**
 * How tasks and results lie in a pool's rings. The item's `a` is the task's number; its `b` tells the
 * rest.
 *
 * @module
 */

import type { JobMode } from "./job.ts";

const MAP_BIT = 1;

/** `b` of a task: which function, and how it is called. */
export function taskWord(definition: number, mode: JobMode): number {
  return definition * 2 + (mode === "map" ? MAP_BIT : 0);
}

/** The function's number in a task's `b`. */
export function definitionOf(b: number): number {
  return b >>> 1;
}

/** The mode in a task's `b`. */
export function modeOf(b: number): JobMode {
  return (b & MAP_BIT) !== 0 ? "map" : "call";
}

/** `b` of a result that is the function's value or, of a map, all items' values. */
export const RESULT_VALUE = 0;
/** `b` of a result that is what the function threw. */
export const RESULT_ERROR = 1;
/** `b` of a map's result of which some items have failed: `[values, [[index, error], …]]`. */
export const RESULT_PARTIAL = 2;
