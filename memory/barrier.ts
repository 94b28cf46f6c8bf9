import { exitCodeOf, isAlive, ownPid } from "./control.ts";
import { Attachments } from "./identity.ts";
import { Monitor, MONITOR_IDENTITY, type MonitorWait, newMonitor, OWN_WORDS } from "./monitor.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const PARTIES = OWN_WORDS;
const STATE = OWN_WORDS + 1;
const ACTOR = OWN_WORDS + 2;
const ROSTER = OWN_WORDS + 3;

// Of each process.
const WAITING = 1;
const OUTCOME = 2;
const BASE = 3;
const EXPECTED = 4;
const ENTRY_WORDS = 4;

// Kinds of STATE; above them it counts the rounds.
const FILLING = 0;
const ACTING = 1;
const RELEASING = 2;
const BREAKING = 3;
const BROKEN = 4;
const RESETTING = 5;
const KIND_BITS = 3;
const KINDS = (1 << KIND_BITS) - 1;

// Values of OUTCOME.
const OPEN = 0;
const PASSED = 1;
const FAILED = 2;

/** The party must run the action, and then call {@linkcode BarrierState.complete}. */
export const ACT: unique symbol = Symbol("act");

/** The barrier broke. */
export const BREAK: unique symbol = Symbol("break");

/** What a party has come to: its index, or that it passes not, or not yet. */
export type BarrierOutcome = number | typeof ACT | typeof BREAK;

/** A party of this process, on its way through the barrier. */
export interface Arrival extends MonitorWait<BarrierOutcome> {
  /** Whether it is counted in `WAITING`. */
  arrived: boolean;
  /** What became of its round, once it is over. */
  outcome: number | typeof BREAK | undefined;
}

const attachments = new Attachments<BarrierState>();

/**
 * A cyclic barrier that knows which processes wait at it, and which might come.
 *
 * | word | meaning |
 * |---|---|
 * | `STATE` | `round << 3 \| kind` |
 * | `ACTOR` | who runs the action while the kind is `ACTING` |
 * | `WAITING` of each process | its parties that have arrived |
 * | `OUTCOME`, `BASE` of each process | how the round of those ended, and the index of the first of them |
 * | `EXPECTED` of each process | 1 from when it got the barrier until it ends well, or is replaced |
 *
 * | transition of the kind, in turn | by |
 * |---|---|
 * | `FILLING` → `ACTING` | the last party to arrive, if there is an action |
 * | `FILLING`, `ACTING` → `RELEASING` | the last party; the actor: after it has written each `BASE` |
 * | `FILLING`, `ACTING` → `BREAKING` | `abort`, a timeout, an action that throws, whoever sees a death |
 * | any → `RESETTING` | `reset` |
 * | `RELEASING`, `RESETTING` → `FILLING`, next round; `BREAKING` → `BROKEN` | the same turn, once the `OUTCOME` of every waiting process is written |
 *
 * A process takes its outcome when one of its waits looks, and before it arrives anew; so rounds may go
 * on while it is slow, and no outcome is mistaken for that of another round.
 *
 * **Death.** The second half of each transition can be done again: who takes the turn of a dead process
 * over goes on with it. A process that dies while it waits or acts breaks the barrier, like one that
 * gives up. So does one that crashed before it came (exit code other than 0), unless another process has
 * been given the barrier since, in its place: nobody waits for the dead.
 *
 * Model: tests/models/barrier.pml.
 */
export class BarrierState extends Monitor {
  readonly #roster: Roster;
  /** This process's parties whose round is not over, in order of arrival. */
  #arrivals: Arrival[] = [];

  private constructor(cells: Int32Array) {
    super(cells);
    this.#roster = new Roster(cells, ROSTER, ENTRY_WORDS);
  }

  /** Makes a barrier for so many parties. */
  static create(parties: number): BarrierState {
    const cells = newMonitor(ROSTER - OWN_WORDS + Roster.size(ENTRY_WORDS));
    cells[PARTIES] = parties;
    return BarrierState.attach(cells.buffer as SharedArrayBuffer);
  }

  /** The barrier in a buffer; this process is expected from now on. */
  static attach(buffer: SharedArrayBuffer): BarrierState {
    const cells = new Int32Array(buffer);
    const state = attachments.get(cells, MONITOR_IDENTITY, () => new BarrierState(cells));
    state.expect(ownPid);
    return state;
  }

