/**
 * Claims: which worker of a pool has taken which task, in shared memory.
 *
 * A claim is left under the ring's lock, before the commit that takes the task (see
 * {@linkcode Ring.tryGet}); so whoever looks after a death knows exactly what the dead one held.
 *
 * @module
 */

import type { Claim, Ring } from "./ring.ts";

const TASK = 0;
const FRAME = 1;
const READY = 2;

/** Words from one worker's claim to the next: claims share no cache line. */
const CLAIM_WORDS = 16;

/** The claims of a pool's workers. */
export class Claims {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #slots: number;

  /** Makes claims for so many workers, or attaches to those in a buffer. */
  constructor(source: number | SharedArrayBuffer) {
    this.buffer = typeof source === "number"
      ? new SharedArrayBuffer(source * CLAIM_WORDS * Int32Array.BYTES_PER_ELEMENT)
      : source;
    this.#cells = new Int32Array(this.buffer);
    this.#slots = this.#cells.length / CLAIM_WORDS;
  }

  /** The place where worker `slot` leaves its claims. */
  at(slot: number): Claim {
    const cells = this.#cells;
    const task = slot * CLAIM_WORDS + TASK;
    const frame = slot * CLAIM_WORDS + FRAME;
    return {
      take({ a }, number) {
        Atomics.store(cells, frame, number);
        Atomics.store(cells, task, a);
      },
    };
  }

  /** Called by a worker that is about to take its first task. */
  raiseReady(slot: number): void {
    Atomics.store(this.#cells, slot * CLAIM_WORDS + READY, 1);
  }

  /** Whether the worker has got so far as to take tasks. */
  isReady(slot: number): boolean {
    return Atomics.load(this.#cells, slot * CLAIM_WORDS + READY) === 1;
  }

  /** Called by a worker that has answered what it took. */
  release(slot: number): void {
    Atomics.store(this.#cells, slot * CLAIM_WORDS + TASK, 0);
  }

  /** Clears a claim, for the next worker in the slot. */
  clear(slot: number): void {
    for (const word of [TASK, FRAME, READY]) {
      Atomics.store(this.#cells, slot * CLAIM_WORDS + word, 0);
    }
  }

  /**
   * The number of the task that worker `slot` took last; 0 if it took none.
   *
   * @param ring The ring of tasks. A claim counts only once the take was committed, and only as the
   * latest of its frame: who died before the commit has left a claim on what another took after it.
   */
  taken(slot: number, ring: Pick<Ring, "frameNumber">): number {
    const task = this.#word(slot, TASK);
    if (task === 0) return 0;
    // Not "less": while this worker runs one task, others may take so many that the number wraps round.
    if (ring.frameNumber === this.#word(slot, FRAME)) return 0;
    for (let other = 0; other < this.#slots; other++) {
      if (other !== slot && this.#word(other, TASK) === task) return 0;
    }
    return task;
  }

  #word(slot: number, word: number): number {
    return Atomics.load(this.#cells, slot * CLAIM_WORDS + word);
  }
}
