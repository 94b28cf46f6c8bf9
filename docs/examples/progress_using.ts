/** Long work that can be watched; the end of each block ends the bar or closes the pool. */

import process from "node:process";
import { Pool } from "@multiprocessing/core";
import { showProgress } from "./progress/bar.ts";
import { countPrimes, rangesBelow } from "./progress/primes.ts";

if (import.meta.main) {
  const ranges = rangesBelow(Number(process.argv[2] ?? 1_000_000));
  await using pool = new Pool();

  // map() reports by itself, after each chunk.
  let counts: number[];
  {
    using progress = showProgress("map", ranges.length);
    counts = await pool.map(countPrimes, ranges, { onProgress: progress.update });
  }
  console.log(counts.reduce((sum, count) => sum + count, 0), "primes");

  // imapUnordered() yields each result as soon as it is there: counting them is enough.
  let primes = 0;
  {
    using progress = showProgress("imapUnordered", ranges.length);
    let done = 0;
    for await (const count of pool.imapUnordered(countPrimes, ranges)) {
      primes += count;
      progress.update(++done);
    }
  }
  console.log(primes, "primes");
}
