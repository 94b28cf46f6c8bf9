/**
 * The runtime that this program runs on, chosen once, when the library is loaded.
 *
 * At run time, because conditional imports are frozen to one runtime when a package is published.
 *
 * @module
 */

import type { RuntimeAdapter } from "./adapter.ts";
import { bun } from "./bun.ts";
import { deno } from "./deno.ts";
import { detectRuntime } from "./detect.ts";
import { node } from "./node.ts";

/** The adapter of this runtime. */
export const runtime: RuntimeAdapter = { deno, bun, node }[detectRuntime()];

export type { Inside, NativeWorker, RuntimeAdapter } from "./adapter.ts";
export { hold, release } from "./loop.ts";
export { isMissing } from "./missing_module.ts";
export { insideTarget, runTarget } from "./target_context.ts";
export { openChannel, type Port, receive, wrapPort } from "./port.ts";
export { readSource } from "./source_text.ts";
