/** Random numbers that come again with their seed. */

/** A source of random numbers: the same seed gives the same ones. */
export class Random {
  #state: number;

  /** @param seed Any numbers; each of them counts. */
  constructor(...seed: number[]) {
    this.#state = 0x9e3779b9;
    for (const each of seed) {
      this.#state = Math.imul(this.#state ^ each, 0x85ebca6b) ^ Math.floor(each / 2 ** 32);
      this.next();
    }
  }

  /** From 0 to 2 ** 32 - 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** One of the values. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** So many bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
