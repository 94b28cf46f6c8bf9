/**
 * The kinds of things a graph can hold: how each is taken apart into slots, and made again.
 *
 * | tag | kind      | parts                                                             |
 * |-----|-----------|-------------------------------------------------------------------|
 * | 0   | OBJECT    | (key, value)…                                                     |
 * | 1   | ARRAY     | element…                                                          |
 * | 2   | SPARSE    | length, number of elements, (index, element)…, (key, value)…      |
 * | 3   | MAP       | (key, value)…                                                     |
 * | 4   | SET       | member…                                                           |
 * | 5   | DATE      | milliseconds                                                      |
 * | 6   | REGEXP    | source, flags                                                     |
 * | 7   | BOXED     | the primitive in the box                                          |
 * | 8   | BIGINT    | hexadecimal, for those beyond 64 bits                             |
 * | 9   | NEGATIVE0 |                                                                   |
 * | 10  | STRING    | JSON, for those with lone surrogates or a leading U+FEFF          |
 * | 11  | BUFFER    | offset in the blobs, length, largest length or null               |
 * | 12  | VIEW      | class, buffer, byte offset, length or null if it tracks the buffer |
 * | 13  | ATTACHED  | index of the attachment                                           |
 * | 14  | MOVABLE   | (never on the wire: either ATTACHED or refused)                   |
 * | 15  | ERROR     | class, name, message, stack, number of hidden fields, (key, value)… |
 * | 16  | SHAREABLE | kind, parts                                                       |
 *
 * Keys are numbers of the table of keys, all else is slots.
 *
 * @module
 */

import { describe, emptyError, fillError, toEnvelope } from "./error_envelope.ts";
import type { GraphReader, GraphWriter, Slot, Step } from "./graph.ts";
import { isDense } from "./plain.ts";
import { type Shareable, shareableNamed, shareableWith } from "./shareable.ts";
import { builtInViewNumber, tracksLength, TYPED_ARRAY_PROTOTYPE, viewClass } from "./views.ts";

/** How one kind of things crosses. */
interface KindSpec<T> {
  /** Takes it apart. */
  flatten(source: T, writer: GraphWriter): Slot[];
  /** Takes it apart once it is clear that it is not moved; only what can be moved has this. */
  settle?(source: T, writer: GraphWriter): Slot[];
  /** Makes it, without what can refer back to it. */
  create(parts: Slot[], reader: GraphReader): unknown;
  /** Puts in what can refer back to it. */
  fill?(made: T, parts: Slot[], reader: GraphReader): void;
}

/** A {@linkcode KindSpec} with its tag. */
export interface Kind extends KindSpec<unknown> {
  /** Its index in {@linkcode KINDS}. */
  readonly tag: number;
}

/** Thrown where something cannot be sent; the graph adds the path. */
export class Unsendable {
  /** What is wrong and, if there is one, the mend. */
  readonly text: string;

  /**
   * Says why.
   *
   * @param reason What is wrong.
   * @param mend What to do about it.
   */
  constructor(reason: string, mend?: string) {
    this.text = mend === undefined ? reason : `${reason}; ${mend}`;
  }
}

/** All kinds, by tag. */
export const KINDS: Kind[] = [];

function define<T>(spec: KindSpec<T>): Kind {
  const kind = { tag: KINDS.length, ...spec } as Kind;
  KINDS.push(kind);
  return kind;
}

const OBJECT = define<Record<string, unknown>>({
  flatten(source, writer) {
    const parts: Slot[] = [];
    for (const key of Object.keys(source)) {
      parts.push(writer.key(key), writer.slot(source[key], key));
    }
    return parts;
  },
  create: () => ({}),
  fill(made, parts, reader) {
    for (let at = 0; at < parts.length; at += 2) {
      setOwn(made, reader.key(parts[at]), reader.value(parts[at + 1]));
    }
  },
});

const ARRAY = define<unknown[]>({
  flatten(source, writer) {
    const parts: Slot[] = [];
    for (let at = 0; at < source.length; at++) {
      writer.reading = at;
      parts.push(writer.slot(source[at], at));
    }
    return parts;
  },
  create: () => [],
  fill(made, parts, reader) {
    for (const part of parts) made.push(reader.value(part));
  },
});

