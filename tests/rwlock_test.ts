/** RWLock: its contract in one process and between processes, and all deaths. */

import { test } from "node:test";
import process from "node:process";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError, TimeoutError } from "../errors.ts";
import { ownPid } from "../memory/control.ts";
import { OWN_WORDS } from "../memory/monitor.ts";
import { ABANDONED, ACQUIRED } from "../memory/mutex.ts";
import { RWLockState } from "../memory/rwlock.ts";
import { PENDING } from "../memory/wait.ts";
import { Pool } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event, type LockGuard, RWLock } from "../sync.ts";
import { closure } from "../target.ts";
import { isPending, run, SOON, soon, start, TAKEOVER_MS, until } from "./fixtures/processes.ts";

type Mode = "read" | "write";
const MODES: Mode[] = ["read", "write"];
const SYNC = { read: "readSync", write: "writeSync" } as const;

/** What the lock gives to who does not wait. */
function state(lock: RWLock): "free" | "read" | "written" {
  const may = (mode: Mode): boolean => {
    try {
      lock[SYNC[mode]]({ timeout: 0 }).release();
      return true;
    } catch (error) {
      assertInstanceOf(error, TimeoutError);
      return false;
    }
  };
  return may("write") ? "free" : may("read") ? "read" : "written";
}

/** A process that acquires the lock, and holds it until it is let go. */
async function holder(lock: RWLock, mode: Mode) {
  const [held, go] = [new Event(), new Event()];
  const child = start(
    () => {
      const guard = mode === "read" ? lock.readSync() : lock.writeSync();
      held.set();
      go.waitSync();
      guard.release();
    },
    { lock, mode, held, go },
  );
  assert(await held.wait({ timeout: SOON }), "the holder did not come to hold");
  return {
    child,
    /** Lets it release and end. */
    async finish() {
      go.set();
      await child.join();
      assertEquals(child.exitCode, 0);
    },
  };
}

/** A process that waits to write; one who comes to read then has to wait too. */
async function waitingWriter(lock: RWLock, timeout?: number) {
  const options = timeout === undefined ? {} : { timeout };
  const child = start(
    () => {
      try {
        lock.writeSync(options).release();
      } catch {
        // Too late: as the test will have it.
      }
    },
    { lock, options },
  );
  await until(() => state(lock) === "written", "the writer's wish");
  return child;
}

// -- One process

test("RWLock may be read by many at once, and written by one alone", async () => {
  const lock = new RWLock();
  assertEquals(state(lock), "free");
  const readers = [await lock.read(), lock.readSync(), await lock.read({ timeout: 0 })];
  for (const guard of readers) {
    assertEquals(state(lock), "read");
    assertFalse(guard.abandoned);
    assertEquals(guard.release(), undefined);
  }
  assertEquals(state(lock), "free");
});

test("RWLock.write() and writeSync() keep all others out until they are released", async () => {
  const lock = new RWLock();
  for (const way of ["write", "writeSync"] as const) {
    const guard = await lock[way]();
    assertFalse(guard.abandoned);
    assertEquals(state(lock), "written");
    assertEquals(guard.release(), undefined);
    assertEquals(state(lock), "free");
  }
});

test("RWLock's guards are harmless when disposed of or released twice", async () => {
  const lock = new RWLock();
  const [one, two] = [await lock.read(), await lock.read()];
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  one.release();
  assertEquals(state(lock), "read");
  two.release();
  assertEquals(state(lock), "free");
  const first = lock.writeSync();
  first.release();
  const second = lock.writeSync();
  first.release();
  first[Symbol.dispose]();
  assertEquals(state(lock), "written");
  second[Symbol.dispose]();
  second.release();
  assertEquals(state(lock), "free");
});

