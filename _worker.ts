/**
 * Where a process finds the library: the worker module.
 *
 * The worker's entry is inline text that imports this module by {@linkcode WORKER_URL}; so it is found
 * wherever the library lies: in a source tree, in a package, in a bundle, in an executable. It loads
 * what the process needs, and no more: loading is most of what a start takes.
 *
 * @module
 */

import { bootRecord } from "./memory/control.ts";
import { onMissingShareable } from "./wire/codec/shareable.ts";
import { onMissingExport } from "./wire/target/exports.ts";

/** Where this module lies. */
export const WORKER_URL: string = import.meta.url;

if (bootRecord !== undefined) {
  const work = import("./wire/work.ts");
  bootRecord.load = async () => await (await work).loadWork();
}

onMissingShareable(() => import("./queue.ts"));

// A target's scope may name what nobody has loaded: a Process, a Pool.
onMissingExport(() => import("./mod.ts"));