const SPARSE = define<Record<string, unknown> & { length: number }>({
  flatten(source, writer) {
    const elements: Slot[] = [];
    const others: Slot[] = [];
    for (const key of Object.keys(source)) {
      const index = isIndex(key) ? Number(key) : undefined;
      if (index === undefined) others.push(writer.key(key), writer.slot(source[key], key));
      else elements.push(writer.reading = index, writer.slot(source[key], index));
    }
    return [source.length, elements.length, ...elements, ...others];
  },
  create: ([length, ...parts]) => emptyArray(Number(length), parts.length),
  fill(made, [length, count, ...parts], reader) {
    for (let at = 0; at < parts.length; at += 2) {
      const index = at < Number(count) ? Number(parts[at]) : undefined;
      if (index !== undefined && !(index < Number(length))) {
        throw new Error("an index is out of range");
      }
      setOwn(made, index?.toString() ?? reader.key(parts[at]), reader.value(parts[at + 1]));
    }
  },
});

const MAP = define<Map<unknown, unknown>>({
  flatten(source, writer) {
    const parts: Slot[] = [];
    Map.prototype.forEach.call(source, (value, key) => {
      const at = parts.length / 2;
      parts.push(
        writer.slot(key, () => `.keys()[${at}]`),
        writer.slot(value, () => entryText(key, at)),
      );
    });
    return parts;
  },
  create: () => new Map(),
  fill(made, parts, reader) {
    for (let at = 0; at < parts.length; at += 2) {
      made.set(reader.value(parts[at]), reader.value(parts[at + 1]));
    }
  },
});

const SET = define<Set<unknown>>({
  flatten(source, writer) {
    const parts: Slot[] = [];
    Set.prototype.forEach.call(source, (member) => {
      const at = parts.length;
      parts.push(writer.slot(member, () => `.values()[${at}]`));
    });
    return parts;
  },
  create: () => new Set(),
  fill(made, parts, reader) {
    for (const part of parts) made.add(reader.value(part));
  },
});

const DATE = define<Date>({
  flatten: (source) => [Date.prototype.getTime.call(source)],
  create: ([time]) => new Date(Number(time)),
});

const REGEXP = define<RegExp>({
  flatten: (source, writer) => [writer.slot(source.source), source.flags],
  create: ([source, flags], reader) => new RegExp(reader.text(source), reader.text(flags)),
});

const BOXED = define<Number | String | Boolean | BigInt>({
  flatten: (source, writer) => [writer.slot(source.valueOf())],
  create: ([slot], reader) => Object(reader.value(slot)),
});

const BIGINT = define<bigint>({
  flatten: (source) => [source.toString(16)],
  create([digits], reader) {
    const text = reader.text(digits);
    return text.startsWith("-") ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
  },
});

const NEGATIVE0 = define<number>({ flatten: () => [], create: () => -0 });

const STRING = define<string>({
  flatten: (source) => [JSON.stringify(source)],
  create: ([json], reader) => String(JSON.parse(reader.text(json))),
});

const BUFFER = define<ArrayBuffer>({
  flatten(source, writer) {
    if (source.detached) {
      throw new Unsendable("an ArrayBuffer that has been moved away is gone here");
    }
    writer.settleLater(BUFFER);
    return [];
  },
  settle: (source, writer) => [
    writer.append(source),
    source.byteLength,
    source.resizable ? source.maxByteLength : null,
  ],
  create([offset, length, maxByteLength], reader) {
    const contents = reader.blob(offset, length);
    if (maxByteLength === null) return contents;
    const made = new ArrayBuffer(contents.byteLength, { maxByteLength: Number(maxByteLength) });
    new Uint8Array(made).set(new Uint8Array(contents));
    return made;
  },
});

const VIEW = define<ArrayBufferView & { length?: number }>({
  flatten(source, writer) {
    const length = source.length ?? source.byteLength;
    return [
      builtInViewNumber(source),
      writer.slot(source.buffer, "buffer"),
      source.byteOffset,
      tracksLength(source) ? null : length,
    ];
  },
  create([number, buffer, byteOffset, length], reader) {
    const ctor = viewClass(Number(number));
    const memory = reader.value(buffer);
    // Typed arrays also take lengths, arrays and iterables, none of which is meant here.
    if (!isBuffer(memory)) throw new Error("a view is not on a buffer");
    return new ctor(memory, Number(byteOffset), length === null ? undefined : Number(length));
  },
});

