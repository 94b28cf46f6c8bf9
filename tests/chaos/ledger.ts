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
  "struct",
  "read",
  "write",
  // Amid a get from queue; the last is of Value.exchange()
  "get0",
  "get1",
  "get2",
  "get3",
  // Amid giving or taking a parcel, parcels given, parcels taken
  "parcel",
  "parcelsGiven",
  "parcelsTaken",
  // Additions begun and not announced, additions announced
  "adding",
  "added",
  "lockedAdding",
  "lockedAdded",
  "wideAdding",
  "wideAdded",
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

/** So many parcels an actor may send. */
export const PARCELS = 8;

// States of a put, and of an answer.
export const BEGUN = 1;
export const DONE = 2;
export const REFUSED = 3;

const ITEM_WORDS = 2;
const FIRST_ITEM = ACTORS * FIELDS.length;

// Of each parcel: who holds it, how far the answers by its connection and by its queue have come, and
// whether its holder has let it go.
const HOLDER = 0;
const ANSWERS = { end: 1, queue: 2 } as const;
const LET_GO = 3;
const PARCEL_WORDS = 4;
const FIRST_PARCEL = FIRST_ITEM + ACTORS * ITEMS * ITEM_WORDS;
const WORDS = FIRST_PARCEL + ACTORS * PARCELS * PARCEL_WORDS;

/** The book of a round. */
export class Ledger {
  readonly cells: Int32Array;

  constructor(
    cells: Int32Array = new Int32Array(
      new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT),
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
    return this.#actors((actor) => this.get(actor, field) !== 0 && this.#isAlive(actor));
  }

  /** The actors of processes that have ended of which the field is not 0. */
  dead(field: Field): number[] {
    return this.#actors((actor) => this.get(actor, field) !== 0 && !this.#isAlive(actor));
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

  /** Notes which actor has a parcel in its hands; undefined if nobody knows whose those are. */
  noteHolder(parcel: number, actor: number | undefined): void {
    store(this.cells, this.#atParcel(parcel) + HOLDER, actor === undefined ? 0 : actor + 1);
  }

  /** The actor that was the last to have it in its hands; undefined while it is on its way. */
  holder(parcel: number): number | undefined {
    const word = load(this.cells, this.#atParcel(parcel) + HOLDER);
    return word === 0 ? undefined : word - 1;
  }

  /** Notes that its holder needs it no more. */
  noteLetGo(parcel: number): void {
    store(this.cells, this.#atParcel(parcel) + LET_GO, 1);
  }

  /** Whether its holder needs it no more. */
  isLetGo(parcel: number): boolean {
    return load(this.cells, this.#atParcel(parcel) + LET_GO) === 1;
  }

  /** Notes how far an answer to a parcel has come. */
  noteAnswer(parcel: number, by: keyof typeof ANSWERS, state: number): void {
    store(this.cells, this.#atParcel(parcel) + ANSWERS[by], state);
  }

  /** How far that has come; 0 if there is none. */
  answer(parcel: number, by: keyof typeof ANSWERS): number {
    return load(this.cells, this.#atParcel(parcel) + ANSWERS[by]);
  }

  #isAlive(actor: number): boolean {
    return isAlive(this.get(actor, "pid"));
  }

  #actors(isMeant: (actor: number) => boolean): number[] {
    const found: number[] = [];
    for (let actor = 0; actor < ACTORS; actor++) if (isMeant(actor)) found.push(actor);
    return found;
  }

  #atParcel(parcel: number): number {
    return FIRST_PARCEL + parcel * PARCEL_WORDS;
  }

  #at(actor: number, field: Field): number {
    return actor * FIELDS.length + FIELDS.indexOf(field);
  }
}
