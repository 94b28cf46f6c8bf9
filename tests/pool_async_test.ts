/** Pools: results asked for later, starmap, options, initializers, replaced workers, figures, names. */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  ClosedError,
  EncodingError,
  ProcessError,
  ProcessLostError,
  TargetError,
  TimeoutError,
} from "../errors.ts";
import { type AsyncResult, Pool, type PoolOptions } from "../pool.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event, Lock } from "../sync.ts";
import { closure, transfer } from "../target.ts";
import { kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import { nameAndPid, takePlace, waitAtGate } from "./fixtures/pool_tasks.ts";
import { exit, pidOf, prepare, recall, refuseSetup, waitForever } from "./fixtures/pool_user.ts";

const USER_URL = new URL("./fixtures/pool_user.ts", import.meta.url).href;

const square = (n: number): number => n * n;
const add = (a: number, b: number): number => a + b;
const failWith = (message: string): never => {
  throw new RangeError(message);
};

let common: Pool | undefined;

/** Gives a test a pool of two workers that it has in common with others, and must not close. */
function inPool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(common ??= new Pool({ processes: 2 })));
}

/** A task that is running, and waits until it is told to end. */
async function held(pool: Pool): Promise<{ result: AsyncResult<string>; gate: Event }> {
  const gate = new Event();
  const here = new Event();
  const result = pool.applyAsync(waitAtGate, [gate, here]);
  await here.wait();
  return { result, gate };
}

// -- AsyncResult: get and wait

test(
  "AsyncResult.get() gives the result, however often, and before and after it is there",
  inPool(async (pool) => {
    const result = pool.applyAsync(add, [40, 2]);
    assertEquals(await Promise.all([result.get(), result.get(), result]), [42, 42, 42]);
    assertEquals(await result.get(), 42);
    assertEquals(await result.get({ timeout: 0 }), 42);
    assertEquals(await result.get({ timeout: -1 }), 42);
    assertEquals(await pool.applyAsync(() => undefined).get(), undefined);
    assertEquals(await pool.applyAsync(async (n: number) => await Promise.resolve(n), [3]), 3);
  }),
);

test(
  "AsyncResult.get() throws TimeoutError when its time is over, and the task goes on",
  inPool(async (pool) => {
    const { result, gate } = await held(pool);
    for (const timeout of [0, -5, 20]) {
      const error = await assertRejects(() => result.get({ timeout }), TimeoutError);
      assertInstanceOf(error, TimeoutError);
      assertStringIncludes(error.message, String(timeout));
    }
    assertEquals(result.ready(), false);
    gate.set();
    assertEquals(await result.get(), "through");
  }),
);

test(
  "AsyncResult.get() and wait() reject with the signal's own reason, and the task goes on",
  inPool(async (pool) => {
    const { result, gate } = await held(pool);
    const reason = { code: "enough" };
    for (const signal of [AbortSignal.abort(reason), undefined]) {
      const controller = new AbortController();
      const options = { signal: signal ?? controller.signal };
      const calls = Promise.allSettled([result.get(options), result.wait(options)]);
      controller.abort(reason);
      for (const outcome of await calls) {
        assertStrictEquals((outcome as PromiseRejectedResult).reason, reason);
      }
    }
    assertEquals(result.ready(), false);
    gate.set();
    assertEquals(await result.get({ signal: new AbortController().signal }), "through");
  }),
);

test(
  "AsyncResult.get() and wait() refuse a timeout that is no number of milliseconds",
  inPool(async (pool) => {
    const result = pool.applyAsync(square, [2]);
    await assertRejects(() => result.get({ timeout: NaN }), RangeError, "NaN");
    await assertRejects(() => result.wait({ timeout: NaN }), RangeError, "NaN");
    const text = "5" as unknown as number;
    await assertRejects(() => result.get({ timeout: text }), TypeError, "'timeout'");
    await assertRejects(() => result.wait({ timeout: text }), TypeError, "'timeout'");
    assertEquals(await result, 4);
  }),
);

test(
  "AsyncResult.wait() tells whether the task has ended, well or not",
  inPool(async (pool) => {
    const { result, gate } = await held(pool);
    assertEquals(await result.wait({ timeout: 0 }), false);
    assertEquals(await result.wait({ timeout: 20 }), false);
    const waiting = [result.wait(), result.wait({ timeout: 20_000 })];
    gate.set();
    assertEquals(await Promise.all(waiting), [true, true]);
    assertEquals(await result.wait({ timeout: 0 }), true);
    const failed = pool.applyAsync(failWith, ["no"]);
    assertEquals(await failed.wait(), true);
    assertEquals(await failed.wait({ timeout: 0 }), true);
  }),
);

// -- AsyncResult: ready and successful

test(
  "AsyncResult.successful() before the end throws ProcessError, then says how it went",
  inPool(async (pool) => {
    const { result, gate } = await held(pool);
    assertEquals(result.ready(), false);
    assertThrows(() => result.successful(), ProcessError, "not ended");
    gate.set();
    await result.wait();
    assertEquals([result.ready(), result.successful()], [true, true]);
    const failed = pool.applyAsync(failWith, ["no"]);
    assertThrows(() => failed.successful(), ProcessError);
    await failed.wait();
    assertEquals([failed.ready(), failed.successful()], [true, false]);
  }),
);

