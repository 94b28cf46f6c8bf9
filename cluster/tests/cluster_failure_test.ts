/** A cluster whose parts fail: what is lost is done again, each result is had once, and all ends. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { ClosedError, ProcessLostError, TimeoutError } from "@multiprocessing/core/errors";
import { NoWorkersError } from "../mod.ts";
import {
  clientKilled,
  daemonKilled,
  daemonsKilledByTask,
  HERE,
  redisLost,
  redisRestarted,
} from "./fixtures/failures.ts";
import { kept, SHORT_LOCK, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

function block(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

siteTest(
  "Pool on a cluster has each result once when a daemon is killed",
  (site) => daemonKilled(site, HERE),
  { lock: SHORT_LOCK },
);

siteTest(
  "Pool on a cluster goes on when Redis is killed, and comes back",
  (site) => redisRestarted(site, HERE),
  { aof: true, lock: SHORT_LOCK },
);

siteTest(
  "Pool on a cluster sends again what Redis has lost",
  (site) => redisLost(site, HERE),
  { lock: SHORT_LOCK },
);

siteTest(
  "a daemon stops the tasks of a client that was killed, and removes its keys",
  (site) => clientKilled(site, HERE),
);

siteTest(
  "Pool on a cluster gives up a task that kills its daemons, and no other",
  (site) => daemonsKilledByTask(site, HERE),
  { lock: SHORT_LOCK },
);

siteTest("Pool on a cluster with `lossRetries: 0` runs no task twice", async (site) => {
  const words = ["--slots", "1", "--lock", "2500"];
  await site.daemon(words);
  const pool = site.pool({}, { lossRetries: 0 });
  const deadly = pool.apply(tasks.killDaemon, ["once"]);
  deadly.catch(() => {});
  const waits = pool.apply(tasks.square, [3]);
  await soon(site.daemons[0]!.ended);
  await site.daemon(words);
  const error = await assertRejects(() => soon(deadly), ProcessLostError, "lost once");
  assertEquals(error.exitCode, -9);
  assertEquals(await waits, 9);
  assertEquals(await site.cluster().value("once").get(), 1);
});

siteTest("Pool on a cluster without daemons gives up after `waitForWorkers`", async (site) => {
  const pool = site.pool({}, { waitForWorkers: 400 });
  const start = performance.now();
  const calls = [
    pool.apply(tasks.square, [1]),
    pool.map(tasks.square, [1, 2]),
    Array.fromAsync(pool.imap(tasks.square, [1, 2])),
  ] as Promise<unknown>[];
  for (const call of calls) call.catch(() => {});
  for (const call of calls) {
    await assertRejects(() => soon(call), NoWorkersError, "multiprocessing-worker --url");
  }
  assert(performance.now() - start >= 400);
  assertLess(performance.now() - start, 15_000);
  // It is not broken: a daemon may come.
  await site.daemon();
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

siteTest("Pool on a cluster waits for a daemon that comes late", async (site) => {
  const pool = site.pool({}, { waitForWorkers: 60_000 });
  const calls = [pool.apply(tasks.square, [7]), pool.apply(tasks.square, [8])];
  const map = pool.map(tasks.square, range(100));
  await until(() => pool.stats().queued > 2, "waiting");
  await site.daemon();
  assertEquals(await Promise.all(calls), [49, 64]);
  assertEquals(await map, range(100).map((n) => n * n));
});

siteTest("Pool on a cluster takes in a daemon that comes amid a map", async (site) => {
  await site.daemon();
  const pool = site.pool();
  // The first daemon has two slots.
  const places = pool.map(tasks.meet, new Array(20).fill(3), { chunkSize: 1 });
  await site.daemon();
  assertEquals(new Set(await soon(places)), new Set(site.daemons.map(({ pid }) => pid)));
});

siteTest(
  "Pool on a cluster gives up when Redis is away for longer than `patience`",
  async (site) => {
    await site.daemon();
    const ways: Record<string, (pool: ReturnType<typeof site.pool>) => Promise<unknown>> = {
      terminate: (pool) => pool.terminate(),
      close: (pool) => {
        pool.close();
        return pool.join();
      },
    };
    const pools = Object.keys(ways).map(() => site.pool({}, { patience: 1_000 }));
    const idle = site.pool({}, { patience: 1_000 });
    for (const pool of [...pools, idle]) await pool.apply(tasks.square, [1]);
    await site.redis.kill();
    const start = performance.now();
    const calls = pools.flatMap((pool) => [
      pool.apply(tasks.square, [2]),
      pool.map(tasks.square, range(10)),
    ]) as Promise<unknown>[];
    for (const call of calls) call.catch(() => {});
    for (const call of calls) {
      await assertRejects(() => soon(call), TimeoutError, "has not answered for 1000 ms");
    }
    assertLess(performance.now() - start, 30_000);
    for (const [at, end] of Object.values(ways).entries()) {
      await soon(end(pools[at]!), Object.keys(ways)[at]);
      await assertRejects(() => pools[at]!.apply(tasks.square, [1]), ClosedError);
    }
    idle.close();
    await soon(idle.join(), "the idle one");
  },
);

siteTest(
  "Pool on a cluster goes on after Redis was away for longer than `patience`",
  async (site) => {
    await site.daemon();
    const pool = site.pool({}, { patience: 500 });
    await pool.apply(tasks.square, [1]);
    await site.redis.kill();
    await assertRejects(() => soon(pool.apply(tasks.square, [2])), TimeoutError);
    await site.redis.restart();
    await until(async () => {
      const answer = await pool.apply(tasks.square, [3]).catch(() => 0);
      return answer === 9;
    }, "an answer");
  },
);

siteTest(
  "Pool on a cluster whose program was blocked for longer than `patience` goes on",
  async (site) => {
    await site.daemon();
    const pool = site.pool({}, { patience: 1_500, lease: 30_000 });
    // The first time before Redis was asked at all.
    for (const n of [2, 3]) {
      const call = kept(pool.apply(tasks.square, [n]));
      for (const end = performance.now() + 3_000; performance.now() < end;);
      assertEquals(await soon(call), n * n);
    }
  },
);

siteTest("Pool on a cluster that never reaches Redis gives up, and ends", async (site) => {
  const pools = [0, 1, 2].map(() => site.pool({}, { patience: 500 }));
  const [used, unused, hasty] = pools as [typeof pools[0], typeof pools[0], typeof pools[0]];
  await site.redis.kill();
  await assertRejects(() => soon(used!.apply(tasks.square, [2])), TimeoutError);
  const call = hasty!.apply(tasks.square, [2]);
  call.catch(() => {});
  await soon(hasty!.terminate(), "terminate()");
  await assertRejects(() => call, ClosedError);
  for (const pool of [used!, unused!]) {
    pool.close();
    await soon(pool.join(), "join()");
  }
});

siteTest(
  "Pool on a cluster whose program was blocked for longer than its lease has all results",
  async (site) => {
    await Promise.all([site.daemon(), site.daemon()]);
    const pool = site.pool({ initializer: tasks.init, initargs: [5] });
    const big = new Uint8Array(50_000).fill(1);
    await pool.apply(tasks.addBase, [1]);
    const calls = range(200).map((n) => pool.apply(tasks.addBase, [n]));
    const map = pool.map(tasks.nap, new Array(40).fill(30), { chunkSize: 1 });
    const sums = pool.map(tasks.sum, new Array(20).fill(big), { chunkSize: 1 });
    await calls[5];
    block(3_500);
    await site.daemons[0]!.prints(/its client is gone, removed|left\n/);
    assertEquals(await soon(Promise.all(calls), "the calls"), range(200).map((n) => n + 5));
    assertEquals(await soon(map, "the map"), new Array(40).fill(30));
    assertEquals(await soon(sums, "the sums"), new Array(20).fill(50_000));
    assertEquals(await pool.apply(tasks.addBase, [2]), 7);
    pool.close();
    await soon(pool.join(), "join()");
    await site.empty();
  },
);

siteTest("Pool on a cluster has all results while its connections break", async (site) => {
  await Promise.all([site.daemon(), site.daemon()]);
  const pool = site.pool({}, { lease: 5_000 });
  await pool.apply(tasks.square, [1]);
  const work = pool.map(tasks.nap, new Array(60).fill(20), { chunkSize: 1 });
  let left = 3;
  while (left-- > 0) {
    await site.redis.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await site.redis.client.call("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assertEquals(await soon(work, "the map"), new Array(60).fill(20));
  // Daemons hear again of what is to be stopped.
  const controller = new AbortController();
  const at = site.cluster();
  const call = pool.apply(tasks.endWhenTold, ["broken"], {
    signal: controller.signal,
    grace: 60_000,
  });
  call.catch(() => {});
  await at.event("broken begun").wait();
  controller.abort();
  assert(await at.event("broken told").wait({ timeout: 30_000 }));
});
