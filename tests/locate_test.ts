/** Stacks of sent functions in terms of the user's file, each compiled here as a process compiles it. */

import { test } from "node:test";
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { readSource } from "../runtime/mod.ts";
import { analyseCapture } from "../wire/target/capture.ts";
import { framesOf, headerLines, locate, relocate } from "../wire/target/locate.ts";
import { compileSource } from "../wire/target/target_resolve.ts";

// deno-lint-ignore no-explicit-any
type Fn = (...args: any[]) => unknown;

/** This file as the runtime prints it in a stack, as at the place where a process is started. */
const HERE = framesOf(new Error().stack!)[0]!.file;
const LINES = readSource(HERE)!.split("\n");

/** The lines that end with a marker; several where a test accepts several. */
function marked(marker: string): number[] {
  return LINES.flatMap((line, index) => line.endsWith(`// ${marker}`) ? [index + 1] : []);
}

/** Sends a function as far as the same process, and calls it there; gives its text and its stack. */
async function stackOf(fn: Fn, args: unknown[], scope: Record<string, unknown> = {}) {
  const { expression } = analyseCapture(fn.toString());
  const sent = compileSource(expression, Object.keys(scope), Object.values(scope)) as Fn;
  try {
    await sent(...args);
  } catch (error) {
    return { expression, stack: (error as Error).stack! };
  }
  throw new Error("the function was to throw");
}

/** The name under which the compiled text stands in a stack. */
function nameIn(stack: string): string {
  return /multiprocessing:([^\s:,()]+)/.exec(stack)![1]!;
}

/** The lines of this file in the stack of a function that throws, the innermost first. */
async function linesOf(fn: Fn, args: unknown[] = [], scope: Record<string, unknown> = {}) {
  const { expression, stack } = await stackOf(fn, args, scope);
  const locator = locate(expression, [HERE], readSource);
  assert(locator !== undefined, `not found: ${expression}`);
  const relocated = relocate(stack, new Map([[nameIn(stack), locator]]));
  assert(!relocated.includes("multiprocessing:"), relocated);
  const [before, after] = [stack.split("\n"), relocated.split("\n")];
  return after.filter((_, index) => before[index]!.includes("multiprocessing:"))
    .map((frame) => framesOf(frame)[0]!)
    .map(({ file, line }) => file === HERE ? line : file);
}

interface Shape<T> {
  readonly size: T;
}

function declared<
  T extends { message: string },
  U = Record<string, T>,
>(
  input: T, // not a throw new Error here
  _more?: Shape<U>,
): never {
  /* throw new Error(input.message) was
     here once */

  const options: {
    message: string;
    cause?: unknown;
  } = { message: input.message };

  // throw new Error("old");
  if (options.message === undefined) {
    return undefined as never;
  }

  throw new Error(`declared: ${options.message as string}`); // BOOM-declared
}

// An older form: const arrow = (a: number) => { return missing(a); };
const arrow = (a: number, b: string): string => {
  const doubled = a * 2;

  return (b.padEnd(doubled) as unknown as Shape<string>).size.length.toString(); // BOOM-arrow
};

const short = <T extends object>(value: T) => (value as unknown as Shape<Shape<1>>).size.size; // BOOM-short

async function awaits(
  url: string,
): Promise<Map<string, number>> {
  type Row = { key: string; n: number };
  const rows: Row[] = [];
  await Promise.resolve(url);

  for (const key of ["a", "b"] satisfies string[]) {
    rows.push({ key, n: key.length });
  }
  await Promise.resolve();
  if (rows.length > 0) throw new RangeError(`no ${url}`); // BOOM-awaits
  return new Map(rows.map(({ key, n }) => [key, n]));
}

