/**
 * Items of a map, on their way in chunks.
 *
 * @module
 */

import { EncodingError } from "../../errors.ts";
import { MAX_SPLIT } from "../../memory/lease.ts";
import { show } from "../../memory/show.ts";
import { encode } from "../codec/codec.ts";
import { sendingKey } from "../target/tasks.ts";
import type { Backend, FullJob, JobMode, Moving } from "./job.ts";

/** What {@linkcode submitItems} sends, and to whom. */
export interface Sender {
  readonly backend: Backend;
  readonly target: unknown;
  readonly mode: JobMode;
  readonly moving: Moving | undefined;
}

/**
 * Submits items as one job.
 *
 * @throws {EncodingError} If one of them cannot be sent; its path begins with the item's index in the map.
 */
export function submitItems(sender: Sender, items: unknown[], job: FullJob): void {
  const { backend, target, moving } = sender;
  try {
    backend.submit(target, items, job, moving);
  } catch (error) {
    if (!(error instanceof EncodingError) || job.first === 0) throw error;
    items.forEach((item, at) => encode(item, { root: `items[${job.first + at}]`, ...moving }));
    throw error;
  }
}

/** Checks that there is something to read. */
export function checkItems(verb: string, items: unknown): object {
  const source = Object(items);
  if (typeof (source[Symbol.asyncIterator] ?? source[Symbol.iterator]) === "function") {
    return source;
  }
  throw new TypeError(`Cannot ${verb}: 'items' must be iterable, but is ${show(items)}`);
}

// A chunk should not take longer than this, so that many make for balance, and for progress to be seen.
const CHUNK_MS = 20;
// Those who watch the progress are told at least so often.
const STEPS = 100;

/** Milliseconds that an item took, by function, as measured last. */
const paces = new WeakMap<object, number>();

/** Notes how long items have taken, for {@linkcode chunkSizes}. */
export function notePace(target: unknown, items: number, ms: number): void {
  const key = sendingKey(target);
  if (items > 0 && typeof key === "function") paces.set(key, ms / items);
}

/**
 * Sizes of chunks that are worth sending, and enough for balance: half of what is left a worker, so that they
 * shrink toward the end (guided self-scheduling: Polychronopoulos and Kuck, 1987), and so few items
 * that they take {@linkcode CHUNK_MS}, if it is known how long one takes.
 */
export function* chunkSizes(
  target: unknown,
  items: number,
  workers: number,
  watched: boolean,
): Generator<number> {
  const key = sendingKey(target);
  const pace = typeof key === "function" ? paces.get(key) : undefined;
  const most = Math.min(
    MAX_SPLIT,
    pace === undefined ? Infinity : Math.max(1, Math.floor(CHUNK_MS / pace)),
    watched ? Math.ceil(items / STEPS) : Infinity,
  );
  for (let left = items; left > 0;) {
    const size = Math.min(Math.ceil(left / (2 * workers)), most);
    yield size;
    left -= size;
  }
}
