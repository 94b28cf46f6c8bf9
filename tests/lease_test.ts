/** Leases: who runs a task, who may take it away, and what of a chunk has not begun. */

import { test } from "node:test";
import { assert, assertEquals, assertFalse, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { type Lease, Leases, MAX_SPLIT, WATCHED_TASKS } from "../memory/lease.ts";
import { ask, isPending, soon, until } from "./fixtures/processes.ts";
import { assertOneStep, victim } from "./fixtures/step_death.ts";

const SEED = 20261122;
const MODULE = import.meta.resolve("../memory/lease.ts");

/** A task in the slot of `TASK`, some generations later. */
const TASK = 2 ** 20 + 5;
const SAME_SLOT = 7 * 2 ** 20 + 5;

/** The leases of two workers, and the second worker's own. */
function make(): { leases: Leases; lease: Lease } {
  const leases = new Leases(2);
  return { leases, lease: new Leases(leases.buffer).of(1) };
}

// -- One process

test("Leases.task() and holder() name the worker from begin() to end()", () => {
  const { leases, lease } = make();
  assertEquals([leases.task(0), leases.task(1), leases.holder(TASK)], [0, 0, -1]);
  assert(lease.begin(TASK));
  assertEquals([leases.task(0), leases.task(1), leases.holder(TASK)], [0, TASK, 1]);
  assertStrictEquals(leases.holder(SAME_SLOT), -1);
  assert(lease.end(TASK));
  assertEquals([leases.task(1), leases.holder(TASK)], [0, -1]);
});

test("Leases.revoke() takes a running task away, and no other", () => {
  const { leases, lease } = make();
  assertFalse(leases.revoke(1, TASK));
  lease.begin(TASK);
  assertFalse(leases.revoke(0, TASK));
  assertFalse(leases.revoke(1, SAME_SLOT));
  assert(leases.revoke(1, TASK));
  assertFalse(leases.revoke(1, TASK));
  assertFalse(lease.end(TASK), "who was revoked does not answer");
  assertEquals([leases.task(1), leases.holder(TASK)], [0, -1]);
});

test("Leases.revoke() fails once the task has ended", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  assert(lease.end(TASK));
  assertFalse(leases.revoke(1, TASK));
  assert(lease.begin(TASK + 1));
  assertFalse(leases.revoke(1, TASK));
  assert(lease.end(TASK + 1));
});

test("Leases.drop() before begin() keeps the task from beginning; it is still to be ended", () => {
  const { leases, lease } = make();
  leases.drop(TASK);
  assertFalse(lease.begin(TASK));
  assertStrictEquals(leases.holder(TASK), 1);
  assert(lease.end(TASK));
  assert(lease.begin(SAME_SLOT), "another task of the slot is not dropped");
  assert(lease.end(SAME_SLOT));
  assert(lease.begin(TASK + 1));
});

test("Leases.drop() after begin() is seen by dropped()", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  assertFalse(lease.dropped(TASK));
  leases.drop(TASK);
  assert(lease.dropped(TASK));
  assertFalse(lease.dropped(SAME_SLOT));
});

test("Leases.limit() is what the worker reads, for each slot its own", () => {
  const { leases, lease } = make();
  for (let slot = 0; slot < WATCHED_TASKS; slot++) leases.limit(3 * 2 ** 20 + slot, slot * 10);
  for (let slot = 0; slot < WATCHED_TASKS; slot++) {
    assertStrictEquals(lease.limit(3 * 2 ** 20 + slot), slot * 10);
    assertFalse(lease.dropped(3 * 2 ** 20 + slot));
  }
});

test("Leases.runs() counts from startClock(), and anew with each task", async () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  assertStrictEquals(leases.runs(1), 0);
  lease.startClock();
  await until(() => leases.runs(1) >= 5, "the clock");
  lease.end(TASK);
  lease.begin(TASK + 1);
  assertStrictEquals(leases.runs(1), 0);
});

