/**
 * What a pool's worker does: take a task, run it, put the result, until the ring of tasks is closed.
 *
 * @module
 */

import { bootRecord } from "../../memory/control.ts";
import { Claims } from "../../memory/claim.ts";
import { Poller } from "../../memory/poller.ts";
import { CLOSED, type Item, Ring } from "../../memory/ring.ts";
import { RingPut } from "../../memory/ring_wait.ts";
import { Line, nap, PENDING } from "../../memory/wait.ts";
import { hold, wrapPort, yieldLoop } from "../../runtime/mod.ts";
import { encode, encodeThrown, passagesOf } from "../codec/codec.ts";
import { Functions } from "./functions.ts";
import { fromInbox, packThrown, toItem } from "../packet.ts";
import type { Encoded, LastWords, TaskLoopPayload } from "../protocol.ts";
import { definitionOf, modeOf, RESULT_ERROR, RESULT_PARTIAL, RESULT_VALUE } from "./task_frame.ts";
import type { AnyFunction } from "../target/tasks.ts";

const RESULT = { root: "result" };
const THROWN = { root: "what was thrown" };
// Tasks that never wait would keep the event loop from timers and sockets that they left behind.
const YIELD_MS = 8;

/** Runs tasks until the pool closes. */
export async function runTasks(payload: TaskLoopPayload): Promise<void> {
  // The loop is this process's work: it lives until the pool ends it.
  hold();
  await new TaskLoop(payload).run();
}

class TaskLoop {
  readonly #tasks: Ring;
  readonly #results: Ring;
  readonly #resultLine = new Line();
  readonly #claims: Claims;
  readonly #slot: number;
  readonly #functions: Functions;
  readonly #item: Item = { bytes: new Uint8Array(0), length: 0, tag: 0, a: 0, b: 0 };

  constructor({ tasks, results, claims, slot, port }: TaskLoopPayload) {
    this.#tasks = Ring.attach(tasks);
    this.#results = Ring.attach(results);
    this.#claims = new Claims(claims);
    this.#slot = slot;
    const pool = wrapPort(port);
    this.#functions = new Functions(pool);
    bootRecord!.report = (error) => {
      const transfer: Transferable[] = [];
      const words: LastWords = { error: packThrown(error, transfer) };
      pool.post(words, transfer);
    };
    this.#claims.raiseReady(slot);
  }

  async run(): Promise<void> {
    const tasks = this.#tasks;
    const claim = this.#claims.at(this.#slot);
    let yielded = Date.now();
    const poller = new Poller();
    for (;;) {
      const taken = tasks.tryGet(claim);
      if (taken === CLOSED) return;
      if (taken === PENDING) {
        if (!tasks.amidStream) this.#claims.release(this.#slot);
        if (poller.again()) await yieldLoop();
        else await nap(tasks);
        yielded = Date.now();
        continue;
      }
      poller.found();
      const done = this.#runTask(tasks.inbox.a, tasks.inbox.b);
      if (done !== undefined) await done;
      if (Date.now() - yielded < YIELD_MS) continue;
      await yieldLoop();
      yielded = Date.now();
    }
  }

  /** Runs the task in the inbox; returns a promise only if there is something to wait for. */
  #runTask(task: number, b: number): void | Promise<void> {
    const fn = this.#functions.get(definitionOf(b));
    if (fn === undefined || modeOf(b) === "map") return this.#runSlowly(task, b);
    try {
      const input = fromInbox(this.#tasks);
      if (isThenable(input)) return this.#callLater(task, fn, input);
      const value = fn(...input as never[]);
      return isThenable(value) ? this.#awaitValue(task, value) : this.#answer(task, value);
    } catch (error) {
      return this.#fail(task, error);
    }
  }

  async #callLater(task: number, fn: AnyFunction, input: PromiseLike<unknown>): Promise<void> {
    try {
      await this.#awaitValue(task, fn(...await input as never[]));
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
    try {
      // Before anything is awaited: the inbox is good until the next get only.
      const input = fromInbox(this.#tasks);
      const fn = await this.#functions.load(definitionOf(b));
      if (modeOf(b) === "map") return await this.#map(task, fn, await input as unknown[]);
      await this.#awaitValue(task, fn(...await input as never[]));
    } catch (error) {
      await this.#fail(task, error);
    }
  }

  async #map(task: number, fn: AnyFunction, items: unknown[]): Promise<void> {
    const values: unknown[] = new Array(items.length);
    const errors: [number, unknown][] = [];
    for (let i = 0; i < items.length; i++) {
      try {
        const value = fn(items[i] as never);
        values[i] = isThenable(value) ? await value : value;
      } catch (error) {
        values[i] = undefined;
        errors.push([i, error]);
      }
    }
    if (errors.length > 0) return await this.#answerPartly(task, values, errors);
    try {
      await this.#answer(task, values, true);
    } catch {
      await this.#answerPartly(task, values, errors);
    }
  }

  /** Answers with each item's own value or error; a value that cannot be sent becomes an error. */
  async #answerPartly(task: number, values: unknown[], errors: [number, unknown][]): Promise<void> {
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
    await this.#put(task, RESULT_PARTIAL, encode([values, failed], RESULT));
  }

  #answer(task: number, value: unknown, strict = false): void | Promise<void> {
    try {
      return this.#put(task, RESULT_VALUE, encode(value, RESULT));
    } catch (error) {
      if (strict) throw error;
      return this.#fail(task, error);
    }
  }

  #fail(task: number, error: unknown): void | Promise<void> {
    return this.#put(task, RESULT_ERROR, encodeThrown(error));
  }

  #put(task: number, b: number, encoded: Encoded): void | Promise<void> {
    const item = this.#item;
    toItem(encoded, item);
    item.a = task;
    item.b = b;
    const results = this.#results;
    if (results.fitsFrame(item.length) && results.tryPut(item) !== PENDING) return;
    const kept = { ...item, bytes: item.bytes.slice(0, item.length) };
    return this.#resultLine.wait(new RingPut(results, kept)).then(() => {});
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
