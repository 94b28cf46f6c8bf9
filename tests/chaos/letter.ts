/** Bytes that show whether they came as they were sent. */

const HEADER = 4;

/** Bytes with this number, so many after it. */
export function bytesOf(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADER + length).fill(number & 255);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** The number of these bytes; -1 if they are not as they were made. */
export function numberOf(bytes: Uint8Array): number {
  if (!(bytes instanceof Uint8Array) || bytes.length < HEADER) return -1;
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return bytes.subarray(HEADER).every((byte) => byte === (number & 255)) ? number : -1;
}
