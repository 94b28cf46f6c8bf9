/** Condition: its contract in one process and between processes, to the last notification and through deaths. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError, type WaitOptions } from "../errors.ts";
import { ConditionState } from "../memory/condition.ts";
import { endProcess, newPid } from "../memory/control.ts";
import { OWN_WORDS } from "../memory/monitor.ts";
import { Mutex } from "../memory/mutex.ts";
import { Roster } from "../memory/roster.ts";
import { PENDING } from "../memory/wait.ts";
import { Pool } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Condition, Event, Lock, RLock, Semaphore } from "../sync.ts";
import { closure } from "../target.ts";
import {
  ask,
  isPending,
  run,
  SOON,
  soon,
  start,
  TAKEOVER_MS,
  until,
} from "./fixtures/processes.ts";

declare const mine: number;

declare const process: {
  exit(code: number): never;
  cpuUsage(): { user: number; system: number };
};

const KINDS: [string, () => Condition][] = [
  ["Condition", () => new Condition()],
  ["Condition of a Lock", () => new Condition(new Lock())],
];

/** Acquires the lock, which must be free, waits, and releases it; waiting when this has returned. */
async function waits(condition: Condition, options?: WaitOptions): Promise<boolean> {
  const guard = condition.acquireSync();
  try {
    return await condition.wait(options);
  } finally {
    guard.release();
  }
}

/** Notifies, with the lock held for that. */
async function notify(condition: Condition, n?: number): Promise<void> {
  const guard = await condition.acquire({ timeout: SOON });
  condition.notify(n);
  guard.release();
}

/** That nobody waits, no notification is left over, and the lock is free. */
async function assertQuiet(condition: Condition, lock?: Lock): Promise<void> {
  await notify(condition, 3);
  assertEquals(await soon(waits(condition, { timeout: 1 })), false, "somebody was notified late");
  if (lock !== undefined) assertFalse(lock.locked());
}

/** Counts the promises that have come to true, false or an error. */
function tally(promises: Promise<boolean>[]): { true: number; false: number; error: number } {
  const counts = { true: 0, false: 0, error: 0 };
  for (const promise of promises) {
    promise.then((notified) => counts[`${notified}`]++, () => counts.error++);
  }
  return counts;
}

function nameOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
  return "nothing";
}

// -- One process

test("new Condition() goes with a new RLock, or with the lock given", () => {
  const condition = new Condition();
  const outer = condition.acquireSync();
  condition.acquireSync().release();
  assertEquals(outer.release(), undefined);
  assertThrows(() => condition.release(), ProcessError, "Cannot release RLock: it is not held");
  for (const lock of [new Lock(), new RLock()]) {
    const guard = new Condition(lock).acquireSync();
    assert(lock.locked());
    guard.release();
    assertFalse(lock.locked());
  }
});

test("new Condition() refuses what is no lock, and says what it is", () => {
  for (const lock of [null, 1, "lock", {}, new Semaphore(), new Condition(), Lock]) {
    const error = assertThrows(() => new Condition(lock as unknown as Lock), TypeError);
    assertEquals(
      error.message,
      `Cannot create Condition: 'lock' must be a Lock or an RLock, but is ${String(lock)}`,
    );
  }
});

