/**
 * Pipes between processes, and waiting for several things at once.
 *
 * @example A question and its answer
 * ```ts no-eval
 * import { closure, Pipe, Process } from "@multiprocessing/core";
 *
 * const [here, there] = Pipe();
 * const child = new Process({
 *   target: closure(() => {
 *     there.sendSync((there.recvSync() as number) + 1);
 *   }, { there }),
 * });
 * child.start();
 * await here.send(41);
 * console.log(await here.recv()); // 42
 * ```
 *
 * @module
 */

import {
  ClosedError,
  ProcessError,
  TimeoutError,
  type WaitOptions,
  type WaitSyncOptions,
} from "../errors.ts";
import { checkCapacity } from "../memory/capacity.ts";
import { checkOptions } from "../memory/options.ts";
import { PipeEnd, type PipeParts, PipePut, PipeReady, PipeSource } from "../memory/pipe.ts";
import { readinessOf, registerWaitable, waitAny } from "../memory/readiness.ts";
import { type Claim, CLOSED, DONE, type Item, type Ring, type RingResult } from "../memory/ring.ts";
import { RingGet } from "../memory/ring_wait.ts";
import { describe } from "../memory/show.ts";
import { checkWait } from "../memory/timeout.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import type { Process } from "../process.ts";
import type { Queue } from "./queue.ts";
import type { Event } from "../sync.ts";
import { encode } from "../wire/codec/codec.ts";
import { Unsendable } from "../wire/codec/kinds.ts";
import { type Destination, registerShareable } from "../wire/codec/shareable.ts";
import {
  discard,
  fromInbox,
  fromInboxSync,
  keepItem,
  RAW,
  rawInbox,
  toItem,
  toRawItem,
} from "../wire/packet.ts";
import { registerExports } from "../wire/target/exports.ts";

/** Options of a {@linkcode Pipe}. */
export interface PipeOptions {
  /**
   * Whether both ends send and receive. If not, the first receives and the second sends.
   *
   * @default {true}
   */
  duplex?: boolean | undefined;
  /**
   * Bytes of shared memory reserved for each direction; a page is used only once something has been
   * written to it. A message may be larger: it streams through.
   *
   * @default {1_048_576}
   */
  capacity?: number | undefined;
}

/** Options of {@linkcode Connection.recvBytesSync}. */
export interface RecvBytesSyncOptions extends WaitSyncOptions {
  /**
   * Refuse a longer message; it stays there.
   *
   * @default {Infinity}
   */
  maxLength?: number | undefined;
}

/** Options of {@linkcode Connection.recvBytes}. */
export interface RecvBytesOptions extends RecvBytesSyncOptions, WaitOptions {}

interface ConnectionParts extends PipeParts {
  /** Whether the sender did not know to whom it sent it. */
  inFlight: boolean;
}

const DEFAULT_CAPACITY = 2 ** 20;
const ENCODE_OPTIONS = { root: "message", apart: true };

const handles = new WeakMap<PipeEnd, WeakRef<Connection>>();
const forgotten = new FinalizationRegistry<PipeEnd>((end) => {
  if (handles.get(end)?.deref() === undefined) end.leave();
});

let open: (end: PipeEnd) => Connection;

/**
 * One end of a {@linkcode Pipe}; shareable.
 *
 * **Messages** keep their boundaries and their order, empty ones too. One larger than the pipe's memory
 * streams through. **Many** processes may hold the same end; each message is received by one of them.
 *
 * **The end of it.** When nobody holds the other end any more, because all who did have closed it or
 * died, receiving goes on until all is received and then throws {@linkcode ClosedError}; sending throws it
 * at once. Who waits hears of a close() at once, and of a death within 250 ms.
 *
 * **Who holds an end:** who made the pipe, and who receives the end, each until it closes it. To hand an
 * end to a new {@linkcode Process} is to hand over the hold: this handle still works, but holds the end
 * again only from its next use on. So the one at the other end hears of the process's end, even though
 * nobody here has closed anything. In a process there is one handle at a time on each end.
 *
 * Semantics: Python's `multiprocessing.connection.Connection`.
 *
 * @example Usage
 * ```ts
 * import { Pipe } from "@multiprocessing/core/queue";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const [a, b] = Pipe();
 * await a.send({ id: 1 });
 * assertEquals(await b.recv(), { id: 1 });
 * a.close();
 * await assertRejects(() => b.recv(), Error, "the other end is closed");
 * ```
 */