for (const mode of MODES) {
  const sync = SYNC[mode];

  test(`RWLock.${mode}() of a free lock takes any timeout but NaN, and numbers only`, async () => {
    const lock = new RWLock();
    for (const timeout of [undefined, 0, -1, -Infinity, 0.5, 1e9, 2 ** 40, Infinity]) {
      const options = timeout === undefined ? {} : { timeout };
      (await lock[mode](options)).release();
      lock[sync](options).release();
    }
    const error = await assertRejects(() => lock[mode]({ timeout: NaN }), RangeError);
    assertMatch(error.message, /'timeout'.*NaN/);
    assertThrows(() => lock[sync]({ timeout: NaN }), RangeError, "NaN");
    const options = { timeout: "10" as unknown as number };
    await assertRejects(() => lock[mode](options), TypeError, "'timeout'");
    assertThrows(() => lock[sync](options), TypeError, "'timeout'");
    assertEquals(state(lock), "free");
  });

  test(`RWLock.${mode}() of a lock that is written times out, and leaves it as it was`, async () => {
    const lock = new RWLock();
    const guard = lock.writeSync();
    for (const timeout of [0, -1, -Infinity]) {
      await assertRejects(() => lock[mode]({ timeout }), TimeoutError);
      assertThrows(() => lock[sync]({ timeout }), TimeoutError);
    }
    for (const way of [mode, sync]) {
      const began = performance.now();
      const error = await assertRejects(async () => await lock[way]({ timeout: 40 }));
      assertInstanceOf(error, TimeoutError);
      assertGreaterOrEqual(performance.now() - began, 38);
      assertEquals(error.message, "Cannot acquire RWLock: it was not free within 40 ms");
    }
    assertThrows(() => lock[sync]({ timeout: NaN }), RangeError, "NaN");
    guard.release();
    assertEquals(state(lock), "free");
  });

  test(`RWLock.${mode}() rejects with the reason of a signal, aborted before or while it waits`, async () => {
    const lock = new RWLock();
    const reason = new Error("never mind");
    const aborted = { signal: AbortSignal.abort(reason) };
    assertStrictEquals(await assertRejects(() => lock[mode](aborted)), reason);
    assertEquals(state(lock), "free");
    const guard = lock.writeSync();
    const controller = new AbortController();
    const waiting = lock[mode]({ signal: controller.signal });
    assert(await isPending(waiting));
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => waiting), reason);
    assertEquals(state(lock), "written");
    guard.release();
    assertEquals(state(lock), "free");
    const held = await lock[mode]({ signal: new AbortController().signal });
    held.release();
  });

  test(`RWLock.${mode}Sync() that would wait for its own process for ever throws ProcessError`, async () => {
    const lock = new RWLock();
    const writing = lock.writeSync();
    const error = assertThrows(() => lock[sync](), ProcessError);
    assertEquals(
      error.message,
      `Cannot acquire RWLock to ${mode}: this process holds it to write, and would wait for itself ` +
        "for ever; release that guard first",
    );
    assertThrows(() => lock[sync]({ timeout: 20 }), TimeoutError);
    assertThrows(() => lock[sync]({ timeout: Infinity }), ProcessError);
    writing.release();
    const reading = await lock.read();
    if (mode === "read") lock.readSync().release();
    else assertThrows(() => lock.writeSync(), ProcessError, "this process holds it to read");
    reading.release();
    lock[sync]().release();
    assertEquals(state(lock), "free");
  });
}

test("RWLock.write() of a lock that is read waits for all its readers", async () => {
  const lock = new RWLock();
  const readers = [await lock.read(), await lock.read(), lock.readSync()];
  const writing = lock.write();
  for (const guard of readers) {
    assert(await isPending(writing, 5));
    guard.release();
  }
  (await soon(writing)).release();
  assertEquals(state(lock), "free");
});

test("RWLock.write() that waits is not overtaken by readers that come later", async () => {
  const lock = new RWLock();
  const order: string[] = [];
  const log = (name: string) => (guard: LockGuard) => (order.push(name), guard);
  const first = await lock.read();
  const writing = lock.write().then(log("write"));
  const later = [1, 2].map((i) => lock.read().then(log(`read ${i}`)));
  assertThrows(() => lock.readSync({ timeout: 0 }), TimeoutError);
  assertThrows(() => lock.readSync({ timeout: 30 }), TimeoutError);
  await assertRejects(() => lock.read({ timeout: 0 }), TimeoutError);
  await assertRejects(() => lock.read({ timeout: 30 }), TimeoutError);
  assert(await isPending(writing));
  first.release();
  const guard = await soon(writing);
  assert(await isPending(later[0]!));
  guard.release();
  for (const reading of later) (await soon(reading)).release();
  assertEquals(order, ["write", "read 1", "read 2"]);
  assertEquals(state(lock), "free");
});

