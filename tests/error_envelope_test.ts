/** Errors keep class, name, message, stack, own properties, cause and errors. */

import { test } from "node:test";
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import * as library from "../errors.ts";
import { decode, encode } from "../wire/codec/codec.ts";
import { fromEnvelope, registerErrorClass, toEnvelope } from "../wire/codec/error_envelope.ts";

function cross<T>(error: T): T {
  const { bytes, length, attachments } = encode(error);
  return decode(bytes.slice(0, length), 0, length, attachments) as T;
}

type Loose = Error & Record<string, unknown>;

class HttpError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.name = "HttpError";
    this.status = status;
  }
}
class NotFoundError extends HttpError {}
class UnknownError extends TypeError {
  override name = "UnknownError";
}
registerErrorClass(HttpError);

/** Same class, name, message, stack, and a real error. */
function assertAlike(
  actual: Error,
  expected: Error,
  prototype = Object.getPrototypeOf(expected),
): void {
  assertStrictEquals(Object.getPrototypeOf(actual), prototype);
  assertEquals(actual.name, expected.name);
  assertEquals(actual.message, expected.message);
  assertEquals(actual.stack, expected.stack);
  const tag = Object.prototype.toString;
  assertEquals(tag.call(actual), tag.call(expected));
}

const globals = globalThis as unknown as Record<string, new (message?: string) => Error>;
const SINGLE_MESSAGE = [
  "Error",
  "EvalError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "TypeError",
  "URIError",
];

test("errors of built-in classes keep their class", () => {
  for (const name of SINGLE_MESSAGE) {
    for (const message of ["why", ""]) {
      const error = new globals[name]!(message);
      assertAlike(cross(error), error);
      assertAlike(cross({ deep: [error] }).deep[0]!, error);
      assertAlike(fromEnvelope(toEnvelope(error)), error);
      assertEquals(Object.keys(cross(error)), []);
    }
  }
});

test("AggregateError keeps its errors", () => {
  const error = new AggregateError([new RangeError("one"), "two", { three: 3 }], "all");
  const arrived = cross(error);
  assertAlike(arrived, error);
  assertAlike(arrived.errors[0], error.errors[0]);
  assertEquals(arrived.errors.slice(1), ["two", { three: 3 }]);
});

test("SuppressedError keeps both errors, where the runtime has it", () => {
  const { SuppressedError } = globalThis as unknown as {
    SuppressedError?: new (error: unknown, suppressed: unknown, message: string) => Loose;
  };
  if (SuppressedError === undefined) return;
  const error = new SuppressedError(new TypeError("late"), "early", "both");
  const arrived = cross(error);
  assertAlike(arrived, error);
  assertAlike(arrived.error as Error, error.error as Error);
  assertEquals(arrived.suppressed, "early");
});

test("DOMException keeps name, code and class", () => {
  const error = new DOMException("stopped", "AbortError");
  const arrived = cross(error);
  assertAlike(arrived, error);
  assertEquals([arrived.name, arrived.code], ["AbortError", 20]);
});

test("the library's errors keep their class", () => {
  for (const [name, ctor] of Object.entries(library)) {
    const lost = { exitCode: -9, pid: 7, processName: "Process-7" };
    const error = new (ctor as unknown as new (...args: unknown[]) => Error)("why", lost, {
      cause: "it",
    });
    const arrived = cross(error);
    assertAlike(arrived, error);
    assertEquals(arrived.name, name);
    assert(arrived instanceof library.MultiprocessingError);
  }
  const lost = { exitCode: -9, pid: 7, processName: "Process-7" };
  const error = new library.ProcessLostError("gone", lost, { cause: new TypeError("why") });
  const { exitCode, pid, processName, cause } = cross(error);
  assertEquals({ exitCode, pid, processName }, lost);
  assertAlike(cause as Error, error.cause as Error);
});

test("registerErrorClass() lets a user's class cross", () => {
  const error = new HttpError("no such page", 404);
  const arrived = cross(error);
  assertAlike(arrived, error);
  assertEquals(arrived.status, 404);
});

test("errors of unknown classes arrive as the nearest class known, with their name", () => {
  const missing = new NotFoundError("no", 404);
  assertAlike(cross(missing), missing, HttpError.prototype);
  const unknown = new UnknownError("what");
  assertAlike(cross(unknown), unknown, TypeError.prototype);
  const local = new (class LocalError extends Error {
    override name = "LocalError";
  })("here");
  assertAlike(cross(local), local, Error.prototype);
  const envelope = { ...toEnvelope(local), class: "NobodyKnows" };
  assertAlike(fromEnvelope(envelope), local, Error.prototype);
});

