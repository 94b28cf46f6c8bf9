/**
 * One contestant of the pool benchmark in a process of its own.
 *
 * `child.ts NAME` takes a {@linkcode Turn} for each line of its input and answers each with a line;
 * `child.ts NAME WHAT COUNT ROUNDS` takes the turns by itself, for a profiler.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import type { Contestant } from "./contestant.ts";

/** What a contestant is told to do. */
export interface Turn {
  /** `open`: so many workers; the others: so many outstanding tasks, calls, calls, numbers. */
  what: "open" | "tasks" | "latency" | "rested" | "map";
  count: number;
}

/** What a contestant says: who it is, before its first turn; then how many milliseconds each took. */
export type Answer =
  | { about: Pick<Contestant, "documentedFor" | "mapIdiom"> }
  | { times: number[] }
  | { error: string };

/** What precedes an answer in the output, which may hold other things. */
export const MARK = "@bench ";

/** How long workers rest before a `rested` call: long enough to have gone to sleep. */
export const REST_MS = 2;

async function timed(run: () => PromiseLike<unknown>): Promise<number> {
  const begun = performance.now();
  await run();
  return performance.now() - begun;
}

/** How long it takes until all workers know the tasks. */
function open(contestant: Contestant, workers: number): Promise<number> {
  const each = Array.from({ length: workers }, (_, at) => at);
  return timed(async () => {
    await contestant.open(workers);
    for (let time = 0; time < 5; time++) {
      // No more than one a worker: on Deno, multithreading loses what a worker gets while it loads.
      await Promise.all(each.map(contestant.task));
      await contestant.map(each);
    }
  });
}

async function tasks({ task, check }: Contestant, count: number): Promise<number> {
  let answers: unknown[] = [];
  const time = await timed(async () => {
    const promises = new Array<PromiseLike<unknown>>(count);
    for (let at = 0; at < count; at++) promises[at] = task();
    answers = await Promise.all(promises);
  });
  answers.forEach((answer) => check?.(answer));
  return time;
}

/** Awaits one task after another, each after so many milliseconds in which there is none. */
async function calls({ task }: Contestant, count: number, rest: number): Promise<number[]> {
  const times = new Array<number>(count);
  for (let at = 0; at < count; at++) {
    if (rest > 0) await setTimeout(rest);
    const begun = performance.now();
    await task();
    times[at] = performance.now() - begun;
  }
  return times;
}

async function map(contestant: Contestant, count: number): Promise<number> {
  const numbers = Array.from({ length: count }, (_, at) => at);
  let results: number[] = [];
  const time = await timed(async () => results = await contestant.map(numbers));
  if (results.length !== count || results.some((result, at) => result !== 2 * at)) {
    throw new Error("a wrong result");
  }
  return time;
}

async function take(contestant: Contestant, { what, count }: Turn): Promise<number[]> {
  switch (what) {
    case "open":
      return [await open(contestant, count)];
    case "tasks":
      return [await tasks(contestant, count)];
    case "latency":
      return await calls(contestant, count, 0);
    case "rested":
      return await calls(contestant, count, REST_MS);
    case "map":
      return [await map(contestant, count)];
  }
}

async function load(name: string): Promise<Contestant> {
  return (await import(`./${name}.ts`)).default;
}

async function serve(name: string): Promise<void> {
  const write = process.stdout.write.bind(process.stdout);
  const say = (answer: Answer) => write(`\n${MARK}${JSON.stringify(answer)}\n`);
  const contestant = await load(name);
  say({ about: contestant });
  const lines = createInterface({ input: process.stdin });
  lines.on("close", () => process.exit());
  lines.on("line", async (line) => {
    try {
      say({ times: await take(contestant, JSON.parse(line)) });
    } catch (error) {
      say({ error: String(error) });
    }
  });
}

async function alone(name: string, turn: Turn, rounds: number): Promise<void> {
  const contestant = await load(name);
  await take(contestant, { what: "open", count: 2 });
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(...await take(contestant, turn));
  const sorted = times.toSorted((one, other) => one - other);
  console.log(`${turn.what} ${turn.count}: median ${sorted[sorted.length >> 1]!.toFixed(3)} ms`);
  await contestant.close();
}

if (import.meta.main) {
  const [name, what, count, rounds] = process.argv.slice(2);
  if (what === undefined) await serve(name!);
  else await alone(name!, { what: what as Turn["what"], count: Number(count) }, Number(rounds));
}