test("Leases.takeBack() takes what has not begun, and Lease.next() the rest, each item once", () => {
  const step = fc.option(fc.double({ min: 0.01, max: 1, noNaN: true }), { nil: undefined });
  fc.assert(
    fc.property(
      fc.nat(MAX_SPLIT),
      fc.nat(2 ** 31 - 1),
      fc.array(step),
      (items, task, steps) => {
        const { leases, lease } = make();
        lease.begin(task);
        lease.open(task, items);
        let [next, end] = [0, items];
        for (const part of steps) {
          if (part === undefined) {
            assertStrictEquals(lease.next(), next < end ? next++ : -1);
          } else {
            const from = leases.takeBack(1, task, part);
            if (next === end) {
              assertStrictEquals(from, undefined);
            } else {
              assertStrictEquals(end - from!, Math.ceil((end - next) * part));
              end = from!;
            }
          }
          assertStrictEquals(leases.left(1, task), end - next);
        }
        while (next < end) assertStrictEquals(lease.next(), next++);
        assertStrictEquals(lease.next(), -1);
        assertStrictEquals(leases.takeBack(1, task, 1), undefined);
      },
    ),
    { seed: SEED, numRuns: 300, endOnFailure: true },
  );
});

test("Leases.takeBack() takes nothing of another task, worker or chunk that is not open", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  assertStrictEquals(leases.takeBack(1, TASK, 1), undefined);
  assertStrictEquals(lease.next(), -1);
  lease.open(TASK, 10);
  for (const [worker, task] of [[1, TASK + 1], [1, TASK - 1], [0, TASK]] as const) {
    assertStrictEquals(leases.left(worker, task), 0);
    assertStrictEquals(leases.takeBack(worker, task, 1), undefined);
  }
  assertStrictEquals(leases.left(1, TASK), 10);
  lease.end(TASK);
  lease.begin(TASK + 1);
  assertStrictEquals(leases.left(1, TASK), 0);
  assertStrictEquals(leases.takeBack(1, TASK, 1), undefined);
});

test("Lease.nextAborted() resolves when the task is told to stop, and at once if it was", async () => {
  const { leases, lease } = make();
  assertStrictEquals(lease.aborted, 0);
  const told = lease.nextAborted(0);
  assert(await isPending(told));
  leases.abort(0, TASK);
  assert(await isPending(told), "another worker was told");
  leases.abort(1, TASK);
  await soon(told);
  assertStrictEquals(lease.aborted, TASK);
  await soon(lease.nextAborted(0));
  const again = lease.nextAborted(TASK);
  assert(await isPending(again));
  leases.abort(1, SAME_SLOT);
  await soon(again);
});

test("Leases.clear() leaves nothing for the next worker in the place", () => {
  const { leases, lease } = make();
  const other = leases.of(0);
  other.begin(TASK + 1);
  other.open(TASK + 1, 4);
  lease.begin(TASK);
  lease.open(TASK, 10);
  lease.startClock();
  lease.next();
  leases.abort(1, TASK);
  leases.revoke(1, TASK);
  leases.clear(1);
  assertEquals([leases.task(1), leases.holder(TASK), leases.runs(1)], [0, -1, 0]);
  assertEquals([leases.left(1, TASK), leases.item(1, TASK), lease.aborted], [0, 0, 0]);
  assertEquals([leases.task(0), leases.left(0, TASK + 1)], [TASK + 1, 4]);
  assert(lease.begin(TASK) && lease.end(TASK));
});

test("Leases.limit() of a number that comes again: it is neither dropped nor told to stop", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  leases.drop(TASK);
  leases.abort(1, TASK);
  lease.end(TASK);
  leases.limit(TASK, 0);
  assert(lease.begin(TASK));
  assertStrictEquals(lease.aborted, 0);
});

test("Lease.end() leaves nothing of a chunk that was dropped to a task of the same slot", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  lease.open(TASK, 10);
  leases.drop(TASK);
  lease.end(TASK);
  // Its worker has taken it, and dies before it begins.
  assertStrictEquals(leases.takeBack(1, SAME_SLOT, 1), undefined);
});

