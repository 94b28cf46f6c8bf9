/** A pool of a round: its tasks, their deaths, and whether each call came to what it should. */

import { ClosedError, EncodingError, ProcessLostError, TimeoutError } from "../../errors.ts";
import { Pool, type TaskOptions } from "../../pool.ts";
import { SharedArray } from "../../shared.ts";
import type { Lock } from "../../sync.ts";
import { STEPPED } from "./dying.ts";
import { arm, die, dieWith, fail, hang, square, uncloneable } from "./pool_tasks.ts";
import type { Random } from "./random.ts";

/** What came of a call. */
interface Settled {
  value?: unknown;
  error?: unknown;
}

/** A call, and what is wrong with what came of it; undefined if nothing is. */
interface Call {
  what: string;
  promise: Promise<unknown>;
  judge: (settled: Settled) => boolean;
}

const SETTLE_MS = 60_000;

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
  "arm",
  "arm",
] as const;

/** A pool at work. */
export class PoolRound {
  readonly #random: Random;
  readonly #report: (message: string) => void;
  readonly #lock: Lock;
  readonly #runs = new SharedArray("i32", 200, { lock: false });
  readonly #pool: Pool;
  readonly #terminates: boolean;
  #places = 0;
  #armed = 0;
  /** Calls that were lost with a worker that was armed by another call. */
  #lost = 0;

  constructor(random: Random, lock: Lock, report: (message: string) => void) {
    this.#random = random;
    this.#lock = lock;
    this.#report = report;
    this.#terminates = random.chance(0.3);
    const maxTasksPerChild = random.pick([undefined, undefined, 3]);
    const processes = 1 + random.below(3);
    this.#pool = new Pool(
      maxTasksPerChild === undefined ? { processes } : { processes, maxTasksPerChild },
    );
  }

  /** Calls, ends the pool, and judges. */
  async run(): Promise<void> {
    const calls: Call[] = [];
    for (let i = 6 + this.#random.below(8); i > 0; i--) {
      calls.push(this.#call(this.#random.pick(KINDS)));
      // Whatever comes of it is looked at below.
      calls.at(-1)!.promise.catch(() => {});
    }
    const pool = this.#pool;
    if (this.#terminates) {
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
    const most = Math.max(...this.#runs);
    if (most > 1) this.#report(`a task ran ${most} times`);
  }

  async #judge({ what, promise, judge }: Call): Promise<void> {
    let timer;
    const late = new Promise<"late">((resolve) => timer = setTimeout(resolve, SETTLE_MS, "late"));
    const settled: Promise<Settled> = promise.then((value) => ({ value }), (error) => ({ error }));
    const found = await Promise.race([settled, late]);
    clearTimeout(timer);
    if (found === "late") return this.#report(`pool task ${what} does not settle`);
    if (judge(found)) return;
    const { error } = found;
    if (this.#terminates && error instanceof ClosedError) return;
    // Its worker had been armed by another task.
    if (error instanceof ProcessLostError && error.exitCode === STEPPED) {
      this.#lost++;
      return;
    }
    const text = error instanceof Error ? error.stack : JSON.stringify(found);
    this.#report(`pool task ${what} came to ${text}`);
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
