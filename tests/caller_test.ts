/** The stacks of errors that cannot be changed, or that reject several calls. */

import { test } from "node:test";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { NO_SOURCES, rethrow } from "../wire/pool/caller.ts";

test("rethrow() throws an error whose stack cannot be changed as it is", async () => {
  const error = new Error("fixed");
  const stack = "Error: fixed\n    at task (file:///home/me/task.ts:3:4)";
  Object.defineProperty(error, "stack", { value: stack, writable: false });
  assertStrictEquals(await assertRejects(() => rethrow(error, undefined, NO_SOURCES)), error);
  assertEquals(error.stack, stack);
});

test("rethrow() adds the caller's frames once, however many calls an error rejects", async () => {
  const mark = new Error();
  mark.stack = "Error\n    at caller (file:///home/me/main.ts:1:2)";
  const error = new Error("twice");
  error.stack = "Error: twice\n    at task (file:///home/me/task.ts:3:4)";
  const expected = `${error.stack}\n    at caller (file:///home/me/main.ts:1:2)`;
  for (let call = 0; call < 2; call++) {
    assertStrictEquals(await assertRejects(() => rethrow(error, mark, NO_SOURCES)), error);
    assertEquals(error.stack, expected);
  }
});

test("rethrow() throws what is no error, and an error without a stack, as they are", async () => {
  const bare = Object.assign(new Error("bare"), { stack: undefined });
  for (const thrown of ["text", undefined, bare]) {
    const caught = await rethrow(thrown, undefined, NO_SOURCES).catch((error) => [error]);
    assertStrictEquals((caught as unknown[])[0], thrown);
  }
  assertEquals(bare.stack, undefined);
});
