/**
 * The mark on a value whose buffers and ports are to be moved rather than copied.
 *
 * @module
 */

import type { Transferable } from "../../runtime/port.ts";

/** A value with the things in it that are to be moved; the codec unwraps it wherever it meets it. */
export class Transfer<T = unknown> {
  /** The value to send. */
  readonly value: T;
  /** The buffers and ports inside the value that are moved. */
  readonly transferables: readonly Transferable[];

  /**
   * Marks a value.
   *
   * @param value The value to send.
   * @param transferables The buffers and ports inside it that are moved.
   */
  constructor(value: T, transferables: readonly Transferable[]) {
    this.value = value;
    this.transferables = transferables;
  }
}

/**
 * Wraps a value so that the listed buffers and ports are moved, not copied.
 *
 * It may stand in the arguments of a task, in an item of `map`, or be what a task returns; the
 * receiver gets the value itself. **Moved means gone.** Once sent, a moved `ArrayBuffer` has length
 * 0 here.
 *
 * @example
 * ```ts
 * import { transfer } from "@multiprocessing/core/target";
 *
 * const pixels = new Uint8Array(4_000_000);
 * const args = [transfer(pixels, [pixels.buffer]), 640];
 * ```
 *
 * @param value The value to send.
 * @param transferables The buffers and ports inside it that are moved.
 * @returns The mark, typed as the value that the receiver will get. Only good for sending.
 * @throws {TypeError} If `transferables` is not an array.
 */
export function transfer<T>(value: T, transferables: Transferable[]): T {
  if (!Array.isArray(transferables)) {
    throw new TypeError(
      `Cannot transfer: 'transferables' must be an array of buffers and ports, but is ${
        String(transferables)
      }`,
    );
  }
  return new Transfer(value, transferables) as unknown as T;
}
