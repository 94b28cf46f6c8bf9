import type { Inside } from "./adapter.ts";

/** The few names of the three runtimes that the entry uses. */
interface WorkerGlobals {
  process: {
    on(event: string, listener: (value: never) => void): void;
    exit(code: number): void;
    emit(event: string, value: number): boolean;
  };
  Deno?: { exitCode: number; exit(code: number): void };
  Bun?: unknown;
  close?: () => void;
  addEventListener?: (type: string, listener: (event: { error?: unknown }) => void) => void;
}

/**
 * Describes the worker that it runs in.
 *
 * **Self-contained.** It travels as source text into the worker's entry, so it uses nothing but its
 * own locals and globals. Its functions are methods: see `boot()`.
 */
export function inside(): Inside {
  const globals = globalThis as unknown as WorkerGlobals;
  const { process, Deno, Bun } = globals;
  const exit = process.exit.bind(process);
  // self.close() ends a worker without any event that its parent could hear of; exit() does not.
  if (globals.close !== undefined) {
    Object.defineProperty(globalThis, "close", {
      value() {
        exit(0);
      },
      configurable: true,
      writable: true,
    });
  }
  return {
    showsCode: Bun !== undefined,
    onExit(listener) {
      process.on("exit", listener);
      // Deno.exit() dispatches `unload` only, after it has set the code.
      if (Deno !== undefined) {
        globals.addEventListener?.("unload", () => listener(Deno.exitCode));
      }
    },
    onUncaught(listener) {
      process.on("uncaughtException", listener);
      process.on("unhandledRejection", listener);
      // All that is called under `bun test` (oven-sh/bun#36445).
      if (Bun !== undefined) {
        globals.addEventListener?.("error", (event) => listener(event.error));
      }
    },
    exit(code) {
      // On Deno, process.exit() in a worker that was terminated spins for ever; Deno.exit() does not,
      // but dispatches no `exit`.
      if (Deno === undefined) return exit(code);
      process.emit("exit", code);
      Deno.exit(code);
    },
    importModule(url) {
      return import(url);
    },
  };
}
