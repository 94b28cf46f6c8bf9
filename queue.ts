/**
 * Queues and pipes between processes, and waiting for several things at once.
 *
 * @example A producer and a consumer
 * ```ts no-eval
 * import { closure, Process, Queue } from "@multiprocessing/core";
 *
 * const queue = new Queue<number>();
 * const producer = new Process({
 *   target: closure(() => {
 *     for (let i = 0; i < 5; i++) queue.putSync(i);
 *   }, { queue }),
 * });
 * producer.start();
 * await producer.join();
 * while (!queue.empty()) console.log(queue.getSync());
 * ```
 *
 * @module
 */

// What comes out of a queue may be of any class that can be shared.
import "./shared.ts";
import "./sync.ts";

export type { WaitOptions, WaitSyncOptions } from "./errors.ts";
export {
  Connection,
  Pipe,
  type PipeOptions,
  type RecvBytesOptions,
  type RecvBytesSyncOptions,
  wait,
} from "./queue/connection.ts";
export { JoinableQueue } from "./queue/joinable_queue.ts";
export { Queue, type QueueOptions, SimpleQueue } from "./queue/queue.ts";
