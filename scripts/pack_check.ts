/**
 * `npm run pack:check`: builds what users install, installs it into empty projects, and runs small
 * programs there: as from JSR, as from npm, in bundles, in executables, on a cluster.
 *
 * `--only=npm,bundle` checks only these. The last line is `N passed, N failed`: one for each program
 * in each consumer on each runtime.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { checkBundles } from "./pack/bundle.ts";
import { checkCluster } from "./pack/cluster.ts";
import { total } from "./pack/consumer.ts";
import { checkExecutable } from "./pack/executable.ts";
import { checkJsr } from "./pack/jsr.ts";
import { checkNpm } from "./pack/npm.ts";

/** The kinds of consumers, each of which gets an empty folder. */
const KINDS: Record<string, (folder: string) => Promise<void>> = {
  jsr: checkJsr,
  npm: checkNpm,
  bundle: checkBundles,
  executable: checkExecutable,
  cluster: checkCluster,
};

/** The kinds that a command line asks for. */
function chosen(args: string[]): string[] {
  const kinds: string[] = [];
  for (const arg of args) {
    const names = /^--only=(.+)$/.exec(arg)?.[1]?.split(",");
    const unknown = names === undefined ? arg : names.find((name) => !(name in KINDS));
    if (unknown !== undefined) {
      const known = Object.keys(KINDS).join(",");
      throw new RangeError(`Cannot check '${unknown}': use --only=${known}`);
    }
    kinds.push(...names!);
  }
  return kinds.length > 0 ? kinds : Object.keys(KINDS);
}

const root = realpathSync(mkdtempSync(join(tmpdir(), "pack_check_")));
// Also when it is interrupted.
process.once("exit", () => rmSync(root, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  for (const kind of chosen(process.argv.slice(2))) {
    const folder = join(root, kind);
    mkdirSync(folder);
    await KINDS[kind]!(folder);
  }
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
  total.failed++;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
