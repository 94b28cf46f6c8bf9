/**
 * One object a process for the same shared memory, however often a handle on it arrives.
 *
 * So all handles of a process share one line of waiters, and know of each other's waits.
 *
 * @module
 */

import { ownPid } from "./control.ts";

/** Words that tell one block of shared memory from all others: its maker, and the maker's count. */
export const IDENTITY_WORDS = 2;

let serial = 0;

/** Writes the identity of a new block into its words from `index` on. */
export function identify(cells: Int32Array, index: number): void {
  cells[index] = ownPid;
  cells[index + 1] = ++serial;
}

/** This process's objects of one class, by the identity of their memory; forgotten when nobody has them. */
export class Attachments<T extends object> {
  readonly #objects = new Map<string, WeakRef<T>>();
  readonly #forgotten = new FinalizationRegistry<string>((id) => {
    if (this.#objects.get(id)?.deref() === undefined) this.#objects.delete(id);
  });

  /** The object for the block whose identity lies at `index`; made if there is none. */
  get(cells: Int32Array, index: number, make: () => T): T {
    const id = `${cells[index]}:${cells[index + 1]}`;
    const known = this.#objects.get(id)?.deref();
    if (known !== undefined) return known;
    const made = make();
    this.#objects.set(id, new WeakRef(made));
    this.#forgotten.register(made, id);
    return made;
  }
}