test(
  "AsyncResult is ready() without being waited for",
  inPool(async (pool) => {
    const results = [pool.applyAsync(square, [3]), pool.applyAsync(failWith, ["no"])];
    await until(() => results.every((result) => result.ready()), "the end of both");
    assertEquals(results.map((result) => result.successful()), [true, false]);
  }),
);

// -- AsyncResult: as a promise

test(
  "AsyncResult can be awaited, chained, raced, and returned from an async function",
  inPool(async (pool) => {
    const returned = async () => await pool.applyAsync(square, [3]);
    const chained = pool.applyAsync(square, [4]).then((n) => n + 1);
    const mended = pool.applyAsync(failWith, ["no"]).then(undefined, (error) => error.message);
    assertEquals(await Promise.all([returned(), chained, mended]), [9, 17, "no"]);
    assertEquals(await Promise.race([pool.applyAsync(square, [5])]), 25);
    assertEquals(await Promise.resolve(pool.applyAsync(square, [6])), 36);
    assertEquals(await pool.applyAsync(square, [7]).then(), 49);
    await assertRejects(async () => void await pool.applyAsync(failWith, ["on"]), RangeError, "on");
    await assertRejects(
      async () => {
        await pool.applyAsync(square, [1]).then(() => {
          throw new URIError("in then");
        });
      },
      URIError,
      "in then",
    );
  }),
);

test(
  "AsyncResult rejects all who ask with the same error",
  inPool(async (pool) => {
    const result = pool.applyAsync(failWith, ["once"]);
    const errors = (await Promise.allSettled([result.get(), result, result.get()]))
      .map((outcome) => (outcome as PromiseRejectedResult).reason);
    errors.push(await assertRejects(() => result.get({ timeout: 0 }), RangeError, "once"));
    assertEquals(new Set(errors).size, 1);
  }),
);

// -- AsyncResult: cancel

test("AsyncResult.cancel() drops a task that has not begun, with an AbortError", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { result: first, gate } = await held(pool);
    const places = new Value("i32", 0);
    const queued = pool.applyAsync(takePlace, [places]);
    const other = pool.applyAsync(takePlace, [places]);
    queued.cancel();
    const error = await assertRejects(() => queued.get(), DOMException);
    assertEquals(error.name, "AbortError");
    assertEquals([queued.ready(), queued.successful()], [true, false]);
    gate.set();
    assertEquals([await first, await other, places.value], ["through", 0, 1]);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("AsyncResult.cancel() stops a task that is running, and its worker is replaced", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const here = new Event();
    const result = pool.applyAsync(waitForever, [here]);
    await here.wait();
    const reason = new SyntaxError("not needed");
    const start = performance.now();
    result.cancel(reason);
    result.cancel(new Error("another"));
    assertStrictEquals(await assertRejects(() => result.get()), reason);
    assertLess(performance.now() - start, 1_000);
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(pool.stats().replaced, 1);
  });
});

test(
  "AsyncResult.cancel() rejects with any reason, as it is",
  inPool(async (pool) => {
    for (const reason of ["text", 0, null, false, { code: 1 }, new URIError("mine")]) {
      const result = pool.applyAsync(square, [2]);
      result.cancel(reason);
      const [outcome] = await Promise.allSettled([result.get()]);
      assertStrictEquals((outcome as PromiseRejectedResult).reason, reason);
    }
  }),
);

test(
  "AsyncResult.cancel() after the end is harmless",
  inPool(async (pool) => {
    const done = pool.applyAsync(square, [3]);
    const failed = pool.applyAsync(failWith, ["its own"]);
    await Promise.all([done.wait(), failed.wait()]);
    const { replaced, failed: failures } = pool.stats();
    for (const result of [done, failed]) result.cancel(new Error("late"));
    assertEquals([await done, done.successful()], [9, true]);
    await assertRejects(() => failed.get(), RangeError, "its own");
    assertEquals(pool.stats().replaced, replaced);
    assertEquals(pool.stats().failed, failures);
  }),
);

test("AsyncResult.cancel() with `grace` lets the task end by itself, in its worker", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const here = new Event();
    const told = new Queue<string>();
    const { currentProcess } = await import("../process.ts");
    const tidy = closure(async () => {
      const { signal } = currentProcess();
      here.set();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await told.put(String(signal.reason));
    }, { currentProcess, here, told });
    const result = pool.applyAsync(tidy, [], { grace: 20_000 });
    await here.wait();
    result.cancel("the reason");
    await assertRejects(
      async () => {
        try {
          await result;
        } catch (reason) {
          throw new Error(String(reason));
        }
      },
      Error,
      "the reason",
    );
    assertEquals(await told.get(), "the reason");
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("AsyncResult.cancel() does no harm to any of 20,000 calls that come later", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { result: first, gate } = await held(pool);
    const cancelled = pool.applyAsync(square, [1]);
    cancelled.cancel();
    gate.set();
    assertEquals([await first, await pool.apply(square, [3])], ["through", 9]);
    // A few at a time, so that each number of a task is soon used again.
    const few = [1, 2, 3, 4, 5, 6, 7, 8];
    for (let i = 0; i < 2_500; i++) {
      const calls = few.map((n) => pool.applyAsync(square, [n]).get({ timeout: 3_000 }));
      assertEquals(await Promise.all(calls), few.map(square), `after ${8 * i} calls`);
    }
  });
});

