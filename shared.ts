/**
 * Values, arrays and records in shared memory.
 *
 * | class | what it is | Python |
 * |---|---|---|
 * | {@linkcode Value} | one number, bigint or boolean | `Value`, `RawValue` |
 * | {@linkcode SharedArray} | many of one type | `Array`, `RawArray` |
 * | {@linkcode SharedStruct} | a record of named ones | `Value` of a `ctypes.Structure` |
 *
 * All of them are shareable: what crosses is the memory itself, so that the largest array reaches a
 * process as fast as one number. **Never torn.** Each read of an element or field gives what somebody
 * wrote as a whole, 64-bit ones included. **Not atomic together.** Two steps are two: hold the lock that
 * `getLock()` returns. **Death.** Who dies amid several writes has made some of them, each whole; the
 * next one to acquire the lock finds its guard `abandoned`. Without a lock nobody is told.
 *
 * @example Ten processes count
 * ```ts no-eval
 * import { closure, Process, Value } from "@multiprocessing/core";
 *
 * const counter = new Value("i32", 0);
 * const target = closure(() => {
 *   const guard = counter.getLock().acquireSync();
 *   counter.value += 1;
 *   guard.release();
 * }, { counter });
 * for (let i = 0; i < 10; i++) new Process({ target }).start();
 * ```
 *
 * @module
 */

import { type Cells, type IntegerCells, newBuffer, newCells } from "./memory/cell.ts";
import { checkAlive } from "./memory/control.ts";
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
} from "./memory/element.ts";
import { type Field, fieldsOf, newRecordBuffer, type Schema } from "./memory/record.ts";
import { Lock, RLock } from "./sync.ts";
import { registerShareable } from "./wire/codec/shareable.ts";
import { registerExports } from "./wire/target/exports.ts";

export type { ElementOf, ElementType, TypedArrayOf };

/** Options of what lies in shared memory. */
export interface SharedOptions {
  /**
   * The lock that `getLock()` returns; true makes a new RLock, false none.
   *
   * @default {true}
   */
  lock?: boolean | Lock | RLock;
}

/** So many elements a fill writes, in 0.1 ms at most, before it looks whether its process is alive. */
const PIECE = 4096;

/** How all of them cross. */
interface Parts {
  buffer: SharedArrayBuffer;
  lock: Lock | null;
}

/** How a Value and a SharedArray cross. */
interface TypedParts extends Parts {
  type: CellType;
}

/** Options of a handle on what another process has made; not for users. */
class AdoptOptions implements SharedOptions {
  readonly lock: Lock | false;
  readonly buffer: SharedArrayBuffer;

  constructor({ lock, buffer }: Parts) {
    this.lock = lock ?? false;
    this.buffer = buffer;
  }
}

/**
 * One typed value in shared memory; shareable.
 *
 * **Never torn.** A read gives a value that somebody wrote as a whole, 64-bit ones included. **Not
 * atomic together.** `v.value += 1` is a read and a write; hold {@linkcode getLock} around it, or use
 * {@linkcode add}. Numbers out of range wrap as in the typed array of the type.
 *
 * Semantics: Python's `multiprocessing.Value`.
 *
 * @typeParam T The element type.
 *
 * @example Usage
 * ```ts
 * import { Value } from "@multiprocessing/core/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const ratio = new Value("f64", 0.5);
 * ratio.value *= 3;
 * assertEquals(ratio.value, 1.5);
 *
 * const count = new Value("i64", 40n);
 * assertEquals(count.add(2n), 40n);
 * assertEquals(count.value, 42n);
 * ```
 */
export class Value<T extends ElementType = ElementType> {
  readonly #type: CellType;
  readonly #buffer: SharedArrayBuffer;
  readonly #cells: Cells<ElementOf<T>>;
  readonly #lock: Lock | RLock | undefined;

  static {
    registerShareable("Value", Value, (value): TypedParts => ({
      type: value.#type,
      buffer: value.#buffer,
      lock: value.#lock ?? null,
    }), (parts) => {
      const { type } = parts as TypedParts;
      return new Value(type, undefined, new AdoptOptions(parts as TypedParts));
    });
  }

