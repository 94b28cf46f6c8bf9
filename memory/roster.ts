/**
 * A roster: which processes take part in something, with a few words for each.
 *
 * `[used, entry, entry, …]`; an entry is the pid and the words of its process.
 *
 * | pid word | meaning |
 * |---|---|
 * | 0 | free |
 * | pid | this process's; its words may be anything |
 * | pid of a dead process, words not all zero | something of the dead is still to be settled |
 * | pid of a dead process, words all zero | as good as free |
 *
 * | transition | by |
 * |---|---|
 * | free → pid, or settled → pid | whoever enters the process: itself, or the one that starts it |
 *
 * **Death.** To enter is one step; the dead stay where they are until another takes their place. Only
 * when there is no room at all, what they have left is given up.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { isAlive, isGone, ownPid } from "./control.ts";

/** So many living processes may take part at once. */
const CAPACITY = 1000;

const USED = 0;
const FIRST = 1;

/** The entries of processes, in shared memory. */
export class Roster {
  readonly #cells: Int32Array;
  readonly #start: number;
  /** Words from one entry to the next. */
  readonly step: number;
  #own = 0;

  /**
   * @param start Where it begins.
   * @param words Words of each entry, besides the pid.
   */
  constructor(cells: Int32Array, start: number, words: number) {
    this.#cells = cells;
    this.#start = start;
    this.step = 1 + words;
  }

  /** How many words a roster takes, for so many words a process. */
  static size(words: number): number {
    return FIRST + CAPACITY * (1 + words);
  }

  /**
   * The first entry, by the index of its pid word. Go through all that are or were in use with
   * `for (let entry = first; entry < end; entry += step)`.
   */
  get first(): number {
    return this.#start + FIRST;
  }

  /** Behind the last entry. */
  get end(): number {
    return this.first + Atomics.load(this.#cells, this.#start + USED) * this.step;
  }

  /** The pid of an entry; 0 if it is free. */
  pidAt(entry: number): number {
    return Atomics.load(this.#cells, entry);
  }

  /** This process's entry; it is entered if it is not there. */
  own(): number {
    if (this.#own === 0 || this.pidAt(this.#own) !== ownPid) this.#own = this.enter(ownPid);
    return this.#own;
  }

  /** The entry of a process; undefined if it is not there. */
  find(pid: number): number | undefined {
    for (let entry = this.first; entry < this.end; entry += this.step) {
      if (this.pidAt(entry) === pid) return entry;
    }
    return undefined;
  }

  /** Enters a process, in the place of a dead one if there is any. Returns its entry. */
  enter(pid: number): number {
    const known = this.find(pid);
    if (known !== undefined) return known;
    return this.#replace(pid) ?? this.#append(pid) ?? this.#replaceAnyGone(pid);
  }

  /** Takes the place of one who is settled. */
  #replace(pid: number): number | undefined {
    for (let entry = this.first; entry < this.end; entry += this.step) {
      const held = this.pidAt(entry);
      if (held !== 0 && !this.#isSettled(entry, held)) continue;
      if (Atomics.compareExchange(this.#cells, entry, held, pid) === held) return entry;
    }
    return undefined;
  }

  #append(pid: number): number | undefined {
    for (;;) {
      const used = Atomics.load(this.#cells, this.#start + USED);
      if (used === CAPACITY) return undefined;
      const entry = this.first + used * this.step;
      const taken = Atomics.compareExchange(this.#cells, entry, 0, pid) === 0;
      // Also for one who has died, or is slow, between these two steps.
      Atomics.compareExchange(this.#cells, this.#start + USED, used, used + 1);
      if (taken) return entry;
    }
  }

  #replaceAnyGone(pid: number): number {
    for (let entry = this.first; entry < this.end; entry += this.step) {
      if (isGone(this.pidAt(entry))) this.#cells.fill(0, entry + 1, entry + this.step);
    }
    const entry = this.#replace(pid);
    if (entry !== undefined) return entry;
    throw new ProcessError(
      `Cannot enter another process: more than ${CAPACITY} living ones use it already`,
    );
  }

  /** Takes a process out; its words must be zero. */
  leave(pid: number): void {
    const entry = this.find(pid);
    if (entry !== undefined) Atomics.compareExchange(this.#cells, entry, pid, 0);
  }

  /** Whether any living process is in it. */
  get hasLiving(): boolean {
    for (let entry = this.first; entry < this.end; entry += this.step) {
      const pid = this.pidAt(entry);
      if (pid !== 0 && isAlive(pid)) return true;
    }
    return false;
  }

  #isSettled(entry: number, pid: number): boolean {
    if (isAlive(pid) || !isGone(pid)) return false;
    for (let word = 1; word < this.step; word++) {
      if (Atomics.load(this.#cells, entry + word) !== 0) return false;
    }
    return true;
  }
}