test("AsyncResult.cancel() of a map drops all that has not begun", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const ran = new Value("i32", 0);
    const here = new Event();
    const count = closure(async (_n: number) => {
      ran.add(1);
      here.set();
      await new Promise(() => {});
    }, { ran, here });
    const result = pool.mapAsync(count, Array.from({ length: 100 }, (_, i) => i));
    await here.wait();
    result.cancel("enough");
    assertStrictEquals(await result.get().then(() => "not this", (reason) => reason), "enough");
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(ran.value, 1);
  });
});

test(
  "AsyncResult.cancel() of a map whose inputs do not come rejects at once",
  inPool(async (pool) => {
    const never = (async function* (): AsyncGenerator<number> {
      await new Promise(() => {});
      yield 1;
    })();
    const result = pool.mapAsync(square, never);
    result.cancel("no more");
    assertStrictEquals(await result.get().then(() => "not this", (reason) => reason), "no more");
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

// -- Callbacks

test(
  "Pool.applyAsync() calls one of the callbacks, once, before the result is had",
  inPool(async (pool) => {
    const calls: unknown[] = [];
    const options = {
      callback: (result: unknown) => calls.push(["callback", result]),
      errorCallback: (error: unknown) => calls.push(["errorCallback", (error as Error).message]),
    };
    assertEquals(await pool.applyAsync(square, [3], options).get(), 9);
    assertEquals(calls, [["callback", 9]]);
    await pool.applyAsync(failWith, ["no"], options).wait();
    assertEquals(calls.slice(1), [["errorCallback", "no"]]);
    assertEquals(await pool.mapAsync(square, [1, 2], options), [1, 4]);
    assertEquals(calls.slice(2), [["callback", [1, 4]]]);
    await pool.starmapAsync(failWith, [["a"], ["b"]], options).wait();
    assertEquals(calls.slice(3), [["errorCallback", "a"]]);
    const cancelled = pool.applyAsync(square, [3], options);
    cancelled.cancel(new Error("cancelled"));
    cancelled.cancel(new Error("again"));
    await cancelled.wait();
    assertEquals(calls.slice(4), [["errorCallback", "cancelled"]]);
    await pool.apply(square, [3]);
    assertEquals(calls.length, 5);
  }),
);

test(
  "Pool.applyAsync() with one callback is silent about the other end",
  inPool(async (pool) => {
    const calls: string[] = [];
    const good = pool.applyAsync(square, [3], { errorCallback: () => calls.push("error") });
    const bad = pool.applyAsync(failWith, ["no"], { callback: () => calls.push("result") });
    await Promise.all([good.wait(), bad.wait()]);
    assertEquals([good.successful(), bad.successful(), calls], [true, false, []]);
  }),
);

test(
  "Pool.applyAsync() calls errorCallback for what cannot be sent, either way",
  inPool(async (pool) => {
    const outside = Number("1");
    const names: string[] = [];
    const errorCallback = (error: unknown) => names.push((error as Error).name);
    const calls: AsyncResult<unknown>[] = [
      pool.applyAsync(() => outside, [], { errorCallback }),
      pool.applyAsync((_: unknown) => {}, [() => {}], { errorCallback }),
      pool.applyAsync(() => () => {}, [], { errorCallback }),
    ];
    for (const call of calls) await call.wait();
    assertEquals(names, ["TargetError", "EncodingError", "EncodingError"]);
    await assertRejects(() => calls[0]!.get(), TargetError, "outside");
    await assertRejects(() => calls[1]!.get(), EncodingError, "args[0]");
    await assertRejects(() => calls[2]!.get(), EncodingError, "result");
  }),
);

test("AsyncResult whose error nobody asks for, or whose callback throws, ends no program", async () => {
  const program = join(ROOT, "tests/fixtures/pool_user.ts");
  const { code, output } = await capture([...current().command, program], 30_000);
  assertEquals({ code, lines: output.trim().split("\n") }, {
    code: 0,
    lines: ["5 true false", "2", '["in callback","in errorCallback"]', "true"],
  });
});

// -- mapAsync and starmapAsync

test(
  "Pool.mapAsync() and starmapAsync() give the results in the order of the items",
  inPool(async (pool) => {
    const items = Array.from({ length: 200 }, (_, i) => i);
    const later = async function* () {
      await Promise.resolve();
      yield* items;
    };
    for (const source of [items, new Set(items), items.values(), later()]) {
      assertEquals(await pool.mapAsync(square, source, { chunkSize: 7 }).get(), items.map(square));
    }
    const pairs = items.map((i): [number, number] => [i, 1]);
    assertEquals(await pool.starmapAsync(add, pairs).get(), items.map((i) => i + 1));
    assertEquals(await pool.mapAsync(square, []).get(), []);
    assertEquals(await pool.starmapAsync(add, []), []);
  }),
);

test(
  "Pool.mapAsync() rejects with the first error of its items, after the others have run",
  inPool(async (pool) => {
    const ran = new Value("i32", 0);
    const fail = closure((n: number) => {
      ran.add(1);
      if (n % 4 === 3) throw new RangeError(`item ${n}`);
    }, { ran });
    const result = pool.mapAsync(fail, [0, 1, 2, 3, 4, 5, 6, 7], { chunkSize: 1 });
    assertThrows(() => result.successful(), ProcessError);
    await assertRejects(() => result.get(), RangeError, "item 3");
    assertEquals([ran.value, result.ready(), result.successful()], [8, true, false]);
  }),
);

test("Pool's calls after close() and terminate() are refused with ClosedError", async () => {
  for (const end of ["close", "terminate"] as const) {
    const pool = new Pool({ processes: 1 });
    void pool[end]();
    assertThrows(() => pool.applyAsync(square, [1]), ClosedError, "closed");
    assertThrows(() => pool.mapAsync(square, [1]), ClosedError, "closed");
    assertThrows(() => pool.starmapAsync(add, [[1, 2]]), ClosedError, "closed");
    assertThrows(() => pool.imapUnordered(square, [1]), ClosedError, "closed");
    await assertRejects(() => pool.starmap(add, [[1, 2]]), ClosedError, "closed");
    assertEquals(await soon(pool.join()), true);
  }
});

test("Pool.terminate() ends results that are waited for with ClosedError", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const errors: unknown[] = [];
    const options = { errorCallback: (error: unknown) => errors.push(error) };
    const results = [
      pool.applyAsync(waitForever, [], options),
      pool.applyAsync(square, [1], options),
      pool.mapAsync(square, [1, 2, 3], options),
    ];
    const waiting = Promise.all(results.map((result) => result.wait()));
    await pool.terminate();
    assertEquals(await waiting, [true, true, true]);
    assertEquals(errors.length, 3);
    for (const error of errors) assertInstanceOf(error, ClosedError);
  });
});

