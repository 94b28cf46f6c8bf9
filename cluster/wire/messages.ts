/**
 * What client and daemons say to each other, as JSON in Redis.
 *
 * @module
 */

import type { JobMode } from "@multiprocessing/core/backend";

/** A pool, as its client announces it. */
export interface PoolRecord {
  id: string;
  /** What its workers are called. */
  name: string;
  /** So many tasks run at once on the whole cluster; null for as many as there are slots. */
  processes: number | null;
  /** A worker is replaced after so many jobs; null for never. */
  maxTasks: number | null;
  /** So often may a job be begun anew, after its daemon was lost. */
  lossRetries: number;
  /** So long may the client be silent, in ms. */
  lease: number;
  /** Its client is about to remove it: no daemon works for it any more. */
  ended?: true;
  /** What each worker calls first: a function's key, and its encoded arguments. */
  initializer: { fn: string; args: string } | null;
}

/** What a {@linkcode PoolRecord} says; undefined if it is nonsense, such as of another version. */
export function readPool(text: string): PoolRecord | undefined {
  const record = readObject<PoolRecord>(text);
  const { id, name, processes, maxTasks, lossRetries, lease, initializer } = record;
  const valid = typeof id === "string" && typeof name === "string" &&
    isCount(processes ?? 1, 1) && isCount(maxTasks ?? 1, 1) && isCount(lossRetries, 0) &&
    isCount(lease, 1) && typeof (initializer?.fn ?? "") === "string";
  return valid ? record as PoolRecord : undefined;
}

/** What a {@linkcode NodeRecord} says; undefined if it is nonsense, such as of another version. */
export function readNode(text: string): NodeRecord | undefined {
  const record = readObject<NodeRecord>(text);
  const { host, runtime, slots, at } = record;
  const valid = typeof host === "string" && typeof runtime === "string" && isCount(slots, 1) &&
    isCount(at, 0);
  return valid ? record as NodeRecord : undefined;
}

function readObject<T>(text: string): Partial<T> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

function isCount(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && value as number >= least;
}

/** A function, under its key in the pool's hash of functions. */
export type FunctionRecord = ModuleRecord | CodeRecord;

/** An export of a file that all machines have. */
export interface ModuleRecord {
  kind: "module";
  /** Relative to the root, with slashes. */
  path: string;
  /** SHA-256 of the file. */
  hash: string;
  /** The export or, if `task`, what task() registered. */
  name: string;
  task: boolean;
}

/** A function that travels as text. */
export interface CodeRecord {
  kind: "code";
  /** The encoded reference, in Base64. */
  ref: string;
}

/** From so many bytes on they lie beside the message: BullMQ copies messages into its events, and keeps both. */
export const MANY_BYTES: number = 16 * 1024;

/** Bytes: in the message as Base64 or, if there are many, beside it. */
export type Bytes = { b: string } | Aside;

/** Bytes that lie beside a message: what their key begins with, and in how many pieces. */
export interface Aside {
  k: string;
  n: number;
}

/** What a job of BullMQ holds. */
export interface JobData {
  /** The function's key. */
  f: string;
  m: JobMode;
  /** The encoded arguments, or items. */
  i: Bytes;
  /** Whether somebody may cancel it. */
  c?: true;
  /** So long may a call take, in ms. */
  t?: number;
  /** So long may it go on after that, in ms. */
  g?: number;
}

/**
 * What a job comes to: `v` is a value, `e` an error, both encoded; `r` says why a daemon may not run the
 * function, `g` what of it is gone from Redis: it did not run, and is to be sent again.
 */
export type JobResult = { v: Bytes } | { e: Bytes } | { r: string } | { g: string };

/** A result as daemons tell it. */
export function writeResult(id: string, json: string): string {
  return `${id} ${json}`;
}

/** The job and its result; undefined if it is nonsense: then it is found where results are written down. */
export function readResult(text: string): [id: string, result: JobResult] | undefined {
  const end = text.indexOf(" ");
  const result = readObject<{ v: unknown; e: unknown; r: unknown }>(text.slice(end + 1));
  // What is to be sent again, `g`, is to be heard only once.
  const valid = "v" in result
    ? areBytes(result.v)
    : "e" in result
    ? areBytes(result.e)
    : typeof result.r === "string";
  return end > 0 && valid ? [text.slice(0, end), result as JobResult] : undefined;
}

function areBytes(bytes: unknown): boolean {
  const { b, k, n } = Object(bytes) as Partial<Aside & { b: string }>;
  if (b !== undefined) return typeof b === "string";
  return typeof k === "string" && isCount(n, 1) && n! <= MOST_PIECES;
}

/** More than any value has. */
const MOST_PIECES = 2 ** 16;

/** The encoded value of a chunk of a map. */
export interface ChunkResult {
  values: unknown[];
  /** What was thrown, by index. */
  errors: [number, Uint8Array][];
  /** How long it took, in ms. */
  took: number;
}

/** A daemon, as it announces itself. */
export interface NodeRecord {
  id: string;
  host: string;
  pid: number;
  runtime: string;
  slots: number;
  /** Jobs that it runs now. */
  running: number;
  /** Pools that it works for. */
  pools: number;
  /** When it said so: its own clock, in ms. */
  at: number;
}