  /**
   * Creates a value.
   *
   * @param type The element type.
   * @param initial Its first value; zero or false if undefined.
   * @param options Which lock goes with it.
   * @throws {TypeError} If the type is unknown, or `initial` is not of it.
   */
  constructor(type: T, initial?: ElementOf<T>, options: SharedOptions = {}) {
    this.#type = checkType("Value:", type);
    this.#lock = checkLock("Value", options.lock);
    this.#buffer = options instanceof AdoptOptions ? options.buffer : newBuffer(this.#type, 1);
    this.#cells = newCells(this.#type, this.#buffer, 0, 1);
    if (initial !== undefined) this.value = initial;
  }

  /**
   * The value.
   *
   * @throws {TypeError} If what is assigned is not of the element type.
   */
  get value(): ElementOf<T> {
    return this.#cells.load(0);
  }

  set value(value: ElementOf<T>) {
    checkAlive();
    this.#check(value);
    this.#cells.store(0, value);
  }

  /**
   * The lock that goes with the value.
   *
   * @returns An RLock, or the lock given to the constructor.
   * @throws {TypeError} If the value was created with `lock: false`.
   */
  getLock(): RLock | Lock {
    return this.#lock ?? noLock("Value");
  }

  /**
   * Adds in one step, without the lock.
   *
   * @param n What to add.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  add(n: ElementOf<T>): ElementOf<T> {
    return this.#integers("add", n).add(0, n);
  }

  /**
   * Subtracts in one step, without the lock.
   *
   * @param n What to subtract.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  sub(n: ElementOf<T>): ElementOf<T> {
    return this.#integers("subtract", n).sub(0, n);
  }

  /**
   * Writes in one step, without the lock.
   *
   * @param value What to write.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  exchange(value: ElementOf<T>): ElementOf<T> {
    return this.#integers("exchange", value).exchange(0, value);
  }

  /**
   * Writes in one step, without the lock, if the value is the expected one.
   *
   * @param expected What the value must be.
   * @param value What to write then.
   * @returns The value before: `expected`, if it was written.
   * @throws {TypeError} If the type is no integer type.
   */
  compareExchange(expected: ElementOf<T>, value: ElementOf<T>): ElementOf<T> {
    this.#check(expected);
    return this.#integers("exchange", value).compareExchange(0, expected, value);
  }

  #integers(verb: string, operand: ElementOf<T>): IntegerCells<ElementOf<T>> {
    checkAlive();
    if (!("add" in this.#cells)) {
      throw new TypeError(
        `Cannot ${verb} atomically: a Value of type ${this.#type} is no integer; ` +
          "hold getLock() and use 'value'",
      );
    }
    this.#check(operand);
    return this.#cells as IntegerCells<ElementOf<T>>;
  }

