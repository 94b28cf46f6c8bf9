/** The word index of docs/examples: its counts against a plain count, and what it cannot read. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { findTextFiles, inBatches } from "../docs/examples/index_words/files.ts";
import { countFiles, WordIndex, wordsIn } from "../docs/examples/index_words/words.ts";
import { current } from "../scripts/runtimes.ts";
import { capture, type Outcome } from "../scripts/spawn.ts";

/** Makes a folder of these files that goes when the test ends. */
function folderOf(t: TestContext, files: Record<string, string | Uint8Array>): string {
  const folder = mkdtempSync(join(tmpdir(), "index_words_test_"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

function run(...args: string[]): Promise<Outcome> {
  return capture([...current().command, "docs/examples/index_words.ts", ...args], 60_000);
}

/** Runs the program, and reads the counts that it writes. */
async function runForCounts(t: TestContext, folder: string, ...args: string[]) {
  const json = join(folderOf(t, {}), "counts.json");
  const { code, output } = await run(folder, "--json", json, ...args);
  assertEquals(code, 0, output);
  const { milliseconds, ...counts } = JSON.parse(readFileSync(json, "utf8"));
  assert(milliseconds.one >= 0 && milliseconds.all >= 0);
  return { counts, output };
}

/** The counts, in the plainest way: a word after the other, by characters. */
function countPlainly(texts: string[]) {
  const counts = new Map<string, number>();
  let bytes = 0;
  for (const text of texts) {
    bytes += new TextEncoder().encode(text).length;
    let word = "";
    for (const char of [...text.toLowerCase().normalize("NFC"), " "]) {
      if (word === "" ? /\p{L}/u.test(char) : /[\p{L}\p{M}\p{N}]/u.test(char)) {
        word += char;
      } else if (word !== "") {
        counts.set(word, (counts.get(word) ?? 0) + 1);
        word = "";
      }
    }
  }
  const top = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, 10);
  const words = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return { files: texts.length, bytes, words, distinct: counts.size, top };
}

test("wordsIn() knows all scripts, one case, one form", () => {
  assertEquals(wordsIn("Straße, ÉTÉ e\u0301te\u0301 ΟΔΟΣ Łódź 日本語 x86 3rd it's _a-b"), [
    ..."straße été été οδος łódź 日本語 x86 rd it s a b".split(" "),
  ]);
  assertEquals(wordsIn(" 12 —\n"), []);
  // One letter outside of the basic plane, and a mark that belongs to the letter before it.
  assertEquals(wordsIn("𐐀x हिन्दी"), ["𐐨x", "हिन्दी"]);
});

test("index_words counts as a plain count does, whatever the number of processes", async (t) => {
  const texts: Record<string, string> = {
    "a.txt": "one two Two THREE three three\r\nÉtude e\u0301tude",
    "empty.txt": "",
    "deep/er/b.md": "# Title\n\nzwei Straßen, 日本語 and two",
    "deep/c.ts": "export const two: number = 2; // d'accord 𐐀",
    "deep/d.mts": "two",
    "deep/e.cts": "x1 x1 1x",
    "f.h": "#define TWO 2\n",
    "UPPER.TXT": "two",
  };
  for (let i = 0; i < 40; i++) texts[`many/${i}.txt`] = `word${i % 7} common `.repeat(4000 + i);
  const others = { "g.js": "two", "h.json": "{}", "txt": "two", "deep/i.bin": new Uint8Array(9) };
  const folder = folderOf(t, { ...texts, ...others });
  const expected = countPlainly(Object.values(texts));
  for (const processes of [1, 3]) {
    const { counts, output } = await runForCounts(t, folder, "--processes", String(processes));
    assertEquals(counts, expected);
    assertMatch(output, /^files +48$/m);
    assertMatch(output, /^ {2}common +160,780$/m);
    assertMatch(output, /^speed-up +\d+\.\d\d$/m);
    assertMatch(output, new RegExp(`^pool of ${processes} 100 %$`, "m"));
    assertMatch(output, new RegExp(`^pool of ${processes} +[\\d,]+ ms$`, "m"));
  }
});

test("index_words leaves out what is binary or unreadable, says so, and goes on", async (t) => {
  const folder = folderOf(t, {
    "binary.txt": new Uint8Array([104, 105, 0, 104, 105]),
    "late.txt": `${"x".repeat(8192)}\0`, // the zero byte comes too late to be noticed
    "bad_utf8.txt": new Uint8Array([255, 104, 105, 254]),
    "good.txt": "good",
  });
  symlinkSync(join(folder, "nowhere"), join(folder, "dangling.txt"));
  symlinkSync("loop.txt", join(folder, "loop.txt"));
  // A regular file that opens but cannot be read, whoever asks; there is one on Linux.
  const unreadable = existsSync("/proc/self/mem");
  if (unreadable) symlinkSync("/proc/self/mem", join(folder, "unreadable.txt"));
  const { counts, output } = await runForCounts(t, folder);
  assertEquals(counts.files, 3);
  assertEquals(counts.distinct, 3);
  if (unreadable) assertMatch(output, /^left out .*unreadable\.txt: it cannot be read$/m);
  assertMatch(output, /^left out .*binary\.txt: it is binary$/m);
  assertMatch(output, /^left out .*dangling\.txt: there is nothing of that name$/m);
  assertMatch(output, /^left out .*loop\.txt: the link leads back to itself$/m);
});

test("index_words names the first few files that it leaves out, and counts the others", async (t) => {
  const names = Array.from({ length: 9 }, (_, i) => `${i}.txt`);
  const folder = folderOf(t, Object.fromEntries(names.map((name) => [name, "\0"])));
  const { counts, output } = await runForCounts(t, folder);
  assertEquals(counts.files, 0);
  assertEquals(counts.top, []);
  assertEquals(output.match(/^left out .*: it is binary$/gm)?.length, 5);
  assertMatch(output, /^left out 4 more$/m);
});

test("countFiles() leaves out files that have gone meanwhile", (t) => {
  const folder = folderOf(t, { "here.txt": "here" });
  const [here, gone] = [join(folder, "here.txt"), join(folder, "gone.txt")];
  const { files, words, skipped } = countFiles([gone, here]);
  assertEquals([files, words], [1, "here"]);
  assertEquals(skipped, [{ path: gone, reason: "there is nothing of that name" }]);
});

test("findTextFiles() ends although links go in circles, and counts no folder twice", (t) => {
  const folder = folderOf(t, { "a/b/c.txt": "c", "a/d.txt": "d" });
  symlinkSync(folder, join(folder, "a/b/up"));
  symlinkSync(join(folder, "a"), join(folder, "z"));
  const { files, skipped } = findTextFiles(folder);
  assertEquals(files.map(({ path }) => path), ["a/b/c.txt", "a/d.txt"].map((p) => join(folder, p)));
  assertEquals(skipped, []);
});

test("inBatches() deals each file once, in batches of about the same work", () => {
  const files = Array.from({ length: 500 }, (_, i) => ({ path: `${i}`, bytes: i * 100 }));
  const batches = inBatches(files, 2);
  assertEquals(batches.flatMap(({ paths }) => paths).sort(), files.map(({ path }) => path).sort());
  assert(batches.length >= 14 && batches.length <= 16, `there are ${batches.length} batches`);
  const work = batches.map(({ paths, bytes }) => bytes + 4096 * paths.length);
  assert(Math.max(...work.slice(0, -1)) < 1.5 * Math.min(...work.slice(0, -1)));
  assertEquals(inBatches([], 2), []);
});

test("WordIndex.top() is the same in whichever order counts are merged", () => {
  const part = (words: string[], counts: number[]) => ({
    files: 1,
    bytes: 1,
    words: words.join("\n"),
    counts: Uint32Array.from(counts),
    skipped: [],
  });
  const parts = [part(["b", "a"], [1, 1]), part(["c", "a"], [2, 1]), part([], [])];
  const one = new WordIndex();
  for (const counted of parts) one.add(counted);
  const other = new WordIndex();
  for (const counted of parts.toReversed()) other.add(counted);
  assertEquals(one.top(10), [["a", 2], ["c", 2], ["b", 1]]);
  assertEquals(other.top(10), one.top(10));
  assertEquals([one.files, one.words, one.distinct], [3, 5, 3]);
});

test("index_words ends with code 1 and one clear line where it cannot do what is asked", async (t) => {
  const folder = folderOf(t, { "a.txt": "a" });
  const cases: [args: string[], message: string][] = [
    [[join(folder, "missing")], "there is nothing of that name"],
    [[join(folder, "a.txt")], "this is not a folder"],
    [[folder, folder], "there is one folder too many"],
    [[folder, "--processes", "0"], "'--processes' must be a whole number from 1, but is 0"],
    [[folder, "--colour"], "--colour"],
  ];
  for (const [args, message] of cases) {
    const { code, output } = await run(...args);
    assertEquals(code, 1);
    assertStringIncludes(output, "Cannot index words: ");
    assertStringIncludes(output, message);
    assertEquals(output.trimEnd().split("\n").length, 1, output);
  }
});

test("index_words --help says what it can do", async () => {
  const { code, output } = await run("--help");
  assertEquals(code, 0);
  assertStringIncludes(output, "--processes N");
});
