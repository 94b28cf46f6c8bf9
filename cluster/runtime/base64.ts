/**
 * Bytes as text. By itself, for it is all that workers need of the machine.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** The same memory, as clients of Redis want it. */
export function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Bytes as text that JSON can hold. */
export function toBase64(bytes: Uint8Array): string {
  return toBuffer(bytes).toString("base64");
}

/** The bytes of {@linkcode toBase64}. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, "base64"));
}
