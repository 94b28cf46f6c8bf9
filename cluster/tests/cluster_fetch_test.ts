/** How jobs come to a daemon, and their results back: what is asked of Redis, and when. */

import { assertEquals, assertFalse, assertGreater, assertLess, assertMatch } from "@std/assert";
import { QueueEvents } from "bullmq";
import { Pool } from "@multiprocessing/core/pool";
import { ROOT } from "../../scripts/runtimes.ts";
import { cluster } from "../mod.ts";
import { kept, range, type Site, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";
import { Way } from "./fixtures/way.ts";

/** The connections that wait in Redis by a command. */
async function blocked(site: Site, command: string): Promise<Record<string, string>[]> {
  const list = await site.redis.client.client("LIST") as string;
  return list.trim().split("\n")
    .map((line) => Object.fromEntries(line.split(" ").map((field) => field.split("=", 2))))
    .filter(({ cmd, flags }) => cmd === command && flags!.includes("b"));
}

siteTest("a daemon that waits for a job has already asked for it", async (site) => {
  await site.daemon();
  assertEquals(await site.pool().apply(tasks.square, [3]), 9);
  // What Redis has been sent, and has not run yet, lies in the connection's buffer.
  await until(async () => {
    const waiting = await blocked(site, "bzpopmin");
    return waiting.length === 1 && Number(waiting[0]!.qbuf) > 0;
  }, "a question behind the wait");
});

siteTest(
  "a daemon asks for no job before there is one, where none may be begun anew",
  async (site) => {
    await site.daemon();
    const pool = site.pool({}, { lossRetries: 0 });
    for (const n of range(5)) {
      assertEquals(await pool.apply(tasks.square, [n]), n * n);
      await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
      for (const { qbuf } of await blocked(site, "bzpopmin")) assertEquals(qbuf, "0");
    }
  },
);

siteTest(
  "a daemon whose wait ends by an error runs the job that it has been given",
  async (site) => {
    await site.daemon();
    const pool = site.pool();
    assertEquals(await pool.apply(tasks.square, [2]), 4);
    const { client } = site.redis;
    const [meta] = await client.keys("*:meta") as [string];
    const toKey = (type: string) => meta.replace(/meta$/, type);
    let unblocked: unknown = 0;
    for (let round = 0; unblocked !== 1; round++) {
      // Nobody is woken for a job of a queue that is paused.
      await client.hset(meta, "paused", 1);
      const call = kept(pool.apply(tasks.echo, [`job${round}`]));
      const isSent = async () =>
        await client.llen(toKey("paused")) + await client.llen(toKey("wait"));
      await until(async () => await isSent() > 0, "a job");
      await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
      const [{ id }] = await blocked(site, "bzpopmin") as [{ id: string }];
      // All of it in one turn of Redis.
      const commands = client.pipeline().client("UNBLOCK", id, "ERROR").hdel(meta, "paused");
      if (await client.exists(toKey("paused"))) commands.rename(toKey("paused"), toKey("wait"));
      unblocked = (await commands.exec())![0]![1];
      assertEquals(await soon(call), `job${round}`);
    }
  },
);

siteTest("a daemon asks for single jobs only as it waits", async (site) => {
  const way = await Way.open(site);
  try {
    const requests: string[] = [];
    way.stops = (request) => void requests.push(request);
    await site.daemon([], {}, way.url);
    const pool = site.pool();
    assertEquals(await pool.apply(tasks.square, [0]), 0);
    await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
    requests.length = 0;
    for (const n of range(5)) {
      assertEquals(await pool.apply(tasks.square, [n]), n * n);
      await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
    }
    // BullMQ's question is the script of 11 keys. The wait and the question may come in one piece.
    const asked = requests.join("").match(/\bbzpopmin\b|\$2\r\n11\b/gi)!.map((each) =>
      each[0] === "$"
    );
    assertGreater(asked.length, 9);
    asked.forEach((question, at) => assertFalse(question && asked[at - 1], "a second question"));
  } finally {
    way.close();
  }
});

siteTest("a daemon begins several jobs that come together", async (site) => {
  await site.daemon();
  const at = site.cluster();
  const pool = site.pool();
  await pool.apply(tasks.square, [1]);
  for (let round = 0; round < 5; round++) {
    const names = [`a${round}`, `b${round}`];
    const calls = names.map((name) => pool.apply(tasks.hold, [name]));
    for (const name of names) await soon(at.event(`${name} begun`).wait(), name);
    for (const name of names) await at.event(`${name} go`).set();
    assertEquals(await Promise.all(calls), names);
  }
});

siteTest("a daemon that is stopped runs the job that is on its way there", async (site) => {
  const way = await Way.open(site);
  try {
    const daemon = await site.daemon([], {}, way.url);
    const pool = site.pool();
    assertEquals(await pool.apply(tasks.square, [2]), 4);
    await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
    way.delay = 700;
    const call = kept(pool.apply(tasks.square, [3]));
    // In Redis it is the daemon's now, which has not heard of it.
    const { client } = site.redis;
    const [active] = await client.keys("*:meta");
    await until(async () => await client.llen(active!.replace(/meta$/, "active")) === 1, "a job");
    daemon.signal("SIGTERM");
    assertEquals(await soon(call), 9);
    assertEquals(await soon(daemon.ended), 0);
  } finally {
    way.close();
  }
});

siteTest("the result of a job that came alone is told at once", async (site) => {
  await site.daemon();
  const pool = site.pool();
  await pool.apply(tasks.square, [1]);
  const told: string[] = [];
  let channel: string | undefined;
  const ear = site.redis.client.duplicate();
  try {
    ear.on("pmessage", (_pattern: string, from: string, text: string) => {
      channel = from;
      told.push(text);
    });
    await ear.psubscribe("mp:{default}:results:*");
    await until(async () => (await blocked(site, "bzpopmin")).length === 1, "a wait");
    await pool.apply(tasks.square, [2]);
    await until(() => told.length > 0, "a result");
    assertMatch(told[0]!, /^j2 \{"v":/);
    const held = kept(pool.apply(tasks.nap, [300]));
    // Who writes in Redis may do all; but what is no result is none.
    for (
      const text of [
        "",
        "j3",
        "j3 ",
        "j3 {",
        "j3 null",
        'j3 {"v":1}',
        'j3 {"v":{"k":"x"}}',
        "j9 {}",
      ]
    ) {
      await site.redis.client.publish(channel!, text);
    }
    assertEquals(await held, 300);
  } finally {
    ear.disconnect();
  }
});

siteTest("results of several jobs are looked for at once: not each is told", async (site) => {
  await site.daemon(["--slots", "1"]);
  const pool = site.pool();
  await pool.apply(tasks.square, [1]);
  const reads = async () => {
    const stats = await site.redis.client.info("commandstats");
    return Number(stats.match(/cmdstat_xread:calls=(\d+)/)?.[1] ?? 0);
  };
  const before = await reads();
  await Promise.all(
    range(4).map(async () => {
      for (const n of range(50)) await pool.apply(tasks.square, [n]);
    }),
  );
  assertGreater(await reads() - before, 40);
});

siteTest(
  "a large result that is told, and then found among the events, is fetched once",
  async (site) => {
    const way = await Way.open(site);
    try {
      let fetched = 0;
      way.stops = (request) => {
        fetched += request.match(/\bhget\r\n/gi)?.length ?? 0;
        return undefined;
      };
      await site.daemon();
      const pool = new Pool({ backend: cluster(way.url, { root: ROOT }) });
      try {
        const { length } = await pool.apply(tasks.bytes, [300_000]);
        assertEquals(length, 300_000);
        const each = fetched;
        assertGreater(each, 0);
        way.delay = 60; // While it is fetched events are read.
        for (const n of range(3)) {
          await pool.apply(tasks.bytes, [300_000]);
          assertEquals(fetched, each * (n + 2));
        }
      } finally {
        way.delay = 0;
        await pool.terminate();
      }
    } finally {
      way.close();
    }
  },
);

siteTest("results that are told to nobody are found among the events", async (site) => {
  const way = await Way.open(site);
  try {
    let lost = 0;
    // The connection breaks with each.
    way.cuts = (answer) => {
      if (!/\bmessage\r\n\$\d+\r\nmp:\{default\}:results:/.test(answer)) return undefined;
      lost++;
      return 0;
    };
    await site.daemon();
    const pool = new Pool({ backend: cluster(way.url, { root: ROOT }) });
    try {
      for (const n of range(30)) assertEquals(await soon(pool.apply(tasks.square, [n])), n * n);
      assertGreater(lost, 0);
    } finally {
      await pool.terminate();
    }
  } finally {
    way.close();
  }
});

siteTest(
  "a pool whose connections broke while it had no jobs hears of the next ones",
  async (site) => {
    const way = await Way.open(site);
    try {
      await site.daemon();
      const pool = new Pool({ backend: cluster(way.url, { root: ROOT }) });
      const took: number[] = [];
      try {
        for (const n of range(3)) {
          // So long that its result is looked for.
          assertEquals(await soon(pool.apply(tasks.nap, [40])), 40);
          way.cuts = () => undefined;
          await new Promise((resolve) => setTimeout(resolve, 50));
          const broken = [...way.sockets];
          for (const socket of broken) socket.destroy();
          await until(() => broken.every((socket) => !way.sockets.has(socket)), "their end");
          // What is told is lost: who hears of the next one has read the events.
          way.cuts = (answer) =>
            /\bmessage\r\n\$\d+\r\nmp:\{default\}:results:/.test(answer) ? 0 : undefined;
          const begun = performance.now();
          assertEquals(await soon(pool.apply(tasks.square, [n])), n * n);
          took.push(performance.now() - begun);
        }
      } finally {
        await pool.terminate();
      }
      // BullMQ would try again some seconds later.
      assertLess(Math.min(...took), 2_000);
    } finally {
      way.close();
    }
  },
);

siteTest("a pool without jobs reads no events, and hears of the next job", async (site) => {
  await site.daemon();
  const pool = site.pool();
  for (const n of range(5)) {
    // So long that its result is looked for.
    assertEquals(await pool.apply(tasks.nap, [40 * n]), 40 * n);
    await until(async () => (await blocked(site, "xread")).length === 0, "silence");
  }
  // Its ear for events is closed some time after the last job.
  await new Promise((resolve) => setTimeout(resolve, 700));
  assertEquals(await pool.apply(tasks.square, [7]), 49);
  assertEquals(pool.stats(), { ...pool.stats(), queued: 0, running: 0, completed: 6, failed: 0 });
});

siteTest("a pool that is idle from time to time leaves nothing behind that waits", async (site) => {
  // Its loop ends with a listener.
  const listener = QueueEvents.prototype as unknown as { consumeEvents(): Promise<void> };
  const { consumeEvents } = listener;
  let [begun, ended] = [0, 0];
  listener.consumeEvents = async function () {
    begun++;
    await consumeEvents.call(this).catch(() => {});
    ended++;
  };
  try {
    await site.daemon();
    const pool = site.pool();
    await until(async () => {
      assertEquals(await pool.apply(tasks.square, [3]), 9);
      await new Promise((resolve) => setTimeout(resolve, 600));
      return begun > 2;
    }, "silence, and jobs again");
    await until(() => begun - ended <= 1, "their end");
  } finally {
    listener.consumeEvents = consumeEvents;
  }
});
