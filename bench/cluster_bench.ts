/**
 * A pool on a cluster beside BullMQ as one would use it by hand, on the runtime that runs this file.
 *
 * Run it with `deno run -A`, `bun` or `node` and this file's path, or on all three with
 * `npm run bench -- cluster`. It starts a `redis-server` of its own, on a socket in a temporary folder.
 * `--measure=single,latency` takes these measures; `--slots=2` and `--rounds=7` say how much.
 *
 * To profile, with a Redis at hand, a daemon and then its client, here 5 times 5,000 tasks:
 *
 *     node --cpu-prof --cpu-prof-dir=/tmp/prof cluster/worker.ts --url unix:///tmp/redis.sock --slots 2
 *     node --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/cluster_child.ts \
 *       cluster_core unix:///tmp/redis.sock single 5000 5
 *
 * Clients and workers are processes of their own, all on this machine: so this measures what the library
 * adds to BullMQ; for `far` their lines to Redis are slow, as on a network. They take turns round by
 * round, each turn in another order.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { current, ROOT } from "../scripts/runtimes.ts";
import { ask, enter, leave, type Player } from "./lib/contest.ts";
import { digits, median, printTable, quantile, ratio } from "./lib/figures.ts";
import { openSlowLine } from "./lib/slow_line.ts";
import { figure, judge, type Outcome, printBars, record, versionOf } from "./lib/results.ts";
import type { Answer, Turn } from "./peers/cluster_child.ts";

/** Who has not answered by then, is out. */
const DEADLINE_S = 60;

/** How many times BullMQ's rate this project's has to be: at most a quarter more time for each task. */
const BAR = 1 / 1.25;

/** On a network each way to Redis takes so many milliseconds more. */
const LINE_MS = 2;

/** Rounds that are not timed. */
const WARM_UP = 2;

const { values: options } = parseArgs({
  options: {
    measure: { type: "string" },
    slots: { type: "string", default: "2" },
    rounds: { type: "string", default: "7" },
  },
});
const ROUNDS = Number(options.rounds);
const SLOTS = Number(options.slots);
/** Jobs that BullMQ's worker has at once, where it has more than slots: so none waits for Redis. */
const MANY = 16 * SLOTS;

/** One thing that is measured. */
interface Measure {
  name: Turn["what"];
  title: string;
  count: number;
  unit: "tasks/s" | "ms";
  /** Whether there is a network between all and Redis. */
  far?: true;
}

const ALL: Measure[] = [
  {
    name: "single",
    title: "5,000 outstanding tasks, one a job",
    count: 5_000,
    unit: "tasks/s",
  },
  {
    name: "chunked",
    title: "100,000 numbers, 100 a job",
    count: 100_000,
    unit: "tasks/s",
  },
  {
    name: "automatic",
    title: "100,000 numbers: map() with default chunks, beside 100 a job",
    count: 100_000,
    unit: "tasks/s",
  },
  {
    name: "latency",
    title: "One awaited task after another, 300 of them: the median",
    count: 300,
    unit: "ms",
  },
  {
    name: "latency95",
    title: "One awaited task after another, 300 of them: 95 % are no slower",
    count: 300,
    unit: "ms",
  },
  {
    name: "far",
    title: `One awaited task after another, 100 of them, ${LINE_MS} ms from Redis: the median`,
    count: 100,
    unit: "ms",
    far: true,
  },
];

/** A client, and its worker or daemon. */
interface Entrant {
  name: string;
  client: Player<Answer>;
  worker: Player<Answer>;
  /** The milliseconds of each round, of one measure. */
  times: number[][];
}

