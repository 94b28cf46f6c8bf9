/** The programs in the pages of docs, each run as a program of its own, and what they print. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { read, walk } from "../scripts/files.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

const runtime = current();

/** Whether the runtime knows `using`. */
const hasUsing = runtime.name !== "node22";

/** A program in a page, and the text block behind the word "prints" that follows it, if one does. */
const PROGRAM = /^```ts(?: no-eval)?\n([^]*?)^```$(?:\n\nprints\n\n```text\n([^]*?)^```$)?/gm;

/** A first line that names the file, for programs of several files. */
const FILE_NAME = /^\/\/ ([\w./-]+\.ts)\n/;

interface Program {
  path: string;
  source: string;
  output: string | undefined;
}

/** Writes a page's programs into a folder: those that the runtime can read. */
function programsOf(page: string, folder: string): Program[] {
  const found = [...read(ROOT, page).matchAll(PROGRAM)].map(([, source, output], i) => {
    const path = join(folder, FILE_NAME.exec(source!)?.[1] ?? `${i}.ts`);
    return { path, source: source!, output };
  });
  const readable = found.filter(({ source }) => hasUsing || !/^\s*(?:await )?using /m.test(source));
  for (const { path, source } of readable) writeFileSync(path, source);
  return readable;
}

/** Programs that need not be the main module become one, for starts take most of the time. */
function together(programs: Program[], folder: string): Program[] {
  const alone = programs.filter(({ source }) => source.includes("import.meta.main"));
  const path = join(folder, "together.ts");
  const source = programs.filter((program) => !alone.includes(program))
    .map((program) => `await import("./${basename(program.path)}");\n`)
    .join("");
  writeFileSync(path, source);
  return source === "" ? alone : [{ path, source, output: undefined }, ...alone];
}

async function check({ path, source, output }: Program): Promise<void> {
  const outcome = await capture([...runtime.command, path], 60_000);
  const printed = output ?? outcome.output;
  assertEquals(outcome, { code: 0, output: printed, timedOut: false }, `${source}\nended so`);
}

const pages = walk(ROOT, "docs").filter((path) => /^docs\/[^/]+\.md$/.test(path));
const tested = pages.filter((page) => read(ROOT, page).search(PROGRAM) >= 0);

for (const page of tested) {
  test(`the programs of ${page} run`, async (t) => {
    mkdirSync(join(ROOT, "tmp"), { recursive: true });
    const folder = mkdtempSync(join(ROOT, "tmp", "docs_"));
    t.after(() => rmSync(folder, { recursive: true }));
    for (const program of together(programsOf(page, folder), folder)) await check(program);
  });
}

test("docs has pages with programs", () => {
  assertEquals(tested.length > 10, true);
});
