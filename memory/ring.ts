import { checkAlive, isGone, ownPid } from "./control.ts";
import {
  FIRST,
  frameBytes,
  Frames,
  type Item,
  LAST,
  payloadBytes,
  SIZED,
  SIZES_BYTES,
} from "./frames.ts";
import { wake } from "./futex.ts";
import { Attachments } from "./identity.ts";
import { Mutex } from "./mutex.ts";
import {
  CAPACITY,
  CLOSED_BIT,
  COUNT_STEP,
  GET_LOCK,
  GETS,
  GETTERS_ASLEEP,
  HEAD,
  HEADER_BYTES,
  HEADER_WORDS,
  IDENTITY,
  MAX_ITEMS,
  newRingBuffer,
  PUT_LOCK,
  PUTS,
  PUTTERS_ASLEEP,
  type RingOptions,
  STREAM,
  TAIL,
} from "./ring_layout.ts";
import { Line, PENDING } from "./wait.ts";

export type { Item, RingOptions };

/** The item is in the ring, or out of it. */
export const DONE = 1;

/** The ring is closed (and, for a get, drained). */
export const CLOSED = 2;

/** How a put or a get went; `PENDING` after having set where to sleep. */
export type RingResult = typeof DONE | typeof CLOSED | typeof PENDING;

/** Hears of what a consumer is about to take; see {@linkcode Ring.tryGet}. */
export interface Claim {
  /**
   * Called in the consumers' turn, before the commit of an item's first frame. What it throws, the get
   * throws: the item stays.
   *
   * @param item The numbers and the tag are the item's; of its bytes, at most the first are there.
   * @param frame The number of the frame.
   */
  take(item: Item, frame: number): void;
}

const NOTHING: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };

/**
 * A first-in-first-out ring of items in shared memory: many producers, many consumers, any process.
 *
 * Producers take turns by one mutex, consumers by another; the two sides never wait for each other
 * but when the ring is full or empty. What a side has done so far is one counter (`PUTS`, `GETS`);
 * where that leaves it, position and number of items, is a record of its own, of which there are two:
 * the one of even counts and the one of odd counts.
 *
 * | step of a put | if the process dies after it |
 * |---|---|
 * | take `PUT_LOCK` | the next producer takes the lock over |
 * | write the frame behind the tail | nobody has seen it; it is written over |
 * | write the **other** tail record | the counter still points to the old one |
 * | `PUTS += 1`: the commit | the item is in the ring, the lock is taken over |
 * | release, wake a consumer | consumers look for themselves every slice |
 *
 * A get does the same with `GET_LOCK`, the head records and `GETS`: an item copied but not committed is
 * got by the next consumer. So there is nothing to repair after a death.
 *
 * **Closed** is the lowest bit of `PUTS`, and then of `GETS`: it changes the words that consumers and
 * producers sleep on, and a put's commit that comes too late fails, also amid a large item.
 *
 * **Large items** are streamed, a quarter of the ring a frame (flags `FIRST`, `LAST`), and their
 * producer keeps `PUT_LOCK` meanwhile and its pid in `STREAM`; the consumer keeps `GET_LOCK`. A
 * consumer amid a stream drops what it has when `STREAM` shows that no more will come, or when the
 * next `FIRST` comes. A consumer that finds itself amid a stream that it did not begin skips the rest.
 */
export class Ring {
  readonly buffer: SharedArrayBuffer;
  /** What {@linkcode tryGet} took; valid until the next one. */
  readonly inbox: Item = {
    bytes: new Uint8Array(256),
    length: 0,
    body: undefined,
    tag: 0,
    a: 0,
    b: 0,
  };
  readonly cells: Int32Array;
  /** Where to sleep after `PENDING`. */
  index = 0;
  expected = 0;
  sleepers: number | undefined;
  patience: number | undefined;

  readonly #frames: Frames;
  readonly #capacity: number;
  readonly #maxItems: number;
  readonly #putLock: Mutex;
  readonly #getLock: Mutex;
  /** Bytes got of the large item that this object is amid of getting. */
  #got: number | undefined;

