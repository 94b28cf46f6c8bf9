import { checkAlive, GRACE_MS, isAlive, isGone, ownPid } from "./control.ts";
import { pause, wake } from "./futex.ts";
import { type Attempt, PENDING } from "./wait.ts";

/** How a mutex was got: in order, or from an owner that died. */
export type Acquired = typeof ACQUIRED | typeof ABANDONED;

/** The lock was free. */
export const ACQUIRED = 1;

/** Its owner died; what it protects may be half-changed. */
export const ABANDONED = 2;

/** What {@linkcode Mutex.release} found. */
export type Released = "released" | "free" | "foreign";

const FREE = 0;
const CONTENDED = 1;
const SPINS = 20;
const MINE = ownPid << 1;

/**
 * A robust mutex in one word. Model: parking_lot's and Rust's futex mutex, with the owner in the word
 * (as in Linux's robust futexes), so that there is no moment in which a holder is unknown.
 *
 * | word | meaning |
 * |---|---|
 * | `0` | `FREE` |
 * | `pid << 1` | held by `pid`, nobody waits |
 * | `pid << 1 \| 1` | held by `pid`, somebody may sleep on the word (`CONTENDED`) |
 *
 * | transition | by |
 * |---|---|
 * | `FREE` → held | `tryAcquire`; as contended by a waiter, for it cannot know whether it was the last |
 * | held → contended | a waiter, before it sleeps |
 * | held by the gone → contended, mine | a waiter: the take-over, reported as `ABANDONED` |
 * | held or contended → `FREE` | release, which wakes one sleeper if the bit was set |
 *
 * **Death.** Every state is one word, changed in one step. A holder that dies leaves its pid; waiters
 * look at it before they sleep and after each slice. A waiter that dies leaves at most the contended
 * bit, which costs one needless wake-up. A woken waiter that dies before it takes the word delays the
 * others by at most one slice.
 */
export class Mutex implements Attempt<Acquired> {
  readonly cells: Int32Array;
  readonly index: number;
  expected = 0;
  patience: number | undefined;
  /** Whether this process may have slept on the word, so that others may sleep behind it. */
  #slept = false;

  constructor(cells: Int32Array, index: number) {
    this.cells = cells;
    this.index = index;
  }

  /** Takes the mutex if it is free, or its owner dead. Model: tests/models/mutex.pml. */
  tryAcquire(): Acquired | undefined {
    checkAlive();
    const mine = this.#slept ? MINE | CONTENDED : MINE;
    const held = Atomics.compareExchange(this.cells, this.index, FREE, mine);
    if (held === FREE) return ACQUIRED;
    return this.#takeOver(held);
  }

  /** As {@linkcode tryAcquire}; else announces a waiter. Model: tests/models/mutex.pml. */
  attempt(): Acquired | typeof PENDING {
    checkAlive();
    const { cells, index } = this;
    for (let spins = 0;;) {
      const held = Atomics.load(cells, index);
      if (held === FREE) {
        if (Atomics.compareExchange(cells, index, FREE, MINE | CONTENDED) === FREE) return ACQUIRED;
        continue;
      }
      const taken = this.#takeOver(held);
      if (taken !== undefined) return taken;
      // The holder of a short lock is often done in less time than a sleep takes.
      if (spins++ < SPINS && (held & CONTENDED) === 0) {
        pause();
        continue;
      }
      const expected = held | CONTENDED;
      if (held === expected || Atomics.compareExchange(cells, index, held, expected) === held) {
        this.expected = expected;
        this.#slept = true;
        this.patience = isAlive(held >> 1) ? undefined : GRACE_MS;
        return PENDING;
      }
    }
  }

  /** Model: tests/models/mutex.pml. */
  #takeOver(held: number): Acquired | undefined {
    if (!isGone(held >> 1)) return undefined;
    const mine = MINE | CONTENDED;
    return Atomics.compareExchange(this.cells, this.index, held, mine) === held
      ? ABANDONED
      : undefined;
  }

  /** Releases what this process holds. Model: tests/models/mutex.pml. */
  release(): Released {
    checkAlive();
    if (Atomics.compareExchange(this.cells, this.index, MINE, FREE) === MINE) return "released";
    for (;;) {
      const held = Atomics.load(this.cells, this.index);
      if (held >> 1 !== ownPid) return held === FREE ? "free" : "foreign";
      // Not an exchange: who was taken for dead must not release what another has taken over.
      if (Atomics.compareExchange(this.cells, this.index, held, FREE) !== held) continue;
      this.#wakeNext(held);
      return "released";
    }
  }

  /** Releases whoever holds the mutex. Model: tests/models/mutex.pml. */
  forceRelease(): Released {
    checkAlive();
    if (Atomics.compareExchange(this.cells, this.index, MINE, FREE) === MINE) return "released";
    for (;;) {
      const held = Atomics.load(this.cells, this.index);
      // After the look: who is terminated from now on finds another word if that has been taken over.
      checkAlive();
      if (held === FREE) return "free";
      if (Atomics.compareExchange(this.cells, this.index, held, FREE) !== held) continue;
      this.#wakeNext(held);
      return "released";
    }
  }

  #wakeNext(held: number): void {
    if ((held & CONTENDED) !== 0 && wake(this.cells, this.index, 1) === 0) this.#slept = false;
  }

  /** Whether the holder is gone, and nobody has taken the mutex over yet. */
  get orphaned(): boolean {
    const pid = Atomics.load(this.cells, this.index) >> 1;
    return pid !== 0 && isGone(pid);
  }

  /**
   * Called by who has waited for the mutex and now goes without it: the wake-up that ended its sleep
   * was perhaps the only one, so it goes to the next. Model: tests/models/ring.pml.
   */
  forgo(): void {
    if (this.#slept && wake(this.cells, this.index, 1) === 0) this.#slept = false;
  }

  /** Whether this process holds the mutex. */
  protected get isMine(): boolean {
    // Plainly: what says so was written by this thread.
    return (this.cells[this.index] as number) >> 1 === ownPid;
  }

  /** The pid of the holder; 0 if nobody holds it. A dead holder counts as none. */
  get owner(): number {
    const pid = Atomics.load(this.cells, this.index) >> 1;
    return pid !== 0 && isAlive(pid) ? pid : 0;
  }
}