test("registerErrorClass() refuses what is no class of errors, and names that are taken", () => {
  const register = registerErrorClass as (ctor: unknown) => void;
  assertThrows(() => register(Map), TypeError, "must be a class with a name and extend Error");
  assertThrows(() => register(class extends Error {}), TypeError, "with a name");
  const taken = Object.defineProperty(class extends Error {}, "name", { value: "TypeError" });
  assertThrows(() => register(taken), TypeError, "Cannot register error class TypeError");
  register(HttpError);
  register(library.ClosedError);
});

test("errors keep own properties, and drop those that cannot be sent", () => {
  const error = Object.assign(new Error("no such file"), {
    code: "ENOENT",
    details: { path: "/a", at: new Date(0) },
    retry: () => 1,
    deep: { list: [Symbol()] },
  }) as unknown as Loose;
  Object.defineProperty(error, "hidden", { value: 1 });
  const arrived = cross(error);
  assertEquals(Object.keys(arrived).sort(), ["code", "details"]);
  assertEquals(arrived.code, "ENOENT");
  assertEquals(arrived.details, { path: "/a", at: new Date(0) });
});

test("cause may be anything: an error, a value, the error itself", () => {
  const values = ["text", undefined, null, 5, { a: [1] }];
  for (const cause of values) {
    const arrived = cross(new Error("outer", { cause }));
    assertEquals(arrived.cause, cause);
    assert(Object.hasOwn(arrived, "cause"));
    assertEquals(Object.keys(arrived), []);
  }
  assert(!Object.hasOwn(cross(new Error("none")), "cause"));
  const inner = new RangeError("inner", { cause: new HttpError("root", 500) });
  const arrived = cross(new Error("outer", { cause: inner }));
  assertAlike(arrived.cause as Error, inner);
  assertAlike((arrived.cause as Error).cause as Error, inner.cause as Error);
  const loop = new Error("loop");
  loop.cause = { again: [loop] };
  const looped = cross(loop);
  assertStrictEquals((looped.cause as { again: Error[] }).again[0], looped);
});

test("cause and errors that cannot be sent are described", () => {
  const named = function named() {};
  assertEquals(cross(new Error("", { cause: named })).cause, "function named");
  assertEquals(cross(new Error("", { cause: { named } })).cause, "[object Object]");
  assertEquals(cross(new Error("", { cause: new WeakMap() })).cause, "[object WeakMap]");
  const errors = [new TypeError("one"), named, Symbol("s")];
  const arrived = cross(new AggregateError(errors)).errors;
  assertAlike(arrived[0], errors[0] as Error);
  assertEquals(arrived.slice(1), ["function named", "Symbol(s)"]);
  const { port1, port2 } = new MessageChannel();
  assertEquals(typeof cross(new Error("", { cause: port1 })).cause, "string");
  port1.close();
  port2.close();
});

test("what was dropped from an error leaves no trace in the message", () => {
  const memory = new SharedArrayBuffer(4);
  const shared = { "\ud800": 1, memory };
  const error = Object.assign(new Error("x"), { bad: [shared, () => 1] });
  const encoded = encode([error, shared]);
  assertEquals(encoded.attachments, [memory]);
  const [arrived, other] = cross([error, shared] as const);
  assertEquals("bad" in arrived, false);
  assertEquals(other["\ud800"], 1);
  assertStrictEquals(other.memory, memory);
});

test("no error is so odd that it cannot be sent", () => {
  const throwing = new Error("x");
  for (const key of ["name", "message", "stack", "cause", "code"]) {
    Object.defineProperty(throwing, key, {
      get() {
        throw new Error("getter");
      },
      enumerable: true,
    });
  }
  assertEquals(cross(throwing).message, "Error: getter");
  const odd = Object.assign(new Error("x"), {
    name: 5,
    message: { toString: 1 },
    stack: undefined,
  });
  assertEquals(cross(odd as unknown as Error).name as unknown, "5");
  assert(cross(Object.create(Error.prototype)) instanceof Error);
  const proxied = new Proxy(new Error("x"), {
    ownKeys() {
      throw new Error("trap");
    },
  });
  assertEquals(cross(proxied).message, "x");
  let chain = new Error("end");
  for (let level = 0; level < 5000; level++) chain = new Error(`${level}`, { cause: chain });
  const arrived = cross(chain);
  assertEquals(arrived.message, "4999");
  assertEquals((arrived.cause as Error).message, "4998");
});
