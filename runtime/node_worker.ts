import { Worker, type WorkerOptions } from "node:worker_threads";
import type { NativeWorker, WorkerStart } from "./adapter.ts";

/** Starts a worker of `node:worker_threads`: what the adapters of Node and Deno use. */
export function startNodeWorker(start: WorkerStart, options: WorkerOptions = {}): NativeWorker {
  const { entry, message, transfer, onExit } = start;
  const worker = new Worker(entryUrl(entry), {
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
 * The URL of an entry, as short as can be: Deno keeps it for ever, once for each worker.
 *
 * An entry, minified too, has no text with a line that begins with a space, so that its lines can lose
 * what is for readers only.
 */
function entryUrl(entry: string): URL {
  const short = entry.replace(/\/\*\*.*?\*\//gs, "").replace(/^\s+(\/\/(?!#).*)?/gm, "");
  return new URL(`data:text/javascript,${short.replace(/[%#?\s]|[^ -~]/g, encode)}`);
}

function encode(character: string): string {
  return character === " " ? " " : encodeURIComponent(character);
}

/** Where an entry under `node:worker_threads` finds its message. */
export const NODE_MESSAGE =
  `import { workerData as message } from "node:worker_threads";\n` as string;
