import { ownPid } from "./control.ts";
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
  get #depth(): number {
    return Atomics.load(this.cells, this.index + 1);
  }

  set #depth(value: number) {
    Atomics.store(this.cells, this.index + 1, value);
  }

  /** Acquires once more what this process holds. */
  reenter(): boolean {
    if (this.owner !== ownPid) return false;
    this.#depth++;
    return true;
  }

  override tryAcquire(): Acquired | undefined {
    if (this.reenter()) return ACQUIRED;
    const acquired = super.tryAcquire();
    if (acquired !== undefined) this.#depth = 1;
    return acquired;
  }

  override attempt(): Acquired | typeof PENDING {
    if (this.reenter()) return ACQUIRED;
    const acquired = super.attempt();
    if (acquired !== PENDING) this.#depth = 1;
    return acquired;
  }

  /** Undoes one acquisition of this process. */
  override release(): Released {
    if (this.owner === ownPid && this.#depth > 1) {
      this.#depth--;
      return "released";
    }
    return super.release();
  }

  /** Undoes all acquisitions of this process. Returns how many there were. */
  releaseAll(): number {
    const depth = this.#depth;
    return super.release() === "released" ? depth : 0;
  }

  /** Counts `n` more acquisitions of what this process holds. */
  deepen(n: number): void {
    this.#depth += n;
  }
}
