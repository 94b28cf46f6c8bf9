import type { Attempt } from "./attempt.ts";
import { isAlive } from "./control.ts";
import { wake } from "./futex.ts";
import { Attachments } from "./identity.ts";
import type { Mutex } from "./mutex.ts";
import { Monitor, MONITOR_IDENTITY, newMonitor, OWN_WORDS } from "./monitor.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const CURSOR = OWN_WORDS;
const WAITERS = OWN_WORDS + 1;

// Of each process.
const WAITING = 1;
const GRANTED = 2;

const attachments = new Attachments<ConditionState>();

/**
 * The waiting room of a condition variable. What makes a wait and its lock one is `Condition`'s.
 *
 * | word | meaning |
 * |---|---|
 * | `WAITING` of each process | its waits that have not returned |
 * | `GRANTED` of each process | how many of them have been notified: its oldest ones; it sleeps on this word |
 * | `CURSOR` | where the last grant went: the next one begins behind it, so that no process is favoured |
 *
 * | transition, in turn | by |
 * |---|---|
 * | `WAITING + 1` | {@linkcode enlist}, with the condition's lock held |
 * | `GRANTED + 1` where that is below `WAITING` | {@linkcode notify}, to the living only |
 * | `WAITING - 1`, `GRANTED - 1` | {@linkcode leave} of a notified wait, with the lock held again |
 * | `WAITING - 1` | {@linkcode leave} of one that gave up before it was notified |
 * | another's `GRANTED + 1`, then the dead one's `GRANTED - 1` | whoever sees grants of a dead process |
 *
 * A grant is a process's, and goes to its oldest wait, so that a wait that comes after a notify cannot
 * take it from one that was there.
 *
 * **Death.** A grant is used up only when its wait has the lock again: who dies before that, leaves it to
 * the others, within one slice. Who dies with the lock, may have changed what the others wait for: all
 * are woken, to see for themselves. Who dies while a grant is handed on, leaves it twice rather than not
 * at all: a spurious wake-up, never a lost one.
 *
 * Model: tests/models/condition.pml.
 */
export class ConditionState extends Monitor {
  readonly #roster: Roster;
  /** This process's waits that have not returned, oldest first. */
  readonly #waits: ConditionWait[] = [];

  private constructor(cells: Int32Array) {
    super(cells);
    this.#roster = new Roster(cells, WAITERS, 2);
  }

  /** Makes an empty waiting room. */
  static create(): ConditionState {
    const cells = newMonitor(WAITERS - OWN_WORDS + Roster.size(2));
    return ConditionState.attach(cells.buffer as SharedArrayBuffer);
  }

  /** The waiting room in a buffer. */
  static attach(buffer: SharedArrayBuffer): ConditionState {
    const cells = new Int32Array(buffer);
    return attachments.get(cells, MONITOR_IDENTITY, () => new ConditionState(cells));
  }

  /**
   * Begins a wait. It must be ended by {@linkcode leave}, whatever becomes of it.
   * Model: tests/models/condition.pml.
   *
   * @param lock The condition's lock: whoever dies with it, wakes all.
   */
  enlist(lock: Mutex): ConditionWait {
    return this.inTurn(() => {
      const own = this.#roster.own();
      Atomics.add(this.cells, own + WAITING, 1);
      const wait = new ConditionWait(this, own + GRANTED, lock);
      this.#waits.push(wait);
      return wait;
    });
  }

  /** Ends a wait as if it had never been: a notification that it has got is another's. */
  cancel(wait: ConditionWait): void {
    this.inTurn(() => {
      // First to another, so that it is not lost if this process dies between the two.
      if (this.isGranted(wait)) this.#grant(1);
      this.#end(wait);
    });
  }

  /** Ends a wait. Returns whether it was notified. Model: tests/models/condition.pml. */
  leave(wait: ConditionWait): boolean {
    return this.inTurn(() => this.#end(wait));
  }

  #end(wait: ConditionWait): boolean {
    const { cells } = this;
    const granted = this.isGranted(wait);
    this.#waits.splice(this.#waits.indexOf(wait), 1);
    Atomics.sub(cells, wait.index - GRANTED + WAITING, 1);
    if (granted) Atomics.sub(cells, wait.index, 1);
    return granted;
  }

  /** Whether a wait of this process has been notified. */
  isGranted(wait: ConditionWait): boolean {
    return this.#waits.indexOf(wait) < Atomics.load(this.cells, wait.index);
  }

  /** Wakes `n` waits, or all if there are fewer. Model: tests/models/condition.pml. */
  notify(n: number): void {
    this.inTurn(() => {
      this.#inherit();
      this.#grant(n);
    });
  }

  /** Hands on what dead processes were granted. Model: tests/models/condition.pml. */
  lookAfterTheDead(): void {
    const { first, end, step } = this.#roster;
    for (let entry = first; entry < end; entry += step) {
      if (this.#isInheritance(entry)) return this.inTurn(() => this.#inherit());
    }
  }

  #isInheritance(entry: number): boolean {
    return Atomics.load(this.cells, entry + GRANTED) > 0 && !isAlive(this.#roster.pidAt(entry));
  }

  /** Model: tests/models/condition.pml. */
  #inherit(): void {
    const { cells } = this;
    const { first, end, step } = this.#roster;
    for (let entry = first; entry < end; entry += step) {
      if (isAlive(this.#roster.pidAt(entry))) continue;
      for (let left = Atomics.load(cells, entry + GRANTED); left > 0; left--) {
        this.#grant(1);
        Atomics.sub(cells, entry + GRANTED, 1);
      }
      Atomics.store(cells, entry + WAITING, 0);
    }
  }

  /**
   * Grants to the living, in turns, beginning behind the cursor.
   * Model: tests/models/condition.pml.
   */
  #grant(n: number): void {
    const { cells } = this;
    const { first, end, step } = this.#roster;
    const count = (end - first) / step;
    let at = Atomics.load(cells, CURSOR);
    for (let left = n, passed = 0; left > 0 && passed < count; passed++) {
      at = (at + 1) % count;
      const entry = first + at * step;
      if (!this.#isWaiting(entry)) continue;
      Atomics.store(cells, CURSOR, at);
      Atomics.add(cells, entry + GRANTED, 1);
      wake(cells, entry + GRANTED);
      left--;
      passed = -1;
    }
  }

  #isWaiting(entry: number): boolean {
    return Atomics.load(this.cells, entry + WAITING) > Atomics.load(this.cells, entry + GRANTED) &&
      isAlive(this.#roster.pidAt(entry));
  }
}

/** A wait to be notified. */
export class ConditionWait implements Attempt<true> {
  readonly cells: Int32Array;
  readonly index: number;
  expected = 0;
  readonly #state: ConditionState;
  readonly #lock: Mutex;

  /** @param index Where the grants of this process are counted. */
  constructor(state: ConditionState, index: number, lock: Mutex) {
    this.#state = state;
    this.#lock = lock;
    this.cells = state.cells;
    this.index = index;
  }

  /** Model: tests/models/condition.pml. */
  attempt(): true | typeof PENDING {
    if (this.#lock.orphaned) this.#state.notify(Infinity);
    else this.#state.lookAfterTheDead();
    this.expected = Atomics.load(this.cells, this.index);
    return this.#state.isGranted(this) ? true : PENDING;
  }
}
