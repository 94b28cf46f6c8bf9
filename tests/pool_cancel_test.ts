/** Pools whose tasks are cancelled, by whatever and whenever; and that no other task ever notices. */

import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { EncodingError, ProcessLostError, TimeoutError } from "../errors.ts";
import { type AsyncResult, Pool, type TaskOptions } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Value } from "../shared.ts";
import { Event, Lock } from "../sync.ts";
import { block, kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import {
  blockForever,
  cancelInChild,
  failAt,
  hearAbort,
  ignoreAbort,
  isAborted,
  lockAndLoop,
  loop,
  pollAbort,
  waitForever,
} from "./fixtures/pool_cancel_tasks.ts";
import { loopForever, nameAndPid, takePlace, waitAtGate } from "./fixtures/pool_tasks.ts";

const square = (n: number): number => n * n;
const lengthOf = (bytes: Uint8Array): number => bytes.length;
const nap = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms));
const hang = (): Promise<never> => new Promise(() => {});
const slowIf = (n: number): number | Promise<never> => n % 5 === 2 ? new Promise(() => {}) : n;

/** Resolves when the pool has nothing more to do, and its figures say so. */
async function idle(pool: Pool): Promise<void> {
  await until(() => {
    const { idle, queued, running } = pool.stats();
    return idle === pool.size && queued === 0 && running === 0;
  }, "rest");
}

/** Takes up a worker of the pool until the gate is opened. */
async function held(pool: Pool): Promise<{ gate: Event; result: AsyncResult<string> }> {
  const gate = new Event();
  const here = new Event();
  const result = pool.applyAsync(waitAtGate, [gate, here]);
  await here.wait();
  return { gate, result };
}

async function reasonOf(call: PromiseLike<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (reason) {
    return reason;
  }
  throw new Error("It has not failed");
}

// -- Before it runs

test("Pool.apply() and map() with a signal that has aborted submit nothing", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const reason = new RangeError("mine");
    const options = { signal: AbortSignal.abort(reason) };
    const count = new Value("i32", 0);
    const bytes = new Uint8Array(3);
    const calls = [
      pool.apply(takePlace, [count], options),
      pool.apply(lengthOf, [bytes], { ...options, transfer: [bytes.buffer] }),
      pool.map(takePlace, [count, count], options),
      pool.starmap(takePlace, [[count]], options),
      pool.applyAsync(takePlace, [count], options),
      pool.imap(takePlace, [count], options).next(),
    ];
    for (const call of calls) assertStrictEquals(await reasonOf(call), reason);
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals([count.value, bytes.length], [0, 3]);
    const { completed, failed } = pool.stats();
    assertEquals({ completed, failed }, { completed: 1, failed: 0 });
  });
});

test("Pool drops a task that is cancelled while it waits, and runs the others in order", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { gate, result } = await held(pool);
    const places = new Value("i32", 0);
    const controllers = Array.from({ length: 9 }, () => new AbortController());
    const calls = controllers.map(({ signal }) =>
      kept(pool.apply(takePlace, [places], { signal }))
    );
    // In the ring, and ahead of them all.
    for (const i of [1, 4, 8]) {
      controllers[i]!.abort(i);
      assertStrictEquals(await reasonOf(calls[i]!), i);
    }
    const { queued, running, failed } = pool.stats();
    assertEquals({ queued, running, failed }, { queued: 6, running: 1, failed: 3 });
    gate.set();
    const others = calls.filter((_, i) => ![1, 4, 8].includes(i));
    assertEquals(await Promise.all(others), [0, 1, 2, 3, 4, 5]);
    assertEquals(await result, "through");
    await idle(pool);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool drops large tasks that are cancelled while they wait, or amid their way", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { gate, result } = await held(pool);
    const large = new Uint8Array(6_000_000);
    // The first is being streamed, and the ring is full; the others wait behind it.
    const calls = Array.from({ length: 4 }, () => pool.applyAsync(lengthOf, [large]));
    const small = Array.from({ length: 10 }, (_, i) => pool.applyAsync(square, [i]));
    for (const call of [calls[0]!, calls[2]!, small[3]!]) {
      call.cancel("enough");
      assertStrictEquals(await reasonOf(call), "enough");
    }
    gate.set();
    assertEquals([await calls[1], await calls[3], await result], [6_000_000, 6_000_000, "through"]);
    for (const [i, call] of small.entries()) if (i !== 3) assertEquals(await call, i * i);
    await idle(pool);
    const { completed, failed, replaced } = pool.stats();
    assertEquals({ completed, failed, replaced }, { completed: 12, failed: 3, replaced: 0 });
  });
});

