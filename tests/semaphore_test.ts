/** Semaphore and BoundedSemaphore: their contract in one process and between processes, and all deaths. */

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
import { TimeoutError } from "../errors.ts";
import { ownPid } from "../memory/control.ts";
import { OWN_WORDS } from "../memory/monitor.ts";
import { ABANDONED, ACQUIRED } from "../memory/mutex.ts";
import { MAX_VALUE, SemaphoreState } from "../memory/semaphore.ts";
import { Pool } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { BoundedSemaphore, Event, type LockGuard, Semaphore } from "../sync.ts";
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

const KINDS = [Semaphore, BoundedSemaphore];

/** A process that takes `n` permits, and gives them back when `go` is set. */
async function holder(semaphore: Semaphore, n = 1) {
  const [held, go] = [new Event(), new Event()];
  const child = start(
    () => {
      const guards = Array.from({ length: n }, () => semaphore.acquireSync());
      held.set();
      go.waitSync();
      for (const guard of guards) guard.release();
    },
    { semaphore, n, held, go },
  );
  assert(await held.wait({ timeout: SOON }), "the holder did not come to hold");
  return {
    child,
    /** Lets it give back and end. */
    async finish() {
      go.set();
      await child.join();
      assertEquals(child.exitCode, 0);
    },
  };
}

/** Takes all the permits that there are. Returns of each whether it was abandoned. */
function takeAll(semaphore: Semaphore): boolean[] {
  const taken: boolean[] = [];
  for (let guard; (guard = semaphore.tryAcquire()) !== null;) taken.push(guard.abandoned);
  return taken;
}

