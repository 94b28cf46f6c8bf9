/** Lock and RLock: their contract in one process and between processes, through every kind of death. */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError, TimeoutError } from "../errors.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event, Lock, RLock } from "../sync.ts";
import { closure } from "../target.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
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
import { assertUnharmed } from "./fixtures/unharmed.ts";

declare const process: { exit(code: number): never };

const KINDS = [Lock, RLock];

/** A process that acquires the lock, and holds it until `go` is set. */
async function holder(lock: Lock, go = new Event()) {
  const held = new Event();
  const child = start(
    () => {
      const guard = lock.acquireSync();
      held.set();
      go.waitSync();
      guard.release();
    },
    { lock, held, go },
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

// -- One process

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name} is free at first, held between acquire() and release()`, async () => {
    const lock = new Kind();
    assertFalse(lock.locked());
    const guard = await lock.acquire();
    assert(lock.locked());
    assertFalse(guard.abandoned);
    assertEquals(guard.release(), undefined);
    assertFalse(lock.locked());
  });

  test(`${name}.acquireSync() and tryAcquire() hold the lock as acquire() does`, () => {
    const lock = new Kind();
    const guard = lock.acquireSync();
    assert(lock.locked());
    assertFalse(guard.abandoned);
    guard.release();
    assertFalse(lock.locked());
    const tried = lock.tryAcquire();
    assert(tried !== null && lock.locked());
    assertFalse(tried.abandoned);
    tried.release();
    assertFalse(lock.locked());
  });

  test(`${name}.release() releases without the guard`, async () => {
    const lock = new Kind();
    await lock.acquire();
    assertEquals(lock.release(), undefined);
    assertFalse(lock.locked());
    assert(lock.tryAcquire() !== null);
    lock.release();
    assertFalse(lock.locked());
  });

  test(`${name}.release() of a lock that is not held throws ProcessError`, () => {
    const lock = new Kind();
    const error = assertThrows(() => lock.release(), ProcessError);
    assertEquals(error.message, `Cannot release ${name}: it is not held`);
    lock.acquireSync().release();
    assertThrows(() => lock.release(), ProcessError);
    assertFalse(lock.locked());
  });

  test(`${name}'s guard is harmless when disposed of or released twice`, async () => {
    const lock = new Kind();
    const first = await lock.acquire();
    first[Symbol.dispose]();
    assertFalse(lock.locked());
    first[Symbol.dispose]();
    first.release();
    const second = lock.acquireSync();
    first.release();
    first[Symbol.dispose]();
    assert(lock.locked(), "the first guard released what the second one holds");
    second.release();
    second[Symbol.dispose]();
    assertFalse(lock.locked());
  });

  test(`${name}.acquire() of a free lock takes any timeout but NaN`, async () => {
    const lock = new Kind();
    for (const timeout of [undefined, 0, -1, -Infinity, 0.5, 1e9, 2 ** 40, Infinity]) {
      const options = timeout === undefined ? {} : { timeout };
      (await lock.acquire(options)).release();
      lock.acquireSync(options).release();
    }
    assertFalse(lock.locked());
    const error = await assertRejects(() => lock.acquire({ timeout: NaN }), RangeError);
    assertMatch(error.message, /'timeout'.*NaN/);
    assertFalse(lock.locked());
  });

  test(`${name}.acquireSync() refuses NaN as a timeout, free or held`, async () => {
    const lock = new Kind();
    const { finish } = await holder(lock);
    assertThrows(() => lock.acquireSync({ timeout: NaN }), RangeError, "NaN");
    await finish();
    assertThrows(() => lock.acquireSync({ timeout: NaN }), RangeError, "NaN");
    assertFalse(lock.locked());
  });

  test(`${name}.acquire() refuses a timeout that is no number`, async () => {
    const lock = new Kind();
    const options = { timeout: "10" as unknown as number };
    await assertRejects(() => lock.acquire(options), TypeError, "'timeout'");
    assertFalse(lock.locked());
  });

  test(`${name}.acquire() with a signal aborted before rejects with its reason`, async () => {
    const lock = new Kind();
    const reason = new Error("never mind");
    const options = { signal: AbortSignal.abort(reason) };
    assertStrictEquals(await assertRejects(() => lock.acquire(options)), reason);
    assertFalse(lock.locked());
    const plain = await assertRejects(() => lock.acquire({ signal: AbortSignal.abort() }));
    assertEquals((plain as DOMException).name, "AbortError");
    assertFalse(lock.locked());
  });

  test(`${name}.acquire() ignores a signal that aborts after it got the lock`, async () => {
    const lock = new Kind();
    const controller = new AbortController();
    const guard = await lock.acquire({ signal: controller.signal });
    controller.abort();
    assert(lock.locked());
    guard.release();
  });
}