for (const [name, make] of KINDS) {
  test(`${name}: acquire(), acquireSync() and release() are those of its lock`, async () => {
    const condition = make();
    const guard = await condition.acquire({ timeout: 0 });
    assertFalse(guard.abandoned);
    const outside = await run(
      async () => {
        const sync = nameOf(() => condition.acquireSync({ timeout: 1 }));
        const late = await condition.acquire({ timeout: 1 }).catch((error) => error.name);
        const reason = await condition.acquire({ signal: AbortSignal.abort(7) }).catch((e) => e);
        return [sync.split(":")[0], late, reason];
      },
      { condition, nameOf },
    );
    assertEquals(outside, ["TimeoutError", "TimeoutError", 7]);
    guard.release();
    assertThrows(() => condition.release(), ProcessError, "it is not held");
    condition.acquireSync({ timeout: -1 });
    assertEquals(condition.release(), undefined);
    await assertRejects(() => condition.acquire({ timeout: NaN }), RangeError, "NaN");
    assertThrows(() => condition.acquireSync({ timeout: NaN }), RangeError, "NaN");
  });

  test(`${name}: wait() and notify() without the lock throw ProcessError`, async () => {
    const condition = make();
    const verdicts = async () => {
      const text = (error: unknown) => String(error);
      return [
        await condition.wait().catch(text),
        await condition.waitFor(() => true).catch(text),
        nameOf(() => condition.waitSync()),
        nameOf(() => condition.waitForSync(() => true)),
        nameOf(() => condition.notify()),
        nameOf(() => condition.notify(0)),
        nameOf(() => condition.notifyAll()),
      ];
    };
    const mend = "Condition: this process does not hold its lock; acquire() it first";
    const expected = [
      ...Array(4).fill(`ProcessError: Cannot wait for ${mend}`),
      ...Array(3).fill(`ProcessError: Cannot notify ${mend}`),
    ];
    assertEquals(await verdicts(), expected);
    // Another process's holding it is not enough.
    const guard = condition.acquireSync();
    assertEquals(await run(verdicts, { condition, nameOf }), expected);
    guard.release();
    assertEquals(await verdicts(), expected);
    await assertQuiet(condition);
  });

  test(`${name}: wait() gives false when its timeout is over, and holds the lock again`, async () => {
    const condition = make();
    const guard = condition.acquireSync();
    for (const timeout of [0, -1, -Infinity]) {
      assertEquals(await condition.wait({ timeout }), false);
      assertEquals(condition.waitSync({ timeout }), false);
    }
    let began = performance.now();
    assertEquals(await condition.wait({ timeout: 40 }), false);
    assertGreaterOrEqual(performance.now() - began, 38);
    began = performance.now();
    assertEquals(condition.waitSync({ timeout: 40 }), false);
    assertGreaterOrEqual(performance.now() - began, 38);
    guard.release();
    assertThrows(() => condition.release(), ProcessError);
    await assertQuiet(condition);
  });

  test(`${name}: wait() refuses a timeout that is none, and keeps the lock`, async () => {
    const condition = make();
    const guard = condition.acquireSync();
    const wrong = { timeout: "10" as unknown as number };
    const [yes, no] = [() => true, () => false];
    await assertRejects(() => condition.wait({ timeout: NaN }), RangeError, "'timeout'");
    await assertRejects(() => condition.wait(wrong), TypeError, "'timeout'");
    assertThrows(() => condition.waitSync({ timeout: NaN }), RangeError, "NaN");
    assertThrows(() => condition.waitSync(wrong), TypeError, "'timeout'");
    for (const predicate of [yes, no]) {
      await assertRejects(() => condition.waitFor(predicate, { timeout: NaN }), RangeError, "NaN");
      await assertRejects(() => condition.waitFor(predicate, wrong), TypeError, "'timeout'");
      assertThrows(() => condition.waitForSync(predicate, { timeout: NaN }), RangeError, "NaN");
      assertThrows(() => condition.waitForSync(predicate, wrong), TypeError, "'timeout'");
    }
    guard.release();
    await assertQuiet(condition);
  });

  test(`${name}: notify() wakes the waits of a process in the order of arrival, n at a time`, async () => {
    const condition = make();
    const order: number[] = [];
    const waiting = Array.from({ length: 6 }, async (_, i) => {
      assertEquals(await waits(condition), true);
      order.push(i);
    });
    await notify(condition, 0);
    await notify(condition, -0);
    assert(await isPending(waiting[0]!, 5));
    for (const [n, woken] of [[1, 1], [2, 3], [1, 4], [9, 6]] as const) {
      await notify(condition, n);
      await soon(waiting[woken - 1]!, `wait ${woken - 1}`);
      if (woken < 6) assert(await isPending(waiting[woken]!, 5));
      // Of an RLock, those woken together hold the lock together, and return as they come.
      if (name === "Condition") order.sort((a, b) => a - b);
      assertEquals(order, Array.from({ length: woken }, (_, i) => i));
    }
    await assertQuiet(condition);
  });

  test(`${name}: wait() whose signal aborts rejects with its reason, the lock held again`, async () => {
    const condition = make();
    const guard = condition.acquireSync();
    const reason = { any: "value" };
    const aborted = { signal: AbortSignal.abort(reason) };
    const said = (promise: Promise<unknown>) => promise.then(() => undefined, (error) => error);
    assertStrictEquals(await said(condition.wait(aborted)), reason);
    assertStrictEquals(await said(condition.waitFor(() => false, aborted)), reason);
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = condition.wait({ signal, timeout: SOON });
    assert(await isPending(waiting));
    controller.abort(reason);
    assertStrictEquals(await said(soon(waiting)), reason);
    guard.release();
    assertThrows(() => condition.release(), ProcessError);
    await assertQuiet(condition);
  });

  test(`${name}: wait() that is aborted takes the lock only when it is free`, async () => {
    const condition = make();
    const held = new Event();
    const go = new Event();
    const controller = new AbortController();
    const waiting = waits(condition, { signal: controller.signal });
    const child = start(() => {
      const guard = condition.acquireSync();
      held.set();
      go.waitSync();
      guard.release();
    }, { condition, held, go });
    assert(await held.wait({ timeout: SOON }));
    controller.abort();
    assert(await isPending(waiting));
    go.set();
    await assertRejects(() => soon(waiting));
    await child.join();
    await assertQuiet(condition);
  });

  test(`${name}: an aborted wait() leaves its notification to the others`, async () => {
    const condition = make();
    const controller = new AbortController();
    const first = waits(condition, { signal: controller.signal });
    const second = waits(condition);
    const guard = condition.acquireSync();
    condition.notify(1);
    // Now the first is notified, but has not seen it.
    controller.abort(new Error("never mind"));
    guard.release();
    await assertRejects(() => soon(first), Error, "never mind");
    assertEquals(await soon(second), true);
    await assertQuiet(condition);
  });

  test(`${name}: wait() that times out together with its notification is true`, async () => {
    const condition = make();
    const first = waits(condition, { timeout: 20 });
    const second = waits(condition);
    const guard = condition.acquireSync();
    condition.notify(1);
    const end = performance.now() + 50;
    while (performance.now() < end);
    guard.release();
    assertEquals(await soon(first), true);
    assert(await isPending(second));
    await notify(condition);
    assertEquals(await soon(second), true);
    await assertQuiet(condition);
  });

  test(`${name}: wait() that came after a notify() takes nothing from one that was there`, async () => {
    const condition = make();
    const early = [waits(condition), waits(condition)];
    const guard = condition.acquireSync();
    condition.notify(2);
    // With the lock held since: comes after, and is tried before the others have run.
    const late = condition.wait({ timeout: 60 }).finally(() => guard.release());
    assertEquals(await soon(Promise.all(early)), [true, true]);
    assertEquals(await soon(late), false);
    await assertQuiet(condition);
  });
}

