/**
 * Consumer: a project in plain JavaScript that has the npm form in its `node_modules`.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../runtimes.ts";
import { check, copyPackages, dependenciesOf, PROGRAMS, writeJavaScript } from "./consumer.ts";
import { buildNpmForm } from "./npm_form.ts";

const NAME = "@multiprocessing/core";

/** Makes a project that has the npm form and what it depends on. */
export async function installNpmForm(project: string): Promise<void> {
  await buildNpmForm(join(project, "node_modules", NAME));
  copyPackages(project, dependenciesOf("."));
  // As `npm install` writes it; without it, Deno does not look into node_modules.
  const manifest = { private: true, dependencies: { [NAME]: "*" } };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
}

/** Runs the programs on all runtimes: Deno takes packages from `node_modules`, too. */
export async function checkNpm(folder: string): Promise<void> {
  await installNpmForm(folder);
  writeJavaScript(folder, PROGRAMS);
  for (const { name: on, command } of runtimes()) {
    await check({
      title: "npm",
      on,
      programs: PROGRAMS,
      options: { cwd: folder },
      command: ({ name }) => [...command, join(folder, `${name}.mjs`)],
    });
  }
}
