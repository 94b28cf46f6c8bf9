/**
 * Locks, semaphores, conditions, events and barriers between processes.
 *
 * All of them are shareable, and **robust**: when the owner dies, however it dies, the next waiter gets
 * the lock within 250 ms, and its guard says `abandoned`. No wait burns CPU, and no pending wait lets
 * the program end early. An aborted or timed-out wait leaves the state as if it had never begun.
 *
 * @example Ten processes take turns
 * ```ts no-eval
 * import { closure, Lock, Process } from "@multiprocessing/core";
 *
 * const lock = new Lock();
 * const target = closure((i: number) => {
 *   const guard = lock.acquireSync();
 *   console.log("hello from", i);
 *   guard.release();
 * }, { lock });
 * for (let i = 0; i < 10; i++) new Process({ target, args: [i] }).start();
 * ```
 *
 * @module
 */

export type { WaitOptions, WaitSyncOptions } from "./errors.ts";
export { Barrier, type BarrierOptions } from "./sync/barrier.ts";
export { Condition } from "./sync/condition.ts";
export { Event } from "./sync/event.ts";
export type { LockGuard } from "./sync/guard.ts";
export { Lock, RLock } from "./sync/lock.ts";
export { RWLock } from "./sync/rwlock.ts";
export { BoundedSemaphore, Semaphore } from "./sync/semaphore.ts";
