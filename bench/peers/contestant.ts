/**
 * What the pool benchmark asks of a pool: each file beside this one fits one library to it.
 *
 * @module
 */

import type { TaskName } from "./tasks.ts";

/** What the tables say of a contestant. */
export interface About {
  /** Where its documentation says that it runs. */
  documentedFor: string;
  /** How {@linkcode Contestant.map} does it, in its own words. */
  mapIdiom: string;
  /** The same of {@linkcode Contestant.unordered}. */
  unorderedIdiom: string;
}

/** Numbers in shared memory. */
export interface SharedNumbers {
  /** What tasks get. */
  argument: unknown;
  /** The numbers, here. */
  array: Float64Array;
}

/** One library's pool. */
export interface Contestant extends About {
  /** Starts so many workers. */
  open(workers: number): void | Promise<void>;
  /** Submits one task that does nothing. */
  task(): PromiseLike<unknown>;
  /** Throws if what {@linkcode task} resolved to stands for an error; needed where it does not reject. */
  check?(answer: unknown): void;
  /** Submits a task with one argument, and moves these buffers. */
  call(name: TaskName, argument: unknown, moved?: ArrayBuffer[]): PromiseLike<unknown>;
  /** Runs a task with each of the items; all results, in their order. */
  map(name: TaskName, items: unknown[]): PromiseLike<unknown[]>;
  /** Doubles each number, and hands over the results as they come. */
  unordered(numbers: number[], take: (result: number) => void): PromiseLike<unknown>;
  /** Shared memory, where the library has a type for it. */
  share?(length: number): Promise<SharedNumbers>;
  /** Ends the workers. */
  close(): unknown;
}
