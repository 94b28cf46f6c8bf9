import { yieldLoop } from "../../runtime/mod.ts";
import type { MapResult } from "./job.ts";

/** What an {@linkcode Imap} is made of. */
export interface ImapOptions {
  /** Items a chunk. */
  size: number;
  /** Chunks read before the consumer, at most. */
  ahead: number;
  /** Runs a chunk. Never rejects. */
  run: (chunk: unknown[]) => Promise<MapResult>;
}

/**
 * The chunks of an imap: read from the items as far as allowed, run, and handed out in order.
 *
 * **The end of the items.** What was read before it, or before an error of their iterator, is run; the
 * error comes in its place.
 */
export class Imap {
  /** Whether the items are all there, so that {@linkcode flush} can read them now. */
  readonly sized: boolean;
  readonly #options: ImapOptions;
  readonly #source: Iterator<unknown> | AsyncIterator<unknown>;
  readonly #running: Promise<MapResult>[] = [];
  #reading: Promise<false> | undefined;
  #failure: { error: unknown } | undefined;
  #ended = false;

  constructor(items: Iterable<unknown> | AsyncIterable<unknown>, options: ImapOptions) {
    this.#options = options;
    this.sized = isSized(items);
    this.#source = Symbol.asyncIterator in Object(items)
      ? (items as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      : (items as Iterable<unknown>)[Symbol.iterator]();
  }

  /** Waits for the next chunk. Resolves with undefined after the last. */
  async next(): Promise<MapResult | undefined> {
    const { ahead } = this.#options;
    while (!this.#ended && this.#running.length < ahead) {
      this.#reading ??= this.#read();
      const first = this.#running[0]?.then(() => true);
      // A slow source must not hold back results that are there already.
      if (await (first === undefined ? this.#reading : Promise.race([first, this.#reading]))) break;
    }
    const result = this.#running.shift();
    if (result !== undefined) return await result;
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** Reads and runs all that is left of items that are {@linkcode sized}, however far ahead. */
  flush(): void {
    const source = this.#source as Iterator<unknown>;
    let chunk: unknown[] = [];
    try {
      for (let next = source.next(); !this.#ended; next = source.next()) {
        if (next.done) this.#ended = true;
        else if (chunk.push(next.value) === this.#options.size) chunk = this.#submit(chunk);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#submit(chunk);
  }

  /** Stops reading. Called when the consumer leaves. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const left = Promise.resolve(this.#source.return?.());
    if (this.#reading === undefined) return void await left;
    // A source that is stuck amid a read must not hold up whoever leaves the loop.
    await Promise.race([left, yieldLoop()]);
    left.catch(() => {});
  }

  async #read(): Promise<false> {
    const chunk: unknown[] = [];
    try {
      while (!this.#ended && chunk.length < this.#options.size) {
        const { done, value } = await this.#source.next();
        if (done) this.#ended = true;
        else chunk.push(await value);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#submit(chunk);
    this.#reading = undefined;
    return false;
  }

  #submit(chunk: unknown[]): unknown[] {
    if (chunk.length > 0) this.#running.push(this.#options.run(chunk));
    return [];
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#ended = true;
  }
}

function isSized(items: object | string): boolean {
  if (typeof items === "string" || Array.isArray(items) || ArrayBuffer.isView(items)) return true;
  return items instanceof Set || items instanceof Map;
}
