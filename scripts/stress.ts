/**
 * `npm run stress`: the tests again and again, while something else takes the CPUs.
 *
 * - `npm run stress -- --times=5` runs them 5 times rather than 20;
 * - `npm run stress -- --load=0` on a quiet machine; otherwise as many busy loops as there are CPUs;
 * - runtimes and files are named as for `npm test`.
 *
 * Stops at the first round that fails, and shows it. The last line is `N passed, N failed`, in tests.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "./runtimes.ts";
import { capture } from "./spawn.ts";

/** A file may take this long on a busy machine, in seconds. */
const FILE_TIMEOUT = 600;

/** A round may take this long, in milliseconds. */
const ROUND_TIMEOUT = 3 * 3_600_000;

/** Takes `--name=number` out of a command line. */
function takeNumber(args: string[], name: string, otherwise: number): number {
  const at = args.findIndex((arg) => arg.startsWith(`--${name}=`));
  if (at < 0) return otherwise;
  const [arg] = args.splice(at, 1) as [string];
  const value = Number(arg.slice(arg.indexOf("=") + 1));
  if (Number.isInteger(value) && value >= 0) return value;
  throw new RangeError(`Cannot run '${arg}': it takes a whole number`);
}

function busyLoop(): ChildProcess {
  return spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" });
}

// Exits through "exit", where the busy loops are ended, too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

async function main(args: string[]): Promise<number> {
  const times = takeNumber(args, "times", 20);
  const load = Array.from({ length: takeNumber(args, "load", availableParallelism()) }, busyLoop);
  const unload = () => load.forEach((loop) => loop.kill());
  process.once("exit", unload);
  const test = [process.execPath, join(ROOT, "scripts/test.ts"), "--only=tests"];
  let passed = 0;
  let failed = 0;
  for (let round = 1; round <= times && failed === 0; round++) {
    const begun = Date.now();
    const command = [...test, `--timeout=${FILE_TIMEOUT}`, ...args];
    const { output, code } = await capture(command, ROUND_TIMEOUT);
    const sums = /(\d+) passed, (\d+) failed\s*$/.exec(output);
    passed += Number(sums?.[1] ?? 0);
    failed += Math.max(Number(sums?.[2] ?? 0), code === 0 ? 0 : 1);
    const minutes = ((Date.now() - begun) / 60_000).toFixed(1);
    console.log(`round ${round} of ${times}: ${sums?.[0].trim() ?? "no sum"}, ${minutes} min`);
    if (failed > 0) console.log(output);
  }
  unload();
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
