/** The cluster's Lock: its contract, through deaths, pauses and restarts. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError, TimeoutError } from "@multiprocessing/core/errors";
import { RedisConnection } from "../wire/connection.ts";
import { Value } from "../shared/value.ts";
import type { LockGuard } from "../sync/guard.ts";
import { Lock } from "../sync/lock.ts";
import { RUNTIMES, SOON, WAKE_MS, wakeTime } from "./fixtures/members.ts";
import { redisTest } from "./fixtures/redis_server.ts";

/** Resolves when the lease is lost. */
function lossOf(guard: LockGuard): Promise<void> {
  return new Promise((resolve) => {
    if (guard.lost.aborted) resolve();
    else guard.lost.addEventListener("abort", () => resolve());
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

redisTest("Lock.acquire() holds until release(), which is harmless twice", async (on) => {
  const lock = new Lock(on.connect(), "a");
  const other = new Lock(on.connect(), "a");
  assertFalse(await lock.locked());
  const guard = await lock.acquire();
  assert(await other.locked());
  assertStrictEquals(await other.tryAcquire(), null);
  assertFalse(guard.abandoned);
  assertFalse(guard.lost.aborted);
  await guard.release();
  await guard.release();
  assertFalse(await other.locked());
  const next = await other.tryAcquire();
  assertGreater(next!.token, guard.token);
  assertFalse(next!.abandoned);
});

redisTest("Lock of another name or of another cluster is another lock", async (on) => {
  const connection = on.connect();
  await new Lock(connection, "a").acquire();
  assert(await new Lock(connection, "b").tryAcquire());
  assert(await new Lock(on.connect({ name: "other" }), "a").tryAcquire());
});

redisTest("Lock.acquire() gives up by timeout and by signal, and has taken nothing", async (on) => {
  const connection = on.connect();
  const lock = new Lock(connection, "a");
  const guard = await new Lock(connection, "a").acquire();
  const error = await assertRejects(() => lock.acquire({ timeout: 50 }), TimeoutError);
  assertEquals(error.message, 'Cannot acquire Lock "a": it was not free within 50 ms');
  await assertRejects(() => lock.acquire({ timeout: 0 }), TimeoutError);
  await assertRejects(() => lock.acquire({ timeout: NaN }), RangeError);
  await assertRejects(() => lock.acquire(5 as never), TypeError, "write { timeout: 5 }");
  const signal = {} as AbortSignal;
  await assertRejects(() => lock.acquire({ signal }), TypeError, "'signal' must be an AbortSignal");

  const aborter = new AbortController();
  const aborted = lock.acquire({ signal: aborter.signal });
  const late = lock.acquire();
  aborter.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await assertRejects(() => lock.acquire({ signal: aborter.signal }), Error, "enough");
  await guard.release();
  await (await late).release();
  assertFalse(await lock.locked());
});

redisTest("Lock.acquire() serves those of one program in order of arrival", async (on) => {
  const lock = new Lock(on.connect(), "a");
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      lock.use(async () => {
        order.push(i);
        await lock.locked();
      })),
  );
  assertEquals(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

redisTest("Lock.use() releases, whatever comes of the function", async (on) => {
  const lock = new Lock(on.connect(), "a");
  assertEquals(await lock.use(() => Promise.resolve(7)), 7);
  await assertRejects(
    () =>
      lock.use(() => {
        throw new TypeError("inside");
      }),
    TypeError,
    "inside",
  );
  assertFalse(await lock.locked());
});

redisTest("Lock.acquire() wakes up at once when another program releases", async (on) => {
  const lock = new Lock(on.connect(), "a");
  let held: LockGuard;
  let next = await new Lock(on.connect(), "a").acquire();
  const time = await wakeTime(
    async () => {
      held = next;
      next = await lock.acquire();
    },
    () => held.release(),
  );
  assertLess(time, WAKE_MS);
});

redisTest("Lock is renewed while it is held, for many times its lease", async (on) => {
  const guard = await new Lock(on.connect(), "a", { lease: 400 }).acquire();
  const other = new Lock(on.connect(), "a");
  await assertRejects(() => other.acquire({ timeout: 2_000 }), TimeoutError);
  assertFalse(guard.lost.aborted);
  await guard.release();
});

redisTest("Lock is renewed though Redis could not write for a while", async (on) => {
  const guard = await new Lock(on.connect(), "a", { lease: 6_000 }).acquire();
  await on.client.config("SET", "min-replicas-to-write", "1");
  const refusals = async () => /NOREPLICAS/.test(await on.client.info("errorstats"));
  while (!await refusals()) await sleep(20);
  await on.client.config("SET", "min-replicas-to-write", "0");
  await sleep(6_000);
  assertFalse(guard.lost.aborted);
  await guard.release();
});

redisTest("Lock is renewed though Redis was away for longer than `patience`", async (on) => {
  const guard = await new Lock(on.connect({ patience: 300 }), "a", { lease: 6_000 }).acquire();
  await on.kill();
  // The first renewal comes after 2 s.
  await sleep(2_800);
  await on.restart();
  await sleep(4_500);
  assertFalse(guard.lost.aborted);
  await guard.release();
}, { aof: true });

redisTest("Lock can have a lease of months", async (on) => {
  const guard = await new Lock(on.connect(), "a", { lease: 100 * 86_400_000 }).acquire();
  const commands = async () => {
    const stats = await on.client.info("stats");
    return Number(/total_commands_processed:(\d+)/.exec(stats)![1]);
  };
  const before = await commands();
  await sleep(500);
  // It would be renewed all the time.
  assertLess(await commands() - before, 20);
  assertFalse(guard.lost.aborted);
  await guard.release();
});

redisTest("Lock.release() takes it from whoever holds it, who hears of it", async (on) => {
  const connection = on.connect();
  const lock = new Lock(connection, "a", { lease: 300 });
  const guard = await lock.acquire();
  await new Lock(connection, "a").release();
  assertFalse(await lock.locked());
  await lossOf(guard);
  assertMatch(String(guard.lost.reason), /^ProcessError: Lock "a" is lost: its lease of 300 ms/);
  await assertRejects(() => guard.release(), ProcessError, 'Lock "a" is lost');
  await assertRejects(
    () => lock.release(),
    ProcessError,
    'Cannot release Lock "a": it is not held',
  );
});

redisTest("Lock that was taken from its owner is not the old owner's again", async (on) => {
  const connection = on.connect();
  const lock = new Lock(connection, "a", { lease: 300 });
  const guard = await lock.acquire();
  await lock.release();
  const next = await new Lock(on.connect(), "a").acquire();
  await lossOf(guard);
  assertFalse(next.lost.aborted);
  await assertRejects(() => guard.release(), ProcessError, 'Lock "a" is lost');
  assert(await lock.locked(), "the old owner released another's lock");
  await next.release();
});

redisTest("Lock.use() rejects if the lock was lost meanwhile", async (on) => {
  const lock = new Lock(on.connect(), "a", { lease: 300 });
  await assertRejects(
    () =>
      lock.use(async (guard) => {
        await lock.release();
        await lossOf(guard);
      }),
    ProcessError,
    'Lock "a" is lost',
  );
});

redisTest("Lock is lost when the event loop is blocked for longer than its lease", async (on) => {
  const connection = on.connect();
  const guard = await new Lock(connection, "a", { lease: 200 }).acquire();
  const start = performance.now();
  while (performance.now() - start < 400);
  assert(guard.lost.aborted, "the clock was not looked at");
  const value = new Value(connection, "v");
  await assertRejects(() => value.set(1, { fence: guard }), ProcessError);
  assertEquals(await value.get(), 0);
  const next = await new Lock(connection, "a").acquire();
  assert(next.abandoned);
  assertGreater(next.token, guard.token);
});

redisTest("Lock has tokens that increase when Redis has forgotten all", async (on) => {
  const lock = new Lock(on.connect(), "a");
  let last = 0;
  for (let i = 0; i < 3; i++) {
    const { token } = await lock.acquire();
    assert(Number.isSafeInteger(token));
    assertGreater(token, last);
    last = token;
    await on.kill();
    await on.restart();
  }
});

redisTest("Lock.acquire() waits through a restart of Redis", async (on) => {
  const guard = await new Lock(on.connect(), "a").acquire();
  const other = new Lock(on.connect(), "a");
  const waiting = other.acquire({ timeout: SOON });
  assertStrictEquals(await other.tryAcquire(), null);
  await on.kill();
  await sleep(300);
  await on.restart();
  await guard.release();
  const next = await waiting;
  assertGreater(next.token, guard.token);
  await next.release();
}, { aof: true });

redisTest("Lock.acquire() holds its timeout while Redis is away, and takes nothing", async (on) => {
  const lock = new Lock(on.connect(), "a");
  await (await lock.acquire()).release();
  await on.kill();
  const start = performance.now();
  await assertRejects(() => lock.acquire({ timeout: 100 }), TimeoutError);
  assertLess(performance.now() - start, 20_000);
  await on.restart();
  // The request that was under way may be served; then it is undone.
  const guard = await lock.acquire({ timeout: SOON });
  await guard.release();
}, { aof: true });

redisTest("Lock protects a counter of programs on all runtimes", async (on) => {
  const members = RUNTIMES.map((runtime) => on.member(runtime, "countUnderLock", "c", 50));
  const tokens: number[][] = [];
  for (const member of members) tokens.push(JSON.parse(await member.line()));
  assertEquals(await new Value(on.connect(), "c").get(), 50 * members.length);
  for (const own of tokens) assertEquals(own, own.toSorted((a, b) => a - b));
  assertEquals(new Set(tokens.flat()).size, 50 * members.length);
  for (const member of members) assertEquals(await member.ended, 0);
});

for (const runtime of RUNTIMES) {
  redisTest(`Lock goes on when its owner on ${runtime.name} is killed`, async (on) => {
    const member = on.member(runtime, "holdLock", "a", 1_000);
    const token = Number(await member.line());
    const lock = new Lock(on.connect(), "a");
    assertStrictEquals(await lock.tryAcquire(), null);
    const start = performance.now();
    member.signal("SIGKILL");
    const guard = await lock.acquire({ timeout: SOON });
    assertGreaterOrEqual(performance.now() - start, 300); // at least 2/3 of the lease were left
    assert(guard.abandoned);
    assertGreater(guard.token, token);
    await guard.release();
  });

  redisTest(`Lock refuses what its owner on ${runtime.name} does after a pause`, async (on) => {
    const member = on.member(runtime, "holdLock", "a", 1_000);
    const token = Number(await member.line());
    member.signal("SIGSTOP");
    const connection = on.connect();
    const guard = await new Lock(connection, "a").acquire({ timeout: SOON });
    assert(guard.abandoned);
    const value = new Value(connection, "guarded");
    await value.set(1, { fence: guard });
    member.signal("SIGCONT");
    assertEquals(await member.line(), "lost");
    assertEquals(
      await member.line(),
      `ProcessError: Cannot write Value "guarded": Lock "a" is no longer held with token ${token}; ` +
        `the last one is ${guard.token}`,
    );
    assertMatch(await member.line(), /^ProcessError: Lock "a" is lost: its lease of 1000 ms/);
    assertEquals(await value.get(), 1);
    assert(await new Lock(connection, "a").locked(), "the late owner released another's lock");
    assertEquals(await member.ended, 0);
    await guard.release();
  });

  redisTest(`Lock that is held does not keep a program on ${runtime.name} alive`, async (on) => {
    const member = on.member(runtime, "leaveOpen", "a");
    assertEquals(await member.line(), "done");
    assertEquals(await member.ended, 0);
  });
}

redisTest("Lock leaves no key that stays for ever", async (on) => {
  const lock = new Lock(on.connect(), "a");
  await (await lock.acquire()).release();
  await lock.acquire();
  const keys = await on.client.keys("*");
  assert(keys.includes("mp:{default}:lock:a"));
  for (const key of keys) {
    assertMatch(key, /^mp:\{default\}:/);
    assertGreater(await on.client.pttl(key), 0);
  }
});

test("new Lock() refuses names and leases that it cannot have", () => {
  const connection = new RedisConnection("redis://127.0.0.1:1");
  assertThrows(() => new Lock(connection, ""), RangeError, "1 to 200 characters, but has 0");
  assertThrows(() => new Lock(connection, "x".repeat(201)), RangeError, "but has 201");
  assertThrows(() => new Lock(connection, "a\nb"), RangeError, 'at index 1 of "a\\nb"');
  assertThrows(() => new Lock(connection, "a\ud800"), RangeError, "half a character");
  assertThrows(
    () => new Lock(connection, 7 as never),
    TypeError,
    "must be a string, but is number",
  );
  assertThrows(
    () => new Lock(connection, "a", { lease: 99 }),
    RangeError,
    "Cannot create Lock: 'lease' must be a whole number of milliseconds >= 100, but is 99",
  );
  assertEquals(new Lock(connection, "😀 ".repeat(50)).name.length, 150);
});
