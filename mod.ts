/**
 * Python's `multiprocessing` for TypeScript: processes, pools, queues, locks and shared values, the same
 * on Deno, Bun and Node.
 *
 * | module | what it has |
 * |---|---|
 * | `./process` | {@linkcode Process}, and what a process knows of itself |
 * | `./pool` | {@linkcode Pool} |
 * | `./queue` | {@linkcode Queue}, {@linkcode SimpleQueue}, {@linkcode JoinableQueue}, {@linkcode Pipe}, {@linkcode wait} |
 * | `./sync` | {@linkcode Lock}, {@linkcode RLock}, {@linkcode Semaphore}, {@linkcode BoundedSemaphore}, {@linkcode Condition}, {@linkcode Event}, {@linkcode Barrier}, {@linkcode RWLock} |
 * | `./shared` | {@linkcode Value}, {@linkcode SharedArray}, {@linkcode SharedStruct} |
 * | `./target` | {@linkcode task}, {@linkcode closure}, {@linkcode transfer} |
 * | `./errors` | the errors of all of them |
 * | `./backend` | {@linkcode setDefaultBackend}, and what one needs who writes a backend for pools |
 *
 * @example Usage
 * ```ts
 * import { Pool } from "@multiprocessing/core";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool();
 * assertEquals(await pool.map((n: number) => n + 3, [1, 2, 3, 4, 5]), [4, 5, 6, 7, 8]);
 * ```
 *
 * @module
 */

export type * from "./backend.ts";
export { setDefaultBackend } from "./backend.ts";
export * from "./errors.ts";
export * from "./pool.ts";
export * from "./process.ts";
export * from "./queue.ts";
export * from "./shared.ts";
export * from "./sync.ts";
export * from "./target.ts";
