import type { Item } from "../../memory/ring.ts";
import type { Definition } from "./definitions.ts";
import { Fifo } from "./fifo.ts";
import type { Job } from "./job.ts";

const PAGE_BYTES = 64 * 1024;
// Of an entry, before its bytes: the item's length, tag and `b`.
const HEADER_WORDS = 3;
const HEADER_BYTES = HEADER_WORDS * Int32Array.BYTES_PER_ELEMENT;

// Up to so many bytes a loop copies faster than views are made.
const SMALL_BYTES = 64;

interface Page {
  bytes: Uint8Array<ArrayBuffer>;
  words: Int32Array<ArrayBuffer>;
  /** Where the next entry goes. */
  end: number;
}

/**
 * Jobs for which there was no room in the ring yet, first in, first out.
 *
 * The bytes of all lie one behind the other in large pages: an array for each would take more memory than
 * what it holds, and there may be a million.
 */
export class Backlog {
  readonly #jobs = new Fifo<Job>();
  readonly #definitions = new Fifo<Definition>();
  readonly #pages = new Fifo<Page>();
  /** Where the first entry begins in the first page. */
  #start = 0;
  #last: Page | undefined;
  readonly #small = new Uint8Array(SMALL_BYTES);
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };

  /** How many jobs there are. */
  get length(): number {
    return this.#jobs.length;
  }

  /** The job that came first. */
  get first(): Job | undefined {
    return this.#jobs.first;
  }

  /** The function of the job that came first. */
  get definition(): Definition {
    return this.#definitions.first!;
  }

  /** Puts a job behind all others, as a user of its function. Copies the item. */
  push(job: Job, definition: Definition, item: Item): void {
    const size = HEADER_BYTES + ((item.length + 3) & ~3);
    const page = this.#pageFor(size);
    const at = page.end;
    const word = at >> 2;
    page.words[word] = item.length;
    page.words[word + 1] = item.tag;
    page.words[word + 2] = item.b;
    const to = at + HEADER_BYTES;
    if (item.length > SMALL_BYTES) page.bytes.set(item.bytes.subarray(0, item.length), to);
    else for (let i = 0; i < item.length; i++) page.bytes[to + i] = item.bytes[i]!;
    page.end = at + size;
    this.#jobs.push(job);
    this.#definitions.push(definition);
    definition.users++;
  }

  /** The item of the job that came first: the same object each time, good until the next call. */
  item(): Item {
    const { bytes, words } = this.#pages.first!;
    const word = this.#start >> 2;
    const item = this.#item;
    item.length = words[word]!;
    item.tag = words[word + 1]!;
    item.b = words[word + 2]!;
    const from = this.#start + HEADER_BYTES;
    if (item.length > SMALL_BYTES) {
      item.bytes = bytes.subarray(from, from + item.length);
    } else {
      item.bytes = this.#small;
      for (let i = 0; i < item.length; i++) this.#small[i] = bytes[from + i]!;
    }
    return item;
  }

  /** Takes the job that came first out. */
  shift(): Job | undefined {
    const page = this.#pages.first;
    if (page === undefined) return undefined;
    this.#definitions.shift()!.users--;
    this.#start += HEADER_BYTES + ((page.words[this.#start >> 2]! + 3) & ~3);
    if (this.#start === page.end) {
      this.#start = 0;
      this.#pages.shift();
      if (this.#pages.length === 0) this.#last = undefined;
    }
    return this.#jobs.shift();
  }

  #pageFor(size: number): Page {
    if (this.#last !== undefined && this.#last.end + size <= this.#last.bytes.length) {
      return this.#last;
    }
    const bytes = new Uint8Array(Math.max(PAGE_BYTES, size));
    this.#last = { bytes, words: new Int32Array(bytes.buffer), end: 0 };
    this.#pages.push(this.#last);
    return this.#last;
  }
}
