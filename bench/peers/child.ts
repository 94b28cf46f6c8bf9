/**
 * One contestant of the pool benchmark in a process of its own.
 *
 * `child.ts NAME` takes a {@linkcode Turn} for each line of its input and answers each with a line;
 * `child.ts NAME WHAT COUNT ROUNDS` takes the turns by itself, for a profiler.
 *
 * @module
 */

import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { median } from "../lib/figures.ts";
import { serve } from "../lib/serve.ts";
import type { About, Contestant, SharedNumbers } from "./contestant.ts";
import { fibonacci, type Item, type Part, scale } from "./tasks.ts";

/** What a contestant is told to do. */
export interface Turn {
  what: keyof typeof TURNS | "open";
  count: number;
}

/** What a contestant says: how many milliseconds each took, or how much of memory. */
export interface Answer {
  values: number[];
  /** With the first turn: who it is. */
  about?: About;
}

/** How long workers rest before a `rested` call: long enough to have gone to sleep. */
const REST_MS = 2;

const FIB_TASKS = 16;
const TRANSFERS = 20;

async function timed(run: () => unknown): Promise<number> {
  const begun = performance.now();
  await run();
  return performance.now() - begun;
}

/** Submits so many tasks that do nothing. */
function submit({ task }: Contestant, count: number): PromiseLike<unknown>[] {
  const promises = new Array<PromiseLike<unknown>>(count);
  for (let at = 0; at < count; at++) promises[at] = task();
  return promises;
}

async function tasks(contestant: Contestant, count: number): Promise<number[]> {
  let answers: unknown[] = [];
  const time = await timed(async () => answers = await Promise.all(submit(contestant, count)));
  answers.forEach((answer) => contestant.check?.(answer));
  return [time];
}

/** Awaits one task after another, each after so many milliseconds in which there is none. */
async function calls({ task }: Contestant, count: number, rest: number): Promise<number[]> {
  const times = new Array<number>(count);
  for (let at = 0; at < count; at++) {
    if (rest > 0) await setTimeout(rest);
    times[at] = await timed(task);
  }
  return times;
}

async function map(contestant: Contestant, count: number): Promise<number[]> {
  const numbers = Array.from({ length: count }, (_, at) => at);
  let results: unknown[] = [];
  const time = await timed(async () => results = await contestant.map("double", numbers));
  check(results.length === count && results.every((result, at) => result === 2 * at));
  return [time];
}

async function objects(contestant: Contestant, count: number): Promise<number[]> {
  const items: Item[] = Array.from(
    { length: count },
    (_, id) => ({ id, name: `item ${id}`, price: id / 4 }),
  );
  let results: Item[] = [];
  const run = async () => results = await contestant.map("reprice", items) as Item[];
  const time = await timed(run);
  check(results.length === count);
  check(results.every(({ id, name, price }, at) => {
    return id === at && name === items[at]!.name && price === at / 2;
  }));
  return [time];
}

async function unordered(contestant: Contestant, count: number): Promise<number[]> {
  const numbers = Array.from({ length: count }, (_, at) => at);
  let sum = 0;
  const time = await timed(() => contestant.unordered(numbers, (result) => sum += result));
  check(sum === count * (count - 1));
  return [time];
}

async function fib(contestant: Contestant, n: number): Promise<number[]> {
  const all = new Array<number>(FIB_TASKS).fill(n);
  return [await timed(() => contestant.map("fibonacci", all))];
}

async function fibAlone(_: Contestant, n: number): Promise<number[]> {
  return [
    await timed(() => {
      for (let task = 0; task < FIB_TASKS; task++) fibonacci(n);
    }),
  ];
}

let shared: SharedNumbers | undefined;

/** Numbers in shared memory, all alike and no zeros. */
async function sharedNumbers({ share }: Contestant, count: number): Promise<SharedNumbers> {
  if (shared?.array.length !== count) {
    const array = share ? undefined : new Float64Array(new SharedArrayBuffer(8 * count));
    shared = array === undefined ? await share!(count) : { argument: array, array };
    shared.array.fill(2 ** -500);
  }
  return shared;
}

