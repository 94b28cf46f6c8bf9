/** Lock and RLock: death between any two steps of an operation. */

import { test } from "node:test";
import { assert, assertEquals, assertFalse, assertLess, assertRejects } from "@std/assert";
import { TimeoutError } from "../errors.ts";
import { controlBuffer, endProcess, newPid, ownPid, stateIndex } from "../memory/control.ts";
import { Mutex } from "../memory/mutex.ts";
import { Queue } from "../queue.ts";
import { Event, Lock, type LockGuard, RLock } from "../sync.ts";
import { SOON, soon, start, TAKEOVER_MS } from "./fixtures/processes.ts";
import { assertUnharmed } from "./fixtures/unharmed.ts";
import { assertOneStep, victim } from "./fixtures/step_death.ts";

const KINDS = [Lock, RLock];

/** The steps at which somebody dies. */
const steps = (count: number, first = 0) => Array.from({ length: count }, (_, i) => first + i);

/** Where a waiter dies: from just before its sleep on; until then it only looks. */
const WAITER_DEATHS = [
  [Lock, "acquire", steps(14, 5)],
  [Lock, "acquireSync", steps(13, 4)],
  [RLock, "acquire", steps(14, 5)],
  [RLock, "acquireSync", steps(13, 4)],
] as const;

for (const Kind of KINDS) {
  const { name } = Kind;

  for (const way of ["acquire", "acquireSync"] as const) {
    test(`${name}.${way}() of a process that dies before any of its steps leaves it free or abandoned`, async () => {
      const [abandoned, survived]: [boolean[], boolean[]] = [[], []];
      const dying = steps(Kind === RLock ? 8 : 5).map((step) => {
        const lock = new Kind();
        const act = async () => void await lock[way]();
        return { lock, ...victim({ act, scope: { lock, way }, step }) };
      });
      for (const dead of dying) {
        survived.push(await dead.survived());
        assertFalse(dead.lock.locked());
        const guard = dead.lock.acquireSync({ timeout: TAKEOVER_MS });
        abandoned.push(guard.abandoned);
        guard.release();
        assertUnharmed(dead.lock);
      }
      assertOneStep(abandoned, survived, false, true);
    });
  }

  test(`${name}.release() of a process that dies before any of its steps has released it, or not`, async () => {
    const [abandoned, survived]: [boolean[], boolean[]] = [[], []];
    const go = new Event();
    const dying = steps(Kind === RLock ? 15 : 5).map((step) => {
      const [lock, held] = [new Kind(), new Event()];
      const prepare = () => {
        lock.acquireSync();
        if (lock instanceof RLock) lock.acquireSync();
        held.set();
        go.waitSync();
      };
      const act = () => {
        if (lock instanceof RLock) lock.release();
        lock.release();
      };
      const scope = { RLock, lock, held, go };
      return { lock, held, ...victim({ prepare, act, scope, step }) };
    });
    const waiting: Promise<LockGuard>[] = [];
    for (const { lock, held } of dying) {
      assert(await held.wait({ timeout: SOON }));
      waiting.push(lock.acquire());
    }
    go.set();
    for (const [i, dead] of dying.entries()) {
      survived.push(await dead.survived());
      const guard = await soon(waiting[i]!, `step ${i}`);
      abandoned.push(guard.abandoned);
      guard.release();
      assertUnharmed(dead.lock);
    }
    assertOneStep(abandoned, survived, true, false);
  });

  for (const stop of ["terminate", "kill"] as const) {
    test(`${name} of a process that meets ${stop}() between two steps of release() goes to the next`, async () => {
      // Before the lock is free, and before anybody is woken.
      const dying = (Kind === RLock ? [5, 6, 7] : [1, 2, 3]).map((step) => {
        const [lock, held, go] = [new Kind(), new Event(), new Event()];
        const prepare = () => {
          lock.acquireSync();
          held.set();
          go.waitSync();
        };
        const act = () => lock.release();
        const scope = { lock, held, go };
        return { ...scope, ...victim({ prepare, act, scope, step, how: "park" }) };
      });
      for (const { lock, held, go, process, parked } of dying) {
        assert(await held.wait({ timeout: SOON }));
        const waiting = lock.acquire();
        go.set();
        await parked();
        process[stop]();
        const began = performance.now();
        (await soon(waiting)).release();
        assertLess(performance.now() - began, TAKEOVER_MS);
        assertUnharmed(lock);
        await process.join();
      }
    });
  }
}

for (const [Kind, way, tried] of WAITER_DEATHS) {
  test(`${Kind.name}.${way}() of a process that dies before its sleep or any step after it harms no other`, async () => {
    const locks = tried.map(() => new Kind());
    const freed = new Queue<number>();
    const held = new Event();
    const holder = start(() => {
      for (const lock of locks) lock.acquireSync();
      held.set();
      for (let i = freed.getSync(); i >= 0; i = freed.getSync()) locks[i]!.release();
    }, { locks, freed, held });
    assert(await held.wait({ timeout: SOON }));
    const ends = locks.map(async (lock, i) => {
      const step = tried[i]!;
      const act = async () => void await lock[way]();
      // Marks the lock as contended: the dying one does not look again and again, but sleeps.
      await assertRejects(() => lock.acquire({ timeout: 1 }), TimeoutError);
      const dying = victim({ act, scope: { lock, way }, step });
      const slept = await dying.deadOrAsleep();
      const next = lock.acquire();
      await freed.put(i);
      const guard = await soon(next, `step ${step}`);
      guard.release();
      const survived = await dying.survived();
      // Who came to hold it after us has left it abandoned; at most one of these can be.
      const last = lock.acquireSync({ timeout: TAKEOVER_MS });
      last.release();
      assertUnharmed(lock);
      const abandoned = Number(guard.abandoned) + Number(last.abandoned);
      if (survived) assertEquals(abandoned, 1);
      else if (!slept) assertEquals(abandoned, 0);
      else assertLess(abandoned, 2);
      return { slept, survived };
    });
    const all = await Promise.all(ends);
    await freed.put(-1);
    await holder.join();
    // Deaths before the sleep, deaths after it, and all that there are.
    assert(all.some(({ slept }) => !slept));
    assert(all.some(({ slept, survived }) => slept && !survived));
    assert(all.at(-1)!.survived, "there are more steps");
  });
}

test("Mutex.forceRelease() of one taken for dead does not release what another has taken over", () => {
  const state = new Int32Array(controlBuffer);
  const index = stateIndex(ownPid);
  const other = newPid();
  const cells = new Int32Array(new SharedArrayBuffer(4));
  const mutex = new Mutex(cells, 0);
  mutex.tryAcquire();
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const originals = { exchange: table.exchange!, compareExchange: table.compareExchange! };
  const alive = state[index]!;
  const restore = () => Object.assign(table, originals);
  for (const [name, original] of Object.entries(originals)) {
    table[name] = (...args: unknown[]) => {
      restore();
      // Meanwhile: terminated, and the grace is over; the next one has taken the mutex over.
      state[index] = (-15 << 2) | 2;
      cells[0] = other << 1;
      return original.apply(Atomics, args);
    };
  }
  let threw = "";
  try {
    mutex.forceRelease();
  } catch (error) {
    threw = (error as Error).name;
  } finally {
    restore();
    state[index] = alive;
  }
  assertEquals([cells[0], threw], [other << 1, "FencedError"]);
  endProcess(other, 0, true);
});