test("AsyncResult.cancel() of what could not be sent changes no figures", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const call = pool.applyAsync((value: unknown) => value, [Symbol("s")]);
    call.cancel();
    assertInstanceOf(await reasonOf(call), EncodingError);
    await idle(pool);
    const { queued, failed } = pool.stats();
    assertEquals({ queued, failed }, { queued: 0, failed: 0 });
  });
});

test("Pool.map() hears of a signal that aborts while its items are read", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const controller = new AbortController();
    function* items(): Generator<number> {
      yield 1;
      controller.abort("amid");
      yield 2;
    }
    const call = pool.map(square, items(), { signal: controller.signal });
    assertStrictEquals(await reasonOf(call), "amid");
    await idle(pool);
  });
});

test("Pool.map() whose signal aborts reads no more of an async input, and closes it", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    let reads = 0;
    let closed = false;
    async function* endless(): AsyncGenerator<number> {
      try {
        for (;;) {
          await nap(1);
          yield reads++;
        }
      } finally {
        closed = true;
      }
    }
    const controller = new AbortController();
    const call = kept(pool.map(square, endless(), { signal: controller.signal }));
    await until(() => reads > 2, "the third item");
    controller.abort("enough");
    assertStrictEquals(await reasonOf(call), "enough");
    await until(() => closed, "the end of the input");
    const before = reads;
    await nap(30);
    assertEquals(reads, before);
  });
});

// -- While it runs

const never = new Event();
const KINDS: [string, (pool: Pool, here: Event, options?: TaskOptions) => AsyncResult<unknown>][] =
  [
    ["waits", (pool, here, options) => pool.applyAsync(waitForever, [here], options)],
    ["blocks", (pool, here, options) => pool.applyAsync(blockForever, [here, never], options)],
    // Deno cannot stop a loop that nothing limits: it would burn a processor while the other tests run.
    ["loops", (pool, here, options) => pool.applyAsync(loop, [here, 2_000], options)],
  ];

for (const [what, start] of KINDS) {
  test(`Pool stops a task that ${what}: by signal, by cancel(), and by timeout`, async () => {
    await withPool({ processes: 1, name: "Stop" }, async (pool) => {
      let last = (await pool.apply(nameAndPid)).pid;
      for (const [round, by] of ["signal", "cancel", "timeout"].entries()) {
        const here = new Event();
        const controller = new AbortController();
        const reason = new URIError("mine");
        const options = by === "timeout" ? { timeout: 100 } : { signal: controller.signal };
        const call = start(pool, here, options);
        await here.wait();
        const next = kept(pool.apply(nameAndPid));
        if (by === "signal") controller.abort(reason);
        if (by === "cancel") call.cancel(reason);
        const error = await reasonOf(call);
        if (by === "timeout") {
          assertInstanceOf(error, TimeoutError);
          assertMatch(error.message, /\b100 ms/);
        } else assertStrictEquals(error, reason);
        const { name, pid } = await next;
        assertEquals([name, pid > last], [`Stop-${round + 2}`, true]);
        last = pid;
        await idle(pool);
        const { failed, replaced } = pool.stats();
        assertEquals({ failed, replaced }, { failed: round + 1, replaced: round + 1 });
      }
    });
  });
}

