/**
 * A pool's connections: one for all that it says, one to hear what becomes of its jobs.
 *
 * @module
 */

import type { Queue, QueueEvents } from "bullmq";
import type { Redis } from "ioredis";
import type { JobData, JobResult } from "../wire/messages.ts";
import { keepAlive, type Server } from "../wire/server.ts";

/** A pool's connections to Redis, and BullMQ's objects on them. */
export class Link {
  /** For commands. */
  readonly redis: Redis;
  /** The pool's jobs. */
  readonly queue: Queue<JobData, JobResult>;
  /** What becomes of them. */
  readonly events: QueueEvents;
  readonly #ear: Redis;
  #alive = true;

  private constructor(
    redis: Redis,
    ear: Redis,
    queue: Queue<JobData, JobResult>,
    events: QueueEvents,
  ) {
    this.redis = redis;
    this.#ear = ear;
    this.queue = queue;
    this.events = events;
    for (const client of [redis, ear]) {
      client.on("connect", () => keepAlive(client, this.#alive));
    }
  }

  /** Connects. Does not wait until it is: commands do. */
  static async open(server: Server, queue: string, prefix: string): Promise<Link> {
    const [{ Queue, QueueEvents }, redis, ear] = await Promise.all([
      // Takes some 50 ms, which whoever only imports this package need not spend.
      import("bullmq"),
      server.connect(),
      server.connect(),
    ]);
    const jobs = new Queue<JobData, JobResult>(queue, { connection: redis, prefix });
    // From their beginning: what happens before the first read must not be missed.
    const events = new QueueEvents(queue, { connection: ear, prefix, lastEventId: "0" });
    jobs.on("error", () => {}); // They connect again by themselves.
    events.on("error", () => {});
    return new Link(redis, ear, jobs, events);
  }

  /** Whether the connections keep the program alive. */
  keepAlive(alive: boolean): void {
    if (this.#alive === alive) return;
    this.#alive = alive;
    for (const client of [this.redis, this.#ear]) keepAlive(client, alive);
  }

  /** Disconnects. */
  async close(): Promise<void> {
    await Promise.allSettled([this.events.close(), this.queue.close()]);
    for (const client of [this.redis, this.#ear]) client.disconnect();
  }
}
