/** Monitor: who is woken need not wait once more, for the one who wakes. */

import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { SemaphoreState } from "../memory/semaphore.ts";
import { RWLockState } from "../memory/rwlock.ts";

const LOCK = 0;

/** What the lock's word was whenever somebody was woken who slept on another one. */
async function heldAtWakeUps(cells: Int32Array, act: () => Promise<unknown>): Promise<number[]> {
  const held: number[] = [];
  const { notify } = Atomics;
  Atomics.notify = (words, index, count) => {
    if (words.buffer === cells.buffer && index !== LOCK) held.push(cells[LOCK]!);
    return notify(words as Int32Array, index, count);
  };
  try {
    await act();
  } finally {
    Atomics.notify = notify;
  }
  return held;
}

test("Monitor wakes others when its turn is over", async () => {
  const semaphore = SemaphoreState.create(0);
  const held = await heldAtWakeUps(semaphore.cells, async () => {
    const acquired = semaphore.line.wait(semaphore.acquire());
    semaphore.release(1, 1);
    await acquired;
  });
  assertEquals(held, [0]);
});

test("Monitor wakes others after a wait that was given up, when its turn is over", async () => {
  const lock = RWLockState.create();
  const write = lock.write();
  write.attempt();
  const held = await heldAtWakeUps(lock.cells, async () => {
    const late = lock.line.wait(lock.write(), 5);
    const read = lock.line.wait(lock.read());
    await late;
    lock.releaseWrite();
    await read;
    lock.releaseRead();
  });
  assertEquals(held, held.map(() => 0));
  assertGreater(held.length, 1);
});