export class Connection {
  readonly #end: PipeEnd;
  readonly #source: PipeSource;
  readonly #item = newItem();
  #closed = false;

  static {
    open = (end) => {
      const known = handles.get(end)?.deref();
      if (known?.closed === false) return known;
      const made = new Connection(end);
      handles.set(end, new WeakRef(made));
      forgotten.register(made, end, made);
      return made;
    };
    const ctor = Connection as unknown as new () => Connection;
    registerShareable("Connection", ctor, (it, where) => it.#takeApart(where), (parts) => {
      const { inFlight, ...rest } = parts as ConnectionParts;
      const end = PipeEnd.attach(rest);
      if (inFlight) end.land();
      else end.enter();
      return open(end);
    });
    registerWaitable(ctor, (connection) => connection.#ready("wait"));
  }

  private constructor(end: PipeEnd) {
    if (!(end instanceof PipeEnd)) {
      throw new TypeError("Cannot create Connection: connections come in pairs; call Pipe()");
    }
    this.#end = end;
    this.#source = new PipeSource(end, () => this.#checkOpen("receive"));
  }

  /** Whether this end receives. */
  get readable(): boolean {
    return this.#end.incoming !== undefined;
  }

  /** Whether this end sends. */
  get writable(): boolean {
    return this.#end.outgoing !== undefined;
  }

  /** Whether {@linkcode close} was called on this handle. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a value, waiting for room if there is none.
   *
   * @param value Anything that can be sent.
   * @param options Timeout and signal. Neither interrupts the receiver of a message larger than the
   * pipe's memory: it drops the part that it has.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other.
   * @throws {EncodingError} If the value cannot be sent.
   * @throws {ProcessError} If this is the receiving end of a one-way pipe.
   */
  async send(value: unknown, options?: WaitOptions): Promise<void> {
    this.#outgoing();
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    const item = newItem();
    toItem(encode(value, ENCODE_OPTIONS), item);
    await this.#put(item, timeout, options?.signal);
  }

  /**
   * Sends a value, blocking this thread while there is no room.
   *
   * @param value Anything that can be sent.
   * @param options Timeout.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other.
   * @throws {EncodingError} If the value cannot be sent.
   * @throws {ProcessError} If this is the receiving end of a one-way pipe.
   */
  sendSync(value: unknown, options?: WaitSyncOptions): void {
    this.#outgoing();
    const timeout = checkWait(options);
    const item = this.#item;
    toItem(encode(value, ENCODE_OPTIONS), item);
    this.#putSync(item, timeout);
  }

  /**
   * Sends bytes as they are.
   *
   * @param bytes All of them are sent; send a part with `subarray()`.
   * @param options Timeout and signal.
   * @throws {TypeError} If it is no Uint8Array.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other.
   * @throws {ProcessError} If this is the receiving end of a one-way pipe.
   */
  async sendBytes(bytes: Uint8Array, options?: WaitOptions): Promise<void> {
    const item = this.#rawItem(bytes);
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    await this.#put(item, timeout, options?.signal);
  }

  /**
   * Sends bytes as they are, blocking this thread while there is no room.
   *
   * @param bytes All of them are sent; send a part with `subarray()`.
   * @param options Timeout.
   * @throws {TypeError} If it is no Uint8Array.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other.
   * @throws {ProcessError} If this is the receiving end of a one-way pipe.
   */
  sendBytesSync(bytes: Uint8Array, options?: WaitSyncOptions): void {
    this.#putSync(this.#rawItem(bytes), checkWait(options));
  }

