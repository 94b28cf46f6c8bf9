import { decodeValue, encodeValue } from "@multiprocessing/core/backend";
import {
  ClosedError,
  QueueEmptyError,
  QueueFullError,
  type WaitOptions,
} from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { Line, type Outcome, PENDING } from "../wire/line.ts";
import {
  FORGET,
  QUEUE_CLOSE,
  QUEUE_GET,
  QUEUE_LOOK,
  QUEUE_PUT,
  QUEUE_RETURN,
} from "../wire/scripts.ts";
import { checkKeep } from "../wire/duration.ts";
import type { KeepOptions } from "../sync/event.ts";

/** Options of a cluster's {@linkcode Queue}. */
export interface QueueOptions extends KeepOptions {
  /**
   * Items at most; 0 sets no bound. Who does not say it takes the bound that others have set.
   *
   * @default {as others have set it, or else 0}
   */
  maxSize?: number;
}

/** So many calls of one program share a request at most. */
const AT_ONCE = 64;

/** Once a request has so many bytes of items, others go into the next one. */
const ENOUGH_BYTES = 2 ** 22;

/**
 * A first-in-first-out queue of the programs of a cluster, by name.
 *
 * **Exactly once.** Every item put is got once, also when connections break or Redis restarts without
 * loss; the items of one producer in the order in which it put them. **Deaths.** An item that a program
 * has taken, and not yet used, is lost with it; those who wait to put are never stranded. **Any
 * runtime.** An item is copied as a message is; what lives in the memory of one machine is refused.
 * **Kept** until nobody has used it for a week; see `keep`.
 *
 * Calls that wait at the same time share their requests.
 *
 * Semantics: the asynchronous half of the core's `Queue`.
 *
 * @typeParam T What the items are.
 *
 * @example Usage
 * ```ts ignore
 * const queue = new Queue<{ id: number }>(connection, "jobs", { maxSize: 10 });
 * await queue.put({ id: 1 });
 * await queue.get({ timeout: 1000 }); // { id: 1 }
 * ```
 */
export class Queue<T = unknown> implements AsyncIterable<T> {
  /** The name. */
  readonly name: string;
  readonly #connection: RedisConnection;
  readonly #keys: [items: string, state: string];
  readonly #maxSize: number | "";
  readonly #keep: number;
  readonly #putters: Line<Uint8Array, true>;
  readonly #getters: Line<undefined, Uint8Array>;

