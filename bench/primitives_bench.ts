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

import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { current } from "../scripts/runtimes.ts";
import { ask, enter, leave, type Player } from "./lib/contest.ts";
import { digits, median, printTable, ratio } from "./lib/figures.ts";
import {
  type Bar,
  figure,
  judge,
  type Outcome,
  printBars,
  record,
  versionOf,
} from "./lib/results.ts";
import type { Answer } from "./peers/primitives_child.ts";

/** Who has not answered by then, is out. */
const DEADLINE_S = 20;

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
interface Entrant {
  part: Part;
  player: Player<Answer>;
  /** The milliseconds of each round. */
  times: number[][];
}

function prepare(part: Part): Entrant {
  const [who, what] = part;
  const peers = join(import.meta.dirname!, "peers");
  const command = who === "python"
    ? ["python3", join(peers, "python_primitives.py"), what]
    : [...current().command, join(peers, "primitives_child.ts"), who, what];
  return { part, player: enter(command), times: [] };
}

async function play({ player }: Entrant, count: number): Promise<number[] | undefined> {
  const answer = await ask(player, count, DEADLINE_S);
  return answer === undefined ? undefined : [answer.ms];
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

async function measure(each: Measure): Promise<Outcome> {
  const count = each.whole ? each.count : Math.max(2, Math.ceil(each.count * SCALE));
  const entrants = each.parts.map(prepare);
  const rounds = Math.min(each.rounds ?? ROUNDS, ROUNDS);
  for (const entrant of entrants) {
    for (let round = 0; round < 2 && !each.whole; round++) await play(entrant, count); // Warm.
  }
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < entrants.length; at++) {
      const entrant = entrants[(at + round) % entrants.length]!; // Nobody is always the first.
      const times = await play(entrant, count);
      if (times !== undefined) entrant.times.push(times);
    }
  }
  for (const { player } of entrants) await leave(player);
  return report(each, entrants, count);
}

/** A contestant's name in a measure: what it does is named too, where it takes part more than once. */
function nameOf({ part: [who, what] }: Entrant, entrants: Entrant[]): string {
  const first = entrants.find(({ part }) => part[0] === who)!;
  return first.part[1] === what ? who : `${who} ${what}`;
}

/** Prints a measure. */
function report(each: Measure, entrants: Entrant[], count: number): Outcome {
  const [ours, base] = entrants as [Entrant, Entrant];
  const { title, unit, factor, most } = each;
  const better = unit.endsWith("/s") ? "more" : "less";
  const outcome: Outcome = { title, unit, better, contestants: {}, bars: [] };
  console.log(`\n${each.name}: ${title}`);
  const rows = entrants.map((entrant) => {
    const name = nameOf(entrant, entrants);
    if (entrant.times.length === 0) {
      outcome.contestants[name] = { out: entrant.player.out! };
      return [name, "", "", entrant.player.out!];
    }
    const values = entrant.times.flat().map((ms) => inUnit(each, ms, count));
    // Above 1: this project is so many times as fast; round by round, for all share the machine.
    const against = entrant === ours ? NaN : ratio(ours.times, entrant.times);
    outcome.contestants[name] = figure(values, { ratio: against });
    return [name, digits(median(values)), digits(against), ""];
  });
  printTable([["", unit, "core ×", ""], ...rows]);
  const value = inUnit(each, median(ours.times.flat()), count);
  const against = ratio(ours.times, base.times);
  const bars: Bar[] = [];
  if (factor !== undefined) {
    bars.push(
      judge(`>= ${digits(factor)} x ${nameOf(base, entrants)}`, against, against >= factor),
    );
  }
  if (most !== undefined) bars.push(judge(`<= ${most} ${unit}`, value, value <= most));
  return { ...outcome, bars };
}

const { name, version } = current();
console.log(`${name} ${version}; medians of ${ROUNDS} rounds, wall-clock`);
const names = ["core", "multithreading", "python"];
const versions = Object.fromEntries(names.map((name) => [name, versionOf(name)]));
const outcomes: Record<string, Outcome> = {};
for (const each of MEASURES) {
  outcomes[each.name] = await measure(each);
  record("primitives", outcomes, versions);
}
printBars(outcomes);
process.exit();
