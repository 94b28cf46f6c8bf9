/**
 * Values to bytes and back, with the fidelity of structured clone and more: shareables arrive as live
 * handles, errors keep class and properties, and what cannot be sent is refused by its path.
 *
 * The first byte says which way the value went. Frequent values have short ways; trees as JSON knows
 * them are msgpackr's; all else is first made a table, which then is msgpackr's too.
 *
 * | tag | value                                  | bytes after the tag                          |
 * |-----|----------------------------------------|----------------------------------------------|
 * | 0   | undefined                              |                                              |
 * | 1   | null                                   |                                              |
 * | 2   | false                                  |                                              |
 * | 3   | true                                   |                                              |
 * | 4   | number                                 | float64                                      |
 * | 5   | string, ASCII throughout and short     | characters                                   |
 * | 6   | any other well-formed string           | UTF-8                                        |
 * | 7   | array of numbers                       | to the 8th byte nothing, then float64 each   |
 * | 8   | typed array or DataView, whole buffer  | class (`views.ts`), then the memory          |
 * | 9   | tree (`plain.ts`)                      | msgpack                                      |
 * | 10  | graph (`graph.ts`)                     | length of the table, table in msgpack, blobs |
 *
 * Numbers are in the machine's byte order: the two ends share a memory.
 *
 * @module
 */

// The halves, not the whole: that one loads a native module and Node's streams in every worker.
import { Packr, RESERVE_START_SPACE, RESET_BUFFER_MODE, REUSE_BUFFER_MODE } from "msgpackr/pack";
import { addExtension, Unpackr } from "msgpackr/unpack";
import { EncodingError } from "../../errors.ts";
import { describe } from "../../memory/show.ts";
import { GraphReader, GraphWriter } from "./graph.ts";
import { hasNumbersOnly, isDense, isPlainPrimitive, TreeCheck } from "./plain.ts";
import type { Encoded } from "../protocol.ts";
import type { Passage } from "./shareable.ts";
import { viewClass, viewNumber } from "./views.ts";
import type { Transferable } from "../../runtime/port.ts";

const UNDEFINED = 0;
const NULL = 1;
const FALSE = 2;
const TRUE = 3;
const NUMBER = 4;
const ASCII = 5;
const UTF8 = 6;
const NUMBERS = 7;
const VIEW = 8;
const TREE = 9;
const GRAPH = 10;

/** Up to this length a loop over characters beats the runtime's text codec. */
const MAX_ASCII = 24;
/** Up to so many numbers it is not worth to make a view of them. */
const MAX_SINGLE = 32;
/** A buffer of at most so many bytes is kept for the next value. */
const MAX_KEPT = 4 * 1024 * 1024;
const MIN_BUFFER = 4096;
/**
 * So many bytes stand before a body. V8 copies into and out of shared memory byte by byte unless both sides
 * are aligned alike: eight times slower.
 */
const BEFORE_BODY = 16;

/** From so many bytes on memory is worth to be handed out by itself. */
export const MIN_BODY = 16 * 1024;

/** Options of {@linkcode encode}. */
export interface EncodeOptions {
  /** Names the value in errors, such as `args`. Default `value`. */
  root?: string;
  /** Buffers, ports and streams that are moved rather than copied. */
  transfer?: readonly Transferable[] | undefined;
  /** Likewise, but only those that stand in the value. */
  movable?: ReadonlySet<unknown> | undefined;
  /** The pid of the process that the value is for, if that is known. */
  to?: number | undefined;
  /** Whether the value is an array made for this, without holes and without other properties. */
  dense?: boolean;
  /** Whether large memory is handed out as it is, as the result's `body`, rather than copied. */
  apart?: boolean;
  /**
   * The result has no attachments: what bytes cannot hold is refused, with what this says of it.
   *
   * @param what The name of its class.
   */
  refuse?: (what: string) => string;
}

// Without records a map is an object to msgpackr, and small values need no code made for them; with
// records the keys of an array of objects are written once. `structuredClone: false` also forbids the
// decoder to follow references, which in forged bytes could make it count for ever.
const options = {
  mapsAsObjects: true,
  structuredClone: false,
  useToJSON: false,
  copyBuffers: true,
};
const treePackr = new Packr({ ...options, useRecords: false, variableMapSize: true });
const rowPackr = new Packr({ ...options, useRecords: true });
const unpackr = new Unpackr({ ...options, useRecords: false });
const PACK_OPTIONS = RESERVE_START_SPACE | RESET_BUFFER_MODE | REUSE_BUFFER_MODE | 1;

