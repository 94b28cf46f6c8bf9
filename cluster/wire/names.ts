/**
 * Where things lie in Redis. All keys of a cluster have the same hash tag, so that scripts may touch
 * several of them also where Redis is itself a cluster.
 *
 * @module
 */

/** The keys and channels of a cluster. */
export class Names {
  /** What BullMQ's own keys begin with. */
  readonly bull: string;
  /** Hash: pool → {@linkcode PoolRecord}. */
  readonly pools: string;
  /** Hash: daemon → {@linkcode NodeRecord}. */
  readonly nodes: string;
  /** Channel: the pools have changed. */
  readonly wake: string;
  readonly #prefix: string;

  /** @param cluster The cluster's name. */
  constructor(cluster: string) {
    this.#prefix = `mp:{${cluster}}:`;
    this.bull = `${this.#prefix}bull`;
    this.pools = `${this.#prefix}pools`;
    this.nodes = `${this.#prefix}nodes`;
    this.wake = `${this.#prefix}wake`;
  }

  /** The queue of a pool, as BullMQ calls it. */
  queue(pool: string): string {
    return `pool-${pool}`;
  }

  /** String that expires when the pool's client is gone. */
  lease(pool: string): string {
    return `${this.#prefix}lease:${pool}`;
  }

  /** Hash: key of a function → its record. */
  functions(pool: string): string {
    return `${this.#prefix}functions:${pool}`;
  }

  /** Channel: jobs of the pool that are to be stopped. */
  cancel(pool: string): string {
    return `${this.#prefix}cancel:${pool}`;
  }

  /** Channel: results of the pool's jobs, so that they need not be looked for. */
  results(pool: string): string {
    return `${this.#prefix}results:${pool}`;
  }

  /** Hash: inputs and results that are too long for a message. */
  bytes(pool: string): string {
    return `${this.#prefix}bytes:${pool}`;
  }
}