for (const how of ["timeout", "signal"] as const) {
  test(`RWLock.write() that gives up by ${how} lets readers pass as if it had never come`, async () => {
    const lock = new RWLock();
    const first = await lock.read();
    const controller = new AbortController();
    const options = how === "timeout" ? { timeout: 30 } : { signal: controller.signal };
    const writing = lock.write(options);
    const later = lock.read();
    writing.catch(() => {});
    assert(await isPending(later, 5));
    controller.abort();
    await assertRejects(() => writing);
    const second = await soon(later);
    assertEquals(state(lock), "read");
    first.release();
    second.release();
    assertEquals(state(lock), "free");
  });
}

test("RWLock serves readers and writers of a process in arrival order, through two handles", async () => {
  const lock = new RWLock();
  const handles = new Queue<RWLock>();
  await handles.put(lock);
  const other = await handles.get();
  assertNotStrictEquals(other, lock);
  const guard = await other.write();
  let [reading, writing] = [0, 0];
  const order: number[] = [];
  const waiting = Array.from({ length: 60 }, async (_, i) => {
    const writes = i % 3 === 0;
    const handle = i % 2 === 0 ? lock : other;
    const guard = writes ? await handle.write() : await handle.read();
    order.push(i);
    if (writes) writing++;
    else reading++;
    assert(writing === 0 || writing === 1 && reading === 0);
    await null;
    if (writes) writing--;
    else reading--;
    guard.release();
  });
  guard.release();
  await soon(Promise.all(waiting));
  assertEquals(order, Array.from({ length: 60 }, (_, i) => i));
  assertEquals(state(lock), "free");
});

test("RWLock.read() and write() that wait cost next to nothing, a hundred at once", async () => {
  const lock = new RWLock();
  const guard = lock.writeSync();
  const controller = new AbortController();
  const { signal } = controller;
  const waits = Array.from({ length: 100 }, (_, i) => lock[MODES[i % 2]!]({ signal }));
  const all = Promise.all(waits);
  assert(await isPending(all, 100));
  const before = process.cpuUsage();
  assert(await isPending(all, 1000));
  const { user, system } = process.cpuUsage(before);
  assertLess((user + system) / 1000, 500);
  controller.abort();
  const outcomes = await Promise.allSettled(waits);
  assertEquals(outcomes.filter(({ status }) => status === "fulfilled"), []);
  guard.release();
  assertEquals(state(lock), "free");
});

// -- Between processes

test("RWLock is read by several processes at once, and keeps writers out of all", async () => {
  const lock = new RWLock();
  const [one, two] = [await holder(lock, "read"), await holder(lock, "read")];
  assertEquals(state(lock), "read");
  const guard = await lock.read({ timeout: SOON });
  const writing = lock.write();
  assert(await isPending(writing));
  await one.finish();
  guard.release();
  assert(await isPending(writing));
  await two.finish();
  const written = await soon(writing);
  assertFalse(written.abandoned);
  written.release();
});

for (const mode of MODES) {
  test(`RWLock.${mode}() waits for the writer of another process`, async () => {
    const lock = new RWLock();
    const { finish } = await holder(lock, "write");
    assertEquals(state(lock), "written");
    assertThrows(() => lock[SYNC[mode]]({ timeout: 30 }), TimeoutError);
    const waiting = lock[mode]();
    assert(await isPending(waiting));
    await finish();
    const guard = await soon(waiting);
    assertFalse(guard.abandoned);
    guard.release();
    assertEquals(state(lock), "free");
  });
}

test("RWLock.write() of a process that waits is not overtaken by the readers of another", async () => {
  const lock = new RWLock();
  const reading = await lock.read();
  const child = await waitingWriter(lock);
  const later = lock.read();
  assert(await isPending(later));
  assertThrows(() => lock.readSync({ timeout: 20 }), TimeoutError);
  reading.release();
  assert(await child.join({ timeout: SOON }));
  const second = await soon(later);
  assertFalse(second.abandoned);
  second.release();
  assertEquals(state(lock), "free");
});

