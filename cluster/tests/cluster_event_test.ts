/** The cluster's Event: nobody who waits misses a set. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { RedisConnection } from "../wire/connection.ts";
import { Event } from "../sync/event.ts";
import { RUNTIMES, SOON, WAKE_MS, wakeTime } from "./fixtures/members.ts";
import { redisTest } from "./fixtures/redis_server.ts";

redisTest("Event is not set at first, and then as it was set or cleared last", async (on) => {
  const event = new Event(on.connect(), "e");
  const other = new Event(on.connect(), "e");
  assertFalse(await event.isSet());
  await event.clear();
  await event.set();
  await event.set();
  assert(await other.isSet());
  assert(await other.wait());
  await other.clear();
  assertFalse(await event.isSet());
  await event.set();
  await event.delete();
  assertFalse(await other.isSet());
});

redisTest("Event.wait() gives false when its timeout is over", async (on) => {
  const event = new Event(on.connect(), "e");
  assertFalse(await event.wait({ timeout: 50 }));
  assertFalse(await event.wait({ timeout: 0 }));
  await event.set();
  assert(await event.wait({ timeout: 0 }));
});

redisTest("Event.wait() rejects with its signal's reason", async (on) => {
  const event = new Event(on.connect(), "e");
  const aborter = new AbortController();
  const waiting = event.wait({ signal: aborter.signal });
  await event.isSet();
  aborter.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  await assertRejects(() => event.wait({ signal: aborter.signal }), Error, "enough");
});

redisTest("Event.set() lets all pass who wait, though it is cleared at once", async (on) => {
  const connection = on.connect();
  const event = new Event(on.connect(), "e");
  const waiting = Array.from({ length: 20 }, () => event.wait());
  assertFalse(await event.wait({ timeout: 0 })); // now all have looked
  const other = new Event(connection, "e");
  await Promise.all([other.set(), other.clear()]);
  assertEquals(new Set(await Promise.all(waiting)), new Set([true]));
  assertFalse(await event.wait({ timeout: 50 }), "a late one has passed");
});

redisTest("Event.set() wakes at once who waits", async (on) => {
  const event = new Event(on.connect(), "e");
  const other = new Event(on.connect(), "e");
  const time = await wakeTime(
    async () => {
      await event.wait();
      await event.clear();
    },
    () => other.set(),
  );
  assertLess(time, WAKE_MS);
});

redisTest("Event.set() wakes programs on all runtimes", async (on) => {
  const members = RUNTIMES.map((runtime) => on.member(runtime, "waitForEvent", "e"));
  for (const member of members) assertEquals(await member.line(), "waiting");
  await new Event(on.connect(), "e").set();
  for (const member of members) {
    assertEquals(await member.line(), "true");
    assertEquals(await member.ended, 0);
  }
});

redisTest("Event.wait() waits through a restart of Redis that has forgotten it", async (on) => {
  const event = new Event(on.connect(), "e");
  await event.set();
  await event.clear();
  const waiting = event.wait({ timeout: SOON });
  assertFalse(await event.wait({ timeout: 0 }));
  await on.kill();
  await on.restart();
  assertFalse(await event.isSet());
  let passed = false;
  void waiting.then(() => passed = true);
  assertFalse(await event.wait({ timeout: 1_500 }));
  assertFalse(passed, "the restart was taken for a set");
  await new Event(on.connect(), "e").set();
  assert(await waiting);
});

redisTest("Event is kept for a week from its last use, or as long as wished", async (on) => {
  const connection = on.connect();
  await new Event(connection, "week").set();
  await new Event(connection, "ever", { keep: Infinity }).set();
  assertGreater(await on.client.pttl("mp:{default}:event:week"), 6 * 86_400_000);
  assertEquals(await on.client.pttl("mp:{default}:event:ever"), -1);
});

test("new Event() refuses what it cannot have", () => {
  const connection = new RedisConnection("redis://127.0.0.1:1");
  assertThrows(() => new Event(connection, ""), RangeError, "its name");
  assertThrows(() => new Event(connection, "e", { keep: -1 }), RangeError, "'keep'");
});
