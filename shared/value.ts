import { type Cells, type IntegerCells, newBuffer, newCells } from "../memory/cell.ts";
import { checkAlive } from "../memory/control.ts";
import {
  type CellType,
  checkType,
  type ElementOf,
  type ElementType,
  isElement,
  misfit,
} from "../memory/element.ts";
import type { Lock, RLock } from "../sync.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { AdoptOptions, checkLock, noLock, type SharedOptions, type TypedParts } from "./options.ts";

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
    this.#lock = checkLock("Value", options);
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

registerExports({ Value });