test("Pool rejects at once, however long the task may go on", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { gate, result } = await held(pool);
    const late = pool.applyAsync(waitAtGate, [gate, new Event()], { grace: Infinity });
    late.cancel("queued");
    assertStrictEquals(await reasonOf(late), "queued");
    const controller = new AbortController();
    gate.set();
    await result;
    const here = new Event();
    const closing = new Event();
    const options = { grace: Infinity, signal: controller.signal };
    const running = kept(pool.apply(waitAtGate, [closing, here], options));
    await here.wait();
    controller.abort("running");
    assertStrictEquals(await reasonOf(running), "running");
    const { running: stillRunning, queued } = pool.stats();
    assertEquals({ stillRunning, queued }, { stillRunning: 1, queued: 0 });
    closing.set();
    await idle(pool);
    assertEquals(pool.stats().replaced, 0);
  });
});

const HEARERS: [string, (here: Event, reasons: Queue) => void | Promise<void>][] = [
  ["listens", hearAbort],
  ["polls in a busy loop", pollAbort],
];

for (const [how, task] of HEARERS) {
  test(`currentProcess().signal aborts in a task that ${how}, with the reason`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const { pid } = await pool.apply(nameAndPid);
      const reasons = new Queue<[boolean, unknown]>();
      for (const reason of [new RangeError("mine", { cause: 5 }), { code: 7 }, "text", undefined]) {
        const here = new Event();
        const controller = new AbortController();
        const options = { signal: controller.signal, grace: 25_000 };
        const call = kept(pool.apply(task, [here, reasons], options));
        await here.wait();
        controller.abort(reason);
        assertStrictEquals(await reasonOf(call), controller.signal.reason);
        const [aborted, heard] = await reasons.get();
        assertEquals(aborted, true);
        if (reason === undefined) assertEquals((heard as Error).name, "AbortError");
        else if (reason instanceof Error) {
          assertInstanceOf(heard, RangeError);
          assertEquals([heard.message, heard.cause], ["mine", 5]);
        } else assertEquals(heard, reason);
        // The next task of the same worker has not been told to stop.
        assertEquals(await pool.apply(isAborted, [], { timeout: 60_000 }), false);
        assertEquals(await pool.apply(isAborted), false);
      }
      assertEquals((await pool.apply(nameAndPid)).pid, pid);
    });
  });
}

test("currentProcess().signal aborts with TimeoutError when the time of a call is over", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const reasons = new Queue<[boolean, unknown]>();
    const call = pool.apply(hearAbort, [new Event(), reasons], { timeout: 50, grace: 25_000 });
    await assertRejects(() => call, TimeoutError);
    assertInstanceOf((await reasons.get())[1], TimeoutError);
    await idle(pool);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool stops a task that does not end within `grace`", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const here = new Event();
    const heard = new Event();
    const call = pool.applyAsync(ignoreAbort, [here, heard], { grace: 200 });
    await here.wait();
    const start = performance.now();
    const next = kept(pool.apply(nameAndPid));
    call.cancel();
    assertEquals((await reasonOf(call) as Error).name, "AbortError");
    assertEquals(await heard.wait({ timeout: 25_000 }), true);
    assertEquals((await next).name, "PoolWorker-2");
    assertGreaterOrEqual(performance.now() - start, 190);
    await idle(pool);
  });
});

// -- Timeouts

test("Pool counts the timeout of each call from when it begins to run", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const start = performance.now();
    const options = { timeout: 700 };
    await Promise.all(Array.from({ length: 40 }, () => pool.apply(nap, [20], options)));
    assertGreater(performance.now() - start, options.timeout);
    await pool.map(nap, new Array(40).fill(20), options);
    const { failed, replaced } = pool.stats();
    assertEquals({ failed, replaced }, { failed: 0, replaced: 0 });
  });
});

test("Pool does not count the time that a worker takes to load the function", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const module = new URL("./fixtures/pool_slow_module.ts", import.meta.url);
    assertEquals(await pool.apply({ module, name: "answer" }, [], { timeout: 400 }), 42);
    assertEquals(pool.stats().failed, 0);
  });
});

