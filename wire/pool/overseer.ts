/**
 * Watches the tasks that ask for it: cancels them, times them out, and splits the chunk of a map while
 * another worker has nothing to do.
 *
 * | a watched task | when it is cancelled |
 * |---|---|
 * | waits in the backlog | left out when its turn comes |
 * | lies in the ring | marked as dropped: the worker that takes it answers at once |
 * | is run by a worker | told to stop; after `grace` its worker is stopped, and replaced |
 * | has ended | nothing: its result is not waited for any more |
 *
 * In each case its caller hears of it at once, and a ghost stands in its place until the workers have
 * done with it.
 *
 * @module
 */

import { TimeoutError } from "../../errors.ts";
import type { Leases } from "../../memory/lease.ts";
import { packThrown } from "../packet.ts";
import type { AbortMessage } from "../protocol.ts";
import { withoutFrames } from "../frames.ts";
import { NO_SOURCES, rethrow } from "./caller.ts";
import type { Crew } from "./crew.ts";
import type { Definition } from "./definitions.ts";
import {
  type FullJob,
  isCall,
  type Job,
  rejectJob,
  resolveJob,
  SETTLED,
  WAITS,
  type Watch,
} from "./job.ts";
import type { JobTable } from "./job_table.ts";
import type { Transferable } from "../../runtime/port.ts";

/** The longest that setTimeout() takes: 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** The longest limit that a lease can hold: 12 days. */
const MAX_LIMIT_MS = 2 ** 30;

/** Stands for a job that was cancelled, until the workers have done with it. */
export const GHOST: FullJob = {
  mode: "call",
  watch: undefined,
  first: 0,
  mark: undefined,
  resolve() {},
  reject() {},
};

/** What an {@linkcode Overseer} watches. */
export interface Watched {
  leases: Leases;
  jobs: JobTable;
  crew: Crew;
  /** How many workers have nothing to do, and find nothing in the ring. */
  idleWorkers(): number;
}

/** Watches over the tasks that workers run. */
export class Overseer {
  /** Ghosts that the workers have not done with. */
  ghosts = 0;
  /** Jobs in the backlog that were cancelled. */
  left = 0;
  /** Tasks that failed by being cancelled. */
  cancelled = 0;
  readonly #watched: Watched;
  /** Timers of ghosts that were told to stop. */
  readonly #graces = new Map<number, ReturnType<typeof setTimeout>>();
  /** How many tasks are out with each timeout. */
  readonly #timeouts = new Map<number, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer is due. */
  #due = Infinity;
  #splittable = 0;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** A job is about to be put. Returns its number as a task; 0 if too many are watched. */
  enter(job: Job, definition: Definition): number {
    const task = this.#watched.jobs.add(job, definition);
    if (task !== 0 && job.watch !== undefined) this.#begin(job.watch, task);
    return task;
  }

  /** Takes out the job of a task, which goes where `state` says; undefined if nobody waits for it. */
  leave(task: number, state: number = SETTLED): Job | undefined {
    const job = this.#watched.jobs.remove(task);
    if (job === GHOST) {
      this.#endGhost(task);
      return undefined;
    }
    if (job?.watch !== undefined) this.#end(job.watch, state);
    return job;
  }

