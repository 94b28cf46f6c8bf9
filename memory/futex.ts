/**
 * The only place that sleeps and wakes: Linux's futex, on `Atomics`.
 *
 * A futex is a 32-bit word. Whoever wants it to change sleeps on the value seen; whoever changes it
 * wakes the sleepers. The kernel compares and sleeps in one step, so no change slips between.
 *
 * @module
 */

/** How a sleep ended: woken, the word had another value already, or the time was over. */
export type SleepResult = "ok" | "not-equal" | "timed-out";

/**
 * Sleeps this thread while `cells[index]` is `expected`, for at most `ms` milliseconds.
 * Model: tests/models/futex.pml.
 */
export function sleepSync(
  cells: Int32Array,
  index: number,
  expected: number,
  ms: number,
): SleepResult {
  return Atomics.wait(cells, index, expected, ms);
}

/** Like {@linkcode sleepSync}, without blocking. The caller keeps the event loop alive. */
export function sleep(
  cells: Int32Array,
  index: number,
  expected: number,
  ms: number,
): SleepResult | Promise<SleepResult> {
  return Atomics.waitAsync(cells, index, expected, ms).value;
}

/**
 * Wakes at most `count` sleepers on `cells[index]`, the longest asleep first; all by default.
 * Model: tests/models/futex.pml.
 */
export function wake(cells: Int32Array, index: number, count?: number): number {
  return Atomics.notify(cells, index, count);
}

// Node 22 has no Atomics.pause.
const pauseOnce = (Atomics as { pause?: () => void }).pause ?? (() => {});

/** Spins for a moment too short to sleep: some hundred nanoseconds. */
export function pause(): void {
  for (let i = 0; i < 8; i++) pauseOnce();
}
