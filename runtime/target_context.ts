import { AsyncLocalStorage } from "node:async_hooks";

const storage = new AsyncLocalStorage<true>();

/**
 * Runs a process's target, so that it and all that it leads to (promises, timers, listeners) can be told
 * from what else runs in the process: the top level of modules that were imported to find it.
 */
export function runTarget<T>(run: () => T): T {
  return storage.run(true, run);
}

/** Whether the running code belongs to the process's target. */
export function insideTarget(): boolean {
  return storage.getStore() === true;
}
