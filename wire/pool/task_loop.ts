/**
 * What a pool's worker does: take a task, run it, put the result, until the ring of tasks is closed.
 *
 * @module
 */

import { TimeoutError } from "../../errors.ts";
import { bootRecord } from "../../memory/control.ts";
import { Claims } from "../../memory/claim.ts";
import { type Lease, Leases, MAX_SPLIT } from "../../memory/lease.ts";
import { Poller } from "../../memory/poller.ts";
import { CLOSED, type Item, Ring } from "../../memory/ring.ts";
import { RingPut } from "../../memory/ring_wait.ts";
import { Line, nap, PENDING } from "../../memory/wait.ts";
import { hold, runtime, wrapPort } from "../../runtime/mod.ts";
import { encode, encodeThrown, passagesOf } from "../codec/codec.ts";
import { Functions, loadTarget } from "./functions.ts";
import type { JobMode } from "./job.ts";
import { dropAttachments, fromInbox, packThrown, toItem, unpackWhole } from "../packet.ts";
import type { Encoded, LastWords, PackedCall, TaskLoopPayload } from "../protocol.ts";
import {
  definitionOf,
  isPlainCall,
  isWatched,
  modeOf,
  RESULT_DROPPED,
  RESULT_ERROR,
  RESULT_PARTIAL,
  RESULT_VALUE,
  resultWord,
} from "./task_frame.ts";
import { TaskSignals } from "./task_signal.ts";
import type { AnyFunction } from "../target/tasks.ts";
import type { Transferable } from "../../runtime/port.ts";

const RESULT = { root: "result" };
const RESULTS = { root: "result", dense: true };
const THROWN = { root: "what was thrown" };
// Tasks that never wait would keep the event loop from timers and sockets that they left behind.
const YIELD_MS = 8;
// A function that the runtime interrupts comes to its end by the pool's hand, if the pool has one free.
const INTERRUPT_LATE_MS = 50;

/** Runs tasks until the pool closes. */
export async function runTasks(payload: TaskLoopPayload): Promise<void> {
  // The loop is this process's work: it lives until the pool ends it.
  hold();
  const loop = new TaskLoop(payload);
  if (payload.initializer !== undefined) await initialize(payload.initializer);
  await loop.run(payload.maxTasks);
}

async function initialize({ target, args }: PackedCall): Promise<void> {
  const run = await loadTarget(target);
  await run(...await unpackWhole(args) as never[]);
}

