/** Programs that esbuild has made one file of, with the library in it: the worker module is that file. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type BuildOptions, buildSync } from "esbuild";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture, type Outcome } from "../scripts/spawn.ts";

/** No program here takes a tenth of this. */
const DEADLINE = 30_000;

/** Bundles a program, and runs the bundle where nothing else is. */
async function run(program: string, options: BuildOptions = {}): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "bundle_"));
  const outfile = join(folder, options.format === "cjs" ? "program.cjs" : "program.mjs");
  try {
    buildSync({
      entryPoints: [join(ROOT, program)],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      logLevel: "silent",
      ...options,
    });
    return await capture([...current().command, outfile], DEADLINE);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function assertPrints(
  program: string,
  output: string,
  options?: BuildOptions,
): Promise<void> {
  assertEquals(await run(program, options), { code: 0, output, timedOut: false });
}

const PROGRAMS = "scripts/pack/programs";
const FIXTURES = "tests/fixtures/bundle";

const TASK_OUTPUT = "1 km\n2 km,4 km,6 km\nno distance: -2 km\n";

test("task() works in a minified bundle, for functions with imports and for classes of errors", async () => {
  await assertPrints(`${PROGRAMS}/task_import.ts`, TASK_OUTPUT, { minify: true });
});

test("Process works in a bundle whose functions keep their names by a helper of any name", async () => {
  const options = { minify: true, keepNames: true };
  await assertPrints(`${PROGRAMS}/task_import.ts`, TASK_OUTPUT, options);
});

test("task() finds the right one of two functions of which a bundler has renamed one", async () => {
  await assertPrints(`${FIXTURES}/same_names.ts`, "east west\n");
});

test("task() refuses the second of two functions that keep the same name in a bundle", async () => {
  const { code, output } = await run(`${FIXTURES}/same_names.ts`, { keepNames: true });
  assertEquals(code, 1, output);
  assertStringIncludes(output, 'Cannot mark task "turn": its name must be unique');
});

test("task() refuses a function expression whose name a minifier has taken", async () => {
  const { code, output } = await run(`${FIXTURES}/expression.ts`, { minify: true });
  assertEquals(code, 1, output);
  assertStringIncludes(output, "'fn' must have a name, but is anonymous");
});

test("closure() in a minified bundle says that a name of its scope may have changed", async () => {
  const { code, output } = await run(`${PROGRAMS}/count_closure.ts`, { minify: true });
  assertEquals(code, 1, output);
  assertStringIncludes(output, "its scope has counter, which it does not use");
});

test("closure() works in a minified bundle with names that are only declared", async () => {
  await assertPrints(`${PROGRAMS}/count_declared.ts`, "1000\n", { minify: true });
});

test("Pool in a bundle without main guard is refused, and never becomes a chain", async () => {
  const { code, output, timedOut } = await run(`${FIXTURES}/no_guard.ts`);
  assert(!timedOut, output);
  assertEquals(code, 1, output);
  assertStringIncludes(output, "Start processes only where the module is the program");
  // Itself, and each of the workers that a pool tries in a row before it gives up.
  assert(output.split("program runs").length - 1 <= 4, output);
});

test("Pool in a bundle that is CommonJS says what it needs", async () => {
  const options: BuildOptions = { format: "cjs" };
  const { code, output } = await run(`${FIXTURES}/common_js.ts`, options);
  assertEquals(code, 1, output);
  assertStringIncludes(output, "let it make an ES module");
});
