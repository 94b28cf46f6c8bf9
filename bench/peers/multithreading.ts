import { initRuntime, move, type Result, shutdown, spawn } from "multithreading";
import type { Contestant } from "./contestant.ts";
import { noop, type TaskName, TASKS } from "./tasks.ts";

/** It keeps 65,536 answers at most: one of more outstanding tasks would overwrite another's. */
const OUTSTANDING = 50_000;

let outstanding = 0;

function valueOf<R>(result: Result<R>): R {
  if (!result.ok) throw result.error;
  return result.value;
}

async function call(name: TaskName, argument: unknown): Promise<unknown> {
  const task = TASKS[name] as (argument: unknown) => unknown;
  return valueOf(await spawn(move(argument), task).join());
}

/** Runs a function on each of the items, so many at a time. */
async function batched<T, R>(items: T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[][] = [];
  for (let from = 0; from < items.length; from += OUTSTANDING) {
    results.push(await Promise.all(items.slice(from, from + OUTSTANDING).map(run)));
  }
  return results.flat();
}

/** https://github.com/W4G1/multithreading: the tasks are plain functions, sent as source text. */
const multithreading: Contestant = {
  documentedFor: "Node, Deno, Bun, browsers",
  mapIdiom: "Promise.all of one spawn() an item, 50,000 at a time",
  unorderedIdiom: "one spawn().then() a number, 50,000 at a time",
  open(workers) {
    initRuntime({ maxWorkers: workers });
  },
  task() {
    if (++outstanding > OUTSTANDING) throw new Error("more than 65,536 tasks outstanding");
    return spawn(noop).join().finally(() => outstanding--);
  },
  check: (answer) => valueOf(answer as Result<void>),
  call,
  map: (name, items) => batched(items, (item) => call(name, item)),
  unordered: (numbers, take) =>
    batched(numbers, (x) => call("double", x).then((result) => take(result as number))),
  close: shutdown,
};

export default multithreading;