  #begin(watch: Watch, task: number): void {
    const { timeout, grace, giveBack } = watch;
    watch.task = task;
    if (giveBack !== undefined) this.#splittable++;
    const timed = timeout < Infinity;
    const limit = timed ? Math.min(Math.max(1, timeout + grace), MAX_LIMIT_MS) : 0;
    this.#watched.leases.limit(task, limit);
    if (!timed) return;
    this.#timeouts.set(timeout, (this.#timeouts.get(timeout) ?? 0) + 1);
    this.#checkIn(timeout);
  }

  #end(watch: Watch, state: number): void {
    if (watch.task > 0) {
      if (watch.giveBack !== undefined) this.#splittable--;
      if (watch.timeout < Infinity) this.#countDown(watch.timeout);
    }
    watch.task = state;
  }

  #countDown(timeout: number): void {
    const count = this.#timeouts.get(timeout)! - 1;
    if (count > 0) this.#timeouts.set(timeout, count);
    else this.#timeouts.delete(timeout);
    if (this.#timeouts.size > 0) return;
    clearTimeout(this.#timer);
    this.#due = Infinity;
  }

  /** Looks at the times in so many milliseconds, if not before. */
  #checkIn(ms: number): void {
    const due = performance.now() + ms;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(this.#checkTimes, Math.min(ms, MAX_TIMER_MS));
  }

  /** See {@linkcode Backend.cancel}. */
  cancel(job: Job, reason: unknown, grace: number | undefined): void {
    if (this.#giveUp(job, reason, grace)) rejectJob(job, reason);
  }

  /** Lets a job be. Returns false if it was settled already. */
  #giveUp(job: Job, reason: unknown, grace: number | undefined): boolean {
    const { task } = job.watch!;
    if (task === SETTLED) return false;
    this.cancelled++;
    if (task === WAITS) this.left++;
    else this.#haunt(task, reason, grace);
    this.#end(job.watch!, SETTLED);
    return true;
  }

  #timeOut(job: Job, timeout: number, grace: number): void {
    const error = tookTooLong(timeout);
    if (!this.#giveUp(job, error, grace)) return;
    if (isCall(job)) resolveJob(job, rethrow(error, job.mark, NO_SOURCES));
    else rejectJob(job, error);
  }

  #haunt(task: number, reason: unknown, grace: number | undefined): void {
    const { jobs, leases } = this.#watched;
    jobs.replace(task, GHOST);
    this.ghosts++;
    leases.drop(task);
    const slot = leases.holder(task);
    if (slot < 0 || grace === undefined) return;
    if (grace <= 0) return this.#stop(task);
    this.#tellToStop(slot, task, reason);
    if (grace < MAX_TIMER_MS) this.#graces.set(task, setTimeout(() => this.#stop(task), grace));
  }

  #tellToStop(slot: number, task: number, reason: unknown): void {
    const transfer: Transferable[] = [];
    const message: AbortMessage = { task, reason: packThrown(reason, transfer) };
    this.#watched.crew.at(slot)?.port.post(message, transfer);
    this.#watched.leases.abort(slot, task);
  }

  /** The workers have done with a ghost, whose number may come again now. */
  #endGhost(task: number): void {
    this.ghosts--;
    clearTimeout(this.#graces.get(task));
    this.#graces.delete(task);
  }

  #stop(task: number): void {
    const { leases, crew } = this.#watched;
    const slot = leases.holder(task);
    if (slot >= 0 && leases.revoke(slot, task)) crew.stop(slot);
  }

  /** Cancels the tasks that have been running for too long, and comes back when the next may have. */
  readonly #checkTimes = (): void => {
    const { leases, jobs, crew } = this.#watched;
    this.#due = Infinity;
    let next = Infinity;
    for (const { slot } of crew.workers()) {
      const job = jobs.get(leases.task(slot));
      const { timeout = Infinity, grace = 0 } = job?.watch ?? {};
      if (timeout === Infinity) continue;
      const left = timeout - leases.runs(slot);
      if (left > 0) next = Math.min(next, left);
      else this.#timeOut(job!, timeout, grace);
    }
    // What begins after this look, cannot be due before.
    if (this.#timeouts.size > 0) this.#checkIn(Math.min(next, ...this.#timeouts.keys()));
  };

  /** There is nothing left for workers that have nothing to do: shares out what others have not begun. */
  balance(): void {
    if (this.#splittable === 0 || this.#watched.crew.size === 1) return;
    for (let idle = this.#watched.idleWorkers(); idle > 0; idle--) if (!this.#split()) return;
  }

  /** Takes back half of what is left of the longest chunk. */
  #split(): boolean {
    const { leases, jobs, crew } = this.#watched;
    let longest: { slot: number; task: number; job: Job } | undefined;
    let most = 0;
    for (const { slot } of crew.workers()) {
      const task = leases.task(slot);
      const job = jobs.get(task);
      const left = job?.watch?.giveBack === undefined ? 0 : leases.left(slot, task);
      if (left > most) [longest, most] = [{ slot, task, job: job! }, left];
    }
    if (longest === undefined) return false;
    const from = leases.takeBack(longest.slot, longest.task, 0.5);
    if (from === undefined) return false;
    longest.job.watch!.giveBack!(from);
    return true;
  }
}

function tookTooLong(ms: number): TimeoutError {
  return withoutFrames(new TimeoutError(`The task took longer than ${ms} ms`));
}
