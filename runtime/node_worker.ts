import { Worker, type WorkerOptions } from "node:worker_threads";
import type { NativeWorker, WorkerStart } from "./adapter.ts";

/** Starts a worker of `node:worker_threads`: what the adapters of Node and Deno use. */
export function startNodeWorker(start: WorkerStart, options: WorkerOptions = {}): NativeWorker {
  const { entry, message, transfer, onExit } = start;
  const url = `data:text/javascript,${shorten(entry).replace(/[%#?\s]|[^ -~]/g, encode)}`;
  const worker = new Worker(new URL(url), {
    workerData: message,
    transferList: transfer as never[],
    ...options,
  });
  let failure: unknown;
  worker.on("error", (error) => failure = error);
  worker.on("exit", (code) => onExit(code, failure));
  return {
    ref: () => worker.ref(),
    unref: () => worker.unref(),
    terminate: () => void worker.terminate(),
  };
}

/**
 * An entry without what is for readers only: Deno keeps its URL for ever, once for each worker.
 *
 * No text of an entry, minified too, has a line that begins with a space.
 */
export function shorten(entry: string): string {
  return entry.replace(/\/\*\*.*?\*\//gs, "").replace(/^\s+(\/\/(?!#).*)?/gm, "");
}

function encode(character: string): string {
  return character === " " ? " " : encodeURIComponent(character);
}

/** Where an entry under `node:worker_threads` finds its message. */
export const NODE_MESSAGE =
  `import { workerData as message } from "node:worker_threads";\n` as string;
