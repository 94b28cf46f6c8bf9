/**
 * What the library needs of a JavaScript runtime: one small interface, one adapter a runtime.
 *
 * @module
 */

import type { Transferable } from "./port.ts";

/** Names of the supported runtimes. */
export type RuntimeName = "deno" | "bun" | "node";

/** A worker that this thread has started. */
export interface NativeWorker {
  /** Lets the worker keep this thread's event loop alive. The state after the start. */
  ref(): void;
  /** Lets this thread's event loop end although the worker lives. */
  unref(): void;
  /** Stops the worker as far as the runtime can: see docs/runtimes.md. Harmless after its end. */
  terminate(): void;
}

/** What {@linkcode RuntimeAdapter.startWorker} starts. */
export interface WorkerStart {
  /** Module text that the worker runs; see {@linkcode entryText}. */
  entry: string;
  /** Given to the entry's boot function. */
  message: unknown;
  /** What `message` moves instead of copying. */
  transfer: Transferable[];
  /** Called once, when the runtime reports the worker's end. */
  onExit(code: number, error: unknown): void;
}

/** One runtime, as the library sees it. */
export interface RuntimeAdapter {
  /** Which runtime this is. */
  readonly name: RuntimeName;
  /** The runtime's version, such as `"2.9.5"`. */
  readonly version: string;
  /** Whether the thread of a worker has stopped when its end is reported. */
  readonly endIsFinal: boolean;
  /** Whether the stack of an error shows who awaits the promise that it rejects. */
  readonly asyncStacks: boolean;
  /** CPUs that this process may use, at least 1. */
  cpuCount(): number;
  /**
   * The text of a worker's entry module.
   *
   * @param boot Source text of `(message, inside) => void`, run with the start's message.
   */
  entryText(boot: string): string;
  /** Starts a worker. Synchronous: the worker begins even while this thread blocks. */
  startWorker(start: WorkerStart): NativeWorker;
  /** Lets the event loop go round once: timers, sockets and messages get their turn. */
  yieldLoop(): Promise<void>;
  /**
   * Why a new worker may not load a module, if that is known beforehand.
   *
   * @param module Its URL.
   */
  refusal?(module: string): string | undefined;
  /**
   * Calls a function, which is interrupted after `ms` milliseconds even in a loop without end. Only
   * where it costs little, and where a worker in such a loop cannot be stopped.
   *
   * @param late Makes the error that is thrown then.
   */
  callFor?<R>(ms: number, fn: () => R, late: () => Error): R;
}

/** What the entry finds inside a fresh worker, whichever the runtime. */
export interface Inside {
  /** Whether the console shows the code around an error: it does no more once `stack` was assigned. */
  showsCode: boolean;
  /** Calls `listener` on every way out that lets code run: the last thing the worker does. */
  onExit(listener: (code: number) => void): void;
  /** Calls `listener` with an error that nobody caught, or a rejection that nobody handled. */
  onUncaught(listener: (error: unknown) => void): void;
  /** Ends this worker now. */
  exit(code: number): void;
  /** Imports an absolute URL. Here, because a package from JSR may not import outside of JSR. */
  importModule(url: string): Promise<Record<string, unknown>>;
}
