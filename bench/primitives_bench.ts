/**
 * Queues, locks and shared memory beside Python's multiprocessing, which must be there as `python3`,
 * and beside the npm package multithreading; and whether each keeps to the bar set for it.
 *
 * Run it with `deno run -A`, `bun` or `node` and this file's path, or on all three with
 * `npm run bench -- primitives`. `--measure=ints,lockPairs` takes these measures, `--rounds=5`,
 * `--scale=0.1` say how much.
 *
 * To profile one measure, with a .cpuprofile for each thread, here 10 rounds of 200,000 items:
 *
 *     node --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/primitives_child.ts core ints 200000 10
 *
 * Each contestant gets a new process for each measure; they take turns round by round, and who has
 * none waits.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { current } from "../scripts/runtimes.ts";
import { type Answer, MARK } from "./peers/primitives_child.ts";

/** Who has not answered by then, is out. */
const DEADLINE_MS = 20_000;

const { values: options } = parseArgs({
  options: {
    measure: { type: "string" },
    rounds: { type: "string", default: "5" },
    scale: { type: "string", default: "1" },
  },
});
const ROUNDS = Number(options.rounds);
const SCALE = Number(options.scale);

/** Who does what: a contestant, and what the measure is called there. */
type Part = [who: "core" | "python" | "multithreading", what: string];

/** One thing that is measured. */
interface Measure {
  name: string;
  title: string;
  /** How much of it in a turn. */
  count: number;
  /** What is shown: so many of them a second, or the time of one. */
  unit: "items/s" | "MiB/s" | "ns" | "µs" | "ms";
  /** First this project's; with which it is compared, second. */
  parts: Part[];
  /** How many times as fast as the second this project's must be; what goes for all is stricter. */
  factor?: number;
  /** The most that it may be, in the unit. */
  most?: number;
  /** The whole turn counts, not one of the count. */
  whole?: boolean;
  /** A turn takes seconds. */
  rounds?: number;
}

const MIB_OF_ARRAY = 64;

const ALL: Measure[] = [
  {
    name: "ints",
    title: "Queue: integers, putSync in a process, getSync here",
    count: 100_000,
    unit: "items/s",
    parts: [["core", "ints"], ["python", "ints"], ["python", "simpleInts"], [
      "multithreading",
      "ints",
    ]],
    factor: 3,
  },
  {
    name: "records",
    title: "Queue: { id, name, v: [1, 2, 3.5] }",
    count: 40_000,
    unit: "items/s",
    parts: [["core", "records"], ["python", "records"], ["python", "simpleRecords"], [
      "multithreading",
      "records",
    ]],
    factor: 3,
  },
  {
    name: "queueTrips",
    title: "Queue: an integer there and back, one after the other",
    count: 2_000,
    unit: "µs",
    parts: [["core", "queueTrips"], ["python", "queueTrips"]],
    factor: 1,
  },
  {
    name: "lockPairs",
    title: "Lock, free: lock.acquireSync(); lock.release()",
    count: 1_000_000,
    unit: "ns",
    parts: [["core", "lockPairs"], ["python", "lockPairs"]],
    factor: 2,
    most: 60,
  },
  {
    name: "lockGuards",
    title: "Lock, free: guard = lock.acquireSync(); guard.release()",
    count: 1_000_000,
    unit: "ns",
    parts: [["core", "lockGuards"], ["python", "lockGuards"], ["multithreading", "lockGuards"]],
    factor: 2,
    most: 60,
  },
  {
    name: "rlockPairs",
    title: "RLock, free: lock.acquireSync(); lock.release()",
    count: 1_000_000,
    unit: "ns",
    parts: [["core", "rlockPairs"], ["python", "rlockPairs"]],
    factor: 1,
  },
  {
    name: "increments",
    title: "Value: += 1 under getLock(), two processes",
    count: 100_000,
    unit: "items/s",
    parts: [["core", "increments"], ["python", "increments"], ["multithreading", "increments"]],
    factor: 1,
  },
  {
    name: "eventTrips",
    title: "Event: set there and back, one after the other",
    count: 2_000,
    unit: "µs",
    parts: [["core", "eventTrips"], ["python", "eventTrips"]],
    factor: 1,
  },
  {
    name: "arraysIn",
    title: "Queue: Float64Array of 64 MiB, from a process; beside one copy",
    count: 4,
    unit: "MiB/s",
    parts: [["core", "arraysIn"], ["core", "copy"], ["core", "freshCopy"], ["python", "arraysIn"]],
    factor: 1 / 3,
  },
  {
    name: "arraysOut",
    title: "Queue: Float64Array of 64 MiB, to a process; beside one copy",
    count: 4,
    unit: "MiB/s",
    parts: [["core", "arraysOut"], ["core", "copy"], ["core", "freshCopy"], [
      "python",
      "arraysOut",
    ]],
    factor: 1 / 3,
  },
  {
    name: "share",
    title: "Shared memory in args, from start to first use: 1 GiB beside 8 bytes",
    count: 5,
    unit: "ms",
    parts: [["core", "shareLarge"], ["core", "shareSmall"], ["python", "shareLarge"]],
    factor: 1 / 1.5,
  },
  ...["Lock", "Queue", "Event"].map((each): Measure => ({
    name: `idle${each}`,
    title: `100 pending waits for a ${each}, 2 s: processor time, beside 100 timers`,
    count: 100,
    unit: "ms",
    parts: [["core", `idle${each}`], ["core", "idleNothing"]],
    most: 50,
    whole: true,
    rounds: 2,
  })),
];