// As msgpackr 2.1.3 does it itself, but for names such as "valueOf": with those, forged bytes would get
// hold of its own table of classes, and of what that inherits.
const ERRORS = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]
    .map((ctor) => [ctor.name, ctor]),
);
addExtension({
  type: 0x65,
  read: ([name, message, cause]) => {
    const error = new (ERRORS.get(name) ?? Error)(message, { cause });
    return ERRORS.has(name) ? error : Object.assign(error, { name });
  },
});

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A buffer, as bytes and as numbers. */
interface Scratch {
  bytes: Uint8Array<ArrayBuffer>;
  numbers: Float64Array<ArrayBuffer>;
}

/** The buffer that no `encode()` is using: one within another, from a getter, makes its own. */
let spare: Scratch | undefined;

const NONE = Object.freeze([]) as unknown as never[];
const result: Encoded = {
  bytes: new Uint8Array(1),
  length: 0,
  body: undefined,
  attachments: NONE,
  transfer: NONE,
};

/**
 * Encodes a value.
 *
 * **The result is reused.** It and its bytes hold until the next call; copy them at once.
 * **Nothing is lost in silence.** What structured clone refuses is refused here; besides,
 * so are objects of the platform that would arrive empty.
 * **Getters** may be read twice, proxies are read as what they show.
 *
 * @param value The value.
 * @param options What it is called in errors, and what in it is moved.
 * @returns The bytes, and what travels beside them.
 * @throws {EncodingError} If something in the value cannot be sent; the message has its path.
 */
export function encode(value: unknown, options: EncodeOptions = {}): Encoded {
  if (options.transfer !== undefined && options.transfer.length > 0) return graph(value, options);
  if (options.movable !== undefined) return graph(value, options);
  switch (typeof value) {
    case "number":
      return number(value);
    case "string":
      if (isPlainPrimitive(value)) return text(value);
      break;
    case "boolean":
      return tagged(value ? TRUE : FALSE);
    case "undefined":
      return tagged(UNDEFINED);
    case "object":
      return value === null ? tagged(NULL) : object(value, options);
  }
  return graph(value, options);
}

/**
 * Encodes what a task has thrown, whatever it is: as {@linkcode encode}, but what cannot be sent is
 * replaced by an EncodingError that says so.
 *
 * @param thrown An error, or any other value.
 * @param refuse As in {@linkcode EncodeOptions}.
 * @returns The bytes, and what travels beside them.
 */
export function encodeThrown(thrown: unknown, refuse?: (what: string) => string): Encoded {
  try {
    return encode(thrown, { root: "what was thrown", ...refuse && { refuse } });
  } catch (error) {
    return encode(new EncodingError(`${reason(error)} (it was ${describe(thrown)})`));
  }
}

/**
 * Decodes a value. It has memory of its own and shares none with `bytes`.
 *
 * @param bytes Private memory that holds an encoded value.
 * @param start Where the value begins.
 * @param end Where it ends.
 * @param attachments What travelled beside the bytes.
 * @param body What came behind them, for the value to keep.
 * @returns The value.
 * @throws {EncodingError} If the bytes are not what `encode()` makes, or of a kind unknown here.
 */
export function decode(
  bytes: Uint8Array,
  start: number,
  end: number,
  attachments: readonly unknown[],
  body?: Uint8Array,
): unknown {
  try {
    return decodeTagged(bytes, start, end, attachments, body);
  } catch (cause) {
    throw new EncodingError(`Cannot decode a message of ${end - start} bytes: ${reason(cause)}`, {
      cause,
    });
  }
}

function decodeTagged(
  bytes: Uint8Array,
  start: number,
  end: number,
  attachments: readonly unknown[],
  body: Uint8Array | undefined,
): unknown {
  if (!(start < end && end <= bytes.length)) throw new Error("it has no end");
  switch (bytes[start]) {
    case UNDEFINED:
      return undefined;
    case NULL:
      return null;
    case FALSE:
      return false;
    case TRUE:
      return true;
    case NUMBER:
      return readNumber(bytes, start + 1, end);
    case ASCII:
      return readAscii(bytes, start + 1, end);
    case UTF8:
      return textDecoder.decode(bytes.subarray(start + 1, end));
    case NUMBERS:
      return readNumbers(bytes, start + 8, end);
    case VIEW:
      return new (viewClass(bytes[start + 1]!))(body?.buffer ?? copy(bytes, start + 2, end));
    case TREE:
      return unpack(bytes, start + 1, end);
    case GRAPH:
      return readGraph(bytes, start + 1, end, attachments);
    default:
      throw new Error(`${bytes[start]} is no tag`);
  }
}

