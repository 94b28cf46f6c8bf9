/**
 * Consumers: programs as executables, by `bun build --compile` and `deno compile`.
 *
 * @module
 */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { runtime } from "../runtimes.ts";
import {
  check,
  MINIFIED,
  mustRun,
  type Program,
  PROGRAMS,
  run,
  withProcessGuard,
  writeJavaScript,
} from "./consumer.ts";
import { installNpmForm } from "./npm.ts";

const SUFFIX = process.platform === "win32" ? ".exe" : "";

/** Compiles each program, runs it in an empty folder, and takes it away: it has 100 MB. */
async function checkExecutables(
  title: string,
  folder: string,
  programs: readonly Program[],
  commandOf: (from: string, to: string) => string[],
): Promise<void> {
  const [project, out, empty] = ["project", "out", "empty"].map((name) => join(folder, name));
  writeJavaScript(project!, programs);
  for (const path of [out!, empty!]) mkdirSync(path, { recursive: true });
  await check({
    title,
    on: "alone",
    programs,
    options: { cwd: empty! },
    async command({ name }) {
      const file = join(out!, `${name}${SUFFIX}`);
      await mustRun(commandOf(join(project!, `${name}.mjs`), file), { cwd: project! });
      return [file];
    },
    after: ({ name }) => rmSync(join(out!, `${name}${SUFFIX}`), { force: true }),
  });
}

function bunCommand(from: string, to: string): string[] {
  return [runtime("bun").binary, "build", "--compile", from, `--outfile=${to}`];
}

function denoCommand(from: string, to: string): string[] {
  const { binary } = runtime("deno");
  return [binary, "compile", "-A", "--no-check", "--quiet", `--output=${to}`, from];
}

/** Makes executables, and runs them. */
export async function checkExecutable(folder: string): Promise<void> {
  const project = join(folder, "project");
  await installNpmForm(project);
  await checkExecutables(
    "bun build --compile",
    folder,
    withProcessGuard(PROGRAMS),
    bunCommand,
  );
  await checkExecutables(
    "bun build --compile --minify",
    folder,
    withProcessGuard(MINIFIED),
    (from, to) => [...bunCommand(from, to), "--minify"],
  );
  // The binary that `deno compile` adds the program to is fetched once, over the network.
  const from = join(project, "hello_process.mjs");
  const probe = await run(denoCommand(from, join(folder, `probe${SUFFIX}`)), { cwd: project });
  if (probe.output.includes("Setting up base binary")) {
    console.log("deno compile: not tried, because its base binary cannot be fetched here");
  } else {
    await checkExecutables("deno compile", folder, withProcessGuard(PROGRAMS), denoCommand);
  }
}
