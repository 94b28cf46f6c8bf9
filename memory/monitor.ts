import { identify, IDENTITY_WORDS } from "./identity.ts";
import { Mutex } from "./mutex.ts";
import type { Attempt } from "./attempt.ts";
import { Line, type PENDING, waitSync } from "./wait.ts";
import { wake } from "./futex.ts";

const LOCK = 0;
const CHANGES = 1;
const ASLEEP = 2;
const IDENTITY = 3;

/** Where a monitor's own words begin. */
export const OWN_WORDS = IDENTITY + IDENTITY_WORDS;

/** The words of a new monitor, with so many of its own. */
export function newMonitor(ownWords: number): Int32Array {
  const bytes = (OWN_WORDS + ownWords) * Int32Array.BYTES_PER_ELEMENT;
  const cells = new Int32Array(new SharedArrayBuffer(bytes));
  identify(cells, IDENTITY);
  return cells;
}

/** Where the identity of a monitor lies; see `Attachments`. */
export const MONITOR_IDENTITY: number = IDENTITY;

/**
 * Words of shared memory that processes change in turn, and wait for to change. Model: Hoare's
 * monitor, with signal and continue.
 *
 * | word | meaning |
 * |---|---|
 * | `LOCK` | whose turn it is: a robust mutex, held for microseconds |
 * | `CHANGES` | counts what waiters wait for; they sleep on it |
 * | `ASLEEP` | how many may sleep on it |
 *
 * **Death.** Within a turn each store leaves a state that is good for whoever takes the turn over; each
 * monitor's own table says which. One who dies before it has announced a change delays the others by
 * at most one slice: then they look for themselves.
 */
export abstract class Monitor {
  readonly cells: Int32Array;
  /** The asynchronous waiters of this process. */
  readonly line: Line = new Line();
  readonly #lock: Mutex;

  constructor(cells: Int32Array) {
    this.cells = cells;
    this.#lock = new Mutex(cells, LOCK);
  }

  /** The memory itself, to be handed to other processes. */
  get buffer(): SharedArrayBuffer {
    return this.cells.buffer as SharedArrayBuffer;
  }

  /** Changes words in turn, blocking for the moment that another's turn takes. */
  protected inTurn<T>(change: () => T): T {
    if (this.#lock.tryAcquire() === undefined) waitSync(this.#lock);
    try {
      return change();
    } finally {
      this.#lock.release();
    }
  }

  /** Wakes who waits for a change: `count` of them, by default all. */
  protected announce(count?: number): void {
    Atomics.add(this.cells, CHANGES, 1);
    if (Atomics.load(this.cells, ASLEEP) > 0) wake(this.cells, CHANGES, count);
  }

  /** How many may sleep until the next change. */
  protected get sleepers(): number {
    return Atomics.load(this.cells, ASLEEP);
  }

  /** A wait until `attempt`, in turn, has an outcome. */
  protected when<T>(attempt: (wait: MonitorWait<T>) => T | typeof PENDING): MonitorWait<T> {
    return new MonitorWait(this.cells, this.#lock, attempt);
  }
}

/** A wait for something that only a change of the monitor brings. */
export class MonitorWait<T> implements Attempt<T> {
  readonly cells: Int32Array;
  readonly index = CHANGES;
  expected = 0;
  readonly sleepers = ASLEEP;
  /** May be set by the attempt: look again after so many milliseconds. */
  patience: number | undefined;
  readonly #lock: Mutex;
  readonly #attempt: (wait: MonitorWait<T>) => T | typeof PENDING;

  constructor(
    cells: Int32Array,
    lock: Mutex,
    attempt: (wait: MonitorWait<T>) => T | typeof PENDING,
  ) {
    this.cells = cells;
    this.#lock = lock;
    this.#attempt = attempt;
  }

  attempt(): T | typeof PENDING {
    // Blocks for the moment that another's turn takes: who comes must be counted at once.
    if (this.#lock.tryAcquire() === undefined) waitSync(this.#lock);
    this.expected = Atomics.load(this.cells, CHANGES);
    this.patience = undefined;
    try {
      return this.#attempt(this);
    } finally {
      this.#lock.release();
    }
  }

  /** Called when the wait is given up. */
  cancel?(): T | undefined;
}
