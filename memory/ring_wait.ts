import { CLOSED, DONE, type Item, type Ring, type RingResult } from "./ring.ts";
import { type Attempt, PENDING } from "./wait.ts";

/** Sleeps where the ring says. */
abstract class RingWait {
  readonly ring: Ring;

  constructor(ring: Ring) {
    this.ring = ring;
  }

  get cells(): Int32Array {
    return this.ring.cells;
  }
  get index(): number {
    return this.ring.index;
  }
  get expected(): number {
    return this.ring.expected;
  }
  get sleepers(): number | undefined {
    return this.ring.sleepers;
  }
  get patience(): number | undefined {
    return this.ring.patience;
  }
}

/** A put that waits for room, and streams an item that is too large for one frame. */
export class RingPut extends RingWait implements Attempt<typeof DONE | typeof CLOSED> {
  readonly #item: Item;
  #sent = 0;

  /** `item` must stay as it is until the put has ended. */
  constructor(ring: Ring, item: Item) {
    super(ring);
    this.#item = item;
  }

  get inFlight(): boolean {
    return this.ring.streamer === this;
  }

  attempt(): RingResult {
    const { ring } = this;
    const item = this.#item;
    if (ring.fitsFrame(item.length)) return ring.tryPut(item);
    while (this.#sent < item.length) {
      const sent = ring.streamPut(item, this.#sent);
      if (sent === CLOSED && ring.streamer === this) ring.streamer = undefined;
      if (sent === PENDING || sent === CLOSED) return sent;
      this.#sent = sent;
      ring.streamer = sent < item.length ? this : undefined;
    }
    return DONE;
  }

  cancel(): void {
    if (this.ring.streamer !== this) return;
    this.ring.streamer = undefined;
    this.ring.endStream();
  }
}

/**
 * A get that waits for an item. Amid a large one it cannot be given up any more.
 *
 * @typeParam T What the ring's inbox is turned into, at once.
 */
export abstract class RingGet<T> extends RingWait implements Attempt<T | typeof CLOSED> {
  get inFlight(): boolean {
    return this.ring.amidStream;
  }

  get committed(): boolean {
    return this.ring.amidStream;
  }

  attempt(): T | typeof CLOSED | typeof PENDING {
    const result = this.ring.tryGet();
    return result === DONE ? this.takeInbox() : result;
  }

  /** Takes the item out of the inbox, before the next get puts another there. */
  protected abstract takeInbox(): T;
}