test("RWLock.writeSync() that times out lets readers of another process pass at once", async () => {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const lock = new RWLock();
    const reading = await lock.read();
    const gaveUp = new SharedArrayBuffer(8);
    const child = start(() => {
      try {
        lock.writeSync({ timeout: 200 });
      } catch {
        new Float64Array(gaveUp)[0] = Date.now();
      }
    }, { lock, gaveUp });
    await until(() => state(lock) === "written", "the writer's wish");
    const later = await soon(lock.read());
    const now = Date.now();
    assert(await child.join({ timeout: SOON }));
    times.push(now - new Float64Array(gaveUp)[0]!);
    later.release();
    reading.release();
    assertEquals(state(lock), "free");
  }
  assertLess(times.sort((a, b) => a - b)[2]!, 100);
});

test("RWLock.readSync() and read() are let in by one who writes again and again", async () => {
  const lock = new RWLock();
  const writes = new Value("i32", 0, { lock: false });
  const stop = new Value("i32", 0, { lock: false });
  // One who writes again and again leaves hardly a gap.
  const child = start(() => {
    while (stop.value === 0) {
      const guard = lock.writeSync();
      writes.add(1);
      for (const end = performance.now() + 0.2; performance.now() < end;);
      guard.release();
    }
  }, { lock, writes, stop });
  await until(() => writes.value > 20, "writes");
  const overtaken: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = writes.value;
    const guard = i % 2 === 0 ? await lock.read() : lock.readSync();
    overtaken.push(writes.value - before);
    guard.release();
    await until(() => writes.value > before + 20, "more writes");
  }
  stop.value = 1;
  assert(await child.join({ timeout: SOON }));
  // Without politeness it is thousands. A busy machine may take long to wake a sleeper.
  overtaken.sort((a, b) => a - b);
  assertLessOrEqual(overtaken[10]!, 5, `overtaken by ${overtaken}`);
  assertLessOrEqual(overtaken.at(-1)!, 200, `overtaken by ${overtaken}`);
});

test("RWLock.readSync() of a process that reads passes, though another one waits to write", async () => {
  const lock = new RWLock();
  const held = new Event();
  const stuck = start(() => {
    const outer = lock.readSync();
    held.set();
    // As soon as somebody waits to write.
    for (let wanted = false; !wanted;) {
      try {
        lock.readSync({ timeout: 0 }).release();
      } catch {
        wanted = true;
      }
    }
    lock.readSync().release();
    outer.release();
  }, { lock, held });
  assert(await held.wait({ timeout: SOON }));
  const writing = lock.write();
  // It would wait for the writer, which waits for it.
  const passed = await stuck.join({ timeout: 3000 });
  if (!passed) stuck.kill();
  (await soon(writing)).release();
  await stuck.join();
  assert(passed, "a process waits for itself");
});

for (const mode of MODES) {
  test(`RWLock.${SYNC[mode]}() does not wait for what its own process waits for meanwhile`, async () => {
    const lock = new RWLock();
    const { finish } = await holder(lock, mode === "read" ? "read" : "write");
    const ready = new Event();
    const stuck = start(async () => {
      // Cannot go on while this thread is blocked.
      const waiting = mode === "read" ? lock.write() : lock.read();
      await new Promise((resolve) => setTimeout(resolve, 20));
      ready.set();
      (mode === "read" ? lock.readSync() : lock.writeSync()).release();
      (await waiting).release();
    }, { lock, mode, ready });
    assert(await ready.wait({ timeout: SOON }));
    await finish();
    const passed = await stuck.join({ timeout: 3000 });
    stuck.kill();
    await stuck.join();
    assert(passed, "a process waits for itself");
    assertEquals(state(lock), "free");
  });
}

test("RWLock lets readers in together and writers alone: 4 processes, blocking and not", async () => {
  const lock = new RWLock();
  const [reading, writing, wrong, together, count] = Array.from({ length: 5 }, () => {
    return new Value("i32", 0, { lock: false });
  }) as [Value<"i32">, Value<"i32">, Value<"i32">, Value<"i32">, Value<"i32">];
  const rounds = 100;
  const work = async (): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      const writes = i % 4 === 0;
      const guard = writes
        ? (i % 8 === 0 ? lock.writeSync() : await lock.write())
        : (i % 8 < 4 ? lock.readSync() : await lock.read());
      const mine = writes ? writing : reading;
      const others = mine.add(1);
      if (guard.abandoned || writing.value > (writes ? 1 : 0) || writes && reading.value > 0) {
        wrong.add(1);
      }
      if (!writes && others > 0) together.add(1);
      if (writes) count.value += 1;
      if (i % 5 === 0) await null;
      mine.sub(1);
      guard.release();
    }
  };
  const scope = { lock, reading, writing, wrong, together, count, rounds };
  const children = [1, 2, 3].map(() => start(work, scope));
  await work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals([wrong.value, reading.value, writing.value], [0, 0, 0]);
  assertEquals(count.value, 4 * rounds / 4);
  assertEquals(state(lock), "free");
});

