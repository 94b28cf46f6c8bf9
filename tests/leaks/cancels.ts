/**
 * 2,000 cancelled tasks: by signal and by cancel(), queued and running; most of those that run end by
 * themselves when they are told to, and one in 40 is stopped with its worker, which is replaced.
 */

import { setImmediate as turn } from "node:timers/promises";
import { Pool, type TaskOptions } from "../../pool.ts";
import { currentProcess } from "../../process.ts";
import { closure } from "../../target.ts";
import { measure } from "./meter.ts";

const BATCH = 40;

/** So long may a task take to end by itself: never too long. */
const GRACE = 60_000;

const pool = new Pool({ processes: 2 });

const untilTold = closure(() => {
  const { signal } = currentProcess();
  return new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}, { currentProcess });

const forEver = () => new Promise<void>(() => {});

/** Resolves when the call has been rejected. */
async function cancelled(call: PromiseLike<unknown>): Promise<void> {
  const settled = await call.then(() => "resolved", (error) => String(error?.name));
  if (settled !== "AbortError") throw new Error(`A cancelled call was settled: ${settled}`);
}

let round = 0;

await measure(2_000, BATCH, async () => {
  const controller = round++ % 2 === 0 ? new AbortController() : undefined;
  const options: TaskOptions = { grace: GRACE, ...controller && { signal: controller.signal } };
  const stopped = pool.applyAsync(forEver, []);
  const told = Array.from({ length: BATCH - 1 }, () => pool.applyAsync(untilTold, [], options));
  const all = Promise.all([stopped, ...told].map(cancelled));
  while (pool.stats().running < 2) await turn();
  stopped.cancel();
  if (controller !== undefined) controller.abort();
  else for (const result of told) result.cancel();
  await all;
  // A task behind them all: the workers have done with the cancelled ones.
  await pool.apply(() => {});
});

await pool[Symbol.asyncDispose]();
