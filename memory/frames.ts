/** An item as it lies in a ring: two numbers of the user's, a small tag, and bytes. */
export interface Item {
  /** Holds the item, or, if there is a `body`, what comes before that. */
  bytes: Uint8Array;
  /** Bytes of the item, the `body` among them. */
  length: number;
  /** Large memory that ends the item. In an inbox: all there is of its buffer, for the item to keep. */
  body?: Uint8Array | undefined;
  /** A number from 0 to 65,535. */
  tag: number;
  a: number;
  b: number;
}

/** The frame begins an item. */
export const FIRST = 1;

/** The frame ends an item. */
export const LAST = 2;

/** The item's sizes stand before the payload: of a first frame that is not the last, or has a body. */
export const SIZED = 4;

/** What the sizes take. */
export const SIZES_BYTES = 16;

const FLAGS = FIRST | LAST | SIZED;
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
    position += HEADER_BYTES;
    const { body } = item;
    const before = item.length - (body === undefined ? 0 : body.length);
    if ((flags & SIZED) !== 0) {
      const sizes = this.#header(position);
      this.#cells[at + LENGTH] = SIZES_BYTES + to - from;
      this.#cells[sizes] = before;
      this.#cells[sizes + 1] = item.length;
      this.#cells[sizes + 2] = item.length / 2 ** 32;
      position += SIZES_BYTES;
    }
    if (from < before) this.#copyIn(position, item.bytes, from, Math.min(to, before));
    if (to <= before) return;
    const begin = Math.max(from, before);
    this.#copyIn(position + begin - from, body!, begin - before, to - before);
  }

  /** Makes room in an inbox for the item whose sizes a frame bears. */
  readSizes(position: number, inbox: Item): void {
    const at = this.#header(position + HEADER_BYTES);
    const before = (this.#cells[at] as number) >>> 0;
    inbox.length = ((this.#cells[at + 1] as number) >>> 0) +
      (this.#cells[at + 2] as number) * 2 ** 32;
    if (inbox.bytes.length < before) inbox.bytes = new Uint8Array(before);
    inbox.body = before < inbox.length ? new Uint8Array(inbox.length - before) : undefined;
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

  /**
   * Copies a frame's payload out.
   *
   * @param from Bytes of the item in earlier frames.
   * @returns Bytes of the item so far.
   */
  readPayload(position: number, inbox: Item, from: number): number {
    const { bytes, body } = inbox;
    const sizes = (this.flagsAt(position) & SIZED) !== 0 ? SIZES_BYTES : 0;
    const to = from + this.lengthAt(position) - sizes;
    position += HEADER_BYTES + sizes;
    const before = body === undefined ? to : inbox.length - body.length;
    if (from < before) this.#copyOut(position, bytes, from, Math.min(to, before));
    if (to <= before) return to;
    const begin = Math.max(from, before);
    this.#copyOut(position + begin - from, body!, begin - before, to - before);
    return to;
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

  #copyOut(position: number, target: Uint8Array, from: number, to: number): void {
    const bytes = this.#bytes;
    const mask = this.#capacity - 1;
    if (to - from <= SMALL_BYTES) {
      for (let i = from; i < to; i++) target[i] = bytes[position++ & mask] as number;
      return;
    }
    const at = position & mask;
    const split = Math.min(to - from, this.#capacity - at);
    target.set(bytes.subarray(at, at + split), from);
    if (split < to - from) target.set(bytes.subarray(0, to - from - split), from + split);
  }
}
