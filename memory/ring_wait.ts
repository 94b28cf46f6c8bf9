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

/** What takes items out of a ring: itself, or what keeps account of them. */
export interface RingSource {
  tryGet(): RingResult;
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

  /** Model: tests/models/ring.pml. */
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
  readonly #source: RingSource;

  /** @param source Through what items are got, if not from the ring at once. */
  constructor(ring: Ring, source: RingSource = ring) {
    super(ring);
    this.#source = source;
  }

  get inFlight(): boolean {
    return this.ring.amidStream;
  }

  get committed(): boolean {
    return this.ring.amidStream;
  }

  attempt(): T | typeof CLOSED | typeof PENDING {
    const result = this.#source.tryGet();
    return result === DONE ? this.takeInbox() : result;
  }

  /** Takes the item out of the inbox, before the next get puts another there. */
  protected abstract takeInbox(): T;
}

/** A wait until a get would not have to wait. It takes nothing. */
export class RingReady extends RingWait implements Attempt<true> {
  attempt(): true | typeof PENDING {
    return this.ring.ready();
  }
}
