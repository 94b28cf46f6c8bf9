/** Numbers that look random, and are the same for the same seed: mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /**
   * Others, which follow from these. For what runs at once with something else: what it draws does not
   * depend on how far the other is.
   */
  fork(): Random {
    return new Random(this.below(2 ** 32));
  }

  /** From 0 up to 1, which never comes. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 on, below `n`. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** True so often. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}