// -- One process

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name}.getValue() goes down by one with each permit taken, and up with each given back`, async () => {
    const semaphore = new Kind(2);
    assertEquals(semaphore.getValue(), 2);
    const one = await semaphore.acquire();
    assertEquals(semaphore.getValue(), 1);
    const two = semaphore.acquireSync();
    assertEquals(semaphore.getValue(), 0);
    assertEquals(semaphore.tryAcquire(), null);
    assertEquals(semaphore.getValue(), 0);
    assertEquals(one.release(), undefined);
    assertEquals(semaphore.getValue(), 1);
    assertEquals(semaphore.release(), undefined);
    assertEquals(semaphore.getValue(), 2);
    const three = semaphore.tryAcquire();
    assert(three !== null && two !== three);
    assertEquals([one, two, three].map((guard) => guard.abandoned), [false, false, false]);
    assertEquals(semaphore.getValue(), 1);
    semaphore.release();
    assertEquals(semaphore.getValue(), 2);
  });

  test(`${name} has one permit by default, and any number from 0 to 2^31 - 1`, () => {
    assertEquals(new Kind().getValue(), 1);
    assertEquals(new Kind(undefined).getValue(), 1);
    for (const value of [0, 1, 7, MAX_VALUE]) assertEquals(new Kind(value).getValue(), value);
    assertEquals(new Kind(-0).tryAcquire(), null);
    const most = new Kind(MAX_VALUE);
    const guard = most.acquireSync();
    assertEquals(most.getValue(), MAX_VALUE - 1);
    guard.release();
    assertEquals(most.getValue(), MAX_VALUE);
  });

  test(`${name} of a value that is no integer >= 0 and < 2^31 throws RangeError`, () => {
    const wrong: [unknown, string][] = [
      [-1, "-1"],
      [1.5, "1.5"],
      [NaN, "NaN"],
      [Infinity, "Infinity"],
      [2 ** 31, "2147483648"],
      ["2", '"2"'],
      [null, "null"],
      [true, "true"],
    ];
    for (const [value, shown] of wrong) {
      const error = assertThrows(() => new Kind(value as number), RangeError);
      assertEquals(
        error.message,
        `Cannot create ${name}: 'value' must be an integer >= 0 and < 2^31, but is ${shown}`,
      );
    }
  });

  test(`${name}.release() of a number that is no integer >= 1 throws RangeError and changes nothing`, () => {
    const semaphore = new Kind(3);
    semaphore.acquireSync();
    const wrong: [unknown, string][] = [
      [0, "0"],
      [-1, "-1"],
      [0.5, "0.5"],
      [NaN, "NaN"],
      [Infinity, "Infinity"],
      ["1", '"1"'],
      [null, "null"],
    ];
    for (const [n, shown] of wrong) {
      const error = assertThrows(() => semaphore.release(n as number), RangeError);
      assertEquals(
        error.message,
        `Cannot release ${name}: 'n' must be an integer >= 1, but is ${shown}`,
      );
      assertEquals(semaphore.getValue(), 2);
    }
  });

  test(`${name}.release() gives back several permits at once`, () => {
    const semaphore = new Kind(5);
    for (let i = 0; i < 5; i++) semaphore.acquireSync();
    semaphore.release(3);
    assertEquals(semaphore.getValue(), 3);
    semaphore.release(2);
    assertEquals(semaphore.getValue(), 5);
  });

  test(`${name}'s guard is harmless when disposed of or released twice`, async () => {
    const semaphore = new Kind(2);
    const first = await semaphore.acquire();
    first[Symbol.dispose]();
    assertEquals(semaphore.getValue(), 2);
    first[Symbol.dispose]();
    first.release();
    const second = semaphore.acquireSync();
    first.release();
    first[Symbol.dispose]();
    assertEquals(semaphore.getValue(), 1);
    second.release();
    second[Symbol.dispose]();
    assertEquals(semaphore.getValue(), 2);
  });

  test(`${name}.acquire() with a permit to be had takes any timeout but NaN`, async () => {
    const semaphore = new Kind();
    for (const timeout of [undefined, 0, -1, -Infinity, 0.5, 1e9, 2 ** 40, Infinity]) {
      const options = timeout === undefined ? {} : { timeout };
      (await semaphore.acquire(options)).release();
      semaphore.acquireSync(options).release();
    }
    const options = { timeout: NaN };
    const error = await assertRejects(() => semaphore.acquire(options), RangeError);
    assertMatch(error.message, /'timeout'.*NaN/);
    assertThrows(() => semaphore.acquireSync(options), RangeError, "NaN");
    assertEquals(semaphore.getValue(), 1);
  });

  test(`${name}.acquire() without a permit to be had looks once if the timeout is 0 or less`, async () => {
    const semaphore = new Kind(0);
    for (const timeout of [0, -1, -Infinity]) {
      await assertRejects(() => semaphore.acquire({ timeout }), TimeoutError);
      assertThrows(() => semaphore.acquireSync({ timeout }), TimeoutError);
    }
    assertThrows(() => semaphore.acquireSync({ timeout: NaN }), RangeError, "NaN");
    await assertRejects(() => semaphore.acquire({ timeout: NaN }), RangeError, "NaN");
    assertEquals(semaphore.tryAcquire(), null);
    assertEquals(semaphore.getValue(), 0);
  });

  test(`${name}.acquire() refuses a timeout that is no number`, async () => {
    const semaphore = new Kind();
    const options = { timeout: "10" as unknown as number };
    await assertRejects(() => semaphore.acquire(options), TypeError, "'timeout'");
    assertThrows(() => semaphore.acquireSync(options), TypeError, "'timeout'");
    assertEquals(semaphore.getValue(), 1);
  });

  test(`${name}.acquire() that times out names its class and the time, and leaves no trace`, async () => {
    const semaphore = new Kind();
    const guard = semaphore.acquireSync();
    for (const way of ["acquire", "acquireSync"] as const) {
      const began = performance.now();
      const error = await assertRejects(async () => await semaphore[way]({ timeout: 40 }));
      assertInstanceOf(error, TimeoutError);
      assertGreaterOrEqual(performance.now() - began, 38);
      assertEquals(error.message, `Cannot acquire ${name}: it was not free within 40 ms`);
    }
    guard.release();
    assertEquals(semaphore.getValue(), 1);
    assert(semaphore.tryAcquire() !== null, "a waiter that gave up has a permit");
    assertEquals(semaphore.getValue(), 0);
  });

  test(`${name}.acquire() with a signal aborted before rejects with its reason`, async () => {
    const semaphore = new Kind();
    const reason = new Error("never mind");
    const options = { signal: AbortSignal.abort(reason) };
    assertStrictEquals(await assertRejects(() => semaphore.acquire(options)), reason);
    const plain = await assertRejects(() => semaphore.acquire({ signal: AbortSignal.abort() }));
    assertEquals((plain as DOMException).name, "AbortError");
    assertEquals(semaphore.getValue(), 1);
  });

  test(`${name}.acquire() whose signal aborts while it waits rejects, and changes nothing`, async () => {
    const semaphore = new Kind();
    const guard = await semaphore.acquire();
    const controller = new AbortController();
    const reason = { any: "value" };
    const waiting = semaphore.acquire({ signal: controller.signal });
    assert(await isPending(waiting));
    controller.abort(reason);
    assertStrictEquals(await waiting.then(() => undefined, (error) => error), reason);
    assertEquals(semaphore.getValue(), 0);
    guard.release();
    assertEquals(semaphore.getValue(), 1);
    assert(await semaphore.acquire({ timeout: 0 }));
  });

  test(`${name}.acquire() ignores a signal that aborts after it got its permit`, async () => {
    const semaphore = new Kind();
    const controller = new AbortController();
    const guard = await semaphore.acquire({ signal: controller.signal });
    controller.abort();
    assertEquals(semaphore.getValue(), 0);
    guard.release();
    assertEquals(semaphore.getValue(), 1);
  });

  test(`${name}.acquire() serves in arrival order, through two handles and when others leave the line`, async () => {
    const semaphore = new Kind(2);
    const handles = new Queue<Semaphore>();
    await handles.put(semaphore);
    const other = await handles.get();
    assertNotStrictEquals(other, semaphore);
    semaphore.acquireSync();
    const guard = other.acquireSync();
    const controller = new AbortController();
    const order: number[] = [];
    const waiting = Array.from({ length: 40 }, async (_, i) => {
      const handle = i % 3 === 0 ? other : semaphore;
      const leaves = i % 4 === 1 ? { signal: controller.signal } : { timeout: 15 };
      try {
        const guard = await handle.acquire(i % 4 === 1 || i % 4 === 2 ? leaves : {});
        order.push(i);
        // Some keep it over a turn of the event loop.
        if (i % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        guard.release();
      } catch (error) {
        assert(i % 4 === 1 || i % 4 === 2, String(error));
      }
    });
    controller.abort();
    await soon(Promise.all(waiting.filter((_, i) => i % 4 === 1 || i % 4 === 2)));
    assertEquals(order, []);
    guard.release();
    await soon(Promise.all(waiting));
    assertEquals(order, Array.from({ length: 40 }, (_, i) => i).filter((i) => i % 4 % 3 === 0));
    assertEquals(semaphore.getValue(), 1);
  });
}

