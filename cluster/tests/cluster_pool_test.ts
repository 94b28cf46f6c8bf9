/** The Pool on a cluster: as on one machine, and what is different. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Queue as JobQueue, QueueEvents } from "bullmq";
import { encodeValue } from "@multiprocessing/core/backend";
import {
  ClosedError,
  EncodingError,
  ProcessError,
  ProcessLostError,
  TargetError,
  TimeoutError,
} from "@multiprocessing/core/errors";
import { Pipe, Queue } from "@multiprocessing/core/queue";
import { SharedArray, Value } from "@multiprocessing/core/shared";
import { Event, Lock, RLock, Semaphore } from "@multiprocessing/core/sync";
import { closure, type Target } from "@multiprocessing/core/target";
import { ROOT } from "../../scripts/runtimes.ts";
import { ModuleMismatchError } from "../mod.ts";
import { Names } from "../wire/names.ts";
import { Server } from "../wire/server.ts";
import { readFile, sha256, toBase64 } from "../runtime/host.ts";
import { sharedSite, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

const TASKS = new URL("./fixtures/tasks.ts", import.meta.url).href;

/** Two daemons of two slots. */
const clusterTest = sharedSite((site) => Promise.all([site.daemon(), site.daemon()]));

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

/** An export, by its name. */
function exported<A extends unknown[], R>(name: string, module: string | URL = TASKS) {
  return { module, name } as Target<A, R>;
}

/** A promise that may reject before somebody looks. */
function kept<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

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
  const done: number[] = [];
  await assertRejects(
    () => pool.map(tasks.step, items, { timeout: 2_000, onProgress: (n) => done.push(n) }),
    TimeoutError,
  );
  assertEquals(done.at(-1), 12);
  assertEquals(await at.value("timed").get(), 12);
  const fast = items.filter(({ item }) => item !== 5);
  const answers = await pool.map(tasks.step, fast, { timeout: 30_000 });
  assertEquals(answers, fast.map(({ item }) => item));
});

// ── Workers

clusterTest("Pool on a cluster calls its initializer once in each worker", async (site) => {
  const pool = site.pool({ initializer: tasks.init, initargs: [100], name: "Mine" });
  assertEquals(
    await pool.map(tasks.addBase, range(20), { chunkSize: 1 }),
    range(20).map((n) => n + 100),
  );
  const places = await pool.map(tasks.whereAmI, new Array(24).fill(30), { chunkSize: 1 });
  for (const { name, inits } of places) {
    assertEquals(inits, 1);
    assertMatch(name, /^Mine-\d+$/);
  }
  assertEquals(new Set(places.map(({ daemon }) => daemon)).size, 2);
});

clusterTest("Pool on a cluster whose initializer fails says why, to all", async (site) => {
  const pool = site.pool({ initializer: tasks.failingInit });
  const calls = [
    ...range(4).map((n) => pool.apply(tasks.square, [n])),
    pool.map(tasks.square, range(10)),
    pool.apply(tasks.square, [1], { timeout: 10_000 }),
  ].map((call) => kept(call as Promise<unknown>));
  for (const call of calls) {
    const error = await assertRejects(() => call, SyntaxError, "no way to begin");
    assertMatch(error.stack!, /tasks\.ts:\d+/);
  }
  await assertRejects(() => pool.apply(tasks.square, [5]), SyntaxError, "no way to begin");
});

clusterTest("Pool on a cluster replaces workers after `maxTasksPerChild` tasks", async (site) => {
  const pool = site.pool({ maxTasksPerChild: 2 });
  const places = await pool.map(tasks.whereAmI, new Array(16).fill(1), { chunkSize: 1 });
  for (const { calls } of places) assertLessOrEqual(calls, 2);
  const workers = new Set(places.map(({ daemon, worker }) => `${daemon} ${worker}`));
  assertGreaterOrEqual(workers.size, 8);
});