// -- starmap

test(
  "Pool.starmap() calls with each item's own items as arguments",
  inPool(async (pool) => {
    const all = (...args: unknown[]) => args;
    const items: unknown[][] = [[], [1], [1, "two", { three: 3 }], [undefined, null], [[1, 2]]];
    for (const chunkSize of [1, 2, 10]) {
      assertEquals(await pool.starmap(all, items, { chunkSize }), items);
    }
    assertEquals(await pool.starmap(all, []), []);
    assertEquals(await pool.starmap(add, new Map([[1, 2], [3, 4]])), [3, 7]);
    assertEquals(await pool.starmap(() => 7, [[], []]), [7, 7]);
    assertEquals(await pool.starmap((a: number) => a, [[1, 2, 3]] as never), [1]);
    assertEquals(await pool.starmap((a: number, b?: number) => [a, b], [[1]]), [[1, undefined]]);
  }),
);

test(
  "Pool.starmap() refuses items that are no arrays, with their index, and runs none",
  inPool(async (pool) => {
    const ran = new Value("i32", 0);
    const count = closure((..._args: unknown[]) => ran.add(1), { ran });
    const bad: [unknown, string][] = [
      [5, "5"],
      ["ab", '"ab"'],
      [undefined, "undefined"],
      [null, "null"],
      [new Set([1]), "[object Set]"],
      [{ length: 1, 0: 1 }, "[object Object]"],
    ];
    for (const [item, shown] of bad) {
      const items = [[1], [2], item, [4]] as unknown[][];
      const later = async function* () {
        yield* items;
      };
      for (
        const call of [
          () => pool.starmap(count, items, { chunkSize: 1 }),
          () => pool.starmapAsync(count, items).get(),
          () => pool.starmap(count, later()),
        ]
      ) {
        const error = await assertRejects(call, TypeError);
        assertStringIncludes(error.message, "items[2]");
        assertStringIncludes(error.message, "must be an array");
        assertStringIncludes(error.message, `but is ${shown}`);
      }
    }
    assertEquals(ran.value, 0);
  }),
);

test(
  "Pool.starmap() rejects with an item's error after the others have run",
  inPool(async (pool) => {
    const ran = new Value("i32", 0);
    const divide = closure((a: number, b: number) => {
      ran.add(1);
      if (b === 0) throw new RangeError(`${a} by 0`);
      return a / b;
    }, { ran });
    await assertRejects(
      () => pool.starmap(divide, [[1, 1], [2, 0], [3, 0], [4, 2]], { chunkSize: 2 }),
      RangeError,
      "2 by 0",
    );
    assertEquals(ran.value, 4);
  }),
);

// -- Options

type Options = Record<string, unknown>;

/** Each call of a pool that takes options. A call may throw, or reject, or do so at its first next(). */
const CALLS: Record<string, (pool: Pool, options: Options) => Promise<unknown>> = {
  apply: async (pool, options) => await pool.apply(square, [1], options),
  applyAsync: async (pool, options) => await pool.applyAsync(square, [1], options),
  map: async (pool, options) => await pool.map(square, [1], options),
  mapAsync: async (pool, options) => await pool.mapAsync(square, [1], options),
  starmap: async (pool, options) => await pool.starmap(add, [[1, 2]], options),
  starmapAsync: async (pool, options) => await pool.starmapAsync(add, [[1, 2]], options),
  imap: async (pool, options) => await pool.imap(square, [1], options).next(),
  imapUnordered: async (pool, options) => await pool.imapUnordered(square, [1], options).next(),
};
const ALL = Object.keys(CALLS);
const MAPS = ALL.filter((name) => name.includes("map"));
const IMAPS = ["imap", "imapUnordered"];
const LATER = ["applyAsync", "mapAsync", "starmapAsync"];

