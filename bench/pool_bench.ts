/**
 * This pool beside the pools of others, on the runtime that runs this file: 50,000 tasks outstanding
 * at once, the latency of one awaited task, amid others and after a rest, a map of 100,000 numbers.
 *
 * Run it with `deno run -A`, `bun` or `node` and this file's path, or on all three with
 * `npm run bench -- pool`. `--only=core,piscina` takes these contestants, `--measure=tasks,map` these
 * parts; `--workers=2`, `--rounds=5`, `--tasks=50000`, `--calls=2000`, `--numbers=100000` say how much.
 *
 * To profile one contestant alone, in one process, here 20 times 50,000 tasks (or `latency 2000 5`,
 * `rested 200 5`, `map 100000 20`), with a .cpuprofile for each thread:
 *
 *     node --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/child.ts core tasks 50000 20
 *
 * Each contestant lives in a child process of its own, because some replace globals and some hang. The
 * parent gives them their turns round by round, so that all share whatever else the machine does;
 * between its turns a contestant is idle.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { current } from "../scripts/runtimes.ts";
import { type Answer, MARK, REST_MS, type Turn } from "./peers/child.ts";

/** Who has not answered by then, is out. */
const DEADLINE_MS = 15_000;

/** Who has spent so much on a measure, sits its last rounds out; not before {@linkcode Measure.least}. */
const BUDGET_MS = 3_000;

/** A contestant warms up in rounds of a tenth, so many at most, within so much time. */
const WARM_UP = { part: 0.1, rounds: 20, ms: 1_000 };

const { values: options } = parseArgs({
  options: {
    /** Each is a file in peers/. */
    only: { type: "string", default: "core,piscina,tinypool,workerpool,poolifier,multithreading" },
    measure: { type: "string", default: "tasks,latency,rested,map" },
    workers: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    tasks: { type: "string", default: "50000" },
    calls: { type: "string", default: "2000" },
    numbers: { type: "string", default: "100000" },
  },
});

/** A contestant, as the parent sees it. */
interface Player {
  name: string;
  child: ChildProcess;
  answers: AsyncIterator<Answer>;
  about?: { documentedFor: string; mapIdiom: string };
  /** Why it takes no more turns. */
  out?: string;
  /** The milliseconds of each round. */
  times: Record<Turn["what"], number[][]>;
}

async function* answersOf(child: ChildProcess): AsyncGenerator<Answer, Answer> {
  let complaint: string | undefined;
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (/\w*Error: /.test(line)) complaint ??= line;
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    if (line.startsWith(MARK)) yield JSON.parse(line.slice(MARK.length));
  }
  return { error: `its process ended: ${complaint ?? "no error shown"}` };
}

function enter(name: string): Player {
  const [file, ...words] = [
    ...current().command,
    join(import.meta.dirname!, "peers", "child.ts"),
    name,
  ];
  const child = spawn(file!, words, {
    stdio: "pipe",
    env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  child.stdin!.on("error", () => {}); // It has ended, as its answers say.
  process.once("exit", () => child.kill("SIGKILL"));
  const times = { open: [], tasks: [], latency: [], rested: [], map: [] };
  return { name, child, answers: answersOf(child), times };
}

/** The next answer; whoever errs or lets the deadline pass, is out. */
async function hear(player: Player, doing: string): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const timer = setTimeout(resolve, DEADLINE_MS, {
    error: `${doing}: no answer in ${DEADLINE_MS / 1_000} s`,
  });
  player.answers.next().then(({ value }) => resolve(value));
  const answer = await promise;
  clearTimeout(timer);
  if ("error" in answer) {
    player.out = answer.error;
    player.child.kill("SIGKILL");
  }
  return answer;
}

async function play(player: Player, turn: Turn): Promise<number[]> {
  player.child.stdin!.write(JSON.stringify(turn) + "\n");
  const answer = await hear(player, turn.what);
  return "times" in answer ? answer.times : [];
}

/** The value below which so much of the values lie. */
function quantile(values: number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
}

const median = (values: number[]) => quantile(values, 0.5);

/** How many times as long as `ours` a contestant took: the median of the rounds. */
function ratio(ours: number[][], theirs: number[][]): number {
  return median(theirs.map((times, round) => median(times) / median(ours[round] ?? [])));
}

function digits(value: number, places = 0): string {
  const options = { minimumFractionDigits: places, maximumFractionDigits: places };
  return Number.isNaN(value) ? "" : value.toLocaleString("en", options);
}

/** Prints rows in columns: all end together, but the first and the last begin together. */
function table(title: string, rows: string[][]): void {
  console.log(`\n${title}`);
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, at) =>
      at === 0 || at === row.length - 1 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)
    );
    console.log(`  ${cells.join("   ").trimEnd()}`);
  }
}

