/**
 * Assertions about types. These programs are only checked, by `scripts/types_check.ts`; they never run.
 *
 * @module
 */

/** True if both are the same type; neither a part of the other, nor `any`. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2)
  ? true
  : false;

/** Takes a value whose type is exactly `Expected`; of any other, it wants an argument that nobody has. */
export function is<Expected>(): <Actual>(
  value: Actual,
  ...other: Same<Actual, Expected> extends true ? [] : [type: never]
) => void {
  return () => {};
}
