import { TimeoutError, type WaitOptions } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { Lease, type Leased } from "../wire/lease.ts";
import { type Line, type Outcome, PENDING } from "../wire/line.ts";

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

/** A lease that Redis has given. */
export interface Given {
  owner: string;
  abandoned: boolean;
  /** When it was asked for, by `performance.now()`. */
  since: number;
}

/** A lease, as its owner sees it. */
export class Guard implements LeaseGuard {
  readonly abandoned: boolean;
  readonly #lease: Lease;

  /** Begins to renew it. */
  constructor(connection: RedisConnection, leased: Leased, length: number, given: Given) {
    this.#lease = new Lease(connection, leased, given.owner, length, given.since);
    this.abandoned = given.abandoned;
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

/** Waits for a lease. */
export async function acquire<G extends Given>(
  line: Line<undefined, G>,
  what: string,
  options: WaitOptions | undefined,
): Promise<G> {
  const given = await line.wait(undefined, options);
  if (given !== PENDING) return given;
  throw new TimeoutError(`Cannot acquire ${what}: it was not free within ${options?.timeout} ms`);
}

/** Serves who has asked for a lease; unless the answer came late, by a broken connection. */
export async function serve<G extends Given>(
  connection: RedisConnection,
  leased: Leased,
  length: number,
  given: G,
): Promise<Outcome<G>> {
  if (performance.now() - given.since < length) return { served: [given] };
  // It may be over: whoever acts on it might not be alone.
  await connection.run(leased.release, leased.keys, [given.owner]);
  return { served: [], again: 0 };
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
