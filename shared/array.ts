import { type Cells, newBuffer, newCells } from "../memory/cell.ts";
import { checkAlive } from "../memory/control.ts";
import {
  type CellType,
  checkType,
  type ElementOf,
  type ElementType,
  isElement,
  misfit,
  textOf,
  type TypedArrayOf,
  typedArrayOn,
} from "../memory/element.ts";
import type { Lock, RLock } from "../sync.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { AdoptOptions, checkLock, noLock, type SharedOptions, type TypedParts } from "./options.ts";

/** So many elements a fill writes, in 0.1 ms at most, before it looks whether its process is alive. */
const PIECE = 4096;

/**
 * Many elements of one type in shared memory; shareable.
 *
 * **In place.** Every process sees the same memory; {@linkcode array} is the typed array itself. It
 * reaches a process in the same time whatever its length, and a page takes memory only once something
 * has been written to it. **Never torn.** {@linkcode at}, {@linkcode set}, {@linkcode slice},
 * {@linkcode fill} and the iterator read and write each element as a whole. **Not atomic together.**
 * Several elements, and `a.set(i, a.at(i) + 1)`, are several steps: hold {@linkcode getLock}.
 * **Death.** A process that dies amid a fill, or between two writes, leaves some elements old and some
 * new, each of them whole; the next owner of the lock finds its guard `abandoned`. Numbers out of range
 * wrap as in the typed array of the type.
 *
 * Semantics: Python's `multiprocessing.Array`; indices and `slice` as in JavaScript's arrays.
 *
 * @typeParam T The element type.
 *
 * @example Usage
 * ```ts
 * import { SharedArray } from "@multiprocessing/core/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const sums = new SharedArray("f64", 4);
 * sums.fill(0.5, 1).set(-1, 2);
 * assertEquals([...sums], [0, 0.5, 0.5, 2]);
 * assertEquals(sums.array.byteLength, 32);
 *
 * const squares = new SharedArray("i64", [1n, 4n, 9n]);
 * assertEquals(squares.at(-1), 9n);
 * assertEquals(squares.slice(1), [4n, 9n]);
 * ```
 */
export class SharedArray<T extends ElementType = ElementType> {
  /**
   * The elements, as the typed array of the type over the shared memory; a bool is a byte, 0 or 1.
   *
   * **As fast as it gets, and as bare.** Nothing is checked here, a 64-bit element may be torn, and
   * what a terminated process still writes through it nobody can keep off.
   */
  readonly array: TypedArrayOf<T>;
  /** The number of elements. */
  readonly length: number;
  readonly #type: CellType;
  readonly #buffer: SharedArrayBuffer;
  readonly #cells: Cells<ElementOf<T>>;
  readonly #lock: Lock | RLock | undefined;

  static {
    registerShareable("SharedArray", SharedArray, (shared): TypedParts => ({
      type: shared.#type,
      buffer: shared.#buffer,
      lock: shared.#lock ?? null,
    }), (parts) => {
      const { type } = parts as TypedParts;
      return new SharedArray(type, 0, new AdoptOptions(parts as TypedParts));
    });
    // Python's idiom. TypeScript refuses it; JavaScript would make a property of this one object, unshared.
    // With the first element refused no loop goes on to the others.
    Object.defineProperty(SharedArray.prototype, 0, {
      get: () => refuseBrackets("read"),
      set: () => refuseBrackets("write"),
    });
  }

  /**
   * Creates an array of a length, all zero or false, or a copy of values.
   *
   * @param type The element type.
   * @param sizeOrValues The number of elements, or the elements.
   * @param options Which lock goes with it.
   * @throws {TypeError} If the type is unknown, or a value is not of it.
   * @throws {RangeError} If the size is no integer >= 0, or more than the runtime can give.
   */
  constructor(
    type: T,
    sizeOrValues: number | Iterable<ElementOf<T>>,
    options: SharedOptions = {},
  ) {
    this.#type = checkType("SharedArray:", type);
    this.#lock = checkLock("SharedArray", options);
    const values = typeof sizeOrValues === "number" ? [] : listOf<ElementOf<T>>(sizeOrValues);
    const size = typeof sizeOrValues === "number" ? checkSize(sizeOrValues) : values.length;
    this.#buffer = options instanceof AdoptOptions ? options.buffer : newBuffer(this.#type, size);
    this.array = typedArrayOn(this.#type, this.#buffer) as TypedArrayOf<T>;
    this.length = this.array.length;
    this.#cells = newCells(this.#type, this.#buffer, 0, this.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index] as ElementOf<T>;
      this.#check(value, index);
      this.#cells.store(index, value);
    }
  }

