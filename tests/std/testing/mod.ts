/**
 * A stand-in for `@std/testing` where JSR cannot be reached: the same names and signatures, for what
 * the tests of this project use. Tests import `@std/testing/mock` and `@std/testing/time`.
 *
 * @module
 */

export * from "./mock.ts";
export * from "./time.ts";
