/** Locks give guards, and guards are disposed of by `using`. */

import {
  Barrier,
  BoundedSemaphore,
  Condition,
  Event,
  Lock,
  type LockGuard,
  RLock,
  RWLock,
  Semaphore,
} from "@multiprocessing/core";
import { is } from "./expect.ts";

/** Locks. */
export async function locks(
  lock: Lock,
  signal: AbortSignal | undefined,
  timeout: number | undefined,
): Promise<void> {
  is<LockGuard>()(await lock.acquire({ signal, timeout }));
  is<LockGuard>()(lock.acquireSync({ timeout }));
  is<LockGuard | null>()(lock.tryAcquire());
  is<boolean>()(lock.locked());
  {
    using guard = await lock.acquire();
    is<boolean>()(guard.abandoned);
    is<void>()(guard.release());
    const disposable: Disposable = guard;
    disposable[Symbol.dispose]();
  }
  {
    using guard = new RLock().acquireSync();
    using nothing = lock.tryAcquire();
    console.log(guard, nothing);
  }
  const base: Lock = new RLock();
  // @ts-expect-error: a promise is no guard
  using promise = lock.acquire();
  // @ts-expect-error: there may be none
  lock.tryAcquire().release();
  // @ts-expect-error: who blocks cannot hear a signal
  lock.acquireSync({ signal });
  // @ts-expect-error: milliseconds in an object
  lock.acquire(10);
  // @ts-expect-error: cannot be written
  lock.acquireSync().abandoned = false;
  return void [base, promise];
}

/** Semaphores. */
export async function semaphores(): Promise<void> {
  using permit = await new Semaphore(3).acquire();
  using bounded = new BoundedSemaphore().acquireSync({ timeout: 1 });
  const base: Semaphore = new BoundedSemaphore(2);
  is<number>()(base.getValue());
  base.release(2);
  // @ts-expect-error: no number
  new Semaphore("3");
  return void [permit, bounded];
}

/** Conditions, events, barriers. */
export async function meetings(): Promise<void> {
  const condition = new Condition(new Lock());
  new Condition(new RLock());
  using guard = await condition.acquire();
  is<boolean>()(await condition.wait({ timeout: 1 }));
  is<boolean>()(condition.waitSync());
  is<boolean>()(await condition.waitFor(() => true, { timeout: undefined }));
  is<boolean>()(condition.waitForSync(() => true));
  condition.notify(2);
  is<boolean>()(await new Event().wait());
  is<boolean>()(new Event().waitSync());
  const barrier = new Barrier(2, { action: () => {}, timeout: undefined });
  new Barrier(2, { action: undefined });
  is<number>()(await barrier.wait());
  is<number>()(barrier.waitSync());
  is<number>()(barrier.parties + barrier.nWaiting);
  is<boolean>()(barrier.broken);
  // @ts-expect-error: of a lock
  new Condition(new Event());
  // @ts-expect-error: how many
  new Barrier();
  // @ts-expect-error: cannot be written
  barrier.parties = 3;
  return void guard;
}

/** Readers and writers. */
export async function readers(): Promise<void> {
  const lock = new RWLock();
  using reader = await lock.read({ timeout: 1 });
  using writer = lock.writeSync();
  is<LockGuard>()(reader);
  is<LockGuard>()(writer);
}