/** An option: the calls that take it, values that are refused, and how an error shows each. */
const REFUSED: [string, string[], unknown[], typeof TypeError | typeof RangeError][] = [
  ["signal", ALL, [null, "stop", 5, {}, new AbortController()], TypeError],
  ["timeout", ALL, ["5", null, 5n], TypeError],
  ["timeout", ALL, [NaN], RangeError],
  ["grace", ALL, [-1, NaN], RangeError],
  ["grace", ALL, ["5", null], RangeError],
  ["transfer", ALL, [null, "none", new Set(), new ArrayBuffer(1)], TypeError],
  ["chunkSize", MAPS, [0, -1, 1.5, NaN, Infinity, "3", null, 2n], RangeError],
  ["onProgress", MAPS, [null, 5, "log", {}], TypeError],
  ["bufferSize", IMAPS, [0, -1, 1.5, NaN, Infinity, "3", null], RangeError],
  ["callback", LATER, [null, 5, "log", {}], TypeError],
  ["errorCallback", LATER, [null, 5, "log", {}], TypeError],
];

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

for (const [option, calls, values, ctor] of REFUSED) {
  test(
    `Pool refuses '${option}' of a wrong kind with ${ctor.name}: ${values.map(shown)}`,
    inPool(async (pool) => {
      const before = pool.stats();
      for (const name of calls) {
        for (const value of values) {
          const error = await assertRejects(() => CALLS[name]!(pool, { [option]: value }), ctor);
          const what = `${name}: ${error.message}`;
          assertStringIncludes(error.message, `'${option}' must be`, what);
          assertStringIncludes(error.message, shown(value), what);
        }
      }
      assertEquals(pool.stats(), before);
    }),
  );
}

test(
  "Pool takes options that are undefined, and Infinity for ever",
  inPool(async (pool) => {
    const none = {
      signal: undefined,
      timeout: undefined,
      grace: undefined,
      transfer: undefined,
      chunkSize: undefined,
      onProgress: undefined,
      bufferSize: undefined,
      callback: undefined,
      errorCallback: undefined,
    };
    for (const options of [none, { timeout: Infinity, grace: Infinity, transfer: [] }]) {
      for (const name of ALL) await CALLS[name]!(pool, options);
    }
  }),
);

test(
  "Pool refuses arguments that are no array with TypeError",
  inPool(async (pool) => {
    for (const args of [null, 5, "ab", new Set([1]), {}, { length: 0 }]) {
      for (
        const call of [
          () => pool.apply(square, args as never),
          async () => await pool.applyAsync(square, args as never),
        ]
      ) {
        const error = await assertRejects(call, TypeError);
        assertStringIncludes(error.message, "'args' must be an array");
        assertStringIncludes(error.message, shown(args));
      }
    }
  }),
);

test(
  "Pool refuses items that are not iterable with TypeError, in each form",
  inPool(async (pool) => {
    for (const items of [null, undefined, 5, {}, () => {}]) {
      const bad = items as never;
      for (
        const call of [
          () => pool.map(square, bad),
          async () => await pool.mapAsync(square, bad),
          () => pool.starmap(add, bad),
          async () => await pool.imap(square, bad).next(),
          async () => await pool.imapUnordered(square, bad).next(),
        ]
      ) {
        const error = await assertRejects(call, TypeError);
        assertStringIncludes(error.message, "'items' must be");
      }
    }
  }),
);

const REFUSED_BY_POOL: [keyof PoolOptions, unknown[], typeof TypeError | typeof RangeError][] = [
  ["processes", [0, -1, 1.5, NaN, Infinity, "2", null], RangeError],
  ["maxTasksPerChild", [0, -1, 1.5, NaN, Infinity, "2", null], RangeError],
  ["initargs", [null, 5, "ab", new Set([1]), {}], TypeError],
  ["name", [null, 5, {}], TypeError],
];

for (const [option, values, ctor] of REFUSED_BY_POOL) {
  test(`new Pool() refuses '${option}' of a wrong kind with ${ctor.name}`, () => {
    for (const value of values) {
      const options = { processes: 1, initializer: () => {}, [option]: value };
      const error = assertThrows(() => {
        // Not left behind, should it be made after all.
        void new Pool(options as PoolOptions).terminate();
      }, ctor);
      assertStringIncludes(error.message, `'${option}' must be`);
      assertStringIncludes(error.message, shown(value));
    }
  });
}

test("new Pool() and its calls refuse options in Python's spelling, and name the right one", async () => {
  for (
    const [name, right] of [["maxtasksperchild", "maxTasksPerChild"], ["initArgs", "initargs"]]
  ) {
    assertThrows(
      () => new Pool({ processes: 1, [name!]: 1 }),
      TypeError,
      `Cannot create Pool: there is no option '${name}'; write '${right}'`,
    );
  }
  await withPool({ processes: 1 }, async (pool) => {
    const chunked: object = { chunksize: 2 };
    await assertRejects(() => pool.map(square, [1], chunked), TypeError, "write 'chunkSize'");
    assertThrows(() => pool.mapAsync(square, [1], chunked), TypeError, "Cannot mapAsync:");
    assertThrows(
      () => pool.imap(square, [1], { buffer_size: 2 } as never),
      TypeError,
      "bufferSize",
    );
    const late = { error_callback() {} };
    assertThrows(() => pool.applyAsync(square, [1], late as never), TypeError, "errorCallback");
    // What is no option under any spelling is nobody's business.
    assertEquals(await pool.map(square, [3], { color: "red" } as never), [9]);
  });
});

