import { EncodingError } from "../../errors.ts";
import { show } from "../../memory/show.ts";
import { withoutFrames } from "../frames.ts";
import { NO_SOURCES, rethrow, type Sources } from "./caller.ts";
import { checkItems, chunkSizes, notePace, type Sender, submitItems } from "./chunks.ts";
import { type FullJob, type JobMode, type MapResult, SETTLED, type Watch } from "./job.ts";

/** What a {@linkcode MapRun} is made of. */
export interface MapRunOptions extends Sender {
  /** Items a chunk; undefined leaves the choice to the run. */
  chunkSize: number | undefined;
  /** So long may the call for an item take, in ms. */
  timeout: number;
  grace: number;
  /** Whether somebody may cancel it. */
  cancellable: boolean;
  /** Made where the map was called. */
  caller: Error;
  onProgress: ((done: number, total: number) => void) | undefined;
}

/**
 * One map: its items run in chunks, its results in the order of the items.
 *
 * **Chunks that the run has chosen are split** while another worker has nothing to do: the backend gives items back
 * that have not begun, and they are submitted anew. So no worker is idle for longer than one item takes.
 * **With a timeout** each item is a chunk: else what was done before it in its chunk would be lost with its worker.
 */
export class MapRun {
  readonly #options: MapRunOptions;
  readonly #settled = Promise.withResolvers<unknown[]>();
  readonly #chunks = new Set<Chunk>();
  #items: unknown[] = [];
  #values: unknown[] = [];
  #left = 0;
  /** Gives up the read that is under way. */
  #stopReading: (reason: unknown) => void = () => {};
  #failure: { at: number; error: unknown; sources: Sources } | undefined;
  #over = false;

  constructor(options: MapRunOptions) {
    this.#options = options;
  }

  /** Resolves with the results. */
  get promise(): Promise<unknown[]> {
    return this.#settled.promise;
  }