test("Leases.takeBack() fails if the chunk was opened and run between its looks", () => {
  const { leases, lease } = make();
  lease.begin(TASK);
  const { load } = Atomics;
  Atomics.load = ((cells: Int32Array, index: number) => {
    Atomics.load = load;
    const seen = load(cells, index);
    lease.open(TASK, 2);
    Atomics.load = ((cells: Int32Array, index: number) => {
      Atomics.load = load;
      const seen = load(cells, index);
      while (lease.next() >= 0);
      lease.end(TASK);
      lease.begin(TASK + 1);
      return seen;
    }) as typeof load;
    return seen;
  }) as typeof load;
  try {
    assertStrictEquals(leases.takeBack(1, TASK, 1), undefined);
  } finally {
    Atomics.load = load;
  }
});

// -- Between processes

test("Lease.nextAborted() wakes in another process", async () => {
  const leases = new Leases(1);
  const { result } = ask(async () => {
    const { Leases } = await import(MODULE) as { Leases: new (buffer: unknown) => Leases };
    const lease = new Leases(buffer).of(0);
    lease.begin(3);
    await Promise.all([lease.nextAborted(0), new Promise((resolve) => setTimeout(resolve, 0))]);
    return lease.aborted;
  }, { buffer: leases.buffer, MODULE });
  const patience = setInterval(() => {}, 1_000);
  await until(() => leases.task(0) === 3, "the task");
  leases.abort(0, 3);
  assertStrictEquals(await result, 3);
  clearInterval(patience);
});

test("Leases.revoke() against Lease.end(): one of them wins, and both say so", async () => {
  const WINS = 1_000;
  const leases = new Leases(1);
  // Where the worker is; whether it is enough; how often the worker has won.
  const words = new Int32Array(new SharedArrayBuffer(12));
  const { result } = ask(async () => {
    const { Leases } = await import(MODULE) as { Leases: new (buffer: unknown) => Leases };
    const lease = new Leases(buffer).of(0);
    const deadline = Date.now() + 30_000;
    let task = 0;
    while (Atomics.load(words, 1) === 0 && Date.now() < deadline) {
      lease.begin(++task);
      if (lease.end(task)) Atomics.add(words, 2, 1);
      // The pool says when it has cleared what it has revoked.
      else while (Atomics.load(words, 0) !== task && Date.now() < deadline);
    }
    return task;
  }, { buffer: leases.buffer, words, MODULE });
  await until(() => Atomics.load(words, 2) > 0, "the worker");
  const deadline = Date.now() + 30_000;
  let revoked = 0;
  while ((revoked < WINS || Atomics.load(words, 2) < WINS) && Date.now() < deadline) {
    const task = leases.task(0);
    if (task === 0 || !leases.revoke(0, task)) continue;
    revoked++;
    leases.clear(0);
    Atomics.store(words, 0, task);
  }
  Atomics.store(words, 1, 1);
  // Only then does the worker add no more.
  const tasks = await result;
  assertStrictEquals(revoked + words[2]!, tasks, "each task has one end");
  assert(revoked >= WINS && words[2]! >= WINS, `${revoked} and ${words[2]}`);
});

test("Leases.takeBack() against Lease.next(): each item of 20,000 chunks goes to one of them", async () => {
  const [CHUNKS, ITEMS, SPLITS] = [20_000, 8, 200];
  const leases = new Leases(1);
  // The worker counts what it runs, the pool what it takes back; after the last comes the first again.
  const items = new Int32Array(new SharedArrayBuffer(4 * CHUNKS * ITEMS));
  // How many chunks there were; how many were split.
  const words = new Int32Array(new SharedArrayBuffer(8));
  const { result } = ask(async () => {
    const { Leases } = await import(MODULE) as { Leases: new (buffer: unknown) => Leases };
    const lease = new Leases(buffer).of(0);
    const deadline = Date.now() + 30_000;
    let task = 0;
    for (; task % CHUNKS > 0 || Atomics.load(words, 1) < SPLITS; task++) {
      if (Date.now() > deadline) break;
      lease.begin(task + 1);
      lease.open(task + 1, ITEMS);
      for (let at = lease.next(); at >= 0; at = lease.next()) {
        Atomics.add(items, task % CHUNKS * ITEMS + at, 1);
      }
      lease.end(task + 1);
      Atomics.store(words, 0, task + 1);
    }
    Atomics.store(words, 0, -task);
    return task;
  }, { buffer: leases.buffer, items, words, MODULE, CHUNKS, ITEMS, SPLITS });
  await until(() => Atomics.load(words, 0) !== 0, "the worker");
  const deadline = Date.now() + 30_000;
  let [last, end] = [0, 0];
  while (Atomics.load(words, 0) >= 0 && Date.now() < deadline) {
    const task = leases.task(0);
    if (task === 0) continue;
    if (task !== last) [last, end] = [task, ITEMS];
    const from = leases.takeBack(0, task, 0.5);
    if (from === undefined) continue;
    for (let at = from; at < end; at++) Atomics.add(items, (task - 1) % CHUNKS * ITEMS + at, 1);
    end = from;
    Atomics.add(words, 1, 1);
  }
  const chunks = await result;
  assert(words[1]! >= SPLITS, `${words[1]} were split`);
  const turns = chunks / CHUNKS;
  const wrong = items.findIndex((times) => times !== turns);
  assertStrictEquals(wrong, -1, `item ${wrong} was run ${items[wrong]} times in ${turns} turns`);
});

