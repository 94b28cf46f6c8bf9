/**
 * The runtimes that the project pins in package.json, as paths of their real binaries.
 *
 * The `node` on the PATH may be too old for everything here, and the launchers in `node_modules/.bin`
 * are, for Deno and Bun, JavaScript on some platforms, which costs a start of Node each time.
 *
 * @module
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** The names of the pinned runtimes: Node comes in its current and in its oldest supported version. */
export type RuntimeName = "deno" | "bun" | "node" | "node22";

/** One runtime. */
export interface Runtime {
  /** The name by which scripts choose it. */
  name: RuntimeName;
  /** The path of its binary. */
  binary: string;
  /** The words to put before a program's path to run it with all permissions. */
  command: string[];
  /** Its version, such as `24.21.0`. */
  version: string;
}

/** The project's folder. */
export const ROOT: string = join(import.meta.dirname!, "..");

const MODULES = join(ROOT, "node_modules");

interface Manifest {
  version: string;
  optionalDependencies?: Record<string, string>;
}

function manifest(name: string): Manifest {
  return JSON.parse(readFileSync(join(MODULES, name, "package.json"), "utf8"));
}

/** The binary inside a package, or the first one in the platform packages that it lists. */
function binaryOf(name: string): string {
  const platforms = Object.keys(manifest(name).optionalDependencies ?? {});
  const program = name === "node22" ? "node" : name;
  const candidates = [name, ...platforms].flatMap((folder) =>
    [program, `${program}.exe`, `bin/${program}.exe`, `bin/${program}`].map((file) =>
      join(MODULES, folder, file)
    )
  );
  return candidates.find((path) => existsSync(path)) ?? join(MODULES, ".bin", program);
}

function commandOf(name: RuntimeName, binary: string): string[] {
  return name === "deno" ? [binary, "run", "-A", "--no-check"] : [binary];
}

/** All pinned runtimes. */
export function runtimes(): Runtime[] {
  return (["deno", "bun", "node", "node22"] as const).map((name) => {
    const binary = binaryOf(name);
    return { name, binary, command: commandOf(name, binary), version: manifest(name).version };
  });
}

/** One of the pinned runtimes. */
export function runtime(name: RuntimeName): Runtime {
  return runtimes().find((runtime) => runtime.name === name)!;
}

/** The runtime that runs this program. */
export function current(): Runtime {
  const { bun, deno, node } = process.versions;
  const version = deno ?? bun ?? node!;
  const name = deno ? "deno" : bun ? "bun" : node!.startsWith("22.") ? "node22" : "node";
  return { name, binary: process.execPath, command: commandOf(name, process.execPath), version };
}

/** Takes `--runtime=a,b` out of a command line: the runtimes it names, and the other words. */
export function chooseRuntimes(
  args: string[],
  all: Runtime[] = runtimes(),
): { chosen: Runtime[]; rest: string[] } {
  const flag = "--runtime=";
  const names = args.filter((arg) => arg.startsWith(flag))
    .flatMap((arg) => arg.slice(flag.length).split(","));
  for (const name of names) {
    if (!all.some((runtime) => runtime.name === name)) {
      const known = all.map((runtime) => runtime.name).join(", ");
      throw new RangeError(`Cannot run on '${name}': the runtimes are ${known}`);
    }
  }
  return {
    chosen: all.filter(({ name }) => names.length === 0 || names.includes(name)),
    rest: args.filter((arg) => !arg.startsWith(flag)),
  };
}
