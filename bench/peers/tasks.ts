/**
 * The tasks, as a module that workers import.
 *
 * @module
 */

/** A small object. */
export interface Item {
  id: number;
  name: string;
  price: number;
}

/** Part of an array in shared memory. */
export interface Part<Numbers = Float64Array> {
  numbers: Numbers;
  from: number;
  to: number;
}

/** Does nothing. */
export function noop(): void {}

/** Twice `x`. */
export function double(x: number): number {
  return x * 2;
}

/** The item at another price. */
export function reprice(item: Item): Item {
  return { id: item.id, name: item.name, price: item.price * 2 };
}

/** The `n`th Fibonacci number, the slow way. */
export function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/** Doubles numbers where they lie. */
export function scale({ numbers, from, to }: Part): void {
  for (let at = from; at < to; at++) numbers[at]! *= 2;
}

/** The length of what has arrived. */
export function lengthOf(bytes: ArrayBuffer): number {
  return bytes.byteLength;
}

/** What a worker can be asked for with one argument. */
export const TASKS = { double, reprice, fibonacci, scale, lengthOf };

/** Its names. */
export type TaskName = keyof typeof TASKS;
