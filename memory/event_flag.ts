import { wake } from "./futex.ts";
import { type Attempt, PENDING } from "./wait.ts";

const SET = 1;
const ROUND = 2;

/**
 * A flag to wait for, in one word: `round << 1 | set`.
 *
 * | transition | by |
 * |---|---|
 * | clear → set, next round | `set`, which wakes all |
 * | set → clear, same round | `clear` |
 *
 * A waiter remembers the round in which it came: it passes when the flag is set, and also when the
 * round has changed, however quickly the flag was cleared again.
 *
 * **Death.** Each transition is one step; a process that dies leaves the flag as it was or as it was
 * going to be. One that dies between setting and waking delays the others by at most one slice.
 */
export class EventFlag {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  /** Whether the flag is set. */
  get isSet(): boolean {
    return (Atomics.load(this.#cells, 0) & SET) !== 0;
  }

  /** Sets the flag, and wakes all who wait. */
  set(): void {
    const word = Atomics.load(this.#cells, 0);
    if ((word & SET) !== 0) return;
    if (Atomics.compareExchange(this.#cells, 0, word, (word + ROUND) | SET) !== word) {
      return this.set();
    }
    wake(this.#cells, 0);
  }

  /** Clears the flag. */
  clear(): void {
    Atomics.and(this.#cells, 0, ~SET);
  }

  /** A wait for the flag, beginning now. */
  waiter(): Attempt<true> {
    const cells = this.#cells;
    const came = Atomics.load(cells, 0);
    const wait = {
      cells,
      index: 0,
      expected: came,
      attempt(): true | typeof PENDING {
        const word = Atomics.load(cells, 0);
        wait.expected = word;
        return ((came | word) & SET) !== 0 || word >> 1 !== came >> 1 ? true : PENDING;
      },
    };
    return wait;
  }
}
