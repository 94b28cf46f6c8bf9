import { initRuntime, move, type Result, shutdown, spawn } from "multithreading";
import type { Contestant } from "./contestant.ts";
import { double, noop } from "./tasks.ts";

/** It keeps 65,536 answers at most: one of more outstanding tasks would overwrite another's. */
const OUTSTANDING = 50_000;

function valueOf<R>(result: Result<R>): R {
  if (!result.ok) throw result.error;
  return result.value;
}

/** https://github.com/W4G1/multithreading: the tasks are plain functions, sent as source text. */
const multithreading: Contestant = {
  name: "multithreading",
  documentedFor: "Node, Deno, Bun, browsers",
  mapIdiom: "Promise.all of one spawn() a number, 50,000 at a time",
  open(workers) {
    initRuntime({ maxWorkers: workers });
  },
  task: () => spawn(noop).join(),
  check: (answer) => valueOf(answer as Result<void>),
  async map(numbers) {
    const answers: Result<number>[][] = [];
    for (let from = 0; from < numbers.length; from += OUTSTANDING) {
      const some = numbers.slice(from, from + OUTSTANDING);
      answers.push(await Promise.all(some.map((x) => spawn(move(x), double).join())));
    }
    return answers.flat().map(valueOf);
  },
  close: shutdown,
};

export default multithreading;
