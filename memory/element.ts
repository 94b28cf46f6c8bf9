/**
 * Element types: their names, what an element is in TypeScript, and which typed array holds it.
 *
 * @module
 */

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

/** The typed array that holds elements of a type; a bool is a byte, 0 or 1. */
export type TypedArrayOf<T extends ElementType> = T extends "i8" | "b" ? Int8Array
  : T extends "u8" | "B" | "bool" | "?" ? Uint8Array
  : T extends "i16" | "h" ? Int16Array
  : T extends "u16" | "H" ? Uint16Array
  : T extends "i32" | "i" ? Int32Array
  : T extends "u32" | "I" ? Uint32Array
  : T extends "i64" | "l" | "q" ? BigInt64Array
  : T extends "u64" | "L" | "Q" ? BigUint64Array
  : T extends "f32" | "f" ? Float32Array
  : Float64Array;

const typedArrays = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  f32: Float32Array,
  f64: Float64Array,
  bool: Uint8Array,
} as const;

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

/** Element types by their names here. */
export type CellType = keyof typeof typedArrays;

/** The bytes that an element takes; it lies at a multiple of them. */
export function bytesOf(type: CellType): number {
  return typedArrays[type].BYTES_PER_ELEMENT;
}

/** The typed array over a whole buffer. */
export function typedArrayOn(type: CellType, buffer: SharedArrayBuffer): TypedArrayOf<ElementType> {
  return new (typedArrays[type] as typeof Uint8Array)(buffer) as TypedArrayOf<ElementType>;
}

/**
 * Finds the type of a name or code.
 *
 * @param subject Whose type it is, for the error: `Value: unknown type ...`.
 * @throws {TypeError} If there is none; it names the known ones.
 */
export function checkType(subject: string, name: unknown): CellType {
  if (typeof name === "string") {
    if (Object.hasOwn(typesByCode, name)) return typesByCode[name as keyof typeof typesByCode];
    if (Object.hasOwn(typedArrays, name)) return name as CellType;
  }
  throw new TypeError(
    `Cannot create ${subject} unknown type ${
      typeof name === "string" ? JSON.stringify(name) : textOf(name)
    }; known are ${Object.keys(typedArrays).join(", ")} and Python's codes ${
      Object.keys(typesByCode).join(", ")
    }`,
  );
}

/** Whether a value is what elements of the type are. */
export function isElement(type: CellType, value: unknown): boolean {
  const got = typeof value;
  return got === kindOf(type);
}

/** The error for a value that is no element of the type; `subject` says of what. */
export function misfit(subject: string, type: CellType, value: unknown): TypeError {
  const text = `Cannot write ${subject} of type ${type} holds a ${kindOf(type)}, but got ` +
    `${textOf(value)} (${typeof value})`;
  const mendable = kindOf(type) === "bigint" && Number.isInteger(value);
  return new TypeError(mendable ? `${text}; write ${BigInt(value as number)}n` : text);
}

function kindOf(type: CellType): "bigint" | "boolean" | "number" {
  switch (type) {
    case "i64":
    case "u64":
      return "bigint";
    case "bool":
      return "boolean";
    default:
      return "number";
  }
}

/** A value in an error text. */
export function textOf(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value === "object") return Object.prototype.toString.call(value);
  return String(value);
}
