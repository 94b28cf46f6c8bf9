/**
 * Leases: which watched task a pool's worker is running, in shared memory, so that the pool can cancel
 * it, time it out, or take back the part of it that has not begun; and no other task ever notices.
 *
 * | `LEASE` of a worker | means |
 * |---|---|
 * | 0 | no watched task is running |
 * | n | task n is running |
 * | -n | task n was revoked: the worker is about to be stopped, and does nothing more |
 *
 * | transition | by |
 * |---|---|
 * | 0 → n | the worker, when it has taken the task; then it looks whether the task was dropped meanwhile |
 * | n → 0 | the worker, by compare-exchange, before it answers |
 * | n → -n | the pool, by compare-exchange: after it, the worker may be stopped |
 * | → 0 | the pool, once the worker has ended |
 *
 * So a worker is stopped only while it runs the very task that is to be stopped. **Dropped** is a word
 * of the task: the pool sets it and then looks for the lease; the worker sets the lease and then looks
 * at the word. One of them sees the other.
 *
 * `RANGE` holds the task, the next item and the end of a map's chunk in one word, so that the worker
 * takes its next item, and the pool takes the last ones back, each by one compare-exchange.
 *
 * | the worker dies | then |
 * |---|---|
 * | before 0 → n, or after n → 0 | its claim says what it held: see `claim.ts` |
 * | in between | likewise; `RANGE` and `ITEM` say how far it had got |
 *
 * Model: tests/models/lease.pml.
 *
 * @module
 */

import { checkAlive } from "./control.ts";
import { sleep, wake } from "./futex.ts";

/** Watched tasks have numbers whose low bits are below this: each has a word of its own. */
export const WATCHED_TASKS = 4096;

/** A chunk of so many items at most can be split. */
export const MAX_SPLIT = 1023;

const LEASE = 0;
const STARTED = 1;
const RANGE = 2;
const ITEM = 3;
const ABORTED = 4;

/** Words from one worker's lease to the next: leases share no cache line. */
const LEASE_WORDS = 16;

const TASK_MASK = WATCHED_TASKS - 1;
const ITEM_BITS = 10;
const ITEM_MASK = 2 ** ITEM_BITS - 1;
const TASK_SHIFT = 2 * ITEM_BITS;

function rangeWord(task: number, next: number, end: number): number {
  return ((task & TASK_MASK) << TASK_SHIFT) | (end << ITEM_BITS) | next;
}

/** How many items of the task's chunk have not begun. */
function leftOf(range: number, task: number): number {
  if (range >>> TASK_SHIFT !== (task & TASK_MASK)) return 0;
  return ((range >>> ITEM_BITS) & ITEM_MASK) - (range & ITEM_MASK);
}

/** Milliseconds, as they stand in a word. */
function now31(): number {
  return (Date.now() & 0x7fff_ffff) || 1;
}

/** The leases of a pool's workers, for the pool. */
export class Leases {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #workers: number;

