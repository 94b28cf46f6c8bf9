/**
 * Waiting for several things at once, and only until they are ready: nothing is taken.
 *
 * A sleep on shared memory cannot be called off. So this process has one at most on each word, which
 * all its waits share, and which stays until its slice is over when they have gone.
 *
 * | a sleep ends | then |
 * |---|---|
 * | its time is over, or the word has changed | those who share it look again |
 * | woken | likewise; unless all find nothing, the wake-up is passed on: it may have been meant for one who takes |
 *
 * **Nobody misses a wake-up.** A word may have changed, with a wake-up for another, between the look of one
 * who joins a sleep and his joining: then that other takes what there is, or passes the wake-up on.
 *
 * @module
 */

import { hold, release } from "../runtime/mod.ts";
import { checkAlive } from "./control.ts";
import { wake } from "./futex.ts";
import { type Attempt, nap, PENDING } from "./wait.ts";

/** How to wait until an object is ready. The attempt takes nothing. */
export type Readiness<T> = (object: T) => Attempt<unknown>;

const byPrototype = new Map<object, Readiness<never>>();

/** Makes the instances of a class, and of its subclasses, things to wait for. */
export function registerWaitable<T extends object>(
  ctor: abstract new (...args: never[]) => T,
  readiness: Readiness<T>,
): void {
  byPrototype.set(ctor.prototype, readiness as Readiness<never>);
}

/** A wait until the object is ready; undefined if it is of no class that was registered. */
export function readinessOf(object: unknown): Attempt<unknown> | undefined {
  if (typeof object !== "object" || object === null) return undefined;
  for (let at = Object.getPrototypeOf(object); at !== null; at = Object.getPrototypeOf(at)) {
    const readiness = byPrototype.get(at);
    if (readiness !== undefined) return readiness(object as never);
  }
  return undefined;
}

/** Looks again. Returns whether it found what it waits for. */
type Look = () => boolean;

const sleeps = new WeakMap<Int32Array, Map<number, Set<Look>>>();

/** Sleeps where the attempt says; then calls `look`, unless it was taken out of the set returned. */
function share(spot: Attempt<unknown>, look: Look): Set<Look> {
  const { cells, index } = spot;
  let ofCells = sleeps.get(cells);
  if (ofCells === undefined) sleeps.set(cells, ofCells = new Map());
  let looks = ofCells.get(index);
  if (looks === undefined) {
    ofCells.set(index, looks = new Set());
    sleepFor(spot, cells, index, ofCells, looks);
  }
  looks.add(look);
  return looks;
}

async function sleepFor(
  spot: Attempt<unknown>,
  cells: Int32Array,
  index: number,
  ofCells: Map<number, Set<Look>>,
  looks: Set<Look>,
): Promise<void> {
  const result = await nap(spot);
  ofCells.delete(index);
  // Those who find nothing sleep again, by another set.
  const found = Array.from(looks, (look) => look()).includes(true);
  if (result === "ok" && (found || looks.size === 0)) wake(cells, index, 1);
}

/**
 * Waits until at least one of the attempts has its outcome; the event loop stays alive meanwhile.
 *
 * @returns The places of all that have, in order; none when the time is over.
 */
export function waitAny(
  attempts: readonly Attempt<unknown>[],
  timeout: number,
  signal?: AbortSignal,
): Promise<number[]> {
  if (signal?.aborted) return Promise.reject(signal.reason);
  const ready = lookAt(attempts);
  if (ready.length > 0 || !(timeout > 0)) return Promise.resolve(ready);
  return new Promise((resolve, reject) => {
    const shared: (Set<Look> | undefined)[] = [];
    const looks = attempts.map((attempt, place): Look => () => {
      try {
        checkAlive();
        if (attempt.attempt() === PENDING) {
          shared[place] = share(attempt, looks[place] as Look);
          return false;
        }
        finish(place);
      } catch (error) {
        end(() => reject(error));
      }
      return true;
    });
    const finish = (found?: number): void =>
      end(() => resolve(new Promise((settle) => settle(lookAt(attempts, found)))));
    const onAbort = (): void => end(() => reject(signal?.reason));
    // setTimeout() takes at most 2^31-1 ms, 24 days; who waits longer may as well wait for ever.
    const timer = timeout < 2 ** 31 ? setTimeout(() => finish(), timeout) : undefined;
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      shared.forEach((set, place) => set?.delete(looks[place] as Look));
      release();
      settle();
    };
    hold();
    signal?.addEventListener("abort", onAbort, { once: true });
    attempts.forEach((attempt, place) => shared[place] = share(attempt, looks[place] as Look));
  });
}

/** The places of all that have their outcome; and that of `found`, which had, and may have lost it since. */
function lookAt(attempts: readonly Attempt<unknown>[], found?: number): number[] {
  checkAlive();
  return attempts.flatMap((attempt, place) =>
    place === found || attempt.attempt() !== PENDING ? [place] : []
  );
}
