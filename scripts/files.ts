/**
 * The project's files.
 *
 * @module
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const SKIPPED = new Set(["node_modules", "coverage", "site", "npm", "tmp", ".git"]);

/** All files below a folder, as sorted paths relative to it with `/` between their parts. */
export function walk(root: string, folder = ""): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => !SKIPPED.has(entry.name))
    .flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return walk(root, path);
      return entry.isFile() ? [path] : [];
    })
    .sort();
}

/** A file's text. */
export function read(root: string, path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** A JSON file's value; `undefined` if there is no such file. */
export function readJson<T>(root: string, path: string): T | undefined {
  return existsSync(join(root, path)) ? JSON.parse(read(root, path)) : undefined;
}

/** The folders of the published packages: the core's, and the cluster's once it exists. */
export function packages(root: string): string[] {
  return [".", "cluster"].filter((folder) => existsSync(join(root, folder, "deno.json")));
}

/** What makes up a library: not its tests, benchmarks and examples. */
export function isLibrary(path: string): boolean {
  return path.endsWith(".ts") && !/_(test|bench)\.ts$/.test(path) &&
    /^(?:cluster\/)?(?:[^/]+\.ts$|(?:daemon|pool|queue|shared|sync|wire|memory|runtime)\/)/.test(
      path,
    );
}
