/**
 * `npm run docs:check`: builds the site, follows its links, and opens every page in a browser.
 *
 * - Links and anchors: as `npm run docs` does.
 * - In Chromium, from files: no error on the console, no failed request, none to another machine, and a
 *   title on each page; in the guide, a heading, and colours in code.
 *
 * Chromium is `CHROME_PATH`, or the first of its usual names on the PATH. Without it, the browser's
 * part is left out, which is said. The last line is `N passed, N failed`: one for each page and link
 * check.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { Browser, findBrowser } from "./browser.ts";
import { build, SITE } from "./docs.ts";
import { read, walk } from "./files.ts";
import { forwardOf } from "./site_links.ts";

/** Evaluated in each page. */
const LOOK = `({
  title: document.title,
  heading: document.querySelector("h1, h2")?.textContent ?? "",
  code: document.querySelectorAll("code[class*=language-ts]").length,
  coloured: document.querySelectorAll(".token.keyword").length,
})`;

interface Look {
  title: string;
  heading: string;
  code: number;
  coloured: number;
}

/** Whether a page is of the guide: it is ours, while others come from deno doc. */
function isGuide(path: string): boolean {
  return !/^(?:\w+-)?api\//.test(path);
}

/** What a look at a page finds wrong, as sentences. */
function faults(path: string, look: Look): string[] {
  const found: string[] = [];
  if (look.title.trim() === "") found.push("has no title");
  if (isGuide(path) && look.heading.trim() === "") found.push("has no heading");
  if (isGuide(path) && look.code > 0 && look.coloured === 0) found.push("has no coloured code");
  return found;
}

/** Opens all pages of the site. Returns how many there are, and what is wrong. */
async function browse(binary: string): Promise<{ pages: number; problems: string[] }> {
  // Where a forward leads is opened by itself.
  const paths = walk(SITE).filter((path) =>
    path.endsWith(".html") && forwardOf(read(SITE, path)) === undefined
  );
  const problems: string[] = [];
  const browser = await Browser.start(binary);
  try {
    for (const path of paths) {
      const opened = await browser.open(pathToFileURL(join(SITE, path)).href, LOOK);
      const found = [...opened.problems];
      if (opened.value) found.push(...faults(path, opened.value as Look));
      problems.push(...found.map((problem) => `${path}: ${problem}`));
    }
  } finally {
    await browser.close();
  }
  return { pages: paths.length, problems };
}

const built = await build();
const problems = [...built.problems];
let passed = problems.length === 0 ? 1 : 0;
console.log(`links: ${problems.length} dead`);

const binary = findBrowser();
if (binary === undefined) {
  console.log("\nTHE BROWSER CHECK DID NOT RUN: there is no chromium on this machine.");
  console.log("Install it (apt-get install chromium), or set CHROME_PATH.\n");
} else {
  const start = performance.now();
  const browsed = await browse(binary);
  const seconds = ((performance.now() - start) / 1_000).toFixed(1);
  console.log(`browser: ${browsed.pages} pages in ${seconds} s, ${browsed.problems.length} faults`);
  const faulty = new Set(browsed.problems.map((problem) => problem.split(": ")[0])).size;
  passed += browsed.pages - faulty;
  problems.push(...browsed.problems);
}
for (const problem of problems) console.log(problem);
console.log(`\n${passed} passed, ${problems.length} failed`);
process.exitCode = problems.length > 0 ? 1 : 0;