// -- initializer

test("Pool calls its initializer once in each worker, before its first task", async () => {
  const workers = new Value("i32", 0);
  const options = { processes: 2, initializer: prepare, initargs: ["ready", workers] as never[] };
  await withPool(options, async (pool) => {
    const gates = [new Event(), new Event()];
    const here = gates.map(() => new Event());
    const running = gates.map((gate, i) => pool.apply(waitAtGate, [gate, here[i]!]));
    for (const event of here) await event.wait();
    assertEquals(workers.value, 2);
    for (const gate of gates) gate.set();
    await Promise.all(running);
    const results = await Promise.all(Array.from({ length: 50 }, () => pool.apply(recall)));
    assertEquals(results, new Array(50).fill("ready"));
    assertEquals(await pool.map(closure(() => recall(), { recall }), [1, 2, 3]), [
      "ready",
      "ready",
      "ready",
    ]);
    assertEquals(workers.value, 2);
  });
});

test("Pool calls its initializer in the workers that take another's place, too", async () => {
  const workers = new Value("i32", 0);
  const options = { processes: 1, initializer: prepare, initargs: ["again", workers] as never[] };
  await withPool(options, async (pool) => {
    for (let i = 0; i < 2; i++) {
      assertEquals(await pool.apply(recall), "again");
      await assertRejects(() => pool.apply(exit, [4]), ProcessLostError);
    }
    assertEquals(await pool.apply(recall), "again");
    assertEquals([workers.value, pool.stats().replaced], [3, 2]);
  });
});

test("Pool takes an initializer of each kind: plain, closure, task, and an export by name", async () => {
  const label = String("from a scope");
  const ready = new Event();
  const forms: [PoolOptions["initializer"], unknown[], string][] = [
    [(text: string) => void Reflect.set(globalThis, "label", text), ["plain"], "plain"],
    [closure(() => void Reflect.set(globalThis, "label", label), { label }), [], label],
    [
      closure(async (event: Event) => {
        event.set();
        await Promise.resolve();
        Reflect.set(globalThis, "label", "awaited");
      }, {}),
      [ready],
      "awaited",
    ],
  ];
  const read = () => Reflect.get(globalThis, "label");
  for (const [initializer, initargs, expected] of forms) {
    await withPool({ processes: 1, initializer: initializer!, initargs }, async (pool) => {
      assertEquals(await pool.apply(read), expected);
    });
  }
  assertEquals(ready.isSet(), true);
  const workers = new Value("i32", 0);
  const named = { module: USER_URL, name: "prepare" };
  await withPool(
    { processes: 1, initializer: named, initargs: ["named", workers] },
    async (pool) => {
      assertEquals(await pool.apply(recall), "named");
    },
  );
});

test("Pool gives its initializer live handles on shareables, however deep", async () => {
  const total = new Value("i32", 1);
  const lock = new Lock();
  const queue = new Queue<string>();
  type Deep = { things: [Map<string, Value<"i32">>]; lock: Lock; queue: Queue<string> };
  const initializer = ({ things, lock, queue }: Deep) => {
    const guard = lock.acquireSync();
    const total = things[0].get("total")!;
    total.add(10);
    Reflect.set(globalThis, "total", total);
    guard.release();
    queue.putSync("initialised");
  };
  const initargs = [{ things: [new Map([["total", total]])], lock, queue }];
  await withPool({ processes: 2, initializer, initargs }, async (pool) => {
    assertEquals([await queue.get(), await queue.get()], ["initialised", "initialised"]);
    assertEquals([total.value, lock.locked()], [21, false]);
    await pool.apply(() => Reflect.get(globalThis, "total").add(1));
    assertEquals(total.value, 22);
  });
});

test("Pool copies initargs when it is made", async () => {
  const list = [1, 2];
  const initializer = (list: number[]) => void Reflect.set(globalThis, "list", list);
  const pool = new Pool({ processes: 1, initializer, initargs: [list] });
  list.push(3);
  try {
    assertEquals(await soon(pool.apply(() => Reflect.get(globalThis, "list"))), [1, 2]);
    await assertRejects(() => pool.apply(exit, [1]), ProcessLostError);
    assertEquals(await soon(pool.apply(() => Reflect.get(globalThis, "list"))), [1, 2]);
  } finally {
    await pool.terminate();
  }
});

