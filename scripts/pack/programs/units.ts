/** What task_import.ts imports. */

const UNIT = "km";

/** An error of the user's. */
export class DistanceError extends Error {}

/** A number with its unit. */
export function withUnit(distance: number): string {
  if (distance < 0) throw new DistanceError(`no distance: ${distance} ${UNIT}`);
  return `${distance} ${UNIT}`;
}
