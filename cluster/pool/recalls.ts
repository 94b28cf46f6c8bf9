/**
 * Jobs that were cancelled, and that Redis may still have.
 *
 * @module
 */

import type { Link } from "./link.ts";
import type { Sent } from "./outbox.ts";

/** Takes cancelled jobs out of Redis; whoever runs one already is told to stop. */
export class Recalls {
  readonly #link: Promise<Link>;
  readonly #channel: () => string;
  /** Each, and whether who runs it is told. */
  readonly #jobs = new Map<Sent, boolean>();

  /** @param channel Where the daemons hear of it. */
  constructor(link: Promise<Link>, channel: () => string) {
    this.#link = link;
    this.#channel = channel;
  }

  /** Recalls a job, at once and, where that does not succeed, at each beat. */
  add(sent: Sent, tell: boolean): void {
    this.#jobs.set(sent, tell);
    this.#link.then((link) => this.#recall(link, sent)).catch(() => {});
  }

  /** Tries again with all that are there still. */
  async repeat(link: Link): Promise<void> {
    await Promise.all([...this.#jobs.keys()].map((sent) => this.#recall(link, sent)));
  }

  /** Forgets all: their queue is no more. */
  clear(): void {
    this.#jobs.clear();
  }

  /** One that runs cannot be removed. Who runs it may not hear what he is told, such as between connections. */
  async #recall({ queue, redis }: Link, sent: Sent): Promise<void> {
    const removed = await queue.remove(sent.id) === 1;
    if (!removed && this.#jobs.get(sent)) await redis.publish(this.#channel(), sent.id);
    // One that is on its way may come to be there yet.
    if (removed && !sent.sending) this.#jobs.delete(sent);
  }
}