  /**
   * Receives the next message, waiting for one if there is none.
   *
   * @param options Timeout and signal. Neither interrupts a message larger than the pipe's memory once its
   * first part has come.
   * @returns The value; of bytes sent by {@linkcode sendBytes}, a `Uint8Array`.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other and all is received.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  async recv(options?: WaitOptions): Promise<unknown> {
    const ring = this.#incoming("receive");
    const timeout = checkWait(options);
    const get = new AsyncRecv(ring, this.#source);
    const outcome = await ring.getLine.wait(get, timeout, options?.signal);
    return await received(outcome, timeout);
  }

  /**
   * Receives the next message, blocking this thread while there is none.
   *
   * @param options Timeout.
   * @returns The value; of bytes sent by {@linkcode sendBytes}, a `Uint8Array`.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other and all is received.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  recvSync(options?: WaitSyncOptions): unknown {
    const ring = this.#incoming("receive");
    const timeout = checkWait(options);
    if (this.#source.tryGet() === DONE) return fromInboxSync(ring);
    return received(waitSync(new SyncRecv(ring, this.#source), timeout), timeout);
  }

  /**
   * Receives a message sent by {@linkcode sendBytes}, waiting for one if there is none.
   *
   * @param options Timeout, signal, and how long the message may be.
   * @returns The bytes.
   * @throws {RangeError} If the message is longer than `maxLength`; it stays there.
   * @throws {TypeError} If the message was sent by {@linkcode send}; it stays there.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other and all is received.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  async recvBytes(options?: RecvBytesOptions): Promise<Uint8Array> {
    const ring = this.#incoming("receive");
    const timeout = checkWait(options);
    const get = new RawRecv(ring, this.#rawSource(options?.maxLength));
    return received(await ring.getLine.wait(get, timeout, options?.signal), timeout);
  }

  /**
   * Receives a message sent by {@linkcode sendBytes}, blocking this thread while there is none.
   *
   * @param options Timeout, and how long the message may be.
   * @returns The bytes.
   * @throws {RangeError} If the message is longer than `maxLength`; it stays there.
   * @throws {TypeError} If the message was sent by {@linkcode send}; it stays there.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ClosedError} If this end is closed, or nobody holds the other and all is received.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  recvBytesSync(options?: RecvBytesSyncOptions): Uint8Array {
    const ring = this.#incoming("receive");
    const timeout = checkWait(options);
    const get = new RawRecv(ring, this.#rawSource(options?.maxLength));
    return received(waitSync(get, timeout), timeout);
  }

  /**
   * Tells whether there is something to receive: a message, or the end. Takes nothing.
   *
   * @param options Timeout, by default 0, and signal.
   * @returns False when `timeout` is over.
   * @throws {ClosedError} If this end is closed.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  async poll(options?: WaitOptions): Promise<boolean> {
    const timeout = checkWait(options, 0);
    return (await waitAny([this.#ready("poll")], timeout, options?.signal)).length > 0;
  }

  /**
   * Like {@linkcode poll}, blocking this thread.
   *
   * @param options Timeout, by default 0.
   * @returns False when `timeout` is over.
   * @throws {ClosedError} If this end is closed.
   * @throws {ProcessError} If this is the sending end of a one-way pipe.
   */
  pollSync(options?: WaitSyncOptions): boolean {
    const timeout = checkWait(options, 0);
    const ready = this.#ready("poll");
    const isReady = waitSync(ready, timeout) !== PENDING;
    // It may have been woken in the place of one who receives.
    if (isReady) ready.ring.wakeGetters(1);
    return isReady;
  }

