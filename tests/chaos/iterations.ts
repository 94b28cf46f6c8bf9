/** Iterations over results of a pool: read to the end, left early, and with something wrong amid. */

import { ProcessLostError, TimeoutError } from "../../errors.ts";
import type { ImapOptions, Pool } from "../../pool.ts";
import type { SharedArray } from "../../shared.ts";
import type { Call, Settled } from "./calls.ts";
import { type Step, step, STEP_EXIT } from "./pool_tasks.ts";
import type { Random } from "./random.ts";

const WAYS = [
  "all",
  "all",
  "leave",
  "leave",
  "abandon",
  "throw",
  "exit",
  "exit",
  "timeout",
  "signal",
  "source",
] as const;

type Way = typeof WAYS[number];

/** The items of a source that is not to come to its end: more than are read before that is seen. */
export const MANY_ITEMS = 1000;

/** Items, of which some are special. */
class Source {
  reads = 0;
  returned = 0;
  readonly #length: number;
  readonly #make: (n: number) => Step;

  constructor(length: number, make: (n: number) => Step) {
    this.#length = length;
    this.#make = make;
  }

  [Symbol.iterator](): Iterator<Step> {
    return { next: () => this.#next(), return: () => this.#return() };
  }

  /** The same, but each takes its time. */
  get later(): AsyncIterable<Step> {
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          const step = this.#next();
          if (this.reads % 3 === 0) await pause(this.reads % 4);
          return step;
        },
        return: async () => await this.#return(),
      }),
    };
  }

  #next(): IteratorResult<Step> {
    if (this.reads === this.#length) return { done: true, value: undefined };
    return { done: false, value: this.#make(this.reads++) };
  }

  #return(): IteratorResult<Step> {
    this.returned++;
    return { done: true, value: undefined };
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Iterates; `take` gives a place in `runs`, where nobody may be noted twice. */
export function iterate(
  pool: Pool,
  random: Random,
  runs: SharedArray<"i32">,
  take: () => number,
): Call {
  const iteration = new Iteration(random, (n, act) => ({ n, act, runs, place: take() }));
  return iteration.call(pool);
}

class Iteration {
  readonly #way: Way;
  readonly #ordered: boolean;
  /** The item that is special, and how many there are in all. */
  readonly #at: number;
  readonly #length: number;
  readonly #source: Source;
  readonly #later: boolean;
  readonly #slow: boolean;
  readonly #options: ImapOptions;
  readonly #reason = new Error("chaos: aborted");
  readonly #seen: number[] = [];
  readonly #ms: number;

  constructor(random: Random, make: (n: number, act: Step["act"]) => Step) {
    const way = this.#way = random.pick(WAYS);
    this.#ordered = random.chance(0.5);
    const at = this.#at = random.below(8);
    const isLong = way === "leave" || way === "abandon" || random.chance(0.2);
    this.#length = way === "all" || !isLong ? at + 1 + random.below(8) : MANY_ITEMS;
    this.#source = new Source(this.#length, (n) => {
      if (n !== at) return make(n, "square");
      if (way === "source") throw this.#reason;
      return make(n, ACTS[way] ?? "square");
    });
    this.#later = random.chance(0.4);
    this.#slow = random.chance(0.3);
    this.#ms = random.below(100);
    const bufferSize = 1 + random.below(6);
    const chunkSize = random.pick([undefined, undefined, 1, 2]);
    this.#options = chunkSize === undefined ? { bufferSize } : { bufferSize, chunkSize };
    if (way === "timeout") this.#options.timeout = 1 + this.#ms;
  }

  call(pool: Pool): Call {
    return {
      what: `${this.#ordered ? "imap" : "imapUnordered"}, ${this.#way} at ${this.#at}`,
      promise: this.#run(pool),
      judge: (settled) => this.#judge(settled),
      wrong: () => this.#wrong(),
    };
  }

  async #run(pool: Pool): Promise<void> {
    const options = { ...this.#options };
    if (this.#way === "signal") {
      const controller = new AbortController();
      options.signal = controller.signal;
      setTimeout(() => controller.abort(this.#reason), this.#ms);
    }
    const items = this.#later ? this.#source.later : this.#source;
    const results = pool[this.#ordered ? "imap" : "imapUnordered"](step, items, options);
    if (this.#way === "abandon") {
      const { value } = await results.next();
      this.#seen.push(value);
      return;
    }
    for await (const result of results) {
      this.#seen.push(result);
      if (this.#way === "leave" && this.#seen.length > this.#at) break;
      if (this.#slow) await pause(2);
    }
  }

  #judge({ error }: Settled): boolean {
    const seen = this.#seen.length;
    const at = this.#at;
    // What was asked for in order has come in order, up to where the error has its place.
    const inPlace = !this.#ordered || seen === at;
    switch (this.#way) {
      case "all":
        return error === undefined && seen === this.#length;
      case "leave":
        return error === undefined && seen === at + 1 && this.#source.returned === 1;
      case "abandon":
        return error === undefined;
      case "throw":
        return error instanceof RangeError && error.message === `chaos ${at}` && inPlace;
      case "exit":
        // The whole chunk is lost with it.
        return error instanceof ProcessLostError && error.exitCode === STEP_EXIT &&
          (!this.#ordered || seen <= at);
      case "timeout":
        // On a busy machine an item before it may take as long.
        return error instanceof TimeoutError && (!this.#ordered || seen <= at);
      case "signal":
        return error === this.#reason && seen < this.#length;
      case "source":
        return error === this.#reason && seen === at;
    }
  }

  /** No result twice, none of an item that was not read, no more read than was allowed. */
  #wrong(): string | undefined {
    const { reads, returned } = this.#source;
    const seen = this.#seen;
    const roots = seen.map(Math.sqrt);
    if (this.#ordered && roots.some((n, i) => n !== i)) return `the order is ${seen}`;
    if (new Set(seen).size < seen.length) return `some come twice: ${seen}`;
    if (roots.some((n) => !Number.isInteger(n) || n >= reads)) return `nobody has asked: ${seen}`;
    if (returned > 1) return `the source was closed ${returned} times`;
    // One may have been given out, and not have come.
    const most = seen.length + 1 + this.#options.bufferSize!;
    return reads > most ? `${reads} were read, ${seen.length} have come` : undefined;
  }
}

const ACTS: Partial<Record<Way, Step["act"]>> = {
  throw: "throw",
  exit: "exit",
  timeout: "hang",
  signal: "hang",
};
