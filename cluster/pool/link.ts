/**
 * A pool's connections: one for all that it says, one to hear results and, while it has jobs, one to read
 * what becomes of them.
 *
 * Daemons tell the results of jobs that come alone. That may get lost: so events are read if a result is
 * late, and always where there are several jobs.
 *
 * @module
 */

import type { Queue, QueueEvents } from "bullmq";
import type { Redis, RedisOptions } from "ioredis";
import { clearTimeout, pause, setTimeout } from "../runtime/timers.ts";
import { type JobData, type JobResult, readResult } from "../wire/messages.ts";
import { isRefusal, keepAlive, type Server } from "../wire/server.ts";
import { keepSubscribed } from "../wire/subscriptions.ts";

/** Redis has so many milliseconds to hear that a connection ends. */
const GOODBYE_MS = 5_000;

/** A pool without jobs goes on to listen for so long, in ms: often the next one comes soon. */
const LINGER_MS = 500;

/**
 * Where a result has not been told after so many milliseconds, events are read: those of short jobs need
 * not be, for most of them only tell that one was sent, and taken.
 */
const PATIENCE_MS = 20;

/** So often, in ms, it is tried again to connect. */
const RETRY_MS = 2_000;

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
  /** When a job was sent that should be told, by performance.now(); Infinity, if there is none. */
  since(): number;
}

/** Where a pool's jobs are. */
export interface Place {
  /** BullMQ's queue. */
  queue: string;
  /** The channel on which results are told. */
  results: string;
}

/** A pool's connections to Redis, and BullMQ's objects on them. */
export class Link {
  /** For commands. */
  readonly redis: Redis;
  readonly #bullmq: typeof import("bullmq");
  readonly #prefix: string;
  readonly #listener: Listener;
  readonly #clients = new Set<Redis>();
  #queue: Queue<JobData, JobResult>;
  /** Whether there are jobs. */
  readonly #life: { alive: boolean };
  #closed = false;
  #events: QueueEvents | undefined;
  /** What those are read by. */
  #reader: Redis | undefined;
  /** Where to go on. From the beginning: what happens before the first read must not be missed. */
  #heard = "0";
  #linger: ReturnType<typeof setTimeout> | undefined;
  /** Until jobs are sent again. */
  #silence: PromiseWithResolvers<void> | undefined;
  #place: Place;
  /** Hears results. What is told while it is not connected is read from the events. */
  #ear: Redis;

  /** Connects. Does not wait until it is: commands do. */
  static async open(
    server: Server,
    place: Place,
    prefix: string,
    listener: Listener,
  ): Promise<Link> {
    // Takes some 50 ms, which whoever only imports this package need not spend.
    const bullmq = await import("bullmq");
    const life = { alive: false };
    // Without jobs it gives up: a timer of the client that waits to try again would keep the program alive.
    const retryStrategy = (times: number) => life.alive ? Math.min(50 * times, RETRY_MS) : null;
    const redis = await server.connect({ retryStrategy });
    return new Link(redis, bullmq, place, prefix, listener, life);
  }

  private constructor(
    redis: Redis,
    bullmq: typeof import("bullmq"),
    place: Place,
    prefix: string,
    listener: Listener,
    life: { alive: boolean },
  ) {
    this.#life = life;
    this.redis = redis;
    this.#bullmq = bullmq;
    this.#prefix = prefix;
    this.#listener = listener;
    this.#keep(redis);
    // BullMQ makes a connection of its own by this, to hear events.
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (options?: Partial<RedisOptions>) => this.#keep(duplicate(options as object));
    this.#queue = this.#openQueue(place.queue);
    this.#place = place;
    this.#ear = this.#openEar();
  }

  /** The pool's jobs. */
  get queue(): Queue<JobData, JobResult> {
    return this.#queue;
  }

  /** From now on its jobs are in another queue. The former one is to be closed. */
  move(place: Place): void {
    void this.#deafen();
    this.#queue = this.#openQueue(place.queue);
    this.#ear.unsubscribe(this.#place.results).catch(() => {});
    this.#place = place;
    this.#ear.subscribe(place.results).catch(() => {});
    this.#heard = "0";
    if (this.#life.alive) this.#events = this.#listen();
  }

  #openEar(): Redis {
    const ear = this.redis.duplicate({ autoResubscribe: false });
    keepSubscribed(ear, () => [this.#place.results]).catch(() => {});
    ear.on("message", (channel: string, text: string) => {
      if (channel !== this.#place.results) return;
      const told = readResult(text);
      if (told !== undefined) this.#listener.completed(...told);
    });
    return ear;
  }

  #openQueue(name: string): Queue<JobData, JobResult> {
    const queue = new this.#bullmq.Queue<JobData, JobResult>(name, {
      connection: this.redis,
      prefix: this.#prefix,
    });
    queue.on("error", () => {}); // It connects again by itself.
    return queue;
  }

