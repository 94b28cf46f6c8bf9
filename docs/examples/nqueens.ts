/** N queens: counts all solutions with imapUnordered, then searches for one and leaves the loop. */

import { cpuCount, Pool } from "@multiprocessing/core";
import { readOptions } from "./common/options.ts";
import { printSpeedUp, timed } from "./common/times.ts";

/** A board whose first rows have their queens: their columns. */
interface Beginning {
  size: number;
  queens: number[];
  /** So many solutions are enough. */
  most: number;
}

/** All ways to place queens in the first rows so that none attacks another. */
function* beginnings(size: number, rows: number, most: number): Generator<Beginning> {
  function* place(queens: number[]): Generator<Beginning> {
    if (queens.length === rows) return yield { size, queens, most };
    for (let column = 0; column < size; column++) {
      const attacked = queens.some((other, row) =>
        other === column || Math.abs(other - column) === queens.length - row
      );
      if (!attacked) yield* place([...queens, column]);
    }
  }
  yield* place([]);
}

/** Counts the solutions that begin so, and returns the first. A row is a number, a bit a column. */
function solve({ size, queens, most }: Beginning): { count: number; first: number[] | null } {
  const board = 2 ** size - 1;
  const columns = [...queens];
  let count = 0;
  let first: number[] | null = null;
  function place(row: number, taken: number, left: number, right: number): void {
    if (row === size) {
      count++;
      first ??= [...columns];
      return;
    }
    let free = board & ~(taken | left | right);
    if (row < queens.length) free &= 1 << queens[row]!;
    for (; free !== 0 && count < most; free &= free - 1) {
      const bit = free & -free;
      columns[row] = 31 - Math.clz32(bit);
      place(row + 1, taken | bit, (left | bit) << 1, (right | bit) >>> 1);
    }
  }
  place(0, 0, 0, 0);
  return { count, first };
}

/** Counts in a pool: each result is added as soon as it is there, in whatever order. */
async function countInPool(size: number, processes: number): Promise<number> {
  const pool = new Pool({ processes });
  let sum = 0;
  for await (const { count } of pool.imapUnordered(solve, beginnings(size, 2, Infinity))) {
    sum += count;
  }
  pool.close();
  await pool.join();
  return sum;
}

function countHere(size: number): number {
  let sum = 0;
  for (const beginning of beginnings(size, 2, Infinity)) sum += solve(beginning).count;
  return sum;
}

/** Searches in a pool, and stops at the first solution that anybody finds. */
async function findFirst(size: number, processes: number) {
  const pool = new Pool({ processes });
  const all = [...beginnings(size, 2, 1)];
  let solution: number[] | null = null;
  let finished = 0;
  for await (const { first } of pool.imapUnordered(solve, all, { chunkSize: 1 })) {
    finished++;
    solution = first;
    if (solution !== null) break; // What has not begun is dropped.
  }
  await pool.terminate(); // What still runs is stopped.
  return { solution, finished, total: all.length };
}

if (import.meta.main) {
  const { queens, search, processes } = readOptions("Places queens so that none attacks another.", {
    queens: {
      initial: 15,
      about: "size of the board whose solutions are counted",
      from: 4,
      to: 18,
    },
    search: { initial: 28, about: "size of the board that is searched for one", from: 4, to: 30 },
    processes: { initial: cpuCount(), about: "how many processes search" },
  });
  const all = await timed(() => countInPool(queens, processes));
  const one = await timed(() => countHere(queens));
  if (one.result !== all.result) throw new Error("the counts differ");
  console.log(`${queens} queens: ${all.result} solutions`);
  printSpeedUp(processes, one, all);

  const { result, time } = await timed(() => findFirst(search, processes));
  const { solution, finished, total } = result;
  console.log(`\n${search} queens: found in ${Math.round(time)} ms`);
  console.log(`${finished} of ${total} beginnings were searched to their end`);
  for (const column of solution!) {
    console.log(". ".repeat(column) + "Q" + " .".repeat(search - 1 - column));
  }
}
