/**
 * Strips the types of a module once for all threads of a test run. Node 22 does it in each thread anew,
 * and to load what does it takes longer than to start the thread: of the 37 s of processor time that
 * tests/barrier_test.ts took, 21.
 *
 * Each thread of `node` loads this first (test.ts says so), hence no TypeScript. The query of its URL names
 * the folder where modules without types are kept.
 *
 * @module
 */

import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { registerHooks, stripTypeScriptTypes } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";

const folder = new URL(import.meta.url).searchParams.get("folder");
mkdirSync(folder, { recursive: true });

/** Makes the file that has no types; as it is renamed last, nobody reads the half of it. */
function strip(path, kept) {
  const source = stripTypeScriptTypes(readFileSync(path, "utf8"));
  const draft = `${kept}.${process.pid}.${Math.random()}`;
  writeFileSync(draft, source);
  renameSync(draft, kept);
  return source;
}

registerHooks({
  load(url, context, nextLoad) {
    if (!/^file:.*\.ts(?:$|\?)/.test(url)) return nextLoad(url, context);
    const path = fileURLToPath(url);
    const kept = `${folder}/${path.replace(/[^\w.]/g, "_")}.${statSync(path).mtimeMs}`;
    let source;
    try {
      source = readFileSync(kept, "utf8");
    } catch {
      source = strip(path, kept);
    }
    return { format: "module", source, shortCircuit: true };
  },
});
