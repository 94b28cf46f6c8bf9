import type { RuntimeName } from "./adapter.ts";

/** The part of the global scope by which runtimes are told apart. */
export interface RuntimeGlobals {
  Deno?: { version?: { deno?: string } };
  Bun?: { version?: string };
  process?: { versions?: { node?: string } };
}

/**
 * Tells which runtime this is. Deno and Bun are asked first: both also look like Node.
 *
 * @param globals The global scope to look at.
 * @returns The runtime's name.
 * @throws {Error} If it is none of the three.
 */
export function detectRuntime(
  globals: RuntimeGlobals = globalThis as RuntimeGlobals,
): RuntimeName {
  if (globals.Deno?.version?.deno !== undefined) return "deno";
  if (globals.Bun?.version !== undefined) return "bun";
  if (globals.process?.versions?.node !== undefined) return "node";
  throw new Error(
    "Cannot load @multiprocessing/core: this runtime is none of Deno, Bun and Node " +
      "(browsers and edge runtimes have no processes to start)",
  );
}