clusterTest("Pool on a cluster outlives its workers", async (site) => {
  const pool = site.pool({ processes: 1 });
  const error = await assertRejects(() => pool.apply(tasks.exitWorker, [3]), ProcessLostError);
  assertEquals(error.exitCode, 3);
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

clusterTest(
  "Pool on a cluster has as many workers as there are slots, or as it asks for",
  async (site) => {
    const [all, three, many] = [
      site.pool(),
      site.pool({ processes: 3 }),
      site.pool({ processes: 99 }),
    ];
    assertEquals(three.size, 3);
    for (const pool of [all, three, many]) await pool.apply(tasks.square, [1]);
    assertEquals([all.size, three.size, many.size], [4, 3, 4]);
    const places = await all.map(tasks.whereAmI, new Array(12).fill(50), { chunkSize: 1 });
    const workers = new Set(places.map(({ daemon, worker }) => `${daemon} ${worker}`));
    assertLessOrEqual(workers.size, 4);
  },
);

clusterTest(
  "Pool on a cluster runs no more than `processes` tasks at once on all of it",
  async (site) => {
    const pool = site.pool({ processes: 3 });
    // Long enough for the second daemon to have its workers, too.
    const calls: [string, number][] = range(15).map(() => ["three", 500]);
    const most = await pool.starmap(tasks.together, calls, { chunkSize: 1 });
    assertEquals(Math.max(...most), 3);
    const short = await Promise.all(
      range(100).map(() => pool.apply(tasks.together, ["short", 0])),
    );
    assertLessOrEqual(Math.max(...short), 3);
  },
);

clusterTest("Pool.stats() on a cluster tells what it is doing", async (site) => {
  const pool = site.pool({ processes: 1 });
  const at = site.cluster();
  assertEquals(await pool.apply(tasks.square, [1]), 1);
  const idle = { size: 1, idle: 1, queued: 0, running: 0, completed: 1, failed: 0, replaced: 0 };
  assertEquals(pool.stats(), idle);
  const held = pool.apply(tasks.hold, ["stats"]);
  const others = [pool.apply(tasks.square, [2]), kept(pool.apply(tasks.fail, [3]))];
  await at.event("stats begun").wait();
  await until(() => pool.stats().running === 1, "running");
  assertEquals(pool.stats(), { ...idle, idle: 0, queued: 2, running: 1 });
  await at.event("stats go").set();
  await held;
  await Promise.allSettled(others);
  assertEquals(pool.stats(), { ...idle, completed: 3, failed: 1 });
});

// ── The end

clusterTest(
  "Pool.close() on a cluster lets run what was accepted, and leaves no key behind",
  async (site) => {
    const pool = site.pool();
    const accepted = range(20).map((n) => pool.apply(tasks.square, [n]));
    const map = pool.map(tasks.nap, [100, 200]);
    await assertRejects(() => pool.join(), ProcessError);
    pool.close();
    await assertRejects(() => pool.apply(tasks.square, [1]), ClosedError);
    assertEquals(await pool.join({ timeout: 0 }), false);
    assert(await pool.join());
    assertEquals(await Promise.all(accepted), range(20).map((n) => n * n));
    assertEquals(await map, [100, 200]);
    await site.empty();
  },
);

clusterTest("Pool.terminate() on a cluster stops all of it at once", async (site) => {
  const pool = site.pool({ processes: 2, name: "Ended" });
  const at = site.cluster();
  const calls = [
    ...["t1", "t2"].map((name) => kept(pool.apply(tasks.hold, [name]))),
    ...range(20).map((n) => kept(pool.apply(tasks.square, [n]))),
    kept(pool.map(tasks.square, range(100))),
  ];
  for (const name of ["t1", "t2"]) await at.event(`${name} begun`).wait();
  await pool.terminate();
  for (const call of calls as Promise<unknown>[]) await assertRejects(() => call, ClosedError);
  await site.empty();
  await assertRejects(() => pool.apply(tasks.square, [1]), ClosedError);
  for (const daemon of site.daemons) await daemon.prints(/\(Ended\): left\n/);
  for (const name of ["t1", "t2"]) await at.event(`${name} go`).set();
  const next = site.pool();
  assertEquals(await next.apply(tasks.square, [3]), 9);
  for (const name of ["t1", "t2"]) assertEquals(await at.value(`${name} ends`).get(), 0);
});

clusterTest("Pool on a cluster is closed and joined when it is disposed", async (site) => {
  const pool = site.pool();
  const call = pool.apply(tasks.nap, [200]);
  await pool[Symbol.asyncDispose]();
  assertEquals(await call, 200);
  await site.empty();
  // One that was never used, too.
  await site.pool()[Symbol.asyncDispose]();
  await site.pool().terminate();
  await site.empty();
});

clusterTest("Pool on a cluster does not keep the program alive while it is idle", async (site) => {
  const results = ["idle", "unused", "pending"].map(async (verb) => {
    const client = site.client(verb);
    const code = await soon(client.ended, `${verb}, which has printed ${client.output},`);
    return [client.output + client.errors, code];
  });
  assertEquals(await Promise.all(results), [["1\n", 0], ["true\n", 0], ["700\n", 0]]);
  // They have not closed their pools: the daemons do, when their leases are over.
  await site.empty();
});

clusterTest("MULTIPROCESSING_CLUSTER_URL makes the cluster the default of pools", async (site) => {
  const env = { MULTIPROCESSING_CLUSTER_URL: site.redis.url };
  const client = site.client("anyPool", { env });
  assertEquals(await soon(client.ended), 0);
  const daemon = Number(client.output);
  assert(site.daemons.some(({ pid }) => pid === daemon), client.output + client.errors);
});

clusterTest(
  "Pool within a task is of the daemon's machine, and cluster() of its cluster",
  async (site) => {
    const pool = site.pool();
    // Which has no children within a task, as without a cluster.
    await assertRejects(() => pool.apply(tasks.nested, []), ProcessError, "is a daemon");
    assertEquals(await pool.apply(tasks.clusterName, []), "default");
    const other = site.other("second");
    await other.daemon();
    assertEquals(await other.pool().apply(tasks.clusterName, []), "second");
  },
);

// ── Much

clusterTest("Pool on a cluster takes inputs and gives results of 64 MiB", async (site) => {
  const pool = site.pool();
  for (const size of [1, 16, 64]) {
    const length = size * 2 ** 20;
    const data = new Uint8Array(length);
    for (let i = 0; i < length; i += 4_096) data[i] = i / 4_096;
    let total = 0;
    for (const byte of data) total += byte;
    assertEquals(await pool.apply(tasks.sum, [data]), total, `${size} MiB there`);
    const back = await pool.apply(tasks.bytes, [length]);
    assertEquals([back.length, back[0], back.at(-1)], [length, 7, 7], `${size} MiB back`);
  }
  await until(async () => !(await site.keys()).some((key) => key.includes(":bytes:")), "removal");
  assertEquals(await pool.apply(tasks.square, [3]), 9);
});

clusterTest("Pool.map() on a cluster runs 100,000 tasks in chunks", async (site) => {
  const pool = site.pool();
  const items = range(100_000);
  const squares = await pool.map(tasks.square, items);
  assertEquals(squares.length, items.length);
  assert(squares.every((square, n) => square === n * n));
  const chunked = await pool.map(tasks.square, items, { chunkSize: 100 });
  assert(chunked.every((square, n) => square === n * n));
});

clusterTest(
  "Pool on a cluster runs 20,000 single tasks while its program is blocked now and then",
  async (site) => {
    const pool = site.pool({}, { lease: 10_000 });
    const settled = new Int8Array(20_000);
    const calls = range(20_000).map(async (n) => {
      assertEquals(await pool.apply(tasks.square, [n]), n * n);
      settled[n]!++;
    });
    for (const part of [1, 2]) {
      await Promise.all(calls.slice(0, part * 2_000));
      const end = Date.now() + 2_000;
      while (Date.now() < end);
    }
    await Promise.all(calls);
    assert(settled.every((times) => times === 1));
    assertEquals(pool.stats().completed, 20_000);
  },
);

// ── Functions

clusterTest("Pool on a cluster finds functions by module and name", async (site) => {
  const pool = site.pool();
  assertEquals(await pool.apply(exported<[number], number>("triple"), [4]), 12);
  assertEquals(await pool.map(exported<[number], number>("triple", new URL(TASKS)), [1, 2]), [
    3,
    6,
  ]);
  await assertRejects(() => pool.apply(exported("absent"), []), TargetError, "absent");
  await assertRejects(() => pool.apply(exported("notAFunction"), []), TargetError);
  const outside = pathToFileURL(join(tmpdir(), "elsewhere.ts")).href;
  writeFileSync(new URL(outside), "export const f = () => 1;\n");
  try {
    const error = await assertRejects(() => pool.apply(exported("f", outside), []), TargetError);
    assertStringIncludes(error.message, `not under the root, ${ROOT}`);
  } finally {
    rmSync(new URL(outside));
  }
  await assertRejects(() => pool.apply(exported("f", "data:text/javascript,"), []), TargetError);
  await assertRejects(
    () => pool.apply(exported("f", new URL("./none.ts", import.meta.url)), []),
    TargetError,
    "none.ts",
  );
});

clusterTest(
  "Pool on a cluster runs functions that come as text only where that is allowed",
  async (site) => {
    const increment = (n: number) => n + 1;
    const error = await assertRejects(() => site.pool().apply(increment, [1]), ModuleMismatchError);
    assertStringIncludes(error.message, "--allow-code");
    await assertRejects(() => site.pool().map(increment, [1, 2]), ModuleMismatchError);
    const open = site.other("code");
    await open.daemon(["--allow-code"]);
    const pool = open.pool();
    assertEquals(await pool.apply(increment, [1]), 2);
    assertEquals(await pool.map(increment, range(10)), range(10).map(increment));
    const factor = 5;
    const scaled = closure((n: number) => increment(n) * factor, { increment, factor });
    assertEquals(await pool.map(scaled, [1, 2, 3]), [10, 15, 20]);
    const failing = (n: number) => {
      if (n > 0) throw new RangeError(`${n} is positive`);
    };
    await assertRejects(() => pool.map(failing, [0, 1]), RangeError, "1 is positive");
    const lock = new Lock();
    const locked = closure(() => lock.locked(), { lock });
    const refusal = await assertRejects(() => pool.apply(locked, []), EncodingError, "scope");
    assertStringIncludes(refusal.message, "use Lock of @multiprocessing/cluster");
    const captured = factor;
    await assertRejects(() => pool.apply(() => captured, []), TargetError, "captured");
  },
);

/** Two folders with a few modules; gone when `body` has ended. */
async function withFolders(body: (client: string, daemon: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mp-roots-"));
  const [client, daemon] = [join(folder, "client"), join(folder, "daemon")];
  for (const root of [client, daemon]) mkdirSync(root);
  try {
    await body(client, daemon);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

clusterTest(
  "Pool on a cluster runs a function only where its file is the client's",
  async (site) => {
    await withFolders(async (client, daemon) => {
      const text = "export const next = (n) => n + 1;\n";
      mkdirSync(join(client, "deep"));
      mkdirSync(join(daemon, "deep"));
      for (const file of ["same.mjs", "changed.mjs", "missing.mjs", "deep/a b#%41.mjs"]) {
        writeFileSync(join(client, file), text);
        if (file !== "missing.mjs") {
          writeFileSync(join(daemon, file), file === "changed.mjs" ? `${text}// later\n` : text);
        }
      }
      const other = site.other("roots");
      await other.daemon(["--root", daemon]);
      const pool = other.pool({}, { root: client });
      const next = (file: string) =>
        exported<[number], number>("next", pathToFileURL(join(client, file)));
      assertEquals(await pool.apply(next("same.mjs"), [1]), 2);
      assertEquals(await pool.apply(next("deep/a b#%41.mjs"), [2]), 3);
      const changed = await assertRejects(
        () => pool.apply(next("changed.mjs"), [1]),
        ModuleMismatchError,
        "changed.mjs",
      );
      assertStringIncludes(changed.message, "another than the client's");
      await assertRejects(() => pool.map(next("changed.mjs"), [1, 2]), ModuleMismatchError);
      await assertRejects(
        () => pool.apply(next("missing.mjs"), [1]),
        ModuleMismatchError,
        "there is no missing.mjs",
      );
      // Mended on the daemon's side, as long as nothing of it was imported.
      writeFileSync(join(daemon, "changed.mjs"), text);
      assertEquals(await pool.apply(next("changed.mjs"), [1]), 2);
      await assertRejects(() => pool.apply(tasks.square, [1]), TargetError, "not under the root");
    });
  },
);

clusterTest(
  "a daemon imports nothing from outside of its root, whatever Redis says",
  async (site) => {
    await withFolders(async (outside, root) => {
      const evil = join(outside, "evil.mjs");
      const proof = join(outside, "proof");
      writeFileSync(
        evil,
        `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(proof)}, "");\n` +
          "export const f = () => 1;\n",
      );
      const good = join(root, "good.mjs");
      writeFileSync(good, "export const f = () => 2;\n");
      symlinkSync(evil, join(root, "link.mjs"));
      symlinkSync(outside, join(root, "folder"));
      symlinkSync(good, join(root, "alias.mjs"));
      const other = site.other("forged");
      await other.daemon(["--root", root]);
      const pool = other.pool({}, { root });
      await pool.apply(exported("f", pathToFileURL(good)), []);

      const names = new Names("forged");
      const [id] = await site.redis.client.hkeys(names.pools) as [string];
      const [evilHash, goodHash] = [evil, good].map((file) => sha256(readFile(file))) as [
        string,
        string,
      ];
      const connection = new Server(site.redis.url).options;
      const queue = new JobQueue(names.queue(id), { connection, prefix: names.bull });
      const events = new QueueEvents(names.queue(id), { connection, prefix: names.bull });
      try {
        await events.waitUntilReady();
        let made = 0;
        const forge = async (path: string, hash: string, name = "f") => {
          const key = `forged-${++made}`;
          const record = { kind: "module", path, hash, name, task: false };
          await site.redis.client.hset(names.functions(id), key, JSON.stringify(record));
          const input = { b: toBase64(encodeValue([], "args")) };
          const job = await queue.add("job", { f: key, m: "call", i: input }, { jobId: key });
          return await job.waitUntilFinished(events) as Record<string, unknown>;
        };
        assert("v" in await forge("good.mjs", goodHash));
        for (
          const path of [
            "../client/evil.mjs",
            "folder/../../client/evil.mjs",
            "folder/evil.mjs",
            "link.mjs",
            evil,
            `/${evil}`,
            pathToFileURL(evil).href,
            "..",
            ".",
            "",
          ]
        ) {
          assertMatch(
            `${(await forge(path, evilHash)).r}`,
            /^Cannot run on .*(not under|there is no)/,
          );
        }
        // Only by its own name.
        for (const path of ["./good.mjs", "alias.mjs", "folder/../good.mjs", "good.mjs\0"]) {
          assert("r" in await forge(path, goodHash), path);
        }
        for (const name of ["constructor", "__proto__", "default", ""]) {
          assert("e" in await forge("good.mjs", goodHash, name), name);
        }
        assert("r" in await forge("good.mjs", evilHash));
        assertFalse(existsSync(proof));
      } finally {
        await Promise.all([events.close(), queue.close()]);
      }
      assertGreater(pool.size, 0);
    });
  },
);