// -- Deaths

/** Ways in which a holder ends; what they throw goes to stderr. */
const DEATHS: Record<string, { act?: () => unknown; stop?: (child: Process<[]>) => void }> = {
  "throws": {
    act: () => {
      throw new Error("a holder dies on purpose");
    },
  },
  "exits": {
    act: () => (globalThis as unknown as { process: { exit(code: number): void } }).process.exit(3),
  },
  "is terminated": { stop: (child) => child.terminate() },
  "is killed": { stop: (child) => child.kill() },
  "is terminated in a blocking wait": {
    act: () => new Int32Array(new SharedArrayBuffer(4)).forEach((_, i, a) => Atomics.wait(a, i, 0)),
    stop: (child) => child.terminate(),
  },
};

declare const die: () => unknown;

for (const [way, { act = () => new Promise(() => {}), stop }] of Object.entries(DEATHS)) {
  for (const mode of MODES) {
    test(`RWLock whose ${mode === "read" ? "reader" : "writer"} ${way} comes free for those who wait`, async () => {
      const lock = new RWLock();
      const [held, go] = [new Event(), new Event()];
      const owner = start(
        async () => {
          if (mode === "read") lock.readSync();
          else lock.writeSync();
          held.set();
          await go.wait();
          await die();
        },
        { lock, mode, held, go, die: act },
      );
      assert(await held.wait({ timeout: SOON }));
      const waiting = [lock.write(), lock.write(), lock.read()];
      assert(await isPending(waiting[0]!));
      go.set();
      stop?.(owner);
      await until(() => !owner.isAlive(), "the owner's end");
      const began = performance.now();
      const seen: boolean[] = [];
      for (const guard of waiting) {
        const got = await soon(guard);
        seen.push(got.abandoned);
        got.release();
      }
      assertLess(performance.now() - began, TAKEOVER_MS);
      // What a dead reader leaves is not half-changed.
      assertEquals(seen, [mode === "write", false, false]);
      await owner.join();
      assertEquals(state(lock), "free");
    });
  }
}

for (const first of ["read", "readSync", "write", "writeSync"] as const) {
  test(`RWLock.${first}() after the death of a writer is told of it, and nobody else`, async () => {
    const lock = new RWLock();
    await run(() => void lock.writeSync(), { lock });
    const guard = await lock[first]();
    assert(guard.abandoned);
    if (first.startsWith("read")) {
      const second = await lock.read();
      assertFalse(second.abandoned);
      second.release();
    }
    guard.release();
    for (const next of ["read", "write", "readSync", "writeSync"] as const) {
      const guard = await lock[next]();
      assertFalse(guard.abandoned);
      guard.release();
    }
  });
}

test("RWLock whose waiting writer dies lets readers pass again", async () => {
  for (const how of ["terminate", "kill"] as const) {
    const lock = new RWLock();
    const reading = await lock.read();
    const child = await waitingWriter(lock);
    const later = lock.read();
    assert(await isPending(later));
    child[how]();
    const began = performance.now();
    const second = await soon(later);
    assertLess(performance.now() - began, TAKEOVER_MS);
    assertFalse(second.abandoned);
    lock.readSync().release();
    reading.release();
    second.release();
    await child.join();
    assertEquals(state(lock), "free");
  }
});

test("RWLock whose waiting reader dies lets writers pass", async () => {
  const lock = new RWLock();
  const writing = lock.writeSync();
  const waits = new Event();
  const child = start(() => {
    waits.set();
    lock.readSync();
  }, { lock, waits });
  assert(await waits.wait({ timeout: SOON }));
  await isPending(new Promise(() => {}), 30);
  child.kill();
  writing.release();
  (await lock.write({ timeout: TAKEOVER_MS })).release();
  await child.join();
  assertEquals(state(lock), "free");
});

