/**
 * Medians, ratios, and how they are written.
 *
 * @module
 */

/** The value below which so much of the values lie. */
export function quantile(values: number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
}

/** The value in the middle; NaN if there is none. */
export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** How many times the costs of `ours` those of `theirs` are: the median over the rounds that both have. */
export function ratio(ours: number[][], theirs: number[][]): number {
  const rounds = theirs.slice(0, ours.length).keys();
  return median(Array.from(rounds, (round) => median(theirs[round]!) / median(ours[round]!)));
}

/** Three digits or more, with commas; nothing for NaN. */
export function digits(value: number): string {
  if (Number.isNaN(value)) return "";
  const places = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  const rounded = Math.abs(value) >= 1e6 ? Number(value.toPrecision(4)) : value;
  return rounded.toLocaleString("en", {
    minimumFractionDigits: places,
    maximumFractionDigits: places,
  });
}

/** Prints rows in columns: all end together, but the first and the last begin together. */
export function printTable(rows: string[][]): void {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, at) =>
      at === 0 || at === row.length - 1 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)
    );
    console.log(`  ${cells.join("   ").trimEnd()}`);
  }
}
