/**
 * What a process does that was not started with a plain function.
 *
 * @module
 */

import { bootRecord } from "../memory/control.ts";
import { runTarget } from "../runtime/mod.ts";
import { unpackWhole } from "./packet.ts";
import { runTasks } from "./pool/task_loop.ts";
import type { CallPayload, Payload, TargetRef } from "./protocol.ts";
import { resolveTarget } from "./target/target_resolve.ts";

/** Makes the function to run from what this process was started with. */
export async function loadWork(): Promise<() => unknown> {
  const payload = bootRecord!.start.payload as Payload;
  return payload.kind === "tasks" ? () => runTasks(payload) : await loadCall(payload);
}

async function loadCall({ target, args }: CallPayload): Promise<() => unknown> {
  const { importModule } = bootRecord!.inside;
  const run = await resolveTarget(await unpackWhole(target) as TargetRef, importModule);
  const values = await unpackWhole(args) as never[];
  return () => runTarget(() => run(...values));
}