  /** How many parties make a round. */
  get parties(): number {
    return this.cells[PARTIES] as number;
  }

  /** How many living parties wait in this round. */
  get waiting(): number {
    let waiting = 0;
    this.#each((entry, pid) => {
      if (isAlive(pid)) waiting += this.#waitingAt(entry);
    });
    return waiting;
  }

  /** Whether nobody passes any more. */
  get broken(): boolean {
    return this.#kind === BROKEN || this.#kind === BREAKING;
  }

  /** Counts with a process, in the place of one that crashed, if there is any. */
  expect(pid: number): void {
    if (this.#roster.find(pid) !== undefined) return;
    this.inTurn(() => {
      this.#forgetTheWell();
      Atomics.store(this.cells, this.#roster.enter(pid) + EXPECTED, 1);
      const { first, end, step } = this.#roster;
      for (let entry = first; entry < end; entry += step) {
        if (!this.#isMissed(entry, this.#roster.pidAt(entry))) continue;
        Atomics.store(this.cells, entry + EXPECTED, 0);
        return;
      }
    });
  }

  /** A party arrives. `acts`: whether there is an action, which the last one gets to run. */
  arrive(acts: boolean): Arrival {
    const wait = this.when<BarrierOutcome>(() => this.#attempt(arrival, acts));
    const arrival: Arrival = Object.assign(wait, {
      arrived: false,
      outcome: undefined,
      cancel: () => this.#withdraw(arrival),
    });
    this.#arrivals.push(arrival);
    return arrival;
  }

  /**
   * The action is done, or has thrown: all pass, unless the barrier was broken or reset meanwhile.
   * Model: tests/models/barrier.pml.
   */
  complete(arrival: Arrival, failed = false): number | typeof BREAK {
    this.inTurn(() => {
      this.#finish();
      this.#collect();
      if (arrival.outcome !== undefined) return;
      if (failed) this.#break();
      else this.#release();
      this.#collect();
    });
    return arrival.outcome ?? BREAK;
  }

  /** Breaks the barrier, until it is reset. Model: tests/models/barrier.pml. */
  abort(): void {
    this.inTurn(() => {
      this.#finish();
      this.#break();
    });
  }

  /** Begins anew: who waits fails, and the crashed are missed no longer. */
  reset(): void {
    this.inTurn(() => {
      this.#finish();
      this.#become(RESETTING);
      this.#each((entry, pid) => {
        if (!isAlive(pid)) Atomics.store(this.cells, entry + EXPECTED, 0);
      });
      this.#finish();
    });
  }

  /** Model: tests/models/barrier.pml. */
  #attempt(arrival: Arrival, acts: boolean): BarrierOutcome | typeof PENDING {
    this.#finish();
    if (this.#isHopeless()) this.#break();
    this.#collect();
    if (arrival.outcome !== undefined) return arrival.outcome;
    if (this.#kind === BROKEN) return this.#leave(arrival, BREAK);
    if (this.#kind === ACTING) return PENDING;
    // Also those that came while an action ran: only the first of this process's waits is tried.
    for (const each of this.#arrivals) if (!each.arrived) this.#count(each);
    // Those that came before it take the round; they are woken by what has let them in.
    if (this.waiting < this.parties || !arrival.arrived) return PENDING;
    if (acts) {
      Atomics.store(this.cells, ACTOR, ownPid);
      this.#become(ACTING);
      return ACT;
    }
    this.#release();
    this.#collect();
    return arrival.outcome ?? PENDING;
  }

  /** Model: tests/models/barrier.pml. */
  #count(arrival: Arrival): void {
    if (this.waiting === this.parties) return;
    Atomics.add(this.cells, this.#roster.own() + WAITING, 1);
    arrival.arrived = true;
  }

  /**
   * Takes a party back. Returns its outcome if its round is over.
   * Model: tests/models/barrier.pml.
   */
  #withdraw(arrival: Arrival): number | typeof BREAK | undefined {
    return this.inTurn(() => {
      this.#finish();
      this.#collect();
      if (arrival.outcome !== undefined) return arrival.outcome;
      // All had come: with one less, none may pass.
      if (arrival.arrived && this.#kind === ACTING) this.#break();
      else if (arrival.arrived) Atomics.sub(this.cells, this.#roster.own() + WAITING, 1);
      this.#collect();
      this.#leave(arrival, BREAK);
      return undefined;
    });
  }

  #leave<T extends number | typeof BREAK>(arrival: Arrival, outcome: T): T {
    arrival.outcome = outcome;
    this.#arrivals = this.#arrivals.filter((each) => each !== arrival);
    return outcome;
  }

  /**
   * Takes what the last round has brought the parties of this process.
   * Model: tests/models/barrier.pml.
   */
  #collect(): void {
    const { cells } = this;
    const own = this.#roster.find(ownPid);
    const outcome = own === undefined ? OPEN : Atomics.load(cells, own + OUTCOME);
    if (own === undefined || outcome === OPEN) return;
    let index = Atomics.load(cells, own + BASE);
    for (const arrival of this.#arrivals) {
      if (arrival.arrived) this.#leave(arrival, outcome === PASSED ? index++ : BREAK);
    }
    Atomics.store(cells, own + WAITING, 0);
    Atomics.store(cells, own + OUTCOME, OPEN);
  }

  /**
   * Whether somebody is dead who waits, acts, or will be waited for in vain.
   * Model: tests/models/barrier.pml.
   */
  #isHopeless(): boolean {
    if (this.#kind !== FILLING && this.#kind !== ACTING) return false;
    let hopeless = this.#kind === ACTING && !isAlive(Atomics.load(this.cells, ACTOR));
    this.#each((entry, pid) => {
      if (!isAlive(pid) && (this.#waitingAt(entry) > 0 || this.#isMissed(entry, pid))) {
        hopeless = true;
      }
    });
    if (!hopeless) this.#forgetTheWell();
    return hopeless;
  }

  /** What those who have ended well never took must not keep their places. */
  #forgetTheWell(): void {
    this.#each((entry, pid) => {
      if (isAlive(pid) || this.#waitingAt(entry) > 0 || this.#isMissed(entry, pid)) return;
      this.cells.fill(0, entry + 1, entry + 1 + ENTRY_WORDS);
    });
  }

  /** Whether the process of an entry crashed, and nobody has come in its place. */
  #isMissed(entry: number, pid: number): boolean {
    return Atomics.load(this.cells, entry + EXPECTED) === 1 && pid !== 0 && !isAlive(pid) &&
      exitCodeOf(pid) !== 0;
  }

  /** Model: tests/models/barrier.pml. */
  #release(): void {
    let index = 0;
    this.#each((entry) => {
      const waiting = this.#waitingAt(entry);
      // Who has not looked yet must still find the index of its own round.
      if (waiting > 0) Atomics.store(this.cells, entry + BASE, index);
      index += waiting;
    });
    this.#become(RELEASING);
    this.#finish();
  }

  /** Model: tests/models/barrier.pml. */
  #break(): void {
    if (this.#kind === BROKEN) return;
    this.#become(BREAKING);
    this.#finish();
  }

  /**
   * Goes on with what this process, or one that died in its turn, has begun.
   * Model: tests/models/barrier.pml.
   */
  #finish(): void {
    const kind = this.#kind;
    if (kind !== RELEASING && kind !== BREAKING && kind !== RESETTING) return;
    const outcome = kind === RELEASING ? PASSED : FAILED;
    this.#each((entry, pid) => {
      if (this.#waitingAt(entry) === 0) return;
      if (isAlive(pid)) Atomics.store(this.cells, entry + OUTCOME, outcome);
      else Atomics.store(this.cells, entry + WAITING, 0);
    });
    const round = (Atomics.load(this.cells, STATE) >> KIND_BITS) + 1;
    Atomics.store(this.cells, STATE, (round << KIND_BITS) | (kind === BREAKING ? BROKEN : FILLING));
    this.announce();
  }

  get #kind(): number {
    return Atomics.load(this.cells, STATE) & KINDS;
  }

  #become(kind: number): void {
    Atomics.store(this.cells, STATE, (Atomics.load(this.cells, STATE) & ~KINDS) | kind);
  }

  /** Parties of an entry that wait in this round. */
  #waitingAt(entry: number): number {
    return Atomics.load(this.cells, entry + OUTCOME) === OPEN
      ? Atomics.load(this.cells, entry + WAITING)
      : 0;
  }

  #each(visit: (entry: number, pid: number) => void): void {
    const { first, end, step } = this.#roster;
    for (let entry = first; entry < end; entry += step) visit(entry, this.#roster.pidAt(entry));
  }
}