async function startRedis(folder: string): Promise<string> {
  const socket = join(folder, "redis.sock");
  const words = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""];
  const server = spawn("redis-server", words, { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => {
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  for await (const line of createInterface({ input: server.stdout })) {
    if (/ready to accept connections/i.test(line)) return `unix://${socket}`;
  }
  throw new Error("redis-server has ended");
}

/** Starts a client and its worker: the client of `file`, and a worker by these words. */
async function begin(name: string, url: string, file: string, worker: string[]): Promise<Entrant> {
  const { command } = current();
  const peers = join(import.meta.dirname!, "peers");
  const entrant: Entrant = {
    name,
    worker: enter([...command, ...worker]),
    client: enter([...command, join(peers, "cluster_child.ts"), file, url]),
    times: [],
  };
  await ask(entrant.client, { what: "open", count: 0 } satisfies Turn, DEADLINE_S);
  return entrant;
}

/** A pool, and a daemon. */
function beginCore(url: string): Promise<Entrant> {
  const daemon = join(ROOT, "cluster", "worker.ts");
  return begin("core", url, "cluster_core", [
    ...[daemon, "--url", url, "--slots", `${SLOTS}`, "--root", ROOT],
  ]);
}

/** BullMQ alone, in a database of its own. */
function beginBare(url: string, db: number, name: string, ...words: string[]): Promise<Entrant> {
  const ownUrl = `${url}?db=${db}`;
  const worker = join(import.meta.dirname!, "peers", "bullmq_worker.ts");
  return begin(name, ownUrl, "bullmq", [worker, ownUrl, ...words]);
}

async function measure(each: Measure, entrants: Entrant[]): Promise<Outcome> {
  const turn: Turn = { what: each.name, count: each.count };
  for (const entrant of entrants) entrant.times = [];
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (let at = 0; at < entrants.length; at++) {
      const { client, times } = entrants[(at + round + WARM_UP) % entrants.length]!;
      const answer = await ask(client, turn, DEADLINE_S);
      if (answer !== undefined && round >= 0) times.push([answer.ms]);
    }
  }
  return report(each, entrants);
}

/** Prints a measure. */
function report({ name, title, unit, count }: Measure, entrants: Entrant[]): Outcome {
  const [ours, bare, threads] = entrants as [Entrant, Entrant, Entrant];
  const better = unit === "ms" ? "less" : "more";
  const outcome: Outcome = { title, unit, better, contestants: {}, bars: [] };
  console.log(`\n${name}: ${title}`);
  const rows = entrants.map((entrant) => {
    if (entrant.times.length === 0) {
      outcome.contestants[entrant.name] = { out: entrant.client.out! };
      return [entrant.name, "", "", "", "", entrant.client.out!];
    }
    const values = entrant.times.flat().map((ms) => unit === "ms" ? ms : count / ms * 1_000);
    const times = entrant === ours ? NaN : ratio(ours.times, entrant.times);
    outcome.contestants[entrant.name] = figure(values, { ratio: times });
    const shown = [median(values), quantile(values, 0.25), quantile(values, 0.75), times];
    return [entrant.name, ...shown.map(digits), ""];
  });
  printTable([["", unit, "quarter", "3 quarters", "core ×", ""], ...rows]);
  for (const base of [bare, threads]) {
    const times = ratio(ours.times, base.times);
    outcome.bars.push(judge(`>= ${BAR} x ${base.name}`, times, times >= BAR));
  }
  return outcome;
}

if (spawnSync("redis-server", ["--version"]).status !== 0) {
  console.log(
    "NOT MEASURED: there is no redis-server on the PATH (Debian's package: redis-server)",
  );
  process.exit();
}
const { name, version } = current();
const chosen = options.measure?.split(",");
const measures = ALL.filter(({ name }) => chosen === undefined || chosen.includes(name));
console.log(`${name} ${version}, ${SLOTS} slots; medians of ${ROUNDS} rounds, wall-clock`);
console.log("core ×: how many times BullMQ's cost is this project's; above 1, core is better");
const folder = mkdtempSync(join(tmpdir(), "mp-bench-"));
const url = await startRedis(folder);
const entrants = [
  await beginCore(url),
  await beginBare(url, 1, "bullmq", `${SLOTS}`),
  await beginBare(url, 2, "bullmq threads", `${SLOTS}`, "threads"),
  await beginBare(url, 3, `bullmq ${MANY}`, `${MANY}`),
];
const farEntrants: Entrant[] = [];
if (measures.some(({ far }) => far)) {
  const line = join(folder, "line.sock");
  await openSlowLine(line, new URL(url).pathname, LINE_MS);
  farEntrants.push(
    await beginCore(`unix://${line}?db=4`),
    await beginBare(`unix://${line}`, 5, "bullmq", `${SLOTS}`),
    await beginBare(`unix://${line}`, 6, "bullmq threads", `${SLOTS}`, "threads"),
    await beginBare(`unix://${line}`, 7, `bullmq ${MANY}`, `${MANY}`),
  );
}
const versions = Object.fromEntries(["core", "bullmq"].map((name) => [name, versionOf(name)]));
versions["redis-server"] = /v=(\S+)/.exec(
  spawnSync("redis-server", ["--version"], { encoding: "utf8" }).stdout,
)?.[1] ?? "unknown";
const outcomes: Record<string, Outcome> = {};
for (const each of measures) {
  outcomes[each.name] = await measure(each, each.far ? farEntrants : entrants);
  record("cluster", outcomes, versions);
}
for (const { client, worker } of [...entrants, ...farEntrants]) {
  await leave(client);
  await leave(worker);
}
printBars(outcomes);
process.exit();
