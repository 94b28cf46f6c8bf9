/** What is different on one runtime, and must not be seen: these tests also run there for coverage. */

import { test } from "node:test";
import { assertEquals, assertNotStrictEquals, assertRejects } from "@std/assert";
import { TimeoutError } from "../errors.ts";
import { inside } from "../runtime/inside.ts";
import { openChannel, receive, wrapPort } from "../runtime/mod.ts";
import { Pool } from "../pool.ts";
import { soon } from "./fixtures/pool_help.ts";

test("receive() finds nothing at a port whose other end has been closed", async () => {
  const [port, raw] = openChannel();
  wrapPort(raw).close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(receive(port), undefined);
});

test("inside() replaces a close() that would end a worker unseen", () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "close");
  const close = () => {};
  Object.defineProperty(globalThis, "close", { value: close, configurable: true, writable: true });
  try {
    inside();
    assertNotStrictEquals<unknown>(globalThis.close, close);
  } finally {
    if (before === undefined) Reflect.deleteProperty(globalThis, "close");
    else Object.defineProperty(globalThis, "close", before);
  }
});

test("Pool.apply() with a timeout calls as without: results, errors, and an end of endless loops", async () => {
  const pool = new Pool({ processes: 1 });
  const options = { timeout: 20_000 };
  assertEquals(await soon(pool.apply((n: number) => n + 1, [1], options)), 2);
  const fail = () => {
    throw new RangeError("its own");
  };
  await assertRejects(() => soon(pool.apply(fail, [], options)), RangeError, "its own");
  const loop = () => {
    for (;;);
  };
  await assertRejects(() => soon(pool.apply(loop, [], { timeout: 50, grace: 100 })), TimeoutError);
  assertEquals(await soon(pool.apply((n: number) => n + 1, [2], options)), 3);
  pool.close();
  await soon(pool.join());
});
