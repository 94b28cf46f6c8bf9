/** The larger programs of docs/examples, each in a small size: what they print, and what they refuse. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { multiplyRows } from "../docs/examples/matrix_product.ts";
import { capture } from "../scripts/spawn.ts";
import { command, numbersIn, run, SPEED_UP, temporary } from "./fixtures/examples.ts";

test("pi.ts comes near to π", async () => {
  const output = await run("pi", "--millions", "4", "--processes", "3");
  const [estimate] = numbersIn(output, /^π ≈ (\d\.\d{6}), from 4 million points$/m);
  assertAlmostEquals(estimate!, Math.PI, 0.005);
  assertMatch(output, SPEED_UP);
});

test("nqueens.ts counts all solutions, and finds one", async () => {
  const output = await run("nqueens", "--queens", "8", "--search", "12", "--processes", "3");
  assertMatch(output, /^8 queens: 92 solutions$/m);
  assertMatch(output, SPEED_UP);
  const [searched, total] = numbersIn(output, /^(\d+) of (\d+) beginnings were searched/m);
  assertEquals(total, 110);
  assert(searched! >= 1 && searched! < total!, output);
  const rows = output.match(/^[.Q]( [.Q]){11}$/gm) ?? [];
  assertEquals(rows.length, 12);
  const columns = rows.map((row) => row.split(" ").indexOf("Q"));
  // No two in a column, nor in a diagonal of either kind.
  assertEquals(new Set(columns).size, 12);
  assertEquals(new Set(columns.map((column, row) => column + row)).size, 12);
  assertEquals(new Set(columns.map((column, row) => column - row)).size, 12);
});

test("matrix_product.ts computes the same in a pool as alone", async () => {
  // In bands of three rows; the last one has two.
  const output = await run("matrix_product", "--size", "50", "--processes", "3");
  assertMatch(output, /^50 × 50: all 2500 elements are equal$/m);
  assertMatch(output, SPEED_UP);
});

test("multiplyRows() of matrix_product.ts multiplies the rows that it is told to", () => {
  const c = new Float64Array(4);
  const [a, b] = [Float64Array.of(1, 2, 3, 4), Float64Array.of(5, 6, 7, 8)];
  multiplyRows(a, b, c, 2, 1, 2);
  assertEquals([...c], [0, 0, 43, 50]);
  multiplyRows(a, b, c, 2, 0, 1);
  assertEquals([...c], [19, 22, 43, 50]);
});

/** The totals that log_pipeline.ts should come to, in the plainest way. */
function totalsOf(log: string): { changes: number; folders: Map<string, number[]> } {
  const folders = new Map<string, number[]>();
  let changes = 0;
  for (const line of log.split("\n")) {
    const [added, removed, path] = line.split("\t");
    if (path === undefined) continue;
    const folder = path.includes("/") ? `${path.split("/")[0]}/` : "./";
    const [a, b, c] = folders.get(folder) ?? [0, 0, 0];
    folders.set(folder, [a! + 1, b! + (Number(added) || 0), c! + (Number(removed) || 0)]);
    changes++;
  }
  return { changes, folders };
}

function assertTotals(output: string, log: string): void {
  const { changes, folders } = totalsOf(log);
  const shown = [...output.matchAll(/^(\S+\/) +([\d,]+) +([\d,]+) +([\d,]+)$/gm)];
  assertEquals(shown.length, Math.min(folders.size, 10));
  for (const [, folder, ...cells] of shown) {
    assertEquals(cells.map((cell) => Number(cell.replaceAll(",", ""))), folders.get(folder!));
  }
  assertEquals(
    numbersIn(output, /^(\d+) changes in (\d+) folders: 1 process read, 3 parsed,$/m),
    [changes, folders.size],
  );
}

test("log_pipeline.ts adds up each line of a log once", async (t) => {
  const file = join(temporary(t), "log.txt");
  const lines = Array.from(
    { length: 2_000 },
    (
      _,
      i,
    ) => [`${i}\t${i % 7}\tfolder${i % 13}/deep/${i}.ts`, "", `-\t-\tpicture${i}.png`, "no change"],
  );
  writeFileSync(file, lines.flat().join("\n"));
  const output = await run("log_pipeline", "--file", file, "--parsers", "3", "--aggregators", "2");
  assertTotals(output, readFileSync(file, "utf8"));
});

test("log_pipeline.ts reads the log of a repository: this project's", async (t) => {
  // A clone, to which nobody commits meanwhile.
  const repository = temporary(t);
  const git = async (...args: string[]) => {
    const { code, output } = await capture(["git", ...args], 60_000);
    assertEquals(code, 0, output);
    return output;
  };
  await git("clone", "--quiet", "--bare", ".", repository);
  const format = ["--numstat", "--format=", "--no-renames"];
  const log = await git("-C", repository, "log", ...format);
  assertTotals(await run("log_pipeline", "--repository", repository, "--parsers", "3"), log);
});

test("log_pipeline.ts ends when a stage fails, and says so", async (t) => {
  const { code, output } = await capture(
    [...command("log_pipeline"), "--repository", temporary(t)],
    60_000,
  );
  assertEquals(code, 1);
  assertMatch(
    output,
    /^Uncaught error in read-1 .*git has ended with code \d+|error: git has ended/m,
  );
  assertMatch(output, /^Cannot run log_pipeline\.ts: there is no change in /m);
});

test("the programs say in one line what is wrong with their arguments", async () => {
  const cases: [program: string, args: string[], message: string][] = [
    ["nqueens", ["--queens", "3"], "'--queens' must be a whole number, 4 to 18, but is '3'"],
    ["pi", ["--millions", ""], "'--millions' must be a whole number, 1 to 1000000, but is ''"],
    ["thumbnails", ["--folder", "nowhere"], "there is no folder 'nowhere'"],
    ["thumbnails", ["--folder", "pool"], "there are no PNG and JPEG files below 'pool'"],
    ["log_pipeline", ["--file", "nowhere"], "there is no 'nowhere'"],
  ];
  for (const [program, args, message] of cases) {
    const { code, output } = await capture([...command(program), ...args], 60_000);
    assertEquals({ code, output }, { code: 1, output: `Cannot run ${program}.ts: ${message}\n` });
  }
});

test("the programs refuse options that they do not know, and list those that they do", async () => {
  const { code, output } = await capture([...command("pi"), "--colour"], 60_000);
  assertEquals(code, 1);
  assertMatch(output, /^Cannot run pi\.ts: .*--colour.*\n$/);
  const help = await run("pi", "--help");
  assertMatch(help, /^ {2}--millions +millions of points to draw \(200\)$/m);
});
