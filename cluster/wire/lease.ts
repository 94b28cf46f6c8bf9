import { ProcessError } from "@multiprocessing/core/errors";
import { clearTimeout, setTimeout, within } from "../runtime/timers.ts";
import type { RedisConnection } from "./connection.ts";
import type { Script } from "./scripts.ts";

/** How long a lease is, unless the user says otherwise, in milliseconds. */
export const DEFAULT_LEASE = 10_000;

/** Shorter ones lapse by a pause of the garbage collector. */
export const MIN_LEASE = 100;

/** It is renewed when such a part of it is over. */
const RENEWAL = 1 / 3;

/** A renewal that has failed is tried again after such a part of it. */
const RETRY = 1 / 20;

/** What a lease is on. */
export interface Leased {
  /** What the user calls it, such as `Lock "a"`. */
  readonly what: string;
  /** Where the scripts find it. */
  readonly keys: string[];
  /** Takes keys, owner and milliseconds; answers 0 if it has lapsed. */
  readonly renew: Script;
  /** Takes keys and owner; answers 0 if it has lapsed. */
  readonly release: Script;
}

/**
 * Something that is held for a time, and held on to by renewing.
 *
 * It counts as lost as soon as its time is over by the clock of this program, counted from before the
 * request: Redis then may, or will at once, give it to another.
 */
export class Lease {
  readonly #connection: RedisConnection;
  readonly #leased: Leased;
  readonly #owner: string;
  readonly #length: number;
  readonly #lost = new AbortController();
  #until: number;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #end: ReturnType<typeof setTimeout> | undefined;
  #released = false;

  /**
   * Begins to renew it.
   *
   * @param connection Where it is.
   * @param leased What it is on.
   * @param owner Who has it.
   * @param length How long it lasts, in milliseconds.
   * @param since When it was asked for, by `performance.now()`.
   */
  constructor(
    connection: RedisConnection,
    leased: Leased,
    owner: string,
    length: number,
    since: number,
  ) {
    this.#connection = connection;
    this.#leased = leased;
    this.#owner = owner;
    this.#length = length;
    this.#until = since + length;
    this.#schedule(RENEWAL);
  }

  /** Aborts when it is lost; looks at the clock, should timers be late. */
  get lost(): AbortSignal {
    if (!this.#released && performance.now() >= this.#until) this.#lose();
    return this.#lost.signal;
  }

  /**
   * Gives it back. Does nothing the second time.
   *
   * @throws {ProcessError} If it is lost.
   */
  async release(): Promise<void> {
    if (this.#released) return;
    const { aborted } = this.lost;
    this.#released = true;
    this.#stop();
    // Even if it seems lost: Redis may be slower to think so.
    const { keys, release, what } = this.#leased;
    const released = await this.#connection.run(release, keys, [this.#owner]);
    if (!aborted && released === 1) return;
    throw aborted ? this.#lost.signal.reason : lostError(what, this.#length);
  }

  /** Renews it after a part of its length. */
  #schedule(part: number): void {
    this.#stop();
    this.#end = setTimeout(() => this.lost, within(this.#until - performance.now()));
    this.#end.unref();
    this.#renewal = setTimeout(() => void this.#renew(), within(this.#length * part));
    this.#renewal.unref();
  }

  async #renew(): Promise<void> {
    const { keys, renew } = this.#leased;
    const since = performance.now();
    let renewed: unknown;
    try {
      renewed = await this.#connection.run(renew, keys, [this.#owner, this.#length]);
    } catch {
      // Redis cannot be reached, or cannot write; as long as the lease lasts, that may pass.
    }
    if (this.#released || this.#lost.signal.aborted) return;
    if (renewed === undefined) return this.#schedule(RETRY);
    if (renewed !== 1) return this.#lose();
    this.#until = since + this.#length;
    this.#schedule(RENEWAL);
  }

  #lose(): void {
    if (this.#lost.signal.aborted) return;
    this.#stop();
    this.#lost.abort(lostError(this.#leased.what, this.#length));
  }

  #stop(): void {
    clearTimeout(this.#end);
    clearTimeout(this.#renewal);
  }
}

function lostError(what: string, lease: number): ProcessError {
  return new ProcessError(
    `${what} is lost: its lease of ${lease} ms was not renewed in time, or somebody has released it; ` +
      "another may hold it since",
  );
}
