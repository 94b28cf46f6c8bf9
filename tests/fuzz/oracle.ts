/** What must hold of whatever comes out of a decoder. */

import { Unpackr } from "msgpackr/unpack";
import { EncodingError } from "../../errors.ts";
import * as errors from "../../errors.ts";
import { decode } from "../../wire/codec/codec.ts";
import { shareableWith } from "../../wire/codec/shareable.ts";
import type { Message } from "./corpus.ts";

/** A value takes at most so many bytes for each of its message, and so many besides. */
const BYTES_A_BYTE = 128;
const BYTES_BESIDES = 4096;
const OBJECT_BYTES = 64;
const SLOT_BYTES = 16;

type Anything = Record<PropertyKey, unknown>;

const names = Object.getOwnPropertyNames(globalThis).filter((name) => /^[A-Z]/.test(name));
const globals = names.map((name) => (globalThis as Anything)[name]).filter(isClass);

function isClass(value: unknown): value is { prototype: object } {
  return typeof value === "function" && typeof value.prototype === "object" &&
    value.prototype !== null;
}

/** Objects that the whole program shares: no message may hand one out. */
const shared = new Set<unknown>([globalThis, Reflect, Math, JSON, Atomics, Intl]);
for (const ctor of globals) shared.add(ctor).add(ctor.prototype);
shared.add(Object.getPrototypeOf(Uint8Array.prototype));

/** What a decoded object may be an instance of. */
const prototypes = new Set<unknown>([
  ...[Object, Array, Map, Set, Date, RegExp, Number, String, Boolean, BigInt].map(prototypeOf),
  ...[ArrayBuffer, SharedArrayBuffer, DataView].map(prototypeOf),
  ...globals.map(prototypeOf).filter((prototype) =>
    prototype instanceof Error || Object.getPrototypeOf(Uint8Array.prototype) ===
      Object.getPrototypeOf(prototype)
  ),
  Error.prototype,
  ...Object.values(errors).filter(isClass).map(prototypeOf),
  Object.getPrototypeOf(new Unpackr().unpack(Uint8Array.of(0xc1))), // What msgpackr makes of the byte that means nothing.
]);

function prototypeOf({ prototype }: { prototype: object }): object {
  return prototype;
}

/** What a forged message must not change: all properties of what every program uses. */
export function fingerprint(): string {
  const lines: string[] = [];
  for (const [at, target] of [...shared].entries()) {
    if (target === globalThis) continue;
    const descriptors = Object.getOwnPropertyDescriptors(target as object) as Anything;
    for (const key of Reflect.ownKeys(descriptors)) {
      const { value, get, set } = descriptors[key] as PropertyDescriptor;
      const text = typeof value === "object" ? "object" : String(value).length;
      lines.push(`${at} ${String(key)} ${typeof value} ${text} ${typeof get} ${typeof set}`);
    }
    lines.push(`${at} ${Object.isExtensible(target)}`);
  }
  return lines.join("\n");
}

/**
 * Looks at all of a decoded value. Throws if it is more than data.
 *
 * @returns The bytes that it takes, by rule of thumb.
 */
export function weigh(value: unknown, attachments: readonly unknown[]): number {
  const given = new Set(attachments);
  const seen = new Set<unknown>();
  const open: unknown[] = [value];
  let bytes = 0;
  while (open.length > 0) {
    const each = open.pop();
    if (typeof each === "function") throw new Error(`It holds a function: ${each.name}`);
    if (typeof each === "symbol") throw new Error("It holds a symbol");
    if (each === null || each === undefined || seen.has(each) || given.has(each)) continue;
    if (typeof each === "string") bytes += 2 * each.length;
    if (typeof each === "bigint") bytes += each.toString(16).length / 2;
    if (typeof each === "string" || typeof each === "object") seen.add(each);
    if (typeof each === "object") bytes += weighObject(each, open);
  }
  return bytes;
}

function weighObject(object: object, open: unknown[]): number {
  if (shared.has(object)) throw new Error("It holds an object that the whole program shares");
  const prototype = Object.getPrototypeOf(object);
  if (prototype !== null && shareableWith(prototype) !== undefined) return OBJECT_BYTES;
  if (!prototypes.has(prototype)) throw new Error("It holds an object of a strange prototype");
  if (ArrayBuffer.isView(object)) {
    open.push(object.buffer);
    return OBJECT_BYTES;
  }
  if (object instanceof ArrayBuffer) return OBJECT_BYTES + object.byteLength;
  if (object instanceof String) return OBJECT_BYTES + 2 * object.length;
  let slots = 0;
  const push = (value: unknown) => {
    slots++;
    open.push(value);
  };
  if (object instanceof Map) {
    object.forEach((value, key) => {
      push(key);
      push(value);
    });
  }
  if (object instanceof Set) object.forEach(push);
  for (const key of Reflect.ownKeys(object)) {
    // Properties that engines give to errors.
    if (object instanceof Error && (key === "stack" || typeof key === "symbol")) continue;
    if (typeof key === "symbol") throw new Error("It holds an object with a symbol as a key");
    const property = Object.getOwnPropertyDescriptor(object, key)!;
    if (!("value" in property)) throw new Error(`It holds an object with a getter: ${key}`);
    push(property.value);
  }
  return OBJECT_BYTES + SLOT_BYTES * slots;
}

/** Whether a message gave a value or an error. */
export type Outcome = "value" | "error";

/**
 * Decodes a message, and checks all that must hold whatever is in it.
 *
 * @throws {Error} If it does not hold.
 */
export function checkDecode({ bytes, attachments, body }: Message): Outcome {
  let value: unknown;
  try {
    value = decode(bytes, 0, bytes.length, attachments, body);
  } catch (error) {
    if (error instanceof EncodingError) return "error";
    throw new Error(`It throws what is no EncodingError: ${error}`, { cause: error });
  }
  const weight = weigh(value, attachments);
  const size = bytes.length + (body?.length ?? 0);
  if (weight > BYTES_A_BYTE * size + BYTES_BESIDES) {
    throw new Error(`Its value takes ${weight} bytes, but it has ${size}`);
  }
  return "value";
}
