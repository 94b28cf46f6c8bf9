import { checkAlive } from "./control.ts";
import { ACQUIRED, type Acquired, Mutex, type Released } from "./mutex.ts";
import { PENDING } from "./wait.ts";

/**
 * A {@linkcode Mutex} that its owner may acquire again: a second word counts.
 *
 * | owner word | depth word | meaning |
 * |---|---|---|
 * | free | any | free; whoever acquires writes 1 |
 * | held | n ≥ 1 | held n times; only the owner reads or writes it |
 *
 * **Death.** The depth of a dead owner is stale, and written anew by whoever takes the mutex over.
 */
export class RecursiveMutex extends Mutex {
  /** Acquires once more what this process holds. */
  reenter(): boolean {
    if (!this.isMine) return false;
    checkAlive();
    this.cells[this.index + 1]! += 1;
    return true;
  }

  override tryAcquire(): Acquired | undefined {
    if (this.reenter()) return ACQUIRED;
    const acquired = super.tryAcquire();
    if (acquired !== undefined) this.cells[this.index + 1] = 1;
    return acquired;
  }

  override attempt(): Acquired | typeof PENDING {
    if (this.reenter()) return ACQUIRED;
    const acquired = super.attempt();
    if (acquired !== PENDING) this.cells[this.index + 1] = 1;
    return acquired;
  }

  /** Undoes one acquisition of this process. */
  override release(): Released {
    const depth = this.cells[this.index + 1] as number;
    if (depth === 1 || !this.isMine) return super.release();
    checkAlive();
    this.cells[this.index + 1] = depth - 1;
    return "released";
  }

  /** Undoes all acquisitions of this process. Returns how many there were. */
  releaseAll(): number {
    const depth = this.cells[this.index + 1] as number;
    return super.release() === "released" ? depth : 0;
  }

  /** Counts `n` more acquisitions of what this process holds. */
  deepen(n: number): void {
    this.cells[this.index + 1]! += n;
  }
}