/** What travels beside the bytes: what is moved, shared memory, and what only the runtime can clone. */
export const ATTACHED: Kind = define<object>({
  flatten: (source, writer) => [writer.attach(source)],
  create: ([index], reader) => reader.attachment(index),
});

const MOVABLE_CLASSES = ["MessagePort", "ReadableStream", "WritableStream", "TransformStream"];

const MOVABLE = define<object>({
  flatten(_source, writer) {
    writer.settleLater(MOVABLE);
    return [];
  },
  settle(source) {
    const name = MOVABLE_CLASSES.find((each) => isOfGlobalClass(source, each));
    throw new Unsendable(
      `a ${name} cannot be copied, only moved`,
      "list it in the option transfer, or send transfer(value, [it])",
    );
  },
  create() {
    throw new Error("something movable was not moved");
  },
});

/** Fields without which an error is not the same; rather than be dropped they are described. */
const ESSENTIAL = new Set(["cause", "errors", "error", "suppressed"]);

const ERROR = define<Error>({
  flatten(source, writer) {
    const { class: name, hidden, visible, ...texts } = toEnvelope(source);
    const hiddenParts = hidden.flatMap(([key, value]) => fieldParts(writer, key, value));
    return [
      ...[name, texts.name, texts.message, texts.stack].map((text) => writer.slot(text)),
      hiddenParts.length,
      ...hiddenParts,
      ...visible.flatMap(([key, value]) => fieldParts(writer, key, value)),
    ];
  },
  create([className, name, message], reader) {
    return emptyError({
      class: reader.text(className),
      name: reader.text(name),
      message: reader.text(message),
    });
  },
  fill(made, [_class, _name, _message, stack, count, ...parts], reader) {
    const fields: [string, unknown][] = [];
    for (let at = 0; at < parts.length; at += 2) {
      fields.push([reader.key(parts[at]), reader.value(parts[at + 1])]);
    }
    const hidden = fields.splice(0, Number(count) / 2);
    fillError(made, { stack: reader.text(stack), hidden, visible: fields });
  },
});

const SHAREABLE = define<object>({
  flatten(source, writer) {
    const { kind, toParts } = shareableOf(source)!;
    return [writer.slot(kind), writer.slot(toParts(source), () => ` (what ${kind} is made of)`)];
  },
  create([kind, parts], reader) {
    const name = reader.text(kind);
    const shareable = shareableNamed(name);
    if (shareable !== undefined) return shareable.fromParts(reader.complete(parts));
    throw new Error(`this process knows no shareable "${name}"; import the module that defines it`);
  },
});

const byPrototype = new Map<object | undefined, Kind>([
  [Object.prototype, OBJECT],
  [Map.prototype, MAP],
  [Set.prototype, SET],
  [Date.prototype, DATE],
  [RegExp.prototype, REGEXP],
  [Number.prototype, BOXED],
  [String.prototype, BOXED],
  [Boolean.prototype, BOXED],
  [BigInt.prototype, BOXED],
  [ArrayBuffer.prototype, BUFFER],
  [SharedArrayBuffer.prototype, ATTACHED],
  [TYPED_ARRAY_PROTOTYPE, VIEW],
  [DataView.prototype, VIEW],
  [Error.prototype, ERROR],
  ...MOVABLE_CLASSES.map((name) => [globalClass(name)?.prototype, MOVABLE] as const),
]);

/** What to do instead of sending one of these. */
const MENDS: Record<string, string> = {
  Promise: "await it first",
  Generator: "send an array of its items",
  WeakMap: "send a Map",
  WeakSet: "send a Set",
};

/**
 * Finds the kind of anything that is not a plain primitive.
 *
 * @param source The thing.
 * @returns Its kind.
 * @throws {Unsendable} If it is of none.
 */
