/** Pools of members: a member ends its pool, or dies with it. */

import { ProcessError } from "../../errors.ts";
import { Pool } from "../../pool.ts";
import { currentProcess } from "../../process.ts";
import type { Actor } from "./actor.ts";
import { runInitialized } from "./initializers.ts";
import { PoolRound } from "./pools.ts";
import { Random } from "./random.ts";

/** Makes a pool, and calls some tasks in it. */
export async function runInnerPool(actor: Actor): Promise<void> {
  const random = new Random(actor.stamp + actor.op.n);
  const report = (message: string) => void actor.violate(message);
  if (currentProcess().daemon) refuse(actor);
  else if (random.chance(0.2)) await runInitialized(random, report);
  else {
    const size = { least: 2, more: 4, mayLeave: true };
    await new PoolRound(random, actor.world.lock, report, size).run(() => actor.dieIfTime());
  }
}

/** A daemon has no children, and a pool's workers are some. */
function refuse(actor: Actor): void {
  try {
    new Pool({ processes: 1 });
  } catch (error) {
    if (error instanceof ProcessError) return;
    actor.violate(`new Pool() threw ${error}`);
  }
  actor.violate("a daemon has a pool");
}
