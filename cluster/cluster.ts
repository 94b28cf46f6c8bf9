/**
 * Pools on more than one machine, and primitives that the programs of a cluster share by name.
 *
 * A {@linkcode Cluster} is a Redis and a name. It is what `new Pool({ backend })` takes; its locks,
 * values and queues are those of every program that uses the same Redis and the same name.
 *
 * @module
 */

import {
  type Backend,
  type BackendOptions,
  type PoolBackend,
  setDefaultBackend,
} from "@multiprocessing/core/backend";
import { ClusterBackend } from "./pool/backend.ts";
import { type ClusterOptions, settle, type Settled } from "./pool/options.ts";
import { Queue, type QueueOptions } from "./queue/queue.ts";
import { variable } from "./runtime/host.ts";
import { Value } from "./shared/value.ts";
import { Event, type KeepOptions } from "./sync/event.ts";
import type { LeaseOptions } from "./sync/guard.ts";
import { Lock } from "./sync/lock.ts";
import { Semaphore, type SemaphoreOptions } from "./sync/semaphore.ts";
import { RedisConnection } from "./wire/connection.ts";
import { DAEMON_VARIABLE, NAME_VARIABLE, URL_VARIABLE } from "./wire/variables.ts";

export type { ClusterOptions };

/**
 * The machines whose daemons use the same Redis and the same name.
 *
 * @example A pool
 * ```ts ignore
 * import { Pool } from "@multiprocessing/core";
 * import { cluster } from "@multiprocessing/cluster";
 * import { thumbnail } from "./thumbnail.ts";
 *
 * await using pool = new Pool({ backend: cluster("redis://10.0.0.5:6379") });
 * await pool.map(thumbnail, paths);
 * ```
 */
export class Cluster implements PoolBackend, AsyncDisposable {
  /** Its name. */
  readonly name: string;
  readonly #url: string | URL;
  readonly #settled: Settled;
  #shared: RedisConnection | undefined;

  /**
   * Connects to nothing yet.
   *
   * @param url `redis://host:6379`, `rediss://user:password@host` over TLS, or `unix:///path`.
   * @param options Name, root, and how patient to be.
   * @throws {TypeError} If the URL is none of these.
   * @throws {RangeError} If an option is out of range.
   */
  constructor(url: string | URL, options: ClusterOptions = {}) {
    this.#url = url;
    this.#settled = settle(url, options);
    this.name = this.#settled.name;
  }

  /** Opens the cluster's half of a pool: `new Pool({ backend })` calls it. */
  open(options: BackendOptions): Backend {
    return new ClusterBackend(this.#settled, options);
  }

  /** The {@linkcode Lock} of that name. */
  lock(name: string, options?: LeaseOptions): Lock {
    return new Lock(this.#connection(), name, options);
  }

  /** The {@linkcode Semaphore} of that name. */
  semaphore(name: string, options?: SemaphoreOptions): Semaphore {
    return new Semaphore(this.#connection(), name, options);
  }

  /** The {@linkcode Event} of that name. */
  event(name: string, options?: KeepOptions): Event {
    return new Event(this.#connection(), name, options);
  }

  /** The {@linkcode Value} of that name, and what it is as long as nobody has written it. */
  value(name: string, initial?: number, options?: KeepOptions): Value {
    return new Value(this.#connection(), name, initial, options);
  }

  /** The {@linkcode Queue} of that name. */
  queue<T = unknown>(name: string, options?: QueueOptions): Queue<T> {
    return new Queue<T>(this.#connection(), name, options);
  }

  /** Closes the connection of the primitives: what waits for one rejects. Pools are closed by themselves. */
  async close(): Promise<void> {
    await this.#shared?.close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** All primitives share one. */
  #connection(): RedisConnection {
    const { name, patience } = this.#settled;
    return this.#shared ??= new RedisConnection(this.#url, { name, patience });
  }
}

/**
 * Makes a {@linkcode Cluster}.
 *
 * @param url Where its Redis is; by default what `MULTIPROCESSING_CLUSTER_URL` says. Within a task that a
 * daemon runs, that is the daemon's own.
 * @param options Name, root, and how patient to be.
 * @returns It; connects to nothing yet.
 * @throws {TypeError} If there is no URL, or it is none.
 * @throws {RangeError} If an option is out of range.
 */
export function cluster(
  url: string | URL | undefined = variable(URL_VARIABLE),
  options: ClusterOptions = {},
): Cluster {
  if (url === undefined) {
    throw new TypeError(
      `Cannot use cluster: there is no URL; pass one, such as redis://host:6379, or set ${URL_VARIABLE}`,
    );
  }
  const name = variable(NAME_VARIABLE);
  return new Cluster(url, { ...name !== undefined && { name }, ...options });
}

if (variable(URL_VARIABLE) !== undefined && variable(DAEMON_VARIABLE) === undefined) {
  setDefaultBackend(cluster());
}
