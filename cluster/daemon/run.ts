/**
 * What a daemon's workers run: one job each time, as an ordinary task of an ordinary pool.
 *
 * Errors of the user's functions come back as bytes, not as rejections: those are of the worker itself,
 * such as that it was lost.
 *
 * @module
 */

import {
  type AnyFunction,
  decodeValue,
  encodeError,
  encodeValue,
  type JobMode,
  resolveTarget,
  type TargetRef,
} from "@multiprocessing/core/backend";
import { task } from "@multiprocessing/core/target";
import { fromBase64, toBase64 } from "../runtime/base64.ts";
import { type ChunkResult, MANY_BYTES } from "../wire/messages.ts";
import { refuse } from "../wire/refusal.ts";

/** A function as the daemon's main thread hands it to its workers: the text of a {@linkcode Content}. */
export type Runnable = string;

/** An export of a module that is there; or a function that came as text, encoded, in Base64. */
export type Content = { url: string; name: string; task: boolean } | { ref: string };

/** The encoded input of a job: short ones as Base64, which spares the main thread to decode it. */
export type Input = string | Uint8Array;

/**
 * What came of a job: `v`, a value, or `e`, what was thrown, encoded; short ones as Base64, which the
 * main thread passes on as it is. And how long that took, in ms.
 */
export type Output = [kind: "v" | "e", bytes: string | Uint8Array, took: number];

const functions = new Map<Runnable, AnyFunction>();

async function load(runnable: Runnable): Promise<AnyFunction> {
  const fn = await resolveTarget(refOf(runnable), (url) => import(url));
  functions.set(runnable, fn);
  return fn;
}

function refOf(runnable: Runnable): TargetRef {
  const content = JSON.parse(runnable) as Content;
  if ("ref" in content) return decodeValue(fromBase64(content.ref)) as TargetRef;
  const { url, name, task } = content;
  return { kind: "module", module: url, name, task };
}

/** Called once in each worker, before its first job. */
export const prepare = task(
  import.meta,
  async function prepare(runnable: Runnable, args: Uint8Array): Promise<void> {
    const run = await load(runnable);
    await run(...decodeValue(args) as never[]);
  },
);

/** Runs a job of calls; the value of a map is a {@linkcode ChunkResult}. */
export const runJob = task(
  import.meta,
  async function runJob(runnable: Runnable, mode: JobMode, input: Input): Promise<Output> {
    const begun = performance.now();
    try {
      const fn = functions.get(runnable) ?? await load(runnable);
      const values = decodeValue(typeof input === "string" ? fromBase64(input) : input) as never[];
      const value = mode === "call" ? await fn(...values) : await runChunk(fn, mode, values);
      return pack("v", encodeValue(value, "result", refuse), begun);
    } catch (error) {
      return pack("e", encodeThrown(error), begun);
    }
  },
);

function pack(kind: "v" | "e", bytes: Uint8Array, begun: number): Output {
  const took = performance.now() - begun;
  return [kind, bytes.length < MANY_BYTES ? toBase64(bytes) : bytes, took];
}

async function runChunk(
  fn: AnyFunction,
  mode: JobMode,
  items: readonly unknown[],
): Promise<ChunkResult> {
  const begun = performance.now();
  const values: unknown[] = new Array(items.length).fill(undefined);
  const errors: [number, Uint8Array][] = [];
  for (let at = 0; at < items.length; at++) {
    try {
      const value = mode === "starmap" ? fn(...items[at] as never[]) : fn(items[at] as never);
      const awaited = isThenable(value) ? await value : value;
      // One that cannot be sent fails alone.
      if (Object(awaited) === awaited) encodeValue(awaited, "result", refuse);
      values[at] = awaited;
    } catch (error) {
      errors.push([at, encodeThrown(error)]);
    }
  }
  return { values, errors, took: performance.now() - begun };
}

/** This file, as stacks call it: Bun writes paths. */
const HERE = [import.meta.url, import.meta.filename ?? import.meta.url];

/** The stack ends with the user's function: what called it here concerns nobody. */
function encodeThrown(error: unknown): Uint8Array {
  if (error instanceof Error && typeof error.stack === "string") {
    const lines = error.stack.split("\n");
    const own = lines.findIndex((line) => HERE.some((here) => line.includes(here)));
    if (own > 0) {
      try {
        error.stack = lines.slice(0, own).join("\n");
      } catch {
        // A frozen error keeps its own.
      }
    }
  }
  return encodeError(error, refuse);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (Object(value) as { then?: unknown }).then === "function";
}
