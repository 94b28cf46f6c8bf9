/**
 * What the pool benchmark measures, and the bars that are set.
 *
 * @module
 */

import type { Turn } from "./peers/child.ts";

/** What is wanted of this project's pool. */
export type Limit =
  /** So many times as fast as Python, as the best of the peers, or as what the measure sets beside it. */
  | { against: "python" | "peers" | "beside"; least: number }
  /** No more than this, in the measure's unit. */
  | { most: number };

/** One thing that is measured. */
export interface Measure {
  name: string;
  title: string;
  turn: Turn;
  /** Where the peers send a message an item: so many items must do, and their rate counts. */
  peersCount?: number;
  unit: "tasks/s" | "items/s" | "ms" | "µs" | "bytes" | "MiB";
  /** Another turn in each round, of the same contestant, and what it is called. */
  beside?: { turn: Turn; title: string };
  /** The column on the right: how a contestant does it. */
  idiom?: "mapIdiom" | "unorderedIdiom";
  /** Only for these. */
  only?: string[];
  rounds: number;
  /** So many rounds even for those that are slow. */
  least: number;
  /** What precedes the first round. */
  warmUp: "rounds" | "turn" | "none";
  /** Each round has a new process. */
  fresh?: boolean;
  limits: Limit[];
}

/** The libraries beside this one; each is a file in peers/. */
export const PEERS: string[] = ["piscina", "tinypool", "workerpool", "poolifier", "multithreading"];

/** How much of everything. */
export interface Amounts {
  workers: number;
  rounds: number;
}

const THOUSAND = 1_000;
const MILLION = 1_000_000;
/** So many items must do where a contestant sends a message an item. */
const PEERS_COUNT = 25 * THOUSAND;
const MIB = 2 ** 20;
/** Numbers in 256 MiB. */
const NUMBERS = 32 * MIB;
const FIB = 32;

/** All measures. */
export function poolMeasures({ workers, rounds }: Amounts): Measure[] {
  const open: Turn = { what: "open", count: workers };
  const tasks: Turn = { what: "tasks", count: 50 * THOUSAND };
  return [
    {
      name: "tasks",
      title: "50,000 outstanding tasks that do nothing",
      turn: tasks,
      unit: "tasks/s",
      rounds,
      least: rounds,
      warmUp: "rounds",
      limits: [{ against: "peers", least: 5 }],
    },
    {
      name: "latency",
      title: "One awaited task after another, 2,000 of them",
      turn: { what: "latency", count: Math.ceil(500 / rounds) },
      unit: "µs",
      rounds: 4 * rounds,
      least: 4 * rounds,
      warmUp: "rounds",
      limits: [],
    },
    {
      name: "rested",
      title: "One awaited task after 2 ms without any, 200 of them",
      turn: { what: "rested", count: Math.ceil(200 / rounds) },
      unit: "µs",
      rounds,
      least: rounds,
      warmUp: "rounds",
      limits: [],
    },
    {
      name: "first",
      title: "From the import of the library to the first answer, in a new process",
      turn: open,
      unit: "ms",
      rounds,
      least: rounds,
      warmUp: "none",
      fresh: true,
      limits: [],
    },
    {
      name: "map",
      title: "A map of 1,000,000 numbers",
      turn: { what: "map", count: MILLION },
      peersCount: PEERS_COUNT,
      unit: "items/s",
      idiom: "mapIdiom",
      rounds,
      least: 1,
      warmUp: "rounds",
      limits: [{ against: "python", least: 1 }],
    },
    {
      name: "objects",
      title: "A map of 100,000 small objects",
      turn: { what: "objects", count: 100 * THOUSAND },
      peersCount: PEERS_COUNT,
      unit: "items/s",
      idiom: "mapIdiom",
      rounds,
      least: 1,
      warmUp: "rounds",
      limits: [{ against: "python", least: 1 }],
    },
    {
      name: "imapUnordered",
      title: "imapUnordered over 100,000 numbers, with default options",
      turn: { what: "unordered", count: 100 * THOUSAND },
      peersCount: PEERS_COUNT,
      unit: "items/s",
      idiom: "unorderedIdiom",
      rounds,
      least: 1,
      warmUp: "rounds",
      limits: [{ against: "python", least: 3 }],
    },
    {
      name: "fib",
      title: `16 times fib(${FIB}), beside one thread`,
      turn: { what: "fib", count: FIB },
      unit: "ms",
      beside: { turn: { what: "fibAlone", count: FIB }, title: "one thread" },
      rounds: 2 * rounds,
      least: 1,
      warmUp: "rounds",
      limits: [{ against: "beside", least: 1.85 }],
    },
    {
      name: "inPlace",
      title: "A Float64Array of 256 MiB in shared memory, doubled in place, beside one thread",
      turn: { what: "inPlace", count: NUMBERS },
      unit: "ms",
      beside: { turn: { what: "inPlaceAlone", count: NUMBERS }, title: "one thread" },
      rounds,
      least: 1,
      warmUp: "turn",
      limits: [],
    },
    {
      name: "inPlaceMemory",
      title: "The same: by how much the process is larger meanwhile",
      turn: { what: "inPlaceMemory", count: NUMBERS },
      unit: "MiB",
      only: [...PEERS, "core"],
      rounds,
      least: 1,
      warmUp: "none",
      limits: [{ most: 32 }],
    },
    {
      name: "transfer",
      title: "256 MiB moved to a worker, beside 64 MiB",
      turn: { what: "transfer", count: 256 * MIB },
      unit: "ms",
      // Not beside 8 bytes: V8 collects garbage after each move of so much, whatever the size.
      beside: { turn: { what: "transfer", count: 64 * MIB }, title: "64 MiB" },
      rounds,
      least: 1,
      warmUp: "turn",
      limits: [{ against: "beside", least: 0.5 }],
    },
    {
      name: "million",
      title: "1,000,000 outstanding tasks that do nothing, beside 50,000",
      turn: { what: "tasks", count: MILLION },
      unit: "tasks/s",
      beside: { turn: tasks, title: "50,000" },
      rounds,
      least: 1,
      warmUp: "none",
      limits: [{ against: "beside", least: 0.7 }],
    },
    {
      name: "heap",
      title: "1,000,000 outstanding tasks: what each takes of the caller's heap",
      turn: { what: "heap", count: MILLION },
      unit: "bytes",
      only: [...PEERS, "core"],
      rounds: 1,
      least: 1,
      warmUp: "none",
      fresh: true,
      limits: [{ most: 400 }],
    },
    {
      name: "resident",
      title:
        "1,000,000 outstanding tasks: what each takes of the machine's memory, garbage included",
      turn: { what: "resident", count: MILLION },
      unit: "bytes",
      only: ["core", "python"],
      rounds: 1,
      least: 1,
      warmUp: "none",
      fresh: true,
      limits: [],
    },
  ];
}