  #keep(client: Redis): Redis {
    this.#clients.add(client);
    client.on("connect", () => keepAlive(client, this.#life.alive));
    client.on("end", () => client === this.redis || this.#clients.delete(client));
    client.on("error", (error) => {
      if (!isRefusal(error)) return;
      client.disconnect();
      this.#listener.refused(error);
    });
    return client;
  }

  /** Whether there are jobs: then the program is kept alive, and events are heard. */
  keepAlive(alive: boolean): void {
    this.#life.alive = alive;
    for (const client of this.#clients) keepAlive(client, alive);
    clearTimeout(this.#linger);
    if (alive) {
      this.revive();
      this.#events ??= this.#listen();
    } else {
      // BullMQ's loop keeps the program alive by itself.
      this.#linger = setTimeout(() => void this.#deafen(), LINGER_MS);
    }
  }

  /** Connects again, should it have given up while there were no jobs. */
  revive(): void {
    if (this.#closed) return;
    if (this.#ear.status === "end") this.#ear = this.#openEar();
    if (this.#reader?.status === "end") void this.#deafen();
    if (this.redis.status !== "end") return;
    this.redis.connect().catch(() => {});
    // BullMQ's object has given up, too.
    void this.#queue.close().catch(() => {});
    this.#queue = this.#openQueue(this.#queue.name);
  }

  /** To be called from time to time: a connection that only listens does not notice that it is silent. */
  pingEar(): void {
    if (this.#ear.status === "ready") this.#ear.ping().catch(() => {});
  }

  /** Redis has taken jobs: results are to be heard. */
  heed(): void {
    this.#silence?.resolve();
    this.#silence = undefined;
  }

  /** Resolves when there is a job whose result should have been told by now; or when it is over. */
  async #losePatience(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const left = this.#listener.since() + PATIENCE_MS - performance.now();
      if (left <= 0) return;
      // More jobs may come, of which not each is told.
      const { promise } = this.#silence ??= Promise.withResolvers();
      await (left < Infinity ? Promise.race([pause(left), promise]) : promise);
    }
  }

  #listen(): QueueEvents {
    const { QueueEvents, createRedisBackend } = this.#bullmq;
    const open: typeof createRedisBackend = (name, options, more) => {
      const backend = createRedisBackend(name, options, more);
      backend.client.then((client) => {
        if (this.#events === events) this.#reader = client as unknown as Redis;
      }, () => {});
      const read = backend.readEvents.bind(backend);
      backend.readEvents = async (id, ms) => {
        const isOver = () => this.#events !== events;
        await this.#losePatience(isOver);
        return isOver() ? undefined : await read(id, ms);
      };
      return backend;
    };
    const events = new QueueEvents(
      this.#queue.name,
      { connection: this.redis, prefix: this.#prefix, lastEventId: this.#heard },
      open,
    );
    events.on("error", () => {}); // It connects again by itself.
    const { active, waiting, completed, failed } = this.#listener;
    /** What is said after it was left is of a queue that is no more. */
    const hear = (at: string, tell: () => void): void => {
      if (this.#events !== events) return;
      this.#heard = at;
      tell();
    };
    events.on("active", ({ jobId }, at) => hear(at, () => active(jobId)));
    events.on("waiting", ({ jobId }, at) => hear(at, () => waiting(jobId)));
    events.on("completed", ({ jobId, returnvalue }, at) => {
      hear(at, () => completed(jobId, returnvalue as unknown as JobResult | null));
    });
    events.on("failed", ({ jobId, failedReason }, at) => {
      hear(at, () => failed(jobId, failedReason));
    });
    return events;
  }

  async #deafen(): Promise<void> {
    const events = this.#events;
    this.#events = undefined;
    this.#reader = undefined;
    const closed = events?.close().catch(() => {});
    this.heed(); // Its loop may wait for jobs.
    await closed;
  }

  /** Disconnects. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#linger);
    const closed = Promise.allSettled([this.#deafen(), this.#queue.close()]);
    // Where Redis is out of reach, that would wait for it.
    await Promise.race([closed, pause(this.redis.status === "ready" ? GOODBYE_MS : 0)]);
    for (const client of this.#clients) client.disconnect();
  }
}
