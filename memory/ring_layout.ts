/**
 * Where in its memory a ring has what.
 *
 * @module
 */

import { identify } from "./identity.ts";

/** Options of a new ring. */
export interface RingOptions {
  /** Bytes for frames; rounded up to a power of two. */
  capacity: number;
  /** Items at most; 0: as many as fit. */
  maxItems: number;
}

// Words of the header. What producers write and what consumers write lie on lines of their own.
export const CAPACITY = 0;
export const MAX_ITEMS = 1;
export const IDENTITY = 2;
export const PUT_LOCK = 16;
export const PUTS = 17;
export const GETTERS_ASLEEP = 18;
export const STREAM = 19;
export const TAIL = 20;
export const GET_LOCK = 32;
export const GETS = 33;
export const PUTTERS_ASLEEP = 34;
export const HEAD = 36;
export const HEADER_WORDS = 64;
export const HEADER_BYTES = HEADER_WORDS * 4;

export const CLOSED_BIT = 1;
export const COUNT_STEP = 2;

const MIN_CAPACITY = 4096;
const MAX_CAPACITY = 2 ** 30;

/** The memory of a new ring, which is empty. */
export function newRingBuffer({ capacity, maxItems }: RingOptions): SharedArrayBuffer {
  let size = MIN_CAPACITY;
  while (size < capacity && size < MAX_CAPACITY) size *= 2;
  const buffer = new SharedArrayBuffer(HEADER_BYTES + size);
  const cells = new Int32Array(buffer);
  cells[CAPACITY] = size;
  cells[MAX_ITEMS] = maxItems;
  identify(cells, IDENTITY);
  return buffer;
}