test("Pool.map(), starmap() and imap() time out single items, and run the others", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const done = new Value("i32", 0);
    const slow = (n: number, done: Value<"i32">) =>
      n % 5 === 2 ? new Promise<never>(() => {}) : done.add(1);
    const items = Array.from({ length: 10 }, (_, i): [number, Value<"i32">] => [i, done]);
    await assertRejects(() => pool.starmap(slow, items, { timeout: 1_000 }), TimeoutError);
    assertEquals(done.value, 8);
    await assertRejects(() => pool.map(slowIf, [0, 1, 2], { timeout: 1_000 }), TimeoutError);
    const found: number[] = [];
    const error = await reasonOf((async () => {
      for await (const n of pool.imap(slowIf, [5, 6, 7, 8], { timeout: 1_000 })) found.push(n);
    })());
    assertInstanceOf(error, TimeoutError);
    assertEquals(found, [5, 6]);
    await idle(pool);
    assertEquals(pool.stats().replaced, 4);
  });
});

test("Pool.map() whose signal aborts rejects at once, and stops what runs", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const begun = new Value("i32", 0);
    const run = (begun: Value<"i32">) => {
      begun.add(1);
      return new Promise<never>(() => {});
    };
    for (const chunks of [{}, { chunkSize: 1 }, { chunkSize: 7 }]) {
      begun.value = 0;
      const controller = new AbortController();
      const options = { signal: controller.signal, ...chunks };
      const call = kept(pool.map(run, new Array<Value<"i32">>(40).fill(begun), options));
      await until(() => begun.value === 2, "two items");
      controller.abort("enough");
      assertStrictEquals(await reasonOf(call), "enough");
      assertEquals(await pool.map(square, [1, 2, 3]), [1, 4, 9]);
      await idle(pool);
      assertEquals(begun.value, 2);
    }
    assertEquals(pool.stats().replaced, 6);
  });
});

test("Pool.imap() whose signal aborts fails once, and is over then", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const controller = new AbortController();
    const progress: number[] = [];
    const onProgress = (done: number) => progress.push(done);
    const items = [1, 2, 3, 4];
    const found = pool.imap(hang, items, { signal: controller.signal, onProgress });
    const first = kept(found.next());
    await until(() => pool.stats().running === 1, "the first item");
    controller.abort("enough");
    assertStrictEquals(await reasonOf(first), "enough");
    assertEquals(await found.next(), { done: true, value: undefined });
    assertEquals(progress, []);
    await idle(pool);
  });
});

test("Pool.apply() that is stopped frees its locks, although this thread was busy meanwhile", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const lock = new Lock();
    const here = new Event();
    const call = kept(pool.apply(lockAndLoop, [lock, here], { timeout: 100 }));
    await here.wait();
    block(600);
    await assertRejects(() => call, TimeoutError);
    const guard = await lock.acquire({ timeout: 20_000 });
    assertEquals(guard.abandoned, true);
    guard.release();
    assertEquals((await pool.apply(nameAndPid)).name, "PoolWorker-2");
  });
});

test("Pool.apply() that is stopped for its time burns no processor any more", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    for (const grace of [0, 100]) {
      const call = pool.apply(loopForever, [], { timeout: 100, grace });
      await assertRejects(() => call, TimeoutError);
    }
    assertEquals(await pool.apply(square, [3]), 9);
    let share = 1;
    // What a new worker does at its start may take a while.
    for (const deadline = Date.now() + 10_000; share > 0.3 && Date.now() < deadline;) {
      const before = process.cpuUsage();
      const start = performance.now();
      await nap(300);
      const { user, system } = process.cpuUsage(before);
      share = (user + system) / 1_000 / (performance.now() - start);
    }
    assertLess(share, 0.3);
  });
});

// -- While it answers, and after the end