const chosen = options.measure?.split(",");
const MEASURES = ALL.filter(({ name }) => chosen === undefined || chosen.includes(name));

/** A contestant, ready for one measure. */
interface Player {
  part: Part;
  child: ChildProcess;
  answers: AsyncIterator<Answer>;
  /** Why it takes no more turns. */
  out?: string;
  /** The milliseconds of each round. */
  times: number[];
}

const children = new Set<ChildProcess>();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

async function* answersOf(child: ChildProcess): AsyncGenerator<Answer, Answer> {
  let complaint: string | undefined;
  child.on("error", (error) => complaint = error.message);
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (/\w*Error\b/.test(line)) complaint ??= line;
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    if (line.startsWith(MARK)) yield JSON.parse(line.slice(MARK.length));
  }
  return { error: `its process ended: ${complaint ?? "no error shown"}` };
}

function enter(part: Part): Player {
  const [who, what] = part;
  const peers = join(import.meta.dirname!, "peers");
  const [file, ...words] = who === "python"
    ? ["python3", join(peers, "python_primitives.py"), what]
    : [...current().command, join(peers, "primitives_child.ts"), who, what];
  const child = spawn(file!, words, {
    stdio: "pipe",
    env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  child.stdin!.on("error", () => {}); // It has ended, as its answers say.
  children.add(child);
  return { part, child, answers: answersOf(child), times: [] };
}

/** The next answer; whoever errs or lets the deadline pass, is out. */
async function hear(player: Player): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const timer = setTimeout(resolve, DEADLINE_MS, {
    error: `no answer in ${DEADLINE_MS / 1_000} s`,
  });
  player.answers.next().then(({ value }) => resolve(value));
  const answer = await promise;
  clearTimeout(timer);
  if ("error" in answer) {
    player.out = answer.error;
    player.child.kill("SIGKILL");
  }
  return "ms" in answer ? answer.ms : NaN;
}

async function play(player: Player, count: number): Promise<number> {
  player.child.stdin!.write(`${count}\n`);
  return await hear(player);
}

function median(values: number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? NaN;
}

function digits(value: number): string {
  const places = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", {
    minimumFractionDigits: places,
    maximumFractionDigits: places,
  });
}

/** Milliseconds of a turn in the measure's unit. */
function inUnit({ unit, whole }: Measure, ms: number, count: number): number {
  if (whole) return ms;
  switch (unit) {
    case "items/s":
      return count / ms * 1_000;
    case "MiB/s":
      return count * MIB_OF_ARRAY / ms * 1_000;
    case "ns":
      return ms / count * 1e6;
    case "µs":
      return ms / count * 1e3;
    case "ms":
      return ms / count;
  }
}

async function measure(each: Measure): Promise<boolean> {
  const count = each.whole ? each.count : Math.max(2, Math.ceil(each.count * SCALE));
  const players = each.parts.map(enter);
  const rounds = Math.min(each.rounds ?? ROUNDS, ROUNDS);
  for (const player of players) {
    await hear(player);
    for (let round = 0; round < 2 && !each.whole && player.out === undefined; round++) {
      await play(player, count); // Warm.
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < players.length; at++) {
      const player = players[(at + round) % players.length]!; // Nobody is always the first.
      if (player.out === undefined) player.times[round] = await play(player, count);
    }
  }
  for (const { child } of players) child.kill("SIGKILL");
  children.clear();
  return report(each, players, count);
}

/** Prints a measure; returns whether its bar is met. */
function report(each: Measure, players: Player[], count: number): boolean {
  const [ours, base] = players as [Player, Player];
  console.log(`\n${each.name}: ${each.title}`);
  for (const player of players) {
    const name = player.part.join(" ").padEnd(30);
    if (player.out !== undefined) {
      console.log(`  ${name} ${player.out}`);
      continue;
    }
    const shown = digits(inUnit(each, median(player.times), count)).padStart(12);
    // Above 1: this project is so many times as fast; round by round, for all share the machine.
    const ratio = digits(median(player.times.map((ms, round) => ms / ours.times[round]!)));
    console.log(`  ${name} ${shown} ${each.unit}${player === ours ? "" : `   × ${ratio}`}`);
  }
  const value = inUnit(each, median(ours.times), count);
  const factor = median(base.times.map((ms, round) => ms / ours.times[round]!));
  const bars: [string, boolean][] = [];
  if (each.factor !== undefined) {
    bars.push([`× ${digits(each.factor)} of ${base.part.join(" ")}`, factor >= each.factor]);
  }
  if (each.most !== undefined) bars.push([`at most ${each.most} ${each.unit}`, value <= each.most]);
  for (const [bar, met] of bars) console.log(`  bar: ${bar}: ${met ? "met" : "MISSED"}`);
  return bars.every(([, met]) => met);
}

const { name, version } = current();
console.log(`${name} ${version}; medians of ${ROUNDS} rounds, wall-clock`);
const missed: string[] = [];
for (const each of MEASURES) if (!await measure(each)) missed.push(each.name);
console.log(`\n${MEASURES.length - missed.length} of ${MEASURES.length} bars met`);
if (missed.length > 0) console.log(`missed: ${missed.join(", ")}`);
process.exit();
