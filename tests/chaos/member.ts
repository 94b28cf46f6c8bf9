/** What runs in a member: a process of a round. */

import { ProcessError } from "../../errors.ts";
import { currentProcess, Process } from "../../process.ts";
import type { Connection } from "../../queue.ts";
import { closure, task } from "../../target.ts";
import { Actor, RETURN } from "./actor.ts";
import { disarm } from "./dying.ts";
import { runInnerPool } from "./inner_pools.ts";
import { operate } from "./ops.ts";
import type { Op, Plan } from "./plan.ts";
import type { World } from "./world.ts";

/** A process of a round. */
export type Member = Process<[World, Plan, Connection | null]>;

/** Describes a process that does what the plan says. */
export function describe(world: World, plan: Plan, end: Connection | null = null): Member {
  return new Process({ target: member, args: [world, plan, end], daemon: plan.daemon });
}

/** Does what the plan says. */
export const member = task(
  import.meta,
  async function member(world: World, plan: Plan, end: Connection | null): Promise<void> {
    try {
      const strands = plan.strands.map((ops, i) =>
        run(new Actor(world, plan.actor + i, i === 0 ? plan.death : undefined), ops, plan, end)
      );
      await Promise.all(strands);
    } catch (error) {
      if (error !== RETURN) throw error;
    } finally {
      disarm();
    }
  },
);

async function run(actor: Actor, ops: Op[], plan: Plan, end: Connection | null): Promise<void> {
  const children: Member[] = [];
  for (const op of ops) {
    if (actor.world.closing.isSet() || currentProcess().signal.aborted) return;
    await actor.begin(op);
    await operate(actor, end);
    const child = plan.children[op.n];
    if (op.kind === "child" && child !== undefined) {
      children.push(describe(actor.world, child));
      children.at(-1)!.start();
    }
    if (op.kind === "killChild") { for (const each of children) each.kill(); }
    if (op.kind === "stillborn") stillborn(actor, op.n);
    if (op.kind === "pool") await runInnerPool(actor);
  }
}

/** Starts a process, and ends it before it can begin. */
function stillborn(actor: Actor, n: number): void {
  const { lock, barrier } = actor.world;
  const kill = n % 2 === 0;
  const scope = n % 8 < 2 ? { lock, barrier } : { lock };
  const child = new Process({ target: closure(() => {}, scope), daemon: false });
  try {
    child.start();
  } catch (error) {
    if (currentProcess().daemon && error instanceof ProcessError) return;
    actor.violate(`start() threw ${error}`);
  }
  if (currentProcess().daemon) actor.violate("a daemon has started a process");
  if (kill) child.kill();
  else child.terminate();
  // It may have been faster.
  const codes = [0, kill ? -9 : -15];
  if (!codes.includes(child.exitCode!)) actor.violate(`exit code ${child.exitCode}`);
}