  /**
   * Closes this process's handle; others that hold the same end go on. What waits on it here fails with
   * {@linkcode ClosedError}. Closing twice is harmless.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    forgotten.unregister(this);
    this.#end.interrupt();
    this.#end.leave();
  }

  /** Closes this process's handle. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** What a process makes a handle of, and who holds the end until it does. */
  #takeApart({ to, passages }: Destination): ConnectionParts {
    const end = this.#end;
    if (this.#closed) throw new Unsendable("this Connection has been closed");
    end.enter();
    if (to === undefined) {
      end.launch();
      passages.push({ lost: () => end.recall() });
    } else {
      end.enterFor(to);
      passages.push({ sent: () => end.leave() });
    }
    return { ...end.parts, inFlight: to === undefined };
  }

  async #put(item: Item, timeout: number, signal: AbortSignal | undefined): Promise<void> {
    keepItem(item);
    try {
      const put = new PipePut(this.#end, item, () => this.#checkOpen("send"));
      checkSent(await this.#outgoing().putLine.wait(put, timeout, signal), timeout);
    } catch (error) {
      discard(item);
      throw error;
    }
  }

  #putSync(item: Item, timeout: number): void {
    if (this.#outgoing().fitsFrame(item.length) && this.#end.tryPut(item) === DONE) return;
    try {
      const put = new PipePut(this.#end, item, () => this.#checkOpen("send"));
      checkSent(waitSync(put, timeout), timeout);
    } catch (error) {
      discard(item);
      throw error;
    }
  }

  #rawItem(bytes: Uint8Array): Item {
    this.#outgoing();
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(
        `Cannot send bytes: 'bytes' must be a Uint8Array, but is ${describe(bytes)}; ` +
          "send other values by send()",
      );
    }
    const item = newItem();
    toRawItem(bytes, item);
    return item;
  }

  #rawSource(maxLength = Infinity): PipeSource {
    if (maxLength !== Infinity && !(Number.isSafeInteger(maxLength) && maxLength >= 0)) {
      throw new RangeError(
        `Cannot receive bytes: 'maxLength' must be an integer >= 0, but is ${maxLength}`,
      );
    }
    return new PipeSource(this.#end, () => this.#checkOpen("receive"), new RawClaim(maxLength));
  }

  #ready(verb: "poll" | "wait"): PipeReady {
    this.#incoming(verb);
    return new PipeReady(this.#end, () => this.#checkOpen(verb));
  }

  #outgoing(): Ring {
    this.#checkOpen("send");
    const { outgoing } = this.#end;
    if (outgoing !== undefined) return outgoing;
    throw new ProcessError(
      "Cannot send: this is the receiving end of a one-way pipe; send at the other end, or make " +
        "the pipe without duplex: false",
    );
  }

  #incoming(verb: "receive" | "poll" | "wait"): Ring {
    this.#checkOpen(verb);
    const { incoming } = this.#end;
    if (incoming !== undefined) return incoming;
    throw new ProcessError(
      `Cannot ${verb}: this is the sending end of a one-way pipe; receive at the other end, or make ` +
        "the pipe without duplex: false",
    );
  }

  #checkOpen(verb: string): void {
    if (this.#closed) throw new ClosedError(`Cannot ${verb}: this end of the pipe is closed`);
  }
}

// JSR leaves methods that are named by a symbol out of the declarations that it makes for npm.
/** A connection is closed at the end of `using`. */
export interface Connection extends Disposable {}

/** Decodes without blocking; the value is a promise if it has attachments to fetch. */
class AsyncRecv extends RingGet<{ value: unknown }> {
  protected override takeInbox(): { value: unknown } {
    return { value: fromInbox(this.ring) };
  }
}

/** Decodes at once. */
class SyncRecv extends RingGet<{ value: unknown }> {
  protected override takeInbox(): { value: unknown } {
    return { value: fromInboxSync(this.ring) };
  }
}

/** Takes bytes. */
class RawRecv extends RingGet<{ value: Uint8Array }> {
  protected override takeInbox(): { value: Uint8Array } {
    return { value: rawInbox(this.ring) };
  }
}