test("Semaphore.release() may raise the value beyond the initial one, up to 2^31 - 1", () => {
  const semaphore = new Semaphore(2);
  semaphore.release();
  assertEquals(semaphore.getValue(), 3);
  semaphore.release();
  assertEquals(semaphore.getValue(), 4);
  const guards = [1, 2, 3, 4].map(() => semaphore.acquireSync());
  assertEquals(semaphore.tryAcquire(), null);
  for (const guard of guards) guard.release();
  assertEquals(semaphore.getValue(), 4);
  semaphore.release(MAX_VALUE - 4);
  assertEquals(semaphore.getValue(), MAX_VALUE);
  for (const n of [1, 2, MAX_VALUE, 2 ** 40]) {
    const error = assertThrows(() => semaphore.release(n), RangeError);
    assertEquals(
      error.message,
      `Cannot release Semaphore: ${n} more would exceed the largest value, 2^31 - 1`,
    );
    assertEquals(semaphore.getValue(), MAX_VALUE);
  }
});

test("BoundedSemaphore.release() above the initial value throws RangeError and changes nothing", async () => {
  const semaphore = new BoundedSemaphore(2);
  const text = (n: number) =>
    `Cannot release BoundedSemaphore: ${n} more would exceed its initial value of 2`;
  assertEquals(assertThrows(() => semaphore.release(), RangeError).message, text(1));
  const one = semaphore.acquireSync();
  assertEquals(assertThrows(() => semaphore.release(2), RangeError).message, text(2));
  assertEquals(semaphore.getValue(), 1);
  const two = await semaphore.acquire();
  assertThrows(() => semaphore.release(3), RangeError);
  assertEquals(semaphore.getValue(), 0);
  semaphore.release(2);
  assertEquals(semaphore.getValue(), 2);
  // Given back already, behind the backs of their guards.
  assertThrows(() => one.release(), RangeError);
  assertEquals(one.release(), undefined);
  assertThrows(() => two[Symbol.dispose](), RangeError);
  assertEquals(semaphore.getValue(), 2);
  assertThrows(() => new BoundedSemaphore(0).release(), RangeError, "its initial value of 0");
});

test("Semaphore of a class of its own is named by that in errors", async () => {
  class Tickets extends BoundedSemaphore {}
  assertThrows(() => new Tickets(-1), RangeError, "Cannot create Tickets:");
  const tickets = new Tickets();
  assertThrows(() => tickets.release(), RangeError, "Cannot release Tickets:");
  assertThrows(() => tickets.release(0), RangeError, "Cannot release Tickets:");
  tickets.acquireSync();
  assertThrows(() => tickets.acquireSync({ timeout: 0 }), TimeoutError, "Cannot acquire Tickets:");
  await assertRejects(
    () => tickets.acquire({ timeout: 0 }),
    TimeoutError,
    "Cannot acquire Tickets:",
  );
});

test("Semaphore.release() of n serves n waiters, and no more", async () => {
  const semaphore = new Semaphore(0);
  const served: number[] = [];
  const waiting = Array.from({ length: 6 }, (_, i) => {
    return semaphore.acquire().then(() => served.push(i));
  });
  assert(await isPending(waiting[0]!));
  semaphore.release(4);
  await soon(Promise.all(waiting.slice(0, 4)));
  assert(await isPending(waiting[4]!));
  assertEquals(served, [0, 1, 2, 3]);
  semaphore.release(3);
  await soon(Promise.all(waiting));
  assertEquals(semaphore.getValue(), 1);
});

test("Semaphore.acquire() is not overtaken by an acquire() that comes right after the release", async () => {
  const semaphore = new Semaphore();
  const order: string[] = [];
  const guard = await semaphore.acquire();
  const early = semaphore.acquire().then((guard) => (order.push("early"), guard.release()));
  assert(await isPending(early));
  guard.release();
  const late = semaphore.acquire().then((guard) => (order.push("late"), guard.release()));
  await soon(Promise.all([early, late]));
  assertEquals(order, ["early", "late"]);
});

test("Semaphore.acquire() loses no release that comes together with an abort", async () => {
  const semaphore = new Semaphore();
  for (let i = 0; i < 20; i++) {
    const guard = await semaphore.acquire();
    const controller = new AbortController();
    const first = semaphore.acquire({ signal: controller.signal });
    const second = semaphore.acquire();
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
    assertEquals(semaphore.getValue(), 1);
  }
});

test("Semaphore.acquire() gets a permit given back before its timeout, however busy the thread", async () => {
  const semaphore = new Semaphore();
  const guard = await semaphore.acquire();
  const waiting = semaphore.acquire({ timeout: 30 });
  assert(await isPending(waiting, 1));
  guard.release();
  const end = performance.now() + 60;
  while (performance.now() < end);
  (await waiting).release();
  assertEquals(semaphore.getValue(), 1);
});

