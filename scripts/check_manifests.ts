/**
 * Checks that package.json and deno.json say the same, and that every public file is exported.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { packages, read, readJson, walk } from "./files.ts";
import { ROOT } from "./runtimes.ts";

interface PackageJson {
  name: string;
  version: string;
  license: string;
  exports: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

interface DenoJson extends PackageJson {
  imports?: Record<string, string>;
  links?: string[];
}

/** Whether a version lies in a range of the forms `1.2.3`, `~1.2.3` and `^1.2.3`. */
export function satisfies(version: string, range: string): boolean {
  const [major, minor, patch] = version.split(".").map(Number) as [number, number, number];
  const sign = /^[~^]/.exec(range)?.[0] ?? "";
  const [a, b = 0, c = 0] = range.slice(sign.length).split(".").map(Number) as [number, number];
  const atLeast = minor > b || (minor === b && patch >= c);
  if (sign === "^" && a > 0) return major === a && atLeast;
  if (sign !== "" && (sign === "~" || b > 0)) return major === a && minor === b && patch >= c;
  return major === a && minor === b && patch === c;
}

/** The dependencies of both manifests, compared by name and version. */
function checkDependencies(root: string, node: PackageJson, deno: DenoJson): string[] {
  const problems: string[] = [];
  const installed = { ...node.devDependencies, ...node.peerDependencies, ...node.dependencies };
  const imports = deno.imports ?? {};
  for (const name of Object.keys(node.dependencies ?? {})) {
    if (!(name in imports)) problems.push(`deno.json does not import '${name}'`);
  }
  for (const [name, target] of Object.entries(imports)) {
    const [, scheme, , range] = /^(npm|jsr):(@?[^@]+)@(.+)$/.exec(target) ?? [];
    const wanted = installed[name];
    if (!scheme) continue; // an import within the project
    if (!wanted) {
      problems.push(`package.json does not depend on '${name}'`);
      continue;
    }
    const folder = /^file:(.+)$/.exec(wanted)?.[1];
    // The workspace's own packages need no link.
    if (folder && folder !== ".." && !deno.links?.includes(`./${folder}`)) {
      problems.push(`deno.json does not link './${folder}'`);
    }
    const version = folder
      ? readJson<PackageJson>(root, `${folder}/package.json`)?.version ?? "none"
      : wanted.replace(/^[~^]/, "");
    if (!satisfies(version, range!)) {
      problems.push(`'${name}' is ${version} in package.json, but ${range} in deno.json`);
    }
  }
  return problems;
}

/** Every file at the root of the core is one of its exports, and mod.ts has and explains it. */
function checkPublicFiles(root: string, { exports }: PackageJson): string[] {
  const problems: string[] = [];
  const exported = new Set(Object.values(exports));
  const all = walk(root);
  for (const path of exported) {
    if (!all.includes(path.replace("./", ""))) problems.push(`'${path}' is exported, but missing`);
  }
  if (!all.includes("mod.ts")) return problems;
  const mod = read(root, "mod.ts");
  const introduction = /^\/\*\*[^]*?\*\//.exec(mod)?.[0] ?? "";
  for (const path of all) {
    const name = /^([a-z]\w*)\.ts$/.exec(path)?.[1];
    if (!name || name === "mod") continue;
    if (exports[`./${name}`] !== `./${path}`) problems.push(`'./${name}' is not exported`);
    if (!mod.includes(`from "./${path}"`)) problems.push(`mod.ts does not export './${path}'`);
    if (!new RegExp(`\\b${name}\\b`, "i").test(introduction)) {
      problems.push(`the introduction of mod.ts does not name '${name}'`);
    }
    if (!/^\/\*\*[^]*?@module[^]*?\*\//.test(read(root, path))) {
      problems.push(`'${path}' does not begin with a doc comment that has @module`);
    }
  }
  return problems;
}

/** All that does not agree, as sentences. */
export function checkManifests(root: string): string[] {
  const problems = packages(root).flatMap((folder) => {
    const node = readJson<PackageJson>(root, `${folder}/package.json`);
    const deno = readJson<DenoJson>(root, `${folder}/deno.json`)!;
    if (!node) return [`${folder}/package.json is missing`];
    const differing = (["name", "version", "license", "exports"] as const)
      .filter((key) => JSON.stringify(node[key]) !== JSON.stringify(deno[key]))
      .map((key) => `${folder}: '${key}' differs between package.json and deno.json`);
    return [...differing, ...checkDependencies(join(root, folder), node, deno)];
  });
  return [...problems, ...checkPublicFiles(root, readJson<PackageJson>(root, "package.json")!)];
}

if (process.argv[1] === import.meta.filename) {
  const problems = checkManifests(ROOT);
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
