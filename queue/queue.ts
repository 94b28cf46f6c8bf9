import {
  ClosedError,
  QueueEmptyError,
  QueueFullError,
  type WaitOptions,
  type WaitSyncOptions,
} from "../errors.ts";
import { checkCapacity } from "../memory/capacity.ts";
import { checkOptions, checkSpelling, spelling } from "../memory/options.ts";
import { registerWaitable } from "../memory/readiness.ts";
import {
  CLOSED,
  DONE,
  type Item,
  Ring,
  type RingOptions,
  type RingResult,
} from "../memory/ring.ts";
import { RingGet, RingPut, RingReady, type RingSource } from "../memory/ring_wait.ts";
import { checkWait } from "../memory/timeout.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import { encode } from "../wire/codec/codec.ts";
import { registerExports } from "../wire/target/exports.ts";
import { discard, fromInbox, fromInboxSync, keepItem, toItem } from "../wire/packet.ts";
import { registerShareable } from "../wire/codec/shareable.ts";

/** Options of a {@linkcode Queue}. */
export interface QueueOptions {
  /**
   * Items at most; 0 sets no bound on the count.
   *
   * @default {0}
   */
  maxSize?: number | undefined;
  /**
   * Bytes of shared memory reserved; a page is used only once something has been written to it. An
   * item may be larger: it streams through.
   *
   * @default {16_777_216}
   */
  capacity?: number | undefined;
}

const DEFAULT_CAPACITY = 16 * 2 ** 20;
const ENCODE_OPTIONS = { root: "item", apart: true };

/** Options of a handle on a queue that another process has made; not for users. */
export class AdoptOptions implements QueueOptions {
  readonly maxSize = 0;
  readonly buffer: SharedArrayBuffer;
  readonly ledger: SharedArrayBuffer | undefined;

  constructor(buffer: SharedArrayBuffer, ledger?: SharedArrayBuffer) {
    this.buffer = buffer;
    this.ledger = ledger;
  }
}

/** The ring of a queue: what JoinableQueue needs, and no user sees. */
export let ringOf: (queue: Queue) => Ring;
/** Sets what a queue gets its items from. */
export let getThrough: (queue: Queue, source: RingSource) => void;

/**
 * A first-in-first-out queue; shareable. Many producers and consumers, in any process.
 *
 * **Exactly once.** Every item put is got once; the items of one producer in the order in which it put
 * them. **Robust.** A process that dies inside put or get, wherever it stands, corrupts nothing, blocks
 * nobody, and loses at most the item in its hands. **Copies.** An item is copied as a message is;
 * shareables in it arrive as live handles. **No thread feeds it**: when put returns, the item is there.
 *
 * Semantics: Python's `multiprocessing.Queue`, and `queue.Queue.shutdown()` for {@linkcode close}.
 *
 * @typeParam T What the items are.
 *
 * @example Usage
 * ```ts
 * import { Queue } from "@multiprocessing/core/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<{ id: number }>({ maxSize: 10 });
 * await queue.put({ id: 1 });
 * assertEquals(queue.qsize(), 1);
 * assertEquals(await queue.get({ timeout: 1000 }), { id: 1 });
 * assertEquals(queue.empty(), true);
 * ```
 */