test("Semaphore.acquire() serves a thousand waiters, three at a time", async () => {
  const semaphore = new Semaphore(3);
  let [inside, most] = [0, 0];
  await soon(Promise.all(Array.from({ length: 1000 }, async () => {
    const guard = await semaphore.acquire();
    most = Math.max(most, ++inside);
    await null;
    inside--;
    guard.release();
  })));
  assertEquals([most, semaphore.getValue()], [3, 3]);
});

test("Semaphore.acquire() that waits costs next to nothing, a hundred times and in a second process", async () => {
  const semaphore = new Semaphore(0);
  const controller = new AbortController();
  const waits = Array.from({ length: 100 }, () => {
    return semaphore.acquire({ signal: controller.signal });
  });
  const blocked = new Event();
  const child = start(() => {
    blocked.set();
    semaphore.acquireSync();
  }, { semaphore, blocked });
  assert(await blocked.wait({ timeout: SOON }));
  // What the start has left to be done.
  assert(await isPending(Promise.all(waits), 200));
  const before = process.cpuUsage();
  assert(await isPending(Promise.all(waits), 1000));
  const { user, system } = process.cpuUsage(before);
  assertLess((user + system) / 1000, 500);
  controller.abort();
  assertEquals(
    (await Promise.allSettled(waits)).filter(({ status }) => status === "fulfilled"),
    [],
  );
  semaphore.release();
  assert(await child.join({ timeout: SOON }));
  assertEquals(semaphore.getValue(), 0);
});

