/** Messages that nobody has sent: mutations of the corpus, tables that no writer makes, and noise. */

import { Packr } from "msgpackr/pack";
import type { Message } from "./corpus.ts";
import type { Random } from "./random.ts";

const GRAPH = 10;
const TAGS = 12;

/** Bytes that mean something to a reader of MessagePack, among them all that announce a length. */
const TELLING = [
  ...[0x00, 0x01, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf],
  ...[0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcf, 0xd3],
  ...[0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xff],
];

/** Types of extensions that msgpackr reads. */
const EXTENSIONS = [0x00, 0x42, 0x62, 0x65, 0x69, 0x70, 0x72, 0x73, 0x74, 0x78, 0xff];

/** Names that every object or array inherits, and some that they have. */
export const INHERITED = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "__defineGetter__",
  "__lookupGetter__",
  "toLocaleString",
  "isPrototypeOf",
  "length",
  "at",
  "push",
  "toJSON",
  "then",
];

const packr = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });

/** A message of the given table, in the graph's way; `blobs` are the contents of its buffers. */
export function tableMessage(table: unknown, blobs = new Uint8Array(0)): Uint8Array {
  const packed = packr.pack(table);
  const bytes = new Uint8Array(5 + packed.length + blobs.length);
  bytes[0] = GRAPH;
  new DataView(bytes.buffer).setUint32(1, packed.length);
  bytes.set(packed, 5);
  bytes.set(blobs, 5 + packed.length);
  return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function flipBit(bytes: Uint8Array, random: Random): void {
  bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
}

function changeByte(bytes: Uint8Array, random: Random): void {
  const value = random.below(2) === 0 ? random.pick(TELLING) : random.below(256);
  bytes[random.below(bytes.length)] = value;
}

/** Writes a length that nothing can have, behind a byte that announces one. */
function announce(bytes: Uint8Array, random: Random): void {
  const at = random.below(bytes.length);
  const sizes = [0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x0100_0000, 0x8000_0000];
  const length = new Uint8Array(5);
  length[0] = random.pick([0xc4, 0xc6, 0xc9, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, GRAPH]);
  new DataView(length.buffer).setUint32(1, random.pick(sizes));
  bytes.set(length.subarray(0, bytes.length - at), at);
}

/** An extension of msgpackr's, whose value is whatever follows. */
function extension(random: Random): Uint8Array {
  const type = random.pick(EXTENSIONS);
  return random.below(2) === 0
    ? Uint8Array.of(0xd4, type, random.below(256))
    : Uint8Array.of(0xc7, random.below(4), type, ...random.bytes(3));
}

/** A name, as MessagePack. */
function name(random: Random): Uint8Array {
  return Uint8Array.from(packr.pack(random.pick(INHERITED)));
}

function insert(bytes: Uint8Array, random: Random): Uint8Array {
  const at = 1 + random.below(bytes.length);
  const from = random.below(bytes.length);
  const part = random.pick([
    () => random.bytes(1 + random.below(8)),
    () => bytes.slice(from, from + random.below(40)),
    () => extension(random),
    () => name(random),
    () => new Uint8Array(random.below(300)).fill(random.pick(TELLING)),
  ])();
  return joined(bytes.subarray(0, at), part, bytes.subarray(at));
}

function remove(bytes: Uint8Array, random: Random): Uint8Array {
  const from = random.below(bytes.length);
  return joined(bytes.subarray(0, from), bytes.subarray(from + 1 + random.below(8)));
}

/** Changes bytes in one way or another; the result may be the same array. */
function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return random.bytes(1);
  const way = random.below(7);
  if (way === 0) flipBit(bytes, random);
  else if (way <= 2) changeByte(bytes, random);
  else if (way === 3) announce(bytes, random);
  else if (way === 4) return bytes.slice(0, random.below(bytes.length + 1));
  else if (way === 5) return insert(bytes, random);
  else return remove(bytes, random);
  return bytes;
}

function slot(random: Random, nodes: number): unknown {
  switch (random.below(8)) {
    case 0:
      return random.pick(INHERITED);
    case 1:
      return random.pick([null, undefined, true, -1, 1.5, NaN, 2 ** 31, 2 ** 32, 2 ** 53, 10n]);
    case 2:
      return [random.pick<unknown>([...INHERITED, -1, nodes, 0.5, null, [0], {}])];
    case 3:
      return random.pick<unknown>([[], {}, { valueOf: 1, toString: 2 }, new Date(0), [[[]]]]);
    case 4:
      return random.below(20);
    default:
      return [random.below(nodes)];
  }
}

/** A table that is one in shape, and makes no sense. */
function forgeTable(random: Random): Uint8Array {
  const count = 1 + random.below(8);
  const parts = (limit: number) =>
    Array.from({ length: random.below(limit) }, () => slot(random, count));
  const nodes = Array.from({ length: count }, () => {
    const kind = random.below(12) === 0 ? slot(random, count) : random.below(18);
    return [kind, ...parts(8)];
  });
  const keys = [...parts(4), "a", random.pick(INHERITED)];
  return tableMessage([slot(random, count), keys, nodes], random.bytes(random.below(40)));
}

/** The next forged message: `bytes` nobody has made, `attachments` and `body` of a true one. */
export function forge(corpus: readonly Message[], random: Random): Message {
  const { bytes, attachments, body } = random.pick(corpus);
  const way = random.below(10);
  if (way === 0) {
    const noise = random.bytes(random.below(80));
    if (noise.length > 0) noise[0] = random.below(TAGS);
    return { bytes: noise, attachments, body };
  }
  if (way <= 2) {
    const table = forgeTable(random);
    return { bytes: way === 1 ? table : mutate(table, random), attachments, body };
  }
  let forged: Uint8Array = bytes.slice();
  if (way === 3) {
    const other = random.pick(corpus).bytes;
    const cut = random.below(other.length + 1);
    forged = joined(forged.subarray(0, random.below(forged.length + 1)), other.subarray(cut));
  }
  for (let times = 1 + random.below(3); times > 0; times--) forged = mutate(forged, random);
  return { bytes: forged, attachments, body };
}
