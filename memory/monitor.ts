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
  readonly #turn: Turn;

  constructor(cells: Int32Array) {
    this.cells = cells;
    this.#turn = new Turn(cells);
  }

  /** The memory itself, to be handed to other processes. */
  get buffer(): SharedArrayBuffer {
    return this.cells.buffer as SharedArrayBuffer;
  }

  /** Changes words in turn, blocking for the moment that another's turn takes. */
  protected inTurn<T>(change: () => T): T {
    this.#turn.begin();
    try {
      return change();
    } finally {
      this.#turn.end();
    }
  }

  /** Called in turn: when that is over, wakes who waits for a change, `count` of them, by default all. */
  protected announce(count = Infinity): void {
    this.#turn.announce(count);
  }

  /** How many may sleep until the next change. */
  protected get sleepers(): number {
    return Atomics.load(this.cells, ASLEEP);
  }

  /** A wait until `attempt`, in turn, has an outcome. */
  protected when<T>(attempt: (wait: MonitorWait<T>) => T | typeof PENDING): MonitorWait<T> {
    return new MonitorWait(this.cells, this.#turn, attempt);
  }
}

/**
 * A process's turns at a monitor.
 *
 * Who is woken takes a turn, so wake-ups come after the one that announces them: within it, they would
 * only have the woken wait again, for its end, and be counted as awake meanwhile.
 */
class Turn {
  readonly #cells: Int32Array;
  readonly #lock: Mutex;
  /** How many are to be woken at the end. */
  #announced = 0;

  constructor(cells: Int32Array) {
    this.#cells = cells;
    this.#lock = new Mutex(cells, LOCK);
  }

  /** Blocks for the moment that another's turn takes. */
  begin(): void {
    if (this.#lock.tryAcquire() === undefined) waitSync(this.#lock);
  }

  announce(count: number): void {
    Atomics.add(this.#cells, CHANGES, 1);
    this.#announced += count;
  }

  end(): void {
    const count = this.#announced;
    this.#announced = 0;
    this.#lock.release();
    if (count > 0 && Atomics.load(this.#cells, ASLEEP) > 0) wake(this.#cells, CHANGES, count);
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
  readonly #turn: Turn;
  readonly #attempt: (wait: MonitorWait<T>) => T | typeof PENDING;

  constructor(
    cells: Int32Array,
    turn: Turn,
    attempt: (wait: MonitorWait<T>) => T | typeof PENDING,
  ) {
    this.cells = cells;
    this.#turn = turn;
    this.#attempt = attempt;
  }

  attempt(): T | typeof PENDING {
    // Blocks: who comes must be counted at once.
    this.#turn.begin();
    this.expected = Atomics.load(this.cells, CHANGES);
    this.patience = undefined;
    try {
      return this.#attempt(this);
    } finally {
      this.#turn.end();
    }
  }

  /** Called when the wait is given up. */
  cancel?(): T | undefined;
}
