import type { RuntimeName } from "./adapter.ts";

/** The part of the global scope by which runtimes are told apart. */
export interface RuntimeGlobals {
  Deno?: { version?: { deno?: string } };
  Bun?: { version?: string };
  process?: { versions?: { node?: string } };
}

/**
 * The oldest version of each line on which all tests pass; the last also stands for the lines after
 * it. docs/runtimes.md says what is missing before them, as `import.meta.main` is in Node 23.0 to 24.2.
 */
export const OLDEST: Readonly<Record<RuntimeName, readonly string[]>> = {
  deno: ["2.8"],
  bun: ["1.4"],
  node: ["22.18", "24.3"],
};

const TITLES: Record<RuntimeName, string> = { deno: "Deno", bun: "Bun", node: "Node" };

/** Major and minor version; undefined if the text does not begin with them. */
function lineOf(version: string): [major: number, minor: number] | undefined {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

/**
 * Refuses a runtime that is too old, before it fails in a way of its own, or silently does nothing. A
 * text that is no version, as a private build may have, passes.
 *
 * @param name Which runtime.
 * @param version Its version, such as `"22.18.0"` or `"1.4.6-canary.1"`.
 * @throws {Error} If the version is older than {@linkcode OLDEST}.
 */
export function checkVersion(name: RuntimeName, version: string): void {
  const [major, minor] = lineOf(version) ?? [Infinity, 0];
  const lines = OLDEST[name];
  const supported = lines.some((oldest, at) => {
    const [line, first] = lineOf(oldest)!;
    if (major === line) return minor >= first;
    return major > line && at === lines.length - 1;
  });
  if (supported) return;
  const [title, needed] = [TITLES[name], lines.join(", or ")];
  throw new Error(
    `Cannot load @multiprocessing/core: it needs ${title} ${needed} or newer, ` +
      `and this is ${title} ${version}`,
  );
}

/**
 * Tells which runtime this is. Deno and Bun are asked first: both also look like Node.
 *
 * @param globals The global scope to look at.
 * @returns The runtime's name.
 * @throws {Error} If it is none of the three, or too old.
 */
export function detectRuntime(
  globals: RuntimeGlobals = globalThis as RuntimeGlobals,
): RuntimeName {
  const versions: [RuntimeName, string | undefined][] = [
    ["deno", globals.Deno?.version?.deno],
    ["bun", globals.Bun?.version],
    ["node", globals.process?.versions?.node],
  ];
  for (const [name, version] of versions) {
    if (version === undefined) continue;
    checkVersion(name, version);
    return name;
  }
  throw new Error(
    "Cannot load @multiprocessing/core: this runtime is none of Deno, Bun and Node " +
      "(browsers and edge runtimes have no processes to start)",
  );
}
