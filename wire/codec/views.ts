/**
 * The classes of views on buffers, numbered for the wire.
 *
 * @module
 */

/** Makes a view on a buffer. */
export type ViewClass = new (
  buffer: ArrayBufferLike,
  byteOffset?: number,
  length?: number,
) => ArrayBufferView;

const NAMES = [
  "DataView",
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float16Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
];

/** By number; `undefined` if the runtime lacks it, as Node 22 lacks Float16Array. */
const classes = NAMES.map((name) => (globalThis as Record<string, unknown>)[name]) as (
  | ViewClass
  | undefined
)[];

const numbers = new Map(classes.map((ctor, number) => [ctor?.prototype as unknown, number]));

/** What all typed arrays inherit from. */
export const TYPED_ARRAY_PROTOTYPE = Object.getPrototypeOf(Uint8Array.prototype) as object;

/**
 * The number of a view's class, subclasses left aside.
 *
 * @param view Any value.
 * @returns The number, or `undefined` if the value is not directly of a class of views.
 */
export function viewNumber(view: object): number | undefined {
  return numbers.get(Object.getPrototypeOf(view));
}

/**
 * The number of the class of views that a view is of, directly or not.
 *
 * @param view The view.
 * @returns The number.
 */
export function builtInViewNumber(view: ArrayBufferView): number {
  const tag = Object.getOwnPropertyDescriptor(TYPED_ARRAY_PROTOTYPE, Symbol.toStringTag);
  const name = tag!.get!.call(view) as string | undefined;
  return name === undefined ? 0 : NAMES.indexOf(name);
}

/**
 * The class of that number.
 *
 * @param number The number.
 * @returns The class.
 * @throws {Error} If there is none.
 */
export function viewClass(number: number): ViewClass {
  const found = classes[number];
  if (found === undefined) {
    throw new Error(`view class ${NAMES[number] ?? number} is not known here`);
  }
  return found;
}

/**
 * Whether a view grows and shrinks with its buffer.
 *
 * Nothing tells this of a view but a resize, which is tried on a clone. Where that is no way, as at the
 * largest size and in shared memory, a view that reaches the end of its buffer counts as one that does.
 *
 * @param view The view.
 * @returns Whether it does.
 */
export function tracksLength(view: ArrayBufferView): boolean {
  const { buffer, byteOffset, byteLength } = view;
  const size = "BYTES_PER_ELEMENT" in view ? view.BYTES_PER_ELEMENT as number : 1;
  if (!isResizable(buffer) || byteOffset + byteLength + size <= buffer.byteLength) return false;
  const larger = buffer.byteLength + size;
  if (!(buffer instanceof ArrayBuffer) || larger > buffer.maxByteLength) return true;
  const clone = structuredClone(view);
  (clone.buffer as ArrayBuffer).resize(larger);
  return clone.byteLength > byteLength;
}

function isResizable(buffer: ArrayBufferLike): boolean {
  return buffer instanceof ArrayBuffer ? buffer.resizable : buffer.growable;
}
