/** A module that cannot be imported. */

export function nothing(): void {}

throw new Error("chaos: this module throws");
