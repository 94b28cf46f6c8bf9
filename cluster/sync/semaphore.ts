import type { WaitOptions } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { DEFAULT_LEASE, type Leased, MIN_LEASE } from "../wire/lease.ts";
import { Line, type Outcome, PENDING } from "../wire/line.ts";
import {
  SEMAPHORE_ACQUIRE,
  SEMAPHORE_LOOK,
  SEMAPHORE_RELEASE,
  SEMAPHORE_RENEW,
} from "../wire/scripts.ts";
import { checkDuration } from "../wire/duration.ts";
import {
  acquire,
  type Given,
  Guard,
  holding,
  type LeaseGuard,
  type LeaseOptions,
  serve,
} from "./guard.ts";

/** Options of a cluster's {@linkcode Semaphore}. */
export interface SemaphoreOptions extends LeaseOptions {
  /**
   * How many permits it has; the same for all who use it.
   *
   * @default {1}
   */
  value?: number;
}

/**
 * A number of permits that the programs of a cluster take and give back, by name.
 *
 * **Leases.** A permit is held as a {@linkcode Lock} is: renewed while its holder lives, and back when
 * the lease of a dead one is over; the next who acquires is told `abandoned`. **Bounded.** Permits come
 * back through their guards only, so there are never more than `value`: for signals that count, use a
 * queue. **Order.** As of a Lock.
 *
 * Semantics: the asynchronous half of the core's `BoundedSemaphore`.
 *
 * @example Usage
 * ```ts ignore
 * const downloads = new Semaphore(connection, "downloads", { value: 4 });
 * await downloads.use(() => download(url));
 * ```
 */
export class Semaphore {
  /** The name. */
  readonly name: string;
  readonly #connection: RedisConnection;
  readonly #value: number;
  readonly #lease: number;
  readonly #leased: Leased;
  readonly #line: Line<undefined, Given>;

  /**
   * A handle on the semaphore of that name.
   *
   * @param connection Where it is.
   * @param name Its name: 1 to 200 characters, no control characters.
   * @param options How many permits, and how long the lease is.
   * @throws {RangeError} If one of them is out of range.
   */
  constructor(connection: RedisConnection, name: string, options: SemaphoreOptions = {}) {
    const { value = 1, lease = DEFAULT_LEASE } = options;
    this.name = checkName("Semaphore", name);
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(
        `Cannot create Semaphore: 'value' must be an integer >= 1, but is ${value}`,
      );
    }
    this.#connection = connection;
    this.#value = value;
    this.#lease = checkDuration("create Semaphore", "lease", lease, MIN_LEASE);
    this.#leased = {
      what: `Semaphore ${JSON.stringify(name)}`,
      keys: [connection.key("semaphore", name), connection.key("semaphore-value", name)],
      renew: SEMAPHORE_RENEW,
      release: SEMAPHORE_RELEASE,
    };
    this.#line = new Line(connection, {
      channel: connection.key("semaphore", name),
      atOnce: 1,
      ask: () => this.#ask(),
      undo: ({ owner }) => connection.run(SEMAPHORE_RELEASE, this.#leased.keys, [owner]),
    });
  }

  /**
   * Takes a permit, waiting for one if there is none.
   *
   * @param options Timeout and signal.
   * @returns The guard that gives it back.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {RangeError} If others use it with another `value`.
   */
  async acquire(options?: WaitOptions): Promise<LeaseGuard> {
    return this.#guard(await acquire(this.#line, this.#leased.what, options));
  }

  /**
   * Takes a permit if there is one.
   *
   * @returns The guard that gives it back, or null.
   * @throws {RangeError} If others use it with another `value`.
   */
  async tryAcquire(): Promise<LeaseGuard | null> {
    const permit = await this.#line.wait(undefined, { timeout: 0 });
    return permit === PENDING ? null : this.#guard(permit);
  }

  /**
   * Holds a permit while a function runs.
   *
   * @param fn What to run; gets the guard.
   * @param options Timeout and signal of the acquisition.
   * @returns What the function returns.
   * @throws {TimeoutError} If `timeout` is over.
   * @throws {ProcessError} If the permit was lost meanwhile.
   */
  async use<R>(fn: (guard: LeaseGuard) => R, options?: WaitOptions): Promise<Awaited<R>> {
    return await holding(await this.acquire(options), fn);
  }

  /**
   * The permits that can be taken.
   *
   * @returns Those that nobody holds whose lease is not over.
   */
  async getValue(): Promise<number> {
    const [holders] = this.#leased.keys as [string];
    return await this.#connection.run(SEMAPHORE_LOOK, [holders], [this.#value]) as number;
  }

  async #ask(): Promise<Outcome<Given>> {
    const owner = this.#connection.unique();
    const since = performance.now();
    const [acquired, number] = await this.#connection.run(
      SEMAPHORE_ACQUIRE,
      this.#leased.keys,
      [owner, this.#lease, this.#value],
    ) as [number, number];
    if (acquired === -1) {
      throw new RangeError(
        `Cannot acquire ${this.#leased.what}: others use it with ${number} permits, ` +
          `but here it has ${this.#value}`,
      );
    }
    if (acquired !== 1) return { served: [], again: number };
    const given = { owner, abandoned: number === 1, since };
    return serve(this.#connection, this.#leased, this.#lease, given);
  }

  #guard(permit: Given): LeaseGuard {
    return new Guard(this.#connection, this.#leased, this.#lease, permit);
  }
}
