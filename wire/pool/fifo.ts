const MIN_GARBAGE = 1024;

/** A first-in-first-out list whose ends both cost nothing, however long it is. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  /** How many items there are. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** The item that came first. */
  get first(): T | undefined {
    return this.#items[this.#head];
  }

  /** Puts an item behind all others. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the item that came first. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.length === 0) return undefined;
    this.#items[this.#head++] = undefined;
    // Moving what is left pays when at least as much is thrown away.
    if (this.#head >= MIN_GARBAGE && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
