/** A pool of a round: its tasks, their deaths, and whether each call came to what it should. */

import { ClosedError, EncodingError, ProcessLostError, TimeoutError } from "../../errors.ts";
import { Pool, type TaskOptions } from "../../pool.ts";
import { SharedArray } from "../../shared.ts";
import type { Lock } from "../../sync.ts";
import { type Call, SETTLE_MS, settled, show } from "./calls.ts";
import { STEPPED } from "./dying.ts";
import { iterate, MANY_ITEMS } from "./iterations.ts";
import { lendPipe } from "./lending.ts";
import { arm, die, dieWith, fail, hang, square, uncloneable } from "./pool_tasks.ts";
import type { Random } from "./random.ts";

const KINDS = [
  "square",
  "square",
  "square",
  "map",
  "fail",
  "die",
  "dieWith",
  "timeout",
  "signal",
  "grace",
  "uncloneable",
  "unsendable",
  "iterate",
  "iterate",
  "iterate",
  "lend",
  "lend",
  "arm",
  "arm",
] as const;

/** How much happens in a pool. */
export interface PoolSize {
  /** So many calls at least, and fewer than so many more. */
  least: number;
  more: number;
  /** Whether it may be left open, with all that it was given. */
  mayLeave: boolean;
}

/** Places for notes of what has run: enough for a pool whose calls are all long iterations. */
const PLACES = 16 * MANY_ITEMS;

/** A pool at work. */
export class PoolRound {
  readonly #random: Random;
  readonly #report: (message: string) => void;
  readonly #lock: Lock;
  readonly #runs = new SharedArray("i32", PLACES, { lock: false });
  readonly #pool: Pool;
  readonly #size: PoolSize;
  readonly #end: "close" | "terminate" | "leave";
  #places = 0;
  #armed = 0;
  /** Calls that were lost with a worker that was armed by another call. */
  #lost = 0;

  constructor(random: Random, lock: Lock, report: (message: string) => void, size: PoolSize) {
    this.#random = random;
    this.#lock = lock;
    this.#report = report;
    this.#size = size;
    this.#end = random.chance(0.3) ? "terminate" : "close";
    if (size.mayLeave && random.chance(0.4)) this.#end = "leave";
    const maxTasksPerChild = random.pick([undefined, undefined, 3]);
    const processes = 1 + random.below(3);
    this.#pool = new Pool(
      maxTasksPerChild === undefined ? { processes } : { processes, maxTasksPerChild },
    );
  }

  /**
   * Calls, ends the pool, and judges.
   *
   * @param amid Called when all calls have been made.
   */
  async run(amid?: () => Promise<void>): Promise<void> {
    const calls: Call[] = [];
    for (let i = this.#size.least + this.#random.below(this.#size.more); i > 0; i--) {
      calls.push(this.#call(this.#random.pick(KINDS)));
      // Whatever comes of it is looked at below.
      calls.at(-1)!.promise.catch(() => {});
    }
    await amid?.();
    const pool = this.#pool;
    if (this.#end === "leave") return;
    if (this.#end === "terminate") {
      await new Promise((resolve) => setTimeout(resolve, this.#random.below(300)));
      void pool.terminate();
    } else {
      pool.close();
    }
    for (const call of calls) await this.#judge(call);
    if (!await pool.join({ timeout: SETTLE_MS })) this.#report("Pool.join() does not settle");
    if (this.#lost > this.#armed) {
      this.#report(`${this.#lost} tasks were lost with ${this.#armed} workers`);
    }
    const { queued, running } = pool.stats();
    if (queued + running > 0) this.#report(`the pool has ${queued} + ${running} tasks left`);
    const twice = this.#runs.slice().filter((runs) => runs > 1);
    if (twice.length > 0) this.#report(`tasks ran more than once: ${twice}`);
  }

  async #judge({ what, promise, judge, wrong }: Call): Promise<void> {
    const found = await settled(promise);
    if (found === "late") return this.#report(`pool task ${what} does not settle`);
    const { error } = found;
    const words = wrong?.();
    if (words !== undefined) this.#report(`pool task ${what}: ${words}; it came to ${show(found)}`);
    if (judge(found)) return;
    if (this.#end === "terminate" && error instanceof ClosedError) return;
    // Its worker had been armed by another task.
    if (error instanceof ProcessLostError && error.exitCode === STEPPED) {
      this.#lost++;
      return;
    }
    this.#report(`pool task ${what} came to ${show(found)}`);
  }

  #call(kind: typeof KINDS[number]): Call {
    const pool = this.#pool;
    const random = this.#random;
    const n = random.below(100);
    const runs = this.#runs;
    switch (kind) {
      case "square":
        return {
          what: kind,
          promise: pool.apply(square, [n, runs, this.#places++]),
          judge: ({ value }) => value === n * n,
        };
      case "map": {
        const numbers = Array.from({ length: 1 + random.below(8) }, (_, i) => i);
        const inputs = numbers.map((i): [number, typeof runs, number] => [i, runs, this.#places++]);
        return {
          what: kind,
          promise: pool.starmap(square, inputs),
          judge: ({ value }) =>
            Array.isArray(value) && value.length === numbers.length &&
            value.every((each, i) => each === i * i),
        };
      }
      case "fail":
        return {
          what: kind,
          promise: pool.apply(fail, [n]),
          judge: ({ error }) => error instanceof RangeError && error.message === `chaos ${n}`,
        };
      case "die":
        return {
          what: kind,
          promise: pool.apply(die, [n]),
          judge: ({ error }) => error instanceof ProcessLostError && error.exitCode === n,
        };
      case "dieWith":
        return {
          what: kind,
          promise: pool.apply(dieWith, [this.#lock]),
          judge: ({ error }) => error instanceof ProcessLostError && error.exitCode === 5,
        };
      case "timeout":
        return {
          what: kind,
          promise: pool.apply(hang, [false], { timeout: 1 + n }),
          judge: ({ error }) => error instanceof TimeoutError,
        };
      case "signal":
        return this.#abort(kind, [false], {}, n);
      case "grace":
        return this.#abort(kind, [n % 2 === 0], { grace: 50 }, n);
      case "uncloneable":
        return {
          what: kind,
          promise: pool.apply(uncloneable),
          judge: ({ error }) => error instanceof EncodingError,
        };
      case "unsendable":
        return {
          what: kind,
          promise: pool.apply(hang, [(() => {}) as never]),
          judge: ({ error }) => error instanceof EncodingError,
        };
      case "iterate":
        return iterate(pool, random, runs, () => this.#places++);
      case "lend":
        return lendPipe(pool, n);
      case "arm":
        this.#armed++;
        return {
          what: kind,
          promise: pool.apply(arm, [random.below(random.pick([10, 100]))]),
          judge: ({ value }) => value === "armed",
        };
    }
  }

  #abort(what: string, args: [boolean], options: TaskOptions, ms: number): Call {
    const controller = new AbortController();
    const reason = new Error("chaos: aborted");
    setTimeout(() => controller.abort(reason), ms);
    return {
      what,
      promise: this.#pool.apply(hang, args, { ...options, signal: controller.signal }),
      judge: ({ error }) => error === reason,
    };
  }
}