test("RWLock is got in turn while writers and readers die holding it, one after the other", async () => {
  const lock = new RWLock();
  const count = new Value("i32", 0, { lock: false });
  const work = () => {
    for (let i = 0; i < 10; i++) {
      const guard = i % 2 === 0 ? lock.writeSync() : lock.readSync();
      count.add(1);
      guard.release();
    }
    if (writesAtLast) lock.writeSync();
    else lock.readSync();
    count.add(1);
  };
  const children = [0, 1, 2, 3].map((i) => {
    return start(work, { lock, count, writesAtLast: i % 2 === 0 });
  });
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals(count.value, 4 * 11);
  (await lock.write({ timeout: 0 })).release();
  assertEquals(state(lock), "free");
});

declare const writesAtLast: boolean;

// -- Death at every step

const DIED = 33;

/**
 * A process that exits, or stops for ever, just before the `step`-th of its changes of shared memory
 * in `act`. To die before it reads is to die after the change before.
 */
function victim(scene: Scene, subject: RWLock, step: number, parks: boolean) {
  const scope = {
    beforehand: scene.prepare === undefined ? () => {} : closure(scene.prepare, { subject }),
    doomed: closure(scene.act, { subject }),
  };
  const buffer = new SharedArrayBuffer(8);
  const child = start(() => {
    const words = new Int32Array(buffer);
    const { wait, store } = Atomics;
    const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
    const names = ["store", "add", "sub", "exchange", "compareExchange", "notify"];
    const originals = names.map((name) => table[name]!);
    const { exit } = (globalThis as unknown as { process: { exit(code: number): void } }).process;
    let left = step;
    const guard = beforehand();
    names.forEach((name, i) => {
      table[name] = (...args) => {
        if (left-- === 0) {
          names.forEach((name, i) => table[name] = originals[i]!);
          if (!parks) {
            exit(DIED);
            for (;;);
          }
          store(words, 0, 1);
          wait(words, 1, 0);
        }
        return originals[i]!.apply(Atomics, args);
      };
    });
    doomed(guard);
    names.forEach((name, i) => table[name] = originals[i]!);
  }, { ...scope, buffer, step, parks, DIED });
  return { child, words: new Int32Array(buffer) };
}

declare const subject: RWLock;
declare const beforehand: () => LockGuard;
declare const doomed: (guard: LockGuard) => void;

interface Scene {
  /** What a dead process has left. */
  before?: () => void;
  /** How this process holds the lock meanwhile. */
  held?: Mode;
  /** What the victim has done before. */
  prepare?: () => LockGuard;
  act: (guard: LockGuard) => void;
  /** Whether a write was cut short, and so who follows may be told that it was. */
  cut?: boolean;
  /** Changes that the act makes at least. */
  steps: number;
}

const SCENES: Record<string, Scene> = {
  "readSync()": { act: () => void subject.readSync(), steps: 5 },
  "writeSync()": { act: () => void subject.writeSync(), cut: true, steps: 5 },
  "readSync() after a dead writer": {
    before: () => void subject.writeSync(),
    act: () => void subject.readSync(),
    cut: true,
    steps: 5,
  },
  "writeSync() after a dead writer": {
    before: () => void subject.writeSync(),
    act: () => void subject.writeSync(),
    cut: true,
    steps: 4,
  },
  "writeSync() that gives up": {
    held: "read",
    act: () => {
      try {
        subject.writeSync({ timeout: 10 });
      } catch {
        // As was to be expected.
      }
    },
    steps: 9,
  },
  "release() of a read": {
    prepare: () => subject.readSync(),
    act: (guard) => guard.release(),
    steps: 4,
  },
  "release() of a write": {
    prepare: () => subject.writeSync(),
    act: (guard) => guard.release(),
    cut: true,
    steps: 5,
  },
};

/** Readers pass together, writers alone, and at most one of all is told of a death. */
function checkLegal(lock: RWLock, cut: boolean, message: string): void {
  const told: boolean[] = [];
  const two = [1, 2].map(() => lock.readSync({ timeout: SOON }));
  assertThrows(() => lock.writeSync({ timeout: 0 }), TimeoutError);
  for (const guard of two) guard.release();
  const one = lock.writeSync({ timeout: SOON });
  assertThrows(() => lock.readSync({ timeout: 0 }), TimeoutError);
  one.release();
  for (const guard of [...two, one]) told.push(guard.abandoned);
  assertLessOrEqual(told.filter((told) => told).length, cut ? 1 : 0, message);
  assertEquals(told.slice(1), [false, false], message);
  assertEquals(state(lock), "free", message);
}