test("Lock.acquireSync() by the holder itself waits like any other", () => {
  const lock = new Lock();
  const guard = lock.acquireSync();
  assertEquals(lock.tryAcquire(), null);
  const began = performance.now();
  const error = assertThrows(() => lock.acquireSync({ timeout: 40 }), TimeoutError);
  assertGreaterOrEqual(performance.now() - began, 39);
  assertMatch(error.message, /^Cannot acquire Lock: .*40 ms/);
  for (const timeout of [0, -1, -Infinity]) {
    assertThrows(() => lock.acquireSync({ timeout }), TimeoutError);
  }
  assert(lock.locked());
  guard.release();
  lock.acquireSync({ timeout: 0 }).release();
  assertFalse(lock.locked());
});

test("Lock.acquire() that times out leaves the lock as if it had never come", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const began = performance.now();
  const error = await assertRejects(() => lock.acquire({ timeout: 40 }), TimeoutError);
  assertGreaterOrEqual(performance.now() - began, 38);
  assertMatch(error.message, /^Cannot acquire Lock: .*40 ms/);
  for (const timeout of [0, -1, -Infinity]) {
    await assertRejects(() => lock.acquire({ timeout }), TimeoutError);
  }
  assert(lock.locked());
  guard.release();
  assertFalse(lock.locked());
  const next = lock.tryAcquire();
  assert(next !== null, "a waiter that gave up holds the lock");
  next.release();
});

test("Lock.acquire() whose signal aborts while it waits rejects, and changes nothing", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const controller = new AbortController();
  const reason = { any: "value" };
  const waiting = lock.acquire({ signal: controller.signal });
  assert(await isPending(waiting));
  controller.abort(reason);
  const error = await waiting.then(() => undefined, (error) => error);
  assertStrictEquals(error, reason);
  assert(lock.locked());
  guard.release();
  assertFalse(lock.locked());
  assert(await lock.acquire({ timeout: 0 }));
});

test("Lock.acquire() gives the lock to the second in line when the first aborts", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const controller = new AbortController();
  const first = lock.acquire({ signal: controller.signal });
  const second = lock.acquire();
  assert(await isPending(second));
  controller.abort();
  await assertRejects(() => first);
  assert(await isPending(second, 5));
  guard.release();
  (await soon(second)).release();
});

test("Lock.acquire() loses no release that comes together with an abort", async () => {
  const lock = new Lock();
  for (let i = 0; i < 20; i++) {
    const guard = await lock.acquire();
    const controller = new AbortController();
    const first = lock.acquire({ signal: controller.signal });
    const second = lock.acquire();
    first.then((guard) => guard.release(), () => {});
    if (i % 3 === 0) await null;
    if (i % 2 === 0) {
      guard.release();
      controller.abort();
    } else {
      controller.abort();
      guard.release();
    }
    (await soon(second, `round ${i}`)).release();
    await first.catch(() => {});
  }
  assertFalse(lock.locked());
});

test("Lock.acquire() gets a lock that came free before its timeout, however busy the thread", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const waiting = lock.acquire({ timeout: 30 });
  assert(await isPending(waiting, 1));
  guard.release();
  const end = performance.now() + 60;
  while (performance.now() < end);
  (await waiting).release();
});

test("Lock.acquire() hands over in arrival order", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const order: number[] = [];
  const waiting = Array.from({ length: 50 }, async (_, i) => {
    const guard = await lock.acquire();
    order.push(i);
    // Some keep it over a turn of the event loop.
    if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    guard.release();
  });
  guard.release();
  await soon(Promise.all(waiting));
  assertEquals(order, Array.from({ length: 50 }, (_, i) => i));
  assertFalse(lock.locked());
});

