/**
 * Consumers: programs that a bundler has made one file of, library and all.
 *
 * @module
 */

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import * as esbuild from "esbuild";
import { rollup } from "rollup";
import { runtime, type RuntimeName } from "../runtimes.ts";
import {
  check,
  MINIFIED,
  mustRun,
  type Program,
  PROGRAMS,
  withProcessGuard,
  writeJavaScript,
} from "./consumer.ts";
import { installNpmForm } from "./npm.ts";

/** Makes one file of a program. */
type Bundle = (from: string, to: string) => Promise<unknown>;

interface Bundler {
  title: string;
  bundle: Bundle;
  programs: readonly Program[];
  on: RuntimeName[];
  /** Whether it makes more than one file. */
  chunks?: true;
}

const ALL: RuntimeName[] = ["deno", "bun", "node", "node22"];

function byEsbuild(options: esbuild.BuildOptions): Bundle {
  return (from, to) =>
    esbuild.build({
      entryPoints: [from],
      outdir: dirname(to),
      outExtension: { ".js": ".mjs" },
      bundle: true,
      format: "esm",
      platform: "node",
      logLevel: "error",
      ...options,
    });
}

/** Rollup has no minifier. Vite lets esbuild minify what Rollup has bundled. */
function byRollup(minify: boolean): Bundle {
  return async (from, to) => {
    const bundle = await rollup({ input: from, plugins: [nodeResolve()] });
    const { output: [{ code }] } = await bundle.generate({
      format: "es",
      inlineDynamicImports: true,
    });
    await bundle.close();
    writeFileSync(to, minify ? (await esbuild.transform(code, { minify: true })).code : code);
  };
}

function byBun(...options: string[]): Bundle {
  return async (from, to) => {
    const command = [runtime("bun").binary, "build", from, `--outfile=${to}`, ...options];
    await mustRun(command, { cwd: join(from, "..") });
  };
}

const GUARDED = withProcessGuard(PROGRAMS);
const GUARDED_MINIFIED = withProcessGuard(MINIFIED);

const BUNDLERS: Bundler[] = [
  { title: "esbuild", bundle: byEsbuild({}), programs: PROGRAMS, on: ALL },
  {
    title: "esbuild keepNames",
    bundle: byEsbuild({ keepNames: true }),
    programs: PROGRAMS,
    on: ALL,
  },
  {
    title: "esbuild minify",
    bundle: byEsbuild({ minify: true }),
    programs: MINIFIED,
    on: ALL,
  },
  {
    title: "esbuild splitting",
    bundle: byEsbuild({ splitting: true }),
    programs: PROGRAMS,
    on: ALL,
    chunks: true,
  },
  { title: "rollup", bundle: byRollup(false), programs: PROGRAMS, on: ALL },
  { title: "rollup, minified", bundle: byRollup(true), programs: MINIFIED, on: ALL },
  { title: "bun build", bundle: byBun("--target=bun"), programs: PROGRAMS, on: ["bun"] },
  {
    title: "bun build --minify",
    bundle: byBun("--target=bun", "--minify"),
    programs: MINIFIED,
    on: ["bun"],
  },
  {
    title: "bun build --target=node",
    bundle: byBun("--target=node"),
    programs: GUARDED,
    on: ALL,
  },
  {
    title: "bun build --target=node --minify",
    bundle: byBun("--target=node", "--minify"),
    programs: GUARDED_MINIFIED,
    on: ALL,
  },
];

/** Bundles the programs with each bundler, and runs what it has made in a folder of its own. */
export async function checkBundles(folder: string): Promise<void> {
  const project = join(folder, "project");
  await installNpmForm(project);
  for (const [index, { title, bundle, programs, on, chunks = false }] of BUNDLERS.entries()) {
    writeJavaScript(project, programs);
    const out = join(folder, `bundles_${index}`);
    mkdirSync(out);
    for (const { name } of programs) {
      await bundle(join(project, `${name}.mjs`), join(out, `${name}.mjs`));
    }
    const files = readdirSync(out).length;
    if (files > programs.length !== chunks) throw new Error(`${title} made ${files} files`);
    for (const name of on) {
      await check({
        title,
        on: name,
        programs,
        options: { cwd: out },
        command: (program) => [...runtime(name).command, join(out, `${program.name}.mjs`)],
      });
    }
  }
}
