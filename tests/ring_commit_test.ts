/** What a consumer of a ring finds when the ring changes just before its commit. */

import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { CLOSED, DONE, type Item, Ring } from "../memory/ring.ts";
import { COUNT_STEP, GETS } from "../memory/ring_layout.ts";

const item = (a: number): Item => ({ bytes: Uint8Array.of(a), length: 1, tag: 0, a, b: 0 });

function ringOf(...numbers: number[]): Ring {
  const ring = Ring.create({ capacity: 4096, maxItems: 0 });
  for (const number of numbers) assertEquals(ring.tryPut(item(number)), DONE);
  return ring;
}

test("Ring.tryGet() gets its item though the ring is closed amid it, and the rest drains", () => {
  const ring = ringOf(1, 2);
  assertEquals(ring.tryGet({ take: () => ring.close() }), DONE);
  assertEquals(ring.inbox.a, 1);
  assert(ring.closed);
  assertEquals(ring.size, 1);
  assertEquals(ring.tryPut(item(3)), CLOSED);
  assertEquals(ring.tryGet(), DONE);
  assertEquals(ring.inbox.a, 2);
  assertEquals(ring.tryGet(), CLOSED);
});

test("Ring.tryGet() fails if another has taken its turn over and got the item meanwhile", () => {
  const ring = ringOf(1, 2);
  const takeOver = () => void (ring.cells[GETS]! += COUNT_STEP);
  assertThrows(() => ring.tryGet({ take: takeOver }), Error, "The consumers' turn was taken over");
  assertEquals(ring.tryGet(), DONE);
  assertEquals(ring.inbox.a, 2);
  assertEquals(ring.size, 0);
});
