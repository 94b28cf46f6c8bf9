/**
 * The Pool of `@multiprocessing/core` on more than one machine, over BullMQ and Redis; and locks,
 * semaphores, events, values and queues that programs on any machine share by name.
 *
 * On each machine a daemon runs the tasks: `npx multiprocessing-worker --url redis://host:6379 --root .`
 *
 * @example
 * ```ts ignore
 * import { Pool } from "@multiprocessing/core";
 * import { cluster } from "@multiprocessing/cluster";
 * import { square } from "./tasks.ts"; // marked by task()
 *
 * await using pool = new Pool({ backend: cluster("redis://127.0.0.1:6379") });
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * ```
 *
 * @module
 */

export type { Backend, BackendOptions, PoolBackend } from "@multiprocessing/core/backend";
export type { WaitOptions } from "@multiprocessing/core/errors";
export { Cluster, cluster, type ClusterOptions } from "./cluster.ts";
export { ModuleMismatchError, NoWorkersError } from "./errors.ts";
export { Queue, type QueueOptions } from "./queue/queue.ts";
export { Value, type WriteOptions } from "./shared/value.ts";
export { Event, type KeepOptions } from "./sync/event.ts";
export type { Fence, LeaseGuard, LeaseOptions, LockGuard } from "./sync/guard.ts";
export { Lock } from "./sync/lock.ts";
export { Semaphore, type SemaphoreOptions } from "./sync/semaphore.ts";
