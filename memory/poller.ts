const POLL_MS = 0.06;
const MAX_SKIP = 8;

/**
 * Decides whether to look again for a moment, or to sleep at once, when there is nothing to do.
 *
 * To sleep and be woken costs ten times as much as to find the next item by looking again; but only if
 * the one who makes it runs meanwhile, on another processor. So after a look that was in vain, the next
 * ones are left out: 1, 2, 4, 8 of them; a look that was not in vain makes good again.
 */
export class Poller {
  #since = 0;
  #looking = false;
  #skip = 0;
  #penalty = 1;

  /** There is nothing: whether to look again now. Else the caller sleeps. */
  again(): boolean {
    if (!this.#looking) {
      if (this.#skip > 0) return false;
      this.#looking = true;
      this.#since = performance.now();
      return true;
    }
    if (performance.now() - this.#since < POLL_MS) return true;
    this.#looking = false;
    this.#skip = this.#penalty;
    this.#penalty = Math.min(this.#penalty * 2, MAX_SKIP);
    return false;
  }

  /** There is something. */
  found(): void {
    if (this.#looking) {
      this.#looking = false;
      this.#penalty = 1;
    } else if (this.#skip > 0) this.#skip--;
  }
}
