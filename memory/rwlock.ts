import { GRACE_MS, isAlive, isGone, ownPid } from "./control.ts";
import { Attachments } from "./identity.ts";
import { Monitor, MONITOR_IDENTITY, type MonitorWait, newMonitor, OWN_WORDS } from "./monitor.ts";
import { ABANDONED, ACQUIRED, type Acquired } from "./mutex.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const WRITER = OWN_WORDS;
const WRITES = OWN_WORDS + 1;
const LAST_WRITER = OWN_WORDS + 2;
const ROSTER = OWN_WORDS + 3;

// Of each process.
const READS = 1;
const WANTS = 2;
const ENTRY_WORDS = 2;

/** For so long a process that has just written lets others come first, in milliseconds. */
export const POLITENESS_MS = 2;

const attachments = new Attachments<RWLockState>();

/**
 * A lock for many readers or one writer, which knows who they are.
 *
 * | word | meaning |
 * |---|---|
 * | `WRITER` | 0, or the pid that writes |
 * | `WRITES` | counts the writes that have ended |
 * | `LAST_WRITER` | the pid that wrote last |
 * | `READS` of each process | how often it holds the lock for reading |
 * | `WANTS` of each process | how many of its writers wait |
 *
 * | transition, in turn | by |
 * |---|---|
 * | `READS + 1` | a reader, if nobody writes, and nobody waits to write or a write has ended since it came |
 * | `WANTS + 1` | a writer that has to wait |
 * | `WRITER = pid`, then `WANTS - 1` | a writer, if nobody living reads or writes |
 * | `READS - 1`; `WRITER = 0` | release |
 *
 * So a waiting writer is not overtaken by new readers, and readers are let in between two writers. The
 * last writer does not come again at once while others sleep: it gives them time to wake up.
 *
 * **Death.** The reads and wishes of a dead process do not count. A dead writer is followed by whoever
 * comes next, who is told that the lock was abandoned: a writer by one store; a reader counts itself
 * before it clears `WRITER`, so that if it dies in between, the next one is told.
 */
export class RWLockState extends Monitor {
  readonly #roster: Roster;

  private constructor(cells: Int32Array) {
    super(cells);
    this.#roster = new Roster(cells, ROSTER, ENTRY_WORDS);
  }

  /** Makes a free lock. */
  static create(): RWLockState {
    const cells = newMonitor(ROSTER - OWN_WORDS + Roster.size(ENTRY_WORDS));
    return RWLockState.attach(cells.buffer as SharedArrayBuffer);
  }

  /** The lock in a buffer. */
  static attach(buffer: SharedArrayBuffer): RWLockState {
    const cells = new Int32Array(buffer);
    return attachments.get(cells, MONITOR_IDENTITY, () => new RWLockState(cells));
  }

  /** How this process holds the lock. */
  get held(): "read" | "write" | undefined {
    if (Atomics.load(this.cells, WRITER) === ownPid) return "write";
    const own = this.#roster.find(ownPid);
    return own !== undefined && Atomics.load(this.cells, own + READS) > 0 ? "read" : undefined;
  }

  /** A wait to read; `again`: past those who wait to write, for they wait for this process. */
  read(again = false): MonitorWait<Acquired> {
    const { cells } = this;
    const came = Atomics.load(cells, WRITES);
    return this.when((wait) => {
      const writer = this.#writer(wait);
      if (writer === PENDING) return PENDING;
      if (!again && Atomics.load(cells, WRITES) === came && this.#isWanted()) return PENDING;
      Atomics.add(cells, this.#roster.own() + READS, 1);
      if (writer === 0) return ACQUIRED;
      Atomics.store(cells, WRITER, 0);
      return ABANDONED;
    });
  }

  /** A wait to write; `patient` if it may take its time. */
  write(patient = false): MonitorWait<Acquired> {
    const { cells } = this;
    let waiting = false;
    let polite = patient && Atomics.load(cells, LAST_WRITER) === ownPid;
    const wait = this.when<Acquired>((wait) => {
      const own = this.#roster.own() + WANTS;
      const writer = this.#writer(wait);
      const yields = polite && this.sleepers > 0;
      polite = false;
      if (yields) wait.patience = POLITENESS_MS;
      if (writer === PENDING || this.#isRead(wait) || yields) {
        if (!waiting) Atomics.add(cells, own, 1);
        waiting = true;
        return PENDING;
      }
      Atomics.store(cells, WRITER, ownPid);
      if (waiting) Atomics.sub(cells, own, 1);
      return writer === 0 ? ACQUIRED : ABANDONED;
    });
    wait.cancel = () => {
      if (waiting) this.inTurn(() => this.#giveUp());
    };
    return wait;
  }

  /** Ends one read of this process. */
  releaseRead(): void {
    this.inTurn(() => {
      Atomics.sub(this.cells, this.#roster.own() + READS, 1);
      this.announce();
    });
  }

  /** Ends the write of this process. */
  releaseWrite(): void {
    this.inTurn(() => {
      // Not if it was taken for dead, and another has followed.
      if (Atomics.compareExchange(this.cells, WRITER, ownPid, 0) !== ownPid) return;
      Atomics.store(this.cells, LAST_WRITER, ownPid);
      Atomics.add(this.cells, WRITES, 1);
      this.announce();
    });
  }

  /** Does what blocks this thread: meanwhile nobody waits for writers of this process. */
  whileBlocked<T>(act: () => T): T {
    const wants = this.inTurn(() => Atomics.exchange(this.cells, this.#roster.own() + WANTS, 0));
    if (wants === 0) return act();
    this.inTurn(() => this.announce());
    try {
      return act();
    } finally {
      this.inTurn(() => Atomics.add(this.cells, this.#roster.own() + WANTS, wants));
    }
  }

  #giveUp(): void {
    Atomics.sub(this.cells, this.#roster.own() + WANTS, 1);
    this.announce();
  }

  /** 0 if nobody writes, the pid of a dead writer, or `PENDING`. */
  #writer(wait: { patience: number | undefined }): number | typeof PENDING {
    const writer = Atomics.load(this.cells, WRITER);
    if (writer === 0 || isGone(writer)) return writer;
    if (!isAlive(writer)) wait.patience = GRACE_MS;
    return PENDING;
  }

  #isRead(wait: { patience: number | undefined }): boolean {
    const { cells } = this;
    const { first, end, step } = this.#roster;
    let read = false;
    for (let entry = first; entry < end; entry += step) {
      if (Atomics.load(cells, entry + READS) === 0) continue;
      const pid = this.#roster.pidAt(entry);
      if (isGone(pid)) {
        Atomics.store(cells, entry + READS, 0);
        continue;
      }
      read = true;
      if (!isAlive(pid)) wait.patience = GRACE_MS;
    }
    return read;
  }

  #isWanted(): boolean {
    const { cells } = this;
    const { first, end, step } = this.#roster;
    for (let entry = first; entry < end; entry += step) {
      if (Atomics.load(cells, entry + WANTS) === 0) continue;
      const pid = this.#roster.pidAt(entry);
      if (isAlive(pid)) return true;
      if (isGone(pid)) Atomics.store(cells, entry + WANTS, 0);
    }
    return false;
  }
}
