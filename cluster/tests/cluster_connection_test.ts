/** The connection to Redis that the cluster's primitives share. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { ClosedError, TimeoutError } from "@multiprocessing/core/errors";
import { Redis } from "ioredis";
import { Queue } from "../queue/queue.ts";
import { RedisConnection } from "../wire/connection.ts";
import { SCRIPTS } from "../wire/scripts.ts";
import { keepSubscribed } from "../wire/subscriptions.ts";
import { Value } from "../shared/value.ts";
import { Lock } from "../sync/lock.ts";
import { freePort, redisTest } from "./fixtures/redis_server.ts";
import { kept, until } from "./fixtures/site.ts";

test("new RedisConnection() refuses URLs, names and numbers that it cannot use", () => {
  const refused: [string, string][] = [
    ["nonsense", "Cannot connect: the URL is none, such as redis://host:6379"],
    ["http://host", "must begin with redis:, rediss:, unix: or redis+unix:, but begins with http:"],
    ["redis://host/one", "the database, after the host's slash, must be a number"],
    ["redis://:50%off@host", "a percent sign of the URL begins no code; within a password write"],
    ["unix://host/path", "the URL of a socket is unix:///path/of/the.sock"],
    ["redis+unix:///", "the URL of a socket is redis+unix:///path/of/the.sock"],
  ];
  for (const [url, message] of refused) {
    assertThrows(() => new RedisConnection(url), TypeError, message);
  }
  for (const name of ["", "a{b", "a}b", "a\0"]) {
    assertThrows(() => new RedisConnection("redis://host", { name }), RangeError, "Cannot create");
  }
  for (const patience of [-1, NaN, 120_001]) {
    assertThrows(() => new RedisConnection("redis://host", { patience }), RangeError, "'patience'");
  }
});

test("new RedisConnection() does not show the password of a URL that it refuses", () => {
  for (const secret of ["se#cret", "se/cret", "se?cret", "50%cret", "12/cret"]) {
    const error = assertThrows(
      () => new RedisConnection(`redis://u:${secret}@host:6379`),
      TypeError,
      "within a password write / ? # @ %",
    );
    assertFalse(error.message.includes("cret"), error.message);
  }
});

redisTest("RedisConnection takes sockets by both forms of URL, and a database", async (on) => {
  const first = new RedisConnection(`redis+unix://${on.socket}?db=3`);
  const second = new RedisConnection(new URL(`unix://${on.socket}?db=3`));
  await new Value(first, "v").set(7);
  assertEquals(await new Value(second, "v").get(), 7);
  assertEquals(await new Value(on.connect(), "v").get(), 0);
  await Promise.all([first.close(), second.close()]);
});

test("RedisConnection gives up a Redis that is not there when its patience is over", async () => {
  const port = await freePort();
  const connection = new RedisConnection(`redis://:secret@127.0.0.1:${port}`, { patience: 300 });
  const error = await assertRejects(() => new Value(connection, "v").get(), TimeoutError);
  assertEquals(error.message, `Cannot reach Redis at 127.0.0.1:${port} within 300 ms`);
  assertInstanceOf(error.cause, Error);
  await assertRejects(() => new Lock(connection, "a").acquire(), TimeoutError, "Cannot reach");
  await connection.close();
});

redisTest("RedisConnection finds a Redis that comes late", async (on) => {
  await on.kill();
  const value = new Value(on.connect(), "v");
  const adding = value.add(1);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await on.restart();
  assertEquals(await adding, 0);
  assertEquals(await value.get(), 1);
});

redisTest("RedisConnection logs in, and says at once that it may not", async (on) => {
  const address = await on.listen("s/ecret");
  const free = address.slice(address.lastIndexOf(":") + 1);
  const right = new RedisConnection(`redis://${address}/2`);
  assertEquals(await new Value(right, "v").add(1), 0);
  await right.close();
  const wrongs: [string, string][] = [
    [`redis://default:wrong@127.0.0.1:${free}`, "WRONGPASS"],
    [`redis://127.0.0.1:${free}`, "NOAUTH"],
    [`redis://${address}/99`, "DB index is out of range"],
  ];
  for (const [url, message] of wrongs) {
    const wrong = new RedisConnection(url);
    await assertRejects(() => new Value(wrong, "v").get(), Error, message);
    await assertRejects(() => new Value(wrong, "v").get(), Error, message);
    await wrong.close();
  }
});

redisTest("RedisConnection.close() ends what waits, and what comes later", async (on) => {
  const connection = on.connect();
  const lock = new Lock(connection, "a");
  const guard = await lock.acquire();
  const waiting = [lock.acquire(), new Queue(connection, "q").get()];
  const outcomes = Promise.allSettled(waiting);
  assertEquals(await lock.tryAcquire(), null); // now the first one has asked, too
  await connection.close();
  await connection.close();
  for (const outcome of await outcomes) {
    assert(outcome.status === "rejected" && outcome.reason instanceof ClosedError);
  }
  await assertRejects(() => lock.acquire(), ClosedError, "its connection is closed");
  await assertRejects(() => guard.release(), ClosedError);
  const unused = on.connect();
  await unused.close();
  await assertRejects(() => new Value(unused, "v").get(), ClosedError);
});

redisTest("RedisConnection sends scripts anew that Redis has forgotten", async (on) => {
  const value = new Value(on.connect(), "v");
  await value.add(1);
  await on.client.script("FLUSH");
  assertEquals(await value.add(1), 1);
});

redisTest("RedisConnection passes on what Redis says", async (on) => {
  await on.client.set("mp:{default}:value:v", "no hash");
  await assertRejects(() => new Value(on.connect(), "v").get(), Error, "WRONGTYPE");
});

redisTest("RedisConnection opens two sockets, however many wait", async (on) => {
  const connection = on.connect();
  await on.client.ping();
  const queues = Array.from({ length: 20 }, (_, i) => new Queue(connection, `q${i}`));
  const waiting = queues.map((queue) => kept(queue.get()));
  const clients = async () => {
    const text = await on.client.info("clients");
    return Number(/connected_clients:(\d+)/.exec(text)![1]);
  };
  await until(async () => await clients() >= 3, "two sockets, and the test's own");
  await assertRejects(() => queues[0]!.get({ timeout: 100 }));
  assertEquals(await clients(), 3);
  await Promise.all(queues.map((queue, i) => queue.put(i)));
  assertEquals(await Promise.all(waiting), queues.map((_, i) => i));
});

redisTest("RedisConnection hears of changes again that was broken while idle", async (on) => {
  const guard = await new Lock(on.connect(), "a", { lease: 60_000 }).acquire();
  const connection = on.connect();
  const lock = new Lock(connection, "a", { lease: 60_000 });
  const times: number[] = [];
  let held = guard;
  for (let i = 0; i < 5; i++) {
    await assertRejects(() => lock.acquire({ timeout: 20 }), TimeoutError);
    await on.breaking(new Promise((resolve) => setTimeout(resolve, 100)));
    const next = lock.acquire();
    await until(async () => await on.subscribers(connection.key("lock", "a")) === 1, "subscribed");
    const start = performance.now();
    await held.release();
    held = await next;
    times.push(performance.now() - start);
  }
  // Who looks only once a second needs 700 ms here.
  assertLess(times.toSorted((a, b) => a - b)[2]!, 400);
});

redisTest("RedisConnection subscribes to what it asked a broken connection for", async (on) => {
  const connection = on.connect();
  connection.hold();
  const counts = () => Promise.all(["first", "second"].map((name) => on.subscribers(name)));
  const heard = { first: 0, second: 0 };
  connection.listen("first", () => heard.first++);
  await until(async () => (await counts())[0] === 1, "subscribed to the first");
  const before = heard.first;
  on.breakUnnoticed("pubsub");
  connection.listen("second", () => heard.second++);
  await until(async () => (await counts()).join() === "1,1", "subscribed to both");
  // Something may have been missed.
  await until(() => heard.first > before && heard.second > 0, "told so");
  connection.release();
});

redisTest("keepSubscribed() asks each new connection for all, until one has it", async (on) => {
  const client = new Redis({
    path: on.socket,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
  });
  client.on("error", () => {});
  const names = ["one"];
  let breaks = 0;
  // Three times the connection breaks after it was made, and before it has subscribed.
  client.on("ready", () => {
    if (breaks++ < 3) on.breakUnnoticed("normal");
  });
  let times = 0;
  await keepSubscribed(client, () => names, () => times++);
  assertEquals([breaks, times, await on.subscribers("one")], [4, 1, 1]);
  names.push("two");
  on.breakUnnoticed("pubsub");
  await until(() => times === 2, "subscribed anew");
  assertEquals([await on.subscribers("one"), await on.subscribers("two")], [1, 1]);
  client.disconnect();
});

redisTest("keepSubscribed() rejects when Redis refuses", async (on) => {
  await on.client.call("ACL", "SETUSER", "default", "resetchannels");
  const client = new Redis({ path: on.socket, autoResubscribe: false });
  await assertRejects(() => keepSubscribed(client, () => ["one"]), Error, "NOPERM");
  client.disconnect();
});

test("SCRIPTS has each script once, and none uses a key that it does not name", () => {
  assertEquals(new Set(SCRIPTS.map(({ name }) => name)).size, SCRIPTS.length);
  for (const { name, lua, keys, once } of SCRIPTS) {
    const used = [...lua.matchAll(/KEYS\[(\d+)\]/g)].map((match) => Number(match[1]));
    assert(Math.max(...used) <= keys + (once ? 1 : 0), name);
  }
});
