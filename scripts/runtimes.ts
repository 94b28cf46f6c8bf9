/**
 * The runtimes that the project pins in package.json, as paths of their real binaries.
 *
 * The `node` on the PATH may be too old for everything here, and the launchers in `node_modules/.bin`
 * are, for Deno and Bun, JavaScript on some platforms, which costs a start of Node each time.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
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

/** A runtime that is not pinned, by the path of its binary. */
function runtimeAt(name: RuntimeName, binary: string): Runtime {
  const printed = execFileSync(binary, ["--version"], { encoding: "utf8" });
  const version = /\d+\.\d+\.\S+/.exec(printed)?.[0] ?? printed.trim();
  return { name, binary, command: commandOf(name, binary), version };
}

/**
 * Takes `--runtime=a,b` out of a command line: the runtimes it names, and the other words. A name may
 * be followed by the path of another binary: `--runtime=deno:/path/to/deno`.
 */
export function chooseRuntimes(
  args: string[],
  all: Runtime[] = runtimes(),
): { chosen: Runtime[]; rest: string[] } {
  const flag = "--runtime=";
  const binaries = new Map<string, string | undefined>();
  for (const word of args.filter((arg) => arg.startsWith(flag))) {
    for (const choice of word.slice(flag.length).split(",")) {
      const [, name, binary] = /^([^:]*):?(.*)$/.exec(choice) as unknown as [
        string,
        string,
        string,
      ];
      if (!all.some((runtime) => runtime.name === name)) {
        const known = all.map((runtime) => runtime.name).join(", ");
        throw new RangeError(`Cannot run on '${name}': the runtimes are ${known}`);
      }
      binaries.set(name, binary || undefined);
    }
  }
  const chosen = all.filter(({ name }) => binaries.size === 0 || binaries.has(name));
  return {
    chosen: chosen.map((pinned) => {
      const binary = binaries.get(pinned.name);
      return binary === undefined ? pinned : runtimeAt(pinned.name, binary);
    }),
    rest: args.filter((arg) => !arg.startsWith(flag)),
  };
}
