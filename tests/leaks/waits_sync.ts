/** 50,000 blocking waits whose time runs out. */

import { QueueEmptyError, TimeoutError } from "../../errors.ts";
import { Queue } from "../../queue.ts";
import { Event, Lock } from "../../sync.ts";
import { measure } from "./meter.ts";

const BATCH = 1_000;
const timeout = 0.05;

function late(
  wait: () => unknown,
  expected: typeof TimeoutError | typeof QueueEmptyError,
): void {
  try {
    wait();
  } catch (error) {
    if (error instanceof expected) return;
    throw error;
  }
  throw new Error("A wait was not too long");
}

await measure(50_000, BATCH, async () => {
  const lock = new Lock();
  lock.acquireSync();
  const event = new Event();
  const queue = new Queue({ capacity: 2 ** 12 });
  for (let i = 0; i < BATCH; i++) {
    if (i % 3 === 0) late(() => lock.acquireSync({ timeout }), TimeoutError);
    else if (i % 3 === 1) late(() => queue.getSync({ timeout }), QueueEmptyError);
    else if (event.waitSync({ timeout })) throw new Error("The event was set");
  }
  await Promise.resolve();
});
