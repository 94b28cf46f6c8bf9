/**
 * Values in shared memory.
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

import { type Cell, CELL_BYTES, type CellType, type IntegerCell, newCell } from "./memory/cell.ts";
import { checkAlive } from "./memory/control.ts";
import { Lock, RLock } from "./sync.ts";
import { registerExports } from "./wire/target/exports.ts";
import { registerShareable } from "./wire/codec/shareable.ts";

/**
 * Element types, and Python's one-letter codes for the same: `b` i8, `B` u8, `h` i16, `H` u16, `i` i32,
 * `I` u32, `l` `q` i64, `L` `Q` u64, `f` f32, `d` f64, `?` bool.
 */
export type ElementType =
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
  | "bool"
  | "b"
  | "B"
  | "h"
  | "H"
  | "i"
  | "I"
  | "l"
  | "L"
  | "q"
  | "Q"
  | "f"
  | "d"
  | "?";

/** What an element of a type is in TypeScript: i64 and u64 bigint, bool boolean, all others number. */
export type ElementOf<T extends ElementType> = T extends "i64" | "u64" | "l" | "L" | "q" | "Q"
  ? bigint
  : T extends "bool" | "?" ? boolean
  : number;

/** Options of what lies in shared memory. */
export interface SharedOptions {
  /**
   * The lock that `getLock()` returns; true makes a new RLock, false none.
   *
   * @default {true}
   */
  lock?: boolean | Lock | RLock;
}

const typesByCode = {
  b: "i8",
  B: "u8",
  h: "i16",
  H: "u16",
  i: "i32",
  I: "u32",
  l: "i64",
  L: "u64",
  q: "i64",
  Q: "u64",
  f: "f32",
  d: "f64",
  "?": "bool",
} as const;

const zeros: Record<CellType, number | bigint | boolean> = {
  i8: 0,
  u8: 0,
  i16: 0,
  u16: 0,
  i32: 0,
  u32: 0,
  i64: 0n,
  u64: 0n,
  f32: 0,
  f64: 0,
  bool: false,
};

/** How a Value crosses. */
interface ValueParts {
  type: CellType;
  buffer: SharedArrayBuffer;
  lock: Lock | null;
}

/** Options of a handle on a value that another process has made; not for users. */
class AdoptOptions implements SharedOptions {
  readonly lock: Lock | false;
  readonly buffer: SharedArrayBuffer;

  constructor({ lock, buffer }: ValueParts) {
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
  readonly #cell: Cell<ElementOf<T>>;
  readonly #lock: Lock | RLock | undefined;

  static {
    registerShareable("Value", Value, (value): ValueParts => ({
      type: value.#type,
      buffer: value.#buffer,
      lock: value.#lock ?? null,
    }), (parts) => {
      const { type } = parts as ValueParts;
      return new Value(type, undefined, new AdoptOptions(parts as ValueParts));
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
    this.#type = checkType(type);
    const adopted = options instanceof AdoptOptions ? options : undefined;
    this.#buffer = adopted?.buffer ?? new SharedArrayBuffer(CELL_BYTES);
    this.#cell = newCell(this.#type, this.#buffer);
    this.#lock = checkLock(options.lock);
    if (initial !== undefined) this.value = initial;
  }

  /**
   * The value.
   *
   * @throws {TypeError} If what is assigned is not of the element type.
   */
  get value(): ElementOf<T> {
    return this.#cell.load();
  }

  set value(value: ElementOf<T>) {
    checkAlive();
    checkElement(this.#type, value);
    this.#cell.store(value);
  }

  /**
   * The lock that goes with the value.
   *
   * @returns An RLock, or the lock given to the constructor.
   * @throws {TypeError} If the value was created with `lock: false`.
   */
  getLock(): RLock | Lock {
    if (this.#lock !== undefined) return this.#lock;
    throw new TypeError("Cannot get the lock of Value: it was created with 'lock: false'");
  }

  /**
   * Adds in one step, without the lock.
   *
   * @param n What to add.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  add(n: ElementOf<T>): ElementOf<T> {
    return this.#integers("add", n).add(n);
  }

  /**
   * Subtracts in one step, without the lock.
   *
   * @param n What to subtract.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  sub(n: ElementOf<T>): ElementOf<T> {
    return this.#integers("subtract", n).sub(n);
  }

  /**
   * Writes in one step, without the lock.
   *
   * @param value What to write.
   * @returns The value before.
   * @throws {TypeError} If the type is no integer type.
   */
  exchange(value: ElementOf<T>): ElementOf<T> {
    return this.#integers("exchange", value).exchange(value);
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
    checkElement(this.#type, expected);
    return this.#integers("exchange", value).compareExchange(expected, value);
  }

  #integers(verb: string, operand: ElementOf<T>): IntegerCell<ElementOf<T>> {
    checkAlive();
    if (!("add" in this.#cell)) {
      throw new TypeError(
        `Cannot ${verb} atomically: a Value of type ${this.#type} is no integer; ` +
          "hold getLock() and use 'value'",
      );
    }
    checkElement(this.#type, operand);
    return this.#cell as IntegerCell<ElementOf<T>>;
  }
}

function checkType(type: string): CellType {
  if (Object.hasOwn(typesByCode, type)) return typesByCode[type as keyof typeof typesByCode];
  if (Object.hasOwn(zeros, type)) return type as CellType;
  throw new TypeError(
    `Cannot create Value: unknown type ${JSON.stringify(type) ?? typeof type}; known are ` +
      `${Object.keys(zeros).join(", ")} and Python's codes ${Object.keys(typesByCode).join(", ")}`,
  );
}

function checkElement(type: CellType, value: unknown): void {
  const expected = typeof zeros[type];
  const got = typeof value;
  if (got === expected) return;
  throw new TypeError(
    `Cannot write Value: one of type ${type} holds a ${expected}, but got ${
      typeof value === "bigint" ? `${value}n` : String(value)
    } (${got})`,
  );
}

function checkLock(lock: SharedOptions["lock"] = true): Lock | RLock | undefined {
  if (lock === true) return new RLock();
  if (lock === false) return undefined;
  if (lock instanceof Lock) return lock;
  throw new TypeError(
    `Cannot create Value: 'lock' must be a boolean, a Lock or an RLock, but is ${String(lock)}`,
  );
}

registerExports({ Value });