test("Pool drops the result of a task that is cancelled while it answers, and spares its worker", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    // Its event loop turns again when the worker has put as much as the ring takes, and waits for room.
    const huge = (here: Event) => {
      setTimeout(() => here.set(), 0);
      return new Uint8Array(12_000_000);
    };
    const { pid } = await pool.apply(nameAndPid);
    for (let i = 0; i < 3; i++) {
      const here = new Event();
      const call = pool.applyAsync(huge, [here]);
      // Without a turn of this thread's event loop, in which all of the result might come.
      here.waitSync();
      call.cancel("too late");
      assertStrictEquals(await reasonOf(call), "too late");
      assertEquals(await pool.apply(square, [i]), i * i);
    }
    await idle(pool);
    assertEquals((await pool.apply(nameAndPid)).pid, pid);
    const { completed, failed, replaced } = pool.stats();
    assertEquals({ completed, failed, replaced }, { completed: 5, failed: 3, replaced: 0 });
  });
});

test("Pool takes no notice of a signal that aborts after the end", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { signal, abort } = ((controller) => ({
      signal: controller.signal,
      abort: () => controller.abort(),
    }))(new AbortController());
    assertEquals(await pool.apply(square, [3], { signal }), 9);
    assertEquals(await pool.map(square, [1, 2], { signal }), [1, 4]);
    assertEquals(await Array.fromAsync(pool.imap(square, [1, 2], { signal })), [1, 4]);
    const { gate, result } = await held(pool);
    abort();
    gate.set();
    assertEquals(await result, "through");
    const { failed, replaced } = pool.stats();
    assertEquals({ failed, replaced }, { failed: 0, replaced: 0 });
  });
});

test("Pool settles 2,100 calls after one was cancelled, though numbers come again", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const here = new Event();
    const call = pool.applyAsync(waitForever, [here]);
    await here.wait();
    call.cancel();
    await call.wait();
    await until(() => pool.stats().replaced === 1, "the next worker");
    for (let i = 0; i < 2_100; i++) {
      assertStrictEquals(await pool.apply(square, [i], { timeout: 25_000 }), i * i);
    }
  });
});

// -- The others

test("Pool: 200 tasks, of which every third is cancelled at some moment, and no other notices", async () => {
  await withPool({ processes: 2, maxTasksPerChild: 40 }, async (pool) => {
    const run = async (n: number, ms: number, box: Value<"i32">) => {
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
      if (n % 6 === 1) { for (const end = performance.now() + 3; performance.now() < end;); }
      if (n % 5 === 1) return box;
      return n % 17 === 3 ? new Uint8Array(1_200_000).fill(n) : n * n;
    };
    const boxes = Array.from({ length: 200 }, (_, i) => new Value("i32", i));
    const calls = boxes.map((box, i) => {
      const options = [{}, { timeout: 20_000 }, { grace: 5 }][i % 4] ?? undefined;
      return pool.applyAsync(run, [i, i % 7, box], options);
    });
    let cancelled = 0;
    for (let i = 0; i < 200; i += 3) {
      await nap(Math.random() * 6);
      const at = Math.random() < 0.5 ? i : Math.min(i + 6, 198);
      if (at % 3 === 0) calls[at]!.cancel(at);
    }
    for (const [i, call] of calls.entries()) {
      if (i % 3 === 0 && await outcomeOf(call) === i) {
        cancelled++;
        continue;
      }
      const value = await call;
      if (i % 5 === 1) assertEquals((value as Value<"i32">).value, i);
      else if (i % 17 === 3) assertEquals((value as Uint8Array).every((byte) => byte === i), true);
      else assertEquals(value, i * i);
    }
    await idle(pool);
    const { completed, failed } = pool.stats();
    assertEquals({ completed, failed }, { completed: 200 - cancelled, failed: cancelled });
    assertGreater(cancelled, 0);
  });
});

/** What it was cancelled with; undefined if it has ended well. */
async function outcomeOf(call: PromiseLike<unknown>): Promise<unknown> {
  return await call.then(() => undefined, (reason) => reason);
}

