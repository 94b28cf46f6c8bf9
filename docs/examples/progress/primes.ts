/** The work of progress.ts: counting primes, a range of numbers at a time. */

/** The numbers from the first to the second; the second is not among them. */
export type Range = [from: number, to: number];

/** Deals the numbers below `limit` into a hundred ranges. */
export function rangesBelow(limit: number): Range[] {
  const size = Math.ceil(limit / 100);
  return Array.from({ length: 100 }, (_, i) => [i * size, Math.min((i + 1) * size, limit)]);
}

/** How many primes there are in a range, in the plainest way. */
export function countPrimes([from, to]: Range): number {
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor !== 0) divisor++;
    if (divisor * divisor > n) count++;
  }
  return count;
}
