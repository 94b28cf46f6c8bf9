/** A pool forgets functions that have long been idle, and learns them again. */

import { test } from "node:test";
import { assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { Definitions } from "../wire/pool/definitions.ts";
import { withPool } from "./fixtures/pool_help.ts";

/** So many functions a pool knows at least. */
const KEPT = 1000;

const add = (n: number) => new Function("a", `return a + ${n}`) as (a: number) => number;

test("Definitions forgets the oldest function that no task uses, and tells the workers so", () => {
  const messages: { index: number; target: unknown }[] = [];
  const port = { post: (message: never) => void messages.push(message) };
  const definitions = new Definitions(() => [{ port } as never]);
  const used = definitions.define(add(0));
  used.users++;
  const idle = definitions.define(add(1));
  for (let n = 2; n < KEPT; n++) definitions.define(add(n));
  assertEquals(messages.length, KEPT);
  definitions.define(add(KEPT));
  assertEquals(messages.at(-1), { index: idle.index, target: null });
  assertEquals(messages.filter(({ target }) => target === null).length, 1);
  assertStrictEquals(definitions.define(add(0)), used);
  assertNotStrictEquals(definitions.define(add(1)), idle);
});

test("Pool.apply() goes on with more functions than a pool keeps, and with the first ones again", () => {
  return withPool({ processes: 1 }, async (pool) => {
    for (let n = 0; n < KEPT + 100; n += 100) {
      const results = await Promise.all(
        Array.from({ length: 100 }, (_, i) => pool.apply(add(n + i), [1])),
      );
      assertEquals(results, Array.from({ length: 100 }, (_, i) => n + i + 1));
    }
    assertEquals(await Promise.all([0, 1, KEPT].map((n) => pool.apply(add(n), [2]))), [2, 3, 1002]);
  });
});