test("Pool with 10,000 watched tasks at once, and others between them, settles each", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: 10_000 }, (_, i) => {
      if (i % 7 === 3) return pool.apply(square, [i]);
      return kept(pool.apply(square, [i], i % 11 === 5 ? { signal } : { timeout: 25_000 }));
    });
    await calls[0];
    controller.abort("enough");
    const outcomes = await Promise.allSettled(calls);
    let dropped = 0;
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") assertStrictEquals(outcome.value, i * i);
      else {
        assertEquals([outcome.reason, i % 11 === 5 && i % 7 !== 3], ["enough", true]);
        dropped++;
      }
    }
    assertGreater(dropped, 0);
    await idle(pool);
    const { completed, failed } = pool.stats();
    assertEquals({ completed, failed }, { completed: 10_000 - dropped, failed: dropped });
  });
});

test("Pool cancels a task at the moment at which its worker ends by itself", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    for (let i = 0; i < 10; i++) {
      const here = new Event();
      const call = pool.applyAsync(failAt, [here, i % 5], { grace: i % 2 });
      const squares = kept(pool.map(square, [1, 2, 3, 4]));
      await here.wait();
      await nap(i % 4);
      call.cancel("both");
      const reason = await reasonOf(call);
      assert(reason === "both" || reason instanceof ProcessLostError, String(reason));
      assertEquals(await squares, [1, 4, 9, 16]);
    }
    await idle(pool);
    await until(() => pool.stats().replaced === 10, "the last replacement");
    const { completed, failed } = pool.stats();
    // A map of four items is four tasks.
    assertEquals({ completed, failed }, { completed: 40, failed: 10 });
  });
});

test("Pools side by side are cancelled by one signal, each for itself", async () => {
  await withPool({ processes: 1 }, (one) =>
    withPool({ processes: 1 }, async (two) => {
      const controller = new AbortController();
      const { signal } = controller;
      const here = [new Event(), new Event()];
      const calls = [one, two].map((pool, i) =>
        kept(pool.apply(waitForever, [here[i]!], { signal }))
      );
      const others = [one, two].map((pool, i) => kept(pool.apply(square, [i + 2])));
      for (const event of here) await event.wait();
      controller.abort("both");
      for (const call of calls) assertStrictEquals(await reasonOf(call), "both");
      assertEquals(await Promise.all(others), [4, 9]);
      assertEquals([one.stats().failed, two.stats().failed], [1, 1]);
    }));
});

test("Pool in a process cancels its tasks, too", async () => {
  const outcome = new Value("i32", 0);
  const child = new Process({ target: cancelInChild, args: [outcome, new Event()] });
  child.start();
  assertEquals(await soon(child.exited, "the process"), 0);
  assertEquals(outcome.value, 7);
});

// -- The end

test("Pool.close(), join() and terminate() while a cancelled task may still go on", async () => {
  for (const end of ["close", "terminate"] as const) {
    const pool = new Pool({ processes: 1 });
    const here = new Event();
    const heard = new Event();
    const call = pool.applyAsync(ignoreAbort, [here, heard], { grace: 200 });
    await here.wait();
    const next = kept(pool.apply(square, [3]));
    call.cancel("enough");
    assertStrictEquals(await reasonOf(call), "enough");
    await pool[end]();
    assertEquals(await soon(pool.join(), "join()"), true);
    if (end === "close") assertEquals(await next, 9);
    const { queued, running } = pool.stats();
    assertEquals({ queued, running }, { queued: 0, running: 0 });
  }
});

test("Pool whose tasks were cancelled leaves nothing that keeps the program alive", async () => {
  const program = join(ROOT, "tests/fixtures/pool_cancel_tasks.ts");
  const { code, output } = await capture([...current().command, program], 30_000);
  assertEquals([code, output.trim().split("\n")], [0, ["false", "terminated"]]);
});
