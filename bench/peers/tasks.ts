/**
 * The tasks, as a module that workers import.
 *
 * @module
 */

/** Does nothing. */
export function noop(): void {}

/** Twice `x`. */
export function double(x: number): number {
  return x * 2;
}
