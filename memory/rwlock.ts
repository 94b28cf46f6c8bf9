import { GRACE_MS, isAlive, isGone, ownPid } from "./control.ts";
import { Attachments } from "./identity.ts";
import { Monitor, MONITOR_IDENTITY, type MonitorWait, newMonitor, OWN_WORDS } from "./monitor.ts";
import { ABANDONED, ACQUIRED, type Acquired } from "./mutex.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const WRITER = OWN_WORDS;
const WRITES = OWN_WORDS + 1;
const ROSTER = OWN_WORDS + 2;

// Of each process.
const READS = 1;
const WANTS = 2;
const ENTRY_WORDS = 2;

const attachments = new Attachments<RWLockState>();

/**
 * A lock for many readers or one writer, which knows who they are.
 *
 * | word | meaning |
 * |---|---|
 * | `WRITER` | 0, or the pid that writes |
 * | `WRITES` | counts the writes that have ended |
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
 * So a waiting writer is not overtaken by new readers, and readers are not kept out by one writer after
 * another.
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

  /** A wait to read. */
  read(): MonitorWait<Acquired> {
    const { cells } = this;
    const came = Atomics.load(cells, WRITES);
    return this.when((wait) => {
      const writer = this.#writer(wait);
      if (writer === PENDING) return PENDING;
      if (this.#isWanted() && Atomics.load(cells, WRITES) === came) return PENDING;
      Atomics.add(cells, this.#roster.own() + READS, 1);
      if (writer === 0) return ACQUIRED;
      Atomics.store(cells, WRITER, 0);
      return ABANDONED;
    });
  }

  /** A wait to write. */
  write(): MonitorWait<Acquired> {
    const { cells } = this;
    let waiting = false;
    const wait = this.when<Acquired>((wait) => {
      const own = this.#roster.own() + WANTS;
      const writer = this.#writer(wait);
      if (writer === PENDING || this.#isRead(wait)) {
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
      Atomics.add(this.cells, WRITES, 1);
      this.announce();
    });
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
