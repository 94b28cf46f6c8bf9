import { checkAlive, isAlive, ownPid } from "./control.ts";
import { wake } from "./futex.ts";
import { Attachments, identify, IDENTITY_WORDS } from "./identity.ts";
import { type Claim, DONE, type Item, type Ring, type RingResult } from "./ring.ts";
import { Roster } from "./roster.ts";
import { type Attempt, PENDING } from "./wait.ts";

const CHANGES = 0;
const ASLEEP = 1;
const IDENTITY = 2;
const HOLDERS = IDENTITY + IDENTITY_WORDS;
const WORDS = HOLDERS + Roster.size(1);

// Of each holder.
const HELD = 1;

const attachments = new Attachments<Ledger>();

/**
 * Keeps account of a ring's items until they are done.
 *
 * | word | meaning |
 * |---|---|
 * | `HELD` of each process | items that it has got and that are not done |
 * | `CHANGES` | counts what may end a join; joiners sleep on it |
 * | `ASLEEP` | how many may sleep on it |
 *
 * `unfinished = items in the ring + Σ HELD of the living`
 *
 * | transition | by |
 * |---|---|
 * | `HELD + 1`, then the ring's commit of the get | get |
 * | `HELD - 1`, then `CHANGES + 1` | a get that took nothing after all: the item's producer died amid it |
 * | `HELD - 1`, else another's `HELD - 1`, then `CHANGES + 1` | {@linkcode done} |
 * | `HELD = 0` of the gone | the roster, when it has no room for another process |
 *
 * An item on its way from the ring to a process counts twice for a moment, never not at all. Who adds
 * up sees a moment that there was if no put was committed meanwhile: all else only makes it less.
 *
 * **Death.** Items got and not done by a dead process count as finished: nobody will do them. One that
 * dies between `HELD + 1` and the commit has left the item in the ring; between `HELD - 1` and the
 * waking, joiners look for themselves every slice. Of a large item whose consumer died amid it, the rest
 * is dropped by the next to get or to join.
 */
export class Ledger implements Claim {
  readonly #cells: Int32Array;
  readonly #ring: Ring;
  readonly #holders: Roster;
  /** Whether the item is counted that this process is amid of getting. */
  #taking = false;

  private constructor(cells: Int32Array, ring: Ring) {
    this.#cells = cells;
    this.#ring = ring;
    this.#holders = new Roster(cells, HOLDERS, 1);
  }

  /** Makes a ledger of a new ring. */
  static create(ring: Ring): Ledger {
    const buffer = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
    identify(new Int32Array(buffer), IDENTITY);
    return Ledger.attach(buffer, ring);
  }

  /** The ledger in a buffer: always the same object for the same one. */
  static attach(buffer: SharedArrayBuffer, ring: Ring): Ledger {
    const cells = new Int32Array(buffer);
    return attachments.get(cells, IDENTITY, () => new Ledger(cells, ring));
  }

  /** The memory itself, to be handed to other processes. */
  get buffer(): SharedArrayBuffer {
    return this.#cells.buffer as SharedArrayBuffer;
  }

  /** Gets from the ring what this process holds from then on. */
  tryGet(): RingResult {
    let result: RingResult = PENDING;
    try {
      result = this.#ring.tryGet(this);
    } finally {
      if (this.#taking && !this.#ring.amidStream) {
        this.#taking = false;
        if (result !== DONE && this.#take(this.#holders.own())) this.#announce();
      }
    }
    return result;
  }

  /** Called by the ring. A large item that replaces one not completed counts in its place. */
  take(_item: Item, _frame: number): void {
    if (this.#taking) return;
    Atomics.add(this.#cells, this.#holders.own() + HELD, 1);
    this.#taking = true;
  }

  /**
   * Marks an item as done: one of this process, or else of another.
   *
   * @returns False if nobody holds any.
   */
  done(): boolean {
    checkAlive();
    const marked = this.#take(this.#holders.find(ownPid)) || this.#takeOf(isAlive) ||
      this.#takeOf(() => true);
    if (marked) this.#announce();
    return marked;
  }

  /** A wait until all that was put is done. */
  join(): Attempt<true> {
    const cells = this.#cells;
    const wait = {
      cells,
      index: CHANGES,
      sleepers: ASLEEP,
      expected: 0,
      attempt: (): true | typeof PENDING => {
        checkAlive();
        wait.expected = Atomics.load(cells, CHANGES);
        this.#ring.dropOrphans();
        return this.#isFinished() ? true : PENDING;
      },
    };
    return wait;
  }

  #isFinished(): boolean {
    for (;;) {
      const puts = this.#ring.putNumber;
      if (this.#ring.size > 0) return false;
      const { first, end, step } = this.#holders;
      for (let entry = first; entry < end; entry += step) {
        const held = Atomics.load(this.#cells, entry + HELD);
        if (held > 0 && isAlive(this.#holders.pidAt(entry))) return false;
      }
      if (this.#ring.putNumber === puts) return true;
    }
  }

  #announce(): void {
    Atomics.add(this.#cells, CHANGES, 1);
    if (Atomics.load(this.#cells, ASLEEP) > 0 && this.#isFinished()) wake(this.#cells, CHANGES);
  }

  #takeOf(counts: (pid: number) => boolean): boolean {
    const { first, end, step } = this.#holders;
    for (let entry = first; entry < end; entry += step) {
      if (counts(this.#holders.pidAt(entry)) && this.#take(entry)) return true;
    }
    return false;
  }

  /** Takes one from what an entry holds; false if that is nothing. */
  #take(entry: number | undefined): boolean {
    if (entry === undefined) return false;
    for (;;) {
      const held = Atomics.load(this.#cells, entry + HELD);
      if (held <= 0) return false;
      const seen = Atomics.compareExchange(this.#cells, entry + HELD, held, held - 1);
      if (seen === held) return true;
    }
  }
}
