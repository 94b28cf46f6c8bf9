/** The programs of docs/examples, each run as a program of its own, and what they print. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture, type Outcome } from "../scripts/spawn.ts";

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

/** Has a test file of its own. */
const OTHERS = ["index_words.ts"];

function run(program: string): Promise<Outcome> {
  return capture([...runtime.command, `${FOLDER}/${program}.ts`], 30_000);
}

for (const [program, output] of Object.entries(OUTPUTS)) {
  test(`docs/examples/${program}.ts prints what it should`, async () => {
    assertEquals(await run(program), { code: 0, output, timedOut: false });
  });

  if (hasUsing) {
    test(`docs/examples/${program}_using.ts prints the same`, async () => {
      assertEquals(await run(`${program}_using`), { code: 0, output, timedOut: false });
    });
  } else {
    test(`docs/examples/${program}_using.ts is refused by a runtime that does not know using`, async () => {
      const outcome = await run(`${program}_using`);
      assertEquals(outcome.code, 1);
      assertStringIncludes(outcome.output, "SyntaxError");
    });
  }
}

test("every program in docs/examples is run by a test", () => {
  const programs = readdirSync(join(ROOT, FOLDER)).filter((name) => name.endsWith(".ts"));
  const tested = Object.keys(OUTPUTS).flatMap((name) => [`${name}.ts`, `${name}_using.ts`]);
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
