/**
 * What the members of a round have done, in shared memory: it outlives them, and is written by one
 * store before and after each operation. So what a dead member was amid of stands there.
 */

import { isAlive } from "../../memory/control.ts";

// As they were before anybody is made to die within them.
const { add, load, store } = Atomics;

const FIELDS = [
  "pid", // of the process that the actor runs in; 0 before it has begun
  "op", // the number of its operation, from 1
  "parked", // it waits to be killed
  // Inside of a critical section of
  "lock",
  "rlock",
  "condition",
  "array",
  "semaphore",
  "bounded",
  "read",
  "write",
  // Amid a get from queue
  "get0",
  "get1",
  "get2",
  // Additions begun and not announced, additions announced
  "adding",
  "added",
  "lockedAdding",
  "lockedAdded",
  // Amid Barrier.wait, and how often it got which index
  "barrier",
  "index0",
  "index1",
  "index2",
] as const;

/** What is noted of each actor. */
export type Field = typeof FIELDS[number];

/** So many actors a round may have. */
export const ACTORS = 64;

/** So many items an actor may put. */
export const ITEMS = 16;

// States of a put.
export const BEGUN = 1;
export const DONE = 2;
export const REFUSED = 3;

const ITEM_WORDS = 2;
const FIRST_ITEM = ACTORS * FIELDS.length;

/** The book of a round. */
export class Ledger {
  readonly cells: Int32Array;

  constructor(
    cells: Int32Array = new Int32Array(
      new SharedArrayBuffer(4 * (FIRST_ITEM + ACTORS * ITEMS * ITEM_WORDS)),
    ),
  ) {
    this.cells = cells;
  }

  get(actor: number, field: Field): number {
    return load(this.cells, this.#at(actor, field));
  }

  set(actor: number, field: Field, value: number): void {
    store(this.cells, this.#at(actor, field), value);
  }

  add(actor: number, field: Field, n: number): void {
    add(this.cells, this.#at(actor, field), n);
  }

  /** The sum over all actors. */
  sum(field: Field): number {
    let sum = 0;
    for (let actor = 0; actor < ACTORS; actor++) sum += this.get(actor, field);
    return sum;
  }

  /** The actors of living processes of which the field is not 0. */
  living(field: Field): number[] {
    const found: number[] = [];
    for (let actor = 0; actor < ACTORS; actor++) {
      if (this.get(actor, field) !== 0 && isAlive(this.get(actor, "pid"))) found.push(actor);
    }
    return found;
  }

  /** Notes how far a put has come, and of which queue. */
  notePut(id: number, queue: number, state: number): void {
    store(this.cells, FIRST_ITEM + id * ITEM_WORDS, (queue << 2) | state);
  }

  /** How far the put of an item has come; 0 if there was none. */
  put(id: number): { queue: number; state: number } {
    const word = load(this.cells, FIRST_ITEM + id * ITEM_WORDS);
    return { queue: word >> 2, state: word & 3 };
  }

  /** Notes that an item was got. Returns how often it was got before. */
  noteGot(id: number): number {
    return add(this.cells, FIRST_ITEM + id * ITEM_WORDS + 1, 1);
  }

  /** How often an item was got. */
  got(id: number): number {
    return load(this.cells, FIRST_ITEM + id * ITEM_WORDS + 1);
  }

  #at(actor: number, field: Field): number {
    return actor * FIELDS.length + FIELDS.indexOf(field);
  }
}
