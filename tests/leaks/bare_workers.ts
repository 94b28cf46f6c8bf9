/**
 * 2,000 of the runtime's own workers, as the library starts them, four at a time: what they leave behind
 * is not the library's.
 */

import { Worker as ThreadWorker } from "node:worker_threads";
import { runtime } from "../../runtime/mod.ts";
import { measure } from "./meter.ts";

const BATCH = 4;
const ENTRY = "data:text/javascript,";

/** Starts a worker that ends at once, and hears of its end. */
function life(): Promise<void> {
  return new Promise((resolve) => {
    if (runtime.name === "bun") {
      const worker = new Worker(ENTRY, { type: "module" });
      worker.addEventListener("close", () => resolve(), { once: true });
    } else {
      new ThreadWorker(new URL(ENTRY)).once("exit", () => resolve());
    }
  });
}

await measure(2_000, BATCH, async () => {
  await Promise.all(Array.from({ length: BATCH }, life));
});
