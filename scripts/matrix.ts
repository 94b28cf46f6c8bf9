/**
 * `npm run matrix`: every test on other versions of the runtimes than those that the project pins.
 *
 * - without words on the oldest that package.json supports, and on the newest of each line that is
 *   still maintained;
 * - `npm run matrix -- --only=deno@2.8.1,node@22,bun@latest` on these; a version is what npm takes for
 *   one;
 * - `npm run matrix -- --only=bun@1.4.0 tests/pool_test.ts` only these files.
 *
 * Binaries come from npm, into a folder of their own. The last line is `N passed, N failed`, in tests.
 *
 * @module
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { readJson } from "./files.ts";
import { ROOT } from "./runtimes.ts";
import { capture } from "./spawn.ts";

/** Where the binaries are kept: a folder for each, and what the last run on it printed beside it. */
const CACHE = join(ROOT, "node_modules/.cache/matrix");

/** A question to npm or an installation may take this long, in milliseconds. */
const NPM_TIMEOUT = 300_000;

/** All tests on one version may take this long, in milliseconds. */
const SUITE_TIMEOUT = 3_600_000;

type Program = "deno" | "bun" | "node";

/** Beside the oldest supported versions: the newest, and the newest of Node's lines with support. */
const NEWEST = ["deno@latest", "bun@latest", "node@22", "node@24", "node@latest"];

/** The package with the binary of a runtime for this machine, and where in it the binary lies. */
function packageOf(program: Program): { name: string; path: string } {
  const { platform, arch } = process;
  const windows = platform === "win32";
  const exe = windows ? ".exe" : "";
  if (program === "deno") {
    const libc = platform === "linux" ? "-glibc" : "";
    return { name: `@deno/${platform}-${arch}${libc}`, path: `deno${exe}` };
  }
  if (program === "bun") {
    const cpu = arch === "arm64" ? "aarch64" : arch;
    return { name: `@oven/bun-${windows ? "windows" : platform}-${cpu}`, path: `bin/bun${exe}` };
  }
  const prefix = platform === "darwin" && arch === "arm64" ? "node-bin" : "node";
  return { name: `${prefix}-${windows ? "win" : platform}-${arch}`, path: `bin/node${exe}` };
}

/** What npm prints. */
async function npm(args: string[]): Promise<string> {
  const { code, output } = await capture(["npm", "--loglevel=error", ...args], NPM_TIMEOUT);
  if (code !== 0) throw new Error(`npm ${args.join(" ")}: ${output.trim()}`);
  return output;
}

/** The newest version that a word such as `deno@2.8`, `bun@latest` or `node@22.18.0` means. */
async function resolve(word: string): Promise<{ program: Program; version: string }> {
  const [, program, wanted] = /^(deno|bun|node)@([\w.-]+)$/.exec(word) ?? [];
  if (wanted === undefined) {
    throw new RangeError(`Cannot run on '${word}': name it as deno@2.8.1, bun@1.4 or node@latest`);
  }
  const known = program as Program;
  if (/^\d+\.\d+\.\d+/.test(wanted)) return { program: known, version: wanted };
  const found = JSON.parse(
    await npm(["view", `${packageOf(known).name}@${wanted}`, "version", "--json"]),
  );
  return { program: known, version: [found].flat().at(-1) };
}

/** The oldest supported version of each line, as package.json has them: `>=22.18 <23 || >=24.3`. */
function oldest(): string[] {
  const { engines } = readJson<{ engines: Record<Program, string> }>(ROOT, "package.json")!;
  return Object.entries(engines).flatMap(([program, range]) =>
    [...range.matchAll(/>=(\S+)/g)].map(([, version]) => {
      const parts = [...version!.split("."), "0", "0"];
      return `${program}@${parts.slice(0, 3).join(".")}`;
    })
  );
}

/** Path of a version's binary, which is installed first if it is not there yet. */
async function install(program: Program, version: string): Promise<string> {
  const { name, path } = packageOf(program);
  const folder = join(CACHE, `${program}@${version}`);
  const binary = join(folder, "node_modules", name, path);
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"];
    await npm(["install", "--prefix", folder, ...flags, `${name}@${version}`]);
  }
  return binary;
}

/** The versions to run on, and the words for scripts/test.ts. */
function plan(args: string[]): { words: string[]; rest: string[] } {
  const flag = "--only=";
  const words = args.filter((arg) => arg.startsWith(flag))
    .flatMap((arg) => arg.slice(flag.length).split(","));
  return {
    words: words.length > 0 ? words : [...oldest(), ...NEWEST],
    rest: args.filter((arg) => !arg.startsWith(flag)),
  };
}

async function main(args: string[]): Promise<{ passed: number; failed: number }> {
  const { words, rest } = plan(args);
  const versions = new Map<string, { program: Program; version: string }>();
  for (const word of words) {
    const found = await resolve(word);
    versions.set(`${found.program}@${found.version}`, found);
  }
  const total = { passed: 0, failed: 0 };
  console.log(`${"version".padEnd(16)}  passed  failed   seconds`);
  for (const [title, { program, version }] of versions) {
    const binary = await install(program, version);
    const begun = performance.now();
    const command = [process.execPath, "scripts/test.ts", `--runtime=${program}:${binary}`];
    const { code, output } = await capture([...command, ...rest], SUITE_TIMEOUT);
    const [, passed = 0, failed = 0] = /(\d+) passed, (\d+) failed\s*$/.exec(output)?.map(Number) ??
      [];
    const counted = Math.max(failed, code === 0 ? 0 : 1);
    const seconds = (performance.now() - begun) / 1_000;
    const figures = [
      String(passed).padStart(6),
      String(counted).padStart(6),
      seconds.toFixed(0).padStart(8),
    ];
    console.log(`${title.padEnd(16)}  ${figures.join("  ")}`);
    if (counted > 0) {
      const log = join(CACHE, `${title}.log`);
      writeFileSync(log, output);
      console.log(output.match(/^ {2}\S+_test\.ts on .*$/gm)?.join("\n") ?? output.trim());
      console.log(`  all of it: ${log}`);
    }
    total.passed += passed;
    total.failed += counted;
  }
  return total;
}

// Exits through "exit", where spawn.ts kills the children.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

let total = { passed: 0, failed: 1 };
try {
  total = await main(process.argv.slice(2));
} catch (error) {
  console.log(error instanceof RangeError ? error.message : error);
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
