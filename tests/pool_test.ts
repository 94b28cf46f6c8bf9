/** Pools whose workers stay alive: calls, maps, errors, order, and the end. */

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
import { ClosedError, EncodingError, ProcessError, TargetError } from "../errors.ts";
import { Pool } from "../pool.ts";
import { cpuCount, currentProcess, Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event, Lock } from "../sync.ts";
import { closure, transfer } from "../target.ts";
import { kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import {
  activeHere,
  countCalls,
  failDeep,
  loopForever,
  meet,
  nameAndPid,
  openPool,
  poolInChild,
  takePlace,
  waitAtGate,
} from "./fixtures/pool_tasks.ts";

const TASKS_URL = new URL("./fixtures/pool_tasks.ts", import.meta.url).href;
const THROWS_URL = new URL("./fixtures/pool_throws.ts", import.meta.url).href;

const echo = <T>(value: T): T => value;
const square = (n: number): number => n * n;

/** The numbers from 0, without an end or up to an error; knows what has been read of it. */
class Numbers {
  reads = 0;
  closed = false;
  readonly #failAt: number | undefined;

  constructor(failAt?: number) {
    this.#failAt = failAt;
  }

  *[Symbol.iterator](): Generator<number> {
    try {
      while (this.reads !== this.#failAt) yield this.reads++;
      throw new URIError(`at ${this.reads}`);
    } finally {
      this.closed = true;
    }
  }

  async *later(): AsyncGenerator<number> {
    await Promise.resolve();
    yield* this;
  }
}

let common: Pool | undefined;
let single: Pool | undefined;

/** Gives a test a pool of two workers that it has in common with others, and must not close. */
function inPool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(common ??= new Pool({ processes: 2 })));
}

/** The same, with one worker. */
function inSinglePool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(single ??= new Pool({ processes: 1 })));
}

// -- Options

test("Pool refuses a number of processes that is no integer >= 1", () => {
  for (const processes of [0, -1, 1.5, NaN, Infinity, "2" as unknown as number]) {
    const error = assertThrows(() => new Pool({ processes }), RangeError);
    assertStringIncludes(
      error.message,
      `but is ${typeof processes === "string" ? '"2"' : processes}`,
    );
  }
});

test("Pool.size is the number of processes, by default one a CPU", async () => {
  await withPool({ processes: 1 }, (pool) => Promise.resolve(assertEquals(pool.size, 1)));
  await withPool({}, (pool) => Promise.resolve(assertEquals(pool.size, cpuCount())));
});

test(
  "Pool names its workers, which are daemons",
  inSinglePool(async (pool) => {
    const { name, pid, daemon } = await pool.apply(nameAndPid);
    assertEquals({ name, daemon }, { name: "PoolWorker-1", daemon: true });
    assert(pid > currentProcess().pid);
    await withPool({ processes: 1, name: "Smith" }, async (pool) => {
      assertEquals((await pool.apply(nameAndPid)).name, "Smith-1");
    });
  }),
);

// -- Targets

test(
  "Pool.apply() calls plain functions, closures, tasks and exports by name",
  inPool(async (pool) => {
    const factor = Number("7");
    const helper = closure((n: number) => n * factor, { factor });
    assertEquals(await pool.apply((a: number, b: number) => a - b, [5, 3]), 2);
    assertEquals(await pool.apply(closure((n: number) => helper(n) + 1, { helper }), [2]), 15);
    assertEquals((await pool.apply(nameAndPid)).daemon, true);
    assertEquals(await pool.apply({ module: TASKS_URL, name: "triple" }, [4]), 12);
    assertEquals(await pool.apply({ module: new URL(TASKS_URL), name: "triple" }, [5]), 15);
    assertEquals(await pool.apply(() => 1), 1);
  }),
);

test(
  "Pool.apply() keeps the state of a task's module from call to call",
  inSinglePool(async (pool) => {
    assertEquals(await Promise.all([1, 2, 3].map(() => pool.apply(countCalls))), [1, 2, 3]);
  }),
);

test(
  "Pool.apply() awaits promises, thenables and functions that are thenables",
  inPool(async (pool) => {
    const thenable = () => ({ then: (resolve: (value: number) => void) => resolve(6) });
    const callable = () =>
      Object.assign(() => 0, { then: (resolve: (value: number) => void) => resolve(7) });
    // The first call of a function goes another way than all others.
    for (let i = 0; i < 3; i++) {
      assertEquals(await pool.apply(async (n: number) => await Promise.resolve(n + 1), [4]), 5);
      assertEquals(await pool.apply(thenable), 6 as never);
      assertEquals(await pool.apply(callable), 7 as never);
    }
    await assertRejects(() => pool.apply(() => Promise.reject(new URIError("no"))), URIError, "no");
  }),
);

