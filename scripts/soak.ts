/**
 * `npm run soak`: ten minutes of chaos, on each runtime in turn.
 *
 * Rounds of tests/chaos/round.ts: trees of processes that share one thing of each kind and die, and
 * what must hold then. A round follows from its seed, but for when things happen.
 *
 * - `npm run soak -- --minutes=60` takes an hour, shared among the runtimes;
 * - `npm run soak -- --runtime=bun --seed=123 --rounds=1` runs one round again.
 *
 * The last line of each runtime is `N rounds, N deaths, N violations`.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { chooseRuntimes, ROOT, type Runtime } from "./runtimes.ts";

const PROGRAM = join(ROOT, "tests/chaos/main.ts");

/** A program whose event loop says nothing for so long hangs; what waits for too long, it says itself. */
const SILENCE_MS = 60_000;

/** A program is replaced after so many rounds; by then it has used each slot for processes twice. */
const ROUNDS = 1000;

/** So many lines are shown of what the program printed last. */
const TAIL_LINES = 40;

/** So many lines belong to what a member says of a violation. */
const WORDS_LINES = 12;

/** What a program of rounds prints after each; see tests/chaos/main.ts. */
interface Line {
  /** Nothing but that the program runs. */
  alive?: true;
  /** Nothing but that a round begins. */
  begin?: number;
  seed: number;
  deaths: number;
  violations: string[];
  rss: number;
  threads: number;
}

/** What came of a runtime. */
interface Sum {
  rounds: number;
  deaths: number;
  violations: number;
  rss: [least: number, most: number];
  threads: [least: number, most: number];
}

interface Options {
  minutes: number;
  seed: number;
  rounds: number;
}

/** Takes `--name=number` out of the words of a command line. */
function takeNumber(args: string[], name: string, otherwise: number): number {
  const at = args.findIndex((arg) => arg.startsWith(`--${name}=`));
  if (at < 0) return otherwise;
  const [arg] = args.splice(at, 1) as [string];
  const value = Number(arg.slice(arg.indexOf("=") + 1));
  if (Number.isFinite(value) && value >= 0) return value;
  throw new RangeError(`Cannot run '${arg}': it takes a number >= 0`);
}

function report(on: Runtime, seed: number, violation: string, output: string[]): void {
  console.log(`\nVIOLATION on ${on.name}, seed ${seed}: ${violation}`);
  console.log(`  again: npm run soak -- --runtime=${on.name} --seed=${seed} --rounds=1`);
  for (const line of output) console.log(`  | ${line.slice(0, 300)}`);
}

/** Runs rounds in one program, until they are done or the program ends otherwise. */
async function runProgram(
  on: Runtime,
  sum: Sum,
  { seed, rounds, minutes }: Options,
): Promise<void> {
  const [file, ...rest] = [...on.command, PROGRAM, seed, rounds, minutes].map(String);
  const child: ChildProcess = spawn(file!, rest, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  const output: string[] = [];
  // What members have said of violations in this round, among all their uncaught errors.
  let words: string[] = [];
  let speaking = 0;
  createInterface(child.stderr!).on("line", (line) => {
    if (output.push(line) > TAIL_LINES) output.shift();
    if (line.startsWith("VIOLATION")) speaking = WORDS_LINES;
    if (speaking-- > 0) words.push(line);
  });
  let now = seed;
  let wedged = false;
  const hang = () => {
    wedged = true;
    kill();
  };
  let silence = setTimeout(hang, SILENCE_MS);
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  for await (const text of createInterface(child.stdout!)) {
    clearTimeout(silence);
    silence = setTimeout(hang, SILENCE_MS);
    const line: Line = JSON.parse(text);
    if (line.alive) continue;
    now = line.begin ?? line.seed;
    if (line.begin !== undefined) continue;
    sum.rounds++;
    sum.deaths += line.deaths;
    for (const violation of line.violations) report(on, now, violation, words);
    words = [];
    sum.violations += line.violations.length;
    for (const key of ["rss", "threads"] as const) {
      sum[key] = [Math.min(sum[key][0], line[key]), Math.max(sum[key][1], line[key])];
    }
  }
  const code = await closed;
  clearTimeout(silence);
  process.off("exit", kill);
  if (code === 0) return;
  sum.violations++;
  report(on, now, wedged ? "the program hangs" : `the program ended with code ${code}`, output);
}

/** Runs rounds on a runtime until its time is over. Returns whether all was well. */
async function soak(on: Runtime, options: Options): Promise<boolean> {
  const end = Date.now() + options.minutes * 60_000;
  const sum: Sum = {
    rounds: 0,
    deaths: 0,
    violations: 0,
    rss: [Infinity, 0],
    threads: [Infinity, 0],
  };
  let programs = 0;
  console.log(`${on.name} ${on.version}`);
  for (let done = 0; done < options.rounds && Date.now() < end; done += ROUNDS, programs++) {
    await runProgram(on, sum, {
      seed: options.seed + done,
      rounds: Math.min(ROUNDS, options.rounds - done),
      minutes: (end - Date.now()) / 60_000,
    });
  }
  console.log(
    `  ${programs} programs; ${sum.rss.join("-")} MB, ${sum.threads.join("-")} threads`,
  );
  console.log(`  ${sum.rounds} rounds, ${sum.deaths} deaths, ${sum.violations} violations`);
  return sum.violations === 0;
}

async function main(args: string[]): Promise<number> {
  const { chosen, rest } = chooseRuntimes(args);
  const minutes = takeNumber(rest, "minutes", 10);
  const seed = takeNumber(rest, "seed", Date.now() % 1_000_000_000);
  const rounds = takeNumber(rest, "rounds", Infinity);
  if (rest.length > 0) throw new RangeError(`Cannot run '${rest[0]}': there is no such option`);
  let well = true;
  for (const on of chosen) {
    well = await soak(on, { seed, rounds, minutes: minutes / chosen.length }) && well;
  }
  return well ? 0 : 1;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

process.exitCode = await main(process.argv.slice(2));
