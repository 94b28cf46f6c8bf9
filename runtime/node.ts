import { availableParallelism } from "node:os";
import process from "node:process";
import type { RuntimeAdapter } from "./adapter.ts";
import { inside } from "./inside.ts";
import { yieldLoop } from "./loop.ts";
import { NODE_MESSAGE, startNodeWorker } from "./node_worker.ts";

/**
 * Node strips the types of every `.ts` file anew in each worker (28 ms for the first, 2.5 ms for
 * each more, Node 24.21); its compile cache keeps the result.
 */
const CACHE = `import { enableCompileCache } from "node:module";
if (!process.env.NODE_V8_COVERAGE) enableCompileCache();
`;

/** Node: workers of `node:worker_threads`. */
export const node: RuntimeAdapter = {
  name: "node",
  version: process.versions.node,
  endIsFinal: true,
  asyncStacks: true,
  cpuCount: availableParallelism,
  entryText: (boot) => `${NODE_MESSAGE}${CACHE}(${boot})(message, (${inside})());`,
  startWorker: (start) => startNodeWorker(start),
  yieldLoop,
};
