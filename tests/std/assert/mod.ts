/**
 * A stand-in for `@std/assert` where JSR cannot be reached: the same names, signatures and messages,
 * for what the tests of this project use.
 *
 * @module
 */

export {
  assertArrayIncludes,
  assertEquals,
  assertNotEquals,
  assertNotStrictEquals,
  assertObjectMatch,
  assertStrictEquals,
  equal,
} from "./equality.ts";
export {
  AssertionError,
  assertIsError,
  assertRejects,
  assertThrows,
  fail,
  unreachable,
} from "./errors.ts";
export * from "./values.ts";
