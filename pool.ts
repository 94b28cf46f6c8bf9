/**
 * Pools: a fixed number of processes that take tasks as they become idle.
 *
 * @example Usage
 * ```ts
 * import { Pool } from "@multiprocessing/core/pool";
 * import { assertEquals } from "@std/assert";
 *
 * await using pool = new Pool({ processes: 2 });
 * assertEquals(await pool.map((n: number) => n + 3, [1, 2, 3, 4, 5]), [4, 5, 6, 7, 8]);
 * ```
 *
 * The way of the data is drawn in `wire/pool/local_backend.ts`.
 *
 * @module
 */

export type { WaitOptions } from "./errors.ts";
export type { AsyncCallbacks, AsyncResult } from "./pool/async_result.ts";
export type { ImapOptions, MapOptions, PoolOptions, TaskOptions } from "./pool/options.ts";
export { Pool, type PoolStats } from "./pool/pool.ts";
export type { Target } from "./target.ts";