class TaskLoop {
  readonly #tasks: Ring;
  readonly #results: Ring;
  readonly #resultLine = new Line();
  readonly #claims: Claims;
  readonly #lease: Lease;
  readonly #slot: number;
  readonly #functions: Functions;
  readonly #signals: TaskSignals;
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };
  /** The watched task that is running; 0 if none. */
  #leased = 0;
  /** So long may its calls take, in ms; 0 for ever. */
  #limit = 0;
  /** Whether a function was interrupted: what it was amid of stays so, and what it holds stays held. */
  #interrupted = false;

  constructor({ tasks, results, claims, leases, slot, port }: TaskLoopPayload) {
    this.#tasks = Ring.attach(tasks);
    this.#results = Ring.attach(results);
    this.#claims = new Claims(claims);
    this.#lease = new Leases(leases).of(slot);
    this.#slot = slot;
    const pool = wrapPort(port);
    this.#functions = new Functions(pool);
    this.#signals = new TaskSignals(this.#lease, (task) => this.#functions.abortReason(task));
    bootRecord!.report = (error) => {
      const transfer: Transferable[] = [];
      const words: LastWords = { error: packThrown(error, transfer) };
      pool.post(words, transfer);
    };
  }

  /** Runs so many tasks, or until the ring is closed and drained. */
  async run(maxTasks: number): Promise<void> {
    this.#claims.raiseReady(this.#slot);
    const tasks = this.#tasks;
    const claim = this.#claims.at(this.#slot);
    const poller = new Poller();
    let yielded = Date.now();
    for (let count = 0; count < maxTasks;) {
      const taken = tasks.tryGet(claim);
      if (taken === CLOSED) return;
      if (taken === PENDING) {
        if (!tasks.amidStream) this.#claims.release(this.#slot);
        if (poller.again()) await runtime.yieldLoop();
        else await nap(tasks);
        yielded = Date.now();
        continue;
      }
      poller.found();
      count++;
      const done = this.#runTask(tasks.inbox.a, tasks.inbox.b);
      if (done !== undefined) await done;
      if (this.#interrupted) return;
      if (Date.now() - yielded < YIELD_MS) continue;
      await runtime.yieldLoop();
      yielded = Date.now();
    }
  }

  /** Runs the task in the inbox; returns a promise only if there is something to wait for. */
  #runTask(task: number, b: number): void | Promise<void> {
    if (isWatched(b) && !this.#begin(task)) return this.#drop(task);
    const fn = this.#functions.get(definitionOf(b));
    if (fn === undefined || !isPlainCall(b)) return this.#runSlowly(task, b);
    try {
      const input = fromInbox(this.#tasks);
      if (isThenable(input)) return this.#callLater(task, fn, input);
      const value = fn(...input as never[]);
      return isThenable(value) ? this.#awaitValue(task, value) : this.#answer(task, value);
    } catch (error) {
      return this.#fail(task, error);
    }
  }

  /** Begins a watched task. Returns false if it was dropped. */
  #begin(task: number): boolean {
    this.#leased = task;
    this.#limit = this.#lease.limit(task);
    this.#signals.begin(task);
    return this.#lease.begin(task);
  }

  #drop(task: number): void | Promise<void> {
    dropAttachments(this.#tasks.inbox);
    return this.#put(task, RESULT_DROPPED, encode(undefined));
  }

  async #callLater(task: number, fn: AnyFunction, input: PromiseLike<unknown>): Promise<void> {
    try {
      await this.#awaitValue(task, this.#call(fn, await input as never[]));
    } catch (error) {
      await this.#fail(task, error);
    }
  }

  async #awaitValue(task: number, promise: unknown): Promise<void> {
    let value: unknown;
    try {
      value = await promise;
    } catch (error) {
      return await this.#fail(task, error);
    }
    await this.#answer(task, value);
  }

  async #runSlowly(task: number, b: number): Promise<void> {
    // Should this worker end while it loads the function, it is the first item that is lost.
    this.#lease.at(0);
    try {
      // Before anything is awaited: the inbox is good until the next get only.
      const input = fromInbox(this.#tasks);
      const fn = await this.#functions.load(definitionOf(b));
      if (modeOf(b) === "call") {
        return await this.#callLater(task, fn, Promise.resolve(input as never));
      }
      const items = await input as unknown[];
      await this.#map(task, this.#caller(fn, modeOf(b)), items);
    } catch (error) {
      await this.#fail(task, error);
    }
  }

  /** Calls a function; where the runtime can, it ends a call that takes longer than it may. */
  #call(fn: AnyFunction, args: never[]): unknown {
    const limit = this.#limit;
    if (limit === 0) return fn(...args);
    this.#lease.startClock();
    if (runtime.callFor === undefined) return fn(...args);
    return runtime.callFor(
      limit + INTERRUPT_LATE_MS,
      () => fn(...args),
      () => {
        this.#interrupted = true;
        return new TimeoutError(`The task took longer than ${limit} ms`);
      },
    );
  }

  /** How the function is called for an item. */
  #caller(fn: AnyFunction, mode: JobMode): (item: unknown) => unknown {
    if (mode === "starmap") return (item) => this.#call(fn, item as never[]);
    if (this.#limit > 0) return (item) => this.#call(fn, [item as never]);
    // Not the function itself: `this` and the number of arguments are those of a plain call.
    return (item) => fn(item as never);
  }

  async #map(task: number, call: (item: unknown) => unknown, items: unknown[]): Promise<void> {
    const begun = performance.now();
    let values: unknown[] = new Array(items.length);
    const errors: [number, unknown][] = [];
    const opened = this.#leased !== 0 && items.length <= MAX_SPLIT;
    if (opened) this.#lease.open(task, items.length);
    let at = 0;
    for (; at < items.length && this.#beginItem(at, opened); at++) {
      try {
        const value = call(items[at]);
        values[at] = isThenable(value) ? await value : value;
      } catch (error) {
        values[at] = undefined;
        errors.push([at, error]);
      }
    }
    if (at < items.length) values = values.slice(0, at);
    const took = performance.now() - begun;
    if (errors.length > 0) return await this.#answerPartly(task, values, errors, took);
    let encoded: Encoded;
    try {
      encoded = encode(values, RESULTS);
    } catch {
      return await this.#answerPartly(task, values, errors, took);
    }
    await this.#put(task, resultWord(RESULT_VALUE, took), encoded);
  }

  /** Returns false if the item was taken back, or its task dropped. */
  #beginItem(at: number, opened: boolean): boolean {
    const lease = this.#lease;
    if (!opened) lease.at(at);
    if (this.#leased === 0) return true;
    return !lease.droppedSoon(this.#leased) && !(opened && lease.next() < 0);
  }

  /** Answers with each item's own value or error; a value that cannot be sent becomes an error. */
  async #answerPartly(
    task: number,
    values: unknown[],
    errors: [number, unknown][],
    took: number,
  ): Promise<void> {
    const failed: [number, unknown][] = errors.map((
      [i, error],
    ) => [i, unsendable(error, THROWN) ?? error]);
    for (let i = 0; i < values.length; i++) {
      const reason = unsendable(values[i]);
      if (reason === undefined) continue;
      values[i] = undefined;
      failed.push([i, reason]);
    }
    failed.sort(([a], [b]) => a - b);
    await this.#put(task, resultWord(RESULT_PARTIAL, took), encode([values, failed], RESULT));
  }

  #answer(task: number, value: unknown): void | Promise<void> {
    try {
      return this.#put(task, RESULT_VALUE, encode(value, RESULT));
    } catch (error) {
      return this.#fail(task, error);
    }
  }

  #fail(task: number, error: unknown): void | Promise<void> {
    return this.#put(task, RESULT_ERROR, encodeThrown(error));
  }

  #put(task: number, b: number, encoded: Encoded): void | Promise<void> {
    if (this.#leased !== 0 && !this.#end(task)) return new Promise(() => {});
    const item = this.#item;
    toItem(encoded, item);
    item.a = task;
    item.b = b;
    const results = this.#results;
    if (results.fitsFrame(item.length) && results.tryPut(item) !== PENDING) return;
    const kept = { ...item, bytes: item.bytes.slice(0, item.length) };
    return this.#resultLine.wait(new RingPut(results, kept)).then(() => {});
  }

  /** Ends a watched task. Returns false if this worker is about to be stopped for it. */
  #end(task: number): boolean {
    this.#leased = 0;
    this.#limit = 0;
    this.#signals.begin(0);
    return this.#lease.end(task);
  }
}

/** Why a value cannot be sent; undefined if it can. */
function unsendable(value: unknown, options = RESULT): unknown {
  try {
    for (const passage of passagesOf(encode(value, options))) passage.lost?.();
    return undefined;
  } catch (reason) {
    return reason;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && (typeof value === "object" || typeof value === "function") &&
    typeof (value as { then?: unknown }).then === "function";
}
