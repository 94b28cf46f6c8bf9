/** Jobs shorter than this, in ms, are fetched before a worker is free for them. */
const SHORT_MS = 3;

/** Jobs longer than this are not, any more: BullMQ halts for a moment when it is to have fewer. */
const LONG_MS = 2 * SHORT_MS;

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
  readonly #ahead: number;
  #mean = LONG_MS;
  #short = false;

  /**
   * @param slots Jobs that run at once.
   * @param repeatable Whether a job may be begun anew: others are not fetched early, for should this
   * daemon be lost nobody could tell that they have not begun.
   */
  constructor(slots: number, repeatable: boolean) {
    this.#slots = slots;
    this.#ahead = repeatable ? AHEAD : 1;
  }

  /** Jobs to have at a time. */
  get size(): number {
    return this.#short ? this.#slots * this.#ahead : this.#slots;
  }

  /**
   * Notes what a job has taken.
   *
   * @param took In its worker, in ms: how long it has waited for that says nothing of it.
   */
  note(took: number): void {
    this.#mean += (took - this.#mean) * WEIGHT;
    this.#short = this.#mean < (this.#short ? LONG_MS : SHORT_MS);
  }
}