  /**
   * A handle on the queue of that name.
   *
   * @param connection Where it is.
   * @param name Its name: 1 to 200 characters, no control characters.
   * @param options The bound, and how long it is kept.
   * @throws {RangeError} If one of them is out of range.
   */
  constructor(connection: RedisConnection, name: string, options: QueueOptions = {}) {
    const { maxSize } = options;
    this.name = checkName("Queue", name);
    if (maxSize !== undefined && (!Number.isSafeInteger(maxSize) || maxSize < 0)) {
      throw new RangeError(
        `Cannot create Queue: 'maxSize' must be an integer >= 0, but is ${maxSize}`,
      );
    }
    this.#connection = connection;
    this.#keys = [connection.key("queue", name), connection.key("queue-state", name)];
    this.#maxSize = maxSize ?? "";
    this.#keep = checkKeep("create Queue", options.keep);
    const [items, state] = this.#keys;
    this.#putters = new Line(connection, {
      channel: state,
      atOnce: AT_ONCE,
      ask: (items) => this.#push(items),
      undo: () => undefined,
    });
    this.#getters = new Line(connection, {
      channel: items,
      atOnce: AT_ONCE,
      ask: (asked) => this.#pop(asked.length),
      undo: (item) => connection.run(QUEUE_RETURN, this.#keys, [this.#keep, item]),
    });
  }

  /**
   * Puts an item, waiting for room if there is none.
   *
   * @param item Anything that can be sent.
   * @param options Timeout and signal. If they end the wait while Redis cannot be reached, the item may
   * come to be put all the same.
   * @throws {QueueFullError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed.
   * @throws {EncodingError} If the item cannot be sent; the queue is unharmed.
   * @throws {RangeError} If others use it with another `maxSize`.
   */
  async put(item: T, options?: WaitOptions): Promise<void> {
    const put = await this.#putters.wait(encodeValue(item, "item"), options);
    if (put !== PENDING) return;
    throw new QueueFullError(`Cannot put: ${this.#what("full", options?.timeout)}`);
  }

  /**
   * Puts an item if there is room.
   *
   * @param item Anything that can be sent.
   * @throws {QueueFullError} If there is none.
   * @throws {ClosedError} If the queue is closed.
   * @throws {EncodingError} If the item cannot be sent; the queue is unharmed.
   */
  async putNowait(item: T): Promise<void> {
    await this.put(item, { timeout: 0 });
  }

  /**
   * Gets the next item, waiting for one if there is none.
   *
   * @param options Timeout and signal.
   * @returns The item.
   * @throws {QueueEmptyError} If `timeout` is over.
   * @throws {ClosedError} If the queue is closed and drained.
   */
  async get(options?: WaitOptions): Promise<T> {
    const item = await this.#getters.wait(undefined, options);
    if (item !== PENDING) return decodeValue(item) as T;
    throw new QueueEmptyError(`Cannot get: ${this.#what("empty", options?.timeout)}`);
  }

  /**
   * Gets the next item if there is one.
   *
   * @returns The item.
   * @throws {QueueEmptyError} If there is none.
   * @throws {ClosedError} If the queue is closed and drained.
   */
  getNowait(): Promise<T> {
    return this.get({ timeout: 0 });
  }

  /**
   * The number of items.
   *
   * @returns Exact at the moment at which Redis was asked.
   */
  async qsize(): Promise<number> {
    const [size] = await this.#look();
    return size;
  }

  /**
   * Tells whether there is no item.
   *
   * @returns Exact at the moment at which Redis was asked.
   */
  async empty(): Promise<boolean> {
    const [size] = await this.#look();
    return size === 0;
  }

  /**
   * Tells whether a put would have to wait.
   *
   * @returns Exact at the moment at which Redis was asked.
   */
  async full(): Promise<boolean> {
    const [size, most] = await this.#look();
    return most > 0 && size >= most;
  }

  /** Closes the queue for everybody: puts fail, gets drain it and then fail, who waits wakes up. */
  async close(): Promise<void> {
    await this.#connection.run(QUEUE_CLOSE, this.#keys, [this.#keep]);
  }

  /** Forgets it, with all items: it is open, empty, and without a bound again. */
  async delete(): Promise<void> {
    await this.#connection.run(FORGET, this.#keys, []);
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
        if (error instanceof DrainedError) return;
        throw error;
      }
      yield item;
    }
  }

  async #push(items: Uint8Array[]): Promise<Outcome<true>> {
    const given = atFirst(items);
    const [put, most] = await this.#connection.run(
      QUEUE_PUT,
      this.#keys,
      [this.#maxSize, this.#keep, ...given],
    ) as [number, number?];
    if (put === -1) throw new ClosedError(`Cannot put: ${this.#what("closed")}`);
    if (put === -2) {
      throw new RangeError(
        `Cannot put: ${this.#what("bounded")} by others with a 'maxSize' of ${most}, ` +
          `but here it is ${this.#maxSize}`,
      );
    }
    const served = given.slice(0, put).map((): true => true);
    return put === given.length ? { served, again: 0 } : { served };
  }

  async #pop(most: number): Promise<Outcome<Uint8Array>> {
    const [closed, more, ...items] = await this.#connection.run(
      QUEUE_GET,
      this.#keys,
      [this.#keep, most, ENOUGH_BYTES],
    ) as [number, number, ...Uint8Array[]];
    if (closed === 1 && items.length === 0) {
      throw new DrainedError(`Cannot get: ${this.#what("closed")} and drained`);
    }
    // Those for whom there was none in a closed queue look again, and hear that it is drained.
    return closed === 1 || more === 1 ? { served: items, again: 0 } : { served: items };
  }

  async #look(): Promise<[size: number, most: number]> {
    return await this.#connection.run(QUEUE_LOOK, this.#keys, [this.#maxSize]) as [number, number];
  }

  #what(state: string, timeout = 0): string {
    const queue = `Queue ${JSON.stringify(this.name)}`;
    return timeout > 0 ? `${queue} was ${state} for ${timeout} ms` : `${queue} is ${state}`;
  }
}

/** As many of the items as go into one request. */
function atFirst(items: Uint8Array[]): Uint8Array[] {
  let bytes = 0;
  const end = items.findIndex(({ length }) => (bytes += length) >= ENOUGH_BYTES);
  return end === -1 ? items : items.slice(0, end + 1);
}

/** Tells the end of the queue from the end of the connection. */
class DrainedError extends ClosedError {}
