/**
 * How a function becomes a reference, for modules that every process loads and few need it in: it takes
 * a parser, which costs a new process more than all the rest.
 *
 * @module
 */

import type { TargetRef } from "../protocol.ts";

let describe: ((target: unknown) => TargetRef) | undefined;

/** Called by the module that has the parser, when it is loaded: with `Process`, or `Pool`. */
export function setDescriber(describer: (target: unknown) => TargetRef): void {
  describe = describer;
}

/** Describes a target; undefined where the parser is not loaded. */
export function describeIfLoaded(target: unknown): TargetRef | undefined {
  return describe?.(target);
}
