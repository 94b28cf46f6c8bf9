/** A process loads the classes that can be shared when it first gets something that may hold one. */

import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { shareableNamed } from "../wire/codec/shareable.ts";
import { EncodingError, ProcessLostError } from "../errors.ts";
import { until, withPool } from "./fixtures/pool_help.ts";

const MAKERS = new URL("./fixtures/shareable_makers.ts", import.meta.url).href;
const LISTENER = new URL("./fixtures/reason_listener.ts", import.meta.url).href;

// The tests of this file are in order: only before the first is this program without those classes.

test("a program that imports only pools has not loaded them", () => {
  assertEquals(shareableNamed("Value"), undefined);
  assertEquals(shareableNamed("Lock"), undefined);
});

test("it gets what a task has made all the same", () => {
  return withPool({ processes: 1 }, async (pool) => {
    const value = await pool.apply({ module: MAKERS, name: "makeValue" }, [7]);
    const { Value } = await import("../shared.ts");
    assertInstanceOf(value, Value);
    assertEquals(value.value, 7);
    assert(shareableNamed("Connection") !== undefined, "one loads them all");
  });
});

test("a worker gets it too: as an argument, in an error, through a pipe of its own", () => {
  return withPool({ processes: 1 }, async (pool) => {
    const { SharedArray } = await import("../shared.ts");
    const { Lock } = await import("../sync.ts");
    const array = new SharedArray("i32", [1, 2, 3]);
    assertEquals(await pool.apply((a: typeof array) => a.array[2], [array]), 3);
    assertEquals(await pool.apply({ module: MAKERS, name: "sendThroughPipe" }, [array]), 2);
    const error = await assertRejects(() => pool.apply({ module: MAKERS, name: "throwLock" }));
    assertInstanceOf((error as { lock: unknown }).lock, Lock);
  });
});

test("a result of a class that only the worker knows rejects, and the pool goes on", () => {
  return withPool({ processes: 1 }, async (pool) => {
    const call = () => pool.apply({ module: MAKERS, name: "makeSecret" });
    await assertRejects(call, EncodingError, 'knows no shareable "Secret"');
    assertEquals(await pool.apply((n: number) => n + 1, [1]), 2);
  });
});

test("last words that only the worker understands hold nothing up", () => {
  return withPool({ processes: 1 }, async (pool) => {
    const call = () => pool.apply({ module: MAKERS, name: "dieOfSecret" });
    await assertRejects(call, ProcessLostError);
    assertEquals(await pool.apply((n: number) => n + 1, [1]), 2);
  });
});

test("a task is told to stop also when its worker cannot know the reason yet", () => {
  return withPool({ processes: 1 }, async (pool) => {
    const { Lock } = await import("../sync.ts");
    const reason = Object.assign(new Error("enough"), { lock: new Lock() });
    const heard = { module: LISTENER, name: "heardReason" };
    let told: unknown;
    // Until it was told after it had begun.
    while ((told = await pool.apply(heard)) === undefined) {
      const controller = new AbortController();
      const options = { signal: controller.signal, grace: Infinity };
      const call = pool.apply({ module: LISTENER, name: "hearReason" }, [], options);
      const failed = assertRejects(() => call, Error, "enough");
      await until(() => pool.stats().running === 1, "the task to run");
      controller.abort(reason);
      await failed;
    }
    assertEquals(told, true);
  });
});