// -- Between processes

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name} that children have taken up has no permit here, until they give back`, async () => {
    const semaphore = new Kind(3);
    const one = await holder(semaphore);
    assertEquals(semaphore.getValue(), 2);
    const two = await holder(semaphore, 2);
    assertEquals(semaphore.getValue(), 0);
    assertEquals(semaphore.tryAcquire(), null);
    assertThrows(() => semaphore.acquireSync({ timeout: 30 }), TimeoutError);
    await assertRejects(() => semaphore.acquire({ timeout: 30 }), TimeoutError);
    const waiting = semaphore.acquire();
    assert(await isPending(waiting));
    await one.finish();
    const guard = await soon(waiting);
    assertFalse(guard.abandoned);
    assertEquals(semaphore.getValue(), 0);
    await two.finish();
    assertEquals(semaphore.getValue(), 2);
    guard.release();
    assertEquals(semaphore.getValue(), 3);
  });

  test(`${name} never has more than 3 holders: 4 processes, blocking and not`, async () => {
    const semaphore = new Kind(3);
    const [inside, most, count, abandoned] = Array.from({ length: 4 }, () => {
      return new Value("i32", 0, { lock: false });
    }) as [Value<"i32">, Value<"i32">, Value<"i32">, Value<"i32">];
    const rounds = 120;
    const one = async (i: number): Promise<void> => {
      const guard = i % 3 === 0 ? semaphore.acquireSync() : await semaphore.acquire();
      const now = inside.add(1) + 1;
      for (let seen = most.value; now > seen; seen = most.value) most.compareExchange(seen, now);
      if (guard.abandoned) abandoned.add(1);
      count.add(1);
      if (i % 5 === 0) await null;
      inside.sub(1);
      guard.release();
    };
    const work = async (): Promise<void> => {
      // In pairs, so that there are waits in line too; one that blocks comes alone.
      for (let i = 0; i < rounds; i += 3) {
        await one(i);
        await Promise.all([one(i + 1), one(i + 2)]);
      }
    };
    const scope = { semaphore, inside, most, count, abandoned, rounds };
    const children = [1, 2, 3].map(() => start(work, { ...scope, one: closure(one, scope) }));
    await work();
    for (const child of children) assert(await child.join({ timeout: SOON }));
    assertLessOrEqual(most.value, 3);
    assertEquals([count.value, inside.value, abandoned.value], [4 * rounds, 0, 0]);
    assertEquals(semaphore.getValue(), 3);
  });
}

test("Semaphore serves all who wait, blocking and not, in three processes, once each", async () => {
  const semaphore = new Semaphore(0);
  const order = new Queue<string>();
  const ready = new Value("i32", 0);
  const work = async () => {
    const waiting = [1, 2, 3].map(async (i) => {
      await semaphore.acquire();
      order.putSync(`async ${i}`);
    });
    ready.add(1);
    semaphore.acquireSync();
    order.putSync("sync");
    await Promise.all(waiting);
  };
  const children = [1, 2].map(() => start(work, { semaphore, order, ready }));
  const here = [1, 2, 3].map(async (i) => {
    await semaphore.acquire();
    order.putSync(`main ${i}`);
  });
  await until(() => ready.value === 2);
  for (const n of [1, 5, 2, 3]) {
    semaphore.release(n);
    await null;
  }
  await soon(Promise.all(here));
  for (const child of children) {
    assert(await child.join({ timeout: SOON }), "a waiter was forgotten");
  }
  const served: string[] = [];
  while (!order.empty()) served.push(order.getSync());
  assertEquals(served.filter((name) => name.startsWith("main")), ["main 1", "main 2", "main 3"]);
  const twice = ["async 1", "async 2", "async 3", "sync"].flatMap((name) => [name, name]);
  assertEquals(served.sort(), [...twice, "main 1", "main 2", "main 3"].sort());
  assertEquals(semaphore.getValue(), 0);
});

test("Semaphore of 0 counts signals: each is heard once, by whichever process", async () => {
  const signals = new Semaphore(0);
  const heard = new Value("i32", 0);
  const listen = () => {
    for (let i = 0; i < 100; i++) {
      signals.acquireSync();
      heard.add(1);
    }
  };
  const children = [1, 2].map(() => start(listen, { signals, heard }));
  const here = Array.from({ length: 100 }, () => signals.acquire().then(() => heard.add(1)));
  const sender = start(() => {
    for (let i = 0; i < 50; i++) signals.release(1 + i % 3);
    signals.release(300 - 99);
  }, { signals });
  await soon(Promise.all(here));
  for (const child of [...children, sender]) assert(await child.join({ timeout: SOON }));
  assertEquals([heard.value, signals.getValue()], [300, 0]);
});

test("Semaphore.release() by a process that holds none gives back for one that does", async () => {
  const semaphore = new Semaphore(2);
  const { child } = await holder(semaphore, 2);
  semaphore.release();
  assertEquals(semaphore.getValue(), 1);
  child.kill();
  await child.join();
  // Not 3: one of its two permits had been given back already.
  assertEquals(semaphore.getValue(), 2);
  for (let i = 0; i < 2; i++) semaphore.acquireSync({ timeout: SOON });
  assertEquals([semaphore.tryAcquire(), semaphore.getValue()], [null, 0]);
  semaphore.release(2);
  assertEquals(semaphore.getValue(), 2);
});

test("BoundedSemaphore.release() by any process is accepted as long as somebody holds a permit", async () => {
  const semaphore = new BoundedSemaphore(2);
  const guard = semaphore.acquireSync();
  const release = () => {
    try {
      semaphore.release();
      return "released";
    } catch (error) {
      return String(error);
    }
  };
  assertEquals(await run(release, { semaphore }), "released");
  assertEquals(
    await run(release, { semaphore }),
    "RangeError: Cannot release BoundedSemaphore: 1 more would exceed its initial value of 2",
  );
  assertEquals(semaphore.getValue(), 2);
  assertThrows(() => guard.release(), RangeError);
});

test("Semaphore.release() raises getValue() by n, whoever has died before", async () => {
  const semaphore = new Semaphore(3);
  await run(() => void semaphore.acquireSync(), { semaphore });
  const { finish } = await holder(semaphore);
  assertEquals(semaphore.getValue(), 2);
  // One permit is held, by the living holder: this gives it back.
  semaphore.release();
  assertEquals(semaphore.getValue(), 3);
  await finish();
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
  "exits": {
    act: () => (globalThis as unknown as { process: { exit(code: number): void } }).process.exit(3),
  },
  "is terminated": { stop: (child) => child.terminate() },
  "is killed": { stop: (child) => child.kill() },
  "is terminated in a blocking wait": {
    act: () => never.acquireSync(),
    stop: (child) => child.terminate(),
  },
};

declare const never: Semaphore;

for (const [way, { act = () => new Promise(() => {}), stop }] of Object.entries(DEATHS)) {
  test(`Semaphore whose holder ${way} has all its permits again, and tells it to who takes them`, async () => {
    const semaphore = new Semaphore(3);
    const nothing = new Semaphore(0);
    const [held, waits, go] = [new Event(), new Event(), new Event()];
    const mine = semaphore.acquireSync();
    const owner = start(
      async () => {
        semaphore.acquireSync();
        semaphore.acquireSync();
        held.set();
        await go.wait();
        await die();
      },
      { semaphore, held, go, die: closure(act, { never: nothing }) },
    );
    assert(await held.wait({ timeout: SOON }));
    const waiter = ask(
      () => {
        waits.set();
        const guard = semaphore.acquireSync();
        const { abandoned } = guard;
        guard.release();
        return abandoned;
      },
      { semaphore, waits },
    );
    assert(await waits.wait({ timeout: SOON }));
    const here = semaphore.acquire();
    assert(await isPending(here));
    go.set();
    // In a blocking wait: nothing that the test could see tells that it has come there.
    if (way.endsWith("wait")) await isPending(here, 50);
    stop?.(owner);
    await until(() => !owner.isAlive(), "the owner's end");
    const began = performance.now();
    const [guard, abandoned] = await soon(Promise.all([here, waiter.result]));
    assertLess(performance.now() - began, TAKEOVER_MS);
    guard.release();
    assertEquals(semaphore.getValue(), 2);
    mine.release();
    assertEquals(semaphore.getValue(), 3);
    // One may have got what the other had given back already; then one is still to be told.
    const told = [guard.abandoned, abandoned, ...takeAll(semaphore)];
    assertEquals([told.length, told.filter((told) => told).length], [5, 2]);
    await owner.join();
  });
}

declare const die: () => unknown;

test("Semaphore does not count permits of the dead as held, and each way of acquiring takes them over", async () => {
  for (const Kind of KINDS) {
    const semaphore = new Kind(3);
    await run(() => {
      for (let i = 0; i < 3; i++) semaphore.acquireSync();
    }, { semaphore });
    assertEquals(semaphore.getValue(), 3);
    const guards: (LockGuard | null)[] = [
      await semaphore.acquire(),
      semaphore.acquireSync({ timeout: 0 }),
      semaphore.tryAcquire(),
    ];
    assertEquals(guards.map((guard) => guard?.abandoned), [true, true, true]);
    assertEquals([semaphore.tryAcquire(), semaphore.getValue()], [null, 0]);
    for (const guard of guards) guard!.release();
    assertEquals(takeAll(semaphore), [false, false, false]);
  }
});

test("Semaphore gets back from the dead what it was made with, and no more", async () => {
  const semaphore = new Semaphore(1);
  semaphore.release(2);
  await run(() => {
    for (let i = 0; i < 3; i++) semaphore.acquireSync();
  }, { semaphore });
  assertEquals(semaphore.getValue(), 1);
  assertEquals(takeAll(semaphore), [true]);
  const signals = new Semaphore(0);
  signals.release(3);
  await run(() => {
    signals.acquireSync();
    signals.acquireSync();
  }, { signals });
  assertEquals([signals.getValue(), takeAll(signals).length], [1, 1]);
});

test("Semaphore.acquireSync() takes over from a busy loop that was terminated", async () => {
  const semaphore = new Semaphore(1);
  const held = new Event();
  const owner = start(
    () => {
      semaphore.acquireSync();
      held.set();
      // Not for ever: Deno cannot stop it.
      const end = Date.now() + 2_000;
      while (Date.now() < end);
      // Fenced, where it has not been stopped.
      semaphore.release(5);
    },
    { semaphore, held },
  );
  assert(await held.wait({ timeout: SOON }));
  owner.terminate();
  assertEquals(semaphore.getValue(), 1);
  const began = performance.now();
  const guard = semaphore.acquireSync({ timeout: SOON });
  assertLess(performance.now() - began, TAKEOVER_MS);
  assert(guard.abandoned);
  guard.release();
  await owner.join();
  assertEquals(owner.exitCode, -15);
  assertEquals(semaphore.getValue(), 1);
});

test("Semaphore never shrinks while processes die holding, one after the other", async () => {
  // Three, so that two that hold one each and want a second do not wait for one another.
  const semaphore = new Semaphore(3);
  const count = new Value("i32", 0);
  const work = () => {
    for (let i = 0; i < 10; i++) {
      const guard = semaphore.acquireSync();
      count.add(1);
      guard.release();
    }
    semaphore.acquireSync();
    semaphore.acquireSync({ timeout: 15_000 });
    count.add(1);
  };
  const children = Array.from({ length: 4 }, (_, i) => {
    return start(i % 2 === 0 ? work : () => void semaphore.acquireSync(), { semaphore, count });
  });
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals([count.value, semaphore.getValue()], [2 * 11, 3]);
  assertEquals(takeAll(semaphore).length, 3);
});

for (const way of ["acquireSync", "acquire"] as const) {
  for (const stop of ["terminate", "kill"] as const) {
    test(`Semaphore.${way}() in a process that meets ${stop}() loses no wake-up`, async () => {
      const semaphore = new Semaphore(1);
      const guard = await semaphore.acquire();
      const ready = new Value("i32", 0);
      const waiters = [1, 2].map(() =>
        start(
          async () => {
            ready.add(1);
            await semaphore[way]();
            // One that was faster than its end has the permit when it dies.
            await new Promise(() => setInterval(() => {}, 1000));
          },
          { semaphore, ready, way },
        )
      );
      await until(() => ready.value === 2);
      const next = semaphore.acquire({ timeout: SOON });
      assert(await isPending(next));
      waiters[0]![stop]();
      guard.release();
      waiters[1]![stop]();
      (await next).release();
      await Promise.all(waiters.map((waiter) => waiter.join()));
      semaphore.acquireSync({ timeout: TAKEOVER_MS }).release();
      assertEquals(semaphore.getValue(), 1);
    });
  }
}

// -- Death at every step

const DIED = 33;

/**
 * A process that exits, or stops for ever, just before the `step`-th of its changes of shared memory
 * in `act`. To die before it reads is to die after the change before.
 */
function victim({ prepare, act }: Scene, subject: Semaphore, step: number, parks: boolean) {
  const scope = {
    beforehand: prepare === undefined ? () => {} : closure(prepare, { subject }),
    doomed: closure(act, { subject }),
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
    beforehand();
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
    doomed();
    names.forEach((name, i) => table[name] = originals[i]!);
  }, { ...scope, buffer, step, parks, DIED });
  return { child, words: new Int32Array(buffer) };
}

declare const subject: Semaphore;
declare const beforehand: () => void;
declare const doomed: () => void;

interface Scene {
  /** The semaphore as the victim finds it. */
  make: () => Semaphore | Promise<Semaphore>;
  /** What the victim has done before. */
  prepare?: () => void;
  act: () => void;
  /** How many permits there may be when the victim is dead. */
  values: number[];
  /** Changes that the act makes at least. */
  steps: number;
}

/** A semaphore of 2 whose permits are held by a dead process. */
async function abandoned(): Promise<Semaphore> {
  const semaphore = new Semaphore(2);
  await run(() => {
    semaphore.acquireSync();
    semaphore.acquireSync();
  }, { semaphore });
  return semaphore;
}

const SCENES: Record<string, Scene> = {
  "acquireSync()": {
    make: () => new Semaphore(2),
    act: () => void subject.acquireSync(),
    values: [2],
    steps: 5,
  },
  "acquireSync() of the permit of a dead one": {
    make: abandoned,
    act: () => void subject.acquireSync(),
    values: [2],
    steps: 5,
  },
  "acquireSync() of a signal": {
    make: () => {
      const semaphore = new Semaphore(0);
      semaphore.release(3);
      return semaphore;
    },
    act: () => void subject.acquireSync(),
    values: [2, 3],
    steps: 3,
  },
  "release()": {
    make: () => new Semaphore(2),
    prepare: () => void subject.acquireSync(),
    act: () => subject.release(),
    values: [2],
    steps: 4,
  },
  "release(3) of its own, another's and a new one": {
    make: () => {
      const semaphore = new Semaphore(2);
      semaphore.acquireSync();
      return semaphore;
    },
    prepare: () => void subject.acquireSync(),
    act: () => subject.release(3),
    values: [1, 2, 3],
    steps: 6,
  },
  "acquireSync() that gives up": {
    make: () => {
      const semaphore = new Semaphore(1);
      semaphore.acquireSync();
      return semaphore;
    },
    act: () => {
      try {
        subject.acquireSync({ timeout: 10 });
      } catch {
        // As was to be expected.
      }
    },
    values: [0],
    // Who gets the processor late does not sleep at all.
    steps: 4,
  },
};

/** Another process must find a semaphore that works, and as many permits as the victim may have left. */
function checkLegal(semaphore: Semaphore, values: number[], message: string): void {
  const value = semaphore.getValue();
  assert(values.includes(value), `${message} left ${value} permits`);
  const guards = Array.from({ length: value }, () => semaphore.acquireSync({ timeout: SOON }));
  assertEquals([semaphore.tryAcquire(), semaphore.getValue()], [null, 0], message);
  for (const guard of guards) guard.release();
  assertEquals(semaphore.getValue(), value, message);
}

for (const [what, scene] of Object.entries(SCENES)) {
  const { make, values, steps } = scene;

  test(`Semaphore.${what} of a process that exits before any of its steps harms no other`, async () => {
    let survived = false;
    // All that are known to be, and then one after the other.
    for (let first = 0, count = steps + 1; !survived; first += count, count = 1) {
      const semaphores = await Promise.all(Array.from({ length: count }, () => make()));
      const victims = semaphores.map((semaphore, i) => {
        return victim(scene, semaphore, first + i, false).child;
      });
      for (const [i, child] of victims.entries()) {
        const message = `step ${first + i}`;
        assert(await child.join({ timeout: SOON }), message);
        if (child.exitCode === 0) survived = true;
        else assertEquals(child.exitCode, DIED, message);
        checkLegal(semaphores[i]!, values, message);
        if (child.exitCode === 0) assertGreaterOrEqual(first + i, steps);
      }
      assertLess(first, 50);
    }
  });

  test(`Semaphore.${what} of a process that is stopped amid it harms no other`, async () => {
    const semaphores = await Promise.all([1, 2].map(() => make()));
    const victims = semaphores.map((semaphore, i) => victim(scene, semaphore, i + 1, true));
    for (const { words } of victims) await until(() => Atomics.load(words, 0) === 1, "parked");
    victims.forEach(({ child }, i) => i % 2 ? child.terminate() : child.kill());
    for (const [i, semaphore] of semaphores.entries()) {
      // Acquiring waits until the thread is sure to have stopped.
      checkLegal(semaphore, values, `step ${i + 1}`);
      await victims[i]!.child.join();
    }
  });
}

// -- Death at every step, reads too, as one process sees it

// Words of a semaphore, see memory/monitor.ts, memory/semaphore.ts and memory/roster.ts.
const LOCK = 0;
const INITIAL = OWN_WORDS;
const SURPLUS = OWN_WORDS + 1;
const USED = OWN_WORDS + 2;
const FIRST = OWN_WORDS + 3;
const ENTRY = 2;
const CAPACITY = 1000;

/** A pid that no process ever had: it counts as dead. */
const DEAD_PID = 15_000;

class Death extends Error {}

/** Lets a process die just before its `at`-th step of `act`. Returns false if it took fewer steps. */
function dies({ cells }: SemaphoreState, at: number, act: () => unknown): boolean {
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
  if (cells[LOCK]! >> 1 === ownPid) cells[LOCK] = (DEAD_PID << 1) | (cells[LOCK]! & 1);
  for (let i = 0; i < CAPACITY; i++) {
    if (cells[FIRST + i * ENTRY] === ownPid) cells[FIRST + i * ENTRY] = DEAD_PID;
  }
  return died;
}

test("Semaphore is whole after a death between any two steps, reads too", () => {
  /** Permits to begin with, signals, taken by one who died before, taken by the one who dies. */
  const cases = [[2, 0, 0, 0], [2, 0, 1, 1], [2, 0, 2, 0], [1, 2, 0, 0], [0, 2, 0, 0], [
    3,
    0,
    1,
    2,
  ]];
  for (const [initial, signals, before, own] of cases as [number, number, number, number][]) {
    for (const act of ["tryAcquire", "release", "value"] as const) {
      let at = 0;
      for (let more = true; more; at++) {
        const state = SemaphoreState.create(initial);
        dies(state, Infinity, () => {
          for (let i = 0; i < before; i++) state.tryAcquire();
        });
        for (let i = 0; i < own; i++) state.tryAcquire();
        if (signals > 0) state.release(signals, MAX_VALUE);
        more = dies(state, at, () => {
          if (act === "tryAcquire") state.tryAcquire();
          if (act === "release") state.release(2, MAX_VALUE);
          if (act === "value") state.value;
        });
        const message = `${[initial, signals, before, own]}, ${act}, step ${at}`;
        const { value } = state;
        // Only signals may be lost, or come to be.
        const least = initial + Math.max(0, signals - (act === "tryAcquire" ? 1 : 0));
        const most = initial + signals + (act === "release" ? 2 : 0);
        assert(least <= value && value <= most, `${message}: ${value}`);
        let abandoned = 0;
        for (let i = 0; i < value; i++) {
          const acquired = state.tryAcquire();
          if (acquired === ABANDONED) abandoned++;
          else assertEquals(acquired, ACQUIRED, message);
        }
        assertEquals([state.tryAcquire(), state.value], [undefined, 0], message);
        assertLessOrEqual(abandoned, before + own + 1, message);
        assert(state.release(value, MAX_VALUE));
        assertEquals(state.value, value, message);
      }
      assertGreaterOrEqual(at, 5, act);
    }
  }
});

test("Semaphore can be used by any number of processes that die holding a permit, one after another", () => {
  const state = SemaphoreState.create(3 * CAPACITY);
  const { cells } = state;
  for (let i = 0; i < 2 * CAPACITY; i++) {
    state.tryAcquire();
    // This process dies, and another comes.
    let entry = FIRST;
    while (cells[entry] !== ownPid) entry += ENTRY;
    cells[entry] = DEAD_PID;
  }
  assertEquals([cells[INITIAL], cells[SURPLUS]], [3 * CAPACITY, 0]);
  assertLessOrEqual(cells[USED]!, CAPACITY);
  assertEquals(state.value, 3 * CAPACITY);
});

// -- Sharing

for (const Kind of KINDS) {
  const { name } = Kind;

  test(`${name} crosses as itself: argument, deep in objects, in a scope, in a queue item`, async () => {
    const all = Array.from({ length: 4 }, (_, i) => new Kind(i + 1));
    const [direct, deep, scoped, queued] = all as [Semaphore, Semaphore, Semaphore, Semaphore];
    const items = new Queue<{ semaphore: Semaphore }>();
    await items.put({ semaphore: queued });
    const acquired = new Queue<[string, number][]>();
    const go = new Event();
    const nested = { list: [1, new Map([["key", { deep }]])] };
    const child = new Process({
      target: closure((direct: Semaphore, { list }: typeof nested) => {
        const { deep } = (list[1] as Map<string, { deep: Semaphore }>).get("key")!;
        const all = [direct, deep, scoped, items.getSync().semaphore];
        const guards = all.map((semaphore) => semaphore.acquireSync());
        acquired.putSync(all.map((one) => [one.constructor.name, one.getValue()]));
        go.waitSync();
        for (const guard of guards) guard.release();
      }, { scoped, items, acquired, go }),
      args: [direct, nested],
    });
    child.start();
    assertEquals(
      await acquired.get({ timeout: SOON }),
      [[name, 0], [name, 1], [name, 2], [name, 3]],
    );
    assertEquals(all.map((semaphore) => semaphore.getValue()), [0, 1, 2, 3]);
    go.set();
    await child.join();
    assertEquals(child.exitCode, 0);
    assertEquals(all.map((semaphore) => semaphore.getValue()), [1, 2, 3, 4]);
  });
}

test("Semaphore that stands in a pool's task lets so many run at once", async () => {
  const semaphore = new Semaphore(1);
  const inside = new Value("i32", 0, { lock: false });
  const pool = new Pool({ processes: 2 });
  const work = async (semaphore: Semaphore): Promise<number> => {
    const guard = await semaphore.acquire();
    const others = inside.add(1);
    inside.sub(1);
    guard.release();
    return others;
  };
  const others = await pool.map(closure(work, { inside }), Array(20).fill(semaphore));
  await pool[Symbol.asyncDispose]();
  assertEquals([others, semaphore.getValue()], [Array(20).fill(0), 1]);
});

test("BoundedSemaphore that a child has made works here, after the child's end too", async () => {
  const made = new Queue<BoundedSemaphore>();
  await run(
    () => {
      const semaphore = new BoundedSemaphore(2);
      made.putSync(semaphore);
      semaphore.acquireSync();
    },
    { BoundedSemaphore, made },
  );
  const semaphore = await made.get();
  assertInstanceOf(semaphore, BoundedSemaphore);
  assertEquals(semaphore.getValue(), 2);
  assertEquals(takeAll(semaphore), [false, true]);
  semaphore.release(2);
  assertThrows(() => semaphore.release(), RangeError, "its initial value of 2");
});

test("Semaphore through a queue is another handle on the same one, and has the same line", async () => {
  const semaphore = new Semaphore(1);
  const queue = new Queue<Semaphore>();
  await queue.put(semaphore);
  const other = await queue.get();
  assertNotStrictEquals(other, semaphore);
  const guard = semaphore.acquireSync();
  assertEquals(other.getValue(), 0);
  const order: number[] = [];
  const waiting = [semaphore, other, other, semaphore].map((handle, i) =>
    handle.acquire().then((guard) => {
      order.push(i);
      guard.release();
    })
  );
  assert(await isPending(waiting[0]!));
  guard.release();
  await soon(Promise.all(waiting));
  assertEquals([order, other.getValue()], [[0, 1, 2, 3], 1]);
});
