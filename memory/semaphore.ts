import { GRACE_MS, isAlive, isGone, ownPid } from "./control.ts";
import { Attachments } from "./identity.ts";
import { Monitor, MONITOR_IDENTITY, type MonitorWait, newMonitor, OWN_WORDS } from "./monitor.ts";
import { ABANDONED, ACQUIRED, type Acquired } from "./mutex.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const INITIAL = OWN_WORDS;
const SURPLUS = OWN_WORDS + 1;
const HOLDERS = OWN_WORDS + 2;

// Of each holder.
const HELD = 1;

/** The largest value a semaphore can have: POSIX's SEM_VALUE_MAX. */
export const MAX_VALUE = 2 ** 31 - 1;

const attachments = new Attachments<SemaphoreState>();

/**
 * A counting semaphore that knows who holds its permits.
 *
 * | word | meaning |
 * |---|---|
 * | `INITIAL` | the permits that it was made with; never changes |
 * | `SURPLUS` | permits that were released beyond those: signals, which nobody owns once taken |
 * | `HELD` of each process | permits of the initial ones that it holds |
 *
 * `value = SURPLUS + INITIAL - Σ HELD`
 *
 * | transition, in turn | by |
 * |---|---|
 * | `SURPLUS - 1`, or else `HELD + 1` | acquire, if the value is above 0 |
 * | `HELD - 1`, else another's `HELD - 1`, else `SURPLUS + 1` | release |
 * | a dead process's `HELD - 1`, then `HELD + 1` | acquire, if all others are taken: `ABANDONED` |
 *
 * **Death.** Each transition is one store, the value follows from the words; one who dies between the
 * two stores of a take-over leaves a free permit. So the permits of the dead come back, but never more
 * than the semaphore was made with: one made with 0, for signals, never counts a signal twice.
 */
export class SemaphoreState extends Monitor {
  readonly #holders: Roster;

  private constructor(cells: Int32Array) {
    super(cells);
    this.#holders = new Roster(cells, HOLDERS, 1);
  }

  /** Makes a semaphore of a value from 0 to `MAX_VALUE`. */
  static create(initial: number): SemaphoreState {
    const cells = newMonitor(HOLDERS - OWN_WORDS + Roster.size(1));
    cells[INITIAL] = initial;
    return SemaphoreState.attach(cells.buffer as SharedArrayBuffer);
  }

  /** The semaphore in a buffer. */
  static attach(buffer: SharedArrayBuffer): SemaphoreState {
    const cells = new Int32Array(buffer);
    return attachments.get(cells, MONITOR_IDENTITY, () => new SemaphoreState(cells));
  }

  /** The value it was made with. */
  get initial(): number {
    return this.cells[INITIAL] as number;
  }

  /** Permits that no living process holds. */
  get value(): number {
    return this.inTurn(() => this.#free(isAlive));
  }

  /** Takes a permit if there is one. */
  tryAcquire(): Acquired | undefined {
    const taken = this.inTurn(() => this.#take());
    return taken === PENDING ? undefined : taken;
  }

  /** A wait for a permit. */
  acquire(): MonitorWait<Acquired> {
    return this.when((wait) => this.#take(wait));
  }

  /**
   * Gives back `n` permits, first those of this process.
   *
   * @returns False, and nothing has changed, if there would be more than `max`.
   */
  release(n: number, max: number): boolean {
    return this.inTurn(() => {
      if (this.#free() + n > max) return false;
      const own = this.#holders.find(ownPid);
      let left = own === undefined ? n : this.#giveBack(own, n);
      // Those of the dead come back by themselves.
      for (const counts of [isAlive, () => true]) {
        const { first, end, step } = this.#holders;
        for (let entry = first; left > 0 && entry < end; entry += step) {
          if (counts(this.#holders.pidAt(entry))) left = this.#giveBack(entry, left);
        }
      }
      if (left > 0) Atomics.add(this.cells, SURPLUS, left);
      this.announce(n);
      return true;
    });
  }

  /** Returns how many permits are left to be given back. */
  #giveBack(entry: number, n: number): number {
    const back = Math.min(n, Atomics.load(this.cells, entry + HELD));
    if (back > 0) Atomics.sub(this.cells, entry + HELD, back);
    return n - back;
  }

  #take(wait?: { patience: number | undefined }): Acquired | typeof PENDING {
    const { cells } = this;
    if (Atomics.load(cells, SURPLUS) > 0) {
      Atomics.sub(cells, SURPLUS, 1);
      return ACQUIRED;
    }
    const own = this.#holders.own() + HELD;
    if (this.#free() > 0) {
      Atomics.add(cells, own, 1);
      return ACQUIRED;
    }
    const { first, end, step } = this.#holders;
    for (let entry = first; entry < end; entry += step) {
      const pid = this.#holders.pidAt(entry);
      if (Atomics.load(cells, entry + HELD) === 0 || isAlive(pid)) continue;
      if (!isGone(pid)) {
        if (wait !== undefined) wait.patience = GRACE_MS;
        continue;
      }
      Atomics.sub(cells, entry + HELD, 1);
      Atomics.add(cells, own, 1);
      return ABANDONED;
    }
    return PENDING;
  }

  /** The value; permits of holders that do not count are free. */
  #free(counts: (pid: number) => boolean = () => true): number {
    const { cells } = this;
    const { first, end, step } = this.#holders;
    let free = Atomics.load(cells, SURPLUS) + this.initial;
    for (let entry = first; entry < end; entry += step) {
      const held = Atomics.load(cells, entry + HELD);
      if (held > 0 && counts(this.#holders.pidAt(entry))) free -= held;
    }
    return free;
  }
}
