/**
 * One contestant of the primitives benchmark, ready for one measure, in a process of its own.
 *
 * `primitives_child.ts NAME MEASURE` takes a turn for each line of its input, which says how much, and
 * answers each with a line; `primitives_child.ts NAME MEASURE COUNT ROUNDS` takes the turns by itself,
 * for a profiler.
 *
 * @module
 */

import process from "node:process";
import { serve } from "../lib/serve.ts";

/** Does so much of what is measured; returns the milliseconds. */
export type Turn = (count: number) => number | Promise<number>;

/** Makes ready what a measure needs. */
export type Prepare = () => Turn;

/** What a contestant says: how many milliseconds a turn took. */
export interface Answer {
  ms: number;
}

async function prepare(name: string, measure: string): Promise<Turn> {
  const primitives: Record<string, Prepare> = (await import(`./${name}_primitives.ts`)).default;
  return primitives[measure]!();
}

async function alone(turn: Turn, count: number, rounds: number): Promise<void> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await turn(count));
  const sorted = times.toSorted((a, b) => a - b);
  console.log(`${count}: median ${sorted[sorted.length >> 1]!.toFixed(3)} ms`);
}

if (import.meta.main) {
  const [name, measure, count, rounds] = process.argv.slice(2);
  const turn = await prepare(name!, measure!);
  const take = async (count: number): Promise<Answer> => ({ ms: await turn(count) });
  if (count === undefined) await serve(take);
  else await alone(turn, Number(count), Number(rounds));
  process.exit();
}