for (const [what, scene] of Object.entries(SCENES)) {
  const { before, held, cut = false, steps } = scene;

  const begin = async (step: number, parks: boolean) => {
    const lock = new RWLock();
    if (before !== undefined) await run(before, { subject: lock });
    const guard = held && lock[SYNC[held]]();
    return { lock, guard, ...victim(scene, lock, step, parks) };
  };

  test(`RWLock.${what} of a process that exits before any of its steps harms no other`, async () => {
    let survived = false;
    // All that are known to be, and then one after the other.
    for (let first = 0, count = steps + 1; !survived; first += count, count = 1) {
      const indices = Array.from({ length: count }, (_, i) => first + i);
      const victims = await Promise.all(indices.map((step) => begin(step, false)));
      for (const [i, { lock, guard, child }] of victims.entries()) {
        const message = `step ${first + i}`;
        assert(await child.join({ timeout: SOON }), message);
        if (child.exitCode === 0) survived = true;
        else assertEquals(child.exitCode, DIED, message);
        guard?.release();
        checkLegal(lock, cut, message);
        if (child.exitCode === 0) assertGreaterOrEqual(first + i, steps);
      }
      assertLess(first, 50);
    }
  });

  test(`RWLock.${what} of a process that is stopped amid it harms no other`, async () => {
    const victims = await Promise.all([1, 2].map((step) => begin(step, true)));
    for (const { words } of victims) await until(() => Atomics.load(words, 0) === 1, "parked");
    victims.forEach(({ child }, i) => i % 2 ? child.terminate() : child.kill());
    for (const [i, { lock, guard, child }] of victims.entries()) {
      guard?.release();
      // Acquiring waits until the thread is sure to have stopped.
      checkLegal(lock, cut, `step ${i + 1}`);
      await child.join();
    }
  });
}

// -- Death at every step, reads too, as one process sees it

// Words of a lock, see memory/monitor.ts, memory/rwlock.ts and memory/roster.ts.
const LOCK = 0;
const WRITER = OWN_WORDS;
const CAPACITY = 1000;

/** A pid that no process ever had: it counts as dead. */
const DEAD_PID = 15_000;

class Death extends Error {}

/** Makes what this process is in the lock a dead one's. */
function bury({ cells }: RWLockState): void {
  const entry = Math.floor((cells.length - WRITER) / CAPACITY);
  if (cells[LOCK]! >> 1 === ownPid) cells[LOCK] = (DEAD_PID << 1) | (cells[LOCK]! & 1);
  if (cells[WRITER] === ownPid) cells[WRITER] = DEAD_PID;
  for (let at = cells.length - CAPACITY * entry; at < cells.length; at += entry) {
    if (cells[at] === ownPid) cells[at] = DEAD_PID;
  }
}

/** Lets a process die just before its `at`-th step of `act`. Returns false if it took fewer steps. */
function dies(lock: RWLockState, at: number, act: () => unknown): boolean {
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = ["load", "store", "add", "sub", "exchange", "compareExchange", "notify"];
  const originals = names.map((name) => table[name]!);
  let [steps, died] = [0, false];
  names.forEach((name, i) => {
    table[name] = (...args) => {
      // The dead do no more, whatever their finally blocks would like to.
      if (steps++ >= at) {
        died = true;
        throw new Death();
      }
      return originals[i]!.apply(Atomics, args);
    };
  });
  try {
    act();
  } catch (error) {
    if (!(error instanceof Death)) throw error;
  } finally {
    names.forEach((name, i) => table[name] = originals[i]!);
  }
  bury(lock);
  return died;
}

