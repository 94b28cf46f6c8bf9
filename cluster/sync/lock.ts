import { ProcessError, TimeoutError, type WaitOptions } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { DEFAULT_LEASE, Lease, type Leased, MIN_LEASE } from "../wire/lease.ts";
import { Line, type Outcome, PENDING } from "../wire/line.ts";
import { LOCK_ACQUIRE, LOCK_LOOK, LOCK_RELEASE, LOCK_RENEW } from "../wire/scripts.ts";
import { checkDuration } from "../wire/timeout.ts";

/** Options of a cluster's {@linkcode Lock} and {@linkcode Semaphore}. */
export interface LeaseOptions {
  /**
   * For how long it is held without a sign of life, in milliseconds, at least 100. While held it is
   * renewed every third of this.
   *
   * @default {10_000}
   */
  lease?: number;
}

/**
 * What proves that a lock is held: a guard, or its two properties, which can be sent to whoever writes
 * on the owner's behalf.
 */
export interface Fence {
  /** The lock's name. */
  readonly name: string;
  /** Which acquisition of the lock it is. */
  readonly token: number;
}

/** What acquiring a lease returns: gives it back once, by `await using` or by hand. */
export interface LeaseGuard extends AsyncDisposable {
  /** Whether an owner before has let its lease lapse; what it protects may be half-changed. */
  readonly abandoned: boolean;
  /**
   * Aborts when the lease is lost: stop what needs it. Reading it looks at the clock, so
   * `guard.lost.aborted` is right even just after this program was paused.
   */
  readonly lost: AbortSignal;
  /**
   * Gives it back. Harmless after the first time.
   *
   * @throws {ProcessError} If it was lost before: what was done under it was not done alone.
   */
  release(): Promise<void>;
}

/** What acquiring a cluster's {@linkcode Lock} returns. */
export interface LockGuard extends LeaseGuard, Fence {}

interface Acquired {
  owner: string;
  token: number;
  abandoned: boolean;
  since: number;
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
    const acquired = await this.#line.wait(undefined, options);
    if (acquired !== PENDING) return this.#guard(acquired);
    throw new TimeoutError(
      `Cannot acquire ${this.#leased.what}: it was not free within ${options?.timeout} ms`,
    );
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
    if (performance.now() - since >= this.#lease) {
      // The answer came late, by a broken connection: the lease may be over.
      await this.#connection.run(LOCK_RELEASE, this.#leased.keys, [owner]);
      return { served: [], again: 0 };
    }
    return { served: [{ owner, token: number, abandoned: abandoned === 1, since }] };
  }

  #guard({ owner, token, abandoned, since }: Acquired): LockGuard {
    const lease = new Lease(this.#connection, this.#leased, owner, this.#lease, since);
    return new Guard(lease, abandoned, this.name, token);
  }
}

/** A lease, as its owner sees it. */
class Guard implements LockGuard {
  readonly name: string;
  readonly token: number;
  readonly abandoned: boolean;
  readonly #lease: Lease;

  constructor(lease: Lease, abandoned: boolean, name: string, token: number) {
    this.#lease = lease;
    this.abandoned = abandoned;
    this.name = name;
    this.token = token;
  }

  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  release(): Promise<void> {
    return this.#lease.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/**
 * Runs a function, then gives the lease back. An error of the function comes before that of a loss,
 * which most often is its cause.
 */
export async function holding<G extends LeaseGuard, R>(
  guard: G,
  fn: (guard: G) => R,
): Promise<Awaited<R>> {
  let result: Awaited<R>;
  try {
    result = await fn(guard);
  } catch (error) {
    await guard.release().catch(() => {});
    throw error;
  }
  await guard.release();
  return result;
}
