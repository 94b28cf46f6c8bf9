import { ProcessError, type WaitOptions } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { DEFAULT_LEASE, type Leased, MIN_LEASE } from "../wire/lease.ts";
import { Line, type Outcome, PENDING } from "../wire/line.ts";
import { LOCK_ACQUIRE, LOCK_LOOK, LOCK_RELEASE, LOCK_RENEW } from "../wire/scripts.ts";
import { checkDuration } from "../wire/duration.ts";
import {
  acquire,
  type Given,
  Guard,
  holding,
  type LeaseOptions,
  type LockGuard,
  serve,
} from "./guard.ts";

interface Acquired extends Given {
  token: number;
}

/**
 * A mutual exclusion lock of all programs of a cluster, by name.
 *
 * **A lease.** It is held for `lease` milliseconds, and renewed by itself while the owner's event loop
 * turns. When the owner dies, another gets it once the lease is over, and its guard says `abandoned`.
 * **Not forever.** An owner that is paused, blocked, or cut off from Redis for longer than the lease
 * loses the lock: its guard's `lost` aborts, and `release()` throws. **Fenced.** It may notice too late:
 * so each acquisition has a token, larger than all before, also after a restart of Redis. A write to a
 * {@linkcode Value} with `{ fence: guard }` is refused once the lock is lost; other stores can keep the
 * largest token that they have seen, and refuse smaller ones.
 *
 * **Not recursive. Not owned**: any program may {@linkcode release} it. **Order.** Those who wait in
 * one program, through one object, get it in order of arrival; among programs there is none.
 *
 * Semantics: the asynchronous half of the core's `Lock`.
 *
 * @example Usage
 * ```ts ignore
 * const lock = new Lock(connection, "report");
 * await lock.use(async (guard) => {
 *   await build({ signal: guard.lost });
 *   await done.set(1, { fence: guard });
 * });
 * ```
 */
export class Lock {
  /** The name. */
  readonly name: string;
  readonly #connection: RedisConnection;
  readonly #lease: number;
  readonly #leased: Leased;
  readonly #line: Line<undefined, Acquired>;

  /**
   * A handle on the lock of that name.
   *
   * @param connection Where it is.
   * @param name Its name: 1 to 200 characters, no control characters.
   * @param options How long the lease is.
   * @throws {RangeError} If the name or the lease is out of range.
   */
  constructor(connection: RedisConnection, name: string, options: LeaseOptions = {}) {
    this.name = checkName("Lock", name);
    this.#connection = connection;
    this.#lease = checkDuration("create Lock", "lease", options.lease ?? DEFAULT_LEASE, MIN_LEASE);
    this.#leased = {
      what: `Lock ${JSON.stringify(name)}`,
      keys: [connection.key("lock", name)],
      renew: LOCK_RENEW,
      release: LOCK_RELEASE,
    };
    this.#line = new Line(connection, {
      channel: connection.key("lock", name),
      atOnce: 1,
      ask: () => this.#ask(),
      undo: ({ owner }) => connection.run(LOCK_RELEASE, this.#leased.keys, [owner]),
    });
  }

  /**
   * Acquires the lock.
   *
   * @param options Timeout and signal.
   * @returns The guard that releases it.
   * @throws {TimeoutError} If `timeout` is over.
   */
  async acquire(options?: WaitOptions): Promise<LockGuard> {
    return this.#guard(await acquire(this.#line, this.#leased.what, options));
  }

  /**
   * Acquires the lock if it is free.
   *
   * @returns The guard that releases it, or null.
   */
  async tryAcquire(): Promise<LockGuard | null> {
    const acquired = await this.#line.wait(undefined, { timeout: 0 });
    return acquired === PENDING ? null : this.#guard(acquired);
  }

  /**
   * Holds the lock while a function runs.
   *
   * @param fn What to run; gets the guard.
   * @param options Timeout and signal of the acquisition.
   * @returns What the function returns.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ProcessError} If the lock was lost meanwhile.
   */
  async use<R>(fn: (guard: LockGuard) => R, options?: WaitOptions): Promise<Awaited<R>> {
    return await holding(await this.acquire(options), fn);
  }

  /**
   * Releases the lock, whoever holds it: its guard says that it is lost, once it is to be renewed.
   *
   * @throws {ProcessError} If nobody holds it.
   */
  async release(): Promise<void> {
    if (await this.#connection.run(LOCK_RELEASE, this.#leased.keys, [""]) === 1) return;
    throw new ProcessError(`Cannot release ${this.#leased.what}: it is not held`);
  }

  /**
   * Tells whether anybody holds the lock.
   *
   * @returns False if it is free, or the owner's lease is over.
   */
  async locked(): Promise<boolean> {
    return await this.#connection.run(LOCK_LOOK, this.#leased.keys, []) === 1;
  }

  async #ask(): Promise<Outcome<Acquired>> {
    const owner = this.#connection.unique();
    const since = performance.now();
    const [acquired, number, abandoned] = await this.#connection.run(
      LOCK_ACQUIRE,
      this.#leased.keys,
      [owner, this.#lease],
    ) as [number, number, number?];
    if (acquired !== 1) return { served: [], again: number };
    const given = { owner, token: number, abandoned: abandoned === 1, since };
    return serve(this.#connection, this.#leased, this.#lease, given);
  }

  #guard(acquired: Acquired): LockGuard {
    const { name } = this;
    const { token } = acquired;
    const guard = new Guard(this.#connection, this.#leased, this.#lease, acquired);
    return Object.assign(guard, { name, token });
  }
}
