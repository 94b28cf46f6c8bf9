import { Pool } from "../../pool.ts";
import type { SharedArray } from "../../shared.ts";
import { transfer } from "../../target.ts";
import type { Contestant } from "./contestant.ts";
import { double, noop, type Part, TASKS } from "./tasks.ts";

let pool: Pool;

function scaleShared({ numbers, from, to }: Part<SharedArray<"f64">>): void {
  const array = numbers.array as Float64Array;
  for (let at = from; at < to; at++) array[at]! *= 2;
}

type Task = (argument: unknown) => unknown;

const tasks = { ...TASKS, scale: scaleShared } as Record<keyof typeof TASKS, Task>;

/** This project's pool; the tasks are plain functions, which travel as source text. */
const core: Contestant = {
  documentedFor: "Node, Deno, Bun",
  mapIdiom: "pool.map(fn, items)",
  unorderedIdiom: "for await of pool.imapUnordered(fn, numbers)",
  open(processes) {
    pool = new Pool({ processes });
  },
  task: () => pool.apply(noop),
  call: (name, argument, moved = []) => pool.apply(tasks[name], [transfer(argument, moved)]),
  map: (name, items) => pool.map(tasks[name], items),
  async unordered(numbers, take) {
    for await (const result of pool.imapUnordered(double, numbers)) take(result);
  },
  async share(length) {
    // Not loaded by who does not need it: the first answer is measured with the import of the library.
    const { SharedArray } = await import("../../shared.ts");
    const shared = new SharedArray("f64", length, { lock: false });
    return { argument: shared, array: shared.array as Float64Array };
  },
  close: () => pool.terminate(),
};

export default core;
