/** The cluster's Value: its contract, exact however many write it and whatever breaks. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { ProcessError } from "@multiprocessing/core/errors";
import { RedisConnection } from "../wire/connection.ts";
import { Value } from "../shared/value.ts";
import { Event } from "../sync/event.ts";
import type { Fence } from "../sync/guard.ts";
import { Lock } from "../sync/lock.ts";
import { RUNTIMES } from "./fixtures/members.ts";
import { redisTest } from "./fixtures/redis_server.ts";

redisTest("Value is read and written, and what changes it gives the value before", async (on) => {
  const value = new Value(on.connect(), "v", 40);
  const other = new Value(on.connect(), "v", 40);
  assertEquals(await value.get(), 40);
  assertEquals(await value.add(2), 40);
  assertEquals(await other.get(), 42);
  assertEquals(await other.sub(0.5), 42);
  assertEquals(await value.exchange(7), 41.5);
  assertEquals(await value.compareExchange(6, 8), 7);
  assertEquals(await value.get(), 7);
  assertEquals(await value.compareExchange(7, 8), 7);
  assertEquals(await value.get(), 8);
  await other.set(-1);
  assertEquals(await value.get(), -1);
  await value.delete();
  assertEquals(await other.get(), 40);
});

redisTest("Value holds any number of JavaScript, and adds as JavaScript does", async (on) => {
  const value = new Value(on.connect(), "v");
  const numbers = [
    ...[0, -0, 0.1, 1 / 3, -1e-300, 5e-324, Number.MAX_VALUE, 2 ** 53, -(2 ** 53)],
    ...[Infinity, -Infinity, NaN, Math.PI, 1e21],
  ];
  for (const number of numbers) {
    await value.set(number);
    assert(Object.is(await value.get(), number), `${number}`);
    for (const n of [0.2, -1, 1e308, Infinity]) {
      await value.set(number);
      await value.add(n);
      const sum = await value.get();
      assert(Object.is(sum, number + n), `${number} + ${n} is not ${sum}`);
    }
  }
  await value.set(0.1);
  assertEquals(await value.compareExchange(0.1, 0.3), 0.1);
  assertEquals(await value.get(), 0.3);
});

redisTest("Value.add() of four programs counts exactly", async (on) => {
  const runtimes = [...RUNTIMES, RUNTIMES[0]!];
  const members = runtimes.map((runtime) => on.member(runtime, "add", "v", 500));
  for (const member of members) assertEquals(await member.line(), "ready");
  const connection = on.connect();
  await new Event(connection, "go").set();
  for (const member of members) assertEquals(await member.ended, 0);
  assertEquals(await new Value(connection, "v").get(), 2_000);
});

redisTest("Value.compareExchange() of programs on all runtimes loses nothing", async (on) => {
  const members = RUNTIMES.map((runtime) => on.member(runtime, "compareExchange", "v", 100));
  for (const member of members) assertEquals(await member.ended, 0);
  assertEquals(await new Value(on.connect(), "v").get(), 300);
});

redisTest("Value.add() runs once, however often the connection breaks", async (on) => {
  const value = new Value(on.connect(), "v");
  const adding = Promise.all(Array.from({ length: 20 }, async () => {
    const seen: number[] = [];
    const end = Date.now() + 1_500;
    while (Date.now() < end) seen.push(await value.add(1));
    return seen;
  }));
  const breaks = await on.breaking(adding);
  const all = (await adding).flat();
  assertGreater(breaks, 4);
  assertEquals(await value.get(), all.length);
  assertEquals(new Set(all).size, all.length, "two calls saw the same value");
});

redisTest("Value.add() runs once, though Redis is killed under it", async (on) => {
  const value = new Value(on.connect(), "v");
  let going = true;
  let calls = 0;
  const adding = Promise.all(Array.from({ length: 10 }, async () => {
    while (going) {
      await value.add(1);
      calls++;
    }
  }));
  for (let i = 0; i < 3; i++) {
    const target = calls + 50;
    while (calls < target) await new Promise((resolve) => setTimeout(resolve, 1));
    await on.kill();
    await on.restart();
  }
  going = false;
  await adding;
  assertEquals(await value.get(), calls);
}, { aof: true });

redisTest("Value is written under a fence only while that lock is held", async (on) => {
  const connection = on.connect();
  const value = new Value(connection, "v", 5);
  const lock = new Lock(connection, "a");
  const guard = await lock.acquire();
  await value.set(6, { fence: guard });
  assertEquals(await value.add(1, { fence: { name: "a", token: guard.token } }), 6);
  assertEquals(await value.compareExchange(7, 8, { fence: guard }), 7);
  const others = [{ name: "b", token: guard.token }, { name: "a", token: guard.token + 1 }];
  for (const fence of others) {
    await assertRejects(() => value.set(0, { fence }), ProcessError, "Cannot write Value");
  }
  await guard.release();
  const writes = [
    () => value.set(0, { fence: guard }),
    () => value.add(1, { fence: guard }),
    () => value.sub(1, { fence: guard }),
    () => value.exchange(1, { fence: guard }),
    () => value.compareExchange(8, 1, { fence: guard }),
  ];
  for (const write of writes) {
    await assertRejects(write, ProcessError, `no longer held with token ${guard.token}`);
  }
  assertEquals(await value.get(), 8);
  await lock.acquire();
  await assertRejects(writes[0]!, ProcessError);
  await value.set(9);
  assertEquals(await value.get(), 9, "a write without a fence is not fenced");
});

redisTest("Value refuses a fence without a token", async (on) => {
  const value = new Value(on.connect(), "v");
  for (const token of [undefined, null, "", "x", "1", NaN]) {
    const fence = { name: "a", token } as unknown as Fence;
    await assertRejects(() => value.set(7, { fence }), TypeError, `must be an integer, but is`);
  }
  assertEquals(await value.get(), 0);
});

redisTest("Value refuses a fence older than one it was written with", async (on) => {
  const connection = on.connect();
  const value = new Value(connection, "v");
  const lock = new Lock(connection, "a");
  const first = await lock.acquire();
  await first.release();
  const second = await lock.acquire();
  await value.set(1, { fence: second });
  // What a failover to a replica can do: Redis takes the first owner for the present one.
  const key = "mp:{default}:lock:a";
  await on.client.hset(key, "t", first.token);
  await assertRejects(() => value.set(2, { fence: first }), ProcessError);
  assertEquals(await value.get(), 1);
});

redisTest("Value is kept for a week, or as long as wished, from its last use", async (on) => {
  const connection = on.connect();
  await new Value(connection, "week").set(1);
  await new Value(connection, "second", 0, { keep: 1_000 }).set(1);
  await new Value(connection, "ever", 0, { keep: Infinity }).set(1);
  const left = (name: string) => on.client.pttl(`mp:{default}:value:${name}`);
  assertGreater(await left("week"), 6 * 86_400_000);
  assert(await left("second") <= 1_000);
  assertEquals(await left("ever"), -1);
  const reader = new Value(connection, "second", 0, { keep: 60_000 });
  await reader.get();
  assert(await left("second") > 1_000 || await reader.get() === 0);
  for (const key of await on.client.keys("*answers*")) assertGreater(await on.client.pttl(key), 0);
});

redisTest("RedisConnection.close() leaves nothing behind of its own", async (on) => {
  const connection = on.connect();
  await new Value(connection, "v").set(1);
  assertEquals((await on.client.keys("*:answers:*")).length, 1);
  await connection.close();
  assertEquals(await on.client.keys("*"), ["mp:{default}:value:v"]);
});

test("Value refuses what is no number", async () => {
  const connection = new RedisConnection("redis://127.0.0.1:1");
  assertThrows(() => new Value(connection, "v", "1" as never), TypeError, "but is string");
  assertThrows(() => new Value(connection, ""), RangeError);
  assertThrows(() => new Value(connection, "v", 0, { keep: 10 }), RangeError, "'keep'");
  const value = new Value(connection, "v");
  for (const write of ["set", "add", "sub", "exchange"] as const) {
    const error = await assertRejects(() => value[write](1n as never), TypeError);
    assertMatch(error.message, /must be a number, but is bigint/);
  }
  await connection.close();
});
