/** Each rule of scripts/check_walls.ts lets good code pass and can fail. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { assertArrayIncludes, assertEquals } from "@std/assert";
import { checkWalls, RULE_NAMES } from "../scripts/check_walls.ts";
import { strip } from "../scripts/strip.ts";

/** The rules that a project of these files breaks, as `rule at path:line`. */
function breaches(files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "walls_"));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return checkWalls(root).map(({ rule, path, line }) => `${rule} at ${path}:${line}`);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** A rule, and files of one line each that break it and nothing else. */
const BAD: [rule: string, path: string, text: string][] = [
  ["atomics stay in memory/", "pool.ts", "Atomics.load(words, 0);"],
  ["atomics stay in memory/", "runtime/node.ts", "Atomics.store(words, 0, 1);"],
  ["only memory/futex.ts waits", "memory/mutex.ts", "Atomics.wait(words, 0, 0);"],
  ["only memory/futex.ts waits", "memory/mutex.ts", "Atomics.waitAsync(words, 0, 0);"],
  ["only memory/futex.ts waits", "memory/mutex.ts", "Atomics.notify(words, 0);"],
  ["only memory/futex.ts waits", "memory/mutex.ts", "const { wait } = Atomics;"],
  ["only memory/futex.ts waits", "memory/mutex.ts", 'Atomics["wait"](words, 0, 0);'],
  ["runtime names stay in runtime/", "pool.ts", "Deno.exit(1);"],
  ["runtime names stay in runtime/", "pool.ts", "globalThis.Deno?.exit(1);"],
  ["runtime names stay in runtime/", "wire/codec.ts", 'if (typeof Bun !== "undefined") go();'],
  ["runtime names stay in runtime/", "pool.ts", "process.exit(1);"],
  ["runtime names stay in runtime/", "pool.ts", "const text = `${process.pid}`;"],
  ["runtime names stay in runtime/", "process.ts", "f((process: P) => globalThis.process.pid);"],
  ["runtime names stay in runtime/", "process.ts", "new Worker(url);"],
  [
    "runtime names stay in runtime/",
    "memory/ring.ts",
    'import { Worker } from "node:worker_threads";',
  ],
  ["runtime names stay in runtime/", "pool.ts", 'await import("node:fs");'],
  ["runtime names stay in runtime/", "pool.ts", 'export * from "bun:ffi";'],
  ["imports never go upward", "runtime/node.ts", 'import { lock } from "../memory/mutex.ts";'],
  [
    "imports never go upward",
    "memory/ring.ts",
    'import type { Encoded } from "../wire/protocol.ts";',
  ],
  ["imports never go upward", "memory/ring.ts", 'export * from "../wire/codec/codec.ts";'],
  ["imports never go upward", "wire/codec.ts", 'type Pool = import("../pool.ts").Pool;'],
  ["imports never go upward", "wire/codec.ts", 'import { Pool } from "../pool.ts";'],
  ["imports never go upward", "wire/codec.ts", 'import {\n  Pool,\n} from "../pool.ts";'],
  ["imports never go upward", "errors.ts", 'import { encode } from "./wire/codec.ts";'],
  ["imports never go upward", "errors.ts", 'import "msgpackr";'],
  ["imports never go upward", "pool.ts", 'import { Cluster } from "./cluster/mod.ts";'],
  ["imports never go upward", "pool.ts", 'import { Cluster } from "@multiprocessing/cluster";'],
  ["imports never go upward", "cluster/mod.ts", 'import { Pool } from "../pool.ts";'],
  ["imports never go upward", "cluster/wire/a.ts", 'import { E } from "../../errors.ts";'],
  ["imports never go upward", "pool.ts", 'import { helper } from "./tests/helper.ts";'],
  ["wire/protocol.ts has types only", "wire/protocol.ts", "export const LIMIT = 3;"],
  ["wire/protocol.ts has types only", "wire/protocol.ts", "export async function send() {}"],
  ["wire/protocol.ts has types only", "wire/protocol.ts", 'import { a } from "./codec.ts";'],
  ["globals are not augmented", "pool.ts", "declare global { var x: number; }"],
  ["only erasable syntax", "pool.ts", "using held = lock.acquire();"],
  ["only erasable syntax", "pool.ts", "await using held = lock.acquire();"],
  ["only erasable syntax", "pool.ts", "for (using held of locks) held.go();"],
  ["only erasable syntax", "pool.ts", "export enum State { Open }"],
  ["only erasable syntax", "pool.ts", "export namespace Pools { export const x = 1; }"],
  ["only erasable syntax", "pool.ts", "class A { constructor(a: () => void, readonly b: B) {} }"],
  ["only erasable syntax", "pool.ts", "class A { constructor(private b: B) {} }"],
  ["files stay small", "pool.ts", "go();\n".repeat(401)],
  ["no file knows a machine", "docs/a.md", `See ${"/wo"}rk/main for more.`],
  ["no file knows a machine", "package-lock.json", `"resolved": "${"https"}://example.org/a.tgz"`],
  ["no file knows a machine", ".npmrc", `registry=//${"registry."}npmjs.org`],
];

