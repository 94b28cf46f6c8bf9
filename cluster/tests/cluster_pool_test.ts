/** The Pool on a cluster: as on one machine, and what is different. */

import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { EncodingError, TimeoutError } from "@multiprocessing/core/errors";
import { Pipe, Queue } from "@multiprocessing/core/queue";
import { SharedArray, Value } from "@multiprocessing/core/shared";
import { Event, Lock, RLock, Semaphore } from "@multiprocessing/core/sync";
import type { Target } from "@multiprocessing/core/target";
import { kept, range, sharedSite, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

/** Two daemons of two slots. */
const clusterTest = sharedSite((site) => Promise.all([site.daemon(), site.daemon()]));

// ── Every method

clusterTest("Pool on a cluster has every method", async (site) => {
  const pool = site.pool();
  const items = range(50);
  const squares = items.map((n) => n * n);
  const pairs: [number, number][] = [[3, 1], [9, 2], [1, 5]];
  assertEquals(await pool.apply(tasks.square, [7]), 49);
  assertEquals(await pool.map(tasks.square, items), squares);
  assertEquals(await pool.map(tasks.square, new Set(items)), squares);
  assertEquals(await pool.map(tasks.square, items, { chunkSize: 7 }), squares);
  assertEquals(await pool.map(tasks.square, []), []);
  assertEquals(await pool.starmap(tasks.subtract, pairs), [2, 7, -4]);
  assertEquals(await pool.mapAsync(tasks.square, items).get(), squares);
  assertEquals(await pool.starmapAsync(tasks.subtract, pairs), [2, 7, -4]);
  assertEquals(await Array.fromAsync(pool.imap(tasks.square, items)), squares);
  assertEquals(await Array.fromAsync(pool.imap(tasks.square, items, { chunkSize: 8 })), squares);
  const unordered = await Array.fromAsync(pool.imapUnordered(tasks.square, items));
  assertEquals(unordered.sort((a, b) => a - b), squares);
  async function* later() {
    for (const n of items) yield await Promise.resolve(n);
  }
  assertEquals(await pool.map(tasks.square, later()), squares);
  assertEquals(await Array.fromAsync(pool.imap(tasks.square, later())), squares);
});

clusterTest(
  "Pool.applyAsync() on a cluster tells its callbacks, and when it is ready",
  async (site) => {
    const pool = site.pool();
    const told: unknown[] = [];
    const result = pool.applyAsync(tasks.square, [8], { callback: (value) => told.push(value) });
    assertFalse(result.ready());
    assertEquals(await result.get(), 64);
    assert(result.ready() && result.successful());
    const failed = pool.applyAsync(tasks.fail, [8], {
      errorCallback: (error) => told.push((error as Error).message),
    });
    assert(await failed.wait());
    assertFalse(failed.successful());
    await assertRejects(() => failed.get(), RangeError, "8 is too much");
    assertEquals(told, [64, "8 is too much"]);
  },
);

clusterTest("Pool.imapUnordered() on a cluster yields results as they finish", async (site) => {
  const pool = site.pool();
  const order: number[] = [];
  for await (const ms of pool.imapUnordered(tasks.nap, [1_500, 1, 2, 3], { chunkSize: 1 })) {
    order.push(ms);
  }
  assertEquals(order.at(-1), 1_500);
  assertEquals(order.length, 4);
});

clusterTest("Pool.imap() on a cluster takes endless input, and is left early", async (site) => {
  const pool = site.pool();
  for (const form of ["imap", "imapUnordered"] as const) {
    let read = 0;
    let ended = false;
    const endless = function* () {
      try {
        for (;;) yield read++;
      } finally {
        ended = true;
      }
    };
    const seen: number[] = [];
    for await (const square of pool[form](tasks.square, endless())) {
      seen.push(square);
      if (seen.length === 200) break;
    }
    assert(ended, form);
    assertLess(read, 20_000, form);
    if (form === "imap") assertEquals(seen, range(200).map((n) => n * n));
  }
  await until(() => pool.stats().queued + pool.stats().running === 0, "rest");
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

clusterTest("Pool.map() on a cluster tells how far it is", async (site) => {
  const pool = site.pool();
  const steps: [number, number | undefined][] = [];
  await pool.map(tasks.square, range(50), {
    chunkSize: 10,
    onProgress: (done, total) => steps.push([done, total]),
  });
  assertEquals(steps, [[10, 50], [20, 50], [30, 50], [40, 50], [50, 50]]);
  const seen: number[] = [];
  for await (
    const _ of pool.imap(tasks.square, range(20), {
      chunkSize: 5,
      onProgress: (done) => seen.push(done),
    })
  );
  assertEquals(seen, [5, 10, 15, 20]);
});

clusterTest("Pool on a cluster sends values as structured clone does", async (site) => {
  const pool = site.pool();
  const loop: Record<string, unknown> = { minusZero: -0, gap: [1, , 3], big: 2n ** 80n };
  Object.assign(loop, {
    self: loop,
    map: new Map<unknown, unknown>([[{ a: 1 }, new Set([NaN, undefined, null])]]),
    date: new Date(1e12),
    pattern: /a+/gi,
    floats: new Float64Array([1.5, -0, Infinity]),
    view: new DataView(new Uint8Array([1, 2, 3]).buffer, 1),
    text: "ä𝄞\0",
    error: new AggregateError([new TypeError("one")], "all", { cause: "why" }),
  });
  const back = await pool.apply(tasks.echo, [loop]) as typeof loop;
  assertEquals(back.self, back);
  assert(Object.is(back.minusZero, -0));
  assertFalse(1 in (back.gap as unknown[]));
  for (const key of ["big", "map", "date", "pattern", "floats", "text"]) {
    assertEquals(back[key], loop[key], key);
  }
  assertEquals((back.view as DataView).getUint8(0), 2);
  const { errors, cause } = back.error as AggregateError;
  assertInstanceOf(errors[0], TypeError);
  assertEquals(cause, "why");
  assertEquals(await pool.apply(tasks.echo, [undefined]), undefined);
});

// ── Errors

clusterTest("Pool on a cluster rejects with the error of the task", async (site) => {
  const pool = site.pool();
  const error = await assertRejects(() => pool.apply(tasks.fail, [5]), RangeError, "5 is too much");
  const { code, n } = error as unknown as { code: string; n: number };
  assertEquals([error.name, code, n], ["RangeError", "E_MUCH", 5]);
  assertInstanceOf(error.cause, TypeError);
  assertEquals(error.cause.message, "the cause");
  // Where it was thrown, and who waits for it; nothing of what lies between.
  const stack = error.stack!;
  assertMatch(stack, /tasks\.ts:\d+/);
  assertMatch(stack, /cluster_pool_test\.ts:\d+/);
  assertFalse(/daemon\/|bullmq|run\.ts/.test(stack), stack);
  const broken = await assertRejects(
    () => pool.apply(tasks.breakDown, ["gear"]),
    Error,
    "it broke",
  );
  assertEquals([broken.name, (broken as tasks.Broken).part], ["Broken", "gear"]);
});

clusterTest(
  "Pool.map() on a cluster rejects with the first error once the others have run",
  async (site) => {
    const pool = site.pool();
    const steps: number[] = [];
    const error = await assertRejects(
      () =>
        pool.map(tasks.failIfOdd, range(20), {
          chunkSize: 2,
          onProgress: (done) => steps.push(done),
        }),
      RangeError,
      "1 is odd",
    );
    assertEquals(steps.at(-1), 20);
    assertMatch(error.stack!, /tasks\.ts:\d+/);
    assertMatch(error.stack!, /cluster_pool_test\.ts:\d+/);
    await assertRejects(
      () => Array.fromAsync(pool.imap(tasks.failIfOdd, [0, 2, 3, 4])),
      RangeError,
    );
    assertEquals(await pool.apply(tasks.square, [2]), 4);
  },
);

clusterTest(
  "Pool on a cluster rejects where a result cannot be sent, and only there",
  async (site) => {
    const pool = site.pool();
    await assertRejects(() => pool.apply(tasks.giveFunction, [2]), EncodingError, "result.deep[0]");
    const { message } = await assertRejects(() => pool.apply(tasks.giveLock, []), EncodingError);
    assertStringIncludes(message, "result.lock");
    assertStringIncludes(message, "use Lock of @multiprocessing/cluster");
    const progress: number[] = [];
    await assertRejects(
      () =>
        pool.map(tasks.giveFunction, range(9), {
          chunkSize: 3,
          onProgress: (done) => progress.push(done),
        }),
      EncodingError,
      "deep[0]",
    );
    assertEquals(progress.at(-1), 9);
  },
);

clusterTest(
  "Pool on a cluster refuses what lives on this machine when it is submitted",
  async (site) => {
    const pool = site.pool();
    const [reader] = Pipe();
    const things: [unknown, string, string][] = [
      [new Lock(), "Lock", "use Lock of"],
      [new RLock(), "RLock", "use Lock of"],
      [new Semaphore(2), "Semaphore", "use Semaphore of"],
      [new Event(), "Event", "use Event of"],
      [new Value("i32"), "Value", "use Value of"],
      [new Queue(), "Queue", "use Queue of"],
      [reader, "Connection", "use Queue of"],
      [new SharedArray("f64", 4), "SharedArray", "send what it holds"],
      [new SharedArrayBuffer(8), "SharedArrayBuffer", "send what it holds"],
    ];
    for (const [thing, what, mend] of things) {
      const inArgs = await assertRejects(
        () => pool.apply(tasks.echo, [{ deep: [thing] }]),
        EncodingError,
        "args[0].deep[0]",
      );
      assertMatch(inArgs.message, new RegExp(`: an? ${what} `));
      assertStringIncludes(inArgs.message, mend);
      const inItems = await assertRejects(
        () => pool.map(tasks.echo, [...range(100), { thing }], { chunkSize: 10 }),
        EncodingError,
        "items[100].thing",
      );
      assertStringIncludes(inItems.message, mend);
    }
    const { port1, port2 } = new MessageChannel();
    await assertRejects(() => pool.apply(tasks.echo, [port1]), EncodingError, "args[0]");
    port1.close();
    port2.close();
    await assertRejects(() => pool.apply(tasks.echo, [() => 1]), EncodingError, "args[0]");
    assertThrows(
      () => site.pool({ initializer: tasks.init, initargs: [new Lock()] }),
      EncodingError,
      "initargs[0]",
    );
    assertEquals(pool.stats().queued, 0);
    reader.close();
  },
);

// ── Cancelled, timed out

clusterTest("Pool.apply() on a cluster with a signal drops what waits", async (site) => {
  const pool = site.pool({ processes: 1 });
  const at = site.cluster();
  const first = pool.apply(tasks.hold, ["wait"]);
  await at.event("wait begun").wait();
  const controller = new AbortController();
  const { signal } = controller;
  const calls = range(5).map(() => kept(pool.apply(tasks.count, ["dropped", 0], { signal })));
  await until(() => pool.stats().queued === 5, "queue");
  controller.abort(new Error("not any more"));
  for (const call of calls) await assertRejects(() => call, Error, "not any more");
  await assertRejects(() => pool.apply(tasks.square, [1], { signal }), Error, "not any more");
  await at.event("wait go").set();
  assertEquals(await first, "wait");
  assertEquals(await pool.apply(tasks.square, [3]), 9);
  assertEquals(await at.value("dropped").get(), 0);
});

clusterTest(
  "Pool.apply() on a cluster with a signal stops what runs, and its slot is free again",
  async (site) => {
    const pool = site.pool({ processes: 1 });
    const at = site.cluster();
    const controller = new AbortController();
    const call = kept(pool.apply(tasks.hold, ["run"], { signal: controller.signal }));
    await at.event("run begun").wait();
    const start = performance.now();
    controller.abort(new Error("enough"));
    await assertRejects(() => call, Error, "enough");
    assertEquals(await pool.apply(tasks.square, [3]), 9);
    assertLess(performance.now() - start, 10_000);
    // One that never waits is stopped, too.
    const again = new AbortController();
    const busy = kept(pool.apply(tasks.spin, [5_000], { signal: again.signal }));
    await until(() => pool.stats().running === 1, "begin");
    again.abort();
    await assertRejects(() => busy, DOMException, "abort");
    assertEquals(await pool.apply(tasks.square, [4]), 16);
    assertEquals(await at.value("run ends").get(), 0);
  },
);

clusterTest("Pool on a cluster stops what is cancelled at any moment", async (site) => {
  const pool = site.pool({ processes: 1 });
  for (const delay of [0, 1, 2, 3, 4, 6, 8, 12, 16, 24]) {
    const controller = new AbortController();
    const call = kept(pool.apply(tasks.nap, [60_000], { signal: controller.signal }));
    await new Promise((resolve) => setTimeout(resolve, delay));
    controller.abort();
    await assertRejects(() => call, DOMException);
    // Behind one that was not stopped, this would wait for a minute.
    assertEquals(await soon(pool.apply(tasks.square, [delay])), delay ** 2);
  }
});

clusterTest("Pool on a cluster tells a task to stop, and waits for `grace`", async (site) => {
  const pool = site.pool();
  const at = site.cluster();
  const controller = new AbortController();
  const call = kept(
    pool.apply(tasks.endWhenTold, ["grace"], { signal: controller.signal, grace: 60_000 }),
  );
  await at.event("grace begun").wait();
  controller.abort();
  await assertRejects(() => call, DOMException);
  assert(await at.event("grace told").wait({ timeout: 30_000 }));
  const late = pool.apply(tasks.endWhenTold, ["late"], { timeout: 100, grace: 60_000 });
  await assertRejects(() => late, TimeoutError);
  assert(await at.event("late told").wait({ timeout: 30_000 }));
});

clusterTest(
  "Pool.map() on a cluster with a signal rejects at once, and stops all of it",
  async (site) => {
    const pool = site.pool({ processes: 3 });
    const at = site.cluster();
    const controller = new AbortController();
    const items = range(300).map((item) => ({ item, counter: "mapped", ms: 50 }));
    const call = kept(pool.map(tasks.step, items, { signal: controller.signal, chunkSize: 1 }));
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    until(async () => await at.value("mapped").get() >= 6, "begin").then(resolve);
    await begun;
    controller.abort(new Error("stop it"));
    await assertRejects(() => call, Error, "stop it");
    assertEquals(await pool.apply(tasks.square, [3]), 9);
    const ran = await at.value("mapped").get();
    assertLess(ran, 100);
    assertEquals(await pool.map(tasks.square, range(30)), range(30).map((n) => n * n));
    assertEquals(await at.value("mapped").get(), ran);
  },
);

clusterTest("Pool on a cluster ends a task whose timeout is over", async (site) => {
  const pool = site.pool({ processes: 1 });
  const slow: Target<[number], unknown>[] = [tasks.nap, tasks.spin];
  for (const task of slow) {
    const error = await assertRejects(
      () => pool.apply(task, [5_000], { timeout: 100 }),
      TimeoutError,
      "100 ms",
    );
    assertMatch(error.stack!, /cluster_pool_test\.ts:\d+/);
    assertEquals(await pool.apply(tasks.square, [3]), 9);
  }
  // From the start of running: what waits is not late.
  const calls = range(4).map(() => pool.apply(tasks.nap, [150], { timeout: 10_000 }));
  assertEquals(await Promise.all(calls), [150, 150, 150, 150]);
});

clusterTest("Pool.map() on a cluster with a timeout fails only what is late", async (site) => {
  const pool = site.pool();
  const at = site.cluster();
  const items = range(12).map((item) => ({
    item,
    counter: "timed",
    ms: item === 5 ? 60_000 : 1,
  }));
  // The first call of a worker loads modules, for which a busy machine takes seconds.
  await pool.map(tasks.step, range(24).map((item) => ({ item, counter: "warm", ms: 50 })), {
    chunkSize: 1,
  });
  const done: number[] = [];
  await assertRejects(
    () => pool.map(tasks.step, items, { timeout: 4_000, onProgress: (n) => done.push(n) }),
    TimeoutError,
  );
  assertEquals(done.at(-1), 12);
  // At least once: on a busy machine a daemon may seem lost.
  assertGreaterOrEqual(await at.value("timed").get(), 12);
  const fast = items.filter(({ item }) => item !== 5);
  const answers = await pool.map(tasks.step, fast, { timeout: 30_000 });
  assertEquals(answers, fast.map(({ item }) => item));
});