/** What of a lease's operations has happened in processes that die before each of their steps. */
async function dying<T>(
  prepare: () => unknown,
  act: () => unknown,
  steps: number,
  look: (leases: Leases) => T,
): Promise<[T[], boolean[]]> {
  const victims = Array.from({ length: steps }, (_, step) => {
    const leases = new Leases(1);
    const scope = { buffer: leases.buffer, MODULE, TASK };
    return { leases, ...victim({ prepare, act, scope, step }) };
  });
  const [left, survived]: [T[], boolean[]] = [[], []];
  for (const { leases, ...dead } of victims) {
    survived.push(await dead.survived());
    left.push(look(leases));
    leases.clear(0);
    const next = leases.of(0);
    assert(next.begin(TASK));
    assertStrictEquals(leases.left(0, TASK), 0);
    assert(next.end(TASK));
  }
  return [left, survived];
}

const prepareLease = async () => {
  const { Leases } = await import(MODULE) as { Leases: new (buffer: unknown) => Leases };
  (globalThis as unknown as { lease: Lease }).lease = new Leases(buffer).of(0);
};

const prepareChunk = async () => {
  const { Leases } = await import(MODULE) as { Leases: new (buffer: unknown) => Leases };
  const lease = new Leases(buffer).of(0);
  (globalThis as unknown as { lease: Lease }).lease = lease;
  lease.begin(TASK);
  lease.open(TASK, 3);
  lease.next();
};

test("Lease.begin() of a worker that dies before any of its steps leaves it with the task, or without", async () => {
  const act = () => void (globalThis as unknown as { lease: Lease }).lease.begin(TASK);
  const [left, survived] = await dying(prepareLease, act, 6, (leases) => {
    const begun = leases.task(0) === TASK;
    assertStrictEquals(leases.revoke(0, TASK), begun);
    assertStrictEquals(leases.takeBack(0, TASK, 1), undefined);
    return begun;
  });
  assertOneStep(left, survived, false, true);
});

test("Lease.next() of a worker that dies before any of its steps has begun the item, or not", async () => {
  const act = () => void (globalThis as unknown as { lease: Lease }).lease.next();
  const [left, survived] = await dying(prepareChunk, act, 3, (leases) => {
    assertStrictEquals(leases.task(0), TASK);
    const first = leases.takeBack(0, TASK, 1);
    assertStrictEquals(leases.item(0, TASK), first! - 1);
    return first;
  });
  // With one step there is no death after it.
  assertEquals(left, left.map((_, step) => survived[step] ? 2 : 1));
  assert(survived.includes(true) && survived.includes(false));
});

test("Lease.end() of a worker that dies before any of its steps leaves it with the task, or without", async () => {
  const act = () => void (globalThis as unknown as { lease: Lease }).lease.end(TASK);
  const [left, survived] = await dying(prepareChunk, act, 4, (leases) => {
    const ended = leases.task(0) === 0;
    assertStrictEquals(leases.revoke(0, TASK), !ended);
    return ended;
  });
  assertOneStep(left, survived, false, true);
});

// Free names of functions that run elsewhere.
declare const buffer: SharedArrayBuffer;
