import type { Inside } from "../runtime/mod.ts";

/** Where the boot record of a worker is kept on its global scope, for {@linkcode Symbol.for}. */
export const BOOT_KEY = "@multiprocessing/core";

/** What a process is started with: handed by structured clone, before any of the library is loaded. */
export interface StartRecord {
  /** Key of the boot record: {@linkcode BOOT_KEY}. */
  key: string;
  /** The control block. */
  control: SharedArrayBuffer;
  /** Where this process's state word lies in it. */
  state: number;
  pid: number;
  name: string;
  /** Place in the tree of processes, such as `"1:2"`; the default name is made of it. */
  identity: string;
  daemon: boolean;
  parent: { pid: number; name: string };
  /** The process's end of its channel to the main process; a raw port. */
  link: unknown;
  /** URL of the worker module. */
  module: string;
  /** A function that needs nothing of the library: run as it is, without loading the module. */
  plain: { source: string; args: unknown[] } | null;
  /** Everything else: read by the worker module. */
  payload: unknown;
  /** The frames of whoever made the process: they follow the stack of the error that ends it. */
  caller: string;
}

/** What the boot function leaves for the library, should it be loaded in this worker. */
export interface BootRecord {
  start: StartRecord;
  inside: Inside;
  /** How many modules are being imported to find the target: no process may start meanwhile. */
  importing: number;
  /** Set by the worker module: makes the function to run from the payload. */
  load: () => Promise<() => unknown>;
  /** Set by whoever has something to finish after the target has settled. */
  finish: (() => Promise<void>) | undefined;
  /** Hears of the error that ends this process. */
  report: (error: unknown) => void;
}

/**
 * The first code of a process: runs the target, and marks the process's end whichever way it ends.
 *
 * **Self-contained.** It travels as source text, so it uses nothing but its own locals and globals. Its
 * functions are methods: around all others, a bundler that keeps names puts calls of a helper.
 * A plain function needs nothing of the library; not loading it makes a start several times faster.
 */
export function boot(start: StartRecord, inside: Inside): void {
  const words = new Int32Array(start.control);
  const ALIVE = 1;
  const ENDED = 2;
  const record: BootRecord = {
    start,
    inside,
    importing: 0,
    load() {
      return Promise.reject(new Error(`${start.module} is not the library's worker module`));
    },
    finish: undefined,
    report(error) {
      console.error(`Uncaught error in ${start.name} (pid ${start.pid}):`, ...own.placed(error));
    },
  };
  const own = {
    end(code: number): void {
      const ended = ((code ?? 0) << 2) | ENDED;
      if (Atomics.compareExchange(words, start.state, ALIVE, ended) === ALIVE) {
        Atomics.notify(words, start.state);
        // Rings the doorbell: a main process that blocks looks after the daemons left behind.
        Atomics.add(words, 1, 1);
      }
    },
    fail(error: unknown): void {
      // Whoever was terminated has no last words: where the thread runs on, they would be of the fence.
      try {
        if (Atomics.load(words, start.state) === ALIVE) record.report(error);
      } finally {
        inside.exit(1);
      }
    },
    /** An error, and who made the process in the place of what called its target. */
    placed(error: unknown): unknown[] {
      if (!(error instanceof Error) || start.caller === "") return [error];
      if (inside.showsCode) return [error, start.caller];
      const work = start.module.replace(/^file:\/\/|[^/]*$/g, "") + "wire/work.";
      const lines = String(error.stack).split("\n");
      const below = lines.findIndex((line) =>
        line.includes(work) || /tiprocessing(:|%3A)entry:/.test(line)
      );
      try {
        error.stack = [...lines.slice(0, below < 0 ? lines.length : below), start.caller].join(
          "\n",
        );
      } catch {
        // A frozen error keeps its own.
      }
      return [error];
    },
    async load(): Promise<unknown> {
      record.importing++;
      let run: () => unknown;
      try {
        await inside.importModule(start.module);
        run = await record.load();
      } finally {
        record.importing--;
      }
      return await run();
    },
    settle(result: unknown): void {
      // Short, because it is most of what a short process costs.
      if (!(result instanceof Object) && record.finish === undefined) return inside.exit(0);
      // The process lives until its target has settled, however idle its event loop.
      setInterval(() => {}, 2 ** 31 - 1);
      Promise.resolve(result).then(() => record.finish?.()).then(() => inside.exit(0), own.fail);
    },
  };
  (globalThis as Record<symbol, unknown>)[Symbol.for(start.key)] = record;
  inside.onExit(own.end);
  inside.onUncaught(own.fail);
  try {
    if (start.plain === null) return own.settle(own.load());
    const { source, args } = start.plain;
    const target = new Function(
      `"use strict"; return (${source});\n//# sourceURL=multiprocessing:target`,
    )();
    own.settle(target(...args));
  } catch (error) {
    own.fail(error);
  }
}
