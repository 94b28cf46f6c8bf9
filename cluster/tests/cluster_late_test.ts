/** A pool on a cluster when things come late, twice, or not at all. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import type { Pool } from "@multiprocessing/core/pool";
import { NoWorkersError } from "../mod.ts";
import type { Program } from "./fixtures/program.ts";
import { kept, range, SHORT_LOCK, type Site, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

function block(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

/** How many inputs and results lie beside messages in Redis. */
async function parcels({ redis: { client } }: Site): Promise<number> {
  const keys = await client.keys("mp:{default}:bytes:*");
  const fields = await Promise.all(keys.map((key) => client.hlen(key)));
  return fields.reduce((sum, count) => sum + count, 0);
}

/** Has a job run by two daemons, for the first is paused amid it. */
async function runTwice(site: Site, pool: Pool): Promise<Program> {
  const paused = await site.daemon(["--slots", "1"]);
  const at = site.cluster();
  const call = pool.apply(tasks.holdBytes, ["twice", 1_000_000]);
  await at.event("twice begun").wait();
  paused.signal("SIGSTOP");
  await site.daemon(["--slots", "1"]);
  await until(async () => await at.value("twice begins").get() === 2, "the second run");
  await at.event("twice go").set();
  assertEquals((await soon(call)).length, 1_000_000);
  return paused;
}

siteTest("Pool on a cluster leaves no result in Redis of a job that ran twice", async (site) => {
  const pool = site.pool();
  const paused = await runTwice(site, pool);
  paused.signal("SIGCONT");
  const at = site.cluster();
  await until(async () => await at.value("twice ends").get() === 2, "the end of the first run");
  // Until it has written what came of it: then it says that it runs nothing.
  const idle = async () => {
    const nodes = await site.redis.client.hvals("mp:{default}:nodes");
    return nodes.map((text) => JSON.parse(text)).every(({ running }) => running === 0);
  };
  await until(idle, "two idle daemons");
  await until(async () => await parcels(site) === 0, "the removal of the results");
  assertEquals(pool.stats().completed, 1);
}, { lock: SHORT_LOCK });

siteTest(
  "a daemon that was paused leaves nothing in Redis of a pool that is closed",
  async (site) => {
    // So long that no key expires by itself.
    const pool = site.pool({}, { lease: 120_000 });
    const paused = await runTwice(site, pool);
    pool.close();
    await soon(pool.join());
    paused.signal("SIGCONT");
    await paused.prints(/left\n/);
    await site.empty();
  },
  { lock: SHORT_LOCK },
);

siteTest("Pool on a cluster leaves no result in Redis that nobody awaits", async (site) => {
  await site.daemon();
  const pool = site.pool();
  const items = range(6).map(() => new Uint8Array(100_000));
  for (let i = 0; i < 5; i++) {
    for await (const _ of pool.imap(tasks.lateEcho, items, { chunkSize: 1 })) break;
    await pool.apply(tasks.nap, [200]);
  }
  await until(async () => await parcels(site) === 0, "the removal of the results");
});

siteTest(
  "Pool on a cluster leaves no input in Redis of a call that was cancelled",
  async (site) => {
    await site.daemon();
    const pool = site.pool();
    await pool.apply(tasks.square, [1]);
    const controller = new AbortController();
    const { signal } = controller;
    const item = new Uint8Array(500_000);
    const calls = range(40).map(() => kept(pool.apply(tasks.sum, [item], { signal })));
    setTimeout(() => controller.abort(), 0);
    await Promise.allSettled(calls);
    await pool.apply(tasks.nap, [500]);
    await until(async () => await parcels(site) === 0, "the removal of the inputs");
  },
);

siteTest("a task is told to stop though its daemon did not hear it", async (site) => {
  await site.daemon();
  const pool = site.pool();
  const at = site.cluster();
  const controller = new AbortController();
  const { signal } = controller;
  const call = kept(pool.apply(tasks.endWhenTold, ["deaf"], { signal, grace: 60_000 }));
  await at.event("deaf begun").wait();
  await site.redis.client.call("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes");
  controller.abort();
  await assertRejects(() => call);
  assert(await at.event("deaf told").wait({ timeout: 20_000 }));
});

