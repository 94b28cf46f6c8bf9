/** The workers of a pool on a cluster: how many, how long they live, and how much they bear. */

import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { ClosedError, ProcessError, ProcessLostError } from "@multiprocessing/core/errors";
import { kept, range, sharedSite, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

/** Two daemons of two slots. */
const clusterTest = sharedSite((site) => Promise.all([site.daemon(), site.daemon()]));

// ── Workers

clusterTest("Pool on a cluster calls its initializer once in each worker", async (site) => {
  const pool = site.pool({ initializer: tasks.init, initargs: [100], name: "Mine" });
  assertEquals(
    await pool.map(tasks.addBase, range(20), { chunkSize: 1 }),
    range(20).map((n) => n + 100),
  );
  const places = await pool.map(tasks.whereAmI, new Array(24).fill(30), { chunkSize: 1 });
  for (const { name, inits } of places) {
    assertEquals(inits, 1);
    assertMatch(name, /^Mine-\d+$/);
  }
  assertEquals(new Set(places.map(({ daemon }) => daemon)).size, 2);
});

clusterTest("Pool on a cluster whose initializer fails says why, to all", async (site) => {
  const pool = site.pool({ initializer: tasks.failingInit });
  const calls = [
    ...range(4).map((n) => pool.apply(tasks.square, [n])),
    pool.map(tasks.square, range(10)),
    pool.apply(tasks.square, [1], { timeout: 10_000 }),
  ].map((call) => kept(call as Promise<unknown>));
  for (const call of calls) {
    const error = await assertRejects(() => call, SyntaxError, "no way to begin");
    assertMatch(error.stack!, /tasks\.ts:\d+/);
  }
  await assertRejects(() => pool.apply(tasks.square, [5]), SyntaxError, "no way to begin");
});

clusterTest("Pool on a cluster replaces workers after `maxTasksPerChild` tasks", async (site) => {
  const pool = site.pool({ maxTasksPerChild: 2 });
  const places = await pool.map(tasks.whereAmI, new Array(16).fill(1), { chunkSize: 1 });
  for (const { calls } of places) assertLessOrEqual(calls, 2);
  const workers = new Set(places.map(({ daemon, worker }) => `${daemon} ${worker}`));
  assertGreaterOrEqual(workers.size, 8);
});

clusterTest("Pool on a cluster outlives its workers", async (site) => {
  const pool = site.pool({ processes: 1 });
  const error = await assertRejects(() => pool.apply(tasks.exitWorker, [3]), ProcessLostError);
  assertEquals(error.exitCode, 3);
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

clusterTest(
  "Pool on a cluster has as many workers as there are slots, or as it asks for",
  async (site) => {
    const [all, three, many] = [
      site.pool(),
      site.pool({ processes: 3 }),
      site.pool({ processes: 99 }),
    ];
    assertEquals(three.size, 3);
    for (const pool of [all, three, many]) await pool.apply(tasks.square, [1]);
    assertEquals([all.size, three.size, many.size], [4, 3, 4]);
    const places = await all.map(tasks.whereAmI, new Array(12).fill(50), { chunkSize: 1 });
    const workers = new Set(places.map(({ daemon, worker }) => `${daemon} ${worker}`));
    assertLessOrEqual(workers.size, 4);
  },
);

clusterTest(
  "Pool on a cluster runs no more than `processes` tasks at once on all of it",
  async (site) => {
    const pool = site.pool({ processes: 3 });
    // Long enough for the second daemon to have its workers, too.
    const calls: [string, number][] = range(15).map(() => ["three", 500]);
    const most = await pool.starmap(tasks.together, calls, { chunkSize: 1 });
    assertEquals(Math.max(...most), 3);
    const short = await Promise.all(
      range(100).map(() => pool.apply(tasks.together, ["short", 0])),
    );
    assertLessOrEqual(Math.max(...short), 3);
  },
);

clusterTest("Pool.stats() on a cluster tells what it is doing", async (site) => {
  const pool = site.pool({ processes: 1 });
  const at = site.cluster();
  assertEquals(await pool.apply(tasks.square, [1]), 1);
  const idle = { size: 1, idle: 1, queued: 0, running: 0, completed: 1, failed: 0, replaced: 0 };
  assertEquals(pool.stats(), idle);
  const held = pool.apply(tasks.hold, ["stats"]);
  const others = [pool.apply(tasks.square, [2]), kept(pool.apply(tasks.fail, [3]))];
  await at.event("stats begun").wait();
  await until(() => pool.stats().running === 1, "running");
  assertEquals(pool.stats(), { ...idle, idle: 0, queued: 2, running: 1 });
  await at.event("stats go").set();
  await held;
  await Promise.allSettled(others);
  assertEquals(pool.stats(), { ...idle, completed: 3, failed: 1 });
});

// ── The end

clusterTest(
  "Pool.close() on a cluster lets run what was accepted, and leaves no key behind",
  async (site) => {
    const pool = site.pool();
    const accepted = range(20).map((n) => pool.apply(tasks.square, [n]));
    const map = pool.map(tasks.nap, [100, 200]);
    await assertRejects(() => pool.join(), ProcessError);
    pool.close();
    await assertRejects(() => pool.apply(tasks.square, [1]), ClosedError);
    assertEquals(await pool.join({ timeout: 0 }), false);
    assert(await pool.join());
    assertEquals(await Promise.all(accepted), range(20).map((n) => n * n));
    assertEquals(await map, [100, 200]);
    await site.empty();
  },
);

clusterTest("Pool.terminate() on a cluster stops all of it at once", async (site) => {
  const pool = site.pool({ processes: 2, name: "Ended" });
  const at = site.cluster();
  const calls = [
    ...["t1", "t2"].map((name) => kept(pool.apply(tasks.hold, [name]))),
    ...range(20).map((n) => kept(pool.apply(tasks.square, [n]))),
    kept(pool.map(tasks.square, range(100))),
  ];
  for (const name of ["t1", "t2"]) await at.event(`${name} begun`).wait();
  await pool.terminate();
  for (const call of calls as Promise<unknown>[]) await assertRejects(() => call, ClosedError);
  await site.empty();
  await assertRejects(() => pool.apply(tasks.square, [1]), ClosedError);
  for (const daemon of site.daemons) await daemon.prints(/\(Ended\): left\n/);
  for (const name of ["t1", "t2"]) await at.event(`${name} go`).set();
  const next = site.pool();
  assertEquals(await next.apply(tasks.square, [3]), 9);
  for (const name of ["t1", "t2"]) assertEquals(await at.value(`${name} ends`).get(), 0);
});

clusterTest("Pool on a cluster is closed and joined when it is disposed", async (site) => {
  const pool = site.pool();
  const call = pool.apply(tasks.nap, [200]);
  await pool[Symbol.asyncDispose]();
  assertEquals(await call, 200);
  await site.empty();
  // One that was never used, too.
  await site.pool()[Symbol.asyncDispose]();
  await site.pool().terminate();
  await site.empty();
});

clusterTest("Pool on a cluster does not keep the program alive while it is idle", async (site) => {
  const results = ["idle", "unused", "pending"].map(async (verb) => {
    const client = site.client(verb);
    const code = await soon(client.ended, `${verb}, which has printed ${client.output},`);
    return [client.output + client.errors, code];
  });
  assertEquals(await Promise.all(results), [["1\n", 0], ["true\n", 0], ["700\n", 0]]);
  // They have not closed their pools: the daemons do, when their leases are over.
  await site.empty();
});

clusterTest("MULTIPROCESSING_CLUSTER_URL makes the cluster the default of pools", async (site) => {
  const env = { MULTIPROCESSING_CLUSTER_URL: site.redis.url };
  const client = site.client("anyPool", { env });
  assertEquals(await soon(client.ended), 0);
  const daemon = Number(client.output);
  assert(site.daemons.some(({ pid }) => pid === daemon), client.output + client.errors);
});

clusterTest(
  "Pool within a task is of the daemon's machine, and cluster() of its cluster",
  async (site) => {
    const pool = site.pool();
    // Which has no children within a task, as without a cluster.
    await assertRejects(() => pool.apply(tasks.nested, []), ProcessError, "is a daemon");
    assertEquals(await pool.apply(tasks.clusterName, []), "default");
    const other = site.other("second");
    await other.daemon();
    assertEquals(await other.pool().apply(tasks.clusterName, []), "second");
  },
);

// ── Much

clusterTest("Pool on a cluster takes inputs and gives results of 64 MiB", async (site) => {
  const pool = site.pool();
  for (const size of [1, 16, 64]) {
    const length = size * 2 ** 20;
    const data = new Uint8Array(length);
    for (let i = 0; i < length; i += 4_096) data[i] = i / 4_096;
    let total = 0;
    for (const byte of data) total += byte;
    assertEquals(await pool.apply(tasks.sum, [data]), total, `${size} MiB there`);
    const back = await pool.apply(tasks.bytes, [length]);
    assertEquals([back.length, back[0], back.at(-1)], [length, 7, 7], `${size} MiB back`);
  }
  await until(async () => !(await site.keys()).some((key) => key.includes(":bytes:")), "removal");
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

clusterTest("Pool.map() on a cluster runs 100,000 tasks in chunks", async (site) => {
  const pool = site.pool();
  const items = range(100_000);
  const squares = await pool.map(tasks.square, items);
  assertEquals(squares.length, items.length);
  assert(squares.every((square, n) => square === n * n));
  const chunked = await pool.map(tasks.square, items, { chunkSize: 100 });
  assert(chunked.every((square, n) => square === n * n));
});

clusterTest(
  "Pool on a cluster runs 20,000 single tasks while its program is blocked now and then",
  async (site) => {
    const pool = site.pool({}, { lease: 10_000 });
    const settled = new Int8Array(20_000);
    const calls = range(20_000).map(async (n) => {
      assertEquals(await pool.apply(tasks.square, [n]), n * n);
      settled[n]!++;
    });
    for (const part of [1, 2]) {
      await Promise.all(calls.slice(0, part * 2_000));
      const end = Date.now() + 2_000;
      while (Date.now() < end);
    }
    await Promise.all(calls);
    assert(settled.every((times) => times === 1));
    assertEquals(pool.stats().completed, 20_000);
  },
);