  /**
   * Reads an element.
   *
   * @param index Which; a negative one counts from the end.
   * @returns The element.
   * @throws {RangeError} If there is none at the index.
   */
  at(index: number): ElementOf<T> {
    return this.#cells.load(this.#index("read", index));
  }

  /**
   * Writes an element.
   *
   * @param index Which; a negative one counts from the end.
   * @param value What to write.
   * @throws {RangeError} If there is none at the index.
   * @throws {TypeError} If the value is not of the element type.
   */
  set(index: number, value: ElementOf<T>): void {
    checkAlive();
    const at = this.#index("write", index);
    this.#check(value, at);
    this.#cells.store(at, value);
  }

  /**
   * Copies elements, one after the other.
   *
   * @param start The first; a negative one counts from the end.
   * @param end The one after the last, as `start`.
   * @returns A plain array.
   */
  slice(start = 0, end: number = this.length): ElementOf<T>[] {
    const stop = absolute(end, this.length);
    const copies: ElementOf<T>[] = [];
    for (let at = absolute(start, this.length); at < stop; at++) copies.push(this.#cells.load(at));
    return copies;
  }

  /**
   * Writes the same value to all elements, or to some that follow each other.
   *
   * @param value What to write.
   * @param start The first; a negative one counts from the end.
   * @param end The one after the last, as `start`.
   * @returns The array itself.
   * @throws {TypeError} If the value is not of the element type.
   */
  fill(value: ElementOf<T>, start = 0, end: number = this.length): this {
    const first = absolute(start, this.length);
    const stop = absolute(end, this.length);
    this.#check(value, first);
    for (let at = first; at < stop; at += PIECE) {
      // Who was terminated amid a long fill must be out before its lock is taken over.
      checkAlive();
      this.#cells.fill(value, at, Math.min(at + PIECE, stop));
    }
    return this;
  }

  /**
   * The lock that goes with the array.
   *
   * @returns An RLock, or the lock given to the constructor.
   * @throws {TypeError} If the array was created with `lock: false`.
   */
  getLock(): RLock | Lock {
    return this.#lock ?? noLock("SharedArray");
  }

  /**
   * Reads the elements, each when its turn comes.
   *
   * @returns An iterator.
   */
  *[Symbol.iterator](): IterableIterator<ElementOf<T>> {
    for (let at = 0; at < this.length; at++) yield this.#cells.load(at);
  }

  #index(verb: "read" | "write", index: number): number {
    const { length } = this;
    if (Number.isInteger(index) && index >= -length && index < length) {
      return index < 0 ? length + index : index;
    }
    const Class = typeof index === "number" ? RangeError : TypeError;
    throw new Class(
      `Cannot ${verb} SharedArray: 'index' must be an integer >= ${-length} and < ${length}, ` +
        `but is ${
          typeof index === "string" ? JSON.stringify(index) : textOf(index)
        } (length ${length})`,
    );
  }

  #check(value: unknown, index: number): void {
    if (isElement(this.#type, value)) return;
    throw misfit(`SharedArray: element ${index}`, this.#type, value);
  }
}

// JSR leaves methods that are named by a symbol out of the declarations that it makes for npm.
/** An array's elements can be read by `for`. */
export interface SharedArray<T extends ElementType = ElementType> extends Iterable<ElementOf<T>> {}

function refuseBrackets(verb: "read" | "write"): never {
  throw new TypeError(
    `Cannot ${verb} SharedArray by [0]: use at(0) and set(0, value), or 'array', its typed array`,
  );
}

function checkSize(size: number): number {
  if (Number.isSafeInteger(size) && size >= 0) return size;
  throw new RangeError(
    `Cannot create SharedArray: its size must be an integer >= 0, but is ${size}`,
  );
}

function listOf<V>(values: Iterable<V>): ArrayLike<V> {
  // Neither a list of numbers nor a typed array needs another copy.
  if (Array.isArray(values)) return values;
  if (typeof values?.[Symbol.iterator] === "function") {
    return ArrayBuffer.isView(values) ? values as unknown as ArrayLike<V> : [...values];
  }
  throw new TypeError(
    "Cannot create SharedArray: 'sizeOrValues' must be a number or an iterable of values, " +
      `but is ${textOf(values)} (${typeof values})`,
  );
}

/** An index as `Array.prototype.slice` takes it, from the start. */
function absolute(index: number, length: number): number {
  const whole = Math.trunc(index) || 0;
  return whole < 0 ? Math.max(length + whole, 0) : Math.min(whole, length);
}

registerExports({ SharedArray });
