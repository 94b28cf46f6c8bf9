/** The programs of docs/examples, each run as a program of its own, and what they print. */

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { read } from "../scripts/files.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

const FOLDER = "docs/examples";
const runtime = current();

/** Whether the runtime knows `using`. */
const hasUsing = runtime.name !== "node22";

/** What each program prints; the form with `using`, in a file of its own, prints the same. */
const OUTPUTS: Record<string, string> = {
  hello_process: "hello bob\n",
  map_pool: "[ 4, 5, 6, 7, 8 ]\n",
  producer_consumer: "got red\ngot green\ngot blue\n",
  count_lock: "1000\n",
  count_value: "1000\n",
};

/** Likewise; these are not in start.md. */
const MORE: Record<string, string> = {
  progress: ["map", "imapUnordered"].map((label) =>
    [25, 50, 75, 100].map((part) => `${label} ${part} %\n`).join("") + "78498 primes\n"
  ).join(""),
};

/** These have test files of their own. */
const OTHERS = [
  "http_server.ts",
  "index_words.ts",
  "log_pipeline.ts",
  "mandelbrot.ts",
  "matrix_product.ts",
  "nqueens.ts",
  "pi.ts",
  "thumbnails.ts",
];

/** What the programs of README.md print, in order. */
const README_OUTPUTS = ["hello bob\n", "[ 4, 5, 6, 7, 8 ]\n", "1\n2\n3\n", "10\n", "10\n"];

/** The programs in a document. */
function programsIn(document: string): string[] {
  return [...read(ROOT, document).matchAll(/^```ts.*\n([^]*?)^```$/gm)].map(([, code]) => code!);
}

/** Runs a program; the output that is expected of it depends on whether the runtime can read it. */
async function check(path: string, source: string, output: string): Promise<void> {
  const outcome = await capture([...runtime.command, path], 30_000);
  if (hasUsing || !/^\s*(?:await )?using /m.test(source)) {
    assertEquals(outcome, { code: 0, output, timedOut: false });
  } else {
    assertEquals(outcome.code, 1);
    assertStringIncludes(outcome.output, "SyntaxError");
  }
}

for (const [program, output] of Object.entries({ ...OUTPUTS, ...MORE })) {
  for (const name of [program, `${program}_using`]) {
    const path = `${FOLDER}/${name}.ts`;
    const refused = !hasUsing && name !== program;
    test(`${path} ${refused ? "is a SyntaxError here" : "prints what it should"}`, async () => {
      await check(path, read(ROOT, path), output);
    });
  }
}

test("the programs of README.md print what they should", async (t) => {
  mkdirSync(join(ROOT, "tmp"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, "tmp", "readme_"));
  t.after(() => rmSync(folder, { recursive: true }));
  const programs = programsIn("README.md");
  assertEquals(programs.length, README_OUTPUTS.length);
  for (const [i, source] of programs.entries()) {
    const path = join(folder, `${i}.ts`);
    writeFileSync(path, source);
    await check(path, source, README_OUTPUTS[i]!);
  }
});

test("start.md begins with the programs of docs/examples as they are", () => {
  const shown = programsIn("docs/start.md").slice(0, Object.keys(OUTPUTS).length);
  const programs = Object.keys(OUTPUTS).map((name) =>
    read(ROOT, `${FOLDER}/${name}.ts`).replace(/^\/\*\*.*\*\/\n\n/, "")
  );
  assertEquals(shown, programs);
});

test("every program in docs/examples is run by a test", () => {
  const programs = readdirSync(join(ROOT, FOLDER)).filter((name) => name.endsWith(".ts"));
  const tested = Object.keys({ ...OUTPUTS, ...MORE })
    .flatMap((name) => [`${name}.ts`, `${name}_using.ts`]);
  assertEquals(programs.sort(), [...tested, ...OTHERS].sort());
});

test("using is known to Deno, Bun and Node 24, but not to Node 22", () => {
  let parses = true;
  try {
    new Function("{ using resource = null; }");
  } catch {
    parses = false;
  }
  assertEquals(parses, hasUsing);
});
