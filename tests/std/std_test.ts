/** The stand-ins of @std behave as the tests need them, alike on every runtime. */

import { test } from "node:test";
import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotStrictEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  equal,
  fail,
  unreachable,
} from "@std/assert";
import { abortable, deadline, delay, retry, RetryError } from "@std/async";
import { assertSpyCalls, spy, stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";

class Point {
  #x: number;
  constructor(x: number) {
    this.#x = x;
  }
  get x(): number {
    return this.#x;
  }
}

const cycle = (): unknown => {
  const a: unknown[] = [1];
  a.push(a);
  return a;
};

const shared = (byte: number) => {
  const buffer = new SharedArrayBuffer(2);
  new Uint8Array(buffer)[1] = byte;
  return buffer;
};

test("equal() holds for values alike in structure and class", () => {
  const pairs: [unknown, unknown][] = [
    [0, -0],
    [NaN, NaN],
    [10n, 10n],
    [{ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [new Map([[{ k: 1 }, 1]]), new Map([[{ k: 1 }, 1]])],
    [new Map([["a", 1], ["b", 2]]), new Map([["b", 2], ["a", 1]])],
    [new Set([[1], [2]]), new Set([[2], [1]])],
    [new Uint8Array([1, 2]), new Uint8Array([1, 2])],
    [new Float64Array([NaN]), new Float64Array([NaN])],
    [new Uint8Array([1]).buffer, new Uint8Array([1]).buffer],
    [shared(3), shared(3)],
    [new Date(5), new Date(5)],
    [/a/g, /a/g],
    [new URL("http://a/b"), new URL("http://a/b")],
    [new Point(1), new Point(1)],
    [cycle(), cycle()],
  ];
  for (const [a, b] of pairs) assertEquals(a, b);
});

test("equal() is strict", () => {
  const pairs: [unknown, unknown][] = [
    [1, "1"],
    [null, undefined],
    [1, 1n],
    [{ a: undefined }, {}],
    [{ a: undefined }, { b: undefined }],
    [[1, 2], [1, 2, 3]],
    [[undefined], []],
    [[1], { 0: 1 }],
    [new Set([1]), new Set(["1"])],
    [new Set([[1], [1]]), new Set([[1], [2]])],
    [new Set([[1], [2]]), new Set([[1], [1]])],
    [new Map([["a", 1]]), new Map([["a", 2]])],
    [new Map([["a", 1]]), new Set(["a"])],
    [new Uint8Array([1, 2]), new Uint8Array([1, 3])],
    [new Uint8Array([1]), new Int8Array([1])],
    [new Uint8Array([1, 2]), new Uint8Array([1])],
    [shared(1), shared(2)],
    [new Date(5), new Date(6)],
    [/a/g, /a/i],
    [new Point(1), new Point(2)],
    [new Point(1), { x: 1 }],
    [new Error("a"), new Error("b")],
    [() => 1, () => 1],
    [Symbol("a"), Symbol("a")],
  ];
  for (const [a, b] of pairs) {
    assertFalse(equal(a, b), `${String(a)} and ${String(b)} are not equal`);
    assertNotEquals(a, b);
  }
  assertThrows(() => equal(new WeakMap(), new WeakMap()), TypeError, "Cannot compare WeakMap");
});

test("assertions fail with the messages of @std/assert", () => {
  const failures: [() => unknown, string][] = [
    [() => assert(false, "no"), "no"],
    [() => assertFalse(1, "yes"), "yes"],
    [() => assertEquals([1, 2], [1, 3]), "Values are not equal."],
    [() => assertEquals([1, 2], [1, 3], "why"), "Values are not equal: why"],
    [() => assertNotEquals(1, 1), "Expected actual: 1 not to be: 1."],
    [
      () => assertStrictEquals({}, {}),
      "Values have the same structure but are not reference-equal.",
    ],
    [() => assertStrictEquals(1, 2), "Values are not strictly equal."],
    [() => assertStrictEquals(0, -0), "Values are not strictly equal."],
    [() => assertNotStrictEquals(1, 1), 'Expected "actual" to not be strictly equal to: 1.'],
    [() => assertThrows(() => 1), "Expected function to throw."],
    [
      () =>
        assertThrows(() => {
          throw new TypeError("x");
        }, RangeError),
      'Expected error to be instance of "RangeError", but was "TypeError".',
    ],
    [
      () =>
        assertThrows(
          () => {
            throw new TypeError("x");
          },
          TypeError,
          "y",
        ),
      'Expected error message to include "y", but got "x".',
    ],
    [
      () =>
        assertThrows(() => {
          throw "text";
        }, Error),
      "A non-Error object was thrown.",
    ],
    [() => assertMatch("a", /b/), 'Expected actual: "a" to match: "/b/".'],
    [() => assertStringIncludes("a", "b"), 'Expected actual: "a" to contain: "b".'],
    [() => assertExists(null), 'Expected actual: "null" to not be null or undefined.'],
    [
      () => assertInstanceOf([], Map),
      'Expected object to be an instance of "Map" but was "Array".',
    ],
    [() => assertGreater(1, 1), "Expect 1 > 1"],
    [() => assertGreaterOrEqual(0, 1), "Expect 0 >= 1"],
    [() => assertLess(1, 1), "Expect 1 < 1"],
    [() => assertLessOrEqual(2, 1), "Expect 2 <= 1"],
    [() => assertArrayIncludes([1, 2], [3]), "missing: "],
    [() => assertObjectMatch({ a: 1 }, { a: 2 }), "Values are not equal."],
    [() => assertObjectMatch({ a: 1 }, { b: undefined }), "Values are not equal."],
    [() => assertAlmostEquals(0.01, 0.02), "to be close to"],
    [() => fail("why"), "Failed assertion: why"],
    [() => unreachable(), "Unreachable."],
  ];
  for (const [run, message] of failures) assertThrows(run, AssertionError, message);
});

test("assertions hold and hand back what they caught", async () => {
  const error = assertThrows(
    () => {
      throw new RangeError("far");
    },
    RangeError,
    "far",
  );
  assertStringIncludes(error.message, "far");
  const reason = await assertRejects(() => Promise.reject(new TypeError("bad")), TypeError, "bad");
  assertInstanceOf(reason, TypeError);
  assertStrictEquals(await assertRejects(() => Promise.reject(7)), 7);
  await assertRejects(
    () => assertRejects(() => Promise.resolve(1)),
    AssertionError,
    "Expected function to reject.",
  );
  await assertRejects(
    () =>
      assertRejects(() => {
        throw new Error("at once");
      }),
    AssertionError,
    "Function throws when expected to reject.",
  );
  assertObjectMatch({ a: { b: 1, c: 2 }, d: [1, { e: 3, f: 4 }] }, {
    a: { b: 1 },
    d: [1, { e: 3 }],
  });
  assertArrayIncludes([1, { a: 1 }], [{ a: 1 }]);
  assertAlmostEquals(0.1 + 0.2, 0.3);
});

test("deadline() and abortable() reject, and let go of what settles in time", async () => {
  assertEquals(await deadline(delay(1).then(() => "done"), 5_000), "done");
  const late = await assertRejects(() => deadline(new Promise(() => {}), 5), DOMException);
  assertEquals(late.name, "TimeoutError");
  const abort = new AbortController();
  const waiting = abortable(new Promise(() => {}), abort.signal);
  abort.abort(new RangeError("enough"));
  await assertRejects(() => waiting, RangeError, "enough");
  await assertRejects(() => delay(60_000, { signal: abort.signal }), RangeError, "enough");
});

test("delay() with persistent: false does not keep the process alive", () => {
  void delay(3_600_000, { persistent: false });
});

test("retry() tries again until it succeeds or gives up", async () => {
  let left = 2;
  const flaky = () => {
    if (left-- > 0) throw new Error("not yet");
    return "ok";
  };
  assertEquals(await retry(flaky, { minTimeout: 1 }), "ok");
  const never = () => Promise.reject(new Error("never"));
  const error = await assertRejects(
    () => retry(never, { minTimeout: 1, maxAttempts: 2 }),
    RetryError,
  );
  assertInstanceOf(error.cause, Error);
});

test("spy() and stub() record calls, and restore() puts the method back", () => {
  const add = spy((a: number, b: number) => a + b);
  assertEquals(add(1, 2), 3);
  assertEquals(add.calls[0], { args: [1, 2], returned: 3 });
  assertSpyCalls(add, 1);
  assertThrows(() => assertSpyCalls(add, 2), AssertionError, "spy not called as much as expected");
  const object = { double: (n: number) => n * 2 };
  const replaced = stub(object, "double", () => 7);
  assertEquals(object.double(1), 7);
  replaced.restore();
  assertEquals(object.double(1), 2);
  assertSpyCalls(replaced, 1);
  assertSpyCalls(spy(), 0);
});

test("FakeTime.tick() runs what is due, and restore() brings real time back", () => {
  const time = new FakeTime(1_000);
  const called = spy();
  setTimeout(called, 500);
  time.tick(499);
  assertSpyCalls(called, 0);
  time.tick(1);
  assertSpyCalls(called, 1);
  assertEquals(time.now, 1_500);
  time.restore();
  assertGreater(Date.now(), 1_000_000);
});