export function kindOf(source: unknown): Kind {
  switch (typeof source) {
    case "string":
      return STRING;
    case "number":
      return NEGATIVE0;
    case "bigint":
      return BIGINT;
    case "object":
      return Array.isArray(source)
        ? isDense(source) ? ARRAY : SPARSE
        : kindOfObject(source as object);
    case "function":
      throw new Unsendable(
        `a function${source.name && ` (${source.name})`} cannot be sent between processes`,
        "send data, or give the function as a target or in the scope of closure()",
      );
    default:
      throw new Unsendable(`a ${typeof source} cannot be sent between processes`, "send its name");
  }
}

function kindOfObject(source: object): Kind {
  const prototype = Object.getPrototypeOf(source);
  if (prototype === Object.prototype) return OBJECT;
  for (let at = prototype; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    const kind = shareableWith(at) === undefined ? byPrototype.get(at) : SHAREABLE;
    if (kind !== undefined) return kind;
  }
  return kindOfStranger(source);
}

/** The kind of an instance of a class of which the table knows nothing. */
function kindOfStranger(source: object): Kind {
  const name = Object.prototype.toString.call(source).slice("[object ".length, -1);
  if (name === "Object") return OBJECT;
  if (name === "Error") return ERROR;
  let clone: object;
  try {
    clone = structuredClone(source);
  } catch {
    // The user's own classes may be tagged too; then what is in the way has a path of its own.
    if (Object.keys(source).length > 0) return OBJECT;
    throw unsendable(name);
  }
  const prototype = Object.getPrototypeOf(clone);
  if (prototype === Object.getPrototypeOf(source)) return ATTACHED;
  if (prototype !== Object.prototype) return asClone(clone);
  // Some of the platform's objects clone to nothing, such as an AbortSignal on Deno and Node.
  if (isOfGlobalClass(source, name)) throw unsendable(name);
  return OBJECT;
}

/** The kind of what is cloned first: a Map of another realm, or a File where that becomes a Blob. */
function asClone(clone: object): Kind {
  const kind = kindOf(clone);
  return { ...kind, flatten: (_source, writer) => kind.flatten(clone, writer) };
}

function unsendable(name: string): Unsendable {
  const article = /^[AEIOU]/.test(name) ? "an" : "a";
  return new Unsendable(`${article} ${name} cannot be sent between processes`, MENDS[name]);
}

function shareableOf(source: object): Shareable | undefined {
  for (let at = Object.getPrototypeOf(source); at !== null; at = Object.getPrototypeOf(at)) {
    const found = shareableWith(at);
    if (found !== undefined) return found;
  }
  return undefined;
}

function fieldParts(writer: GraphWriter, key: string, value: unknown): Slot[] {
  const sent = writer.trySlot(value, key);
  if (sent !== null) return [writer.key(key), sent.slot];
  if (!ESSENTIAL.has(key)) return [];
  if (!Array.isArray(value)) return [writer.key(key), writer.slot(describe(value))];
  const items = value.map((item) => writer.trySlot(item, key) === null ? describe(item) : item);
  return [writer.key(key), writer.slot(items, key)];
}

function entryText(key: unknown, at: number): string {
  if (typeof key === "string") return `.get(${JSON.stringify(key)})`;
  const isText = typeof key !== "object" && typeof key !== "function";
  return isText ? `.get(${String(key)})` : `.values()[${at}]`;
}

/** Sets a property without ever calling a setter or changing a prototype. */
function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== "__proto__" && key !== "length") target[key] = value;
  else {
    Object.defineProperty(target, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
}

/** Makes an array of holes in memory that is in proportion to what will be put in. */
function emptyArray(length: number, parts: number): unknown[] {
  const made: unknown[] = [];
  if (length > 64 + 16 * parts) made.length = 0xffffffff; // Now the engine keeps it as a table.
  made.length = length;
  return made;
}

function isIndex(key: string): boolean {
  const index = Number(key);
  return Number.isInteger(index) && index >= 0 && index < 0xffffffff && String(index) === key;
}

function isBuffer(value: unknown): value is ArrayBufferLike {
  return value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;
}

function globalClass(name: string): { prototype: object } | undefined {
  const found = (globalThis as Record<string, unknown>)[name];
  return typeof found === "function" ? found as unknown as { prototype: object } : undefined;
}

function isOfGlobalClass(source: object, name: string): boolean {
  return globalClass(name)?.prototype.isPrototypeOf(source) === true;
}