  /** Makes leases for so many workers, or attaches to those in a buffer. */
  constructor(source: number | SharedArrayBuffer) {
    const words = typeof source === "number" ? 2 * WATCHED_TASKS + source * LEASE_WORDS : 0;
    this.buffer = typeof source === "number"
      ? new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT)
      : source;
    this.#cells = new Int32Array(this.buffer);
    this.#workers = (this.#cells.length - 2 * WATCHED_TASKS) / LEASE_WORDS;
  }

  /** The lease of one worker, for that worker. */
  of(worker: number): Lease {
    return new Lease(this.#cells, 2 * WATCHED_TASKS + worker * LEASE_WORDS);
  }

  /**
   * Notes how long calls of the task may take, in ms; 0 for ever. Before it is put: a task that had its
   * number before may have been dropped.
   * Model: tests/models/lease.pml.
   */
  limit(task: number, ms: number): void {
    Atomics.store(this.#cells, task & TASK_MASK, 0);
    Atomics.store(this.#cells, WATCHED_TASKS + (task & TASK_MASK), ms);
  }

  /** Lets nobody begin the task, nor its next item. Model: tests/models/lease.pml. */
  drop(task: number): void {
    Atomics.store(this.#cells, task & TASK_MASK, task);
  }

  /** The watched task that a worker is running; 0 if none. */
  task(worker: number): number {
    return Math.max(0, this.#load(worker, LEASE));
  }

  /** The worker that is running the task; -1 if none. Model: tests/models/lease.pml. */
  holder(task: number): number {
    for (let worker = 0; worker < this.#workers; worker++) {
      if (this.#load(worker, LEASE) === task) return worker;
    }
    return -1;
  }

  /** For how many milliseconds the worker's call has been running; 0 while it loads the function. */
  runs(worker: number): number {
    const started = this.#load(worker, STARTED);
    // Of 31 bits, with their sign: the clock may have been set back.
    return started === 0 ? 0 : Math.max(0, (now31() - started) << 1 >> 1);
  }

  /**
   * Takes the task away from its worker, which may be stopped then. False if it has ended it.
   * Model: tests/models/lease.pml.
   */
  revoke(worker: number, task: number): boolean {
    const index = this.#index(worker, LEASE);
    return Atomics.compareExchange(this.#cells, index, task, -task) === task;
  }

  /**
   * Tells the task that it is to stop: see {@linkcode Lease.aborted}.
   * Model: tests/models/lease.pml.
   */
  abort(worker: number, task: number): void {
    const index = this.#index(worker, ABORTED);
    Atomics.store(this.#cells, index, task);
    wake(this.#cells, index);
  }

  /** How many items of the chunk have not begun. Model: tests/models/lease.pml. */
  left(worker: number, task: number): number {
    return leftOf(this.#load(worker, RANGE), task);
  }

  /**
   * Takes back the last items of the chunk that the worker is running, if they have not begun.
   * Model: tests/models/lease.pml.
   *
   * @param part How much of what has not begun: 1 for all of it.
   * @returns The first that was taken back; undefined if none was.
   */
  takeBack(worker: number, task: number, part: number): number | undefined {
    const index = this.#index(worker, RANGE);
    for (;;) {
      const range = Atomics.load(this.#cells, index);
      const left = leftOf(range, task);
      if (left <= 0) return undefined;
      const next = range & ITEM_MASK;
      const end = next + left - Math.ceil(left * part);
      const shorter = rangeWord(task, next, end);
      if (Atomics.compareExchange(this.#cells, index, range, shorter) === range) return end;
    }
  }

  /** The item of a chunk that the worker has begun last. */
  item(worker: number, task: number): number {
    const range = this.#load(worker, RANGE);
    // Another task's low bits may be the same.
    const leased = Math.abs(this.#load(worker, LEASE)) === task;
    const open = leased && range !== 0 && range >>> TASK_SHIFT === (task & TASK_MASK);
    return open ? Math.max(0, (range & ITEM_MASK) - 1) : this.#load(worker, ITEM);
  }

  /**
   * Clears the lease of a worker that has ended, for the next one in its place.
   * Model: tests/models/lease.pml.
   */
  clear(worker: number): void {
    for (const word of [LEASE, STARTED, RANGE, ITEM, ABORTED]) {
      Atomics.store(this.#cells, this.#index(worker, word), 0);
    }
  }

  #index(worker: number, word: number): number {
    return 2 * WATCHED_TASKS + worker * LEASE_WORDS + word;
  }

  #load(worker: number, word: number): number {
    return Atomics.load(this.#cells, this.#index(worker, word));
  }
}

/** A worker's own lease. */
export class Lease {
  readonly #cells: Int32Array;
  readonly #base: number;

  /** @param base Where its words begin. */
  constructor(cells: Int32Array, base: number) {
    this.#cells = cells;
    this.#base = base;
  }

  /**
   * Begins a watched task. Returns false if it was dropped; it is still to be ended then.
   * Model: tests/models/lease.pml.
   */
  begin(task: number): boolean {
    checkAlive();
    Atomics.store(this.#cells, this.#base + STARTED, 0);
    // A task that has had this number before may have been told to stop.
    Atomics.store(this.#cells, this.#base + ABORTED, 0);
    Atomics.store(this.#cells, this.#base + LEASE, task);
    return !this.dropped(task);
  }

  /** Whether the task is not to go on. Model: tests/models/lease.pml. */
  dropped(task: number): boolean {
    return Atomics.load(this.#cells, task & TASK_MASK) === task;
  }

  /** Like {@linkcode dropped}, at once or soon: for a look at each item. */
  droppedSoon(task: number): boolean {
    return this.#cells[task & TASK_MASK] === task;
  }

  /** How long calls of the task may take, in ms; 0 for ever. */
  limit(task: number): number {
    return Atomics.load(this.#cells, WATCHED_TASKS + (task & TASK_MASK));
  }

  /**
   * Opens so many items of a chunk to be taken, by this worker or back by the pool.
   * Model: tests/models/lease.pml.
   */
  open(task: number, items: number): void {
    checkAlive();
    Atomics.store(this.#cells, this.#base + RANGE, rangeWord(task, 0, items));
  }

  /**
   * Takes the next item of an open chunk; -1 if there is none left.
   * Model: tests/models/lease.pml.
   */
  next(): number {
    const index = this.#base + RANGE;
    checkAlive();
    // Read plainly, for V8 calls a function for Atomics.load(): what is old fails below.
    for (let range = this.#cells[index]!;;) {
      const item = range & ITEM_MASK;
      if (item >= ((range >>> ITEM_BITS) & ITEM_MASK)) return -1;
      const seen = Atomics.compareExchange(this.#cells, index, range, range + 1);
      if (seen === range) return item;
      range = seen;
    }
  }

  /** Notes which item begins now, for whoever has to say what was lost. */
  at(item: number): void {
    checkAlive();
    this.#cells[this.#base + ITEM] = item;
  }

  /** A call of the task's function begins now. */
  startClock(): void {
    checkAlive();
    Atomics.store(this.#cells, this.#base + STARTED, now31());
  }

  /**
   * Ends the task. Returns false if the pool has revoked it: this worker is about to be stopped.
   * Model: tests/models/lease.pml.
   */
  end(task: number): boolean {
    checkAlive();
    // Who dies with its next task, before it has opened that, must not seem to have opened it.
    Atomics.store(this.#cells, this.#base + RANGE, 0);
    return Atomics.compareExchange(this.#cells, this.#base + LEASE, task, 0) === task;
  }

  /** The task that was told last to stop. */
  get aborted(): number {
    return Atomics.load(this.#cells, this.#base + ABORTED);
  }

  /** Resolves when a task other than `seen` is told to stop. Does not keep the event loop alive. */
  async nextAborted(seen: number): Promise<void> {
    await sleep(this.#cells, this.#base + ABORTED, seen, Infinity);
  }
}
