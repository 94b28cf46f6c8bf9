/** Jobs shorter than this, in ms, are fetched before a worker is free for them. */
const SHORT_MS = 3;

/** Of these, so many a slot. */
const AHEAD = 8;

/** How much the last job counts in the mean. */
const WEIGHT = 0.1;

/**
 * How many jobs a daemon has at a time: as many as it has slots; of short ones more, so that its workers
 * need not wait for Redis between two. A job that waits here is one that no other daemon can take, so
 * only those are fetched early that wait no longer than a few round trips.
 */
export class Appetite {
  readonly #slots: number;
  #mean = 2 * SHORT_MS;

  /** @param slots Jobs that run at once. */
  constructor(slots: number) {
    this.#slots = slots;
  }

  /** Jobs to have at a time. */
  get size(): number {
    return this.#mean < SHORT_MS ? this.#slots * AHEAD : this.#slots;
  }

  /**
   * Notes what a job has taken.
   *
   * @param took In ms, with its wait for a worker.
   * @param here Jobs that were here with it, which shared the workers.
   */
  note(took: number, here: number): void {
    const alone = took / Math.max(1, here / this.#slots);
    this.#mean += (alone - this.#mean) * WEIGHT;
  }
}
