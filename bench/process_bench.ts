/**
 * What starting a process costs, from start to its end, beside bare workers of the runtime.
 *
 * The kinds take turns within each round, so that a busy machine slows all of them. `--rounds=30`.
 *
 * @module
 */

import process from "node:process";
import { Worker as ThreadWorker } from "node:worker_threads";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { runtime } from "../runtime/mod.ts";
import { Lock } from "../sync.ts";
import { closure } from "../target.ts";
import { median } from "./lib/figures.ts";
import { figure, record } from "./lib/results.ts";

const option = process.argv.find((arg) => arg.startsWith("--rounds="));
const ROUNDS = Number(option?.slice("--rounds=".length) ?? 30);
const WARM_UP = 3;

/** A bare worker of `node:worker_threads`, until its exit event. */
function threadWorker(): Promise<void> {
  return new Promise((resolve) => {
    new ThreadWorker(new URL("data:text/javascript,")).once("exit", () => resolve());
  });
}

/** A bare global `Worker`, until its close event; on Deno, which has none, until its last statement. */
function globalWorker(): Promise<void> {
  const onDeno = runtime.name === "deno";
  const text = onDeno ? "postMessage(0); close();" : "";
  const worker = new Worker(`data:text/javascript,${text}`, { type: "module" });
  return new Promise((resolve) => {
    worker.addEventListener(onDeno ? "message" : "close", () => resolve(), { once: true });
  });
}

async function life(child: Process): Promise<void> {
  child.start();
  if (await child.exited !== 0) throw new Error(`${child.name} ended with ${child.exitCode}`);
}

const lock = new Lock();
const withLock = closure(() => lock.tryAcquire()?.release(), { lock });

const kinds: Record<string, () => Promise<void>> = {
  "node:worker_threads": threadWorker,
  ...("Worker" in globalThis ? { "global Worker": globalWorker } : {}),
  "Process, plain function": () => life(new Process({ target: () => {} })),
  "Process, closure over a Lock": () => life(new Process({ target: withLock })),
};

/** The kind of worker that the runtime's adapter starts. */
const own = runtime.name === "bun" ? "global Worker" : "node:worker_threads";

const times: Record<string, number[]> = {};

for (let round = -WARM_UP; round < ROUNDS; round++) {
  for (const [kind, run] of Object.entries(kinds)) {
    const start = performance.now();
    await run();
    if (round >= 0) (times[kind] ??= []).push(performance.now() - start);
  }
}

// The clock runs in a process that starts its own children, one after the other.
const results = new Queue<number>();
const nest = closure(async () => {
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const start = performance.now();
    const child = new Process({ target: () => {} });
    child.start();
    await child.exited;
    if (round >= 0) await results.put(performance.now() - start);
  }
}, { results, Process, ROUNDS, WARM_UP });
await life(new Process({ target: nest }));
times["Process in a process"] = Array.from({ length: ROUNDS }, () => results.getNowait());

const base = median(times[own]!);
const title = "A process from its start to its end";
console.log(`${title}: ${ROUNDS} rounds; median, and its ratio to ${own}`);
for (const [kind, values] of Object.entries(times)) {
  const ms = median(values);
  console.log(
    `${kind.padEnd(30)} ${ms.toFixed(2).padStart(7)} ms  × ${(ms / base).toFixed(2)}`,
  );
}
const contestants = Object.fromEntries(
  Object.entries(times).map(([kind, values]) => [kind, figure(values)]),
);
record("process", { life: { title, unit: "ms", better: "less", contestants, bars: [] } });
