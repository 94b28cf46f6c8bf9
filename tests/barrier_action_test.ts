/** The action of a barrier in a program that has loaded neither processes nor pools. */

import { test } from "node:test";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { EncodingError } from "../errors.ts";
import { Queue } from "../queue.ts";
import { Barrier, Event, Lock } from "../sync.ts";

test("Barrier with an action can be sent once the parser is loaded, and says so before", async () => {
  const queue = new Queue<Barrier>();
  const barrier = new Barrier(1, { action: () => {} });
  await assertRejects(
    () => queue.put(barrier),
    EncodingError,
    "its action cannot be read here; import @multiprocessing/core/process in this process, too",
  );
  assertEquals(queue.qsize(), 0);

  await import("../process.ts");
  await queue.put(barrier);
  const received = await queue.get();
  assertInstanceOf(received, Barrier);
  assertEquals(await received.wait(), 0);
});

test("Barrier's action may name the library's exports", async () => {
  const { closure } = await import("../target.ts");
  const queue = new Queue<Barrier>();
  const free = new Event();
  const action = closure(() => {
    new Lock();
    free.set();
  }, { Lock, free });
  await queue.put(new Barrier(1, { action }));
  assertEquals(await (await queue.get()).wait(), 0);
  assertEquals(free.isSet(), true);
});
