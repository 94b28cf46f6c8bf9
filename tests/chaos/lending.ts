/** A task of a pool that has one end of a pipe, and the caller at the other. */

import { ClosedError, ProcessLostError } from "../../errors.ts";
import { type Connection, Pipe, Queue } from "../../queue.ts";
import type { Pool } from "../../pool.ts";
import { type Call, SETTLE_MS } from "./calls.ts";
import { numberOf } from "./letter.ts";
import { lend, LENT_EXIT } from "./pool_tasks.ts";

/** Calls a task that answers through a pipe and a queue, and may die then. */
export function lendPipe(pool: Pool, n: number): Call {
  const [here, there] = Pipe({ capacity: 1024 });
  const queue = new Queue<number>({ capacity: 1024 });
  const called = pool.apply(lend, [there, queue, n]);
  there.close();
  const dies = n % 2 === 0;
  const isDeath = (error: unknown) =>
    error instanceof ProcessLostError && error.exitCode === LENT_EXIT;
  let words: string | undefined;
  const look = async () => {
    try {
      words = await lookAt(here, queue, n);
    } catch (error) {
      words = `threw ${(error as Error).stack}`;
    }
  };
  const promise = called.then(async (value) => {
    await look();
    return value;
  }, async (error) => {
    // Another way to die may come before it has the end: nobody hears of that.
    if (isDeath(error)) await look();
    throw error;
  }).finally(() => here.close());
  return {
    what: "lend",
    promise,
    judge: ({ value, error }) => dies ? isDeath(error) : value === n,
    wrong: () => words,
  };
}

/** What the task has left behind is all there, and then the end. Says what is not. */
async function lookAt(
  here: Connection,
  queue: Queue<number>,
  n: number,
): Promise<string | undefined> {
  const number = numberOf(await here.recvBytes({ timeout: SETTLE_MS }));
  if (number !== n) return `received ${number} instead of ${n}`;
  for (let i = 0; i < 3; i++) {
    const got = queue.getNowait();
    if (got !== n + i) return `got ${got} instead of ${n + i}`;
  }
  if (!queue.empty()) return "the queue has more than was put";
  try {
    return `received ${await here.recv({ timeout: SETTLE_MS / 2 })}, which nobody has sent`;
  } catch (error) {
    if (error instanceof ClosedError) return undefined;
    return `does not hear that the other end is gone: ${error}`;
  }
}