test("Condition.notify() refuses what is no count, and says what it is", async () => {
  const condition = new Condition();
  const waiting = waits(condition);
  const guard = condition.acquireSync();
  for (const n of [-1, 1.5, NaN, Infinity, 2 ** 53, "1", null, true]) {
    const error = assertThrows(() => condition.notify(n as number), RangeError);
    assertEquals(
      error.message,
      `Cannot notify Condition: 'n' must be an integer >= 0, but is ${n}`,
    );
  }
  condition.notify(undefined);
  guard.release();
  assertEquals(await soon(waiting), true);
});

test("Condition.wait() gives up all acquisitions of an RLock, and takes as many again", async () => {
  const lock = new RLock();
  const condition = new Condition(lock);
  const elsewhere = () => run(() => lock.tryAcquire() !== null, { lock });
  const guards = [lock.acquireSync(), condition.acquireSync(), await condition.acquire()];
  assertFalse(await elsewhere());
  const controller = new AbortController();
  const ends: [string, () => Promise<unknown>][] = [
    ["timeout", () => condition.wait({ timeout: 30 })],
    ["sync", () => Promise.resolve(condition.waitSync({ timeout: 1 }))],
    ["notify", () => {
      const waiting = condition.wait();
      const notifier = start(() => {
        const guard = condition.acquireSync();
        condition.notify();
        guard.release();
      }, { condition });
      return waiting.finally(() => notifier.join());
    }],
    ["abort", () => {
      const waiting = condition.wait({ signal: controller.signal }).catch(() => "aborted");
      assertFalse(lock.locked());
      controller.abort();
      return waiting;
    }],
  ];
  const seen: unknown[] = [];
  for (const [, act] of ends) {
    seen.push(await soon(act()));
    assert(lock.locked());
  }
  assertEquals(seen, [false, false, true, "aborted"]);
  guards.pop()!.release();
  guards.pop()!.release();
  assert(lock.locked());
  assertFalse(await elsewhere());
  guards.pop()!.release();
  assertFalse(lock.locked());
  assertThrows(() => lock.release(), ProcessError);
  assert(await elsewhere());
});

test("Condition.notify() wakes only the waits of its own, of two conditions on one lock", async () => {
  for (const lock of [new Lock(), new RLock()]) {
    const [empty, full] = [new Condition(lock), new Condition(lock)];
    const one = waits(empty);
    const other = waits(full);
    await notify(empty, 5);
    assertEquals(await soon(one), true);
    assert(await isPending(other));
    await notify(full);
    assertEquals(await soon(other), true);
    await assertQuiet(empty, lock);
    await assertQuiet(full, lock);
  }
});

test("Condition.waitFor() asks at first and after each notification, with the lock held", async () => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const asked: boolean[] = [];
  const guard = await condition.acquire();
  const predicate = () => (asked.push(lock.locked()), asked.length > 3);
  const waiting = condition.waitFor(predicate);
  assertEquals(asked.length, 1);
  for (let i = 2; i <= 4; i++) {
    assert(await isPending(waiting, 5));
    await notify(condition);
    await until(() => asked.length === i);
  }
  assertEquals(await soon(waiting), true);
  assert(lock.locked());
  assertEquals(asked, [true, true, true, true]);
  assertEquals(await condition.waitFor(() => true, { timeout: 0 }), true);
  assertEquals(condition.waitForSync(() => true, { timeout: -1 }), true);
  guard.release();
  await assertQuiet(condition, lock);
});

test("Condition.waitFor() that looks once does not give up the lock", async () => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const guard = condition.acquireSync();
  const other = lock.acquire({ timeout: SOON });
  let asked = 0;
  for (const timeout of [0, -1, -Infinity]) {
    assertEquals(await condition.waitFor(() => (asked++, false), { timeout }), false);
    assertEquals(condition.waitForSync(() => (asked++, false), { timeout }), false);
  }
  assertEquals(asked, 6);
  assert(await isPending(other, 5));
  guard.release();
  (await other).release();
});

test("Condition.waitFor() waits as long as its timeout says, however often it is notified", async () => {
  const condition = new Condition(new Lock());
  const began = performance.now();
  const guard = condition.acquireSync();
  let asked = 0;
  const waiting = condition.waitFor(() => (asked++, false), { timeout: 150 });
  let over = false;
  waiting.finally(() => over = true);
  while (!over) {
    const guard = await condition.acquire({ timeout: 20 }).catch(() => undefined);
    if (guard === undefined) continue;
    condition.notifyAll();
    guard.release();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(await waiting, false);
  const took = performance.now() - began;
  assertGreaterOrEqual(took, 148);
  assertLess(took, SOON);
  assertGreaterOrEqual(asked, 3);
  guard.release();
  await assertQuiet(condition);
});

test("Condition.waitFor() whose predicate throws rejects with that, the lock held", async () => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const guard = condition.acquireSync();
  const thrown = new Error("no predicate");
  let asked = 0;
  const predicate = () => {
    if (asked++ % 2 === 1) throw thrown;
    return false;
  };
  const waiting = condition.waitFor(predicate);
  await notify(condition);
  assertStrictEquals(await assertRejects(() => soon(waiting)), thrown);
  assert(lock.locked());
  asked = 1;
  assertStrictEquals(assertThrows(() => condition.waitForSync(predicate)), thrown);
  assert(lock.locked());
  guard.release();
  await assertQuiet(condition, lock);
});

