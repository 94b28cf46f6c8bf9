/**
 * A pool's connections: one for all that it says and, while it has jobs, one to hear what becomes of them.
 *
 * @module
 */

import type { Queue, QueueEvents } from "bullmq";
import type { Redis, RedisOptions } from "ioredis";
import { clearTimeout, pause, setTimeout } from "../runtime/timers.ts";
import type { JobData, JobResult } from "../wire/messages.ts";
import { isRefusal, keepAlive, type Server } from "../wire/server.ts";

/** Redis has so many milliseconds to hear that a connection ends. */
const GOODBYE_MS = 5_000;

/** A pool without jobs goes on to listen for so long, in ms: often the next one comes soon. */
const LINGER_MS = 500;

/** What a pool hears. */
export interface Listener {
  /** A daemon has taken a job. */
  active(id: string): void;
  /** A job waits, also again. */
  waiting(id: string): void;
  completed(id: string, result: JobResult | null): void;
  failed(id: string, reason: string): void;
  /** Redis does not let us in: without this, it would be asked for ever. */
  refused(error: unknown): void;
}

/** A pool's connections to Redis, and BullMQ's objects on them. */
export class Link {
  /** For commands. */
  readonly redis: Redis;
  /** The pool's jobs. */
  readonly queue: Queue<JobData, JobResult>;
  readonly #bullmq: typeof import("bullmq");
  readonly #listener: Listener;
  readonly #clients = new Set<Redis>();
  #alive = false;
  #events: QueueEvents | undefined;
  /** Where to go on. From the beginning: what happens before the first read must not be missed. */
  #heard = "0";
  #linger: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    redis: Redis,
    bullmq: typeof import("bullmq"),
    queue: Queue<JobData, JobResult>,
    listener: Listener,
  ) {
    this.redis = redis;
    this.queue = queue;
    this.#bullmq = bullmq;
    this.#listener = listener;
    this.#keep(redis);
    // BullMQ makes a connection of its own by this, to hear events.
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (options?: Partial<RedisOptions>) => this.#keep(duplicate(options as object));
    queue.on("error", () => {}); // It connects again by itself.
  }

  /** Connects. Does not wait until it is: commands do. */
  static async open(
    server: Server,
    queue: string,
    prefix: string,
    listener: Listener,
  ): Promise<Link> {
    // Takes some 50 ms, which whoever only imports this package need not spend.
    const [bullmq, redis] = await Promise.all([import("bullmq"), server.connect()]);
    const jobs = new bullmq.Queue<JobData, JobResult>(queue, { connection: redis, prefix });
    return new Link(redis, bullmq, jobs, listener);
  }

  #keep(client: Redis): Redis {
    this.#clients.add(client);
    client.on("connect", () => keepAlive(client, this.#alive));
    client.on("end", () => this.#clients.delete(client));
    client.on("error", (error) => {
      if (!isRefusal(error)) return;
      client.disconnect();
      this.#listener.refused(error);
    });
    return client;
  }

  /** Whether there are jobs: then the program is kept alive, and events are heard. */
  keepAlive(alive: boolean): void {
    this.#alive = alive;
    for (const client of this.#clients) keepAlive(client, alive);
    clearTimeout(this.#linger);
    if (alive) this.#events ??= this.#listen();
    // BullMQ's loop keeps the program alive by itself.
    else this.#linger = setTimeout(() => void this.#deafen(), LINGER_MS);
  }

  #listen(): QueueEvents {
    const { name, opts: { prefix } } = this.queue;
    const events = new this.#bullmq.QueueEvents(name, {
      connection: this.redis,
      prefix: prefix!,
      lastEventId: this.#heard,
    });
    events.on("error", () => {}); // It connects again by itself.
    events.on("active", ({ jobId }, at) => {
      this.#heard = at;
      this.#listener.active(jobId);
    });
    events.on("waiting", ({ jobId }, at) => {
      this.#heard = at;
      this.#listener.waiting(jobId);
    });
    events.on("completed", ({ jobId, returnvalue }, at) => {
      this.#heard = at;
      this.#listener.completed(jobId, returnvalue as unknown as JobResult | null);
    });
    events.on("failed", ({ jobId, failedReason }, at) => {
      this.#heard = at;
      this.#listener.failed(jobId, failedReason);
    });
    return events;
  }

  async #deafen(): Promise<void> {
    const events = this.#events;
    this.#events = undefined;
    await events?.close().catch(() => {});
  }

  /** Disconnects. */
  async close(): Promise<void> {
    clearTimeout(this.#linger);
    const closed = Promise.allSettled([this.#deafen(), this.queue.close()]);
    // Where Redis is out of reach, that would wait for it.
    await Promise.race([closed, pause(this.redis.status === "ready" ? GOODBYE_MS : 0)]);
    for (const client of this.#clients) client.disconnect();
  }
}
