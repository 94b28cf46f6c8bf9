/** A pool on a cluster whose way to Redis breaks amid a word, or falls silent. */

import { assert, assertEquals, assertFalse } from "@std/assert";
import { Pool } from "@multiprocessing/core/pool";
import { ROOT } from "../../scripts/runtimes.ts";
import { cluster } from "../mod.ts";
import { kept, range, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";
import { Way } from "./fixtures/way.ts";

siteTest("Pool on a cluster whose first words are cut off goes on", async (site) => {
  await site.daemon();
  const way = await Way.open(site);
  let asked = false;
  let cuts = 0;
  way.stops = (request) => {
    asked ||= request.includes("HVALS");
    return undefined;
  };
  way.cuts = (answer) => asked && cuts++ === 0 ? answer.length >> 1 : undefined;
  const pool = new Pool({ backend: cluster(way.url, { root: ROOT }) });
  try {
    assertEquals(await soon(pool.apply(tasks.square, [3])), 9);
    assert(cuts > 0);
  } finally {
    await pool.terminate();
    way.close();
  }
});

siteTest(
  "Pool on a cluster asks for what a broken way has swallowed while others go on",
  async (site) => {
    await site.daemon();
    const way = await Way.open(site);
    const pool = new Pool({ backend: cluster(way.url, { root: ROOT, lease: 1_000 }) });
    let settled = 0;
    try {
      await pool.apply(tasks.square, [1]);
      const others = range(60).map(() => kept(pool.apply(tasks.nap, [100])));
      await others[0];
      let cuts = 0;
      way.stops = (request) => {
        if (cuts > 0 || request.split("evalsha").length < 10) return undefined;
        cuts++;
        return request.length >> 1;
      };
      const calls = range(20).map((n) => pool.apply(tasks.square, [n]));
      for (const call of calls) call.then(() => settled++, () => settled++);
      const end = performance.now() + 25_000;
      while (settled < 20 && performance.now() < end) {
        kept(pool.apply(tasks.nap, [100]));
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      assertEquals(cuts, 1);
      assertEquals(settled, 20);
    } finally {
      await pool.terminate();
      way.close();
    }
  },
);

siteTest("Pool on a cluster leaves a connection that has fallen silent", async (site) => {
  await site.daemon();
  const way = await Way.open(site);
  const options = { root: ROOT, lease: 1_000, patience: 2_000 };
  const pool = new Pool({ backend: cluster(way.url, options) });
  try {
    await pool.apply(tasks.square, [1]);
    way.silence();
    const end = performance.now() + 50_000;
    let answer = 0;
    while (answer !== 9 && performance.now() < end) {
      answer = await pool.apply(tasks.square, [3]).catch(() => 0);
    }
    assertEquals(answer, 9);
  } finally {
    way.close();
    await pool.terminate();
  }
});

siteTest(
  "Pool on a cluster lives while much is on a slow way for longer than its lease",
  async (site) => {
    const daemon = await site.daemon();
    const way = await Way.open(site);
    way.rate = 6_000;
    const pool = new Pool({ backend: cluster(way.url, { root: ROOT, lease: 3_000 }) });
    try {
      const item = new Uint8Array(48_000_000).fill(1);
      assertEquals(await soon(pool.apply(tasks.sum, [item])), 48_000_000);
      assertFalse(daemon.output.includes("its client is gone"), daemon.output);
    } finally {
      await pool.terminate();
      way.close();
    }
  },
);

siteTest("a pool works on whose removal a daemon began, and did not survive", async (site) => {
  const way = await Way.open(site);
  try {
    const first = await site.daemon(["--url", way.url]);
    const client = site.client("busy");
    await client.prints(/working\n/);
    const paused = new Promise<void>((resolve) => {
      way.stops = (request) => {
        if (!request.includes("$6\r\npaused\r\n")) return undefined;
        way.stops = () => 0;
        resolve();
        return request.length;
      };
    });
    client.signal("SIGSTOP");
    await soon(paused, "the removal");
    await first.kill();
    client.signal("SIGCONT");
    const { client: redis } = site.redis;
    await until(async () => (await redis.keys("mp:{default}:lease:*")).length > 0, "its lease");
    const counted = site.cluster().value("counted");
    const before = await counted.get();
    await site.daemon();
    await until(async () => await counted.get() > before + 10, "more work");
  } finally {
    way.close();
  }
});
