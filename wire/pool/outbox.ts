/**
 * The way of a task from its pool into the ring of tasks; into the backlog while that is full.
 *
 * @module
 */

import { DONE, type Item, type Ring } from "../../memory/ring.ts";
import { RingPut } from "../../memory/ring_wait.ts";
import { Line } from "../../memory/wait.ts";
import { Backlog } from "./backlog.ts";
import type { Definition } from "./definitions.ts";
import { type Job, SETTLED, WAITS } from "./job.ts";
import type { Overseer } from "./overseer.ts";
import { dropAttachments } from "../packet.ts";

// Waking takes a system call: one for so many tasks that are submitted together, then for twice as many.
const MIN_ANNOUNCE = 32;
const MAX_ANNOUNCE = 1024;

/** What an {@linkcode Outbox} needs. */
export interface OutboxOptions {
  tasks: Ring;
  overseer: Overseer;
  /** Called when a large task has not come through. */
  onLost(task: number, error: unknown): void;
}

/** Tasks on their way out, in order. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #tasks: Ring;
  readonly #overseer: Overseer;
  readonly #backlog = new Backlog();
  readonly #streamLine = new Line();
  readonly #stopped = new AbortController();
  #unannounced = 0;
  #announceAt = MIN_ANNOUNCE;
  #streaming = false;
  #closing = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#tasks = options.tasks;
    this.#overseer = options.overseer;
  }

  /** Jobs that are not in the ring yet, whether somebody waits for them or not. */
  get length(): number {
    return this.#backlog.length;
  }

  /** Whether the workers have taken all there is. */
  get drained(): boolean {
    return this.#backlog.length === 0 && !this.#streaming && this.#tasks.size === 0;
  }

  /** Takes a job, now or later. */
  push(job: Job, definition: Definition, item: Item): void {
    const now = this.#backlog.length === 0 && !this.#streaming &&
      this.#tasks.fitsFrame(item.length);
    if (now && this.#put(job, definition, item)) return;
    if (job.watch !== undefined) job.watch.task = WAITS;
    this.#backlog.push(job, definition, item);
    // Behind others, its turn comes with the results of what is in the ring.
    if (this.#backlog.length === 1) this.refill();
  }

  /** Puts from the backlog what has room now. */
  refill(): void {
    const backlog = this.#backlog;
    while (!this.#streaming && backlog.first !== undefined) {
      const job = backlog.first;
      const item = backlog.item();
      if (job.watch?.task === SETTLED) {
        this.#overseer.left--;
        dropAttachments(item);
      } else if (this.#tasks.fitsFrame(item.length)) {
        if (!this.#put(job, backlog.definition, item)) return;
      } else {
        item.a = this.#overseer.enter(job, backlog.definition);
        if (item.a === 0) return;
        this.#stream({ ...item });
      }
      backlog.shift();
    }
    this.#closeWhenPut();
  }

  /** Closes the ring of tasks once all that was accepted is in it: the workers drain it, and end. */
  close(): void {
    this.#closing = true;
    this.#closeWhenPut();
  }

  /** Gives up what is not in the ring. Returns those whose callers wait. */
  clear(reason: unknown): Job[] {
    this.#stopped.abort(reason);
    const jobs: Job[] = [];
    while (this.#backlog.first !== undefined) {
      dropAttachments(this.#backlog.item());
      const job = this.#backlog.shift()!;
      if (job.watch?.task === SETTLED) this.#overseer.left--;
      else jobs.push(job);
      if (job.watch !== undefined) job.watch.task = SETTLED;
    }
    return jobs;
  }

  #put(job: Job, definition: Definition, item: Item): boolean {
    item.a = this.#overseer.enter(job, definition);
    if (item.a === 0) return false;
    const put = this.#tasks.tryPutQuietly(item) === DONE;
    if (put) this.#announce();
    else this.#overseer.leave(item.a, WAITS);
    return put;
  }

  /** Wakes workers for what was put: seldom while much is submitted together, but not too late. */
  #announce(): void {
    if (this.#unannounced++ === 0) queueMicrotask(this.#announceRest);
    if (this.#unannounced < this.#announceAt) return;
    this.#tasks.wakeGetters(this.#unannounced);
    this.#unannounced = 1;
    this.#announceAt = Math.min(this.#announceAt * 2, MAX_ANNOUNCE);
  }

  readonly #announceRest = (): void => {
    this.#tasks.wakeGetters(this.#unannounced);
    this.#unannounced = 0;
    this.#announceAt = MIN_ANNOUNCE;
  };

  /** Puts an item too large for one frame, as the workers take it. */
  async #stream(item: Item): Promise<void> {
    this.#streaming = true;
    try {
      await this.#streamLine.wait(new RingPut(this.#tasks, item), Infinity, this.#stopped.signal);
    } catch (error) {
      this.#options.onLost(item.a, error);
    }
    this.#streaming = false;
    this.refill();
  }

  #closeWhenPut(): void {
    if (this.#closing && this.#backlog.length === 0 && !this.#streaming) this.#tasks.close();
  }
}
