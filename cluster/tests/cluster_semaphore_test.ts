/** The cluster's Semaphore: never more holders than permits, and the dead give theirs back. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError, TimeoutError } from "@multiprocessing/core/errors";
import { RedisConnection } from "../wire/connection.ts";
import type { LeaseGuard } from "../sync/guard.ts";
import { Semaphore } from "../sync/semaphore.ts";
import { RUNTIMES, SOON, WAKE_MS, wakeTime } from "./fixtures/members.ts";
import { redisTest } from "./fixtures/redis_server.ts";

redisTest("Semaphore.acquire() gives as many permits as there are", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s", { value: 2 });
  const other = new Semaphore(on.connect(), "s", { value: 2 });
  assertEquals(await semaphore.getValue(), 2);
  const first = await semaphore.acquire();
  assertFalse(first.abandoned);
  assertEquals(await other.getValue(), 1);
  const second = await other.tryAcquire();
  assert(second);
  assertEquals(await semaphore.getValue(), 0);
  assertStrictEquals(await semaphore.tryAcquire(), null);
  const error = await assertRejects(() => semaphore.acquire({ timeout: 50 }), TimeoutError);
  assertEquals(error.message, 'Cannot acquire Semaphore "s": it was not free within 50 ms');
  const third = semaphore.acquire({ timeout: SOON });
  await second.release();
  await second.release();
  await (await third).release();
  await first.release();
  assertEquals(await other.getValue(), 2);
  assertEquals(await on.client.keys("*:semaphore*"), []);
});

redisTest("Semaphore.acquire() that is aborted has taken nothing", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s");
  const permit = await semaphore.acquire();
  const aborter = new AbortController();
  const aborted = semaphore.acquire({ signal: aborter.signal });
  aborter.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await permit.release();
  assertEquals(await semaphore.getValue(), 1);
});

redisTest("Semaphore.tryAcquire() takes each permit that is free, many at once", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s", { value: 4 });
  const guards = await Promise.all(Array.from({ length: 6 }, () => semaphore.tryAcquire()));
  assertEquals(guards.map((guard) => guard !== null), [true, true, true, true, false, false]);
});

redisTest("Semaphore.acquire() wakes at once when a permit comes back", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s");
  let held: LeaseGuard;
  let next = await new Semaphore(on.connect(), "s").acquire();
  const time = await wakeTime(
    async () => {
      held = next;
      next = await semaphore.acquire();
    },
    () => held.release(),
  );
  assertLess(time, WAKE_MS);
});

redisTest("Semaphore.use() gives the permit back, whatever comes of it", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s");
  assertEquals(await semaphore.use(() => 7), 7);
  await assertRejects(() => semaphore.use(() => Promise.reject(new TypeError("x"))), TypeError);
  assertEquals(await semaphore.getValue(), 1);
});

redisTest("Semaphore keeps a permit for many times its lease", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s", { lease: 400 });
  const permit = await semaphore.acquire();
  await assertRejects(() => semaphore.acquire({ timeout: 2_000 }), TimeoutError);
  assertFalse(permit.lost.aborted);
  await permit.release();
});

redisTest("Semaphore says that a permit is lost whose holder was blocked", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s", { lease: 200 });
  const permit = await semaphore.acquire();
  const start = performance.now();
  while (performance.now() - start < 400);
  assert(permit.lost.aborted);
  const next = await semaphore.acquire();
  assert(next.abandoned);
  await assertRejects(() => permit.release(), ProcessError, 'Semaphore "s" is lost');
  assertEquals(await semaphore.getValue(), 0, "the late one gave back another's permit");
});

for (const runtime of RUNTIMES) {
  redisTest(`Semaphore gets back the permit of one killed on ${runtime.name}`, async (on) => {
    const member = on.member(runtime, "holdPermit", "s", 1_000);
    assertEquals(await member.line(), "held");
    const semaphore = new Semaphore(on.connect(), "s", { value: 2 });
    const own = await semaphore.acquire();
    assertStrictEquals(await semaphore.tryAcquire(), null);
    member.signal("SIGKILL");
    const next = await semaphore.acquire({ timeout: SOON });
    assert(next.abandoned);
    assertFalse(own.abandoned);
    assertFalse(own.lost.aborted);
  });
}

redisTest("Semaphore is never held more often than it has permits", async (on) => {
  const members = RUNTIMES.map((runtime) => on.member(runtime, "workWithPermits", "s", 50));
  for (const member of members) {
    const most = Number(await member.line());
    assertGreater(most, 0);
    assertLessOrEqual(most, 2);
    assertEquals(await member.ended, 0);
  }
});

redisTest("Semaphore refuses another number of permits while it is in use", async (on) => {
  const connection = on.connect();
  const permit = await new Semaphore(connection, "s", { value: 2 }).acquire();
  const other = new Semaphore(connection, "s", { value: 3 });
  const error = await assertRejects(() => other.acquire(), RangeError);
  assertEquals(
    error.message,
    'Cannot acquire Semaphore "s": others use it with 2 permits, but here it has 3',
  );
  await permit.release();
  await (await other.acquire()).release();
});

redisTest("Semaphore waits through a restart of Redis", async (on) => {
  const semaphore = new Semaphore(on.connect(), "s");
  const permit = await semaphore.acquire();
  const waiting = semaphore.acquire({ timeout: SOON });
  await on.kill();
  await on.restart();
  await permit.release();
  await (await waiting).release();
}, { aof: true });

redisTest("Semaphore leaves no key that stays for ever", async (on) => {
  await new Semaphore(on.connect(), "s").acquire();
  const keys = await on.client.keys("*");
  assertEquals(keys.length, 3);
  for (const key of keys) assertGreater(await on.client.pttl(key), 0);
});

test("new Semaphore() refuses what it cannot have", () => {
  const connection = new RedisConnection("redis://127.0.0.1:1");
  for (const value of [0, -1, 1.5, NaN, "2" as never]) {
    assertThrows(() => new Semaphore(connection, "s", { value }), RangeError, "'value'");
  }
  assertThrows(() => new Semaphore(connection, "s", { lease: 1 }), RangeError, "'lease'");
  assertThrows(() => new Semaphore(connection, ""), RangeError, "its name");
});
