/**
 * What all consumers have in common: the programs that they run, and how they are run and counted.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import ts from "typescript";
import { read, readJson } from "../files.ts";
import { ROOT } from "../runtimes.ts";

/** A program, or a build, may take this long, in milliseconds. */
const TIMEOUT = 60_000;

/** So many programs run at once. */
const PARALLEL = 2;

/** A small program, and what it prints. */
export interface Program {
  /** Name of its file, without what comes behind the dot. */
  name: string;
  /** What it prints, on both streams. */
  output: string;
  /** Its source, in TypeScript. */
  source: string;
}

const EXAMPLES: Record<string, string> = {
  hello_process: "hello bob\n",
  map_pool: "[ 4, 5, 6, 7, 8 ]\n",
  producer_consumer: "got red\ngot green\ngot blue\n",
  count_lock: "1000\n",
};

const OWN: Record<string, string> = {
  count_closure: "1000\n",
  count_declared: "1000\n",
  task_import: "1 km\n2 km,4 km,6 km\nno distance: -2 km\n",
  pool_of_two: "2 workers\nlost with exit code 7\noutlived it\n3 workers in all\n",
};

/** Programs of a folder, with what they print. */
export function programsIn(folder: string, outputs: Record<string, string>): Program[] {
  return Object.entries(outputs).map(([name, output]) => ({
    name,
    output,
    source: read(ROOT, `${folder}/${name}.ts`),
  }));
}

/** All programs. */
export const PROGRAMS: readonly Program[] = [
  ...programsIn("docs/examples", EXAMPLES),
  ...programsIn("scripts/pack/programs", OWN),
];

/** Those that a minifier leaves whole: it renames what the scope of count_closure names. */
export const MINIFIED: readonly Program[] = PROGRAMS.filter(({ name }) => name !== "count_closure");

/** What programs import of their own. */
const IMPORTED: readonly string[] = ["units"];

/** The programs with the guard that works in everything that `bun build` makes. */
export function withProcessGuard(programs: readonly Program[]): Program[] {
  return programs.map((program) => ({
    ...program,
    source: 'import { isMainProcess as isMain } from "@multiprocessing/core";\n' +
      program.source.replace("import.meta.main", "isMain()"),
  }));
}

/** Writes programs, and what they import, into a folder, in TypeScript. */
export function writeTypeScript(folder: string, programs: readonly Program[]): void {
  mkdirSync(folder, { recursive: true });
  for (const { name, source } of programs) writeFileSync(join(folder, `${name}.ts`), source);
  for (const name of IMPORTED) {
    cpSync(join(ROOT, `scripts/pack/programs/${name}.ts`), join(folder, `${name}.ts`));
  }
}

/** The same in plain JavaScript, in files that end in `.mjs`. */
export function writeJavaScript(folder: string, programs: readonly Program[]): void {
  mkdirSync(folder, { recursive: true });
  const imported = IMPORTED.map((name) => ({
    name,
    source: read(ROOT, `scripts/pack/programs/${name}.ts`),
  }));
  for (const { name, source } of [...programs, ...imported]) {
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
    });
    const text = outputText.replace(/(from "\.\/\w+)\.ts"/g, '$1.mjs"');
    writeFileSync(join(folder, `${name}.mjs`), text);
  }
}

/** The packages that a package of this project needs, and those that these need: names, sorted. */
export function dependenciesOf(folder: string): string[] {
  const names = new Set<string>();
  const add = (path: string): void => {
    const { dependencies = {} } = readJson<{ dependencies?: Record<string, string> }>(
      ROOT,
      `${path}/package.json`,
    )!;
    for (const [name, version] of Object.entries(dependencies)) {
      // Without those of this project, such as `file:..`.
      if (names.has(name) || version.startsWith("file:")) continue;
      names.add(name);
      add(`node_modules/${name}`);
    }
  };
  add(folder);
  return [...names].sort();
}

/** Copies installed packages into the `node_modules` of a project. */
export function copyPackages(project: string, names: readonly string[]): void {
  for (const name of names) {
    const from = join(ROOT, "node_modules", name);
    cpSync(from, join(project, "node_modules", name), { recursive: true, dereference: true });
  }
}

/** How a command is run. */
export interface RunOptions {
  /** In which folder. */
  cwd: string;
  /** What its environment has besides. */
  env?: Record<string, string>;
}

/** How a command ended. */
export interface Ended {
  /** Whether its exit code was 0, in time. */
  ok: boolean;
  /** What it printed on both streams. */
  output: string;
}

/** Runs a command to its end. */
export function run(command: readonly string[], { cwd, env }: RunOptions): Promise<Ended> {
  const [file, ...args] = command as [string, ...string[]];
  const options = {
    cwd,
    env: {
      ...process.env,
      NO_COLOR: "1",
      DENO_NO_PROMPT: "1",
      DENO_NO_UPDATE_CHECK: "1",
      ...env,
    },
    timeout: TIMEOUT,
    killSignal: "SIGKILL",
    maxBuffer: 2 ** 26,
  } as const;
  return new Promise((resolve) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      const reason = error === null || error.code !== null && !error.killed ? "" : `${error}\n`;
      resolve({ ok: error === null, output: stdout + stderr + reason });
    });
  });
}

/** Runs a command that must succeed. */
export async function mustRun(command: readonly string[], options: RunOptions): Promise<string> {
  const { ok, output } = await run(command, options);
  if (!ok) throw new Error(`${command.join(" ")} failed:\n${output}`);
  return output;
}

/** The programs that have run so far. */
export const total: { passed: number; failed: number } = { passed: 0, failed: 0 };

/** As much of a text as tells what has gone wrong. */
function beginning(text: string): string {
  return text.trimEnd().split("\n").slice(0, 12).map((line) => line.slice(0, 200)).join("\n");
}

function printLine(title: string, ok: boolean, begun: number, note: string): void {
  const seconds = ((performance.now() - begun) / 1_000).toFixed(1).padStart(6);
  console.log(`${title.padEnd(40)} ${ok ? "ok    " : "FAILED"} ${seconds} s  ${note}`.trimEnd());
}

/** What a consumer can do with the library, on one runtime. */
export interface Consumer {
  /** What has been done with the library. */
  title: string;
  /** Which runtime runs it, as it is printed. */
  on: string;
  /** The programs. */
  programs: readonly Program[];
  /** Where they are run, and with what environment. */
  options: RunOptions;
  /** The command that runs one. It may build it first. */
  command: (program: Program) => string[] | Promise<string[]>;
  /** Called when it has run. */
  after?: (program: Program) => void;
}

/** Runs the programs of a consumer, prints a line, and counts them. */
export async function check(consumer: Consumer): Promise<void> {
  const { title, on, programs, options, command, after } = consumer;
  const begun = performance.now();
  const problems: string[] = [];
  const queue = [...programs];
  const takeTurns = async () => {
    for (let program = queue.shift(); program !== undefined; program = queue.shift()) {
      let ended: Ended;
      try {
        ended = await run(await command(program), options);
      } catch (error) {
        ended = { ok: false, output: String(error) };
      }
      after?.(program);
      if (ended.ok && ended.output === program.output) total.passed++;
      else problems.push(`${program.name} printed:\n${beginning(ended.output)}`);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, takeTurns));
  total.failed += problems.length;
  const done = programs.length - problems.length;
  printLine(`${title}, ${on}`, problems.length === 0, begun, `${done} of ${programs.length}`);
  for (const problem of problems) console.log(problem.replace(/^/gm, "    | "));
}
