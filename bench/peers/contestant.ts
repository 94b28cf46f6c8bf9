/**
 * What the pool benchmark asks of a pool: each file beside this one fits one library to it.
 *
 * @module
 */

/** One library's pool. */
export interface Contestant {
  /** Its name in the tables. */
  name: string;
  /** Where its documentation says that it runs. */
  documentedFor: string;
  /** How {@linkcode map} does it, in its own words. */
  mapIdiom: string;
  /** Starts so many workers. */
  open(workers: number): void | Promise<void>;
  /** Submits one task that does nothing. */
  task(): PromiseLike<unknown>;
  /** Throws if what {@linkcode task} resolved to stands for an error; needed where it does not reject. */
  check?(answer: unknown): void;
  /** Doubles each number in the workers. */
  map(numbers: number[]): PromiseLike<number[]>;
  /** Ends the workers. */
  close(): unknown;
}
