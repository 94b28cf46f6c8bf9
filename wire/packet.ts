/**
 * Encoded values on their way: through ports, and through rings.
 *
 * @module
 */

import type { Item, Ring } from "../memory/ring.ts";
import { decode, encode, encodeThrown, MIN_BODY, passagesOf } from "./codec/codec.ts";
import { type Destination, loadShareables, type Passage } from "./codec/shareable.ts";
import { deposit, fetch, fetchSync, withdraw } from "./exchange.ts";
import type { Encoded, Packed } from "./protocol.ts";
import type { Transferable } from "../runtime/port.ts";

const TOKEN_BYTES = 8;
const NONE: readonly unknown[] = [];
const EMPTY = new Uint8Array(0);

/** What depends on the items with attachments that are on their way into a ring. */
const passages = new WeakMap<Item, readonly Passage[]>();

/** The tag of an item whose attachments lie at the exchange, under the token behind its bytes. */
export const WITH_TOKEN = 1;

/** The tag of an item that is bytes, and no encoded value; their number is its `a`. */
export const RAW = 2;

/**
 * Encodes a value for a port. Adds what must be moved to `transfer`, and what depends on the message to
 * the destination's passages.
 */
export function pack(
  value: unknown,
  root: string,
  transfer: Transferable[],
  moved: readonly Transferable[] = [],
  destination?: Destination,
): Packed {
  const encoded = encode(value, { root, transfer: moved, to: destination?.to });
  destination?.passages.push(...passagesOf(encoded));
  return keep(encoded, transfer);
}

/** Like {@linkcode pack}, for what was thrown; never fails. */
export function packThrown(thrown: unknown, transfer: Transferable[]): Packed {
  return keep(encodeThrown(thrown), transfer);
}

function keep({ bytes, length, attachments, transfer: moved }: Encoded, transfer: Transferable[]) {
  transfer.push(...moved);
  return { bytes: bytes.slice(0, length), attachments: attachments.slice() };
}

/** Decodes what {@linkcode pack} made; it may hold whatever can be shared. */
export async function unpackWhole(packed: Packed): Promise<unknown> {
  if (packed.attachments.length > 0) await loadShareables();
  return unpack(packed);
}

/** Decodes what {@linkcode pack} made, at once: shareables only of classes that are loaded. */
export function unpack(packed: Packed): unknown {
  return decode(packed.bytes, 0, packed.bytes.length, packed.attachments);
}

/**
 * Makes an encoded value ready for a ring: its attachments go to the exchange.
 *
 * @param item Filled in; its bytes are good until the next `encode()`.
 */
export function toItem(encoded: Encoded, item: Item): void {
  const { bytes, length, body } = encoded;
  item.bytes = bytes;
  item.length = body === undefined ? length : length + body.length;
  item.body = body;
  // Not kept alive until the next value is encoded.
  encoded.body = undefined;
  item.tag = 0;
  if (encoded.attachments.length > 0) appendToken(encoded, item);
}

function appendToken(encoded: Encoded, item: Item): void {
  const { attachments, transfer } = encoded;
  const bytes = new Uint8Array(item.length + TOKEN_BYTES);
  bytes.set(item.bytes.subarray(0, item.length));
  const token = deposit(attachments.slice(), transfer.slice());
  new DataView(bytes.buffer).setFloat64(item.length, token);
  item.bytes = bytes;
  item.length = bytes.length;
  item.tag = WITH_TOKEN;
  passages.set(item, passagesOf(encoded));
}

/** Copies what an item holds of others' memory, so that it outlives this call. */
export function keepItem(item: Item): void {
  const { bytes, length, body } = item;
  // A Buffer's own slice() would be a view.
  item.bytes = new Uint8Array(bytes.subarray(0, length - (body?.length ?? 0)));
  if (body !== undefined) item.body = new Uint8Array(body);
}

/** Undoes {@linkcode toItem} for an item that was put nowhere. */
export function discard(item: Item): void {
  dropAttachments(item);
  for (const passage of passages.get(item) ?? []) passage.lost?.();
}

/** Takes back what was deposited for an item that nobody will decode. */
export function dropAttachments(item: Item): void {
  if (item.tag === WITH_TOKEN) withdraw(tokenOf(item));
}

/** Makes bytes ready for a ring as they are. */
export function toRawItem(bytes: Uint8Array, item: Item): void {
  const apart = bytes.length >= MIN_BODY;
  item.bytes = apart ? EMPTY : bytes;
  item.length = bytes.length;
  item.body = apart ? bytes : undefined;
  item.tag = RAW;
  item.a = bytes.length;
}

/** Takes the bytes of tag {@linkcode RAW} out of a ring's inbox. */
export function rawInbox({ inbox }: Ring): Uint8Array {
  const { body } = inbox;
  inbox.body = undefined; // It is the receiver's now.
  return body ?? inbox.bytes.slice(0, inbox.length);
}

/**
 * Decodes what a ring's inbox holds, blocking if there are attachments to fetch. Shareables only of
 * classes that are loaded: who can receive without waiting loads them all.
 */
export function fromInboxSync(ring: Ring): unknown {
  const { inbox } = ring;
  if (inbox.tag === RAW) return rawInbox(ring);
  if (inbox.tag !== WITH_TOKEN) return decodeInbox(inbox);
  const { bytes, token } = detach(inbox);
  return decode(bytes, 0, bytes.length, fetchSync(token));
}

/** Decodes what a ring's inbox holds: at once, or as a promise if there are attachments to fetch. */
export function fromInbox(ring: Ring): unknown | Promise<unknown> {
  const { inbox } = ring;
  if (inbox.tag === RAW) return rawInbox(ring);
  if (inbox.tag !== WITH_TOKEN) return decodeInbox(inbox);
  const { bytes, token } = detach(inbox);
  return Promise.all([fetch(token), loadShareables()])
    .then(([attachments]) => decode(bytes, 0, bytes.length, attachments));
}

function decodeInbox(inbox: Item): unknown {
  const { bytes, length, body } = inbox;
  if (body === undefined) return decode(bytes, 0, length, NONE);
  inbox.body = undefined; // It is the value's now.
  return decode(bytes, 0, length - body.length, NONE, body);
}

/** Splits an item of tag `WITH_TOKEN` into its bytes, copied, and its token. */
function detach(item: Item): { bytes: Uint8Array; token: number } {
  return { bytes: item.bytes.slice(0, item.length - TOKEN_BYTES), token: tokenOf(item) };
}

function tokenOf({ bytes, length }: Item): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(length - TOKEN_BYTES);
}
