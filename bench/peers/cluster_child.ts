/**
 * One client of the cluster benchmark in a process of its own.
 *
 * `cluster_child.ts NAME URL` takes a {@linkcode Turn} for each line of its input and answers each with
 * a line; `cluster_child.ts NAME URL WHAT COUNT ROUNDS` takes the turns by itself, for a profiler.
 *
 * @module
 */

import process from "node:process";
import { digits, median, quantile } from "../lib/figures.ts";
import { serve } from "../lib/serve.ts";
import type { ClusterContestant } from "./cluster_contestant.ts";

/** What a client is told to do. */
export interface Turn {
  what: "open" | "single" | "chunked" | "automatic" | "latency" | "latency95" | "far";
  count: number;
}

/** What it says: how many milliseconds that took. */
export interface Answer {
  ms: number;
}

const CHUNK = 100;

const [name, url, ...more] = process.argv.slice(2) as [string, string, ...string[]];
const contestant: ClusterContestant = (await import(`./${name}.ts`)).default;

async function take({ what, count }: Turn): Promise<Answer> {
  const numbers = Array.from({ length: count }, (_, at) => at);
  const begun = performance.now();
  if (what === "open") await contestant.open(url);
  else if (what === "single") check(await contestant.single(numbers));
  else if (what === "chunked") check(await contestant.chunked(numbers, CHUNK));
  else if (what === "automatic") check(await contestant.chunked(numbers));
  else return { ms: await latency(count, what === "latency95" ? 0.95 : 0.5) };
  return { ms: performance.now() - begun };
}

/** Awaits one task after the other; the time within which so many of them have ended. */
async function latency(count: number, part: number): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < count; at++) {
    const begun = performance.now();
    const result = await contestant.one(at);
    times.push(performance.now() - begun);
    if (result !== 2 * at) throw new Error("a wrong result");
  }
  return quantile(times, part);
}

function check(results: number[]): void {
  if (!results.every((result, at) => result === 2 * at)) throw new Error("a wrong result");
}

if (more.length === 0) await serve(take);
const [what, count, rounds] = more as [Turn["what"], string, string];
await take({ what: "open", count: 0 });
const times: number[] = [];
for (let round = 0; round < Number(rounds); round++) {
  times.push((await take({ what, count: Number(count) })).ms);
}
console.log(`${name} ${what}: ${digits(median(times))} ms`);
process.exit();