siteTest(
  "Pool on a cluster with `lossRetries: 0` runs no task twice of which it has not heard",
  async (site) => {
    await site.daemon(["--slots", "1"]);
    const pool = site.pool({ processes: 1 }, { lossRetries: 0 });
    await pool.apply(tasks.count, ["before", 0]);
    const calls = [
      pool.apply(tasks.nap, [500]),
      pool.apply(tasks.nap, [200]),
      pool.apply(tasks.count, ["ran", 5_000]),
    ];
    for (const call of calls) kept<unknown>(call);
    await until(() => pool.stats().running === 1, "the first one");
    await new Promise((resolve) => setTimeout(resolve, 100));
    block(4_500);
    await soon(Promise.allSettled(calls));
    assertEquals(await site.cluster().value("ran").get(), 1);
  },
);

siteTest(
  "Pool on a cluster with `lossRetries: 0` gives up no task that never began",
  async (site) => {
    const first = await site.daemon(["--slots", "1"]);
    const pool = site.pool({}, { lossRetries: 0, waitForWorkers: 60_000 });
    await Promise.all(range(400).map((n) => pool.apply(tasks.square, [n])));
    const deadly = kept(pool.apply(tasks.killDaemon, ["kills"]));
    const others = range(60).map((n) => kept(pool.apply(tasks.square, [n])));
    await soon(first.ended, "the end of the daemon");
    await site.daemon(["--slots", "1"]);
    assertEquals(await soon(Promise.all(others)), range(60).map((n) => n * n));
    await assertRejects(() => deadly);
  },
  { lock: SHORT_LOCK },
);

siteTest("Pool on a cluster with a long lease soon knows that there is no daemon", async (site) => {
  const pool = site.pool({}, { waitForWorkers: 500, lease: 60_000 });
  const start = performance.now();
  await assertRejects(() => soon(pool.apply(tasks.square, [1])), NoWorkersError);
  assertLess(performance.now() - start, 10_000);
});

siteTest("Pool on a cluster with a lease of months does not beat all the time", async (site) => {
  await site.daemon();
  const pool = site.pool({}, { lease: 100 * 86_400_000 });
  await pool.apply(tasks.square, [1]);
  const beats = async (): Promise<number> => {
    const stats = await site.redis.client.info("commandstats");
    return Number(/cmdstat_exec:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const before = await beats();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assertLess(await beats() - before, 20);
});

siteTest("Pool on a cluster works though a record of a daemon is nonsense", async (site) => {
  await site.daemon();
  await site.redis.client.hset("mp:{default}:nodes", "x", "nonsense");
  assertEquals(await soon(site.pool().apply(tasks.square, [3])), 9);
});

siteTest("a program ends that has an idle pool while Redis is away", async (site) => {
  await site.redis.kill();
  const client = site.client("unused");
  const late = new Promise((resolve) => setTimeout(resolve, 20_000, "it runs on"));
  assertEquals(await Promise.race([client.ended, late]), 0);
});

siteTest("a task that kills its daemons takes none with it that wait behind it", async (site) => {
  const words = ["--slots", "1"];
  const daemons = await Promise.all([site.daemon(words), site.daemon(words)]);
  const pool = site.pool({}, { waitForWorkers: 60_000 });
  // So short that daemons fetch them early.
  await Promise.all(range(800).map((n) => pool.apply(tasks.square, [n])));
  const deadly = kept(pool.apply(tasks.killDaemon, ["kills"]));
  const others = range(200).map((n) => kept(pool.apply(tasks.square, [n])));
  const more = (async () => {
    while (await site.cluster().value("kills").get() < 2) {
      kept(pool.apply(tasks.square, [1]));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  await soon(Promise.all(daemons.map(({ ended }) => ended)), "the end of two daemons");
  await more;
  await site.daemon(words);
  assertEquals(await soon(Promise.all(others)), range(200).map((n) => n * n));
  await assertRejects(() => soon(deadly));
}, { lock: SHORT_LOCK });