  /** The asynchronous waiters of this process. */
  readonly putLine: Line = new Line();
  readonly getLine: Line = new Line();
  /** The large item that this process is amid of putting. */
  streamer: { attempt(): RingResult; cancel(): void } | undefined;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.cells = new Int32Array(this.buffer);
    this.#capacity = this.cells[CAPACITY] as number;
    this.#maxItems = this.cells[MAX_ITEMS] as number;
    this.#frames = new Frames(buffer, HEADER_BYTES, this.#capacity);
    this.#putLock = new Mutex(this.cells, PUT_LOCK);
    this.#getLock = new Mutex(this.cells, GET_LOCK);
  }

  /** Makes a ring. */
  static create(options: RingOptions): Ring {
    return Ring.attach(newRingBuffer(options));
  }

  /** The ring in a buffer: always the same object for the same ring, so that it knows its process's streams. */
  static attach(buffer: SharedArrayBuffer): Ring {
    const cells = new Int32Array(buffer, 0, HEADER_WORDS);
    return attachments.get(cells, IDENTITY, () => new Ring(buffer));
  }

  /** The number of items; exact. */
  get size(): number {
    const { cells } = this;
    for (;;) {
      const gets = Atomics.load(cells, GETS);
      const puts = Atomics.load(cells, PUTS);
      const items = (this.#record(TAIL, puts, 1) - this.#record(HEAD, gets, 1)) | 0;
      if (Atomics.load(cells, GETS) === gets && Atomics.load(cells, PUTS) === puts) return items;
    }
  }

  /** Whether a put of one byte would have to wait. */
  get full(): boolean {
    const { size } = this;
    if (this.#maxItems > 0 && size >= this.#maxItems) return true;
    // What lies there is the rest of a large item that was given up.
    if (size === 0 && !this.#streaming()) return false;
    return this.#used() + frameBytes(1) > this.#capacity;
  }

  /** Whether {@linkcode close} was called, by any process. */
  get closed(): boolean {
    return (Atomics.load(this.cells, PUTS) & CLOSED_BIT) !== 0;
  }

  /** How many frames have been got so far, as a claim counts them. */
  get frameNumber(): number {
    return Atomics.load(this.cells, GETS) & ~CLOSED_BIT;
  }

  /** Differs whenever frames have been put. */
  get putNumber(): number {
    return Atomics.load(this.cells, PUTS);
  }

  /** Ends all puts; gets drain what is there. Model: tests/models/ring.pml. */
  close(): void {
    Atomics.or(this.cells, PUTS, CLOSED_BIT);
    // For producers that are about to sleep on it.
    Atomics.or(this.cells, GETS, CLOSED_BIT);
    this.wakeAll();
  }

  /** Wakes all who wait, for them to look again. */
  wakeAll(): void {
    wake(this.cells, PUTS);
    wake(this.cells, GETS);
  }

  /** Whether a get would not have to wait: for an item, part of a large one, or the end. */
  ready(): true | typeof PENDING {
    const { cells } = this;
    this.dropOrphans();
    const puts = Atomics.load(cells, PUTS);
    if ((puts & CLOSED_BIT) !== 0 || this.size > 0) return true;
    const begun = framesBetween(Atomics.load(cells, GETS), puts) > 0 && this.#streaming();
    return begun ? true : this.#sleepOn(PUTS, puts, GETTERS_ASLEEP);
  }

  /** Whether an item of `length` bytes goes in as one frame. */
  fitsFrame(length: number): boolean {
    return length <= this.#capacity >> 2;
  }

  /** Puts an item that {@linkcode fitsFrame}, if there is room, and wakes a consumer for it. */
  tryPut(item: Item): RingResult {
    const result = this.tryPutQuietly(item);
    if (result === DONE) this.wakeGetters(1);
    return result;
  }

  /**
   * Like {@linkcode tryPut}, for who puts many items: {@linkcode wakeGetters} is left to the caller.
   * Model: tests/models/ring.pml.
   */
  tryPutQuietly(item: Item): RingResult {
    if (!this.#lockPuts()) return this.closed ? this.#refuse() : PENDING;
    const flags = item.body === undefined ? FIRST | LAST : FIRST | LAST | SIZED;
    const result = this.#putFrame(item, 0, item.length, flags);
    this.#putLock.release();
    return result;
  }

  /** Wakes consumers for so many items. Model: tests/models/ring.pml. */
  wakeGetters(items: number): void {
    if (Atomics.load(this.cells, GETTERS_ASLEEP) > 0) wake(this.cells, PUTS, items);
  }

  /**
   * Puts one frame of a large item, if there is room. From the first frame on the producers' turn is
   * this item's, until its last frame or {@linkcode endStream}.
   * Model: tests/models/ring.pml.
   *
   * @param from Bytes that earlier calls have put.
   * @returns Bytes put so far, `item.length` at the end; or a result other than `DONE`.
   */
  streamPut(item: Item, from: number): number | typeof CLOSED | typeof PENDING {
    const { cells } = this;
    const step = payloadBytes(this.#capacity >> 2) - (from === 0 ? SIZES_BYTES : 0);
    const to = Math.min(from + step, item.length);
    const flags = (from === 0 ? FIRST | SIZED : 0) | (to === item.length ? LAST : 0);
    if (from === 0) {
      if (this.closed) return this.#refuse();
      if (!this.#lockPuts()) return PENDING;
      Atomics.store(cells, STREAM, ownPid);
    }
    checkAlive();
    const result = this.#putFrame(item, from, to, flags);
    if (result === DONE ? to === item.length : from === 0 || result === CLOSED) this.#leaveStream();
    if (result !== DONE) return result;
    // Only one of the sleepers is amid the stream, and nobody knows which.
    this.wakeGetters(from === 0 ? 1 : Infinity);
    return to;
  }

  /** Gives up a large item amid its stream. Model: tests/models/ring.pml. */
  endStream(): void {
    Atomics.store(this.cells, STREAM, 0);
    // An empty frame changes the word that a consumer amid the stream is about to sleep on. If there is
    // no room for it, then there is no such consumer: it has frames to get first.
    this.#putFrame(NOTHING, 0, 0, 0);
    this.#putLock.release();
    wake(this.cells, PUTS);
  }

  #leaveStream(): void {
    Atomics.store(this.cells, STREAM, 0);
    this.#putLock.release();
  }

  #lockPuts(): boolean {
    // Whoever blocks this thread must not wait for a stream that only this thread can go on with.
    const { streamer } = this;
    if (streamer !== undefined && streamer.attempt() === PENDING) return false;
    return this.#lock(this.#putLock);
  }

  /**
   * Takes the next item into the {@linkcode inbox}.
   * Model: tests/models/ring.pml.
   *
   * @param claim Called before the commit: the item is this process's if and only if the frame's
   * number is below {@linkcode frameNumber}, and no later claim of a living process bears it.
   */
  tryGet(claim?: Claim): RingResult {
    const begun = this.#beginGet();
    if (begun !== DONE) return begun;
    let done = false;
    try {
      const result = this.#getFrames(claim);
      done = true;
      return result;
    } finally {
      this.#endGet(done);
    }
  }

  /**
   * Takes items in one turn, as long as there are any.
   *
   * @param max So many at most.
   * @param visit Called after each, which it finds in the {@linkcode inbox}.
   * @returns How many items were taken.
   */
  getMany(max: number, visit: () => void): number {
    if (this.#beginGet() !== DONE) return 0;
    let count = 0;
    let done = false;
    try {
      for (; count < max && this.#getFrames(undefined) === DONE; count++) visit();
      done = true;
    } finally {
      this.#endGet(done);
    }
    return count;
  }

  /** Takes the consumers' turn, unless there is nothing to get. Model: tests/models/ring.pml. */
  #beginGet(): RingResult {
    const { cells } = this;
    if (this.#got === undefined) {
      const puts = Atomics.load(cells, PUTS);
      if (framesBetween(Atomics.load(cells, GETS), puts) === 0) {
        this.#getLock.forgo();
        return this.#nothing(puts);
      }
      if (!this.#lock(this.#getLock)) return PENDING;
    }
    checkAlive();
    return DONE;
  }

  /** Ends the turn, unless an item is still to be completed in it. Model: tests/models/ring.pml. */
  #endGet(done: boolean): void {
    if (!done) this.#got = undefined;
    if (this.#got === undefined) this.#getLock.release();
    if (Atomics.load(this.cells, PUTTERS_ASLEEP) > 0) wake(this.cells, GETS);
  }

  /** Gives up the large item that this process is amid of getting. */
  abandonGet(): void {
    if (this.#got !== undefined) this.#endGet(false);
  }

  /** Whether this process is amid a large item, which a timeout or a signal cannot undo any more. */
  get amidStream(): boolean {
    return this.#got !== undefined;
  }

  /**
   * Takes the consumers' turn for a moment, so that no claim is amid being made.
   *
   * @returns False if another process has it; where to sleep is set then.
   */
  quiesceGets(): boolean {
    if (!this.#lock(this.#getLock)) return false;
    this.#getLock.release();
    return true;
  }

  #lock(lock: Mutex): boolean {
    if (lock.tryAcquire() !== undefined || lock.attempt() !== PENDING) return true;
    this.index = lock.index;
    this.expected = lock.expected;
    this.patience = lock.patience;
    this.sleepers = undefined;
    return false;
  }

  #sleepOn(index: number, expected: number, sleepers: number): typeof PENDING {
    this.index = index;
    this.expected = expected;
    this.sleepers = sleepers;
    this.patience = undefined;
    return PENDING;
  }

  #refuse(): typeof CLOSED {
    this.#putLock.forgo();
    return CLOSED;
  }

  #nothing(puts: number): RingResult {
    if ((puts & CLOSED_BIT) !== 0) return CLOSED;
    return this.#sleepOn(PUTS, puts, GETTERS_ASLEEP);
  }

  #streaming(): boolean {
    const pid = Atomics.load(this.cells, STREAM);
    return pid !== 0 && !isGone(pid);
  }

  /** Of the other side. */
  #record(base: number, count: number, field: 0 | 1): number {
    return Atomics.load(this.cells, base + (count & COUNT_STEP) + field);
  }

  /** Of the side whose lock is held: read plainly, for V8 calls a function for Atomics.load(). */
  #ownRecord(base: number, count: number, field: 0 | 1): number {
    return this.cells[base + (count & COUNT_STEP) + field] as number;
  }

  #writeRecord(base: number, count: number, position: number, items: number): void {
    this.cells[base + (count & COUNT_STEP)] = position;
    this.cells[base + (count & COUNT_STEP) + 1] = items;
  }

  #used(): number {
    const { cells } = this;
    for (;;) {
      const gets = Atomics.load(cells, GETS);
      const puts = Atomics.load(cells, PUTS);
      const used = (this.#record(TAIL, puts, 0) - this.#record(HEAD, gets, 0)) >>> 0;
      if (Atomics.load(cells, GETS) === gets) return used;
    }
  }

  /** Writes and commits one frame; `PUT_LOCK` is held. Model: tests/models/ring.pml. */
  #putFrame(item: Item, from: number, to: number, flags: number): RingResult {
    const { cells } = this;
    const puts = Atomics.load(cells, PUTS);
    const first = (flags & FIRST) !== 0;
    if ((puts & CLOSED_BIT) !== 0) return CLOSED;
    const tail = this.#ownRecord(TAIL, puts, 0);
    const items = this.#ownRecord(TAIL, puts, 1);
    const size = frameBytes(to - from + ((flags & SIZED) !== 0 ? SIZES_BYTES : 0));
    let gets = this.#room(size, tail, first ? items : undefined);
    if (gets !== undefined && first && this.#dropRests()) {
      gets = this.#room(size, tail, items);
    }
    if (gets !== undefined) {
      if ((gets & CLOSED_BIT) !== 0) return CLOSED;
      return this.#sleepOn(GETS, gets, PUTTERS_ASLEEP);
    }
    this.#frames.write(tail, item, from, to, flags);
    const counted = (flags & LAST) !== 0 ? items + 1 : items;
    this.#writeRecord(TAIL, puts + COUNT_STEP, tail + size, counted);
    const seen = Atomics.compareExchange(cells, PUTS, puts, (puts + COUNT_STEP) | 0);
    return seen === puts ? DONE : CLOSED;
  }

  /** Drops what is left of a large item whose consumer has died amid it. */
  dropOrphans(): void {
    const gets = Atomics.load(this.cells, GETS);
    if (framesBetween(gets, Atomics.load(this.cells, PUTS)) === 0) return;
    // Out of turn, so that it may be wrong; in its turn #drop() looks again.
    const flags = this.#frames.flagsAt(this.#record(HEAD, gets, 0));
    if ((flags & FIRST) === 0) this.#drop(FIRST);
  }

  /**
   * Frees the room of large items that were given up, if the ring holds nothing else. `PUT_LOCK` is
   * held, and no stream has begun.
   * Model: tests/models/ring.pml.
   */
  #dropRests(): boolean {
    return this.size === 0 && this.#drop(0);
  }

  /**
   * Drops frames up to one with any of the flags `end`, unless somebody is amid a get.
   * Model: tests/models/ring.pml.
   */
  #drop(end: number): boolean {
    const { cells } = this;
    if (this.#getLock.tryAcquire() === undefined) return false;
    const puts = Atomics.load(cells, PUTS);
    for (let gets = Atomics.load(cells, GETS); framesBetween(gets, puts) > 0;) {
      const head = this.#record(HEAD, gets, 0);
      const items = this.#record(HEAD, gets, 1);
      const flags = this.#frames.flagsAt(head);
      if ((flags & end) !== 0) break;
      this.#writeRecord(
        HEAD,
        gets + COUNT_STEP,
        head + frameBytes(this.#frames.lengthAt(head)),
        (flags & LAST) !== 0 ? items + 1 : items,
      );
      this.#commitGet(gets);
      gets = (gets + COUNT_STEP) | 0;
    }
    this.#getLock.release();
    if (Atomics.load(cells, PUTTERS_ASLEEP) > 0) wake(cells, GETS);
    return true;
  }

  /**
   * Undefined if there is room; else the value of `GETS` at which there was none.
   * Model: tests/models/ring.pml.
   */
  #room(size: number, tail: number, items: number | undefined): number | undefined {
    const { cells } = this;
    for (;;) {
      const gets = Atomics.load(cells, GETS);
      const used = (tail - this.#record(HEAD, gets, 0)) >>> 0;
      const waiting = items === undefined ? 0 : (items - this.#record(HEAD, gets, 1)) | 0;
      if (Atomics.load(cells, GETS) !== gets) continue;
      const crowded = this.#maxItems > 0 && waiting >= this.#maxItems;
      return crowded || used + size > this.#capacity ? gets : undefined;
    }
  }

  /** Takes frames until an item is complete; `GET_LOCK` is held. Model: tests/models/ring.pml. */
  #getFrames(claim: Claim | undefined): RingResult {
    const { cells, inbox } = this;
    for (;;) {
      const gets = Atomics.load(cells, GETS);
      const streaming = this.#got === undefined || this.#streaming();
      const puts = Atomics.load(cells, PUTS);
      if (framesBetween(gets, puts) === 0) {
        if (streaming && this.#got !== undefined && (puts & CLOSED_BIT) === 0) {
          return this.#sleepOn(PUTS, puts, GETTERS_ASLEEP);
        }
        this.#got = undefined;
        return this.#nothing(puts);
      }
      const head = this.#ownRecord(HEAD, gets, 0);
      const items = this.#ownRecord(HEAD, gets, 1);
      const length = this.#frames.lengthAt(head);
      const flags = this.#frames.flagsAt(head);
      const last = (flags & LAST) !== 0;
      if ((flags & FIRST) !== 0) {
        this.#frames.readNumbers(head, inbox);
        if ((flags & SIZED) !== 0) this.#frames.readSizes(head, inbox);
        else this.#makeRoom(length);
        this.#got = 0;
      }
      const orphan = this.#got === undefined;
      if (!orphan) this.#got = this.#frames.readPayload(head, inbox, this.#got!);
      // With the first frame: who dies amid a large item has taken it from everybody.
      if (claim !== undefined && (flags & FIRST) !== 0) claim.take(inbox, gets & ~CLOSED_BIT);
      this.#writeRecord(
        HEAD,
        gets + COUNT_STEP,
        head + frameBytes(length),
        last ? items + 1 : items,
      );
      this.#commitGet(gets);
      if (orphan) continue;
      if (last) {
        this.#got = undefined;
        return DONE;
      }
      if (Atomics.load(cells, PUTTERS_ASLEEP) > 0) wake(cells, GETS);
    }
  }

  /**
   * Fails if this thread was held up for so long, after its end, that another took its turn over.
   * Model: tests/models/ring.pml.
   */
  #commitGet(gets: number): void {
    const { cells } = this;
    const next = (gets + COUNT_STEP) | 0;
    if (Atomics.compareExchange(cells, GETS, gets, next) === gets) return;
    // Closed meanwhile.
    const closed = gets | CLOSED_BIT;
    if (Atomics.compareExchange(cells, GETS, closed, next | CLOSED_BIT) === closed) return;
    checkAlive();
    throw new Error("The consumers' turn was taken over");
  }

  #makeRoom(length: number): void {
    const { inbox } = this;
    if (inbox.bytes.length < length) inbox.bytes = new Uint8Array(length * 2);
    inbox.length = length;
    inbox.body = undefined;
  }
}

function framesBetween(gets: number, puts: number): number {
  return ((puts >> 1) - (gets >> 1)) & 0x7fff_ffff;
}

const attachments = new Attachments<Ring>();