// ─────────────────────────────────────────────────────────────────────────────── encoding

function tagged(tag: number): Encoded {
  const scratch = take(1);
  scratch.bytes[0] = tag;
  return done(scratch, 1);
}

const oneNumber = new Float64Array(1);
const itsBytes = new Uint8Array(oneNumber.buffer);

function number(value: number): Encoded {
  const scratch = take(9);
  scratch.bytes[0] = NUMBER;
  oneNumber[0] = value;
  for (let at = 0; at < 8; at++) scratch.bytes[1 + at] = itsBytes[at]!;
  return done(scratch, 9);
}

function text(value: string): Encoded {
  const scratch = take(1 + 3 * value.length);
  const { bytes } = scratch;
  let at = value.length > MAX_ASCII ? -1 : 0;
  while (at >= 0 && at < value.length) {
    const unit = value.charCodeAt(at);
    bytes[++at] = unit;
    if (unit > 127) at = -1;
  }
  bytes[0] = at < 0 ? UTF8 : ASCII;
  if (at < 0) at = textEncoder.encodeInto(value, bytes.subarray(1)).written;
  return done(scratch, 1 + at);
}

function object(value: object, options: EncodeOptions): Encoded {
  try {
    const { dense = false } = options;
    if (Array.isArray(value) && isNumberArray(value, dense)) return numbers(value);
    if (ArrayBuffer.isView(value) && isWholeBuffer(value)) return view(value, options);
    const check = new TreeCheck(dense ? value : undefined);
    if (check.isTree(value)) return tree(value, check.hasRows ? rowPackr : treePackr);
  } catch {
    // A getter or a proxy that throws: the thorough way finds out which.
  }
  return graph(value, options);
}

function isNumberArray(value: unknown[], dense: boolean): value is number[] {
  return hasNumbersOnly(value) && (dense || isDense(value)) &&
    Object.getPrototypeOf(value) === Array.prototype;
}

function numbers(values: number[]): Encoded {
  const length = 8 + 8 * values.length;
  const scratch = take(length);
  const target = scratch.numbers;
  for (let at = 0; at < values.length; at++) {
    const each: unknown = values[at];
    if (typeof each !== "number") throw new Error("a getter gave a number only once");
    target[1 + at] = each;
  }
  scratch.bytes[0] = NUMBERS;
  return done(scratch, length);
}

/** Whether a view is all there is of its buffer, so that the buffer's other views are no matter. */
function isWholeBuffer(view: ArrayBufferView): boolean {
  const { buffer } = view;
  return buffer instanceof ArrayBuffer && buffer.byteLength === view.byteLength &&
    !buffer.resizable && !buffer.detached && viewNumber(view) !== undefined;
}

function view(value: ArrayBufferView, { apart = false }: EncodeOptions): Encoded {
  if (apart && value.byteLength >= MIN_BODY) {
    const scratch = take(BEFORE_BODY);
    scratch.bytes[0] = VIEW;
    scratch.bytes[1] = viewNumber(value)!;
    done(scratch, BEFORE_BODY);
    result.body = new Uint8Array(value.buffer);
    return result;
  }
  const length = 2 + value.byteLength;
  const scratch = take(length);
  scratch.bytes[0] = VIEW;
  scratch.bytes[1] = viewNumber(value)!;
  scratch.bytes.set(new Uint8Array(value.buffer), 2);
  return done(scratch, length);
}

function tree(value: unknown, packr: Packr): Encoded {
  // One byte is left free in front, and msgpackr's own buffer is handed out: no copy.
  const packed = packr.pack(value, PACK_OPTIONS) as unknown as Packed;
  packed[packed.start] = TREE;
  if (packed.start !== 0) {
    const plain = new Uint8Array(packed.buffer, packed.byteOffset).subarray(packed.start);
    return handOut(plain, packed.end - packed.start);
  }
  if (packed !== lastPacked) {
    lastPacked = packed;
    // Where there is a Buffer, msgpackr makes one; its slice() is a view, not a copy.
    lastPlain = new Uint8Array(packed.buffer, packed.byteOffset, packed.length);
  }
  return handOut(lastPlain, packed.end);
}

