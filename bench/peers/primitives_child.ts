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
import { createInterface } from "node:readline";

/** Does so much of what is measured; returns the milliseconds. */
export type Turn = (count: number) => number | Promise<number>;

/** Makes ready what a measure needs. */
export type Prepare = () => Turn;

/** What a contestant says: that it is ready; then how many milliseconds each turn took. */
export type Answer = { ready: true } | { ms: number } | { error: string };

/** What precedes an answer in the output, which may hold other things. */
export const MARK = "@bench ";

async function prepare(name: string, measure: string): Promise<Turn> {
  const primitives: Record<string, Prepare> = (await import(`./${name}_primitives.ts`)).default;
  return primitives[measure]!();
}

async function serve(turn: Turn): Promise<void> {
  const say = (answer: Answer) => process.stdout.write(`\n${MARK}${JSON.stringify(answer)}\n`);
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say({ ms: await turn(Number(line)) });
    } catch (error) {
      say({ error: String(error) });
    }
  }
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
  if (count === undefined) await serve(turn);
  else await alone(turn, Number(count), Number(rounds));
  process.exit();
}
