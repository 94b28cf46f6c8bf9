/**
 * What the cluster needs of the machine it is on: files, hashes, the environment.
 *
 * @module
 */

import { createHash, randomUUID } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

export { availableParallelism, fileURLToPath, parseArgs, pathToFileURL, randomUUID };
export { resolve };
export { fromBase64, toBase64, toBuffer } from "./base64.ts";

/** The value of a variable of the environment; undefined if there is none, or it may not be read. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined;
  } catch {
    return undefined;
  }
}

/** What this machine is called; Deno asks for a permission to tell. */
export function hostName(): string {
  try {
    return hostname();
  } catch {
    return "unknown";
  }
}

/** Sets a variable of the environment, for this program and what it starts. */
export function setVariable(name: string, value: string): void {
  process.env[name] = value;
}

/** The current directory. */
export function currentFolder(): string {
  return process.cwd();
}

/** The arguments of the program. */
export function programArguments(): string[] {
  return process.argv.slice(2);
}

/** What the program ends with, unless it ends otherwise. */
export function setExitCode(code: number): void {
  process.exitCode = code;
}

/** Ends the program. */
export function exit(code: number): never {
  process.exit(code);
}

/** The id of this process, as the operating system calls it. */
export function processId(): number {
  return process.pid;
}

/** Calls a function whenever somebody asks the program to end. */
export function onStopSignal(listener: (signal: string) => void): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => listener(signal));
}

/** Which runtime this is, such as `"node 24.21.0"`. */
export function runtimeName(): string {
  const { bun, deno, node } = process.versions;
  if (deno !== undefined) return `deno ${deno}`;
  return bun === undefined ? `node ${node}` : `bun ${bun}`;
}

/** The SHA-256 of a file or a text, in hexadecimal. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Whether there is a folder of that name. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Whether there is a file of that name. */
export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Reads a file. */
export function readFile(path: string): Uint8Array {
  return readFileSync(path);
}

/**
 * The path of a file relative to a folder, with slashes; undefined if it is not in there, links
 * followed.
 */
export function within(folder: string, path: string): string | undefined {
  const inside = relative(realpathSync(folder), realpathSync(path));
  const outside = inside === "" || inside === ".." || inside.startsWith(`..${sep}`);
  return outside || isAbsolute(inside) ? undefined : inside.split(sep).join("/");
}

/** The path of what lies in a folder. */
export function inFolder(folder: string, path: string): string {
  return join(folder, ...path.split("/"));
}