  #check(value: unknown): void {
    if (!isElement(this.#type, value)) throw misfit("Value: one", this.#type, value);
  }
}

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
export class SharedArray<T extends ElementType = ElementType> implements Iterable<ElementOf<T>> {
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
    this.#lock = checkLock("SharedArray", options.lock);
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
        `but is ${textOf(index)} (length ${length})`,
    );
  }

  #check(value: unknown, index: number): void {
    if (isElement(this.#type, value)) return;
    throw misfit(`SharedArray: element ${index}`, this.#type, value);
  }
}

/** How a SharedStruct crosses. */
interface StructParts extends Parts {
  schema: Schema;
}

/**
 * A record of typed fields in one block of shared memory; shareable.
 *
 * **Never torn.** A read of a field gives a value that somebody wrote as a whole. **Not atomic
 * together.** Several fields, and `s.fields.n += 1`, are several steps: hold {@linkcode getLock}.
 * **Death.** A process that dies between two writes leaves some fields old and some new, each of them
 * whole; the next owner of the lock finds its guard `abandoned`. Numbers out of range wrap as in the
 * typed array of the type.
 *
 * Semantics: Python's `multiprocessing.Value` of a `ctypes.Structure`.
 *
 * @typeParam S The element type of each field.
 *
 * @example Usage
 * ```ts
 * import { SharedStruct } from "@multiprocessing/core/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const point = new SharedStruct({ x: "f64", y: "f64", hits: "i32" }, { x: 1.5 });
 * point.fields.y = point.fields.x * 2;
 * point.fields.hits += 1;
 * assertEquals({ ...point.fields }, { x: 1.5, y: 3, hits: 1 });
 * ```
 */
export class SharedStruct<
  S extends Record<string, ElementType> = Record<string, ElementType>,
> {
  /**
   * The fields, enumerable in the order of the schema.
   *
   * `{ ...struct.fields }` copies them, field after field. Assigning what is not of a field's type, or
   * to a name that is no field, throws TypeError.
   */
  readonly fields: { -readonly [K in keyof S]: ElementOf<S[K]> };
  readonly #schema: Schema;
  readonly #buffer: SharedArrayBuffer;
  readonly #lock: Lock | RLock | undefined;

  static {
    registerShareable<SharedStruct>("SharedStruct", SharedStruct, (struct): StructParts => ({
      schema: struct.#schema,
      buffer: struct.#buffer,
      lock: struct.#lock ?? null,
    }), (parts) => {
      const { schema } = parts as StructParts;
      const options = new AdoptOptions(parts as StructParts);
      return new SharedStruct(Object.fromEntries(schema), undefined, options);
    });
  }

  /**
   * Creates a record.
   *
   * @param schema The element type of each field, by its name.
   * @param initial First values of fields; zero or false where undefined.
   * @param options Which lock goes with it.
   * @throws {TypeError} If a type is unknown, `initial` has a field that the schema has not, or one of
   * its values is not of the field's type.
   */
  constructor(
    schema: S,
    initial: { [K in keyof S]?: ElementOf<S[K]> } = {},
    options: SharedOptions = {},
  ) {
    this.#schema = checkSchema(schema);
    this.#lock = checkLock("SharedStruct", options.lock);
    this.#buffer = options instanceof AdoptOptions ? options.buffer : newRecordBuffer(this.#schema);
    this.fields = propertiesOf(fieldsOf(this.#schema, this.#buffer)) as typeof this.fields;
    if (!isRecord(initial)) {
      throw new TypeError(
        `Cannot create SharedStruct: 'initial' must be an object of values, but is ${
          textOf(initial)
        }`,
      );
    }
    for (const [name, value] of Object.entries(initial)) {
      if (!Object.hasOwn(this.fields, name)) {
        throw unknownField("create", "'initial' has an unknown field", name, this.fields);
      }
      if (value !== undefined) (this.fields as Record<string, unknown>)[name] = value;
    }
  }

  /**
   * The lock that goes with the record.
   *
   * @returns An RLock, or the lock given to the constructor.
   * @throws {TypeError} If the record was created with `lock: false`.
   */
  getLock(): RLock | Lock {
    return this.#lock ?? noLock("SharedStruct");
  }
}

function checkLock(what: string, lock: SharedOptions["lock"] = true): Lock | RLock | undefined {
  if (lock === true) return new RLock();
  if (lock === false) return undefined;
  if (lock instanceof Lock) return lock;
  throw new TypeError(
    `Cannot create ${what}: 'lock' must be a boolean, a Lock or an RLock, but is ${textOf(lock)}`,
  );
}

function noLock(what: string): never {
  throw new TypeError(`Cannot get the lock of ${what}: it was created with 'lock: false'`);
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkSchema(schema: unknown): Schema {
  if (isRecord(schema)) {
    return Object.entries(schema).map((
      [name, type],
    ) => [name, checkType(`SharedStruct: field '${name}' has`, type)]);
  }
  throw new TypeError(
    `Cannot create SharedStruct: 'schema' must be an object of element types, but is ${
      textOf(schema)
    }`,
  );
}

/** The fields as properties. Writing to any other name throws, also in code that is not strict. */
function propertiesOf(fields: readonly Field[]): object {
  const guard = new Proxy({}, {
    set(_target, name) {
      throw unknownField("write", "there is no field", String(name), properties);
    },
  });
  const properties: object = Object.create(guard);
  for (const { name, type, cells } of fields) {
    Object.defineProperty(properties, name, {
      enumerable: true,
      get: () => cells.load(0),
      set(value) {
        checkAlive();
        if (!isElement(type, value)) throw misfit(`SharedStruct: field '${name}'`, type, value);
        cells.store(0, value);
      },
    });
  }
  return Object.preventExtensions(properties);
}

function unknownField(verb: string, text: string, name: string, fields: object): TypeError {
  const known = Object.keys(fields).join(", ") || "none";
  return new TypeError(`Cannot ${verb} SharedStruct: ${text} '${name}'; known are ${known}`);
}

registerExports({ SharedArray, SharedStruct, Value });
