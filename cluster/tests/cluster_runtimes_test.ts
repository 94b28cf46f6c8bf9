/** A client on one runtime, daemons on the others: values, errors, and what can go wrong. */

import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { TimeoutError } from "@multiprocessing/core/errors";
import { current } from "../../scripts/runtimes.ts";
import {
  clientKilled,
  daemonKilled,
  daemonsKilledByTask,
  redisLost,
  redisRestarted,
} from "./fixtures/failures.ts";
import { RUNTIMES } from "./fixtures/members.ts";
import { sharedSite, SHORT_LOCK, type Site, siteTest } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

/** All but the test's own. */
const OTHERS = RUNTIMES.filter(({ name }) => name !== current().name.replace("22", ""));

/** A daemon on each of the others. */
const othersTest = sharedSite((site) =>
  Promise.all(OTHERS.map((runtime) => site.daemon([], { runtime })))
);

othersTest("Pool on a cluster of other runtimes uses all of them", async (site) => {
  const pool = site.pool({ initializer: tasks.init, initargs: [100] });
  const places = await pool.map(tasks.whereAmI, new Array(60).fill(20), { chunkSize: 1 });
  const used = new Set(places.map(({ daemon }) => daemon));
  assertEquals(used, new Set(site.daemons.map(({ pid }) => pid)));
  for (const { inits } of places) assertEquals(inits, 1);
  const items = Array.from({ length: 1_000 }, (_, n) => n);
  assertEquals(await pool.map(tasks.addBase, items), items.map((n) => n + 100));
});

/** Waits for an answer from each daemon: many are asked, so that none is left out. */
async function fromEach<T>(site: Site, value: T): Promise<T[]> {
  const pool = site.pool();
  return await pool.map(tasks.lateEcho<T>, new Array(24).fill(value), { chunkSize: 1 });
}

othersTest(
  "Pool on a cluster of other runtimes sends values as structured clone does",
  async (site) => {
    const loop: Record<string, unknown> = {
      minusZero: -0,
      gap: [1, , 3],
      big: -(2n ** 80n),
      nothing: undefined,
      not: NaN,
      map: new Map<unknown, unknown>([[{ a: 1 }, new Set([NaN, undefined, null])]]),
      date: new Date(1e12),
      pattern: /a+/giu,
      floats: new Float64Array([1.5, -0, Infinity]),
      bigs: new BigInt64Array([1n, -1n]),
      view: new DataView(new Uint8Array([1, 2, 3]).buffer, 1),
      text: "ä𝄞\0\ud800",
      error: new AggregateError([new TypeError("one")], "all", { cause: new RangeError("why") }),
    };
    loop.self = loop;
    for (const back of await fromEach(site, loop)) {
      assertEquals(back.self, back);
      assert(Object.is(back.minusZero, -0));
      assertFalse(1 in (back.gap as unknown[]));
      assert("nothing" in back);
      for (const key of ["big", "not", "map", "date", "pattern", "floats", "bigs", "text"]) {
        assertEquals(back[key], loop[key], key);
      }
      assertEquals((back.view as DataView).getUint8(0), 2);
      const error = back.error as AggregateError;
      assertInstanceOf(error, AggregateError);
      assertInstanceOf(error.errors[0], TypeError);
      assertInstanceOf(error.cause, RangeError);
    }
  },
);

othersTest(
  "Pool on a cluster of other runtimes rejects with the errors of its tasks",
  async (site) => {
    const pool = site.pool();
    const fails = Array.from({ length: 16 }, (_, n) => pool.apply(tasks.lateFail, [n]));
    const outcomes = await Promise.allSettled(fails);
    for (const [n, outcome] of outcomes.entries()) {
      assert(outcome.status === "rejected");
      const { reason } = outcome;
      assertInstanceOf(reason, RangeError);
      assertEquals(reason.message, `${n} is too much`);
      assertEquals((reason as unknown as { n: number }).n, n);
      assertInstanceOf(reason.cause, TypeError);
      assertMatch(reason.stack!, /tasks\.ts:\d+/);
      assertMatch(reason.stack!, /cluster_runtimes_test\.ts:\d+/);
    }
  },
);

othersTest("Pool on a cluster of other runtimes cancels, and ends what is late", async (site) => {
  const pool = site.pool();
  const controller = new AbortController();
  const calls = Array.from(
    { length: 4 },
    () => pool.apply(tasks.nap, [60_000], { signal: controller.signal }),
  );
  const late = Array.from({ length: 4 }, () => pool.apply(tasks.spin, [20_000], { timeout: 200 }));
  for (const call of [...calls, ...late]) call.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 200));
  controller.abort(new Error("enough"));
  for (const call of calls) await assertRejects(() => call, Error, "enough");
  for (const call of late) await assertRejects(() => call, TimeoutError);
  assertEquals(await pool.map(tasks.square, [1, 2, 3]), [1, 4, 9]);
});

othersTest(
  "Pool on a cluster of other runtimes takes 16 MiB, and gives them back",
  async (site) => {
    const pool = site.pool();
    const length = 16 * 2 ** 20;
    const data = new Uint8Array(length).fill(1);
    assertEquals(await pool.map(tasks.sum, [data, data, data], { chunkSize: 1 }), [
      length,
      length,
      length,
    ]);
    const back = await pool.map(tasks.bytes, [length, length, length], { chunkSize: 1 });
    for (const each of back) assertEquals([each.length, each[0], each.at(-1)], [length, 7, 7]);
  },
);

siteTest(
  "Pool on a cluster of other runtimes has each result once when a daemon is killed",
  (site) => daemonKilled(site, OTHERS),
  { lock: SHORT_LOCK },
);

siteTest(
  "Pool on a cluster of other runtimes goes on when Redis is killed, and comes back",
  (site) => redisRestarted(site, OTHERS),
  { aof: true, lock: SHORT_LOCK },
);

siteTest(
  "Pool on a cluster of other runtimes sends again what Redis has lost",
  (site) => redisLost(site, OTHERS),
  { lock: SHORT_LOCK },
);

siteTest(
  "daemons on other runtimes stop the tasks of a client that was killed",
  (site) => clientKilled(site, OTHERS),
);

siteTest(
  "Pool on a cluster of other runtimes gives up a task that kills its daemons",
  (site) => daemonsKilledByTask(site, OTHERS),
  { lock: SHORT_LOCK },
);