test("checkWalls() finds a breach of each rule", () => {
  for (const [rule, path, text] of BAD) {
    const found = breaches({ [path]: text });
    assertEquals([...new Set(found)].map((line) => line.split(" at ")[0]), [rule], text);
  }
  assertArrayIncludes(BAD.map(([rule]) => rule), RULE_NAMES);
});

test("checkWalls() names the line", () => {
  assertEquals(
    breaches({ "pool.ts": "// one\n/* two\n three */ const x = 1;\nDeno.exit(x);\n" }),
    ["runtime names stay in runtime/ at pool.ts:4"],
  );
});

test("checkWalls() lets good code pass", () => {
  const found = breaches({
    "errors.ts": "export class E extends Error {}",
    "runtime/node.ts":
      'import { Worker } from "node:worker_threads";\nimport "../errors.ts";\nnew Worker("");',
    "memory/futex.ts": 'import "../runtime/node.ts";\nAtomics.wait(words, 0, 0);',
    "memory/mutex.ts": 'import "./futex.ts";\nAtomics.compareExchange(words, 0, 0, 1);',
    "wire/protocol.ts":
      'import type { A } from "../memory/futex.ts";\nexport type B = A;\nexport interface C {\n  kind: "c";\n  const: number;\n}',
    "wire/codec.ts": 'import { Packr } from "msgpackr";\nimport "../memory/mutex.ts";',
    "process.ts": [
      'import "./wire/codec.ts";',
      "// Deno.exit(), Atomics.wait(), new Worker(), enum E { A }, process.exit()",
      "/* declare global { } */",
      'const text = "Deno.exit() and Atomics";',
      "const template = `using x = Bun.file ${`nested ${text}` + '}'} Deno.exit`;",
      "const pattern = text.match(/[/'\"]Deno.exit`/);",
      "const half = text.length / 2; const quarter = half / 2;",
      "for (const process of all) process.start();",
      "worker.process.start();",
      "const using = 1; if (using === half) done();",
      "class P { readonly pid = 1; constructor(options: { readonly a: 1 }) {} }",
      'const a = "//"; const b = 1; // "',
    ].join("\n"),
    "pool.ts": `${"go();\n".repeat(400)}${"// words\n\n".repeat(100)}`,
    "cluster/mod.ts":
      'import { Pool } from "@multiprocessing/core";\nimport { E } from "./errors.ts";\nimport "./wire/codec.ts";',
    "cluster/runtime/socket.ts": 'import "node:net";',
    "tests/pool_test.ts": "Deno.exit(Atomics.load(words, 0)); using x = y;",
    // Put together, so that this file has no such path itself.
    "docs/a.md": `See https://example.org${"/wo" + "rk/"}a and network${"/wo" + "rk/"}b.`,
  });
  assertEquals(found, []);
});

test("strip() keeps every character of code in its place", () => {
  const source = "a /* b */ = `c${d + `e${f}`}g` / 'h\\'' + /[/]\\//g; // i\nj";
  assertEquals(strip(source), "a         = `_${d + `_${f}`}_` / '___' + /______g;     \nj");
});
