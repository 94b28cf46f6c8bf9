/** Two workers of a pool that meet; then one dies, and the pool goes on. */

import process from "node:process";
import { ProcessLostError } from "@multiprocessing/core/errors";
import { Pool } from "@multiprocessing/core/pool";
import { currentProcess, isMainProcess } from "@multiprocessing/core/process";
import { Barrier, Event } from "@multiprocessing/core/sync";
import { task } from "@multiprocessing/core/target";

async function meet(barrier: Barrier): Promise<number> {
  if (isMainProcess()) throw new Error("this is no worker");
  await barrier.wait({ timeout: 20_000 });
  return currentProcess().pid;
}
task(import.meta, meet);

function die(begun: Event): never {
  begun.set();
  process.exit(7);
}
task(import.meta, die);

async function outlive(begun: Event): Promise<string> {
  await begun.wait();
  return "outlived it";
}

/** The pids of the two: one alone would wait in vain for the other. */
function pidsOf(pool: Pool): Promise<number[]> {
  const barrier = new Barrier(2);
  return pool.map(meet, [barrier, barrier], { chunkSize: 1 });
}

if (import.meta.main) {
  const pool = new Pool({ processes: 2 });
  const pids = await pidsOf(pool);
  console.log(`${new Set(pids).size} workers`);

  const begun = new Event();
  const [lost, other] = await Promise.allSettled([
    pool.apply(die, [begun]),
    pool.apply(outlive, [begun]),
  ]);
  if (lost.status === "rejected" && lost.reason instanceof ProcessLostError) {
    console.log(`lost with exit code ${lost.reason.exitCode}`);
  }
  if (other.status === "fulfilled") console.log(other.value);

  const all = new Set([...pids, ...await pidsOf(pool)]);
  console.log(`${all.size} workers in all`);
  pool.close();
  await pool.join();
}