/** Each of two workers doubles its half where it lies. */
async function inPlace(contestant: Contestant, count: number): Promise<number[]> {
  const { argument, array } = await sharedNumbers(contestant, count);
  const half = count >> 1;
  const wanted = 2 * array[0]!;
  const time = await timed(() =>
    Promise.all([[0, half], [half, count]].map(([from, to]) => {
      return contestant.call("scale", { numbers: argument, from, to } as Part<unknown>);
    }))
  );
  check([0, half - 1, half, count - 1].every((at) => array[at] === wanted));
  return [time];
}

async function inPlaceAlone(contestant: Contestant, count: number): Promise<number[]> {
  const { array } = await sharedNumbers(contestant, count);
  return [await timed(() => scale({ numbers: array, from: 0, to: count }))];
}

/** By how many MiB the process, all its threads, is larger while numbers are doubled in place. */
async function inPlaceMemory(contestant: Contestant, count: number): Promise<number[]> {
  await sharedNumbers(contestant, count);
  await inPlace(contestant, count); // Loads the code.
  const before = process.memoryUsage.rss();
  let peak = before;
  const look = setInterval(() => peak = Math.max(peak, process.memoryUsage.rss()), 2);
  await inPlace(contestant, count);
  clearInterval(look);
  peak = Math.max(peak, process.memoryUsage.rss());
  return [(peak - before) / 2 ** 20];
}

/** Moves so many bytes to a worker. */
async function transfer(contestant: Contestant, bytes: number): Promise<number[]> {
  const times: number[] = [];
  for (let time = 0; time < TRANSFERS; time++) {
    const moved = new ArrayBuffer(bytes);
    let length: unknown;
    times.push(
      await timed(async () => length = await contestant.call("lengthOf", moved, [moved])),
    );
    check(length === bytes);
    if (moved.byteLength !== 0) throw new Error("copied, not moved");
  }
  return times;
}

/** Bytes that each of so many outstanding tasks takes: in this heap, or of the machine. */
async function outstanding(
  contestant: Contestant,
  count: number,
  bytes: () => number,
): Promise<number[]> {
  const before = bytes();
  const promises = submit(contestant, count);
  const after = bytes();
  await Promise.race(promises); // None is collected before.
  return [(after - before) / count];
}

function heapBytes(): number {
  (globalThis as { gc?(): void }).gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function check(right: boolean): void {
  if (!right) throw new Error("a wrong result");
}

const TURNS = {
  tasks,
  latency: (contestant: Contestant, count: number) => calls(contestant, count, 0),
  rested: (contestant: Contestant, count: number) => calls(contestant, count, REST_MS),
  map,
  objects,
  unordered,
  fib,
  fibAlone,
  inPlace,
  inPlaceAlone,
  inPlaceMemory,
  transfer,
  heap: (contestant: Contestant, count: number) => outstanding(contestant, count, heapBytes),
  resident: (contestant: Contestant, count: number) =>
    outstanding(contestant, count, () => process.memoryUsage.rss()),
};

let contestant: Contestant;

/** How long it takes from the import of a library to its first answer. */
async function open(name: string, workers: number): Promise<Answer> {
  const time = await timed(async () => {
    contestant = (await import(`./${name}.ts`)).default;
    await contestant.open(workers);
    const answer = await contestant.task();
    contestant.check?.(answer);
  });
  const each = Array.from({ length: workers }, (_, at) => at);
  for (let time = 0; time < 5; time++) {
    // No more than one a worker: on Deno, multithreading loses what a worker gets while it loads.
    await Promise.all(each.map(contestant.task));
    await contestant.map("double", each);
  }
  const { documentedFor, mapIdiom, unorderedIdiom } = contestant;
  return { values: [time], about: { documentedFor, mapIdiom, unorderedIdiom } };
}

async function take(name: string, { what, count }: Turn): Promise<Answer> {
  if (what === "open") return await open(name, count);
  return { values: await TURNS[what](contestant, count) };
}

async function alone(name: string, turn: Turn, rounds: number): Promise<void> {
  await open(name, 2);
  const all: number[] = [];
  for (let round = 0; round < rounds; round++) all.push(...(await take(name, turn)).values);
  console.log(`${turn.what} ${turn.count}: median ${median(all).toFixed(3)}`);
  await contestant.close();
}

if (import.meta.main) {
  const [name, what, count, rounds] = process.argv.slice(2);
  if (what === undefined) await serve<Turn, Answer>((turn) => take(name!, turn));
  else await alone(name!, { what: what as Turn["what"], count: Number(count) }, Number(rounds));
}
