/** 50,000 asynchronous waits whose time runs out, 1,000 at once; half of them with a signal that stays. */

import { QueueEmptyError, TimeoutError } from "../../errors.ts";
import { Queue } from "../../queue.ts";
import { Event, Lock } from "../../sync.ts";
import { measure } from "./meter.ts";

const BATCH = 1_000;
const { signal } = new AbortController();

async function late(
  wait: Promise<unknown>,
  expected: typeof TimeoutError | typeof QueueEmptyError,
): Promise<void> {
  const error = await wait.then(() => undefined, (error) => error);
  if (!(error instanceof expected)) throw new Error(`A wait was not too long, but gave ${error}`);
}

await measure(50_000, BATCH, async () => {
  const lock = new Lock();
  lock.acquireSync();
  const event = new Event();
  const queue = new Queue({ capacity: 2 ** 12 });
  const waits = Array.from({ length: BATCH }, async (_, i) => {
    const options = i % 2 === 0 ? { timeout: 1 } : { timeout: 1, signal };
    if (i % 3 === 0) return await late(lock.acquire(options), TimeoutError);
    if (i % 3 === 1) return await late(queue.get(options), QueueEmptyError);
    if (await event.wait(options)) throw new Error("The event was set");
  });
  await Promise.all(waits);
});