test("Pool whose initializer throws rejects what is pending, and what comes later, with that error", async () => {
  await withPool({ processes: 2, initializer: refuseSetup, initargs: [5n] }, async (pool) => {
    const pending = Promise.allSettled([
      pool.apply(square, [1]),
      pool.apply(square, [2], { timeout: 10_000 }),
      pool.applyAsync(square, [3]),
      pool.map(square, [1, 2, 3]),
      pool.starmap(add, [[1, 2]]),
      pool.imap(square, [1, 2]).next(),
      pool.imapUnordered(square, [1, 2]).next(),
    ]);
    for (const outcome of await pending) check(outcome);
    const later = Promise.allSettled([
      pool.apply(square, [1]),
      pool.applyAsync(square, [3]).get(),
      pool.map(square, [1, 2, 3]),
      pool.imap(square, [1, 2]).next(),
    ]);
    for (const outcome of await later) check(outcome);
    pool.close();
    assertEquals(await pool.join(), true);
  });
  function check(outcome: PromiseSettledResult<unknown>) {
    assertEquals(outcome.status, "rejected");
    const error = (outcome as PromiseRejectedResult).reason;
    assertInstanceOf(error, RangeError);
    const { name, message, code, amount, cause } = error as never as Record<string, unknown>;
    assertEquals({ name, message, code, amount }, {
      name: "PaymentError",
      message: "no setup today",
      code: "E_PAYMENT",
      amount: 5n,
    });
    assertInstanceOf(cause, URIError);
    assertEquals(cause.message, "the account");
    assertMatch(error.stack!, /pool_user\.ts/);
  }
});

for (
  const [what, initializer] of [
    ["throws at once", () => {
      throw new SyntaxError("not here");
    }],
    ["rejects", async () => {
      await Promise.resolve();
      throw new SyntaxError("not here");
    }],
  ] as const
) {
  test(`Pool whose initializer ${what} rejects a call that comes much later, too`, async () => {
    await withPool({ processes: 1, initializer }, async (pool) => {
      await assertRejects(() => pool.apply(square, [1]), SyntaxError, "not here");
      for (let i = 0; i < 3; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        await assertRejects(() => pool.apply(square, [1]), SyntaxError, "not here");
      }
      assertEquals(pool.stats().running, 0);
      assertEquals(pool.stats().queued, 0);
    });
  });
}

test("Pool whose initializer throws what is no error rejects with just that", async () => {
  const initializer = () => {
    throw { code: 17 };
  };
  await withPool({ processes: 1, initializer }, async (pool) => {
    const reason = await pool.apply(square, [1]).then(() => "not this", (reason) => reason);
    assertEquals(reason, { code: 17 });
  });
});

test("Pool whose initializer ends its worker gives up after three, with ProcessLostError", async () => {
  const started = new Value("i32", 0);
  const initializer = closure((code: number) => {
    started.add(1);
    process.exit(code);
  }, { started });
  await withPool({ processes: 1, initializer, initargs: [9] }, async (pool) => {
    const calls = [pool.apply(square, [1]), pool.apply(square, [2])];
    for (const outcome of await Promise.allSettled(calls)) {
      const { reason } = outcome as PromiseRejectedResult;
      assertInstanceOf(reason, ProcessLostError);
      assertEquals(reason.exitCode, 9);
      assertMatch(reason.message, /PoolWorker-3.*9/);
      assert(reason.pid > 1);
    }
    assertEquals(started.value, 3);
    await assertRejects(() => pool.apply(square, [1]), ProcessLostError);
    pool.close();
    assertEquals(await pool.join(), true);
  });
});

test("new Pool() refuses an initializer that is no function, or cannot be sent", () => {
  const outside = Number("1");
  const make = (options: PoolOptions) => () => {
    void new Pool({ processes: 1, ...options }).terminate();
  };
  for (const initializer of [5, "prepare", {}, { name: "x" }, true, null, 0, "", false]) {
    const error = assertThrows(make({ initializer: initializer as never }), TypeError);
    assertStringIncludes(error.message, "initializer");
  }
  const capturing = assertThrows(make({ initializer: () => outside }), TargetError);
  assertStringIncludes(capturing.message, "outside");
  const initializer = (_: unknown) => {};
  const socket = assertThrows(
    make({ initializer, initargs: [1, { socket: () => {} }] }),
    EncodingError,
  );
  assertStringIncludes(socket.message, "initargs[1].socket");
  const bytes = new Uint8Array(8);
  const moved = assertThrows(
    make({ initializer, initargs: [transfer(bytes, [bytes.buffer])] }),
    EncodingError,
  );
  assertStringIncludes(moved.message, "initargs");
  assertEquals(bytes.length, 8);
});

// -- maxTasksPerChild

test("Pool replaces a worker after maxTasksPerChild tasks: ten times for 100 of 10 each", async () => {
  await withPool({ processes: 1, maxTasksPerChild: 10 }, async (pool) => {
    const pids = await Promise.all(Array.from({ length: 100 }, () => pool.apply(pidOf)));
    const counts = Map.groupBy(pids, (pid) => pid);
    assertEquals([...counts.values()].map(({ length }) => length), new Array(10).fill(10));
    await until(() => pool.stats().replaced === 10, "the tenth replacement");
    const { completed, failed, queued, running } = pool.stats();
    assertEquals({ completed, failed, queued, running }, {
      completed: 100,
      failed: 0,
      queued: 0,
      running: 0,
    });
  });
});

