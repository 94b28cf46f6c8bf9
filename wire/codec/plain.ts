/**
 * The question which half of the codec a value needs: whether it is a tree as JSON knows it, which
 * msgpackr carries faithfully, or more than that.
 *
 * msgpackr 2.1.3 is fast but not exact. It turns -0 into 0, lone surrogates into U+FFFD, functions
 * and holes into undefined and the key `__proto__` into `__proto_`; without its native reader it drops
 * a leading U+FEFF from strings; and `constructor` keys, foreign prototypes and toJSON() mislead it.
 * So all that is kept from it.
 *
 * @module
 */

/** Primitives that msgpackr carries faithfully. */
export type PlainPrimitive = string | number | bigint | boolean | null | undefined;

/** How deep msgpackr may recurse; deeper values go another way. */
const MAX_DEPTH = 200;
/** From so many elements on an array of like objects is worth a definition of their shape. */
const MIN_ROWS = 8;
/** Up to so many objects a list is searched faster than a Set. */
const MAX_LIST = 16;
/** From so many elements on cloning an array of numbers is cheaper than listing its keys. */
const MIN_CLONE = 256;

/** Whether a value is a primitive that msgpackr carries faithfully. */
export function isPlainPrimitive(value: unknown): value is PlainPrimitive {
  switch (typeof value) {
    case "string":
      return isPlainString(value);
    case "number":
      return value !== 0 || 1 / value > 0;
    case "boolean":
    case "undefined":
      return true;
    case "object":
      return value === null;
    case "bigint":
      return BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value;
    default:
      return false;
  }
}

/** Whether every element is a number. */
export function hasNumbersOnly(array: readonly unknown[]): array is number[] {
  for (let index = 0; index < array.length; index++) {
    if (typeof array[index] !== "number") return false;
  }
  return true;
}

/** Whether an array has all its elements, and no other properties that are enumerable. */
export function isDense(array: readonly unknown[]): boolean {
  const { length } = array;
  if (length < MIN_CLONE || !hasNumbersOnly(array)) {
    const keys = Object.keys(array);
    return keys.length === length && (length === 0 || keys[length - 1] === String(length - 1));
  }
  // No engine lists the other keys of an array without making a string of every index. A clone has
  // them too, is made faster, and can be emptied first.
  const clone = structuredClone(array) as unknown[];
  clone.length = 0;
  return Object.keys(clone).length === 0;
}

/** Walks one value; says whether it is a plain tree. */
export class TreeCheck {
  /** Whether an array of like objects was seen. */
  hasRows = false;

  readonly #dense: unknown;
  readonly #few: object[] = [];
  #many: Set<object> | undefined;

  /** @param dense An array that is known to be {@linkcode isDense}. */
  constructor(dense?: unknown) {
    this.#dense = dense;
  }

  /** Whether the value is plain at every depth, and holds no object twice. */
  isTree(value: unknown, depth = 0): boolean {
    if (typeof value !== "object" || value === null) return isPlainPrimitive(value);
    if (depth > MAX_DEPTH || this.#hasSeen(value)) return false;
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype) return this.#isPlainObject(value, depth);
    return prototype === Array.prototype && Array.isArray(value) &&
      this.#isPlainArray(value, depth);
  }

  #isPlainObject(object: object, depth: number): boolean {
    for (const key of Object.keys(object)) {
      if (key === "__proto__" || key === "constructor" || !isPlainString(key)) return false;
      if (!this.isTree((object as Record<string, unknown>)[key], depth + 1)) return false;
    }
    return true;
  }

  #isPlainArray(array: unknown[], depth: number): boolean {
    if (array !== this.#dense && !isDense(array)) return false;
    for (let index = 0; index < array.length; index++) {
      if (!this.isTree(array[index], depth + 1)) return false;
    }
    this.hasRows ||= array.length >= MIN_ROWS && haveSameKeys(array[0], array[array.length - 1]);
    return true;
  }

  #hasSeen(object: object): boolean {
    if (this.#many !== undefined) {
      const { size } = this.#many;
      return this.#many.add(object).size === size;
    }
    if (this.#few.includes(object)) return true;
    if (this.#few.push(object) > MAX_LIST) this.#many = new Set(this.#few);
    return false;
  }
}

function isPlainString(text: string): boolean {
  return text.isWellFormed() && text.charCodeAt(0) !== 0xfeff;
}

function haveSameKeys(one: unknown, other: unknown): boolean {
  if (!isKeyed(one) || !isKeyed(other)) return false;
  const keys = Object.keys(one);
  const otherKeys = Object.keys(other);
  return keys.length === otherKeys.length && keys.every((key, at) => key === otherKeys[at]);
}

function isKeyed(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
