import { runtime } from "../../runtime/mod.ts";
import { EncodingError } from "../../errors.ts";
import { withoutFrames } from "../frames.ts";
import { NO_SOURCES, rethrow } from "./caller.ts";
import { checkItems, type Sender, submitItems } from "./chunks.ts";
import { Fifo } from "./fifo.ts";
import { type FullJob, type JobMode, type MapResult, SETTLED, type Watch } from "./job.ts";

/** What an {@linkcode Imap} is made of. */
export interface ImapOptions extends Sender {
  /** Whether results come in the order of the items, or as they are there. */
  ordered: boolean;
  /** Items a chunk; undefined leaves the choice to the iterator. */
  chunkSize: number | undefined;
  /** Items read before the consumer, at most; undefined for {@linkcode CHUNKS_AHEAD} chunks a worker. */
  bufferSize: number | undefined;
  /** So long may the call for an item take, in ms. */
  timeout: number;
  grace: number;
  /** Made where the iterator was asked for. */
  caller: Error;
  onProgress: ((done: number, total: number | undefined) => void) | undefined;
  /** Called once, when nothing more will be read. */
  onDrained(): void;
  /** Called once, when nothing more will be given out. */
  onEnd(): void;
}

/** How far the items are read ahead, in chunks a worker. */
const CHUNKS_AHEAD = 4;
// Chunks that the iterator chooses grow until they take so long: a result waits for those of its chunk.
const CHUNK_MS = 0.2;
const MAX_CHUNK = 64;

/** A consumer's call of next() that waits. */
interface Consumer<R> {
  resolve(result: IteratorResult<R, undefined> | Promise<never>): void;
  reject(error: unknown): void;
}

/**
 * The iterator of an imap: reads the items as far ahead of the consumer as allowed, and yields results.
 *
 * | state | next() gives | what ends it |
 * |---|---|---|
 * | reading | results, as they come | the end of the items, their error, an item's error, return(), a cancel |
 * | drained: the items have ended | the results that are left, then the error of the items, if any | the last of them |
 * | over | that it is done | |
 *
 * What was read before the error of the items is run; the error comes in its place. The error of an
 * item ends the iteration: what has not begun is dropped.
 */
export class Imap<R> implements AsyncIterableIterator<R, undefined> {
  /** Whether the items are all there, so that {@linkcode flush} can read them now. */
  readonly sized: boolean;
  readonly #options: ImapOptions;
  readonly #source: Iterator<unknown> | AsyncIterator<unknown>;
  readonly #isAsync: boolean;
  readonly #total: number | undefined;
  /** In order: those that were read; otherwise: those that have been run. */
  readonly #queue = new Fifo<ImapChunk>();
  /** Those that are being run. */
  readonly #running = new Set<ImapChunk>();
  readonly #consumers = new Fifo<Consumer<R>>();
  /** Items that were read, and whose results have not been given out. */
  #unconsumed = 0;
  #read = 0;
  #done = 0;
  #reading: Promise<void> | undefined;
  /** What was read in time, and is not submitted. */
  #chunk: unknown[] = [];
  #failure: { error: unknown } | undefined;
  /** Items a chunk. */
  #size: number;
  #flushing = false;
  #filling = false;
  #drained = false;
  #over = false;

