import { wake } from "./futex.ts";
import { type Attempt, PENDING } from "./wait.ts";

const CLOSED = 0;
const OPEN = 1;

/**
 * A word that opens once.
 *
 * | word | meaning |
 * |---|---|
 * | 0 | not yet |
 * | 1 | open, for ever |
 */
export class Latch implements Attempt<true> {
  readonly buffer: SharedArrayBuffer;
  readonly cells: Int32Array;
  readonly index = 0;
  readonly expected = CLOSED;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.cells = new Int32Array(buffer);
  }

  /** Opens the latch, and wakes all who wait. */
  open(): void {
    Atomics.store(this.cells, this.index, OPEN);
    wake(this.cells, this.index);
  }

  attempt(): true | typeof PENDING {
    return Atomics.load(this.cells, this.index) === OPEN ? true : PENDING;
  }
}