test("Lock.acquire() keeps the order of arrival when others leave the line", async () => {
  const lock = new Lock();
  const guard = await lock.acquire();
  const order: number[] = [];
  const controller = new AbortController();
  const waiting = Array.from({ length: 30 }, async (_, i) => {
    const options = i % 3 === 1
      ? { signal: controller.signal }
      : i % 3 === 2
      ? { timeout: 20 }
      : {};
    try {
      const guard = await lock.acquire(options);
      order.push(i);
      guard.release();
    } catch (error) {
      assert(i % 3 !== 0, String(error));
    }
  });
  controller.abort();
  await Promise.all(waiting.filter((_, i) => i % 3 !== 0));
  assertEquals(order, []);
  guard.release();
  await soon(Promise.all(waiting));
  assertEquals(order, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
});

test("Lock.acquire() is not overtaken by an acquire() that comes right after the release", async () => {
  const lock = new Lock();
  const order: string[] = [];
  const guard = await lock.acquire();
  const early = lock.acquire().then((guard) => (order.push("early"), guard.release()));
  assert(await isPending(early));
  guard.release();
  const late = lock.acquire().then((guard) => (order.push("late"), guard.release()));
  await soon(Promise.all([early, late]));
  assertEquals(order, ["early", "late"]);
});

test("Lock.acquire() serves a thousand waiters", async () => {
  const lock = new Lock();
  let inside = 0;
  await soon(Promise.all(Array.from({ length: 1000 }, async () => {
    const guard = await lock.acquire();
    assertEquals(++inside, 1);
    await null;
    inside--;
    guard.release();
  })));
  assertFalse(lock.locked());
});

test("RLock is free only when its owner has released it as often as acquired", async () => {
  const lock = new RLock();
  const guards = [
    lock.acquireSync(),
    await lock.acquire(),
    lock.tryAcquire()!,
    await lock.acquire({ timeout: 0 }),
    lock.acquireSync({ timeout: -1 }),
  ];
  for (const guard of guards) {
    assert(lock.locked());
    assertFalse(guard.abandoned);
    guard.release();
    guard.release();
  }
  assertFalse(lock.locked());
  assertThrows(() => lock.release(), ProcessError);
});

test("RLock.acquire() by its owner does not queue behind those who wait", async () => {
  const lock = new RLock();
  const { child, finish } = await holder(lock);
  const order: string[] = [];
  const first = lock.acquire().then(async (guard) => {
    order.push("first");
    const inner = await lock.acquire();
    order.push("inner");
    inner.release();
    guard.release();
  });
  const second = lock.acquire().then((guard) => (order.push("second"), guard.release()));
  assert(await isPending(first));
  await finish();
  assertFalse(child.isAlive());
  await soon(Promise.all([first, second]));
  assertArraySame(order, ["first", "inner", "second"]);
  assertFalse(lock.locked());
});

/** The same elements, in any order. */
function assertArraySame(actual: string[], expected: string[]): void {
  assertEquals([...actual].sort(), [...expected].sort());
}

test("RLock.acquire() by its owner still heeds signal and timeout", async () => {
  const lock = new RLock();
  const guard = lock.acquireSync();
  const reason = new Error("never mind");
  const options = { signal: AbortSignal.abort(reason) };
  assertStrictEquals(await assertRejects(() => lock.acquire(options)), reason);
  await assertRejects(() => lock.acquire({ timeout: NaN }), RangeError);
  assertThrows(() => lock.acquireSync({ timeout: NaN }), RangeError);
  guard.release();
  assertFalse(lock.locked(), "a refused acquire() was counted");
});

// -- Between processes

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name} that a child holds is locked here, and comes free with its release`, async () => {
    const lock = new Kind();
    const { finish } = await holder(lock);
    assert(lock.locked());
    assertEquals(lock.tryAcquire(), null);
    assertThrows(() => lock.acquireSync({ timeout: 0 }), TimeoutError);
    assertThrows(() => lock.acquireSync({ timeout: -5 }), TimeoutError);
    assertThrows(() => lock.acquireSync({ timeout: 30 }), TimeoutError);
    await assertRejects(() => lock.acquire({ timeout: 0 }), TimeoutError);
    await assertRejects(() => lock.acquire({ timeout: 30 }), TimeoutError);
    const waiting = lock.acquire();
    assert(await isPending(waiting));
    await finish();
    const guard = await soon(waiting);
    assertFalse(guard.abandoned);
    guard.release();
    assertFalse(lock.locked());
  });

  test(`${name} that is held here is locked in a child`, async () => {
    const lock = new Kind();
    const guard = lock.acquireSync();
    const [locked, tried, sync, async] = await run(
      async () => [
        lock.locked(),
        lock.tryAcquire(),
        nameOf(() => lock.acquireSync({ timeout: 10 })),
        await lock.acquire({ timeout: 10 }).catch((error) => error.name),
      ],
      {
        lock,
        nameOf: (fn: () => unknown) => {
          try {
            fn();
          } catch (error) {
            return (error as Error).name;
          }
          return "nothing";
        },
      },
    );
    assertEquals([locked, tried, sync, async], [true, null, "TimeoutError", "TimeoutError"]);
    guard.release();
  });

  test(`${name} goes to one at a time: 4 processes, blocking and not`, async () => {
    const lock = new Kind();
    const count = new Value("i32", 0, { lock: false });
    const inside = new Value("i32", 0, { lock: false });
    const wrong = new Value("i32", 0, { lock: false });
    const rounds = 150;
    const work = async (): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        const guard = i % 2 === 0 ? lock.acquireSync() : await lock.acquire();
        if (inside.add(1) !== 0 || guard.abandoned) wrong.add(1);
        count.value += 1;
        inside.sub(1);
        guard.release();
      }
    };
    const scope = { lock, count, inside, wrong, rounds };
    const children = [1, 2, 3].map(() => start(work, scope));
    await work();
    for (const child of children) assert(await child.join({ timeout: SOON }));
    assertEquals([count.value, wrong.value, lock.locked()], [4 * rounds, 0, false]);
  });
}

declare const nameOf: (fn: () => unknown) => string;

test("Lock serves all who wait, blocking and not, in three processes, once each", async () => {
  const lock = new Lock();
  const order = new Queue<string>();
  const ready = new Value("i32", 0);
  const guard = lock.acquireSync();
  const work = async () => {
    const waiting = [1, 2, 3].map(async (i) => {
      const guard = await lock.acquire();
      order.putSync(`async ${i}`);
      guard.release();
    });
    ready.add(1);
    const guard = lock.acquireSync();
    order.putSync("sync");
    guard.release();
    await Promise.all(waiting);
  };
  const children = [1, 2].map(() => start(work, { lock, order, ready }));
  const here = [1, 2, 3].map(async (i) => {
    const guard = await lock.acquire();
    order.putSync(`main ${i}`);
    guard.release();
  });
  await until(() => ready.value === 2);
  guard.release();
  await soon(Promise.all(here));
  for (const child of children) {
    assert(await child.join({ timeout: SOON }), "a waiter was forgotten");
  }
  const served: string[] = [];
  while (!order.empty()) served.push(order.getSync());
  assertEquals(served.filter((name) => name.startsWith("main")), ["main 1", "main 2", "main 3"]);
  assertArraySame(served, [
    ...["async 1", "async 1", "async 2", "async 2", "async 3", "async 3"],
    ...["main 1", "main 2", "main 3", "sync", "sync"],
  ]);
  assertFalse(lock.locked());
});

test("Lock.release() by another process than the holder frees the lock", async () => {
  const lock = new Lock();
  const guard = lock.acquireSync();
  await run(() => lock.release(), { lock });
  assertFalse(lock.locked());
  assertThrows(() => lock.release(), ProcessError);
  const { child } = await holder(lock);
  const waiting = lock.acquire();
  assert(await isPending(waiting));
  lock.release();
  const next = await soon(waiting);
  assertFalse(next.abandoned);
  child.terminate();
  await child.join();
  assert(lock.locked());
  next.release();
  assertFalse(guard.abandoned);
});

test("RLock.release() by another process than the owner throws ProcessError", async () => {
  const lock = new RLock();
  const outer = lock.acquireSync();
  const inner = lock.acquireSync();
  const text = await run(
    () => {
      try {
        lock.release();
        return "released";
      } catch (error) {
        return String(error);
      }
    },
    { lock },
  );
  assertEquals(
    text,
    "ProcessError: Cannot release RLock: another process holds it, and only the owner may release it",
  );
  inner.release();
  assert(lock.locked());
  assertEquals(await run(() => lock.tryAcquire() === null, { lock }), true);
  outer.release();
  assertEquals(await run(() => lock.tryAcquire() === null, { lock }), false);
});

test("RLock that a child has acquired three times comes free with the third release", async () => {
  const lock = new RLock();
  const steps = new Queue<number>();
  const go = new Queue<number>();
  const { result } = ask(
    async () => {
      const guards = [lock.acquireSync(), lock.acquireSync(), await lock.acquire()];
      steps.putSync(3);
      for (const guard of guards) {
        go.getSync();
        guard.release();
        steps.putSync(0);
      }
    },
    { lock, steps, go },
  );
  const seen: boolean[] = [];
  for (let i = 0; i < 4; i++) {
    await steps.get({ timeout: SOON });
    seen.push(lock.locked());
    await go.put(i);
  }
  await result;
  assertEquals(seen, [true, true, true, false]);
});

// -- Deaths

/** Ways in which a holder ends; what they throw goes to stderr. */
const DEATHS: Record<string, { act?: () => unknown; stop?: (child: Process<[]>) => void }> = {
  "returns": { act: () => {} },
  "throws": {
    act: () => {
      throw new Error("a holder dies on purpose");
    },
  },
  "exits": { act: () => process.exit(3) },
  "is terminated": { stop: (child) => child.terminate() },
  "is killed": { stop: (child) => child.kill() },
};

for (const [way, { act = () => new Promise(() => {}), stop }] of Object.entries(DEATHS)) {
  test(`Lock whose owner ${way} goes to the next waiters: first abandoned, then not`, async () => {
    const lock = new Lock();
    const [held, waits, go] = [new Event(), new Event(), new Event()];
    const owner = start(
      async () => {
        lock.acquireSync();
        held.set();
        await go.wait();
        await die();
      },
      { lock, held, go, die: act },
    );
    assert(await held.wait({ timeout: SOON }));
    const waiter = ask(
      () => {
        waits.set();
        const guard = lock.acquireSync();
        const { abandoned } = guard;
        guard.release();
        return abandoned;
      },
      { lock, waits },
    );
    assert(await waits.wait({ timeout: SOON }));
    const here = lock.acquire().then((guard) => {
      guard.release();
      return guard.abandoned;
    });
    assert(await isPending(here));
    if (stop) stop(owner);
    else go.set();
    await until(() => !owner.isAlive(), "the owner's end");
    const began = performance.now();
    const seen = await soon(Promise.all([here, waiter.result]));
    assertLess(performance.now() - began, TAKEOVER_MS);
    assertEquals(seen.sort(), [false, true]);
    assertFalse(lock.locked());
    const after = lock.acquireSync();
    assertFalse(after.abandoned);
    after.release();
    await owner.join();
  });
}

declare const die: () => unknown;

test("Lock is not locked() when its owner is dead, and each way of acquiring takes it over", async () => {
  for (const Kind of KINDS) {
    for (const way of ["acquire", "acquireSync", "tryAcquire"] as const) {
      const lock = new Kind();
      await run(() => void lock.acquireSync(), { lock });
      assertFalse(lock.locked());
      const guard = await lock[way]();
      assert(guard?.abandoned, `${Kind.name}.${way}()`);
      assert(lock.locked());
      guard.release();
      const again = await lock[way]();
      assertFalse(again?.abandoned);
      again?.release();
    }
  }
});

test("Lock.acquireSync() takes over from a busy loop that was terminated", async () => {
  const lock = new Lock();
  const held = new Event();
  const owner = start(
    () => {
      lock.acquireSync();
      held.set();
      // Not for ever: Deno cannot stop it.
      const end = Date.now() + 2_000;
      while (Date.now() < end);
    },
    { lock, held },
  );
  assert(await held.wait({ timeout: SOON }));
  owner.terminate();
  assertFalse(lock.locked());
  const began = performance.now();
  const guard = lock.acquireSync({ timeout: SOON });
  assertLess(performance.now() - began, TAKEOVER_MS);
  assert(guard.abandoned);
  guard.release();
  await owner.join();
  assertEquals(owner.exitCode, -15);
});

test("RLock whose owner died in the depth is held once by the next, who may nest anew", async () => {
  const lock = new RLock();
  await run(() => {
    for (let i = 0; i < 5; i++) lock.acquireSync();
  }, { lock });
  assertFalse(lock.locked());
  const guard = await lock.acquire({ timeout: SOON });
  assert(guard.abandoned);
  const inner = lock.acquireSync();
  assertFalse(inner.abandoned);
  inner.release();
  guard.release();
  assertFalse(lock.locked());
  assertThrows(() => lock.release(), ProcessError);
});

for (const way of ["terminate", "exit"] as const) {
  test(`Lock of a daemon whose parent ends by ${way} comes free for one who blocks`, async () => {
    const lock = new Lock();
    const [held, go] = [new Event(), new Event()];
    const parent = start(
      () => {
        const target = closure(async () => {
          lock.acquireSync();
          held.set();
          await new Promise(() => setInterval(() => {}, 1000));
        }, { lock, held });
        new Process({ target, daemon: true }).start();
        go.waitSync();
        process.exit(2);
      },
      { Process, closure, lock, held, go },
    );
    assert(await held.wait({ timeout: SOON }));
    // The daemon goes with its parent, though the main process blocks and hears of no end.
    if (way === "terminate") parent.terminate();
    else go.set();
    const { abandoned } = lock.acquireSync({ timeout: SOON / 3 });
    assert(abandoned);
    lock.release();
    await parent.join();
  });
}

for (const way of ["acquireSync", "acquire"] as const) {
  for (const stop of ["terminate", "kill"] as const) {
    test(`Lock.${way}() in a process that meets ${stop}() loses no wake-up`, async () => {
      const lock = new Lock();
      const guard = await lock.acquire();
      const ready = new Value("i32", 0);
      const waiters = [1, 2].map(() =>
        start(
          async () => {
            ready.add(1);
            await lock[way]();
            // One that was faster than its end holds the lock when it dies.
            await new Promise(() => setInterval(() => {}, 1000));
          },
          { lock, ready, way },
        )
      );
      await until(() => ready.value === 2);
      const next = lock.acquire({ timeout: SOON });
      assert(await isPending(next));
      waiters[0]![stop]();
      guard.release();
      waiters[1]![stop]();
      const got = await next;
      got.release();
      await Promise.all(waiters.map((waiter) => waiter.join()));
      assertEquals(
        waiters.map((waiter) => waiter.exitCode),
        Array(2).fill(stop === "kill" ? -9 : -15),
      );
      lock.acquireSync({ timeout: TAKEOVER_MS }).release();
      assertFalse(lock.locked());
    });
  }
}

test("Lock is got in turn while processes die holding it, one after the other", async () => {
  const lock = new Lock();
  const count = new Value("i32", 0);
  const work = () => {
    for (let i = 0; i < 20; i++) {
      const guard = lock.acquireSync();
      count.add(1);
      guard.release();
    }
    lock.acquireSync();
    count.add(1);
  };
  const children = Array.from({ length: 5 }, () => start(work, { lock, count }));
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals(count.value, 5 * 21);
  assertFalse(lock.locked());
  assert(lock.acquireSync().abandoned);
});

test("Lock.acquire() that is given up does not keep its wake-up from the next", async () => {
  const lock = new Lock();
  const [turn, ready, done] = [new Event(), new Event(), new Event()];
  const rounds = 10;
  const other = start(() => {
    for (let i = 0; i < rounds; i++) {
      turn.waitSync();
      turn.clear();
      ready.set();
      lock.acquireSync().release();
      done.set();
    }
  }, { lock, turn, ready, done, rounds });
  let took = 0;
  for (let i = 0; i < rounds; i++) {
    const guard = lock.acquireSync();
    const controller = new AbortController();
    // Asleep first, so that the release wakes it.
    const first = lock.acquire(
      i % 2 === 0 ? { signal: controller.signal } : { timeout: 1 },
    );
    const rejected = assertRejects(() => first);
    turn.set();
    assert(await ready.wait({ timeout: SOON }));
    ready.clear();
    assert(await isPending(done.wait(), 5));
    controller.abort();
    await rejected;
    const began = performance.now();
    guard.release();
    assert(await done.wait({ timeout: SOON }));
    took += performance.now() - began;
    done.clear();
  }
  await other.join();
  assertEquals(other.exitCode, 0);
  // Were it lost, each round would take the 250 ms after which a sleeper looks for itself.
  assertLess(took, rounds * 125);
  assertUnharmed(lock);
});

test("Lock goes round among waiters that block and that do not, in each of three processes", async () => {
  const lock = new Lock();
  const count = new Value("i32", 0, { lock: false });
  const rounds = 40;
  const work = async (): Promise<void> => {
    const waits = [1, 2, 3].map(async () => {
      for (let i = 0; i < rounds; i++) {
        const guard = await lock.acquire();
        count.value += 1;
        guard.release();
      }
    });
    for (let i = 0; i < rounds; i++) {
      // From a task of its own: no wait of this process is just about to go on with the lock.
      await new Promise((resolve) => setTimeout(resolve));
      const guard = lock.acquireSync();
      count.value += 1;
      guard.release();
    }
    await Promise.all(waits);
  };
  const children = [1, 2].map(() => start(work, { lock, count, rounds }));
  await soon(work());
  for (const child of children) {
    assert(await child.join({ timeout: SOON }), "a waiter was forgotten");
    assertEquals(child.exitCode, 0);
  }
  assertEquals(count.value, 3 * 4 * rounds);
  assertUnharmed(lock);
});

test("Lock.acquire() and Event.wait() pending by hundreds for a second use little CPU", async () => {
  const path = join(ROOT, "tests/fixtures/process/pending_cpu.ts");
  const { output, code } = await capture([...current().command, path], SOON);
  assertEquals(code, 0, output);
  const [, cpu] = /^(\d+) ms of CPU$/.exec(output.trim()) ?? [];
  assert(cpu !== undefined, output);
  assertLess(Number(cpu), 250);
});

// -- Sharing

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name} crosses as itself: argument, deep in objects, in a scope, in a queue item`, async () => {
    const locks = Array.from({ length: 5 }, () => new Kind());
    const [direct, deep, scoped, queued, keyed] = locks as [Lock, Lock, Lock, Lock, Lock];
    const items = new Queue<{ lock: Lock }>();
    await items.put({ lock: queued });
    const acquired = new Queue<string[]>();
    const go = new Event();
    const nested = { list: [1, new Map([["key", { deep }]])], keys: new Map([[keyed, 1]]) };
    const child = new Process({
      target: closure((direct: Lock, { list, keys }: typeof nested) => {
        const { deep } = (list[1] as Map<string, { deep: Lock }>).get("key")!;
        const [keyed] = [...keys.keys()];
        const all = [direct, deep, scoped, items.getSync().lock, keyed!];
        for (const lock of all) lock.acquireSync();
        acquired.putSync(all.map((lock) => lock.constructor.name));
        go.waitSync();
        for (const lock of all) lock.release();
      }, { scoped, items, acquired, go }),
      args: [direct, nested],
    });
    child.start();
    assertEquals(await acquired.get({ timeout: SOON }), Array(5).fill(name));
    assertEquals(locks.map((lock) => lock.locked()), Array(5).fill(true));
    go.set();
    await child.join();
    assertEquals(child.exitCode, 0);
    assertEquals(locks.map((lock) => lock.locked()), Array(5).fill(false));
  });
}

