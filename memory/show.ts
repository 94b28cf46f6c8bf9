/**
 * Values in the texts of errors.
 *
 * @module
 */

/**
 * Says in words what a value is. Never throws.
 *
 * @param value Any value.
 * @returns A short text: `TypeError: no`, `function f`, `[object Promise]`.
 */
export function describe(value: unknown): string {
  try {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (typeof value === "function") return `function ${value.name || "(anonymous)"}`;
    if (typeof value === "object") return Object.prototype.toString.call(value);
    return String(value);
  } catch {
    return `a ${typeof value}`;
  }
}

/**
 * Shows a value that was given in the place of another. Never throws.
 *
 * @param value Any value.
 * @returns As {@linkcode describe}, but a string in quotes, and null as such.
 */
export function show(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "string" ? JSON.stringify(value) : describe(value);
}
