/**
 * Checks how long something lasts.
 *
 * @param what What cannot be done otherwise, such as `create Lock`.
 * @param option The option's name.
 * @param value Milliseconds.
 * @param least The least that it may be.
 * @returns The value.
 * @throws {RangeError} If it is no whole number from `least` to 2^53 / 1000 of them.
 */
export function checkDuration(what: string, option: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= LONGEST) return value;
  throw new RangeError(
    `Cannot ${what}: '${option}' must be a whole number of milliseconds >= ${least}, but is ${value}`,
  );
}

/** A hundred years. */
const LONGEST = 3_155_760_000_000;

/**
 * Checks how long a thing is kept that nobody uses.
 *
 * @param what What cannot be done otherwise, such as `create Value`.
 * @param keep Milliseconds, `Infinity` for ever, undefined for a week.
 * @returns Milliseconds, 0 for ever, as the scripts take it.
 * @throws {RangeError} If it is something else.
 */
export function checkKeep(what: string, keep: number | undefined): number {
  return keep === Infinity ? 0 : checkDuration(what, "keep", keep ?? WEEK, 1_000);
}

const WEEK = 7 * 86_400_000;