/** One thing that is measured. */
interface Measure {
  what: Turn["what"];
  title: string;
  /** How much of it in a round. */
  count: number;
  rounds: number;
  /** So many rounds even for those that are slow. */
  least: number;
  /** The heads of the columns between name and ratio. */
  heads: string[];
  /** What stands in them, for the milliseconds of all rounds. */
  cells(times: number[]): string[];
}

const rounds = Number(options.rounds);
const taskCount = Number(options.tasks);
const callRounds = 4 * rounds;
const callCount = Math.ceil(Number(options.calls) / callRounds);
const numberCount = Number(options.numbers);

const CALL_HEADS = ["median µs", "p95 µs"];

function callCells(times: number[]): string[] {
  return [0.5, 0.95].map((part) => digits(quantile(times, part) * 1_000, 1));
}

const ALL: Measure[] = [
  {
    what: "tasks",
    title: `${digits(taskCount)} outstanding tasks that do nothing`,
    count: taskCount,
    rounds,
    least: rounds,
    heads: ["tasks/s", "lowest", "highest"],
    cells: (times) =>
      [0.5, 1, 0].map((part) => digits(Math.round(taskCount / quantile(times, part)) * 1_000)),
  },
  {
    what: "latency",
    title: `One awaited task after another, ${digits(callCount * callRounds)} of them`,
    count: callCount,
    rounds: callRounds,
    least: callRounds,
    heads: CALL_HEADS,
    cells: callCells,
  },
  {
    what: "rested",
    title: `One awaited task after ${REST_MS} ms without any, ${
      digits(callCount * rounds)
    } of them`,
    count: callCount,
    rounds,
    least: rounds,
    heads: CALL_HEADS,
    cells: callCells,
  },
  {
    what: "map",
    title: `A map of ${digits(numberCount)} numbers`,
    count: numberCount,
    rounds,
    least: 1,
    heads: ["median ms", "shortest", "longest"],
    cells: (times) => [0.5, 0, 1].map((part) => digits(quantile(times, part), 1)),
  },
];

const MEASURES = ALL.filter(({ what }) => options.measure.split(",").includes(what));

async function warmUp(player: Player, { what, count }: Turn): Promise<void> {
  const begun = performance.now();
  for (let round = 0; round < WARM_UP.rounds && player.out === undefined; round++) {
    await play(player, { what, count: Math.ceil(count * WARM_UP.part) });
    if (performance.now() - begun > WARM_UP.ms) break;
  }
}

async function measure(players: Player[], { what, count, rounds, least }: Measure): Promise<void> {
  for (const player of players) await warmUp(player, { what, count });
  for (let round = 0; round < rounds; round++) {
    for (const player of players) {
      const past = player.times[what];
      const spent = past.flat().reduce((sum, time) => sum + time, 0);
      if (player.out !== undefined || (round >= least && spent > BUDGET_MS)) continue;
      const times = await play(player, { what, count });
      if (times.length > 0) past.push(times);
    }
    players = [...players.slice(1), ...players.slice(0, 1)]; // Nobody is always the first.
  }
}

function report(players: Player[], { what, title, heads, cells, rounds }: Measure): void {
  const ours = players.find(({ name }) => name === "core")?.times[what] ?? [];
  const rows = players.map(({ name, times, out, about }) => {
    const theirs = times[what];
    if (theirs.length === 0) {
      return [
        name,
        ...heads.map(() => ""),
        "",
        about === undefined ? `${out}` : `${out} (documented for ${about.documentedFor})`,
      ];
    }
    const against = name === "core" || ours.length === 0 ? "" : digits(ratio(ours, theirs), 2);
    return [name, ...cells(theirs.flat()), against, what === "map" ? about!.mapIdiom : ""];
  });
  table(`${title}: ${rounds} rounds`, [["", ...heads, "core's time x", ""], ...rows]);

  const rivals = players.filter(({ name, times }) => name !== "core" && times[what].length > 0)
    .sort((one, other) => median(one.times[what].flat()) - median(other.times[what].flat()));
  const [best] = rivals;
  if (best === undefined || ours.length === 0) return;
  console.log(
    `  the best of the others, ${best.name}, takes ${
      digits(ratio(ours, best.times[what]), 2)
    } times core's time`,
  );
}

const players = options.only.split(",").map(enter);
const workers = Number(options.workers);
const { name, version } = current();
console.log(`${name} ${version}, ${workers} workers; times are wall-clock times`);

for (const player of players) {
  const answer = await hear(player, "import");
  if ("about" in answer) player.about = answer.about;
  if (player.out === undefined) await play(player, { what: "open", count: workers });
}
for (const each of MEASURES) {
  await measure(players, each);
  report(players, each);
}
process.exit();
