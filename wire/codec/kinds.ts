/**
 * The kinds of things a graph can hold: how each is taken apart into slots, and made again. Which kind
 * a thing is of says `kind_of.ts`.
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

import { describe } from "../../memory/show.ts";
import { emptyError, type ErrorField, fillError, toEnvelope } from "./error_envelope.ts";
import type { GraphReader, GraphWriter, Node } from "./graph.ts";
import { type Shareable, shareableNamed, shareableWith } from "./shareable.ts";
import { builtInViewNumber, tracksLength, viewClass } from "./views.ts";

/** How one kind of things crosses. A node begins with the kind's tag; its parts follow. */
interface KindSpec<T> {
  /** Takes it apart: puts the parts into the node. */
  flatten(source: T, node: Node, writer: GraphWriter): void;
  /** Does so once it is clear that it is not moved; only what can be moved has this. */
  settle?(source: T, node: Node, writer: GraphWriter): void;
  /** Makes it, without what can refer back to it. */
  create(node: Node, reader: GraphReader): unknown;
  /** Puts in what can refer back to it. */
  fill?(made: T, node: Node, reader: GraphReader): void;
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

/** Objects, of whatever class of the user's. */
export const OBJECT: Kind = define<Record<string, unknown>>({
  flatten(source, node, writer) {
    for (const key of Object.keys(source)) {
      node.push(writer.key(key), writer.slot(source[key], key));
    }
  },
  create: () => ({}),
  fill(made, node, reader) {
    for (let at = 1; at < node.length; at += 2) {
      setOwn(made, reader.key(node[at]), reader.value(node[at + 1]));
    }
  },
});

/** Arrays without holes and other properties. */
export const ARRAY: Kind = define<unknown[]>({
  flatten(source, node, writer) {
    for (let at = 0; at < source.length; at++) {
      writer.reading = at;
      node.push(writer.slot(source[at], at));
    }
  },
  create: () => [],
  fill(made, node, reader) {
    for (let at = 1; at < node.length; at++) made.push(reader.value(node[at]));
  },
});

/** All other arrays. */
export const SPARSE: Kind = define<Record<string, unknown> & { length: number }>({
  flatten(source, node, writer) {
    const keys = Object.keys(source);
    const count = keys.findLastIndex(isIndex) + 1; // Indices come first, always.
    node.push(source.length, count);
    keys.forEach((key, at) => {
      const step = at < count ? Number(key) : key;
      const name = at < count ? writer.reading = Number(key) : writer.key(key);
      node.push(name, writer.slot(source[key], step));
    });
  },
  create: ([, length, , ...parts]) => emptyArray(Number(length), parts.length),
  fill(made, node, reader) {
    const [, length, count] = node as [number, number, number];
    for (let at = 3; at < node.length; at += 2) {
      const isElement = at < 3 + 2 * count;
      if (isElement && !(Number(node[at]) < length)) throw new Error("an index is out of range");
      setOwn(made, isElement ? String(node[at]) : reader.key(node[at]), reader.value(node[at + 1]));
    }
  },
});

/** Maps. */
export const MAP: Kind = define<Map<unknown, unknown>>({
  flatten(source, node, writer) {
    let at = 0;
    Map.prototype.forEach.call(source, (value, key) => {
      const entry = at++;
      node.push(writer.slot(key, () => `.keys()[${entry}]`));
      node.push(writer.slot(value, () => entryText(key, entry)));
    });
  },
  create: () => new Map(),
  fill(made, node, reader) {
    for (let at = 1; at < node.length; at += 2) {
      made.set(reader.value(node[at]), reader.value(node[at + 1]));
    }
  },
});

/** Sets. */
export const SET: Kind = define<Set<unknown>>({
  flatten(source, node, writer) {
    let at = 0;
    Set.prototype.forEach.call(source, (member) => {
      const index = at++;
      node.push(writer.slot(member, () => `.values()[${index}]`));
    });
  },
  create: () => new Set(),
  fill(made, node, reader) {
    for (let at = 1; at < node.length; at++) made.add(reader.value(node[at]));
  },
});

/** Dates. */
export const DATE: Kind = define<Date>({
  flatten: (source, node) => void node.push(Date.prototype.getTime.call(source)),
  create: ([, time]) => new Date(Number(time)),
});

/** Regular expressions; `lastIndex` starts anew. */
export const REGEXP: Kind = define<RegExp>({
  flatten: (source, node, writer) => void node.push(writer.slot(source.source), source.flags),
  create: ([, source, flags], reader) => new RegExp(reader.text(source), reader.text(flags)),
});

/** Objects around primitives. */
export const BOXED: Kind = define<{ valueOf(): unknown }>({
  flatten: (source, node, writer) => void node.push(writer.slot(source.valueOf())),
  create: ([, primitive], reader) => Object(reader.value(primitive)),
});

/** Bigints beyond 64 bits. */
export const BIGINT: Kind = define<bigint>({
  flatten: (source, node) => void node.push(source.toString(16)),
  create([, digits], reader) {
    const text = reader.text(digits);
    return text.startsWith("-") ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
  },
});

/** The number -0. */
export const NEGATIVE0: Kind = define<number>({ flatten() {}, create: () => -0 });

/** Strings that msgpackr would alter. */
export const STRING: Kind = define<string>({
  flatten: (source, node) => void node.push(JSON.stringify(source)),
  create: ([, json], reader) => String(JSON.parse(reader.text(json))),
});

/** ArrayBuffers. */
export const BUFFER: Kind = define<ArrayBuffer>({
  flatten(source, _node, writer) {
    if (source.detached) {
      throw new Unsendable(
        "an ArrayBuffer that was moved before is empty here",
        "move a copy, buffer.slice()",
      );
    }
    writer.settleLater();
  },
  settle(source, node, writer) {
    const maxByteLength = source.resizable ? source.maxByteLength : null;
    node.push(writer.append(source), source.byteLength, maxByteLength);
  },
  create([, offset, length, maxByteLength], reader) {
    const contents = reader.blob(offset, length);
    if (maxByteLength === null) return contents;
    const made = new ArrayBuffer(contents.byteLength, { maxByteLength: Number(maxByteLength) });
    new Uint8Array(made).set(new Uint8Array(contents));
    return made;
  },
});

/** Typed arrays and DataViews. */
export const VIEW: Kind = define<ArrayBufferView & { length?: number }>({
  flatten(source, node, writer) {
    const length = tracksLength(source) ? null : source.length ?? source.byteLength;
    const buffer = writer.slot(source.buffer, "buffer");
    node.push(builtInViewNumber(source), buffer, source.byteOffset, length);
  },
  create([, number, buffer, byteOffset, length], reader) {
    const ctor = viewClass(Number(number));
    const memory = reader.value(buffer);
    // Typed arrays also take lengths, arrays and iterables, none of which is meant here.
    if (!isBuffer(memory)) throw new Error("a view is not on a buffer");
    return new ctor(memory, Number(byteOffset), length === null ? undefined : Number(length));
  },
});

/** What travels beside the bytes: what is moved, shared memory, and what only the runtime can clone. */
export const ATTACHED: Kind = define<object>({
  flatten: (source, node, writer) => void node.push(writer.attach(source)),
  create: ([, index], reader) => reader.attachment(index),
});

/** The classes of what can be moved, ArrayBuffer apart. */
export const MOVABLE_CLASSES = [
  "MessagePort",
  "ReadableStream",
  "WritableStream",
  "TransformStream",
];

/** What cannot be copied. */
export const MOVABLE: Kind = define<object>({
  flatten: (_source, _node, writer) => writer.settleLater(true),
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

/** Errors, by their envelope. */
export const ERROR: Kind = define<Error>({
  flatten(source, node, writer) {
    const { class: name, hidden, visible, ...texts } = toEnvelope(source);
    for (const text of [name, texts.name, texts.message, texts.stack]) node.push(writer.slot(text));
    node.push(0);
    const start = node.length;
    for (const field of hidden) pushField(field, node, writer);
    node[start - 1] = (node.length - start) / 2;
    for (const field of visible) pushField(field, node, writer);
  },
  create([, className, name, message], reader) {
    return emptyError({
      class: reader.text(className),
      name: reader.text(name),
      message: reader.text(message),
    });
  },
  fill(made, [, , , , stack, count, ...parts], reader) {
    const fields: ErrorField[] = [];
    for (let at = 0; at < parts.length; at += 2) {
      fields.push([reader.key(parts[at]), reader.value(parts[at + 1])]);
    }
    const hidden = fields.splice(0, Number(count));
    fillError(made, { stack: reader.text(stack), hidden, visible: fields });
  },
});

/** Live handles. */
export const SHAREABLE: Kind = define<object>({
  flatten(source, node, writer) {
    const { kind, toParts } = shareableOf(source)!;
    writer.checkAttachable(kind);
    node.push(
      writer.slot(kind),
      writer.slot(toParts(source, writer), () => ` (what ${kind} is made of)`),
    );
  },
  create([, kind, parts], reader) {
    const name = reader.text(kind);
    const shareable = shareableNamed(name);
    if (shareable !== undefined) return shareable.fromParts(reader.complete(parts));
    throw new Error(`this process knows no shareable "${name}"; import the module that defines it`);
  },
});

function shareableOf(source: object): Shareable | undefined {
  for (let at = Object.getPrototypeOf(source); at !== null; at = Object.getPrototypeOf(at)) {
    const found = shareableWith(at);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Puts a field of an error into its node; what cannot be sent is described or left out. */
function pushField([key, value]: ErrorField, node: Node, writer: GraphWriter): void {
  const sent = writer.trySlot(value, key) ??
    (ESSENTIAL.has(key) ? writer.trySlot(describeInside(value, writer), key) : null);
  if (sent !== null) node.push(writer.key(key), sent.slot);
}

/** Words for what cannot be sent; of an array, for those of its items. */
function describeInside(value: unknown, writer: GraphWriter): unknown {
  try {
    if (!Array.isArray(value)) return describe(value);
    return value.map((item) => writer.trySlot(item, "errors") === null ? describe(item) : item);
  } catch {
    return describe(value);
  }
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

/** A global class, if the runtime has one of that name. */
export function globalClass(name: string): { prototype: object } | undefined {
  const found = (globalThis as Record<string, unknown>)[name];
  return typeof found === "function" ? found as unknown as { prototype: object } : undefined;
}

/** Whether something is an instance of the global class of that name. */
export function isOfGlobalClass(source: object, name: string): boolean {
  return globalClass(name)?.prototype.isPrototypeOf(source) === true;
}
