/** How a daemon is stopped, and what it bears. */

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertRejects,
} from "@std/assert";
import type { Program } from "./fixtures/program.ts";
import { kept, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";
import { Way } from "./fixtures/way.ts";

siteTest("multiprocessing-worker finishes what runs when it is stopped", async (site) => {
  const daemon = await site.daemon();
  const at = site.cluster();
  const pool = site.pool({}, { lossRetries: 0 });
  const running = pool.apply(tasks.hold, ["finish"]);
  await at.event("finish begun").wait();
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM: finishing what runs\n/);
  const next = await site.daemon();
  // It takes no more; another does.
  const places = await pool.map(tasks.whereAmI, [1, 1, 1, 1], { chunkSize: 1 });
  assertEquals([...new Set(places.map(({ daemon }) => daemon))], [next.pid]);
  await at.event("finish go").set();
  assertEquals(await running, "finish");
  assertEquals(await soon(daemon.ended), 0);
  assertEquals([await at.value("finish begins").get(), await at.value("finish ends").get()], [
    1,
    1,
  ]);
});

siteTest(
  "multiprocessing-worker ends at once when it is stopped with nothing to do",
  async (site) => {
    const [fresh, used] = await Promise.all([site.daemon(), site.other("used").daemon()]);
    const pool = site.other("used").pool();
    await pool.apply(tasks.square, [1]);
    const start = performance.now();
    for (const daemon of [fresh, used]) daemon.signal("SIGTERM");
    assertEquals(await soon(Promise.all([fresh.ended, used.ended])), [0, 0]);
    assertLess(performance.now() - start, 15_000);
  },
);

siteTest("multiprocessing-worker gives back what takes longer than --grace", async (site) => {
  const daemon = await site.daemon(["--grace", "300"]);
  const at = site.cluster();
  // Given back is not lost.
  const pool = site.pool({}, { lossRetries: 0 });
  const calls = ["g1", "g2"].map((name) => pool.apply(tasks.hold, [name]));
  for (const name of ["g1", "g2"]) await at.event(`${name} begun`).wait();
  daemon.signal("SIGTERM");
  assertEquals(await soon(daemon.ended), 0);
  for (const name of ["g1", "g2"]) {
    assertEquals(await at.value(`${name} ends`).get(), 0);
    await at.event(`${name} begun`).clear();
  }
  await site.daemon();
  for (const name of ["g1", "g2"]) {
    await at.event(`${name} begun`).wait();
    await at.event(`${name} go`).set();
  }
  assertEquals(await Promise.all(calls), ["g1", "g2"]);
  for (const name of ["g1", "g2"]) {
    assertEquals(await at.value(`${name} begins`).get(), 2);
    assertEquals(await at.value(`${name} ends`).get(), 1);
  }
  assertEquals(pool.stats().completed, 2);
});

siteTest(
  "multiprocessing-worker gives back the chunks of a map, which loses nothing",
  async (site) => {
    const daemon = await site.daemon(["--grace", "0"]);
    const pool = site.pool({}, { lossRetries: 0 });
    const items = Array.from({ length: 40 }, (_, item) => ({ item, counter: "steps", ms: 20 }));
    const map = pool.map(tasks.step, items, { chunkSize: 4 });
    const at = site.cluster();
    await until(async () => await at.value("steps").get() >= 6, "begin");
    const next = await site.daemon();
    daemon.signal("SIGTERM");
    assertEquals(await soon(daemon.ended), 0);
    assertEquals(await map, items.map(({ item }) => item));
    const steps = await at.value("steps").get();
    assertGreater(steps, 39);
    assertLess(steps, 49);
    assertEquals((await pool.apply(tasks.whereAmI, [0])).daemon, next.pid);
  },
);

siteTest("multiprocessing-worker gives all back at the second signal", async (site) => {
  const daemon = await site.daemon(["--grace", "600000"]);
  const at = site.cluster();
  const pool = site.pool({}, { lossRetries: 0 });
  const call = pool.apply(tasks.hold, ["second"]);
  await at.event("second begun").wait();
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM: finishing what runs\n/);
  daemon.signal("SIGTERM");
  assertEquals(await soon(daemon.ended), 0);
  assertMatch(daemon.output, /SIGTERM: giving back what runs\n/);
  await at.event("second go").set();
  await site.daemon();
  assertEquals(await call, "second");
  assertEquals(await at.value("second ends").get(), 1);
});

/** Its exit code, or that it runs on. */
async function endOf(daemon: Program): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => timer = setTimeout(resolve, 30_000, "it runs on"));
  try {
    return await Promise.race([daemon.ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

siteTest("a daemon that gets SIGTERM ends while Redis is away", async (site) => {
  const daemon = await site.daemon(["--grace", "500"]);
  await site.redis.kill();
  await new Promise((resolve) => setTimeout(resolve, 500));
  daemon.signal("SIGTERM");
  assertEquals(await endOf(daemon), 0);
});

siteTest("a daemon that gets SIGTERM amid work ends while Redis is away", async (site) => {
  const daemon = await site.daemon(["--grace", "500"]);
  const pool = site.pool({}, { patience: 1_000 });
  for (const ms of [3_000, 60_000]) kept(pool.apply(tasks.nap, [ms]));
  await until(() => pool.stats().running === 2, "work");
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM/);
  await site.redis.kill();
  assertEquals(await endOf(daemon), 0);
});

siteTest("a daemon works though a record of a pool is nonsense", async (site) => {
  await site.redis.client.hset("mp:{default}:pools", "x", "nonsense", "y", '{"slots":0}');
  await site.redis.client.mset("mp:{default}:lease:x", "alive", "mp:{default}:lease:y", "alive");
  await site.daemon();
  assertEquals(await soon(site.pool().apply(tasks.square, [3])), 9);
});

siteTest("a daemon without grace gives back a job that it was about to begin", async (site) => {
  const way = await Way.open(site);
  try {
    const daemon = await site.daemon(["--url", way.url, "--grace", "0"]);
    const pool = site.pool({}, { lease: 10_000, waitForWorkers: 60_000 });
    way.delay = 1_000;
    kept(pool.apply(tasks.nap, [55_000]));
    await until(() => pool.stats().running === 1, "the job");
    // It hears of the job after a second, and of the function after two.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    daemon.signal("SIGTERM");
    assertEquals(await endOf(daemon), 0);
  } finally {
    way.close();
  }
});

siteTest("a daemon leaves connections that have fallen silent", async (site) => {
  const way = await Way.open(site);
  try {
    await site.daemon(["--url", way.url]);
    const pool = site.pool({}, { lease: 60_000, waitForWorkers: 60_000 });
    await pool.apply(tasks.square, [1]);
    way.silence();
    const controller = new AbortController();
    const { signal } = controller;
    const call = kept(pool.apply(tasks.endWhenTold, ["silent"], { signal, grace: 60_000 }));
    const at = site.cluster();
    assert(await at.event("silent begun").wait({ timeout: 50_000 }));
    controller.abort();
    await assertRejects(() => call);
    assert(await at.event("silent told").wait({ timeout: 50_000 }));
  } finally {
    way.close();
  }
});