  constructor(items: Iterable<unknown> | AsyncIterable<unknown>, options: ImapOptions) {
    this.#options = options;
    this.#size = options.timeout < Infinity ? 1 : options.chunkSize ?? 1;
    this.sized = isSized(items);
    this.#total = totalOf(items);
    this.#isAsync = Symbol.asyncIterator in checkItems("imap", items);
    this.#source = this.#isAsync
      ? (items as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      : (items as Iterable<unknown>)[Symbol.iterator]();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<R, undefined>> {
    const { promise, ...consumer } = Promise.withResolvers<IteratorResult<R, undefined>>();
    this.#consumers.push(consumer);
    this.#advance();
    return promise;
  }

  /** Stops reading, and drops what has not begun. */
  async return(): Promise<IteratorResult<R, undefined>> {
    const stopped = this.#stop();
    this.#giveOut();
    await stopped;
    return { done: true, value: undefined };
  }

  /** Stops all of it; the next result is the error. */
  cancel(reason: unknown): void {
    if (this.#over) return;
    this.#failure = { error: reason };
    this.#stop(reason, this.#options.grace).catch(() => {});
    this.#giveOut();
  }

  /** Reads and runs all that is left of items that are {@linkcode sized}, however far ahead. */
  flush(): void {
    this.#flushing = true;
    this.#fill();
  }

  /** Gives out what is there, and reads on. */
  #advance(): void {
    this.#giveOut();
    if (this.#drained) return;
    this.#fill();
    this.#giveOut();
  }

  #giveOut(): void {
    while (this.#consumers.first !== undefined && this.#serve(this.#consumers.first)) {
      this.#consumers.shift();
    }
  }

  /** Gives a consumer the next result. Returns false if there is none yet. */
  #serve(consumer: Consumer<R>): boolean {
    const chunk = this.#over ? undefined : this.#queue.first;
    if (chunk?.result !== undefined) {
      this.#serveFrom(chunk, chunk.result, consumer);
      return true;
    }
    if (!this.#over && (!this.#drained || this.#unconsumed > 0)) return false;
    this.#finish();
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure === undefined) consumer.resolve({ done: true, value: undefined });
    else consumer.reject(failure.error);
    return true;
  }

  #serveFrom(
    chunk: ImapChunk,
    { values, errors, sources }: MapResult,
    consumer: Consumer<R>,
  ): void {
    const at = chunk.taken++;
    if (chunk.taken === values.length) this.#queue.shift();
    this.#unconsumed--;
    if (!errors.has(at)) return consumer.resolve({ done: false, value: values[at] as R });
    this.#stop().catch(() => {});
    consumer.resolve(rethrow(errors.get(at), this.#options.caller, sources));
  }

  #fill(): void {
    if (this.#drained || this.#reading !== undefined) return;
    if (!this.#isAsync) this.#readNow();
    else if (this.#hasRoom()) this.#readLater();
  }

  /** Whether a chunk may be read. */
  #hasRoom(): boolean {
    const { bufferSize, backend } = this.#options;
    const most = bufferSize ?? CHUNKS_AHEAD * backend.size * this.#size;
    return this.#flushing || this.#unconsumed === 0 ||
      this.#unconsumed + this.#chunkLength() <= most;
  }

  #chunkLength(): number {
    return Math.min(this.#size, this.#options.bufferSize ?? Infinity);
  }

  /** Lets the chunks grow while they take less time than they may. */
  #grow({ values, took }: MapResult): void {
    const { chunkSize, bufferSize = Infinity, timeout, backend } = this.#options;
    if (chunkSize !== undefined || timeout < Infinity) return;
    const most = Math.min(MAX_CHUNK, 2 * this.#size, bufferSize / (CHUNKS_AHEAD * backend.size));
    const worth = CHUNK_MS * values.length / took;
    this.#size = Math.max(1, Math.floor(Math.min(most, worth)));
  }

  /** Reads what is there at once. */
  #readNow(): void {
    // A chunk that cannot be sent is settled within.
    if (this.#filling) return;
    this.#filling = true;
    this.#readAll();
    this.#filling = false;
  }

  #readAll(): void {
    const source = this.#source as Iterator<unknown>;
    while (!this.#drained && this.#hasRoom()) {
      const chunk: unknown[] = [];
      try {
        while (!this.#drained && chunk.length < this.#chunkLength()) {
          const { done, value } = checkStep(source.next());
          if (done) this.#drain();
          else if (isPromise(value)) return this.#readLater(chunk, value);
          else chunk.push(value);
        }
      } catch (error) {
        this.#fail(error);
      }
      this.#submit(chunk);
    }
  }

  /** Reads a chunk of what comes in time; one that has begun goes on with `first`. */
  #readLater(chunk: unknown[] = [], first?: PromiseLike<unknown>): void {
    this.#chunk = chunk;
    this.#reading = this.#readChunk(first).then(() => {
      this.#reading = undefined;
      this.#advance();
    });
  }

  async #readChunk(first: PromiseLike<unknown> | undefined): Promise<void> {
    // There is room for so many: what settles meanwhile may let the chunks grow.
    const length = this.#chunkLength();
    try {
      for (let next = first; !this.#drained && this.#chunk.length < length;) {
        if (this.#chunk.length === 1 && this.#options.chunkSize === undefined) this.#sendSoon();
        const item = next === undefined ? checkStep(await this.#source.next()) : { value: next };
        next = undefined;
        if (item.done) this.#drain();
        else this.#chunk.push(await item.value);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#send();
  }

  /** What is there must not wait for what is not. */
  async #sendSoon(): Promise<void> {
    const chunk = this.#chunk;
    await runtime.yieldLoop();
    if (this.#chunk === chunk) this.#send();
  }

  #send(): void {
    const chunk = this.#chunk;
    this.#chunk = [];
    this.#submit(chunk);
  }

  #fail(error: unknown): void {
    if (!this.#over) this.#failure = { error };
    this.#drain();
  }

  /** Nothing more will be read; what was read is still to be submitted. */
  #drain(): void {
    if (this.#drained) return;
    this.#drained = true;
    queueMicrotask(this.#options.onDrained);
  }

  #submit(items: unknown[]): void {
    if (items.length === 0 || this.#over) return;
    const before = this.#read;
    const chunk = new ImapChunk(this as Imap<unknown>, this.#read, items.length, this.#options);
    this.#read += items.length;
    this.#unconsumed += items.length;
    this.#running.add(chunk);
    try {
      submitItems(this.#options, items, chunk);
    } catch (error) {
      if (items.length > 1 && error instanceof EncodingError) {
        this.#running.delete(chunk);
        this.#read = before;
        this.#unconsumed -= items.length;
        // Only those that cannot be sent fail.
        for (const item of items) this.#submit([item]);
        return;
      }
      if (this.#options.ordered) this.#queue.push(chunk);
      return chunk.reject(withoutFrames(error));
    }
    if (this.#options.ordered) this.#queue.push(chunk);
  }

  /** A chunk has been run. */
  settle(chunk: ImapChunk, result: MapResult): void {
    chunk.result = result;
    this.#running.delete(chunk);
    if (this.#over) return;
    if (!this.#options.ordered) this.#queue.push(chunk);
    this.#grow(result);
    try {
      this.#options.onProgress?.(this.#done += chunk.items, this.#total);
    } catch (error) {
      return this.cancel(error);
    }
    this.#advance();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.onEnd();
  }

  /** Ends the iteration. Called when the consumer leaves, and when an item has failed. */
  async #stop(reason?: unknown, grace?: number): Promise<void> {
    if (this.#over) return;
    this.#finish();
    const { backend } = this.#options;
    for (const chunk of this.#running) backend.cancel(chunk, reason, grace);
    if (this.#drained) return;
    this.#drain();
    const left = Promise.resolve(this.#source.return?.());
    if (this.#reading === undefined) return void await left;
    // A source that is stuck amid a read must not hold up whoever leaves the loop.
    await Promise.race([left, runtime.yieldLoop()]);
    left.catch(() => {});
  }
}

/** Items that travel, and are run, together. */
class ImapChunk implements FullJob {
  readonly mode: JobMode;
  readonly watch: Watch;
  readonly first: number;
  readonly mark = undefined;
  readonly items: number;
  result: MapResult | undefined;
  /** How many of the results have been consumed. */
  taken = 0;
  readonly #imap: Imap<unknown>;

  constructor(imap: Imap<unknown>, first: number, items: number, options: ImapOptions) {
    const { mode, timeout, grace } = options;
    this.#imap = imap;
    this.mode = mode;
    this.first = first;
    this.items = items;
    this.watch = { timeout, grace, giveBack: undefined, task: SETTLED };
  }

  resolve(result: unknown): void {
    this.#imap.settle(this, result as MapResult);
  }

  /** What fails the whole chunk is the error of its first item. */
  reject(error: unknown): void {
    const errors = new Map([[0, error]]);
    this.resolve({ values: new Array(this.items), errors, took: 0, sources: NO_SOURCES });
  }
}

/** What an iterator gave, if it is an object, as `for` loops demand. */
function checkStep<T extends object>(step: T): T {
  if (Object(step) === step) return step;
  throw new TypeError(`Cannot read items: ${String(step)} is not the result of an iterator`);
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

function totalOf(items: unknown): number | undefined {
  if (Array.isArray(items)) return items.length;
  if (items instanceof Set || items instanceof Map) return items.size;
  return ArrayBuffer.isView(items) ? (items as Uint8Array).length : undefined;
}

function isSized(items: unknown): boolean {
  return typeof items === "string" || totalOf(items) !== undefined;
}