test("Lock that stands twice in one message is one object there", async () => {
  const lock = new Lock();
  const same = new Queue<boolean[]>();
  const child = new Process({
    target: closure((one: Lock, { two }: { two: Lock }, set: Set<Lock>, other: Lock) => {
      same.putSync([one === two, set.has(one), one === other]);
    }, { same }),
    args: [lock, { two: lock }, new Set([lock]), new Lock()],
  });
  child.start();
  assertEquals(await same.get({ timeout: SOON }), [true, true, false]);
  await child.join();
});

test("Lock that a child has made works here, after the child's end too", async () => {
  const made = new Queue<RLock>();
  await run(
    () => {
      const lock = new RLock();
      made.putSync(lock);
      lock.acquireSync().release();
    },
    { RLock, made },
  );
  const lock = await made.get();
  assertInstanceOf(lock, RLock);
  const guard = lock.acquireSync();
  assertFalse(guard.abandoned);
  guard.release();
});

test("Lock through a queue is another handle on the same lock", async () => {
  const lock = new Lock();
  const queue = new Queue<Lock>();
  await queue.put(lock);
  const other = await queue.get();
  assertNotStrictEquals(other, lock);
  const guard = lock.acquireSync();
  assert(other.locked());
  const waiting = [lock, other, lock].map((lock) => lock.acquire());
  assert(await isPending(waiting[0]!));
  guard.release();
  for (const guard of waiting) (await soon(guard)).release();
  assertFalse(lock.locked());
});
