/** Pools whose workers are initialized: or throw, die or stay in that, the first, or a later one. */

import { ClosedError, EncodingError, ProcessLostError } from "../../errors.ts";
import { Pool, type PoolOptions } from "../../pool.ts";
import { SharedArray, Value } from "../../shared.ts";
import { type Call, SETTLE_MS, type Settled, settled, show } from "./calls.ts";
import { STEPPED } from "./dying.ts";
import { armFirst, begin, failAt, never, readKey, rejects, throws } from "./initializer_tasks.ts";
import { die } from "./pool_tasks.ts";
import type { Random } from "./random.ts";

const WAYS = [
  "begins",
  "begins",
  "throws",
  "rejects",
  "exits",
  "exits",
  "failsLater",
  "failsLater",
  "steps",
  "never",
  "missing",
] as const;

type Way = typeof WAYS[number];

type Report = (message: string) => void;

const MISSING = new URL("./missing.ts", import.meta.url);

/** The exit code of a task that ends its worker. */
const TASK_EXIT = 9;

/** How far a worker's place is from the next one's with the same place: more than there are in a round. */
const PLACES = 4096;

/** Makes a pool with an initializer, calls tasks, ends it, and judges. */
export async function runInitialized(random: Random, report: Report): Promise<void> {
  refuseUnsendable(report);
  await new Initialized(random, report).run();
}

/** What cannot be sent is refused before there is a worker. */
function refuseUnsendable(report: Report): void {
  try {
    new Pool({ processes: 1, initializer: begin as never, initargs: [{ fn: () => {} }] });
  } catch (error) {
    if (!(error instanceof EncodingError)) report(`new Pool() threw ${error}`);
    return;
  }
  report("a function was sent to an initializer");
}

class Initialized {
  readonly #random: Random;
  readonly #report: Report;
  readonly #way: Way;
  readonly #key: number;
  readonly #code: number;
  /** The worker whose initializer throws, if one's does. */
  readonly #at: number;
  readonly #terminates: boolean;
  readonly #begun = new SharedArray("i32", PLACES, { lock: false });
  readonly #count = new Value("i32");
  readonly #pool: Pool;

  constructor(random: Random, report: Report) {
    this.#random = random;
    this.#report = report;
    this.#way = random.pick(WAYS);
    this.#key = random.below(1000);
    this.#code = random.below(4);
    this.#at = random.below(4);
    this.#terminates = this.#way === "never" || random.chance(0.2);
    this.#pool = new Pool({ processes: 1 + random.below(2), ...this.#initializer() });
  }

  async run(): Promise<void> {
    const random = this.#random;
    const pool = this.#pool;
    const calls = Array.from({ length: 2 + random.below(5) }, () => this.#call());
    for (const { promise } of calls) promise.catch(() => {});
    if (this.#terminates) {
      await new Promise((resolve) => setTimeout(resolve, random.below(200)));
      void pool.terminate();
    } else if (random.chance(0.5)) pool.close();
    for (const call of calls) await this.#judge(call);
    // After the end, or after it has broken.
    const late = this.#call();
    late.promise.catch(() => {});
    pool.close();
    await this.#judge({ ...late, judge: (found) => late.judge(found) || isClosed(found) });
    if (!await pool.join({ timeout: SETTLE_MS })) this.#say("join() does not settle");
    this.#judgePool();
  }

  #initializer(): PoolOptions {
    switch (this.#way) {
      case "begins":
        return { initializer: begin as never, initargs: [this.#begun, this.#key] };
      case "throws":
        return { initializer: throws as never, initargs: [this.#key] };
      case "rejects":
        return { initializer: rejects as never, initargs: [this.#key] };
      case "exits":
        return { initializer: die as never, initargs: [this.#code] };
      case "failsLater":
        return {
          initializer: failAt as never,
          initargs: [this.#count, this.#at, this.#key],
          // Each task has a worker of its own: so there are later ones.
          maxTasksPerChild: 1,
        };
      case "steps": {
        const steps = this.#random.below(this.#random.pick([10, 100]));
        return { initializer: armFirst as never, initargs: [this.#count, steps, this.#key] };
      }
      case "never":
        return { initializer: never };
      case "missing":
        return { initializer: { module: MISSING, name: "nothing" } };
    }
  }

  #call(): Call {
    const pool = this.#pool;
    const random = this.#random;
    const key = this.#key;
    const kind = random.pick(["apply", "apply", "map", "imap", "die"] as const);
    const isAll = (values: unknown) =>
      Array.isArray(values) && values.length === 3 && values.every((value) => value === key);
    switch (kind) {
      case "apply":
        return this.#bound(kind, pool.apply(readKey), ({ value }) => value === key);
      case "map":
        return this.#bound(kind, pool.map(readKey, [1, 2, 3]), ({ value }) => isAll(value));
      case "imap":
        return this.#bound(kind, readAll(pool), ({ value }) => isAll(value));
      case "die":
        return this.#bound(
          kind,
          pool.apply(die, [TASK_EXIT]),
          ({ error }) => error instanceof ProcessLostError && error.exitCode === TASK_EXIT,
        );
    }
  }

  /** A call that comes to what it should, or to what its pool's initializer has come to. */
  #bound(what: string, promise: Promise<unknown>, judge: Call["judge"]): Call {
    const isWell = ["begins", "failsLater", "steps"].includes(this.#way);
    return { what, promise, judge: (found) => isWell && judge(found) || this.#isBroken(found) };
  }

  #isBroken({ error }: Settled): boolean {
    const isLost = (code: number) => error instanceof ProcessLostError && error.exitCode === code;
    switch (this.#way) {
      case "throws":
      case "rejects":
      case "failsLater":
        return error instanceof RangeError && error.message === `chaos ${this.#key}`;
      case "exits":
        return isLost(this.#code);
      case "steps":
        return isLost(STEPPED);
      case "missing":
        return error instanceof Error && !isClosed({ error }) && String(error).includes("missing");
      case "begins":
      case "never":
        return false;
    }
  }

  async #judge({ what, promise, judge }: Call): Promise<void> {
    const found = await settled(promise);
    if (found === "late") return this.#say(`${what} does not settle`);
    if (judge(found) || this.#terminates && isClosed(found)) return;
    this.#say(`${what} came to ${show(found)}`);
  }

  #judgePool(): void {
    const { queued, running, size, replaced } = this.#pool.stats();
    if (queued + running > 0) this.#say(`it has ${queued} + ${running} tasks left`);
    const begun = this.#begun.slice();
    if (Math.max(...begun) > 1) this.#say("a worker was initialized twice");
    const all = begun.reduce((sum, count) => sum + count, 0);
    if (all > size + replaced) {
      this.#say(`${size} + ${replaced} workers were initialized ${all} times`);
    }
    // Of two workers, the other may be replaced before the pool hears of this one.
    if (this.#way === "failsLater" && size === 1 && this.#count.value > this.#at + 1) {
      this.#say(`it went on when that of worker ${this.#at} had thrown`);
    }
  }

  #say(words: string): void {
    this.#report(`a pool whose initializer ${this.#way}: ${words}`);
  }
}

async function readAll(pool: Pool): Promise<number[]> {
  const seen: number[] = [];
  for await (const value of pool.imap(readKey, [1, 2, 3])) seen.push(value);
  return seen;
}

function isClosed({ error }: Settled): boolean {
  return error instanceof ClosedError;
}
