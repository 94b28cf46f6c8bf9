/** The cluster's Queue: every item once, in order, bounded, across runtimes and through failures. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  ClosedError,
  EncodingError,
  QueueEmptyError,
  QueueFullError,
} from "@multiprocessing/core/errors";
import { Queue } from "../queue/queue.ts";
import { RedisConnection } from "../wire/connection.ts";
import { RUNTIMES, SOON, WAKE_MS, wakeTime } from "./fixtures/members.ts";
import { redisTest } from "./fixtures/redis_server.ts";

interface Item {
  by: string;
  i: number;
}

redisTest("Queue gives what was put, in order", async (on) => {
  const queue = new Queue<number>(on.connect(), "q");
  const other = new Queue<number>(on.connect(), "q");
  assert(await queue.empty());
  for (let i = 0; i < 10; i++) await queue.put(i);
  assertEquals(await other.qsize(), 10);
  assertFalse(await other.empty());
  assertFalse(await other.full());
  for (let i = 0; i < 5; i++) assertEquals(await other.get(), i);
  for (let i = 5; i < 10; i++) assertEquals(await queue.getNowait(), i);
  assert(await other.empty());
});

redisTest("Queue.put() and get() that nobody awaits keep their order", async (on) => {
  const connection = on.connect();
  const queue = new Queue<number>(connection, "q", { maxSize: 7 });
  const putting = Array.from({ length: 300 }, (_, i) => queue.put(i));
  const other = new Queue<number>(on.connect(), "q");
  const got = await Promise.all(Array.from({ length: 300 }, () => other.get()));
  await Promise.all(putting);
  assertEquals(got, Array.from({ length: 300 }, (_, i) => i));
});

redisTest("Queue.put() waits while the queue is full", async (on) => {
  const queue = new Queue<string>(on.connect(), "q", { maxSize: 2 });
  await queue.put("a");
  assertFalse(await queue.full());
  await queue.put("b");
  assert(await queue.full());
  const error = await assertRejects(() => queue.put("c", { timeout: 50 }), QueueFullError);
  assertEquals(error.message, 'Cannot put: Queue "q" was full for 50 ms');
  await assertRejects(() => queue.putNowait("c"), QueueFullError, 'Queue "q" is full');
  const aborter = new AbortController();
  const aborted = queue.put("c", { signal: aborter.signal });
  aborter.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  const waiting = queue.put("d");
  assertEquals(await new Queue(on.connect(), "q").get(), "a");
  await waiting;
  assertEquals([await queue.get(), await queue.get()], ["b", "d"]);
});

redisTest("Queue.get() waits while the queue is empty", async (on) => {
  const queue = new Queue<string>(on.connect(), "q");
  const error = await assertRejects(() => queue.get({ timeout: 50 }), QueueEmptyError);
  assertEquals(error.message, 'Cannot get: Queue "q" was empty for 50 ms');
  await assertRejects(() => queue.getNowait(), QueueEmptyError, 'Queue "q" is empty');
  const aborter = new AbortController();
  const aborted = queue.get({ signal: aborter.signal });
  const waiting = queue.get();
  aborter.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await new Queue(on.connect(), "q").put("a");
  assertEquals(await waiting, "a");
});

redisTest("Queue.putNowait() and getNowait() take all that there is, many at once", async (on) => {
  const queue = new Queue(on.connect(), "q", { maxSize: 100 });
  const all = Array.from({ length: 110 }, (_, i) => i);
  const puts = await Promise.allSettled(all.map((i) => queue.putNowait(i)));
  assertEquals(puts.filter(({ status }) => status === "fulfilled").length, 100);
  const gets = await Promise.allSettled(all.map(() => queue.getNowait()));
  const got = gets.flatMap((get) => get.status === "fulfilled" ? [get.value] : []);
  assertEquals(got, all.slice(0, 100));
  for (const { reason } of puts.slice(100) as PromiseRejectedResult[]) {
    assertInstanceOf(reason, QueueFullError);
  }
  for (const { reason } of gets.slice(100) as PromiseRejectedResult[]) {
    assertInstanceOf(reason, QueueEmptyError);
  }
});

redisTest("Queue.putNowait() and getNowait() take large items, some at once", async (on) => {
  const queue = new Queue<Uint8Array>(on.connect(), "q");
  const all = [1, 2, 3, 4];
  await Promise.all(all.map((n) => queue.putNowait(new Uint8Array(5_000_000).fill(n))));
  const got = await Promise.all(all.map(() => queue.getNowait()));
  assertEquals(got.map(([n]) => n), all);
});

redisTest("Queue wakes at once who waits for an item, and who waits for room", async (on) => {
  const queue = new Queue<number>(on.connect(), "q", { maxSize: 1 });
  const other = new Queue<number>(on.connect(), "q");
  assertLess(await wakeTime(() => queue.get(), (i) => other.put(i)), WAKE_MS);
  await queue.put(0);
  assertLess(await wakeTime((i) => queue.put(i), () => other.get()), WAKE_MS);
});

redisTest("Queue.close() lets getters drain it, and all others fail", async (on) => {
  const queue = new Queue<number>(on.connect(), "q", { maxSize: 2 });
  const other = new Queue<number>(on.connect(), "q");
  await queue.put(1);
  await queue.put(2);
  const putting = assertRejects(() => queue.put(3), ClosedError, 'Queue "q" is closed');
  await other.qsize();
  await other.close();
  await putting;
  await assertRejects(() => other.put(4), ClosedError);
  assertEquals(await Array.fromAsync(other), [1, 2]);
  await assertRejects(() => queue.get(), ClosedError, 'Queue "q" is closed and drained');
  await queue.delete();
  await queue.put(5);
  assertEquals(await other.get(), 5);
});

redisTest("Queue.close() wakes those who get", async (on) => {
  const queue = new Queue(on.connect(), "q");
  const other = new Queue(on.connect(), "q");
  const getting = Promise.allSettled([queue.get(), queue.get(), other.get()]);
  await assertRejects(() => queue.get({ timeout: 50 }), QueueEmptyError);
  await queue.close();
  for (const outcome of await getting) {
    assert(outcome.status === "rejected" && outcome.reason instanceof ClosedError);
  }
});

redisTest("Queue.close() gives the last items to those who get, and fails the rest", async (on) => {
  const queue = new Queue<number>(on.connect(), "q");
  await queue.put(1);
  await queue.close();
  const start = performance.now();
  const outcomes = await Promise.allSettled([queue.get(), queue.get(), queue.get()]);
  assertLess(performance.now() - start, WAKE_MS);
  assertEquals(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "rejected"]);
});

redisTest("Queue refuses what cannot be sent, and is unharmed", async (on) => {
  const queue = new Queue(on.connect(), "q");
  const error = await assertRejects(() => queue.put({ call: () => {} }), EncodingError);
  assert(error.message.includes("item.call"), error.message);
  await assertRejects(() => queue.put(new SharedArrayBuffer(8)), EncodingError);
  assertEquals(await queue.qsize(), 0);
});

redisTest("Queue carries values as they are, there and back on all runtimes", async (on) => {
  const value = {
    text: "ä😀",
    date: new Date(1e12),
    map: new Map([[1n, new Set(["x"])]]),
    floats: new Float64Array([1, -0, NaN]),
    error: new RangeError("too far", { cause: "a cause" }),
    nothing: [undefined, null, -0],
  };
  const connection = on.connect();
  const queue = new Queue<typeof value>(connection, "q");
  const echo = new Queue<typeof value>(connection, "q echo");
  for (const runtime of RUNTIMES) {
    const member = on.member(runtime, "echo", "q");
    await queue.put(value);
    const { error, ...rest } = await echo.get({ timeout: SOON });
    const { error: sent, ...expected } = value;
    assertEquals(rest, expected, runtime.name);
    assertEquals([error.name, error.message, error.cause], [sent.name, sent.message, sent.cause]);
    assert(error instanceof RangeError);
    assertEquals(await member.ended, 0);
  }
});

redisTest("Queue carries 32 MiB, and many large items at once", async (on) => {
  const queue = new Queue<Uint8Array>(on.connect(), "q");
  const large = new Uint8Array(32 * 2 ** 20).fill(7);
  await queue.put(large);
  const got32 = await queue.get();
  assertEquals([got32.length, got32.every((byte) => byte === 7)], [large.length, true]);
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => queue.put(new Uint8Array(2 ** 20).fill(i))),
  );
  const got = await Promise.all(Array.from({ length: 20 }, () => queue.get()));
  assertEquals(got.map((bytes) => bytes[99]), Array.from({ length: 20 }, (_, i) => i));
});

redisTest("Queue gives every item of three producers once to three consumers", async (on) => {
  const queue = new Queue<Item>(on.connect(), "q", { maxSize: 8 });
  assertEquals(await queue.qsize(), 0);
  await queue.put({ by: "here", i: 0 });
  const consumers = RUNTIMES.map((runtime) => on.member(runtime, "consume", "q"));
  const producers = RUNTIMES.map((runtime) =>
    on.member(runtime, "produce", "q", 300, runtime.name)
  );
  let most = 0;
  let producing = true;
  const watching = (async () => {
    while (producing) most = Math.max(most, await queue.qsize());
  })();
  for (const producer of producers) assertEquals(await producer.ended, 0);
  producing = false;
  await watching;
  await queue.close();
  const got: Item[][] = [];
  for (const consumer of consumers) got.push(JSON.parse(await consumer.line()));
  for (const consumer of consumers) assertEquals(await consumer.ended, 0);
  assertLessOrEqual(most, 8);
  const all = got.flat();
  assertEquals(all.length, 901);
  assertEquals(new Set(all.map(({ by, i }) => `${by} ${i}`)).size, 901);
  for (const items of got) {
    for (const { name } of RUNTIMES) {
      const own = items.filter(({ by }) => by === name).map(({ i }) => i);
      assertEquals(own, own.toSorted((a, b) => a - b), "an item overtook another");
    }
  }
});

for (const runtime of RUNTIMES) {
  redisTest(`Queue goes on when a getter on ${runtime.name} is killed`, async (on) => {
    const queue = new Queue<number>(on.connect(), "q", { maxSize: 1 });
    const member = on.member(runtime, "take", "q");
    await queue.put(1);
    const putting = [queue.put(2), queue.put(3)];
    assertEquals(await member.line(), "taken");
    member.signal("SIGKILL");
    await putting[0];
    assertEquals(await queue.get(), 2);
    await putting[1];
    assertEquals(await queue.get(), 3);
  });
}

redisTest("Queue gives each item once, however often connections break", async (on) => {
  const producer = new Queue<number>(on.connect(), "q", { maxSize: 5 });
  const consumer = new Queue<number>(on.connect(), "q");
  const putting = (async () => {
    let i = 0;
    for (const end = Date.now() + 1_500; Date.now() < end; i++) await producer.put(i);
    await producer.close();
    return i;
  })();
  const getting = Array.fromAsync(consumer);
  assertGreater(await on.breaking(getting), 4);
  assertEquals(await getting, Array.from({ length: await putting }, (_, i) => i));
});

redisTest("Queue.get() and put() wait through a restart of Redis, and lose nothing", async (on) => {
  const full = new Queue<number>(on.connect(), "full", { maxSize: 1 });
  const empty = new Queue<number>(on.connect(), "empty");
  await full.put(1);
  const putting = full.put(2, { timeout: SOON });
  const getting = empty.get({ timeout: SOON });
  await assertRejects(() => empty.getNowait(), QueueEmptyError);
  await on.kill();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await on.restart();
  const connection = on.connect();
  assertEquals(await new Queue(connection, "full").get(), 1);
  await putting;
  assertEquals(await full.get(), 2);
  await new Queue(connection, "empty").put(3);
  assertEquals(await getting, 3);
}, { aof: true });

redisTest("Queue.get() whose time is over while Redis is away loses no item", async (on) => {
  const queue = new Queue<number>(on.connect(), "q");
  await queue.put(1);
  await on.kill();
  await assertRejects(() => queue.get({ timeout: 50 }), QueueEmptyError);
  await on.restart();
  await queue.qsize(); // comes after the get that nobody waits for any more
  assertEquals(await new Queue(on.connect(), "q").get({ timeout: SOON }), 1);
}, { aof: true });

redisTest("Queue refuses another bound than others have set", async (on) => {
  const connection = on.connect();
  await new Queue(connection, "q", { maxSize: 2 }).put(1);
  const error = await assertRejects(
    () => new Queue(connection, "q", { maxSize: 3 }).put(1),
    RangeError,
  );
  assertEquals(
    error.message,
    `Cannot put: Queue "q" is bounded by others with a 'maxSize' of 2, but here it is 3`,
  );
  await new Queue(connection, "q").put(2);
  assert(await new Queue(connection, "q").full());
});

redisTest("Queue leaves no key that stays for ever", async (on) => {
  const queue = new Queue(on.connect(), "q", { maxSize: 2 });
  await queue.put(1);
  await queue.put(2);
  await queue.get();
  const keys = await on.client.keys("*");
  assertEquals(keys.length, 3);
  for (const key of keys) assertGreater(await on.client.pttl(key), 0);
});

test("new Queue() refuses what it cannot have", () => {
  const connection = new RedisConnection("redis://127.0.0.1:1");
  for (const maxSize of [-1, 1.5, NaN, "2" as never]) {
    assertThrows(() => new Queue(connection, "q", { maxSize }), RangeError, "'maxSize'");
  }
  assertThrows(() => new Queue(connection, "q\0"), RangeError, "its name");
  assertThrows(() => new Queue(connection, "q", { keep: 1 }), RangeError, "'keep'");
});
