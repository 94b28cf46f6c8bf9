/**
 * How every primitive waits: one loop that blocks, one that does not.
 *
 * A primitive says only how it is tried and on which word to sleep when there is nothing to have;
 * see {@linkcode Attempt}. The loops add what all waits have in common: timeouts, signals, arrival
 * order, fencing, and a look every {@linkcode SLICE_MS} at whoever might have died.
 *
 * @module
 */

import { hold, release } from "../runtime/mod.ts";
import { type Attempt, PENDING, type SleepSpot } from "./attempt.ts";
import { bootRecord, checkAlive } from "./control.ts";
import { sleep, type SleepResult, sleepSync, wake } from "./futex.ts";

export { type Attempt, PENDING };

/** A sleeper looks this often whether the one it waits for still lives. */
export const SLICE_MS = 250;

/**
 * The main process serves its children this often while it blocks; and a thread that has asynchronous
 * waits, too, looks this often, for one of those may be woken in its place.
 */
const SERVICE_MS = 10;

/** Who blocks a thread in which a large item is on its way goes on with that this often. */
const IN_FLIGHT_MS = 1;

/** Asynchronous sleeps of this thread, also those that nobody waits for any more. */
let napping = 0;

let serve: () => void = () => {};

/** Sets what the main process does from time to time while it blocks. */
export function onBlocked(service: () => void): void {
  serve = service;
}

/**
 * Waits, blocking this thread.
 * Model: tests/models/futex.pml.
 *
 * @returns The outcome, or `PENDING` after `timeout` milliseconds.
 */
export function waitSync<T>(wait: Attempt<T>, timeout = Infinity): T | typeof PENDING {
  checkAlive();
  const slice = bootRecord === undefined || napping > 0 ? SERVICE_MS : SLICE_MS;
  const deadline = performance.now() + timeout;
  for (;;) {
    let outcome = wait.attempt();
    const inFlight = outcome === PENDING && pokeLines();
    if (inFlight) outcome = wait.attempt();
    if (outcome !== PENDING) return outcome;
    const left = wait.committed ? Infinity : deadline - performance.now();
    if (!(left > 0)) return giveUp(wait);
    const { cells, index, expected, sleepers, patience = SLICE_MS } = wait;
    if (sleepers !== undefined) Atomics.add(cells, sleepers, 1);
    sleepSync(cells, index, expected, Math.min(left, inFlight ? IN_FLIGHT_MS : slice, patience));
    if (sleepers !== undefined) Atomics.sub(cells, sleepers, 1);
    checkAlive();
    serve();
  }
}

function giveUp<T>(wait: Attempt<T>): T | typeof PENDING {
  const outcome = wait.cancel?.();
  return outcome === undefined ? PENDING : outcome;
}

/** Goes on with what other waits of this thread are amid of. Returns whether there is any such. */
function pokeLines(): boolean {
  let any = false;
  for (const line of pumping) any = line.poke() || any;
  return any;
}

const pumping = new Set<Line>();

interface Waiter<T> {
  /** Set when its time was over while it was committed. */
  late?: () => void;
  wait: Attempt<T>;
  settle(outcome: T | typeof PENDING): void;
  fail(error: unknown): void;
}

/**
 * The asynchronous waiters of one primitive in this process, in order of arrival.
 *
 * Only the first in line tries and sleeps, so a hundred pending waits cost as much as one. Whoever
 * gives up just steps out of the line.
 */
export class Line {
  // A set keeps the order of arrival, and lets anybody leave at no cost.
  readonly #waiters = new Set<Waiter<unknown>>();
  #pumping = false;

  /**
   * Waits without blocking; the event loop stays alive meanwhile.
   *
   * @returns The outcome, or `PENDING` after `timeout` milliseconds.
   */
  wait<T>(wait: Attempt<T>, timeout = Infinity, signal?: AbortSignal): Promise<T | typeof PENDING> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    checkAlive();
    // Nobody is overtaken: with others in line, even what is free now is theirs.
    if (this.#waiters.size === 0 || !(timeout > 0)) {
      const outcome = wait.attempt();
      if (outcome !== PENDING) return Promise.resolve(outcome);
      if (!(timeout > 0) && !wait.committed) return Promise.resolve(giveUp(wait));
    }
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const leave = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#waiters.delete(waiter);
        release();
      };
      const stop = (end: () => void): void => {
        if (wait.committed && this.#first() === waiter) {
          waiter.late = () => stop(end);
          return;
        }
        const outcome = giveUp(wait);
        if (outcome === PENDING) end();
        else waiter.settle(outcome);
      };
      const onAbort = (): void => stop(() => waiter.fail(signal?.reason));
      const waiter: Waiter<T> = {
        wait,
        settle: (outcome) => (leave(), resolve(outcome)),
        fail: (error) => (leave(), reject(error)),
      };
      // setTimeout() takes at most 2^31-1 ms, 24 days; who waits longer may as well wait for ever.
      if (timeout < 2 ** 31) {
        timer = setTimeout(() => {
          // Once more, as waitSync() does: the wake-up may be on its way, or lost with its sender.
          this.#advance();
          if (this.#waiters.has(waiter)) stop(() => waiter.settle(PENDING));
        }, timeout);
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      hold();
      this.#waiters.add(waiter);
      if (!this.#pumping) this.#pump();
    });
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    pumping.add(this);
    for (let first = this.#advance(); first !== undefined; first = this.#advance()) {
      await this.#sleep(first.wait);
    }
    this.#pumping = false;
    pumping.delete(this);
  }

  /** Settles from the front what can be settled. Returns who is first then. */
  #advance(): Waiter<unknown> | undefined {
    for (;;) {
      const first = this.#first();
      if (first === undefined || !this.#try(first)) return first;
    }
  }

  /** Goes on with the first wait if others wait for it to; see {@linkcode Attempt.inFlight}. */
  poke(): boolean {
    const first = this.#first();
    if (first?.wait.inFlight !== true) return false;
    this.#try(first);
    return true;
  }

  /** Returns whether the waiter has left the line. */
  #try(waiter: Waiter<unknown>): boolean {
    try {
      checkAlive();
      const outcome = waiter.wait.attempt();
      if (outcome !== PENDING) {
        waiter.settle(outcome);
        return true;
      }
    } catch (error) {
      waiter.fail(error);
      return true;
    }
    if (waiter.late === undefined || waiter.wait.committed) return false;
    waiter.late();
    return true;
  }

  #first(): Waiter<unknown> | undefined {
    return this.#waiters.values().next().value;
  }

  async #sleep(wait: Attempt<unknown>): Promise<void> {
    const { cells, index } = wait;
    const result = await nap(wait);
    // Everybody here gave up while we slept: the wake-up was meant for somebody elsewhere.
    if (result === "ok" && this.#waiters.size === 0) wake(cells, index, 1);
  }
}

/**
 * Sleeps where the last attempt said, for one slice at most. The caller keeps the event loop alive.
 * Model: tests/models/futex.pml.
 */
export async function nap(spot: SleepSpot): Promise<SleepResult> {
  const { cells, index, expected, sleepers, patience = SLICE_MS } = spot;
  if (sleepers !== undefined) Atomics.add(cells, sleepers, 1);
  napping++;
  const result = await sleep(cells, index, expected, patience);
  napping--;
  if (sleepers !== undefined) Atomics.sub(cells, sleepers, 1);
  return result;
}