test("Condition.waitFor() with a signal aborted before rejects, whatever the predicate would say", async () => {
  const condition = new Condition();
  const guard = condition.acquireSync();
  const reason = new Error("never mind");
  let asked = 0;
  const predicate = () => (asked++, true);
  const waiting = condition.waitFor(predicate, { signal: AbortSignal.abort(reason) });
  assertStrictEquals(await assertRejects(() => waiting), reason);
  assertEquals(asked, 0);
  guard.release();
});

test("Condition.waitFor() whose signal aborts while it waits rejects, the lock held", async () => {
  const lock = new RLock();
  const condition = new Condition(lock);
  const guard = condition.acquireSync();
  const controller = new AbortController();
  const waiting = condition.waitFor(() => false, { signal: controller.signal, timeout: SOON });
  assert(await isPending(waiting));
  assertFalse(lock.locked());
  controller.abort(new Error("never mind"));
  await assertRejects(() => soon(waiting), Error, "never mind");
  assert(lock.locked());
  guard.release();
  await assertQuiet(condition, lock);
});

test("Condition.notify() of many waits, many of them aborted: each notification wakes one", async () => {
  const condition = new Condition(new Lock());
  for (let round = 0; round < 10; round++) {
    const controllers = Array.from({ length: 30 }, () => new AbortController());
    const aborted = controllers.map(({ signal }) => waits(condition, { signal }));
    const staying = Array.from({ length: 20 }, () => waits(condition));
    const all = tally([...aborted, ...staying]);
    let granted = 0;
    // In front are those that get aborted: some notified before, some after.
    for (let i = 0; i < 10; i++) {
      const guard = await condition.acquire();
      if (i % 2 === 0) controllers[(7 * i + round) % 30]!.abort();
      condition.notify(2);
      granted += 2;
      if (i % 2 === 1) controllers[(7 * i + round) % 30]!.abort();
      guard.release();
    }
    await until(() => all.true === granted, `${granted} in round ${round}, not ${all.true}`);
    assert(await isPending(staying.at(-1)!, 1));
    await notify(condition, 100);
    await soon(Promise.allSettled([...aborted, ...staying]));
    assertEquals(all.true + all.error, 50);
    assertEquals(all.false, 0);
  }
  await assertQuiet(condition);
});

// -- Between processes

/** Six waits: of two processes that block, one with two promises, and two here. What they come to. */
async function sixWaits(condition: Condition, options: { timeout?: number } = {}) {
  const ready = new Value("i32", 0);
  const done = new Value("i32", 0);
  const scope = { condition, ready, done, options };
  const blocking = () => {
    const guard = condition.acquireSync();
    ready.add(1);
    const notified = condition.waitSync(options);
    done.add(notified ? 1 : 100);
    guard.release();
  };
  const pending = async () => {
    await Promise.all([1, 2].map(async () => {
      const guard = condition.acquireSync();
      ready.add(1);
      const notified = await condition.wait(options);
      done.add(notified ? 1 : 100);
      guard.release();
    }));
  };
  const children = [start(blocking, scope), start(blocking, scope), start(pending, scope)];
  const here = [1, 2].map(async () => void done.add(await waits(condition, options) ? 1 : 100));
  await until(() => ready.value === 4);
  return {
    /** One for each that was notified, a hundred for each that was not. */
    done,
    async join() {
      await soon(Promise.all(here));
      for (const child of children) assert(await child.join({ timeout: SOON }));
      assertEquals(children.map((child) => child.exitCode), [0, 0, 0]);
    },
  };
}

