import process from "node:process";
import { SHARE_ENV } from "node:worker_threads";
import type { RuntimeAdapter } from "./adapter.ts";
import { inside } from "./inside.ts";
import { yieldLoop } from "./loop.ts";
import { NODE_MESSAGE, startNodeWorker } from "./node_worker.ts";

/**
 * Deno: workers of `node:worker_threads`.
 *
 * They cost three times the start of the global `Worker`, but only they tell their parent how they
 * ended, can be unreferenced, and let the program end after terminate() of a busy loop. The contract
 * needs all three; the figures are in docs/runtimes.md.
 */
export const deno: RuntimeAdapter = {
  name: "deno",
  version: process.versions.deno ?? "unknown",
  // terminate() reports the end at once, while the thread may still run.
  endIsFinal: false,
  asyncStacks: true,
  cpuCount: () => navigator.hardwareConcurrency,
  entryText: (boot) => `${NODE_MESSAGE}(${boot})(message, (${inside})());`,
  // A worker gets a copy of the environment. To make that, Deno asks the user for all of it.
  startWorker: (start) => startNodeWorker(start, mayReadEnvironment() ? {} : { env: SHARE_ENV }),
  yieldLoop,
  callFor,
  refusal,
};

function mayReadEnvironment(): boolean {
  return Deno.permissions.querySync({ name: "env" }).state === "granted";
}

/** Asks the user, where there is one: the worker would only fail. */
function refusal(module: string): string | undefined {
  if (!module.startsWith("file:")) return undefined;
  const { state } = Deno.permissions.requestSync({ name: "read", path: new URL(module) });
  if (state === "granted") return undefined;
  return `it loads this library, which takes the permission to read ${module}; ` +
    "run deno with --allow-read";
}

const CALL_KEY = "@multiprocessing/core call";

/** Some 10 µs a call here; Node takes 190, but there terminate() stops any loop. */
function callFor<R>(ms: number, fn: () => R, late: () => Error): R {
  const scope = globalThis as Record<symbol, unknown>;
  const { runInThisContext } = process.getBuiltinModule("node:vm");
  scope[Symbol.for(CALL_KEY)] = fn;
  try {
    return runInThisContext(`globalThis[Symbol.for("${CALL_KEY}")]()`, { timeout: ms });
  } catch (error) {
    const { code } = Object(error) as { code?: unknown };
    throw code === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? late() : error;
  } finally {
    delete scope[Symbol.for(CALL_KEY)];
  }
}
