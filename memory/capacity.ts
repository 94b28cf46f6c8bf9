const MAX_CAPACITY = 2 ** 30;

/**
 * Checks a capacity given by the user.
 *
 * @param capacity Bytes.
 * @param name What is to be created.
 * @returns Bytes.
 * @throws {RangeError} If it is no whole number in range.
 */
export function checkCapacity(capacity: number, name: string): number {
  if (Number.isSafeInteger(capacity) && capacity >= 1 && capacity <= MAX_CAPACITY) return capacity;
  throw new RangeError(
    `Cannot create ${name}: 'capacity' must be an integer from 1 to 2^30 bytes, but is ${capacity}`,
  );
}