  /**
   * Reads all items and submits them: what is there now, only a source of promises later.
   *
   * @throws Whatever is wrong with more than the items: the run must then be cancelled.
   */
  start(items: Iterable<unknown> | AsyncIterable<unknown>): void {
    if (Symbol.asyncIterator in checkItems("map", items)) {
      const read = this.#readAll(items as AsyncIterable<unknown>);
      read.then((all) => this.#run(all)).catch((error) => this.cancel(error));
    } else {
      this.#run(Array.from(items as Iterable<unknown>));
    }
  }

  /** Rejects at once, and stops what has not ended. */
  cancel(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#settled.reject(reason);
    this.#stopReading(reason);
    const { backend, grace } = this.#options;
    for (const chunk of this.#chunks) backend.cancel(chunk, reason, grace);
  }

  async #readAll(items: AsyncIterable<unknown>): Promise<unknown[]> {
    const iterator = items[Symbol.asyncIterator]();
    const inputs: unknown[] = [];
    try {
      for (;;) {
        const { done, value } = await new Promise<IteratorResult<unknown>>((resolve, reject) => {
          this.#stopReading = reject;
          iterator.next().then(resolve, reject);
        });
        if (done) return inputs;
        inputs.push(value);
      }
    } finally {
      // One that is stuck amid a read must not hold up whoever hears of it.
      if (this.#over) Promise.resolve(iterator.return?.()).catch(() => {});
    }
  }

  #run(items: unknown[]): void {
    if (this.#options.mode === "starmap") checkArguments(items);
    this.#items = items;
    this.#values = new Array(items.length);
    this.#left = items.length;
    if (this.#left === 0) return this.#settle();
    let from = 0;
    for (const size of this.#sizes()) {
      this.#submit(from, from + size);
      from += size;
    }
  }

  *#sizes(): Iterable<number> {
    const { length } = this.#items;
    const { backend, target, timeout, chunkSize, onProgress } = this.#options;
    const fixed = timeout < Infinity ? 1 : chunkSize;
    if (fixed === undefined) {
      return yield* chunkSizes(target, length, backend.size, onProgress !== undefined);
    }
    for (let left = length; left > 0; left -= fixed) yield Math.min(left, fixed);
  }

  /** @throws Whatever is wrong with more than the items. */
  #submit(from: number, to: number): void {
    const chunk = new Chunk(this, from, to, this.#options);
    if (chunk.watch !== undefined) this.#chunks.add(chunk);
    try {
      submitItems(this.#options, this.#items.slice(from, to), chunk);
    } catch (error) {
      this.#chunks.delete(chunk);
      if (!(error instanceof EncodingError)) throw error;
      if (to - from === 1) return this.fail(chunk, withoutFrames(error));
      // Only those that cannot be sent fail.
      for (let at = from; at < to; at++) this.#submit(at, at + 1);
    }
  }

  /** A chunk's items from `from` on have not begun: they go to another worker. */
  giveBack(chunk: Chunk, from: number): void {
    const { to } = chunk;
    chunk.to = chunk.first + from;
    if (this.#over) return;
    try {
      this.#submit(chunk.to, to);
    } catch (error) {
      this.cancel(error);
    }
  }

  /** A chunk has been run. */
  take(chunk: Chunk, result: MapResult): void {
    const { values, errors, took, sources } = result;
    for (let i = 0; i < values.length; i++) this.#values[chunk.first + i] = values[i];
    for (const [i, error] of errors) this.#note(chunk.first + i, error, sources);
    if (this.#options.chunkSize === undefined) notePace(this.#options.target, values.length, took);
    this.#finish(chunk);
  }

  /** A chunk has failed as a whole. */
  fail(chunk: Chunk, error: unknown): void {
    this.#note(chunk.first, error, NO_SOURCES);
    this.#finish(chunk);
  }

  /** Of several failures, the first in the order of the items counts. */
  #note(at: number, error: unknown, sources: Sources): void {
    if (this.#failure === undefined || at < this.#failure.at) {
      this.#failure = { at, error, sources };
    }
  }

  #finish(chunk: Chunk): void {
    this.#chunks.delete(chunk);
    this.#left -= chunk.to - chunk.first;
    if (this.#over) return;
    try {
      this.#options.onProgress?.(this.#items.length - this.#left, this.#items.length);
    } catch (error) {
      return this.cancel(error);
    }
    if (this.#left === 0) this.#settle();
  }

  #settle(): void {
    this.#over = true;
    if (this.#failure === undefined) return this.#settled.resolve(this.#values);
    const { error, sources } = this.#failure;
    this.#settled.resolve(rethrow(error, this.#options.caller, sources));
  }
}

function checkArguments(items: unknown[]): void {
  const at = items.findIndex((item) => !Array.isArray(item));
  if (at < 0) return;
  throw new TypeError(
    `Cannot starmap: 'items[${at}]' must be an array of arguments, but is ${show(items[at])}`,
  );
}

/** Items that travel, and are run, together. */
class Chunk implements FullJob {
  readonly mode: JobMode;
  readonly watch: Watch | undefined;
  readonly first: number;
  readonly mark = undefined;
  /** Where the items end that were not given back. */
  to: number;
  readonly #run: MapRun;

  constructor(run: MapRun, from: number, to: number, options: MapRunOptions) {
    const { mode, timeout, grace, cancellable, chunkSize } = options;
    const splits = chunkSize === undefined && to - from > 1;
    this.#run = run;
    this.first = from;
    this.to = to;
    this.mode = mode;
    this.watch = splits || cancellable || timeout < Infinity
      ? {
        timeout,
        grace,
        giveBack: splits ? (at) => run.giveBack(this, at) : undefined,
        task: SETTLED,
      }
      : undefined;
  }

  resolve(result: unknown): void {
    this.#run.take(this, result as MapResult);
  }

  reject(error: unknown): void {
    this.#run.fail(this, error);
  }
}