/** Refuses what is no bytes, or too many, before it is taken. */
class RawClaim implements Claim {
  readonly #maxLength: number;

  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  take({ tag, a }: Item): void {
    if (tag !== RAW) {
      throw new TypeError(
        "Cannot receive bytes: the next message was sent by send(); receive it by recv()",
      );
    }
    const length = a >>> 0;
    if (length <= this.#maxLength) return;
    throw new RangeError(
      `Cannot receive bytes: the next message has ${length} bytes, and 'maxLength' is ` +
        `${this.#maxLength}; it stays there, for a larger one`,
    );
  }
}

function newItem(): Item {
  return { bytes: NO_BYTES, length: 0, tag: 0, a: 0, b: 0 };
}

const NO_BYTES = new Uint8Array(0);

function checkSent(result: RingResult, timeout: number): void {
  if (result === CLOSED) throw new ClosedError("Cannot send: the other end is closed");
  if (result !== PENDING) return;
  throw new TimeoutError(`Cannot send: there was no room within ${timeout} ms`);
}

function received<T>(outcome: { value: T } | typeof CLOSED | typeof PENDING, timeout: number): T {
  if (outcome === PENDING) {
    throw new TimeoutError(`Cannot receive: no message came within ${timeout} ms`);
  }
  if (outcome === CLOSED) {
    throw new ClosedError("Cannot receive: the other end is closed, and all it sent is received");
  }
  return outcome.value;
}

/**
 * Makes a pipe: two connected ends.
 *
 * Semantics: Python's `multiprocessing.Pipe`.
 *
 * @param options One way or both, and how much memory.
 * @returns The two ends; of a one-way pipe, the receiving one first.
 * @throws {TypeError} If `duplex` is no boolean.
 * @throws {RangeError} If `capacity` is no whole number in range.
 */
export function Pipe(options: PipeOptions = {}): [Connection, Connection] {
  checkOptions("create Pipe", options, { boolean: "duplex" });
  const { duplex = true, capacity = DEFAULT_CAPACITY } = options;
  if (typeof duplex !== "boolean") {
    throw new TypeError(
      `Cannot create Pipe: 'duplex' must be true or false, but is ${describe(duplex)}`,
    );
  }
  const [first, second] = PipeEnd.create(checkCapacity(capacity, "Pipe"), duplex);
  return [open(first), open(second)];
}

/**
 * Waits until at least one of the objects is ready: a connection with something to receive, be it the
 * end; a queue with an item, or closed; a process that has ended; an event that is set. Takes nothing.
 *
 * Semantics: Python's `multiprocessing.connection.wait`.
 *
 * @param objects Of these, in any mixture. Without any, only the time is waited for, if there is one.
 * @param options Timeout and signal.
 * @returns Those that are ready, in the order given; none when `timeout` is over.
 * @throws {TypeError} If one of the objects is no such thing.
 * @throws {ClosedError} If one of them is a closed Connection or Process.
 * @throws {ProcessError} If one of them is a Process not started, or the sending end of a one-way pipe.
 */
export async function wait<O extends Connection | Queue | Process | Event>(
  objects: Iterable<O>,
  options?: WaitOptions,
): Promise<O[]> {
  const timeout = checkWait(options);
  if (typeof objects?.[Symbol.iterator] !== "function") {
    throw new TypeError(`Cannot wait: 'objects' must be iterable, but is ${describe(objects)}`);
  }
  const all = Array.from(objects);
  const attempts = all.map((object, place) => {
    const readiness = readinessOf(object);
    if (readiness !== undefined) return readiness;
    throw new TypeError(
      `Cannot wait: 'objects[${place}]' must be a Connection, Queue, Process or Event, but is ` +
        describe(object),
    );
  });
  if (all.length === 0 && timeout === Infinity) return [];
  const places = await waitAny(attempts, timeout, options?.signal);
  return places.map((place) => all[place] as O);
}

registerExports({ Connection, Pipe, wait });
