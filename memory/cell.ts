/**
 * Typed cells in shared memory, each read and written in one step.
 *
 * Only integers have atomics of their own. A float goes through the integer cell of its width, bit for
 * bit, so that not even a 64-bit one can be torn.
 *
 * | bytes of a cell | read | written | filled |
 * |---|---|---|---|
 * | 1, 2, 4 | `Atomics.load` | `Atomics.store` | `fill()` of the integers: no integer of 4 bytes or less is ever torn |
 * | 8 | `Atomics.load` | `Atomics.store` | one by one: plain writes may be torn |
 *
 * A process that dies amid a fill leaves some cells with the old value and some with the new one.
 *
 * @module
 */

import { bytesOf, type CellType } from "./element.ts";

/** Cells of one type. */
export interface Cells<V> {
  load(index: number): V;
  store(index: number, value: V): void;
  fill(value: V, start: number, end: number): void;
}

/** Cells that can be changed in one step; each operation returns the old value. */
export interface IntegerCells<V> extends Cells<V> {
  add(index: number, n: V): V;
  sub(index: number, n: V): V;
  exchange(index: number, value: V): V;
  compareExchange(index: number, expected: V, value: V): V;
}

const integerArrays = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
} as const;

/**
 * Memory for cells, all zero. A page of it is used only once something has been written to it.
 *
 * @throws {RangeError} If it is more than the runtime can give.
 */
export function newBuffer(type: CellType, length: number): SharedArrayBuffer {
  const bytes = length * bytesOf(type);
  try {
    return new SharedArrayBuffer(bytes);
  } catch (cause) {
    throw new RangeError(
      `Cannot allocate ${length} elements of type ${type}: ${bytes} bytes are more than this ` +
        "runtime can give",
      { cause },
    );
  }
}

/** `length` cells of the given type from byte `offset` of a buffer on. */
export function newCells(
  type: CellType,
  buffer: SharedArrayBuffer,
  offset: number,
  length: number,
): Cells<never> {
  switch (type) {
    case "bool":
      return boolCells(new Uint8Array(buffer, offset, length)) as Cells<never>;
    case "f32":
    case "f64":
      return floatCells(type, buffer, offset, length) as Cells<never>;
    default:
      return integerCells(type, buffer, offset, length);
  }
}

// Atomics takes numbers for the small types and bigints for the wide ones: the array decides. The types
// say number throughout; who calls sees to it that the right one comes.
type NumberView = new (buffer: ArrayBufferLike, offset?: number, length?: number) => Int32Array;

function integerCells(
  type: keyof typeof integerArrays,
  buffer: SharedArrayBuffer,
  offset: number,
  length: number,
): IntegerCells<never> {
  const cells = new (integerArrays[type] as unknown as NumberView)(buffer, offset, length);
  return {
    load: (index) => Atomics.load(cells, index) as never,
    store: (index, value) => void Atomics.store(cells, index, value),
    fill: (value, start, end) => fillWith(cells, value, start, end),
    add: (index, n) => Atomics.add(cells, index, n) as never,
    sub: (index, n) => Atomics.sub(cells, index, n) as never,
    exchange: (index, value) => Atomics.exchange(cells, index, value) as never,
    compareExchange: (index, expected, value) =>
      Atomics.compareExchange(cells, index, expected, value) as never,
  };
}

function boolCells(cells: Uint8Array): Cells<boolean> {
  return {
    load: (index) => Atomics.load(cells, index) !== 0,
    store: (index, value) => void Atomics.store(cells, index, value ? 1 : 0),
    fill: (value, start, end) => void cells.fill(value ? 1 : 0, start, end),
  };
}

function floatCells(
  type: "f32" | "f64",
  buffer: SharedArrayBuffer,
  offset: number,
  length: number,
): Cells<number> {
  const Bits = (type === "f32" ? Int32Array : BigInt64Array) as unknown as NumberView;
  const cells = new Bits(buffer, offset, length);
  const float = new (type === "f32" ? Float32Array : Float64Array)(1);
  const bits = new Bits(float.buffer);
  return {
    load(index) {
      bits[0] = Atomics.load(cells, index);
      return float[0] as number;
    },
    store(index, value) {
      float[0] = value;
      Atomics.store(cells, index, bits[0] as number);
    },
    fill(value, start, end) {
      float[0] = value;
      fillWith(cells, bits[0] as number, start, end);
    },
  };
}

function fillWith(cells: Int32Array, bits: number, start: number, end: number): void {
  if (cells.BYTES_PER_ELEMENT < 8) cells.fill(bits, start, end);
  else for (let at = start; at < end; at++) Atomics.store(cells, at, bits);
}
