/** An item as it lies in a ring: two numbers of the user's, a small tag, and bytes. */
export interface Item {
  bytes: Uint8Array;
  length: number;
  /** A number from 0 to 65,535. */
  tag: number;
  a: number;
  b: number;
}

/** The frame begins an item. */
export const FIRST = 1;

/** The frame ends an item. */
export const LAST = 2;

const FLAGS = FIRST | LAST;
const TAG_SHIFT = 16;

// Words of a frame's header.
const LENGTH = 0;
const FLAGS_AND_TAG = 1;
const A = 2;
const B = 3;
const HEADER_BYTES = 16;

// Below this, a loop copies faster than TypedArray.set() does.
const SMALL_BYTES = 64;

/** Bytes that a frame of so long a payload takes. Multiples of 16, so that a header never wraps. */
export function frameBytes(length: number): number {
  return (HEADER_BYTES + length + 15) & ~15;
}

/** The longest payload of a frame that takes at most so many bytes. */
export function payloadBytes(size: number): number {
  return size - HEADER_BYTES;
}

/** The memory of a ring as frames: circular, at positions that only grow. */
export class Frames {
  readonly #cells: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #capacity: number;

  /** @param capacity Bytes behind `offset`; a power of two. */
  constructor(buffer: SharedArrayBuffer, offset: number, capacity: number) {
    this.#cells = new Int32Array(buffer, offset, capacity >> 2);
    this.#bytes = new Uint8Array(buffer, offset, capacity);
    this.#capacity = capacity;
  }

  /** Writes a frame with the item's bytes from `from` to `to`. */
  write(position: number, item: Item, from: number, to: number, flags: number): void {
    const at = this.#header(position);
    this.#cells[at + LENGTH] = to - from;
    this.#cells[at + FLAGS_AND_TAG] = flags | (item.tag << TAG_SHIFT);
    this.#cells[at + A] = item.a;
    this.#cells[at + B] = item.b;
    this.#copyIn(position + HEADER_BYTES, item.bytes, from, to);
  }

  /** The length of a frame's payload. */
  lengthAt(position: number): number {
    return this.#cells[this.#header(position) + LENGTH] as number;
  }

  /** A frame's flags. */
  flagsAt(position: number): number {
    return (this.#cells[this.#header(position) + FLAGS_AND_TAG] as number) & FLAGS;
  }

  /** Reads tag and numbers of a frame that begins an item. */
  readNumbers(position: number, item: Item): void {
    const at = this.#header(position);
    item.tag = (this.#cells[at + FLAGS_AND_TAG] as number) >>> TAG_SHIFT;
    item.a = this.#cells[at + A] as number;
    item.b = this.#cells[at + B] as number;
  }

  /** Copies a frame's payload out. */
  readPayload(position: number, target: Uint8Array, length: number): void {
    this.#copyOut(position + HEADER_BYTES, target, length);
  }

  #header(position: number): number {
    return (position & (this.#capacity - 1)) >> 2;
  }

  #copyIn(position: number, source: Uint8Array, from: number, to: number): void {
    const bytes = this.#bytes;
    const mask = this.#capacity - 1;
    if (to - from <= SMALL_BYTES) {
      for (let i = from; i < to; i++) bytes[position++ & mask] = source[i] as number;
      return;
    }
    const at = position & mask;
    const split = Math.min(to, from + this.#capacity - at);
    bytes.set(source.subarray(from, split), at);
    if (split < to) bytes.set(source.subarray(split, to), 0);
  }

  #copyOut(position: number, target: Uint8Array, length: number): void {
    const bytes = this.#bytes;
    const mask = this.#capacity - 1;
    if (length <= SMALL_BYTES) {
      for (let i = 0; i < length; i++) target[i] = bytes[position++ & mask] as number;
      return;
    }
    const at = position & mask;
    const split = Math.min(length, this.#capacity - at);
    target.set(bytes.subarray(at, at + split));
    if (split < length) target.set(bytes.subarray(0, length - split), split);
  }
}