for (const [name, make] of KINDS) {
  test(`${name}: one wait here and one in a child wake one for each notify()`, async () => {
    const condition = make();
    const ready = new Event();
    const woken = new Value("i32", 0);
    const child = start(() => {
      const guard = condition.acquireSync();
      ready.set();
      if (condition.waitSync()) woken.add(1);
      guard.release();
    }, { condition, ready, woken });
    const here = waits(condition).then((notified) => notified && woken.add(1));
    assert(await ready.wait({ timeout: SOON }));
    assertEquals(woken.value, 0);
    await notify(condition);
    await until(() => woken.value > 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assertEquals(woken.value, 1);
    await notify(condition);
    await soon(here);
    await child.join();
    assertEquals(woken.value, 2);
    await assertQuiet(condition);
  });

  test(`${name}: notifyAll() wakes all of six waits, after six others have timed out`, async () => {
    const condition = make();
    const timed = await sixWaits(condition, { timeout: 60 });
    await timed.join();
    assertEquals(timed.done.value, 600);
    const six = await sixWaits(condition);
    const guard = await condition.acquire();
    assertEquals(six.done.value, 0);
    assertEquals(condition.notifyAll(), undefined);
    guard.release();
    await six.join();
    assertEquals(six.done.value, 6);
    await assertQuiet(condition);
  });

  test(`${name}: notify(2) wakes two of six waits, notify(4) the others, notify(3) then nobody`, async () => {
    const condition = make();
    const six = await sixWaits(condition);
    await notify(condition, 2);
    await until(() => six.done.value === 2);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assertEquals(six.done.value, 2);
    await notify(condition, 4);
    await six.join();
    assertEquals(six.done.value, 6);
    await assertQuiet(condition);
  });
}

test("Condition.waitFor() sees what another process does, and answers it", async () => {
  for (const way of ["waitFor", "waitForSync"] as const) {
    const condition = new Condition();
    const state = new Value("i32", 0, { lock: false });
    const child = ask(async () => {
      const guard = condition.acquireSync();
      state.value = 1;
      condition.notify();
      const four = await condition[way](() => state.value === 4, { timeout: 15_000 });
      guard.release();
      return four;
    }, { condition, state, way });
    const guard = await condition.acquire();
    assertEquals(await condition[way](() => state.value === 1, { timeout: SOON }), true);
    guard.release();
    for (let i = 0; i < 3; i++) {
      const guard = await condition.acquire();
      state.value++;
      condition.notify();
      guard.release();
    }
    assertEquals(await child.result, true);
    await assertQuiet(condition);
  }
});

test("Condition.waitForSync() whose predicate never holds is false after its timeout", async () => {
  const condition = new Condition();
  const state = new Value("i32", 0);
  const child = ask(() => {
    const guard = condition.acquireSync();
    const began = performance.now();
    const held = condition.waitForSync(() => state.value === 4, { timeout: 100 });
    guard.release();
    return { held, took: performance.now() - began };
  }, { condition, state });
  let asked = true;
  child.result.finally(() => asked = false);
  while (asked) {
    await notify(condition);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { held, took } = await child.result;
  assertEquals(held, false);
  assertGreaterOrEqual(took, 98);
  assertLess(took, SOON);
});

test("Condition.waitSync() is false after its timeout, true after a notify() of another process", async () => {
  const condition = new Condition();
  const guard = condition.acquireSync();
  assertEquals(condition.waitSync({ timeout: 0 }), false);
  assertEquals(condition.waitSync({ timeout: 10 }), false);
  const child = start(() => {
    const guard = condition.acquireSync();
    condition.notify();
    guard.release();
  }, { condition });
  assertEquals(condition.waitSync({ timeout: SOON }), true);
  guard.release();
  await child.join();
});

test("Condition.notify() is not missed between two processes that take turns", async () => {
  const condition = new Condition();
  const turn = new Value("i32", 0, { lock: false });
  const rounds = 200;
  const play = async () => {
    for (let i = 0; i < rounds; i++) {
      const guard = condition.acquireSync();
      while (turn.value !== mine) {
        // No timeout, and no waitFor(): a notification that got lost would stop the game.
        const notified = i % 2 === 0 ? condition.waitSync() : await condition.wait();
        if (!notified) throw new Error("woken for nothing");
      }
      turn.value = 1 - mine;
      condition.notify();
      guard.release();
    }
  };
  await Promise.all([0, 1].map((mine) => run(play, { condition, turn, rounds, mine })));
  await assertQuiet(condition);
});

test("Condition.notify() gives exactly what there is to waits that time out all the time", async () => {
  const condition = new Condition(new Lock());
  // All of it is read and written with the lock held.
  const [waiting, woken] = [new Value("i32", 0), new Value("i32", 0)];
  const stop = new Event();
  const work = async () => {
    const once = async (i: number, sync: boolean) => {
      const guard = await condition.acquire();
      waiting.add(1);
      const options = { timeout: (i * 7) % 4 };
      const notified = sync ? condition.waitSync(options) : await condition.wait(options);
      waiting.sub(1);
      if (notified) woken.add(1);
      guard.release();
    };
    for (let i = 0; !stop.isSet(); i++) {
      if (i % 3 === 0) await once(i, true);
      else await Promise.all([once(i, false), once(i + 1, false), once(i + 2, false)]);
    }
  };
  const children = [1, 2, 3].map(() => ask(work, { condition, waiting, woken, stop }));
  let granted = 0;
  const began = performance.now();
  for (let i = 0; performance.now() - began < 1_000 || granted < 50; i++) {
    assertLess(performance.now() - began, SOON);
    const guard = condition.acquireSync();
    const open = waiting.value - (granted - woken.value);
    assertGreaterOrEqual(open, 0, "more have woken than were notified");
    const n = i % 5;
    condition.notify(n);
    granted += Math.min(n, open);
    guard.release();
    if (i % 4 === 0) await new Promise((resolve) => setTimeout(resolve, i % 3));
  }
  stop.set();
  await soon(Promise.all(children.map(({ result }) => result)));
  assertEquals([woken.value, waiting.value], [granted, 0]);

  await assertQuiet(condition);
});

test("Condition: a queue of one place built of two conditions loses nothing", async () => {
  const lock = new Lock();
  const [filled, emptied] = [new Condition(lock), new Condition(lock)];
  const place = new Value("i32", 0, { lock: false });
  const sum = new Value("i32", 0);
  const [producers, consumers, each] = [2, 2, 120];
  const scope = { filled, emptied, place, sum, each };
  const put = async () => {
    for (let i = 1; i <= each; i++) {
      const guard = await emptied.acquire();
      while (place.value !== 0) await emptied.wait();
      place.value = i;
      filled.notify();
      guard.release();
    }
  };
  const get = () => {
    for (let i = 1; i <= each; i++) {
      const guard = filled.acquireSync();
      while (place.value === 0) filled.waitSync();
      sum.add(place.value);
      place.value = 0;
      emptied.notify();
      guard.release();
    }
  };
  const children = [
    ...Array.from({ length: producers }, () => ask(put, scope)),
    ...Array.from({ length: consumers }, () => ask(get, scope)),
  ];
  await Promise.all(children.map(({ result }) => result));
  assertEquals(sum.value, producers * each * (each + 1) / 2);
  assertFalse(lock.locked());
});

// -- Cost

test("Condition.wait() of a hundred uses no CPU", async () => {
  const condition = new Condition(new Lock());
  const waiting = Array.from({ length: 100 }, () => waits(condition));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const after = process.cpuUsage();
  const used = (after.user + after.system - before.user - before.system) / 1_000;
  assertLess(used, 300, "milliseconds of CPU in a second");
  await notify(condition, 100);
  assertEquals(await soon(Promise.all(waiting)), Array(100).fill(true));
});

// -- Deaths

type Way = "wait" | "waitSync";
type Stop = "exit" | "terminate" | "kill";

/** Ways to wait, and to die meanwhile; who blocks cannot exit. */
const DEATHS: [Way, Stop][] = [
  ["wait", "exit"],
  ["wait", "terminate"],
  ["wait", "kill"],
  ["waitSync", "terminate"],
  ["waitSync", "kill"],
];

/** A process that waits, and ends as told. */
async function mortal(condition: Condition, way: Way, stop: Stop) {
  const [ready, last] = [new Event(), new Event()];
  const child = start(async () => {
    condition.acquireSync();
    ready.set();
    last.wait().then(() => process.exit(3));
    await condition[way]();
    // Here it would hold the lock for ever.
    await new Promise(() => {});
  }, { condition, way, ready, last });
  assert(await ready.wait({ timeout: SOON }));
  return {
    async die() {
      if (stop === "exit") last.set();
      else child[stop]();
      await until(() => !child.isAlive(), "its end");
    },
    join: () => soon(child.join()),
  };
}

for (const [way, stop] of DEATHS) {
  test(`Condition.${way}() of a process that dies by ${stop} is forgotten`, async () => {
    const condition = new Condition();
    const early = waits(condition);
    const dead = await mortal(condition, way, stop);
    (await condition.acquire()).release();
    const late = waits(condition);
    await dead.die();
    await notify(condition, 1);
    await soon(Promise.race([early, late]));
    await notify(condition, 1);
    assertEquals(await soon(Promise.all([early, late])), [true, true]);
    await dead.join();
    await assertQuiet(condition);
  });

  for (const first of ["it", "another"]) {
    test(`Condition.${way}() notified, then dead by ${stop}, hands on; ${first} came first`, async () => {
      const condition = new Condition(new Lock());
      let survivor = first === "another" ? waits(condition) : undefined;
      const dead = await mortal(condition, way, stop);
      survivor ??= waits(condition);
      const guard = await condition.acquire({ timeout: SOON });
      condition.notify(1);
      await dead.die();
      guard.release();
      const began = performance.now();
      assertEquals(await soon(survivor), true);
      assertLess(performance.now() - began, TAKEOVER_MS);
      await dead.join();
      await assertQuiet(condition);
    });
  }
}

test("Condition.notify() of one who dies with the lock reaches the waits, which take it over", async () => {
  for (const lock of [new Lock(), new RLock()]) {
    const condition = new Condition(lock);
    const here = [waits(condition), waits(condition)];
    const ready = new Event();
    const there = ask(() => {
      const guard = condition.acquireSync();
      ready.set();
      const notified = condition.waitSync({ timeout: 15_000 });
      guard.release();
      return notified;
    }, { condition, ready });
    assert(await ready.wait({ timeout: SOON }));
    const child = start(() => {
      condition.acquireSync();
      condition.notifyAll();
      process.exit(3);
    }, { condition });
    await child.join();
    assertEquals(child.exitCode, 3);
    const began = performance.now();
    assertEquals(await soon(Promise.all([...here, there.result])), [true, true, true]);
    assertLess(performance.now() - began, TAKEOVER_MS);
    await assertQuiet(condition, lock);
  }
});

test("Condition: who dies with the lock wakes all, though it has notified nobody", async () => {
  for (const way of ["die first", "lock first"] as const) {
    const condition = new Condition();
    const here = [1, 2].map(() => waits(condition, { timeout: SOON / 3 }));
    const ready = new Event();
    const there = ask(() => {
      const guard = condition.acquireSync();
      ready.set();
      const notified = condition.waitSync({ timeout: 5_000 });
      guard.release();
      return notified;
    }, { condition, ready });
    assert(await ready.wait({ timeout: SOON }));
    const child = start(() => {
      condition.acquireSync();
      process.exit(3);
    }, { condition });
    if (way === "lock first") {
      // Somebody else takes the lock over before the waits have looked.
      assert(child.joinSync({ timeout: SOON }));
      const guard = condition.acquireSync({ timeout: SOON });
      guard.release();
    }
    await child.join();
    const began = performance.now();
    assertEquals(await Promise.all([...here, there.result]), [true, true, true], way);
    assertLess(performance.now() - began, TAKEOVER_MS);
    await assertQuiet(condition);
  }
});

// -- Death at every step

const DIED = 33;

/**
 * Ends this process just before its `at`-th step that changes shared memory. Can be sent: it uses
 * nothing of its module. Steps count from now on, or from when the gate is 1, until what is returned
 * is called.
 */
function dieBefore(at: number, gate?: Int32Array): () => void {
  const { load } = Atomics;
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = ["store", "add", "sub", "or", "exchange", "compareExchange", "notify"];
  const originals = names.map((name) => table[name]!);
  const { exit } = (globalThis as unknown as { process: { exit(code: number): void } }).process;
  let step = 0;
  const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
  names.forEach((name, i) => {
    table[name] = (...args) => {
      if ((gate === undefined || load(gate, 0) === 1) && step++ === at) {
        restore();
        exit(33);
        for (;;);
      }
      return originals[i]!.apply(Atomics, args);
    };
  });
  return restore;
}

/**
 * Calls `round` for every step, five at once, until a process survives. Returns how many steps there
 * were, `least` at least.
 */
async function everyStep(least: number, round: (at: number) => Promise<number>): Promise<number> {
  for (let at = 0;; at += 5) {
    const codes = await Promise.all([0, 1, 2, 3, 4].map((i) => round(at + i)));
    for (const code of codes) assert(code === DIED || code === 0, `exit code ${code}`);
    if (codes.every((code) => code === DIED)) continue;
    const survived = at + codes.indexOf(0);
    assertGreaterOrEqual(survived, least, "steps");
    return survived;
  }
}

test("Condition.wait() that dies before any of its steps takes no notification from another", async () => {
  for (const way of ["waitSync", "wait"] as const) {
    await everyStep(9, async (at) => {
      const condition = new Condition(new Lock());
      const early = waits(condition, { timeout: SOON });
      const child = start(async () => {
        const guard = condition.acquireSync();
        const stop = dieBefore(at);
        await condition[way]({ timeout: way === "wait" ? 5 : 0 });
        stop();
        guard.release();
      }, { condition, way, at, dieBefore });
      const code = await soon(child.exited);
      // Who dies with the lock wakes all.
      if (code === 0) assert(await isPending(early, 1));
      const guard = await soon(condition.acquire(), `the lock at ${at}`);
      const late = condition.wait({ timeout: SOON }).finally(() => guard.release());
      await notify(condition, 2);
      assertEquals(await soon(Promise.all([early, late]), `step ${at} of ${way}`), [true, true]);
      await assertQuiet(condition);
      return code;
    });
  }
});

test("Condition.wait() that dies before any step after its notification hands it on", async () => {
  for (const way of ["waitSync", "wait"] as const) {
    const kept: number[] = [];
    const steps = await everyStep(4, async (at) => {
      const condition = new Condition(new Lock());
      const [ready, notified] = [new Event(), new Event()];
      const gate = new SharedArrayBuffer(4);
      const child = start(async () => {
        const guard = condition.acquireSync();
        const words = new Int32Array(gate);
        const stop = dieBefore(at, words);
        ready.set();
        if (way === "waitSync") condition.waitSync();
        else {
          const waiting = condition.wait();
          notified.waitSync();
          await waiting;
        }
        stop();
        guard.release();
      }, { condition, way, at, ready, notified, gate, dieBefore });
      assert(await ready.wait({ timeout: SOON }));
      const guard = await condition.acquire({ timeout: SOON });
      condition.notify(1);
      Atomics.store(new Int32Array(gate), 0, 1);
      notified.set();
      const survivor = condition.wait({ timeout: SOON }).finally(() => guard.release());
      const code = await soon(child.exited);
      const woken = !await isPending(survivor, 700);
      if (code === 0) assertFalse(woken, "one notification woke two");
      else if (!woken) kept.push(at);
      if (!woken) await notify(condition, 1);
      assertEquals(await soon(survivor, `step ${at} of ${way}`), true);
      await assertQuiet(condition);
      return code;
    });
    // Who has the lock again has used its notification up: nothing is left to do but to end the turn.
    assertLessOrEqual(kept.length, 2, `of ${steps} steps of ${way}: ${kept}`);
    for (const at of kept) assertGreaterOrEqual(at, steps - 2);
  }
});

test("Condition.wait() that is aborted, and dies before any step after, hands its notification on", async () => {
  await everyStep(6, async (at) => {
    const condition = new Condition(new Lock());
    const [ready, notified, aborted] = [new Event(), new Event(), new Event()];
    const child = start(async () => {
      const guard = condition.acquireSync();
      const controller = new AbortController();
      const waiting = condition.wait({ signal: controller.signal });
      ready.set();
      // Its wait is notified, and does not see it before it is aborted.
      notified.waitSync();
      controller.abort(new Error("never mind"));
      aborted.set();
      const stop = dieBefore(at);
      const error = await waiting.catch((error) => error);
      stop();
      guard.release();
      if (error.message !== "never mind") process.exit(4);
    }, { condition, at, ready, notified, aborted, dieBefore });
    assert(await ready.wait({ timeout: SOON }));
    const guard = await condition.acquire({ timeout: SOON });
    condition.notify(1);
    notified.set();
    assert(await aborted.wait({ timeout: SOON }));
    const survivor = condition.wait({ timeout: TAKEOVER_MS }).finally(() => guard.release());
    const code = await soon(child.exited);
    assertEquals(await survivor, true, `the notification was lost at step ${at}`);
    await assertQuiet(condition);
    return code;
  });
});

test("Condition.notify() that dies before any of its steps wakes all", async () => {
  await everyStep(8, async (at) => {
    const condition = new Condition(new Lock());
    const waiting = [1, 2, 3].map(() => waits(condition, { timeout: SOON / 2 }));
    const all = tally(waiting);
    const child = start(() => {
      const guard = condition.acquireSync();
      const stop = dieBefore(at);
      condition.notify(2);
      stop();
      guard.release();
    }, { condition, at, dieBefore });
    const code = await soon(child.exited);
    if (code === 0) {
      await until(() => all.true === 2);
      assert(await isPending(waiting[2]!, 5), "woken beyond the count");
      await notify(condition, 3);
    }
    // Who dies with the lock wakes all.
    assertEquals(await soon(Promise.all(waiting), `step ${at}`), [true, true, true]);
    await assertQuiet(condition);
    return code;
  });
});

// -- The dead, step by step, in memory

/** Where the roster of a condition begins. */
const WAITERS = OWN_WORDS + 1;

/** The pid of a process that has ended. */
function deadPid(): number {
  const pid = newPid();
  endProcess(pid, 0, true);
  return pid;
}

/** A mutex that nobody holds. */
function lock(): Mutex {
  return new Mutex(new Int32Array(new SharedArrayBuffer(4)), 0);
}

/** Enters a dead process that has so many waits, and so many of them notified. */
function bury(state: ConditionState, waiting: number, granted: number): number {
  const entry = new Roster(state.cells, WAITERS, 2).enter(deadPid());
  Atomics.store(state.cells, entry + 1, waiting);
  Atomics.store(state.cells, entry + 2, granted);
  return entry;
}

test("ConditionState hands a dead process's notifications on, though who does it dies at any step", () => {
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = ["store", "add", "sub", "compareExchange", "notify"];
  let at = 0;
  for (let died = true; died; at++) {
    died = false;
    const state = ConditionState.create();
    const waits = Array.from({ length: 4 }, () => state.enlist(lock()));
    bury(state, 3, 2);
    const originals = names.map((name) => table[name]!);
    const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
    let left = at;
    names.forEach((name, i) => {
      table[name] = (...args) => {
        if (left-- === 0) {
          restore();
          died = true;
          // The turn is that of a dead process; an exception must not end it as the living do.
          Atomics.store(state.cells, 0, deadPid() << 1);
          throw new Error("died");
        }
        return originals[i]!.apply(Atomics, args);
      };
    });
    try {
      state.notify(1);
    } catch (error) {
      assertEquals((error as Error).message, "died");
    } finally {
      restore();
    }
    // What is left over is found by whoever waits; once only, but for the one that was in his hands.
    const woken = waits.filter((wait) => wait.attempt() !== PENDING).length;
    if (died) assert(woken >= 2 && woken <= 4, `step ${at}: ${woken}`);
    else assertEquals(woken, 3);
    assertEquals(waits.map((wait) => state.leave(wait)).filter(Boolean).length, woken);
    assertEquals(state.enlist(lock()).attempt(), PENDING);
  }
  assertGreaterOrEqual(at, 9);
});

test("ConditionState has room for a living process, however many have died in a wait", () => {
  const state = ConditionState.create();
  for (let i = 0; i < 1_000; i++) bury(state, 1, 0);
  const wait = state.enlist(lock());
  state.notify(1);
  assertEquals(wait.attempt(), true);
  assert(state.leave(wait));
});

// -- Sharing

for (const [name, make] of KINDS) {
  test(`${name} crosses as itself: argument, deep in objects, in a scope, in a queue item`, async () => {
    const conditions = Array.from({ length: 4 }, make);
    const [direct, deep, scoped, queued] = conditions as [
      Condition,
      Condition,
      Condition,
      Condition,
    ];
    const items = new Queue<Condition[]>();
    await items.put([queued]);
    const nested = { list: [0, new Map([["key", new Set([deep])]])] };
    const waiting = conditions.map((condition) => waits(condition));
    const child = new Process({
      target: closure((direct: Condition, { list }: typeof nested) => {
        const [deep] = (list[1] as Map<string, Set<Condition>>).get("key")!;
        for (const condition of [direct, deep!, scoped, ...items.getSync()]) {
          const guard = condition.acquireSync();
          condition.notify();
          guard.release();
        }
      }, { scoped, items }),
      args: [direct, nested],
    });
    child.start();
    assertEquals(await soon(Promise.all(waiting)), [true, true, true, true]);
    await child.join();
    assertEquals(child.exitCode, 0);
  });

  test(`${name}: two handles of a process on one condition are one`, async () => {
    const condition = make();
    const queue = new Queue<Condition>();
    await queue.put(condition);
    const other = await queue.get();
    assertNotStrictEquals(other, condition);
    assertInstanceOf(other, Condition);
    const order: number[] = [];
    const waiting = [condition, other, condition, other].map(async (each, i) => {
      assertEquals(await waits(each), true);
      order.push(i);
    });
    for (const [i, each] of [other, other, condition, other].entries()) {
      await notify(each);
      await soon(waiting[i]!);
    }
    assertEquals(order, [0, 1, 2, 3]);
    await assertQuiet(condition);
    await assertQuiet(other);
  });
}

test("Condition and its lock in one message are still of each other there", async () => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const other = new Condition(lock);
  const seen = await run(() => {
    const guard = lock.acquireSync();
    const before = [condition, other].map((each) => each.waitSync({ timeout: 0 }));
    condition.notify();
    other.notify();
    guard.release();
    return before;
  }, { lock, condition, other });
  assertEquals(seen, [false, false]);
});

test("Condition serves the tasks of a pool", async () => {
  const condition = new Condition();
  const count = new Value("i32", 0, { lock: false });
  const pool = new Pool({ processes: 2 });
  const meet = closure((each: Condition) => {
    const guard = each.acquireSync();
    count.value++;
    each.notifyAll();
    const met = each.waitForSync(() => count.value === 2, { timeout: 15_000 });
    guard.release();
    return met;
  }, { count });
  assertEquals(await Promise.all([1, 2].map(() => pool.apply(meet, [condition]))), [true, true]);
  pool.close();
  await pool.join();
});

test("Condition that a child has made works here after the child's end", async () => {
  const made = new Queue<Condition>();
  await run(() => made.putSync(new Condition()), { Condition, made });
  const condition = await made.get();
  const waiting = waits(condition, { timeout: SOON });
  await notify(condition);
  assertEquals(await waiting, true);
  await assertQuiet(condition);
});