const methods = {
  first(text: string): number {
    return JSON.parse(text).a;
  },

  /** Reads. */
  async second(text: string): Promise<number> {
    const page = `<a href="https://example.org/*">
      ${text /* not this */}
    </a> // none`;

    const pattern = /["'`]{2,}/g;
    if (pattern.test(page)) return 1;
    await null;
    return JSON.parse(page).second; // BOOM-second
  },
};

const nested = (items: readonly number[]): number[] => {
  const check = (item: number): number => {
    if (item > 2) {
      throw new TypeError("too much: " + item); // BOOM-nested-inner
    }
    return item;
  };

  const checked: number[] = [];
  items
    .filter((item) => item > 0)
    .forEach((item) => checked.push(check(item))); // BOOM-nested-outer
  return checked;
};

/** Bun writes a constant's value, and a value that is used once, where they are used. */
const TIMES = 3;
const folded = (text: string, TIMES_MORE: number = TIMES): number => {
  const all = "a" + "b" + text;
  if (all === undefined || typeof text === "undefined") return Infinity;
  while (true) {
    if (TIMES_MORE) break;
  }
  const parts = text.split("");

  const result = JSON.parse(parts.join("") + "}"); // BOOM-folded
  return result.length;
};

const twin1 = (a: number) => {
  const total = a + 1;
  if (total > 1000) return 0;
  const names = ["x", "y"];
  const first = names[total]!;
  return first.length + 1; // BOOM-twin1
};
const twin2 = (a: number) => {
  const total = a + 1;
  if (total > 1000) return 0;
  const names = ["x", "y"];
  const first = names[total]!;
  return first.length - 1; // BOOM-twin2
};

const same = [(a: { b: { c: number } }) => {
  return a.b.c; // BOOM-same
}, (a: { b: { c: number } }) => {
  return a.b.c; // BOOM-same
}];

function helper(text: string): never {
  throw new SyntaxError(text); // BOOM-helper
}

const calls = (text: string): void => {
  // The helper throws.

  helper(text + "!"); // BOOM-calls
};

/** A call of what is no name: V8 and Bun point at its bracket. Bun puts the second arrow there as well. */
const atOnce = (text: string): number => {
  const size = (() => {
    const page = JSON.parse(text);
    return page.size;
  })(); // BOOM-atOnce-outer
  const check = <T>(value: T): T => {
    if (size === undefined) {
      throw new Error("no size"); // BOOM-check-inner
    }
    return value;
  };

  const checked = check(text); // BOOM-check-outer
  return checked.length + 1;
};

const CASES: Record<string, [Fn, ...unknown[]]> = {
  "BOOM-declared": [declared, { message: "m" }],
  "BOOM-arrow": [arrow, 3, "b"],
  "BOOM-short": [short, {}],
  "BOOM-awaits": [awaits, "u"],
  "BOOM-second": [methods.second, "{"],
  "BOOM-folded": [folded, "[", 3],
  "BOOM-twin1": [twin1, 5],
  "BOOM-twin2": [twin2, 5],
  "BOOM-same": [same[1]!, {}],
};

for (const [marker, [fn, ...args]] of Object.entries(CASES)) {
  test(`relocate() shows the user's line: ${marker.slice(5)}`, async () => {
    const [line] = await linesOf(fn, args);
    assert(marked(marker).includes(Number(line)), `${line}, not ${marked(marker)}`);
  });
}

test("relocate() shows each frame of a function and of those within it", async () => {
  const lines = await linesOf(nested, [[1, 2, 3]]);
  assertEquals(lines[0], marked("BOOM-nested-inner")[0]);
  assertEquals(lines.slice(1), Array(2).fill(marked("BOOM-nested-outer")[0]));
});

test("relocate() shows the line of a call of what is no name", async () => {
  const called = await linesOf(atOnce, ["{"]);
  assertEquals(called.at(-1), marked("BOOM-atOnce-outer")[0]);
  const inlined = await linesOf(atOnce, ["{}"]);
  assertEquals(inlined, [...marked("BOOM-check-inner"), ...marked("BOOM-check-outer")]);
});

test("relocate() tells several sent functions apart by the names of their texts", () => {
  const texts = { main: calls, "main.helper": helper };
  const compile = (name: string, names: string[], values: unknown[]) =>
    new Function(
      ...names,
      `"use strict";\nreturn (${texts[name as "main"]}\n);\n//# sourceURL=multiprocessing:${name}`,
    )(...values) as Fn;
  let stack = "";
  try {
    compile("main", ["helper"], [compile("main.helper", [], [])])("text");
  } catch (error) {
    stack = (error as Error).stack!;
  }
  const locators = new Map(
    Object.entries(texts).map(([name, fn]) => [name, locate(`(${fn}\n)`, [HERE], readSource)!]),
  );
  const lines = framesOf(relocate(stack, locators)).map(({ line }) => line);
  assertEquals(lines.slice(0, 2), [marked("BOOM-helper")[0], marked("BOOM-calls")[0]]);

  locators.delete("main");
  const partly = relocate(stack, locators);
  assertStringIncludes(partly, "multiprocessing:main");
  assertEquals(framesOf(partly)[0]!.line, marked("BOOM-helper")[0]);
});

test("relocate() leaves out the name that V8 gives to anonymous functions of sent text", () => {
  const locators = new Map([["f", () => ({ file: "/main.ts", line: 7, column: 3 })]]);
  for (
    const [frame, expected] of [
      ["    at eval (multiprocessing:f:5:1)", "    at /main.ts:7:3"],
      ["    at async eval (multiprocessing:f, <anonymous>:5:1)", "    at async /main.ts:7:3"],
      ["    at Object.eval (multiprocessing:f:5:1)", "    at Object.eval (/main.ts:7:3)"],
      ["    at inner (multiprocessing:f, <anonymous>:5:1)", "    at inner (/main.ts:7:3)"],
      ["inner@multiprocessing:f:5:1", "inner@/main.ts:7:3"],
      ["    at inner (multiprocessing:g:5:1)", "    at inner (multiprocessing:g:5:1)"],
    ] as const
  ) {
    assertEquals(relocate(`Error: x\n${frame}\n    at end`, locators).split("\n")[1], expected);
  }
});

test("locate() finds no function that is in none of the files", () => {
  const source = "((a, b) => {\n  const sum = a.left + b.right;\n  return sum.missing.thing;\n}\n)";
  const near = "export const f = (a, b) => { const x = a.up - b.down; return x.other(sum); };";
  for (const text of [near, "", "a b", undefined]) {
    assertEquals(locate(source, ["/main.ts"], () => text), undefined);
  }
  const [file, other] = ["/a.ts", "/b.ts"];
  const place = locate(source, [other, file], (name) => name === file ? `\n${source}` : near)!(
    3,
    14,
  );
  assertEquals(place, { file, line: 4, column: 14 });
});

test("locate() sees through the helpers of a compiler and the name of a method", () => {
  const written =
    "class A {\n\n  method(a: number) {\n    const f = () => a.b.c;\n    f();\n  }\n}";
  const emitted = 'method(a) {\n  const f = /* @__PURE__ */ __name(() => a.b.c, "f");\n  f();\n}';
  const { expression } = analyseCapture(emitted);
  assertStringIncludes(expression, "const __name");
  const row = expression.split("\n").findIndex((line) => line.includes("a.b.c")) + 1;
  const place = locate(expression, ["/a.ts"], () => written)!;
  assertEquals(place(row, expression.split("\n")[row - 1]!.indexOf("c, ") + 1), {
    file: "/a.ts",
    line: 4,
    column: 25,
  });
  assertEquals(place(row + 1, 3).line, 5);
});

test("locate() ends in bounded time with a file of a megabyte and a function of 50 kB", () => {
  const body = (n: number) =>
    Array.from(
      { length: n },
      (_, i) => `  if (x.a${i % 97} === ${i % 13}) { y = f(x, ${i % 7}); }`,
    );
  const typed = body(1100).map((line, i) =>
    i % 3 === 0 ? `  // x = ${i}\n${line.replace("f(x", "f(x as Record<string, number>")}` : line
  );
  const source = `((x, y, f) => {\n${body(1100).join("\n")}\n  throw x.last;\n}\n)`;
  const other = `const g = (x: X, y: Y, f: F) => {\n${typed.join("\n")}\n  throw x.other;\n};\n`;
  const file = other.repeat(16) + other.replace("other", "last");
  assert(file.length > 900_000);
  const start = performance.now();
  const place = locate(source, ["/big.ts"], () => file)!(1102, 9);
  const elapsed = performance.now() - start;
  assertEquals(place.line, file.slice(0, file.indexOf("x.last")).split("\n").length);
  assertLess(elapsed, 30_000);

  // Many places where it may begin, and none where it is.
  const common = "x => x + 1, x => { return x }, ".repeat(32_000);
  const begin = performance.now();
  assertEquals(locate("(x => x.y.z(x => x * 2)\n)", ["/big.ts"], () => common), undefined);
  assertLess(performance.now() - begin, 30_000);
});

test("framesOf() finds files, and leaves out what belongs to the runtime", () => {
  const stack = [
    "Error: at /no/frame.ts",
    "    at double (multiprocessing:double:5:9)",
    "    at main (file:///home/me/a%20b/main.ts:3:7)",
    "    at async file:///home/me/main.ts:4:1",
    "    at run (C:\\me\\main (1).ts:5:2)",
    "    at ModuleJob.run (node:internal/modules/esm/module_job:561:25)",
    "    at handle (ext:core/01_core.js:1:2)",
    "    at map (native:1:11)",
    "    at Array.map (<anonymous>)",
    "    at eval (eval at <anonymous> (file:///home/me/main.ts:40:20), <anonymous>:4:6)",
    "    at https://example.org/mod.ts:1:2",
    "    at /home/me/main.ts:6:3",
    "inner@/home/me/main.ts:7:4",
  ].join("\n");
  assertEquals(framesOf(stack).map(({ text }) => text), [
    "file:///home/me/a%20b/main.ts:3:7",
    "file:///home/me/main.ts:4:1",
    "C:\\me\\main (1).ts:5:2",
    "/home/me/main.ts:6:3",
    "/home/me/main.ts:7:4",
  ]);
  assertEquals(framesOf(stack)[2], {
    file: "C:\\me\\main (1).ts",
    line: 5,
    column: 2,
    text: "C:\\me\\main (1).ts:5:2",
  });
});

test("headerLines() is what this runtime puts before a compiled text", () => {
  assertEquals(headerLines(), 3);
});

test("readSource() reads paths and URLs, and gives undefined for what cannot be read", () => {
  assertStringIncludes(readSource(import.meta.url)!, "BOOM-declared");
  assertStringIncludes(readSource(import.meta.filename!)!, "BOOM-declared");
  assertEquals(readSource(`${import.meta.url}.none`), undefined);
  assertEquals(readSource("https://example.org/main.ts"), undefined);
});
