/**
 * What a process loads before it runs its target: the worker module.
 *
 * The worker's entry is inline text that imports this module by {@linkcode WORKER_URL}; so it is found
 * wherever the library lies: in a source tree, in a package, in a bundle, in an executable.
 *
 * @module
 */

import "./queue.ts";
import "./shared.ts";
import "./sync.ts";
import { bootRecord } from "./memory/control.ts";
import { runTarget } from "./runtime/mod.ts";
import { onMissingExport } from "./wire/target/exports.ts";
import { unpack } from "./wire/packet.ts";
import type { CallPayload, Payload, TargetRef } from "./wire/protocol.ts";
import { resolveTarget } from "./wire/target/target_resolve.ts";
import { runTasks } from "./wire/pool/task_loop.ts";

/** Where this module lies. */
export const WORKER_URL: string = import.meta.url;

if (bootRecord !== undefined) bootRecord.load = load;

async function load(): Promise<() => unknown> {
  const payload = bootRecord?.start.payload as Payload;
  if (payload.kind === "tasks") return () => runTasks(payload);
  return await loadCall(payload);
}

// A target's scope may name what this module does not import: a Process, a Pool.
onMissingExport(() => import("./mod.ts"));

async function loadCall({ target, args }: CallPayload): Promise<() => unknown> {
  const { importModule } = bootRecord!.inside;
  const run = await resolveTarget(unpack(target) as TargetRef, importModule);
  const values = unpack(args) as never[];
  return () => runTarget(() => run(...values));
}
