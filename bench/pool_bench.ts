/**
 * This pool beside the pools of others and Python's, on the runtime that runs this file.
 *
 * Run it with `deno run -A`, `bun` or `node` and this file's path, or on all three with
 * `npm run bench -- pool`. `--only=core,piscina` takes these contestants, `--measure=tasks,map` these
 * parts of `pool_measures.ts`; `--workers=2` and `--rounds=5` say how much.
 *
 * To profile one contestant alone, in one process, here 20 times 50,000 tasks, with a .cpuprofile for
 * each thread:
 *
 *     node --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/child.ts core tasks 50000 20
 *
 * Each contestant lives in a child process of its own, because some replace globals and some hang. The
 * parent gives them their turns round by round, so that all share whatever else the machine does;
 * between its turns a contestant is idle.
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { current } from "../scripts/runtimes.ts";
import { ask, enter, leave, type Player } from "./lib/contest.ts";
import { digits, median, printTable, quantile, ratio } from "./lib/figures.ts";
import {
  type Bar,
  figure,
  judge,
  type Outcome,
  printBars,
  record,
  versionOf,
} from "./lib/results.ts";
import type { Answer, Turn } from "./peers/child.ts";
import { type Limit, type Measure, PEERS, poolMeasures } from "./pool_measures.ts";

/** Who has not answered by then, is out of a measure. */
const DEADLINE_S = 15;

/** Who has been out so often, is out of all. */
const STRIKES = 3;

/** Who has spent so much on a measure, sits its last rounds out; not before {@linkcode Measure.least}. */
const BUDGET_MS = 3_000;

/** A contestant warms up in rounds of a tenth, so many at most, within so much time. */
const WARM_UP = { part: 0.1, rounds: 20, ms: 1_000 };

const { values: options } = parseArgs({
  options: {
    /** Each is a file in peers/. */
    only: { type: "string", default: ["core", ...PEERS, "python"].join() },
    measure: { type: "string" },
    workers: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
  },
});
const workers = Number(options.workers);
const runtime = current();

/** One measure's costs of a contestant, by rounds: the lower, the better. */
interface Score {
  costs: number[][];
  beside: number[][];
  /** Why there are no more. */
  out?: string;
}

/** A contestant. */
interface Entrant {
  name: string;
  player?: Player<Answer>;
  about?: Answer["about"];
  strikes: number;
}

function commandOf(name: string): string[] {
  const peers = join(import.meta.dirname!, "peers");
  if (name === "python") return ["python3", join(peers, "python_pool.py")];
  // The collector is called before memory is measured; it is there to be called in all turns.
  const flag = runtime.name === "deno" ? "--v8-flags=--expose-gc" : "--expose-gc";
  return [...runtime.command, flag, join(peers, "child.ts"), name];
}

/** What a turn of a contestant costs; counts as a strike if there is no answer. */
async function play(entrant: Entrant, score: Score, turn: Turn): Promise<number[] | undefined> {
  const { player } = entrant;
  if (player === undefined || score.out !== undefined) return undefined;
  const answer = await ask(player, turn, DEADLINE_S);
  if (answer?.about !== undefined) entrant.about = answer.about;
  if (answer !== undefined) return answer.values;
  score.out = `${turn.what}: ${player.out}`;
  delete entrant.player;
  entrant.strikes++;
  return undefined;
}

/** Starts a contestant's process, unless there is one; and its workers, unless that is what is measured. */
async function begin(entrant: Entrant, score: Score, { turn, fresh }: Measure): Promise<void> {
  if (entrant.strikes >= STRIKES) score.out ??= `out after ${STRIKES} failures`;
  if (score.out !== undefined) return;
  if (fresh && entrant.player !== undefined) {
    await leave(entrant.player);
    delete entrant.player;
  }
  if (entrant.player !== undefined) return;
  entrant.player = enter<Answer>(commandOf(entrant.name));
  if (turn.what !== "open") await play(entrant, score, { what: "open", count: workers });
}

/** The turn as this contestant takes it. */
function turnOf({ name }: Entrant, { turn, peersCount }: Measure): Turn {
  return { ...turn, count: PEERS.includes(name) ? peersCount ?? turn.count : turn.count };
}

async function warmUp(entrant: Entrant, score: Score, measure: Measure): Promise<void> {
  const turns = [turnOf(entrant, measure)];
  if (measure.beside !== undefined) turns.push(measure.beside.turn);
  for (const { what, count } of turns) {
    if (measure.warmUp === "turn") await play(entrant, score, { what, count });
    if (measure.warmUp !== "rounds") continue;
    const begun = performance.now();
    for (let round = 0; round < WARM_UP.rounds; round++) {
      // What is not counted in items has no tenth.
      const part = measure.beside === undefined ? Math.ceil(count * WARM_UP.part) : count;
      await play(entrant, score, { what, count: part });
      if (score.out !== undefined || performance.now() - begun > WARM_UP.ms) break;
    }
  }
}

/** A turn's values as what one item costs. */
function costsOf(values: number[], { unit }: Measure, { count }: Turn): number[] {
  return unit.endsWith("/s") ? values.map((ms) => ms / count) : values;
}

/** One round of a contestant. */
async function playRound(entrant: Entrant, score: Score, measure: Measure): Promise<void> {
  await begin(entrant, score, measure);
  const turn = turnOf(entrant, measure);
  const values = await play(entrant, score, turn);
  const besides = measure.beside && await play(entrant, score, measure.beside.turn);
  if (values === undefined || (measure.beside !== undefined && besides === undefined)) return;
  score.costs.push(costsOf(values, measure, turn));
  if (besides !== undefined) score.beside.push(costsOf(besides, measure, measure.beside!.turn));
}