export class Queue<T = unknown> {
  readonly #ring: Ring;
  /** Gives the items: the ring or, in a JoinableQueue, its ledger. */
  #source: RingSource;
  readonly #item: Item = {
    bytes: new Uint8Array(0),
    length: 0,
    body: undefined,
    tag: 0,
    a: 0,
    b: 0,
  };

  static {
    ringOf = (queue) => queue.#ring;
    getThrough = (queue, source) => void (queue.#source = source);
  }

  /**
   * Creates an empty queue.
   *
   * @param options Bounds in items and in bytes.
   * @throws {RangeError} If a bound is no whole number in range.
   */
  constructor(options: QueueOptions = {}) {
    this.#ring = options instanceof AdoptOptions
      ? Ring.attach(options.buffer)
      : Ring.create(ringOptions(options, new.target.name));
    this.#source = this.#ring;
  }

  /**
   * Puts an item, waiting for room if there is none.
   *
   * @param item Anything that can be sent.
   * @param options Timeout and signal.
   * @throws {QueueFullError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed.
   * @throws {EncodingError} If the item cannot be sent; the queue is unharmed.
   */
  async put(item: T, options?: WaitOptions): Promise<void> {
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    const encoded = this.#encode(item, true);
    try {
      const wait = new RingPut(this.#ring, encoded);
      checkPut(await this.#ring.putLine.wait(wait, timeout, options?.signal), timeout);
    } catch (error) {
      discard(encoded);
      throw error;
    }
  }

  /**
   * Puts an item, blocking this thread while there is no room.
   *
   * @param item Anything that can be sent.
   * @param options Timeout.
   * @throws {QueueFullError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed.
   * @throws {EncodingError} If the item cannot be sent; the queue is unharmed.
   */
  putSync(item: T, options?: WaitSyncOptions): void {
    const timeout = checkWait(options);
    const encoded = this.#encode(item, false);
    if (this.#ring.fitsFrame(encoded.length) && this.#ring.tryPut(encoded) === DONE) return;
    try {
      checkPut(waitSync(new RingPut(this.#ring, encoded), timeout), timeout);
    } catch (error) {
      discard(encoded);
      throw error;
    }
  }

  /**
   * Puts an item if there is room.
   *
   * @param item Anything that can be sent.
   * @throws {QueueFullError} If there is none.
   * @throws {ClosedError} If the queue is closed.
   * @throws {EncodingError} If the item cannot be sent; the queue is unharmed.
   */
  putNowait(item: T): void {
    this.putSync(item, { timeout: 0 });
  }

  /**
   * Gets the next item, waiting for one if there is none.
   *
   * @param options Timeout and signal. Neither interrupts an item larger than the queue's memory once
   * its first part has come.
   * @returns The item.
   * @throws {QueueEmptyError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed and drained.
   */
  async get(options?: WaitOptions): Promise<T> {
    const timeout = checkWait(options);
    const wait = new AsyncGet(this.#ring, this.#source);
    const outcome = await this.#ring.getLine.wait(wait, timeout, options?.signal);
    if (outcome === PENDING) throw emptyError(timeout);
    if (outcome === CLOSED) throw drainedError();
    return await outcome.value as T;
  }

  /**
   * Gets the next item, blocking this thread while there is none.
   *
   * @param options Timeout.
   * @returns The item.
   * @throws {QueueEmptyError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed and drained.
   */
  getSync(options?: WaitSyncOptions): T {
    const timeout = checkWait(options);
    if (this.#source.tryGet() === DONE) return fromInboxSync(this.#ring) as T;
    const outcome = waitSync(new SyncGet(this.#ring, this.#source), timeout);
    if (outcome === PENDING) throw emptyError(timeout);
    if (outcome === CLOSED) throw drainedError();
    return outcome.value as T;
  }

  /**
   * Gets the next item if there is one.
   *
   * @returns The item.
   * @throws {QueueEmptyError} If there is none.
   * @throws {ClosedError} If the queue is closed and drained.
   */
  getNowait(): T {
    return this.getSync({ timeout: 0 });
  }

  /**
   * The number of items.
   *
   * @returns Exact at the moment of asking.
   */
  qsize(): number {
    return this.#ring.size;
  }

  /**
   * Tells whether there is no item.
   *
   * @returns Exact at the moment of asking.
   */
  empty(): boolean {
    return this.#ring.size === 0;
  }

  /**
   * Tells whether a put would have to wait.
   *
   * @returns Exact at the moment of asking.
   */
  full(): boolean {
    return this.#ring.full;
  }

  /** Closes the queue for everybody: puts fail, gets drain it and then fail, who waits wakes up. */
  close(): void {
    this.#ring.close();
  }

  /**
   * Gets items until the queue is closed and drained.
   *
   * @returns An iterator; leaving it early leaves the rest in the queue.
   */
  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      let item: T;
      try {
        item = await this.get();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield item;
    }
  }

  /** The item ready for the ring; `keep` if it must outlive this call. */
  #encode(value: T, keep: boolean): Item {
    if (this.#ring.closed) throw new ClosedError("Cannot put: the queue is closed");
    const item = keep ? { ...this.#item } : this.#item;
    toItem(encode(value, ENCODE_OPTIONS), item);
    if (keep) keepItem(item);
    return item;
  }
}

// JSR leaves methods that are named by a symbol out of the declarations that it makes for npm.
/** A queue's items can be read by `for await`. */
export interface Queue<T = unknown> extends AsyncIterable<T> {}

/** Decodes without blocking; the value is a promise if it has attachments to fetch. */
class AsyncGet extends RingGet<{ value: unknown }> {
  protected override takeInbox(): { value: unknown } {
    return { value: fromInbox(this.ring) };
  }
}

/** Decodes at once. */
class SyncGet extends RingGet<{ value: unknown }> {
  protected override takeInbox(): { value: unknown } {
    return { value: fromInboxSync(this.ring) };
  }
}

function checkPut(result: RingResult, timeout: number): void {
  if (result === CLOSED) throw new ClosedError("Cannot put: the queue is closed");
  if (result !== PENDING) return;
  throw new QueueFullError(
    timeout > 0
      ? `Cannot put: the queue was full for ${timeout} ms`
      : "Cannot put: the queue is full",
  );
}

function emptyError(timeout: number): QueueEmptyError {
  return new QueueEmptyError(
    timeout > 0
      ? `Cannot get: the queue was empty for ${timeout} ms`
      : "Cannot get: the queue is empty",
  );
}

function drainedError(): ClosedError {
  return new ClosedError("Cannot get: the queue is closed and drained");
}

const NAMES = spelling("maxSize");

function ringOptions(options: QueueOptions, name: string): RingOptions {
  checkOptions(`create ${name}`, options, { number: "maxSize" });
  checkSpelling(`create ${name}`, options, NAMES);
  const { maxSize = 0, capacity = DEFAULT_CAPACITY } = options;
  if (!Number.isSafeInteger(maxSize) || maxSize < 0 || maxSize >= 2 ** 31) {
    throw new RangeError(
      `Cannot create ${name}: 'maxSize' must be an integer >= 0 and < 2^31, but is ${maxSize}`,
    );
  }
  return { maxItems: maxSize, capacity: checkCapacity(capacity, name) };
}

/**
 * A {@linkcode Queue} under the name of Python's simplest one; shareable.
 *
 * Python's own has neither bounds nor timeouts; this one has all that a {@linkcode Queue} has.
 *
 * Semantics: Python's `multiprocessing.SimpleQueue`.
 *
 * @typeParam T What the items are.
 */
export class SimpleQueue<T = unknown> extends Queue<T> {}

function registerQueue(kind: string, ctor: new (options: QueueOptions) => Queue): void {
  registerShareable(
    kind,
    ctor,
    (queue) => ringOf(queue).buffer,
    (buffer) => new ctor(new AdoptOptions(buffer as SharedArrayBuffer)),
  );
}

registerQueue("Queue", Queue);
registerQueue("SimpleQueue", SimpleQueue);
registerWaitable(Queue, (queue) => new RingReady(ringOf(queue)));
registerExports({ Queue, SimpleQueue });