test("Pool with maxTasksPerChild 1 gives each task a new worker, also one that fails", async () => {
  await withPool({ processes: 2, maxTasksPerChild: 1, name: "Once" }, async (pool) => {
    const failed = kept(pool.apply(failWith, ["counts as well"]));
    const all = await Promise.all(Array.from({ length: 4 }, () => pool.apply(nameAndPid)));
    await assertRejects(() => failed, RangeError);
    assertEquals(new Set(all.map(({ pid }) => pid)).size, 4);
    assert(all.every(({ name }) => /^Once-[1-7]$/.test(name)));
    await until(() => pool.stats().replaced === 5, "the fifth replacement");
  });
});

test("Pool counts a chunk as one task for maxTasksPerChild", async () => {
  await withPool({ processes: 1, maxTasksPerChild: 3 }, async (pool) => {
    const items = Array.from({ length: 30 }, (_, i) => i);
    const pids = await pool.map(closure(() => pidOf(), { pidOf }), items, { chunkSize: 5 });
    const runs = [...Map.groupBy(pids, (pid) => pid).values()].map(({ length }) => length);
    assertEquals(runs, [15, 15]);
    const later = pool.imap(square, items, { chunkSize: 15 });
    assertEquals(await Array.fromAsync(later), items.map(square));
    const unordered = await Array.fromAsync(pool.imapUnordered(square, items, { chunkSize: 30 }));
    assertEquals(unordered.sort((a, b) => a - b), items.map(square));
    await until(() => pool.stats().replaced === 3, "the third replacement");
  });
});

test("Pool with maxTasksPerChild runs what was accepted after an early close()", async () => {
  await withPool({ processes: 2, maxTasksPerChild: 4 }, async (pool) => {
    const calls = Array.from({ length: 8 }, (_, i) => pool.apply(square, [i]));
    const mapped = pool.map(square, [1, 2, 3, 4, 5], { chunkSize: 1 });
    const later = Array.fromAsync(pool.imap(square, [7, 8, 9]));
    pool.close();
    assertEquals(await Promise.all(calls), Array.from({ length: 8 }, (_, i) => i * i));
    assertEquals(await mapped, [1, 4, 9, 16, 25]);
    assertEquals(await later, [49, 64, 81]);
    assertEquals(await pool.join(), true);
  });
});

test("Pool with maxTasksPerChild calls its initializer in each new worker", async () => {
  const workers = new Value("i32", 0);
  const options = {
    processes: 1,
    maxTasksPerChild: 2,
    initializer: prepare,
    initargs: ["fresh", workers],
  };
  await withPool(options, async (pool) => {
    const labels = await Promise.all(Array.from({ length: 4 }, () => pool.apply(recall)));
    assertEquals(labels, new Array(4).fill("fresh"));
    await until(() => workers.value === 3, "the worker after the fourth task");
    assertEquals(pool.stats().replaced, 2);
  });
});

// -- stats and names

test("Pool.stats() counts cancelled and timed out tasks as failed, in each phase", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const zero = { size: 1, idle: 1, queued: 0, running: 0, completed: 0, failed: 0, replaced: 0 };
    assertEquals(pool.stats(), zero);
    const { result, gate } = await held(pool);
    assertEquals(pool.stats(), { ...zero, idle: 0, running: 1 });
    const queued = pool.applyAsync(square, [2]);
    const dropped = pool.applyAsync(square, [3]);
    assertEquals(pool.stats(), { ...zero, idle: 0, running: 1, queued: 2 });
    dropped.cancel();
    await dropped.wait();
    assertEquals(pool.stats(), { ...zero, idle: 0, running: 1, queued: 1, failed: 1 });
    gate.set();
    assertEquals([await result, await queued], ["through", 4]);
    await until(() => pool.stats().idle === 1, "an idle worker");
    assertEquals(pool.stats(), { ...zero, completed: 2, failed: 1 });
    await assertRejects(
      () => pool.apply(() => new Promise(() => {}), [], { timeout: 30 }),
      TimeoutError,
    );
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(pool.stats(), { ...zero, completed: 3, failed: 2, replaced: 1 });
    await Array.fromAsync(pool.imap(square, [1, 2, 3, 4], { chunkSize: 2 }));
    assertEquals(pool.stats(), { ...zero, completed: 5, failed: 2, replaced: 1 });
    await assertRejects(() => pool.apply(exit, [1]), ProcessLostError);
    await pool.apply(square, [3]);
    assertEquals(pool.stats(), { ...zero, completed: 6, failed: 3, replaced: 2 });
    const left = kept(pool.apply(waitForever, []));
    pool.close();
    await pool.terminate();
    await assertRejects(() => left, ClosedError);
    const { queued: waiting, running, completed, failed } = pool.stats();
    assertEquals({ waiting, running, completed, failed }, {
      waiting: 0,
      running: 0,
      completed: 6,
      failed: 4,
    });
  });
});

test("Pool's name is that of its workers, also in errors, and goes on counting", async () => {
  await withPool({ processes: 1, name: "Oven ü" }, async (pool) => {
    assertEquals((await pool.apply(nameAndPid)).name, "Oven ü-1");
    const error = await assertRejects(() => pool.apply(exit, [2]), ProcessLostError);
    assertEquals(error.processName, "Oven ü-1");
    assertStringIncludes(error.message, "Oven ü-1");
    assertEquals((await pool.apply(nameAndPid)).name, "Oven ü-2");
  });
});
