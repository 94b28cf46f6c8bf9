import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { Event, Lock, Process, Queue, RLock, SharedArray, Value } from "../../mod.ts";
import type { Prepare, Turn } from "./primitives_child.ts";

const MIB = 2 ** 20;
/** Numbers in an array of 64 MiB. */
const NUMBERS = 8 * MIB;
/** How long a wait that nobody ends may take. */
const WAIT_MS = 2_000;

function timed(run: () => void): number {
  const begun = performance.now();
  run();
  return performance.now() - begun;
}

function start<Args extends unknown[]>(target: (...args: Args) => void, ...args: Args): Process {
  const child = new Process<Args>({ target, args, daemon: true });
  child.start();
  return child;
}

function touched(bytes: number): Float64Array<ArrayBuffer> {
  return new Float64Array(bytes / 8).fill(1);
}

// What the other process does: plain functions, which travel as source text.

function putInts(orders: Queue<number>, items: Queue<number>): void {
  for (let count = orders.getSync(); count > 0; count = orders.getSync()) {
    for (let at = 0; at < count; at++) items.putSync(at);
  }
}

function putRecords(orders: Queue<number>, items: Queue<unknown>): void {
  for (let count = orders.getSync(); count > 0; count = orders.getSync()) {
    for (let at = 0; at < count; at++) items.putSync({ id: at, name: "worker", v: [1, 2, 3.5] });
  }
}

function putArrays(orders: Queue<number>, items: Queue<Float64Array>): void {
  const item = new Float64Array(8 * 2 ** 20).fill(1);
  for (let count = orders.getSync(); count > 0; count = orders.getSync()) {
    for (let at = 0; at < count; at++) items.putSync(item);
  }
}

function drain(items: Queue<Float64Array>, answers: Queue<number>): void {
  for (;;) answers.putSync(items.getSync()[0]!);
}

function reply(items: Queue<number>, answers: Queue<number>): void {
  for (;;) answers.putSync(items.getSync());
}

function echo(asked: Event, answered: Event): void {
  for (;;) {
    asked.waitSync();
    asked.clear();
    answered.set();
  }
}

function countUp(value: Value<"i32">, orders: Queue<number>, ends: Queue<null>): void {
  for (let count = orders.getSync(); count > 0; count = orders.getSync()) {
    for (let at = 0; at < count; at++) {
      const guard = value.getLock().acquireSync();
      value.value += 1;
      guard.release();
    }
    ends.putSync(null);
  }
}

function firstUse(shared: SharedArray<"f64">, ready: Queue<number>): void {
  ready.putSync(shared.at(0)!);
}

/** Items from a process: from the first until the last has come. */
function got<T>(put: (orders: Queue<number>, items: Queue<T>) => void): Turn {
  const orders = new Queue<number>();
  const items = new Queue<T>();
  start(put, orders, items);
  return (count) => {
    orders.putSync(count + 1);
    items.getSync();
    return timed(() => {
      for (let at = 0; at < count; at++) items.getSync();
    });
  };
}

function arraysOut(): Turn {
  const items = new Queue<Float64Array>();
  const answers = new Queue<number>();
  start(drain, items, answers);
  const item = touched(8 * NUMBERS);
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) items.putSync(item);
      for (let at = 0; at < count; at++) answers.getSync();
    });
}

/** What moving so many bytes costs at least: one copy, into memory that is in use, or that is new. */
function copies(fresh: boolean): Turn {
  const source = touched(8 * NUMBERS);
  let target = touched(8 * NUMBERS);
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        if (fresh) target = new Float64Array(NUMBERS);
        target.set(source);
      }
    });
}

function pairs(lock: Lock): Turn {
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        lock.acquireSync();
        lock.release();
      }
    });
}

function guards(lock: Lock): Turn {
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        const guard = lock.acquireSync();
        guard.release();
      }
    });
}

function increments(): Turn {
  const value = new Value("i32", 0);
  const orders = new Queue<number>();
  const ends = new Queue<null>();
  for (let each = 0; each < 2; each++) start(countUp, value, orders, ends);
  return (count) => {
    value.value = 0;
    const half = Math.floor(count / 2);
    const time = timed(() => {
      for (let each = 0; each < 2; each++) orders.putSync(half);
      for (let each = 0; each < 2; each++) ends.getSync();
    });
    if (value.value !== 2 * half) throw new Error(`${value.value} increments of ${2 * half}`);
    return time;
  };
}

function eventTrips(): Turn {
  const asked = new Event();
  const answered = new Event();
  start(echo, asked, answered);
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        asked.set();
        answered.waitSync();
        answered.clear();
      }
    });
}

function queueTrips(): Turn {
  const items = new Queue<number>();
  const answers = new Queue<number>();
  start(reply, items, answers);
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        items.putSync(at);
        answers.getSync();
      }
    });
}

/** A process from its start to its first use of shared memory that it has been given. */
function life(bytes: number): Turn {
  const shared = new SharedArray("f64", bytes / 8, { lock: false });
  const ready = new Queue<number>();
  return async (count) => {
    let time = 0;
    for (let at = 0; at < count; at++) {
      const begun = performance.now();
      const child = start(firstUse, shared, ready);
      await ready.get();
      time += performance.now() - begun;
      await child.join();
    }
    return time;
  };
}

/** The processor time of so many waits at once that last until their time is over. */
function idle(wait: (options: { timeout: number }) => Promise<unknown>): Turn {
  return async (count) => {
    await setTimeout(200); // What the start has left behind, such as code to be compiled.
    const begun = process.cpuUsage();
    const waits = Array.from({ length: count }, () => wait({ timeout: WAIT_MS }));
    await Promise.allSettled(waits);
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1_000;
  };
}

function idleLock(): Turn {
  const lock = new Lock();
  lock.acquireSync();
  return idle((options) => lock.acquire(options));
}

function idleQueue(): Turn {
  const queue = new Queue();
  return idle((options) => queue.get(options));
}

function idleEvent(): Turn {
  const event = new Event();
  return idle((options) => event.wait(options));
}

/** This project's primitives. */
const primitives: Record<string, Prepare> = {
  ints: () => got(putInts),
  records: () => got(putRecords),
  queueTrips,
  lockPairs: () => pairs(new Lock()),
  lockGuards: () => guards(new Lock()),
  rlockPairs: () => pairs(new RLock()),
  increments,
  eventTrips,
  arraysIn: () => got(putArrays),
  arraysOut,
  copy: () => copies(false),
  freshCopy: () => copies(true),
  shareSmall: () => life(8),
  shareLarge: () => life(2 ** 30),
  idleNothing: () => idle(({ timeout }) => setTimeout(timeout)),
  idleLock,
  idleQueue,
  idleEvent,
};

export default primitives;
