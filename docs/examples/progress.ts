/** Long work that can be watched: progress.ts [LIMIT] counts the primes below a limit, twice. */

import process from "node:process";
import { Pool } from "@multiprocessing/core";
import { showProgress } from "./progress/bar.ts";
import { countPrimes, rangesBelow } from "./progress/primes.ts";

if (import.meta.main) {
  const ranges = rangesBelow(Number(process.argv[2] ?? 1_000_000));
  const pool = new Pool();

  // map() reports by itself, after each chunk.
  const mapping = showProgress("map", ranges.length);
  const counts = await pool.map(countPrimes, ranges, { onProgress: mapping.update });
  mapping.stop();
  console.log(counts.reduce((sum, count) => sum + count, 0), "primes");

  // imapUnordered() yields each result as soon as it is there: counting them is enough.
  const looping = showProgress("imapUnordered", ranges.length);
  let primes = 0;
  let done = 0;
  for await (const count of pool.imapUnordered(countPrimes, ranges)) {
    primes += count;
    looping.update(++done);
  }
  looping.stop();
  console.log(primes, "primes");

  pool.close();
  await pool.join();
}
