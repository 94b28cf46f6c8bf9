/**
 * Values, arrays and records in shared memory.
 *
 * | class | what it is | Python |
 * |---|---|---|
 * | {@linkcode Value} | one number, bigint or boolean | `Value`, `RawValue` |
 * | {@linkcode SharedArray} | many of one type | `Array`, `RawArray` |
 * | {@linkcode SharedStruct} | a record of named ones | `Value` of a `ctypes.Structure` |
 *
 * All of them are shareable: what crosses is the memory itself, so that the largest array reaches a
 * process as fast as one number. **Never torn.** Each read of an element or field gives what somebody
 * wrote as a whole, 64-bit ones included. **Not atomic together.** Two steps are two: hold the lock that
 * `getLock()` returns. **Death.** Who dies amid several writes has made some of them, each whole; the
 * next one to acquire the lock finds its guard `abandoned`. Without a lock nobody is told.
 *
 * @example Ten processes count
 * ```ts no-eval
 * import { closure, Process, Value } from "@multiprocessing/core";
 *
 * const counter = new Value("i32", 0);
 * const target = closure(() => {
 *   const guard = counter.getLock().acquireSync();
 *   counter.value += 1;
 *   guard.release();
 * }, { counter });
 * for (let i = 0; i < 10; i++) new Process({ target }).start();
 * ```
 *
 * @module
 */

export type { ElementOf, ElementType, TypedArrayOf } from "./memory/element.ts";
export { SharedArray } from "./shared/array.ts";
export type { SharedOptions } from "./shared/options.ts";
export { SharedStruct } from "./shared/struct.ts";
export { Value } from "./shared/value.ts";