/** msgpackr's own buffer, and where in it the value lies. */
type Packed = Uint8Array<ArrayBuffer> & { start: number; end: number };

let lastPacked: Packed | undefined;
let lastPlain = new Uint8Array(0);

const passages = new WeakMap<unknown[], Passage[]>();

/** What depends on how an encoded value fares. */
export function passagesOf({ attachments }: Encoded): readonly Passage[] {
  return passages.get(attachments) ?? NONE;
}

function graph(value: unknown, options: EncodeOptions): Encoded {
  const { transfer = [] } = options;
  const writer = new GraphWriter(options);
  const table = treePackr.pack(writer.write(value, transfer), RESET_BUFFER_MODE);
  const length = 5 + table.length + writer.blobBytes;
  const scratch = take(length);
  const { bytes } = scratch;
  bytes[0] = GRAPH;
  new DataView(bytes.buffer).setUint32(1, table.length);
  bytes.set(table, 5);
  let at = 5 + table.length;
  for (const blob of writer.blobs) {
    bytes.set(blob, at);
    at += blob.length;
  }
  done(scratch, length);
  if (writer.passages.length > 0) passages.set(writer.attachments, writer.passages);
  result.attachments = writer.attachments;
  result.transfer = [...writer.moved] as Transferable[];
  return result;
}

/** Takes the spare buffer, or a new one if that is taken or too small. */
function take(size: number): Scratch {
  const scratch = spare;
  spare = undefined;
  if (scratch !== undefined && scratch.bytes.length >= size) return scratch;
  let capacity = MIN_BUFFER;
  while (capacity < size && capacity < MAX_KEPT) capacity *= 2;
  const bytes = new Uint8Array(Math.ceil(Math.max(capacity, size) / 8) * 8);
  return { bytes, numbers: new Float64Array(bytes.buffer) };
}

function done(scratch: Scratch, length: number): Encoded {
  if (scratch.bytes.length <= MAX_KEPT) spare = scratch;
  return handOut(scratch.bytes, length);
}

function handOut(bytes: Uint8Array, length: number): Encoded {
  result.bytes = bytes;
  result.length = length;
  result.body = undefined;
  result.attachments = NONE;
  result.transfer = NONE;
  return result;
}

// ─────────────────────────────────────────────────────────────────────────────── decoding

function readNumber(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 8) throw new Error("a number must have 8 bytes");
  for (let at = 0; at < 8; at++) itsBytes[at] = bytes[start + at]!;
  return compact(oneNumber[0]!);
}

/**
 * An integer as engines keep integers. Out of a Float64Array it comes as a float, and all that a
 * function computes with it would be: 1.4 times slower.
 */
function compact(value: number): number {
  const integer = value | 0;
  return integer === value && (integer !== 0 || 1 / value > 0) ? integer : value;
}

function readAscii(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

function readNumbers(bytes: Uint8Array, start: number, end: number): number[] {
  const length = (end - start) / 8;
  if (!(Number.isInteger(length) && length >= 0)) throw new Error("numbers must have 8 bytes each");
  const values: number[] = new Array(length);
  if (length <= MAX_SINGLE) {
    for (let at = 0; at < length; at++, start += 8) {
      values[at] = readNumber(bytes, start, start + 8);
    }
    return values;
  }
  const source = new Float64Array(copy(bytes, start, end));
  for (let at = 0; at < length; at++) values[at] = compact(source[at]!);
  return values;
}

const range = { start: 0, end: 0 };

function unpack(bytes: Uint8Array, start: number, end: number): unknown {
  range.start = start;
  range.end = end;
  return unpackr.unpack(bytes, range);
}

function readGraph(
  bytes: Uint8Array,
  start: number,
  end: number,
  attachments: readonly unknown[],
): unknown {
  const table = start + 4;
  const blobs = table + new DataView(bytes.buffer, bytes.byteOffset).getUint32(start);
  if (blobs > end) throw new Error("the table is cut short");
  return new GraphReader(unpack(bytes, table, blobs), bytes.subarray(blobs, end), attachments)
    .read();
}

/** Copies bytes, also out of a subclass whose own slice() would not. */
function copy(bytes: Uint8Array, start: number, end: number): ArrayBuffer {
  const { buffer, byteOffset } = bytes;
  return buffer.slice(byteOffset + start, byteOffset + end) as ArrayBuffer;
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : describe(cause);
}
