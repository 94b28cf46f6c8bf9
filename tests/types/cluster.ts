/** A pool on a cluster is a pool; its primitives are the asynchronous half of the core's. */

import { Pool, type PoolOptions } from "@multiprocessing/core";
import {
  type Cluster,
  cluster,
  type Fence,
  type LeaseGuard,
  type LockGuard,
  type PoolBackend,
} from "@multiprocessing/cluster";
import { is } from "./expect.ts";

/** Pools. */
export async function pools(double: (n: number) => number): Promise<void> {
  const here = cluster("redis://127.0.0.1", { name: "night", patience: 1_000 });
  is<Cluster>()(here);
  const backend: PoolBackend = here;
  const options: PoolOptions = { backend };
  await using pool = new Pool(options);
  is<number[]>()(await pool.map(double, [1, 2]));
  await using fromEnvironment = cluster();
  // @ts-expect-error: no number
  cluster(6379);
  // @ts-expect-error: milliseconds
  cluster("redis://127.0.0.1", { patience: "1 s" });
  // @ts-expect-error: the function takes a number
  await pool.map(double, ["1"]);
  return void fromEnvironment;
}

/** Locks and semaphores. */
export async function leases(here: Cluster, signal: AbortSignal | undefined): Promise<void> {
  const lock = here.lock("report", { lease: 1_000 });
  is<LockGuard | null>()(await lock.tryAcquire());
  is<string>()(await lock.use((guard) => (is<LockGuard>()(guard), "done"), { timeout: 10 }));
  is<number>()(await lock.use(() => Promise.resolve(1)));
  await using guard = await lock.acquire({ signal, timeout: undefined });
  is<AbortSignal>()(guard.lost);
  const fence: Fence = { name: guard.name, token: guard.token };
  await here.value("done", 0).set(1, { fence });
  await using permit = await here.semaphore("downloads", { value: 4 }).acquire();
  is<LeaseGuard>()(permit);
  // @ts-expect-error: a permit proves nothing to others
  await here.value("done").set(1, { fence: permit });
  // @ts-expect-error: Redis cannot be waited for by blocking
  lock.acquireSync();
  // @ts-expect-error: disposed of by `await using`
  using sync = await lock.acquire();
  return void sync;
}

/** Values, events and queues. */
export async function others(here: Cluster): Promise<void> {
  is<number>()(await here.value("count", 5, { keep: Infinity }).add(1));
  is<boolean>()(await here.event("ready").wait({ timeout: 10 }));
  const queue = here.queue<{ id: number }>("work", { maxSize: 10 });
  await queue.put({ id: 1 });
  is<{ id: number }>()(await queue.get());
  for await (const item of queue) is<{ id: number }>()(item);
  is<unknown>()(await here.queue("anything").get());
  // @ts-expect-error: no such item
  await queue.put({ id: "1" });
  // @ts-expect-error: it counts numbers
  await here.value("count").add("1");
}
