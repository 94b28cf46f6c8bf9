/**
 * Typed cells in shared memory, read and written in one step each.
 *
 * Only integers have atomics of their own. A float goes through the integer cell of its width, bit for
 * bit, so that not even a 64-bit one can be torn.
 *
 * @module
 */

/** Element types by their names here. */
export type CellType =
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64"
  | "bool";

/** One typed cell. */
export interface Cell<V> {
  load(): V;
  store(value: V): void;
}

/** A cell that can be changed in one step; each operation returns the old value. */
export interface IntegerCell<V> extends Cell<V> {
  add(n: V): V;
  sub(n: V): V;
  exchange(value: V): V;
  compareExchange(expected: V, value: V): V;
}

/** Bytes that every cell takes: enough for each type, and aligned for it. */
export const CELL_BYTES = 8;

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

/** A cell of the given type at the start of a buffer. */
export function newCell(type: CellType, buffer: SharedArrayBuffer): Cell<never> {
  switch (type) {
    case "bool":
      return boolCell(new Uint8Array(buffer)) as Cell<never>;
    case "f32":
      return floatCell(buffer, Float32Array) as Cell<never>;
    case "f64":
      return floatCell(buffer, Float64Array) as Cell<never>;
    default:
      return integerCell(type, buffer) as Cell<never>;
  }
}

// Atomics takes numbers for the small types and bigints for the wide ones: the array decides. The types
// say number throughout; those of Value see to it that the right one comes.
type NumberView = new (buffer: ArrayBufferLike, offset?: number, length?: number) => Int32Array;

function integerCell(
  type: keyof typeof integerArrays,
  buffer: SharedArrayBuffer,
): IntegerCell<never> {
  const cells = new (integerArrays[type] as unknown as NumberView)(buffer, 0, 1);
  return {
    load: () => Atomics.load(cells, 0) as never,
    store: (value) => void Atomics.store(cells, 0, value),
    add: (n) => Atomics.add(cells, 0, n) as never,
    sub: (n) => Atomics.sub(cells, 0, n) as never,
    exchange: (value) => Atomics.exchange(cells, 0, value) as never,
    compareExchange: (expected, value) =>
      Atomics.compareExchange(cells, 0, expected, value) as never,
  };
}

function boolCell(cells: Uint8Array): Cell<boolean> {
  return {
    load: () => Atomics.load(cells, 0) !== 0,
    store: (value) => void Atomics.store(cells, 0, value ? 1 : 0),
  };
}

function floatCell(
  buffer: SharedArrayBuffer,
  Float: typeof Float32Array | typeof Float64Array,
): Cell<number> {
  const Bits = (Float === Float32Array ? Int32Array : BigInt64Array) as unknown as NumberView;
  const cells = new Bits(buffer, 0, 1);
  const float = new Float(1);
  const bits = new Bits(float.buffer);
  return {
    load() {
      bits[0] = Atomics.load(cells, 0);
      return float[0] as number;
    },
    store(value) {
      float[0] = value;
      Atomics.store(cells, 0, bits[0] as number);
    },
  };
}