test("RWLock is whole after a death between any two steps, reads too", () => {
  const acts: Record<string, (lock: RWLockState) => unknown> = {
    "reads": (lock) => lock.read().attempt(),
    "writes": (lock) => lock.write().attempt(),
    "reads and releases": (lock) => (lock.read().attempt(), lock.releaseRead()),
    "writes and releases": (lock) => (lock.write().attempt(), lock.releaseWrite()),
    "waits and gives up": (lock) => {
      lock.read().attempt();
      const wait = lock.write();
      wait.attempt();
      wait.cancel!();
    },
  };
  for (const before of ["nobody", "a reader", "a writer"]) {
    for (const [what, act] of Object.entries(acts)) {
      let at = 0;
      for (let more = true; more; at++) {
        const lock = RWLockState.create();
        dies(lock, Infinity, () => {
          if (before === "a reader") lock.read().attempt();
          if (before === "a writer") lock.write().attempt();
        });
        more = dies(lock, at, () => act(lock));
        const message = `after ${before}, one who ${what}, step ${at}`;
        const told: unknown[] = [];
        for (const mode of at % 2 === 0 ? MODES : [...MODES].reverse()) {
          told.push(lock[mode]().attempt());
          const writing = lock.write();
          assertStrictEquals(writing.attempt(), PENDING, message);
          writing.cancel!();
          if (mode === "write") {
            assertStrictEquals(lock.read().attempt(), PENDING, message);
            lock.releaseWrite();
          } else {
            assertStrictEquals(lock.read().attempt(), ACQUIRED, message);
            lock.releaseRead();
            lock.releaseRead();
          }
        }
        const cut = before === "a writer" || what.startsWith("writes");
        assert(told[0] === ACQUIRED || cut && told[0] === ABANDONED, message);
        assertStrictEquals(told[1], ACQUIRED, message);
      }
      assertGreaterOrEqual(at, 5, what);
    }
  }
});

test("RWLock can be read by any number of processes that die reading, one after another", () => {
  const lock = RWLockState.create();
  for (let i = 0; i < 2 * CAPACITY; i++) {
    assertNotStrictEquals(lock.read().attempt(), PENDING);
    bury(lock);
  }
  assertNotStrictEquals(lock.write().attempt(), PENDING);
});

// -- Sharing

test("RWLock crosses as itself: argument, deep in objects, in a scope, in a queue item", async () => {
  const locks = Array.from({ length: 4 }, () => new RWLock());
  const [direct, deep, scoped, queued] = locks as [RWLock, RWLock, RWLock, RWLock];
  const items = new Queue<{ lock: RWLock }>();
  await items.put({ lock: queued });
  const acquired = new Queue<string[]>();
  const go = new Event();
  const nested = { list: [1, new Map([["key", { deep }]])] };
  const child = new Process({
    target: closure((direct: RWLock, { list }: typeof nested) => {
      const { deep } = (list[1] as Map<string, { deep: RWLock }>).get("key")!;
      const all = [direct, deep, scoped, items.getSync().lock];
      const guards = all.map((lock, i) => i % 2 === 0 ? lock.readSync() : lock.writeSync());
      acquired.putSync(all.map((lock) => lock.constructor.name));
      go.waitSync();
      for (const guard of guards) guard.release();
    }, { scoped, items, acquired, go }),
    args: [direct, nested],
  });
  child.start();
  assertEquals(await acquired.get({ timeout: SOON }), Array(4).fill("RWLock"));
  assertEquals(locks.map(state), ["read", "written", "read", "written"]);
  go.set();
  await child.join();
  assertEquals(child.exitCode, 0);
  assertEquals(locks.map(state), Array(4).fill("free"));
});

test("RWLock that stands in a pool's task keeps its writers apart", async () => {
  const lock = new RWLock();
  const inside = new Value("i32", 0, { lock: false });
  const pool = new Pool({ processes: 2 });
  const work = async (lock: RWLock): Promise<number> => {
    const guard = await lock.write();
    const others = inside.add(1);
    inside.sub(1);
    guard.release();
    return others;
  };
  const others = await pool.map(closure(work, { inside }), Array(20).fill(lock));
  await pool[Symbol.asyncDispose]();
  assertEquals([others, state(lock)], [Array(20).fill(0), "free"]);
});

test("RWLock that a child has made works here, after the child's end too", async () => {
  const made = new Queue<RWLock>();
  await run(
    () => {
      const lock = new RWLock();
      made.putSync(lock);
      lock.writeSync();
    },
    { RWLock, made },
  );
  const lock = await made.get();
  assertInstanceOf(lock, RWLock);
  const guard = await lock.write({ timeout: TAKEOVER_MS });
  assert(guard.abandoned);
  guard.release();
  assertEquals(state(lock), "free");
});
