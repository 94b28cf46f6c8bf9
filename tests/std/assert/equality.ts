/**
 * Assertions on the equality of two values.
 *
 * @module
 */

import { inspect } from "node:util";
import { AssertionError, suffix } from "./errors.ts";

type Keyed = Record<PropertyKey, unknown>;

/** Shows a value in full, on several lines if it is long, with sorted keys so that lines compare. */
export function format(value: unknown): string {
  return inspect(value, { depth: 100, sorted: true, maxArrayLength: 1_000, compact: false });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** The prototype, with that of `Object.create(null)` counted as a plain object's. */
function prototypeOf(value: object): unknown {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

/** `===`, but `NaN` equals itself. */
function sameValueZero(a: unknown, b: unknown): boolean {
  return a === b || (a !== a && b !== b);
}

/** What is compared: a plain object's enumerable keys, an instance's fields and its getters. */
function keysOf(value: object): Set<string | symbol> {
  const prototype = prototypeOf(value);
  if (prototype === Object.prototype || prototype === Array.prototype) {
    return new Set(Reflect.ownKeys({ ...value }));
  }
  const keys = new Set<string | symbol>();
  for (
    let level: object | null = value;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const key of Reflect.ownKeys(level)) keys.add(key);
  }
  return keys;
}

/** A collection's entries matched one to one, whatever their order. */
function matchAll(
  a: unknown[],
  b: unknown[],
  compare: (a: unknown, b: unknown) => boolean,
): boolean {
  const rest = [...b];
  return a.length === b.length && a.every((item) => {
    const index = rest.findIndex((other) => compare(item, other));
    return index >= 0 && rest.splice(index, 1).length === 1;
  });
}

/** Compares what a built-in object holds inside; `undefined` if it is none of those. */
function equalInside(
  a: object,
  b: object,
  compare: (a: unknown, b: unknown) => boolean,
): boolean | undefined {
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  if (a instanceof RegExp || a instanceof URL || a instanceof URLSearchParams) {
    return String(a) === String(b);
  }
  if (a instanceof ArrayBuffer || a instanceof SharedArrayBuffer) {
    return compare(new Uint8Array(a), new Uint8Array(b as ArrayBuffer));
  }
  if (a instanceof DataView) {
    const bytes = (v: DataView) => new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
    return compare(bytes(a), bytes(b as DataView));
  }
  if (ArrayBuffer.isView(a)) {
    const [x, y] = [a as Uint8Array, b as Uint8Array];
    return x.length === y.length && x.every((item, index) => sameValueZero(item, y[index]));
  }
  if (a instanceof WeakMap || a instanceof WeakSet) {
    throw new TypeError(`Cannot compare ${a.constructor.name} instances`);
  }
  if (a instanceof WeakRef) return compare(a.deref(), (b as typeof a).deref());
  if (a instanceof Map || a instanceof Set) {
    return matchAll([...a], [...(b as typeof a)], compare);
  }
  return undefined;
}

/**
 * Deep equality comparison used in assertions.
 *
 * `0` equals `-0`, `NaN` equals itself, a missing property differs from one that is `undefined`, and
 * two objects of different classes differ.
 */
export function equal(a: unknown, b: unknown): boolean {
  // Pairs under comparison count as equal, so that cycles end.
  const seen = new Map<object, object>();

  function compare(a: unknown, b: unknown): boolean {
    if (sameValueZero(a, b)) return true;
    if (!isObject(a) || !isObject(b) || prototypeOf(a) !== prototypeOf(b)) return false;
    if (seen.get(a) === b) return true;
    seen.set(a, b);
    const inside = equalInside(a, b, compare);
    if (inside !== undefined) {
      // A pair compared in the search for a match is not "under comparison" any more.
      if (!inside) seen.delete(a);
      return inside;
    }
    if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false;
    const keys = keysOf(a);
    const others = keysOf(b);
    const same = keys.size === others.size &&
      [...keys].every((key) => others.has(key) && compare((a as Keyed)[key], (b as Keyed)[key]));
    if (!same) seen.delete(a);
    return same;
  }

  return compare(a, b);
}

/** Both texts under another, without repeating the lines with which both begin and end. */
function diff(actual: string, expected: string): string {
  const a = actual.split("\n");
  const b = expected.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (
    tail < a.length - head && tail < b.length - head &&
    a[a.length - 1 - tail] === b[b.length - 1 - tail]
  ) tail++;
  const lines = [
    ...a.slice(0, head).map((line) => `    ${line}`),
    ...a.slice(head, a.length - tail).map((line) => `-   ${line}`),
    ...b.slice(head, b.length - tail).map((line) => `+   ${line}`),
    ...a.slice(a.length - tail).map((line) => `    ${line}`),
  ];
  return `\n\n    [Diff] Actual / Expected\n\n\n${lines.join("\n")}\n`;
}

/** Asserts that two values are equal, deeply. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  throw new AssertionError(
    `Values are not equal${suffix(msg)}${diff(format(actual), format(expected))}`,
  );
}

/** Asserts that two values are not equal, deeply. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  throw new AssertionError(
    `Expected actual: ${format(actual)} not to be: ${format(expected)}${suffix(msg)}`,
  );
}

/** Asserts that two values are the same, by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  const [a, b] = [format(actual), format(expected)];
  throw new AssertionError(
    a === b
      ? `Values have the same structure but are not reference-equal${suffix(msg)}\n\n${a}\n`
      : `Values are not strictly equal${suffix(msg)}${diff(a, b)}`,
  );
}

/** Asserts that two values are not the same, by `Object.is`. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!Object.is(actual, expected)) return;
  throw new AssertionError(
    `Expected "actual" to not be strictly equal to: ${format(actual)}${suffix(msg)}\n`,
  );
}

/** The part of `actual` that `expected` speaks of, deeply, as plain objects. */
function pick(actual: unknown, expected: unknown, seen: Map<object, object>): unknown {
  if (!isObject(actual) || !isObject(expected)) return actual;
  if (actual instanceof RegExp || actual instanceof Date || ArrayBuffer.isView(actual)) {
    return actual;
  }
  if (actual instanceof Map && expected instanceof Map) {
    const shared = [...actual].filter(([key]) => expected.has(key));
    return new Map(shared.map(([key, value]) => [key, pick(value, expected.get(key), seen)]));
  }
  if (actual instanceof Set && expected instanceof Set) {
    return new Set([...actual].filter((item) => expected.has(item)));
  }
  const known = seen.get(actual);
  if (known) return known;
  const picked: Keyed = {};
  seen.set(actual, picked);
  for (const key of Reflect.ownKeys(actual)) {
    if (!(key in expected)) continue;
    picked[key] = pick((actual as Keyed)[key], (expected as Keyed)[key], seen);
  }
  return picked;
}

/** Asserts that `actual` has everything that `expected` has, deeply. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any -- as in std, so that interfaces are accepted
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  assertEquals(pick(actual, expected, new Map()), pick(expected, expected, new Map()), msg);
}

/** Asserts that every one of the expected items is in the array, deeply equal. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T> & object,
  expected: ArrayLike<T> & object,
  msg?: string,
): void {
  const items = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) =>
    !items.some((item) => equal(item, wanted))
  );
  if (missing.length === 0) return;
  throw new AssertionError(
    `Expected actual: "${format(actual)}" to include: "${format(expected)}"${
      suffix(msg)
    }\nmissing: ${format(missing)}`,
  );
}