/** Lets all take their turns. */
async function contest(entrants: Entrant[], measure: Measure): Promise<Map<Entrant, Score>> {
  const scores = new Map(
    entrants.filter(({ name }) => measure.only?.includes(name) !== false)
      .map((entrant): [Entrant, Score] => [entrant, { costs: [], beside: [] }]),
  );
  const order = [...scores];
  const spent = new Map<Entrant, number>();
  for (const [entrant, score] of order) {
    if (measure.fresh) continue;
    await begin(entrant, score, measure);
    await warmUp(entrant, score, measure);
  }
  for (let round = 0; round < measure.rounds; round++) {
    for (const [entrant, score] of order) {
      const past = spent.get(entrant) ?? 0;
      if (score.out !== undefined || (round >= measure.least && past > BUDGET_MS)) continue;
      const begun = performance.now();
      await playRound(entrant, score, measure);
      spent.set(entrant, past + performance.now() - begun);
    }
    order.push(order.shift()!); // Nobody is always the first.
  }
  for (const entrant of measure.fresh ? scores.keys() : []) {
    if (entrant.player !== undefined) await leave(entrant.player);
    delete entrant.player;
  }
  return scores;
}

/** A cost, or a speed, in the measure's unit. */
function inUnit({ unit }: Measure, cost: number): number {
  return unit.endsWith("/s") ? 1_000 / cost : unit === "µs" ? cost * 1_000 : cost;
}

function report(measure: Measure, scores: Map<Entrant, Score>): Outcome {
  const { title, unit, beside, idiom, limits } = measure;
  const more = unit.endsWith("/s");
  const fewer = measure.peersCount === undefined
    ? ""
    : ` (peers: ${measure.peersCount.toLocaleString("en")})`;
  console.log(`\n${measure.name}: ${title}${fewer}`);
  const named = new Map(Array.from(scores, ([{ name }, score]) => [name, score]));
  const ours = named.get("core")?.costs ?? [];
  const ratios = new Map<string, number>();
  const besides = new Map<string, number>();
  const outcome: Outcome = {
    title,
    unit,
    better: more ? "more" : "less",
    contestants: {},
    bars: [],
  };
  const head = ["", unit, "quartiles", "", "core ×", beside ? `× ${beside.title}` : "", ""];
  const rows = Array.from(scores, ([{ name, about }, score]) => {
    const note = score.out ?? (idiom === undefined ? "" : about?.[idiom] ?? "");
    if (score.costs.length === 0) {
      outcome.contestants[name] = { out: note };
      const where = about?.documentedFor ? ` (documented for ${about.documentedFor})` : "";
      return [name, "", "", "", "", "", note + where];
    }
    if (name !== "core" && ours.length > 0) ratios.set(name, ratio(ours, score.costs));
    if (beside !== undefined) besides.set(name, ratio(score.costs, score.beside));
    const values = score.costs.flat().map((cost) => inUnit(measure, cost));
    outcome.contestants[name] = figure(values, {
      ratio: ratios.get(name) ?? NaN,
      beside: besides.get(name) ?? NaN,
    });
    return [
      name,
      digits(median(values)),
      digits(quantile(values, 0.25)),
      digits(quantile(values, 0.75)),
      digits(ratios.get(name) ?? NaN),
      digits(besides.get(name) ?? NaN),
      note,
    ];
  });
  printTable([head, ...rows]);

  const value = inUnit(measure, median(ours.flat()));
  const found = { unit, value, ratios, besides, beside };
  if (named.has("core")) outcome.bars = limits.flatMap((limit) => judged(limit, found));
  return outcome;
}

interface Found {
  unit: string;
  value: number;
  ratios: Map<string, number>;
  besides: Map<string, number>;
  beside: Measure["beside"];
}

/** Whether a limit is kept to; nothing if there is nobody to compare with. */
function judged(limit: Limit, { unit, value, ratios, besides, beside }: Found): Bar[] {
  if (Number.isNaN(value)) return [judge("an answer", value, false)];
  if ("most" in limit) {
    return [judge(`<= ${limit.most} ${unit}`, value, value <= limit.most)];
  }
  const { against, least } = limit;
  if (against === "beside") {
    const found = besides.get("core")!;
    return [judge(`>= ${least} x ${beside!.title}`, found, found >= least)];
  }
  const rivals = Array.from(ratios).filter(([name]) =>
    (name === "python") === (against === "python")
  );
  const best = rivals.toSorted(([, one], [, other]) => one - other)[0];
  if (best === undefined) return [];
  const whom = against === "python" ? "Python" : `the best peer, ${best[0]}`;
  return [judge(`>= ${least} x ${whom}`, best[1], best[1] >= least)];
}

const entrants = options.only.split(",").map((name): Entrant => ({ name, strikes: 0 }));
const chosen = options.measure?.split(",");
const measures = poolMeasures({ workers, rounds: Number(options.rounds) })
  .filter(({ name }) => chosen === undefined || chosen.includes(name));

console.log(`${runtime.name} ${runtime.version}, ${workers} workers; wall-clock`);
console.log(
  "core ×: how many times this project's cost a contestant's is; above 1, core is better",
);
const versions = Object.fromEntries(entrants.map(({ name }) => [name, versionOf(name)]));
const outcomes: Record<string, Outcome> = {};
for (const measure of measures) {
  outcomes[measure.name] = report(measure, await contest(entrants, measure));
  record("pool", outcomes, versions); // Now: what comes may be interrupted.
}
printBars(outcomes);
process.exit();