test(
  "Pool.apply() refuses the object of a generator function as a result, and goes on",
  inPool(async (pool) => {
    await assertRejects(
      () =>
        pool.apply(function* () {
          yield 1;
        }),
      EncodingError,
    );
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool rejects functions that capture something, with TargetError that names it",
  inPool(async (pool) => {
    const outside = Number("1");
    const other = Number("2");
    const capturing = () => outside + other;
    for (
      const call of [
        () => pool.apply(capturing),
        () => pool.map(capturing, [1]),
        () => pool.imap(capturing, [1]).next(),
      ]
    ) {
      const error = await assertRejects(call, TargetError);
      assertStringIncludes(error.message, "outside");
      assertStringIncludes(error.message, "other");
    }
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool rejects what is no function with TypeError, and goes on",
  inPool(async (pool) => {
    for (const target of [undefined, null, 5, "text", {}, { module: "./x.ts", name: "x" }]) {
      await assertRejects(() => pool.apply(target as never), TypeError, "Cannot send target");
    }
    await assertRejects(() => pool.map(5 as never, [1, 2]), TypeError, "Cannot send target");
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool.apply() rejects with TargetError when the module lacks the function, and goes on",
  inPool(async (pool) => {
    for (const name of ["nothing", "notAFunction"]) {
      for (let i = 0; i < 2; i++) {
        const error = await assertRejects(
          () => pool.apply({ module: TASKS_URL, name }),
          TargetError,
        );
        assertStringIncludes(error.message, name);
      }
    }
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool.apply() rejects with the error of a module that throws at import, and goes on",
  inPool(async (pool) => {
    const target = { module: THROWS_URL, name: "unreachable" };
    for (let i = 0; i < 3; i++) {
      await assertRejects(() => pool.apply(target), SyntaxError, "fails on purpose");
    }
    await assertRejects(() => pool.apply({ module: `${THROWS_URL}.gone`, name: "f" }), Error);
    assertEquals(pool.stats().replaced, 0);
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool makes 500 functions known before the tasks that name them",
  inPool(async (pool) => {
    const calls = Array.from({ length: 500 }, (_, i) => {
      const fn = closure(() => i, { i });
      return Promise.all([pool.apply(fn), pool.apply(fn)]);
    });
    assertEquals(await Promise.all(calls), Array.from({ length: 500 }, (_, i) => [i, i]));
  }),
);

test(
  "Pool.apply() sends the scope that a closure was given last",
  inPool(async (pool) => {
    let n = 0;
    const fn = closure(() => n, { n: 1 });
    assertEquals(await pool.apply(fn), 1);
    const queued = pool.apply(fn);
    closure(fn, { n: 2 });
    assertEquals(await Promise.all([queued, pool.apply(fn), pool.apply(fn)]), [1, 2, 2]);
    n++;
  }),
);

test(
  "Pool.apply() copies the values that a closure's scope has when the pool first sends it",
  inPool(async (pool) => {
    const scope = { n: 1 };
    let n = 0;
    const fn = closure(() => n, scope);
    scope.n = 2;
    assertEquals(await pool.apply(fn), 2);
    scope.n = 3;
    assertEquals(await pool.apply(fn), 2);
    n++;
  }),
);

// -- Arguments and results

test(
  "Pool.apply() carries values of all kinds there and back",
  inPool(async (pool) => {
    const cycle: Record<string, unknown> = { n: 1 };
    cycle.self = cycle;
    const values: unknown[] = [
      undefined,
      null,
      true,
      -0,
      NaN,
      1.5,
      2n ** 100n,
      "",
      "grüß \u{1F600} \ud800",
      [1, 2, 3],
      [undefined, null, "x"],
      { a: { b: { c: [1, { d: 2 }] } } },
      new Map<unknown, unknown>([["k", new Set([1, 2])], [{ o: 1 }, [3]]]),
      new Date(5),
      /x+/gi,
      new Uint8Array([1, 2, 3]),
      new Float64Array([1.5, NaN]),
      new Uint8Array(10).buffer,
      cycle,
    ];
    for (const value of values) {
      assertEquals(await pool.apply(echo<unknown>, [value]), value);
    }
    assertEquals(await pool.apply((...all: unknown[]) => all, values), values);
    assertEquals(await pool.map(echo<unknown>, values), values);
    assertEquals(await Array.fromAsync(pool.imap(echo<unknown>, values)), values);
  }),
);

test(
  "Pool.apply() copies its arguments at once",
  inPool(async (pool) => {
    const list = [1, 2];
    const copy = pool.apply(echo<number[]>, [list]);
    list.push(3);
    assertEquals(await copy, [1, 2]);
  }),
);

test(
  "Pool.apply() resolves with an error that was returned, and does not throw it",
  inPool(async (pool) => {
    const given = new RangeError("as an argument", { cause: new TypeError("inner") });
    for (
      const error of [
        await pool.apply(() => new RangeError("returned", { cause: new TypeError("inner") })),
        await pool.apply(echo<RangeError>, [given]),
      ]
    ) {
      assertInstanceOf(error, RangeError);
      assertInstanceOf(error.cause, TypeError);
      assertMatch(error.message, /^(returned|as an argument)$/);
    }
  }),
);

test(
  "Pool.apply() streams arguments and results of 20 KB to 20 MB, several at once",
  inPool(async (pool) => {
    const sizes = [20_000, 1_000_000, 1_048_570, 1_048_580, 4_500_000, 20_000_000, 3_000_000, 10];
    const sum = (bytes: Uint8Array) => {
      let sum = 0;
      for (let i = 0; i < bytes.length; i += 997) sum += bytes[i]!;
      return { length: bytes.length, sum };
    };
    const inputs = sizes.map((size) => new Uint8Array(size).fill(size & 255));
    const [summed, returned, small] = await Promise.all([
      Promise.all(inputs.map((bytes) => pool.apply(sum, [bytes]))),
      Promise.all(
        sizes.map((size) =>
          pool.apply((size: number) => new Uint8Array(size).fill(size & 255), [size])
        ),
      ),
      pool.map(square, Array.from({ length: 100 }, (_, i) => i)),
    ]);
    assertEquals(summed, inputs.map(sum));
    assertEquals(returned.map(sum), inputs.map(sum));
    assertEquals(small, Array.from({ length: 100 }, (_, i) => i * i));
  }),
);

test(
  "Pool.apply() keeps the results of 5,000 outstanding calls in place",
  inPool(async (pool) => {
    const before = pool.stats();
    const calls = Array.from({ length: 5_000 }, (_, i) => pool.apply(square, [i]));
    const results = await Promise.all(calls);
    for (let i = 0; i < 5_000; i++) assertStrictEquals(results[i], i * i);
    assertEquals(pool.stats(), { ...before, completed: before.completed + 5_000 });
  }),
);

test(
  "Pool.apply() takes more work than the ring of tasks holds",
  inPool(async (pool) => {
    // 40 MB, in frames and in streams.
    const sizes = Array.from({ length: 60 }, (_, i) => i % 6 === 0 ? 2_000_000 : 400_000);
    const length = (bytes: Uint8Array) => bytes.length;
    const calls = sizes.map((size) => pool.apply(length, [new Uint8Array(size)]));
    assertEquals(await Promise.all(calls), sizes);
  }),
);

test(
  "Pool.apply() keeps arguments apart that wait for room, and results",
  inPool(async (pool) => {
    const gate = new Event();
    const here = new Event();
    const first = kept(pool.apply(waitAtGate, [gate, here]));
    const items = Array.from({ length: 40 }, (_, n) => ({ n, text: `${n} `.repeat(100_000) }));
    const calls = items.map((item) => pool.apply(echo<typeof item>, [item]));
    // The next arguments are encoded while these wait.
    for (let i = 0; i < 100; i++) kept(pool.apply(echo<unknown>, [{ i, list: [`${i}`] }]));
    gate.set();
    const results = await Promise.all(calls);
    for (const [i, { n, text }] of results.entries()) {
      assertStrictEquals(n, i);
      assertStrictEquals(text, items[i]!.text);
    }
    await first;
  }),
);

test(
  "Pool.apply() moves what transfer() marks, there and back",
  inPool(async (pool) => {
    const bytes = new Uint8Array([1, 2, 3]);
    const doubled = closure((bytes: Uint8Array) => {
      const result = bytes.map((byte) => byte * 2);
      return transfer(result, [result.buffer]);
    }, { transfer });
    const result = await pool.apply(doubled, [transfer(bytes, [bytes.buffer])]);
    assertEquals([bytes.length, [...result]], [0, [2, 4, 6]]);
  }),
);

test(
  "Pool.apply() refuses arguments that cannot be sent, with their path, and goes on",
  inPool(async (pool) => {
    const before = pool.stats().failed;
    const bad = { list: [1, { socket: () => {} }] };
    const first = await assertRejects(() => pool.apply(echo<unknown>, [bad]), EncodingError);
    assertStringIncludes(first.message, "args[0].list[1].socket");
    const second = await assertRejects(
      () => pool.apply((_a: unknown, _b: unknown) => {}, [1, Symbol("s")]),
      EncodingError,
    );
    assertStringIncludes(second.message, "args[1]");
    assertEquals(pool.stats().failed, before);
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool.apply() refuses results that cannot be sent, with their path, and goes on",
  inPool(async (pool) => {
    for (let i = 0; i < 20; i++) {
      const error = await assertRejects(
        () => pool.apply(() => ({ a: [0, () => 1] })),
        EncodingError,
      );
      assertStringIncludes(error.message, "result.a[1]");
    }
    await assertRejects(
      () => pool.apply(async () => await Promise.resolve(() => 1)),
      EncodingError,
    );
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

// -- Shareables

test(
  "Pool.apply() gives live handles on shareables in arguments, however deep",
  inPool(async (pool) => {
    const total = new Value("i32", 1);
    const queue = new Queue<number>();
    const event = new Event();
    const lock = new Lock();
    const held = lock.acquireSync();
    type Deep = { a: [Map<string, { total: Value<"i32">; lock: Lock }>] };
    const locked = await pool.apply(
      (deep: Deep, queue: Queue<number>, event: Event) => {
        const { total, lock } = deep.a[0].get("x")!;
        total.add(41);
        queue.putSync(total.value);
        event.set();
        return lock.locked();
      },
      [{ a: [new Map([["x", { total, lock }]])] }, queue, event],
    );
    held.release();
    assertEquals({ locked, total: total.value, set: event.isSet(), item: await queue.get() }, {
      locked: true,
      total: 42,
      set: true,
      item: 42,
    });
  }),
);

test(
  "Pool.map() gives live handles on shareables in a closure's scope",
  inPool(async (pool) => {
    const total = new Value("i32", 0);
    const inner = closure((n: number) => total.add(n), { total });
    const lock = new Lock();
    const add = closure((n: number) => {
      const guard = lock.acquireSync();
      inner(n);
      guard.release();
      return lock instanceof Lock;
    }, { lock, inner, Lock });
    const results = await pool.map(add, Array.from({ length: 100 }, (_, i) => i), { chunkSize: 3 });
    assertEquals(results.every(Boolean), true);
    assertEquals(total.value, 4950);
  }),
);

test(
  "Pool.apply() returns live handles on shareables, old ones and new ones",
  inPool(async (pool) => {
    const total = new Value("i32", 5);
    const same = await pool.apply((all: { total: Value<"i32"> }) => all, [{ total }]);
    same.total.add(1);
    assertEquals(total.value, 6);
    const fresh = await pool.apply(
      closure(() => {
        const made = new Value("i32", 7);
        const queue = new Queue<string>();
        queue.putNowait("from the worker");
        return { made, queue };
      }, { Value, Queue }),
    );
    assertEquals(fresh.made.value, 7);
    assertEquals(await fresh.queue.get(), "from the worker");
    assertEquals(await pool.apply((made: Value<"i32">) => made.add(1), [fresh.made]), 7);
    assertEquals(fresh.made.value, 8);
  }),
);

test(
  "Pool.apply() keeps 300 calls with shareables apart",
  inPool(async (pool) => {
    const values = Array.from({ length: 300 }, (_, i) => new Value("i32", i));
    const calls = values.map((value) => pool.apply((value: Value<"i32">) => value, [value]));
    const results = await Promise.all(calls);
    assertEquals(results.map(({ value }) => value), values.map(({ value }) => value));
  }),
);

// -- Errors

test(
  "Pool.apply() rejects with the error as it was thrown: class, message, properties, cause, stack",
  inPool(async (pool) => {
    const error = await assertRejects(() => pool.apply(failDeep, ["on purpose"]), RangeError);
    const { name, message, cause, code, detail, stack } = error as RangeError & {
      code: string;
      detail: unknown;
    };
    assertEquals({ name, message, code, detail }, {
      name: "OrderError",
      message: "on purpose",
      code: "E_ORDER",
      detail: { items: [1, 2] },
    });
    assertInstanceOf(cause, TypeError);
    assertEquals(cause.message, "the cause");
    assertMatch(stack!, /throwHere.*pool_tasks\.ts/);
    assertMatch(stack!, /failDeep.*pool_tasks\.ts/);
  }),
);

test(
  "Pool.apply() keeps the class of the built-in errors",
  inPool(async (pool) => {
    for (
      const ctor of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]
    ) {
      const fail = (name: string) => {
        throw new (globalThis as never as Record<string, ErrorConstructor>)[name]!(`a ${name}`);
      };
      const error = await assertRejects(() => pool.apply(fail, [ctor.name]), ctor);
      assertStrictEquals((error as Error).constructor, ctor);
      assertEquals((error as Error).message, `a ${ctor.name}`);
    }
  }),
);

test(
  "Pool.apply() keeps AggregateError.errors and DOMException",
  inPool(async (pool) => {
    const aggregate = await assertRejects(
      () =>
        pool.apply(() => {
          throw new AggregateError([new TypeError("one"), "two"], "both");
        }),
      AggregateError,
      "both",
    );
    assertInstanceOf(aggregate.errors[0], TypeError);
    assertEquals([aggregate.errors[0].message, aggregate.errors[1]], ["one", "two"]);
    const dom = await assertRejects(
      () =>
        pool.apply(() => {
          throw new DOMException("stop it", "AbortError");
        }),
      DOMException,
    );
    assertEquals([dom.name, dom.message, dom.code], ["AbortError", "stop it", 20]);
  }),
);

test(
  "Pool.apply() rejects with whatever was thrown, error or not",
  inPool(async (pool) => {
    const values: unknown[] = ["text", undefined, null, 0, { code: 5 }, [1, 2], new Map([[1, 2]])];
    for (const value of values) {
      const outcomes = await Promise.allSettled([
        pool.apply((value: unknown) => {
          throw value;
        }, [value]),
        pool.apply(async (value: unknown) => {
          await Promise.resolve();
          throw value;
        }, [value]),
        pool.map((value: unknown) => {
          throw value;
        }, [value]),
      ]);
      for (const outcome of outcomes) assertEquals(outcome, { status: "rejected", reason: value });
    }
  }),
);

test(
  "Pool.apply() says what was thrown if it cannot be sent",
  inPool(async (pool) => {
    const error = await assertRejects(
      () =>
        pool.apply(() => {
          throw function secret() {};
        }),
      EncodingError,
    );
    assertMatch(error.message, /thrown/);
    assertMatch(error.message, /secret/);
    const other = await assertRejects(
      () =>
        pool.apply(() => {
          throw Object.assign(new RangeError("with a function"), { retry: () => {} });
        }),
      Error,
    );
    assertStringIncludes(other.message, "with a function");
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

// -- Order

test(
  "Pool begins tasks in the order of submission",
  inSinglePool(async (pool) => {
    const places = new Value("i32", 0);
    const order = closure((_bytes: Uint8Array) => places.add(1), { places });
    // Small ones, large ones, and enough for the backlog.
    const sizes = Array.from({ length: 300 }, (_, i) => i % 50 === 7 ? 1_500_000 : i * 100);
    const calls = sizes.map((size) => pool.apply(order, [new Uint8Array(size)]));
    assertEquals(await Promise.all(calls), sizes.map((_, i) => i));
  }),
);

test(
  "Pool lets a long task delay nothing but itself",
  inPool(async (pool) => {
    const gate = new Event();
    const here = new Event();
    const long = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const short = await Promise.all(
      Array.from({ length: 500 }, (_, i) => pool.apply(square, [i])),
    );
    assertEquals(short.at(-1), 499 * 499);
    assertEquals(await pool.apply((a: Uint8Array) => a.length, [new Uint8Array(5e6)]), 5e6);
    gate.set();
    assertEquals(await long, "through");
  }),
);

test(
  "Pool puts a large task at once while another task is running",
  inPool(async (pool) => {
    const gate = new Event();
    const here = new Event();
    const long = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const length = (bytes: Uint8Array) => bytes.length;
    await pool.apply(length, [new Uint8Array(2_000_000)]);
    const start = performance.now();
    for (let i = 0; i < 12; i++) {
      // Meanwhile the pool falls asleep, waiting for results.
      await new Promise((resolve) => setTimeout(resolve, 5));
      await pool.apply(length, [new Uint8Array(2_000_000)]);
    }
    const time = performance.now() - start;
    gate.set();
    await long;
    // Not a slice of 250 ms for each.
    assertLess(time, 2_000);
  }),
);

test(
  "Pool runs tasks at the same time",
  inPool(async (pool) => {
    const one = new Event();
    const two = new Event();
    const calls = [pool.apply(meet, [one, two]), pool.apply(meet, [two, one])];
    assertEquals(await Promise.all(calls), [true, true]);
  }),
);

test("Pool uses all its workers for one map", async () => {
  await withPool({ processes: 3 }, async (pool) => {
    const here = new Value("i32", 0);
    const all = new Event();
    const wait = closure(async (_n: number) => {
      if (here.add(1) === 2) all.set();
      return await all.wait({ timeout: 10_000 });
    }, { here, all });
    assertEquals(await pool.map(wait, [1, 2, 3]), [true, true, true]);
  });
});

// -- map

test(
  "Pool.map() keeps the order of the items, whatever the size of chunks",
  inPool(async (pool) => {
    const items = Array.from({ length: 103 }, (_, i) => i);
    const squares = items.map(square);
    for (const chunkSize of [undefined, 1, 2, 50, 103, 104, 100_000]) {
      assertEquals(
        await pool.map(square, items, chunkSize === undefined ? {} : { chunkSize }),
        squares,
      );
    }
    assertEquals(await pool.map((list: number[]) => [...list, 1], [[], [0]]), [[1], [0, 1]]);
  }),
);

test(
  "Pool.map() and imap() refuse sizes that are no integer >= 1, and read nothing",
  inPool(async (pool) => {
    const source = new Numbers(5);
    for (const size of [0, -1, 1.5, NaN, Infinity, "3" as unknown as number]) {
      const map = () => pool.map(square, source, { chunkSize: size });
      await assertRejects(map, RangeError, "chunkSize");
      const imap = async (options: object) => {
        await Array.fromAsync(pool.imap(square, source, options));
      };
      await assertRejects(() => imap({ chunkSize: size }), RangeError, "chunkSize");
      await assertRejects(() => imap({ bufferSize: size }), RangeError, "bufferSize");
    }
    assertEquals(source.reads, 0);
  }),
);

test(
  "Pool.map() takes empty inputs, iterables and async iterables",
  inPool(async (pool) => {
    assertEquals(await pool.map(square, []), []);
    assertEquals(await pool.map(square, [], { chunkSize: 1 }), []);
    assertEquals(await pool.map(square, new Set([1, 2, 3])), [1, 4, 9]);
    assertEquals(
      await pool.map(
        square,
        (function* () {
          yield 4;
          yield 5;
        })(),
      ),
      [16, 25],
    );
    assertEquals(
      await pool.map(
        square,
        (async function* () {
          yield 6;
          await Promise.resolve();
          yield 7;
        })(),
      ),
      [36, 49],
    );
  }),
);

test(
  "Pool.map() rejects with the error of its input, at the first step or later, and goes on",
  inPool(async (pool) => {
    for (const at of [0, 3]) {
      const sources = [new Numbers(at), new Numbers(at).later()];
      for (const source of sources) {
        await assertRejects(() => pool.map(square, source), URIError, `at ${at}`);
      }
      await assertRejects(() => pool.map(square, new Numbers(at), { chunkSize: 2 }), URIError);
    }
    await assertRejects(() => pool.map(square, null as never), TypeError);
    assertEquals(await pool.map(square, [3]), [9]);
  }),
);

for (const chunkSize of [1, 3, 10]) {
  test(
    `Pool.map() rejects with the item's error after the others have run, chunkSize ${chunkSize}`,
    inPool(async (pool) => {
      const ran = new Value("i32", 0);
      const fail = closure((n: number) => {
        ran.add(1);
        if (n === 1 || n === 8) throw new RangeError(`item ${n}`);
        return n;
      }, { ran });
      const items = Array.from({ length: 10 }, (_, i) => i);
      await assertRejects(() => pool.map(fail, items, { chunkSize }), RangeError, "item 1");
      assertEquals(ran.value, 10);
    }),
  );
}

test(
  "Pool.map() rejects with EncodingError of the one result that cannot be sent",
  inPool(async (pool) => {
    const ran = new Value("i32", 0);
    const pick = closure((n: number) => {
      ran.add(1);
      return n === 4 ? { n, fn: () => n } : { n };
    }, { ran });
    for (const chunkSize of [1, 10]) {
      const error = await assertRejects(
        () => pool.map(pick, [0, 1, 2, 3, 4, 5, 6], { chunkSize }),
        EncodingError,
      );
      assertStringIncludes(error.message, "result.fn");
    }
    assertEquals(ran.value, 14);
  }),
);

test(
  "Pool.map() throws the first error in the order of the items, of whatever kind",
  inPool(async (pool) => {
    const fail = (n: number) => {
      if (n === 5) throw new RangeError("item 5");
      return n === 2 ? () => n : n;
    };
    await assertRejects(
      () => pool.map(fail as (n: number) => unknown, [0, 1, 2, 3, 4, 5], { chunkSize: 6 }),
      EncodingError,
    );
  }),
);

test(
  "Pool.map() leaves the chunk's other items alone when what one throws cannot be sent",
  inPool(async (pool) => {
    const fail = (n: number) => {
      if (n === 2) throw () => {};
      return n;
    };
    const seen: number[] = [];
    const error = await assertRejects(async () => {
      for await (const n of pool.imap(fail, [0, 1, 2, 3], { chunkSize: 4 })) seen.push(n);
    }, EncodingError);
    assertEquals(seen, [0, 1]);
    assertMatch(error.message, /thrown/);
  }),
);

test(
  "Pool.map() rejects with EncodingError of an item that cannot be sent, after the others have run",
  inPool(async (pool) => {
    const ran = new Value("i32", 0);
    const count = closure((_item: unknown) => ran.add(1), { ran });
    const error = await assertRejects(
      () => pool.map(count, [1, 2, () => {}, 4], { chunkSize: 1 }),
      EncodingError,
    );
    assertStringIncludes(error.message, "items[");
    assertEquals(ran.value, 3);
    assertEquals(await pool.map(square, [3]), [9]);
  }),
);

test(
  "Pool.map() and imap() report progress",
  inPool(async (pool) => {
    const calls: [number, number | undefined][] = [];
    const onProgress = (done: number, total: number | undefined) => calls.push([done, total]);
    await pool.map(square, [1, 2, 3, 4, 5], { chunkSize: 2, onProgress });
    assertEquals(calls.length, 3);
    assertEquals(calls.at(-1), [5, 5]);
    assert(calls.every(([done], i) => i === 0 || done > calls[i - 1]![0]));
    calls.length = 0;
    await Array.fromAsync(pool.imap(square, [1, 2, 3], { onProgress }));
    assertEquals(calls, [[1, 3], [2, 3], [3, 3]]);
    calls.length = 0;
    await Array.fromAsync(pool.imap(square, [1, 2].values(), { onProgress }));
    assertEquals(calls, [[1, undefined], [2, undefined]]);
    const fail = () => {
      throw new URIError("in onProgress");
    };
    await assertRejects(() => pool.map(square, [1, 2], { onProgress: fail }), URIError);
    assertEquals(await pool.map(square, [3]), [9]);
  }),
);

// -- imap

test(
  "Pool.imap() yields the results in the order of the items",
  inPool(async (pool) => {
    const items = Array.from({ length: 300 }, (_, i) => i);
    for (const chunkSize of [1, 2, 100, 1000]) {
      assertEquals(
        await Array.fromAsync(pool.imap(square, items, { chunkSize })),
        items.map(square),
      );
    }
    assertEquals(
      await Array.fromAsync(pool.imap(square, items, { bufferSize: 1 })),
      items.map(square),
    );
    assertEquals(await Array.fromAsync(pool.imap(square, [])), []);
    const it = pool.imap(square, [3]);
    assertEquals(await it.next(), { done: false, value: 9 });
    assertEquals(await it.next(), { done: true, value: undefined });
  }),
);

for (const kind of ["sync", "async"] as const) {
  test(
    `Pool.imap() reads an endless ${kind} input no further than bufferSize ahead, and closes it`,
    inPool(async (pool) => {
      for (const [bufferSize, chunkSize] of [[5, 1], [12, 3]] as const) {
        const source = new Numbers();
        const input = kind === "sync" ? source : source.later();
        let taken = 0;
        for await (const result of pool.imap(square, input, { bufferSize, chunkSize })) {
          assertEquals(result, taken * taken);
          taken++;
          const most = taken + bufferSize + chunkSize - 1;
          assert(source.reads <= most, `${source.reads} read for ${taken}`);
          if (taken === 40) break;
        }
        assertEquals(source.closed, true);
      }
      assertEquals(await pool.apply(square, [3]), 9);
    }),
  );
}

test("Pool.imap() that was accepted goes on after close(), whatever its input", async () => {
  for (const input of [[1, 2, 3], new Set([1, 2, 3]), [1, 2, 3].values(), new Numbers(3)]) {
    const pool = new Pool({ processes: 1 });
    const results = pool.imap(square, input, { bufferSize: 1 });
    const seen: number[] = [];
    pool.close();
    try {
      for await (const result of results) seen.push(result);
    } catch (error) {
      assertInstanceOf(error, URIError);
    }
    assertEquals(seen, input instanceof Numbers ? [0, 1, 4] : [1, 4, 9]);
    await soon(pool.join());
  }
});

test("Pool.map() over an async input is accepted when it is called", async () => {
  const pool = new Pool({ processes: 1 });
  const mapped = pool.map(square, new Numbers(3).later());
  const mapped2 = pool.map(
    square,
    (async function* () {
      yield 5;
      await new Promise((resolve) => setTimeout(resolve, 20));
      yield 6;
    })(),
  );
  pool.close();
  await assertRejects(() => mapped, URIError);
  await soon(pool.join());
  assertEquals(await mapped2, [25, 36]);
});

test("Pool.terminate() rejects a map whose input does not come, and join() is not held up", async () => {
  const pool = new Pool({ processes: 1 });
  const never = (async function* (): AsyncGenerator<number> {
    await new Promise(() => {});
    yield 1;
  })();
  const mapped = kept(pool.map(square, never));
  pool.close();
  assertEquals(await pool.join({ timeout: 50 }), false);
  const joined = pool.join();
  await soon(pool.terminate());
  await assertRejects(() => mapped, ClosedError);
  await soon(joined);
});

test("Pool.join() cuts off an imap over a generator that nobody consumes", async () => {
  const pool = new Pool({ processes: 1 });
  const source = new Numbers();
  const left = pool.imap(square, source);
  const begun = pool.imap(square, source);
  assertEquals(await begun.next(), { done: false, value: 0 });
  pool.close();
  await soon(pool.join());
  await assertRejects(async () => {
    for (;;) await begun.next().then(({ done }) => assert(!done));
  }, ClosedError);
  await assertRejects(() => left.next(), ClosedError);
});

test(
  "Pool.imap() reads nothing before the first result is asked for",
  inPool((pool) => {
    const source = new Numbers();
    pool.imap(square, source);
    assertEquals(source.reads, 0);
    return Promise.resolve();
  }),
);

test(
  "Pool.imap() yields what is finished although its input does not come",
  inPool(async (pool) => {
    const more = Promise.withResolvers<void>();
    async function* slow() {
      yield 2;
      yield 3;
      await more.promise;
      yield 4;
    }
    const results = pool.imap(square, slow());
    assertEquals((await results.next()).value, 4);
    assertEquals((await results.next()).value, 9);
    more.resolve();
    assertEquals((await results.next()).value, 16);
    assertEquals((await results.next()).done, true);
  }),
);

test(
  "Pool.imap() can be left although its input does not come",
  inPool(async (pool) => {
    const never = Promise.withResolvers<void>();
    async function* stuck() {
      yield 2;
      await never.promise;
    }
    for await (const result of pool.imap(square, stuck())) {
      assertEquals(result, 4);
      break;
    }
    never.resolve();
  }),
);

test(
  "Pool.imap() throws an item's error at its position, and closes the input",
  inPool(async (pool) => {
    for (const chunkSize of [1, 2, 10]) {
      const source = new Numbers();
      const fail = (n: number) => {
        if (n === 5) throw new RangeError("item 5");
        return n;
      };
      const seen: number[] = [];
      await assertRejects(
        async () => {
          for await (const n of pool.imap(fail, source, { chunkSize })) seen.push(n);
        },
        RangeError,
        "item 5",
      );
      assertEquals(seen, [0, 1, 2, 3, 4]);
      assertEquals(source.closed, true);
    }
  }),
);

test(
  "Pool.imap() throws its input's error at its position",
  inPool(async (pool) => {
    for (const [at, chunkSize] of [[0, 1], [3, 1], [7, 2], [7, 4]] as const) {
      const seen: number[] = [];
      await assertRejects(
        async () => {
          const results = pool.imap(echo<number>, new Numbers(at), { chunkSize });
          for await (const n of results) seen.push(n);
        },
        URIError,
        `at ${at}`,
      );
      assertEquals(seen, Array.from({ length: at }, (_, i) => i));
    }
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

// -- The end

test("Pool.close() refuses new work with ClosedError, and runs what was accepted", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const calls = [
      kept(pool.apply(waitAtGate, [gate, here])),
      ...Array.from({ length: 100 }, () => kept(pool.apply(waitAtGate, [gate, here]))),
    ];
    pool.close();
    pool.close();
    const source = new Numbers(1);
    await assertRejects(() => pool.apply(square, [1]), ClosedError, "closed");
    await assertRejects(() => pool.map(square, source), ClosedError, "closed");
    await assertRejects(() => pool.map(square, []), ClosedError, "closed");
    await assertRejects(async () => void await pool.imap(square, source).next(), ClosedError);
    assertEquals(source.reads, 0);
    gate.set();
    assertEquals(await Promise.all(calls), new Array(101).fill("through"));
    assertEquals(await pool.join(), true);
  });
});

test("Pool.close() right after map() lets the map run", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const results = pool.map(square, [1, 2, 3], { chunkSize: 1 });
    pool.close();
    assertEquals(await results, [1, 4, 9]);
  });
});

test("Pool.close() within an imap() lets what was read still come", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const results = pool.imap(square, [1, 2, 3]);
    assertEquals((await results.next()).value, 1);
    pool.close();
    assertEquals((await results.next()).value, 4);
    assertEquals((await results.next()).value, 9);
    assertEquals((await results.next()).done, true);
  });
});

test("Pool.close() while a large task waits for room lets it run", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const first = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const length = (bytes: Uint8Array) => bytes.length;
    // Four of these fill the ring.
    const frames = Array.from(
      { length: 4 },
      () => kept(pool.apply(length, [new Uint8Array(1_000_000)])),
    );
    const large = kept(pool.apply(length, [new Uint8Array(3_000_000)]));
    // A result makes the pool look after its backlog.
    await new Promise((resolve) => setTimeout(resolve, 400));
    pool.close();
    gate.set();
    assertEquals(await Promise.all([first, ...frames, large]), [
      "through",
      ...new Array(4).fill(1_000_000),
      3_000_000,
    ] as never);
    assertEquals(await pool.join(), true);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool.close() with one task running replaces none of the workers that have nothing to do", async () => {
  await withPool({ processes: 3 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const call = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    pool.close();
    assertEquals(await pool.join({ timeout: 300 }), false);
    assertEquals(pool.stats().replaced, 0);
    gate.set();
    assertEquals(await call, "through");
    assertEquals(await pool.join(), true);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool.join() says whether the workers have ended, any number of times", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const call = kept(pool.apply(waitAtGate, [gate, here]));
    await assertRejects(() => pool.join(), ProcessError, "close()");
    pool.close();
    assertEquals(await pool.join({ timeout: 0 }), false);
    assertEquals(await pool.join({ timeout: 20 }), false);
    await assertRejects(() => pool.join({ timeout: NaN }), RangeError);
    const reason = new Error("the signal's reason");
    const error = await assertRejects(
      () => pool.join({ signal: AbortSignal.abort(reason) }),
      Error,
    );
    assertStrictEquals(error, reason);
    gate.set();
    assertEquals(await call, "through");
    assertEquals(await pool.join({ timeout: 10_000 }), true);
    assertEquals(await pool.join(), true);
    assertEquals(await pool.join({ timeout: 0 }), true);
  });
});

test("Pool.close() of a pool that was never used ends it", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    pool.close();
    assertEquals(await pool.join(), true);
  });
});

test("Pool.terminate() rejects what is pending and running with ClosedError, at once", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const here = new Event();
    const calls = [
      pool.apply(loopForever, [here]),
      ...Array.from({ length: 10_000 }, (_, i) => pool.apply(square, [i])),
      pool.apply(loopForever, []),
      ...Array.from({ length: 1_000 }, (_, i) => pool.apply(square, [i])),
      pool.apply((bytes: Uint8Array) => bytes.length, [new Uint8Array(6_000_000)]),
      pool.map(square, [1, 2, 3]),
      pool.imap(square, [1, 2, 3]).next(),
    ];
    const settled = Promise.allSettled(calls);
    await here.wait();
    // The other worker has run the short ones, and come to the second loop.
    await until(() => pool.stats().completed === 10_000, "the second loop");
    assertEquals(pool.stats().running, 2);
    const start = performance.now();
    const terminated = pool.terminate();
    const outcomes = await settled;
    assertLess(performance.now() - start, 1_000);
    const { reason } = outcomes[0] as PromiseRejectedResult;
    assertInstanceOf(reason, ClosedError);
    assertStringIncludes(reason.message, "terminated");
    const last = outcomes.slice(10_001);
    assert(last.every((one) => one.status === "rejected" && one.reason instanceof ClosedError));
    await Promise.all([terminated, pool.terminate()]);
    assertLess(performance.now() - start, 5_000);
    assertEquals(await pool.join(), true);
    await assertRejects(() => pool.apply(square, [1]), ClosedError);
    pool.close();
  });
});

test("Pool.terminate() right after the start, and after close()", async () => {
  await withPool({ processes: 2 }, (pool) => pool.terminate());
  await withPool({ processes: 1 }, async (pool) => {
    const gate = new Event();
    const call = kept(pool.apply(waitAtGate, [gate, new Event()]));
    pool.close();
    const terminated = pool.terminate();
    await assertRejects(() => call, ClosedError);
    await terminated;
    assertEquals(await pool.join(), true);
  });
});

test("Pool at the end of `await using` has run what it has accepted", async () => {
  const pool = new Pool({ processes: 2 });
  const ran = new Value("i32", 0);
  const count = closure(() => ran.add(1), { ran });
  const calls = Array.from({ length: 50 }, () => pool.apply(count));
  await soon(pool[Symbol.asyncDispose]());
  assertEquals(ran.value, 50);
  assertEquals((await Promise.all(calls)).length, 50);
  await pool[Symbol.asyncDispose]();
  await assertRejects(() => pool.apply(square, [1]), ClosedError);
});

test("Pool.stats() counts in each phase", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const zero = { size: 2, idle: 2, queued: 0, running: 0, completed: 0, failed: 0, replaced: 0 };
    assertEquals(pool.stats(), zero);
    const gate = new Event();
    const here = [new Event(), new Event()] as const;
    const running = here.map((event) => pool.apply(waitAtGate, [gate, event]));
    const queued = [
      ...Array.from({ length: 5 }, () => pool.apply(square, [2])),
      pool.apply(failDeep, ["counted"]),
      // Waits in the backlog, and is counted all the same.
      pool.apply((bytes: Uint8Array) => bytes.length, [new Uint8Array(9_000_000)]),
      pool.apply(square, [2]),
    ];
    const settled = Promise.allSettled([...running, ...queued]);
    await here[0].wait();
    await here[1].wait();
    assertEquals(pool.stats(), { ...zero, idle: 0, queued: 8, running: 2 });
    gate.set();
    await settled;
    assertEquals(pool.stats(), { ...zero, completed: 9, failed: 1 });
    await pool.map(square, [1, 2, 3, 4], { chunkSize: 2 });
    assertEquals(pool.stats(), { ...zero, completed: 11, failed: 1 });
    const left = Promise.allSettled(
      Array.from({ length: 3 }, () => pool.apply(waitAtGate, [new Event(), new Event()])),
    );
    await pool.terminate();
    await left;
    const { queued: nothing, running: none, completed, failed } = pool.stats();
    assertEquals([nothing, none, completed, failed], [0, 0, 11, 4]);
  });
});

// -- Pools and processes

test("Pool in a process works, and knows its own workers", async () => {
  const sum = new Value("i32", 0);
  const child = new Process({ target: poolInChild, args: [sum, "Inner"] });
  child.start();
  await soon(child.join());
  assertEquals([child.exitCode, sum.value], [0, 30]);
});

test(
  "Pool in a pool's worker is refused with ProcessError",
  inPool(async (pool) => {
    await assertRejects(() => pool.apply(openPool), ProcessError, "daemon");
    assertEquals(await pool.apply(activeHere), 0);
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pools work side by side, with the same functions",
  inPool(async (one) => {
    await inSinglePool(async (two) => {
      const results = [one, two].flatMap((pool) => [1, 2, 3].map((n) => pool.apply(square, [n])));
      assertEquals(await Promise.all(results), [1, 4, 9, 1, 4, 9]);
      const places = new Value("i32", 0);
      await Promise.all([one.apply(takePlace, [places]), two.apply(takePlace, [places])]);
      assertEquals(places.value, 2);
    })();
  }),
);

test("Pool that nobody holds any more does no harm", async () => {
  const use = async () => {
    const forgotten = new Pool({ processes: 1 });
    assertEquals(await forgotten.apply(square, [3]), 9);
  };
  await soon(use());
  (globalThis as { gc?: () => void }).gc?.();
  await soon(use());
});

test("Pool.close() ends the pools that these tests have in common", async () => {
  for (const pool of [common, single]) {
    if (pool === undefined) continue;
    pool.close();
    assertEquals(await soon(pool.join()), true);
    const { queued, running, replaced } = pool.stats();
    assertEquals({ queued, running, replaced }, { queued: 0, running: 0, replaced: 0 });
  }
});
