/** The map of CPython's tests in README.md names tests that there are. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { ROOT } from "../scripts/runtimes.ts";

/** A line of the map. */
interface Row {
  section: string;
  /** The name in CPython, as in `test_lock`. */
  name: string;
  mark: string;
  /** The tests that assert the same, or, after a dash, why there are none. */
  here: string;
}

/** The lines of all tables in a document. */
function rowsIn(text: string): Row[] {
  let section = "";
  return text.split("\n").flatMap((line) => {
    section = /^#+ (.*)/.exec(line)?.[1] ?? section;
    const cells = /^\|(.*)\|(.*)\|(.*)\|$/.exec(line)?.slice(1).map((cell) => cell.trim());
    const [name = "", mark = "", here = ""] = cells ?? [];
    return /^[✔~✘]/.test(mark) ? [{ section, name, mark, here }] : [];
  });
}

/** The tests that a line names: each stands in backticks, after its file or another test of that. */
function testsIn(here: string): { file: string; name: string }[] {
  if (here.startsWith("—")) return [];
  return Array.from(here.matchAll(/(\w+_test\.ts): ((?:`[^`]+`(?:, )?)+)/g)).flatMap((
    [, file, list],
  ) => Array.from(list!.matchAll(/`([^`]+)`/g), ([, name]) => ({ file: file!, name: name! })));
}

/** Whether the source of a test file has a test of this name, as it is written there. */
function hasTest(source: string, name: string): boolean {
  const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`\\btest\\(\\s*(["'\`])${escaped}\\1`).test(source);
}

/** What is wrong with the map. */
function problems(text: string, sourceOf: (file: string) => string): string[] {
  return rowsIn(text).flatMap(({ section, name, mark, here }) => {
    const tests = testsIn(here);
    if (tests.length === 0 && !here.startsWith("—")) {
      return [`${section}, ${name} (${mark}): neither a test nor a reason`];
    }
    return tests
      .filter(({ file, name }) => !hasTest(sourceOf(file), name))
      .map((missing) => `${section}, ${name}: no test "${missing.name}" in ${missing.file}`);
  });
}

function sourceOf(file: string): string {
  const path = join(ROOT, "tests", file);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

const README = readFileSync(join(ROOT, "tests/README.md"), "utf8");

test("tests/README.md names for each test of CPython tests that there are, or a reason", () => {
  assertEquals(problems(README, sourceOf), []);
});

test("tests/README.md is read as a whole: no line of its tables is passed over", () => {
  const lines = README.split("\n").filter((line) => /^\|(?! *(?:-|CPython))/.test(line));
  assertEquals(rowsIn(README).length, lines.length);
  assertGreater(lines.length, 50);
  // What stands in backticks after a test file and a colon is a test: none is overlooked.
  const mentions = lines.flatMap((line) => line.match(/_test\.ts\b/g) ?? []);
  const files = rowsIn(README).flatMap(({ here }) => here.match(/\w+_test\.ts: `/g) ?? []);
  assertEquals(files.length, mentions.length);
});

test("tests/README.md would not pass with a test that is not there, or a line without any", () => {
  const map = (here: string) =>
    `## A\n\n| CPython | mark | here |\n|---|---|---|\n| t | ✔ | ${here} |\n`;
  const source = 'test("a b", () => {});\n  test(\n    `${c} d`, async () => {});\n// test "e"';
  const check = (here: string) =>
    problems(map(here), (file) => file === "x_test.ts" ? source : "").length;
  assertEquals(check("x_test.ts: `a b`, `${c} d`; a word"), 0);
  assertEquals(check("— `there` is none"), 0);
  assertEquals(check("x_test.ts: `a b`, `e`"), 1);
  assertEquals(check("x_test.ts: `a`"), 1);
  assertEquals(check("y_test.ts: `a b`; x_test.ts: `b`"), 2);
  assertEquals(check(""), 1);
  assertEquals(check("`a b`"), 1);
});
