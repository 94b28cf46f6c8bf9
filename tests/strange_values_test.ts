/** Values that throw when they are looked at, or are not what they seem; and messages made by nobody. */

import { runInNewContext } from "node:vm";
import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { decode, encode } from "../wire/codec/codec.ts";
import { describe, show } from "../memory/show.ts";
import { toEnvelope } from "../wire/codec/error_envelope.ts";
import { checkTransferables } from "../wire/codec/graph.ts";

function cross(value: unknown, attachments?: unknown[]): unknown {
  const encoded = encode(value);
  return decode(encoded.bytes, 0, encoded.length, attachments ?? encoded.attachments);
}

/** Throws at every look. */
function hostile(target: object): object {
  return new Proxy(
    target,
    new Proxy({}, {
      get: () => () => {
        throw new RangeError("do not look");
      },
    }),
  );
}

test("describe() and show() have words for what throws at every look", () => {
  assertEquals(describe(hostile({})), "a object");
  assertEquals(show(hostile(() => {})), "a function");
});

test("toEnvelope() makes a plain error of one that tells nothing", () => {
  const envelope = toEnvelope(hostile(new Error("hidden")) as Error);
  assertEquals(envelope.class, "Error");
  assertEquals([envelope.hidden, envelope.visible], [[], []]);
  assertEquals(envelope.message, "RangeError: do not look");
});

test("checkTransferables() throws what looking at one of them throws", () => {
  assertThrows(() => checkTransferables("apply", [hostile({})]), RangeError, "do not look");
});

test("encode() sends instances of a tagged class of the user's as plain objects", () => {
  class Money {
    readonly [Symbol.toStringTag] = "Money";
    readonly amount = 3;
  }
  assertEquals(cross({ price: new Money() }), { price: { amount: 3 } });
});

test("encode() sends a Map of another realm as a Map", () => {
  const foreign = runInNewContext("new Map([[1, { two: 2 }]])");
  assert(!(foreign instanceof Map));
  const { map } = cross({ map: foreign }) as { map: unknown };
  assertInstanceOf(map, Map);
  assertEquals(map, new Map([[1, { two: 2 }]]));
});

test("encode() describes those of an error's parts that cannot be sent, one by one", () => {
  const parts = [new TypeError("one"), hostile({}), 3];
  const error = cross(new AggregateError(parts, "all")) as AggregateError;
  assertInstanceOf(error.errors[0], TypeError);
  assertEquals(error.errors.slice(1), ["a object", 3]);
  const closed = Object.assign(new AggregateError([], "all"), { errors: hostile([]) });
  assertEquals((cross(closed) as AggregateError).errors as unknown, "a object");
});

test("decode() refuses a message whose attachments are missing", () => {
  assertThrows(() => cross({ memory: new SharedArrayBuffer(4) }, []), Error, "attachment 0 of 0");
});
