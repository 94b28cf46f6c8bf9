import { checkWait } from "@multiprocessing/core/backend";
import type { WaitOptions } from "@multiprocessing/core/errors";
import { clearTimeout, LONGEST, setTimeout } from "../runtime/timers.ts";
import type { RedisConnection } from "./connection.ts";

/** What a wait gives whose time is over. */
export const PENDING: unique symbol = Symbol("pending");

/** What one look at Redis has given. */
export interface Outcome<R> {
  /** For as many of those who asked, from the first on; the others wait. */
  served: R[];
  /**
   * Look again after so many milliseconds, even if nobody says that something has changed; 0: at once,
   * because nobody was turned away.
   */
  again?: number;
}

/** How a {@linkcode Line} is served. */
export interface Service<A, R> {
  /** Where changes are published. */
  readonly channel: string;
  /** So many may ask at once. */
  readonly atOnce: number;
  /** Asks Redis. */
  ask(asked: A[]): Promise<Outcome<R>>;
  /** Takes back what came for someone who waits no more. */
  undo(result: R): Promise<unknown> | undefined;
}

/** Those who wait look by themselves this often, in milliseconds, should a message get lost. */
const LOOK_AGAIN = 1_000;

/** While Redis does not answer, the end of a wait is put off for so long, in milliseconds. */
const GRACE = 2_000;

/** The subscription outlives the last wait by so long, in milliseconds: often the next comes soon. */
const LINGER = 5_000;

interface Entry<A, R> {
  readonly ask: A;
  /** Only looks once. */
  readonly once: boolean;
  /** Redis has been asked for it, and has not answered yet. */
  asked: boolean;
  /** How the wait ends, its time being over, unless the answer that is under way serves it. */
  end: (() => void) | undefined;
  /** Nobody waits any more, but the answer is still to come. */
  abandoned: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
  settle(end: () => void): void;
  resolve(result: R | typeof PENDING): void;
  reject(error: unknown): void;
}

/**
 * Those in this program who wait for one thing, in order of arrival.
 *
 * Only the first ones ask Redis, and only one request is under way. When it serves nobody, all sleep
 * until a change is published. The end of a wait, by time or signal, never cuts a request short whose
 * answer comes at once: then the answer decides. So a wait that fails has taken nothing.
 */
export class Line<A, R> {
  readonly #connection: RedisConnection;
  readonly #service: Service<A, R>;
  #entries: Entry<A, R>[] = [];
  #running = false;
  #changed = false;
  #wake: (() => void) | undefined;
  #unlisten: (() => void) | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(connection: RedisConnection, service: Service<A, R>) {
    this.#connection = connection;
    this.#service = service;
  }

  /**
   * Waits to be served.
   *
   * @param ask What to ask for.
   * @param options Timeout and signal.
   * @returns The result, or `PENDING` when the time is over.
   */
  async wait(ask: A, options?: WaitOptions): Promise<R | typeof PENDING> {
    const timeout = checkWait(options);
    const signal = options?.signal;
    signal?.throwIfAborted();
    return await new Promise((resolve, reject) => {
      const abort = (): void => this.#end(entry, () => reject(signal?.reason));
      const entry: Entry<A, R> = {
        ask,
        once: timeout <= 0,
        asked: false,
        end: undefined,
        abandoned: false,
        timer: undefined,
        settle(end) {
          clearTimeout(this.timer);
          signal?.removeEventListener("abort", abort);
          end();
        },
        resolve,
        reject,
      };
      signal?.addEventListener("abort", abort, { once: true });
      if (timeout > 0 && timeout <= LONGEST) {
        entry.timer = setTimeout(() => this.#end(entry, () => resolve(PENDING)), timeout);
      }
      this.#entries.push(entry);
      if (!this.#running) void this.#run();
      else if (entry.once || this.#entries.length <= this.#service.atOnce) this.#poke();
    });
  }

  /** The time is over, or the signal aborted. */
  #end(entry: Entry<A, R>, end: () => void): void {
    if (entry.end !== undefined) return;
    entry.end = end;
    if (!entry.asked) {
      this.#remove(entry);
      entry.settle(end);
      return this.#poke();
    }
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      entry.abandoned = true;
      entry.settle(end);
    }, GRACE);
  }

  #remove(entry: Entry<A, R>): void {
    this.#entries = this.#entries.filter((other) => other !== entry);
  }

  #poke(): void {
    this.#changed = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#connection.hold();
    clearTimeout(this.#linger);
    while (this.#entries.length > 0) {
      this.#changed = false;
      const again = await this.#round();
      if (again === undefined || this.#entries.length === 0) continue;
      this.#unlisten ??= this.#connection.listen(this.#service.channel, () => this.#poke());
      await this.#sleep(again);
    }
    this.#running = false;
    this.#connection.release();
    if (this.#unlisten === undefined) return;
    this.#linger = setTimeout(() => {
      this.#unlisten?.();
      this.#unlisten = undefined;
    }, LINGER);
    this.#linger.unref();
  }

  /** Asks once, for the first ones. Returns how long to sleep then, undefined if none was turned away. */
  async #round(): Promise<number | undefined> {
    const present = [...this.#entries];
    const asked = present.slice(0, this.#service.atOnce);
    for (const entry of asked) entry.asked = true;
    let outcome: Outcome<R>;
    try {
      outcome = await this.#service.ask(asked.map(({ ask }) => ask));
    } catch (error) {
      // The others would hear the same, one after the other.
      this.#entries = this.#entries.filter((entry) => !present.includes(entry));
      for (const entry of present) if (!entry.abandoned) entry.settle(() => entry.reject(error));
      return undefined;
    }
    const { served, again = LOOK_AGAIN } = outcome;
    const turnedAway = served.length < asked.length && again > 0;
    const over = new Set(asked.slice(0, served.length));
    asked.forEach((entry, index) => {
      entry.asked = false;
      if (index < served.length) {
        const result = served[index]!;
        if (entry.abandoned) this.#service.undo(result)?.catch(() => {});
        else entry.settle(() => entry.resolve(result));
      } else if (entry.abandoned) {
        over.add(entry);
      } else if (entry.end !== undefined) {
        over.add(entry);
        entry.settle(entry.end);
      }
    });
    // As long as all are served that ask, there may be something for those behind them.
    for (const entry of turnedAway ? present : []) {
      if (!entry.once || over.has(entry)) continue;
      over.add(entry);
      entry.settle(() => entry.resolve(PENDING));
    }
    this.#entries = this.#entries.filter((entry) => !over.has(entry));
    return turnedAway ? Math.min(again, LOOK_AGAIN) : undefined;
  }

  /** Sleeps until something changes; does not if it has since the last look. */
  #sleep(ms: number): Promise<void> {
    if (this.#changed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
