/**
 * What CPython's tests assert of its pools and executors, as far as the other tests of pools do not.
 * The map is in README.md.
 */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { WORKER_URL } from "../_worker.ts";
import { ClosedError, EncodingError, TimeoutError } from "../errors.ts";
import { isAlive, newPid } from "../memory/control.ts";
import { Pool } from "../pool.ts";
import { Value } from "../shared.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Event } from "../sync.ts";
import { LocalBackend } from "../wire/pool/local_backend.ts";
import { afterGate, crowd, initialize, wordsHere } from "./fixtures/pool_conformance.ts";
import { kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import { nameAndPid } from "./fixtures/pool_tasks.ts";

const square = (n: number): number => n * n;

// -- Making one

test("Pool that cannot be made starts no worker", () => {
  const before = newPid();
  assertThrows(() => new Pool({ initializer: "initialize" as never }), TypeError);
  assertThrows(() => new Pool({ initializer: 5 as never }), TypeError);
  assertThrows(() => new Pool({ initializer: square, initargs: [() => {}] }), EncodingError);
  assertThrows(() => new Pool({ initializer: square, initargs: 5 as never }), TypeError);
  assertThrows(() => new Pool({ processes: 3, maxTasksPerChild: 0 }), RangeError);
  assertEquals(newPid(), before + 1);
});

test("LocalBackend whose third worker cannot be started stops the first two, and throws", async () => {
  let left = 2;
  const name = {
    toString() {
      if (left-- === 0) throw new URIError("no third name");
      return "Early";
    },
  } as unknown as string;
  const before = newPid();
  const make = () => new LocalBackend({ module: WORKER_URL, size: 4, name });
  assertThrows(make, URIError, "no third name");
  assertEquals(newPid(), before + 3);
  await until(() => [1, 2].every((i) => !isAlive(before + i)), "the end of both");
});

test("Pool calls an initializer once in each worker, which has what that has set up", async () => {
  const calls = new Value("i32", 0);
  const options = { processes: 3, initializer: initialize, initargs: [calls, "a", 1] };
  await withPool(options, async (pool) => {
    const words = await pool.map(() => 0, [1, 2, 3], { chunkSize: 1 })
      .then(() => Promise.all(Array.from({ length: 30 }, () => pool.apply(wordsHere))));
    for (const each of words) assertEquals(each, ["a", 1]);
    await until(() => calls.value === 3, "the third worker");
  });
  assertEquals(calls.value, 3);
});

test("Pool of 32 workers maps 1,000 items, and ends", async () => {
  await withPool({ processes: 32 }, async (pool) => {
    const items = Array.from({ length: 1_000 }, (_, i) => i);
    assertEquals(await pool.map(square, items, { chunkSize: 1 }), items.map(square));
    assertEquals(pool.size, 32);
    pool.close();
    assertEquals(await soon(pool.join()), true);
  });
});

test("Pool runs as many tasks at once as it has workers, and no more", async () => {
  await withPool({ processes: 3 }, async (pool) => {
    const running = new Value("i32", 0);
    const gate = new Event();
    const calls = Array.from({ length: 30 }, () => kept(pool.apply(crowd, [running, gate])));
    await until(() => running.value === 3, "the third task");
    assertEquals(
      await pool.apply(square, [3], { signal: AbortSignal.timeout(50) }).catch(() => 0),
      0,
    );
    assertEquals([running.value, pool.stats().running, pool.stats().queued], [3, 3, 27]);
    gate.set();
    assertEquals((await Promise.all(calls)).length, 30);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool gives one task after the other to workers that it has", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const pids = new Set<number>();
    for (let i = 0; i < 30; i++) pids.add((await pool.apply(nameAndPid)).pid);
    assertLess(pids.size, 3);
    assertEquals(pool.stats().replaced, 0);
  });
});

// -- Inputs

test("Pool's maps of every form take an input without items", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const empty = {
      list: () => [],
      generator: () => (function* (): Generator<never> {})(),
      stream: () => (async function* (): AsyncGenerator<never> {})(),
    };
    for (const make of Object.values(empty)) {
      for (const options of [{}, { chunkSize: 1 }, { chunkSize: 7 }]) {
        assertEquals(await pool.map(square, make(), options), []);
        assertEquals(await pool.mapAsync(square, make(), options), []);
        assertEquals(await pool.starmap(square, make(), options), []);
        assertEquals(await pool.starmapAsync(square, make(), options), []);
        assertEquals(await Array.fromAsync(pool.imap(square, make(), options)), []);
        assertEquals(await Array.fromAsync(pool.imapUnordered(square, make(), options)), []);
      }
    }
    const { completed, failed } = pool.stats();
    assertEquals({ completed, failed }, { completed: 0, failed: 0 });
  });
});

test("Pool's maps of every form throw the very error of their input, which tells of no worker", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const error = new URIError("of the input");
    const { stack } = error;
    const input = () => ({
      [Symbol.iterator]: (): Iterator<never> => ({
        next() {
          throw error;
        },
      }),
    });
    const calls = [
      pool.map(square, input()),
      pool.mapAsync(square, input()).get(),
      pool.starmap(square, input()),
      pool.imap(square, input()).next(),
      pool.imapUnordered(square, input()).next(),
    ];
    for (const call of calls.map((call) => kept<unknown>(call))) {
      assertStrictEquals(await call.catch((reason) => reason), error);
    }
    assertEquals([error.stack, error.cause], [stack, undefined]);
    assertEquals(await pool.apply(square, [3]), 9);
  });
});

test("Pool.imap() with a bufferSize takes endless, empty and long inputs, chunk by chunk", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    for (const [bufferSize, chunkSize] of [[1, 1], [4, 2], [3, 5]] as const) {
      for (const imap of [pool.imap.bind(pool), pool.imapUnordered.bind(pool)] as Pool["imap"][]) {
        const options = { bufferSize, chunkSize };
        const items = Array.from({ length: 60 }, (_, i) => i);
        const results = await Array.fromAsync(imap(square, items, options));
        assertEquals(results.toSorted((a, b) => a - b), items.map(square));
        assertEquals(await Array.fromAsync(imap(square, [], options)), []);
        let read = 0;
        const endless = function* (): Generator<number> {
          for (;;) yield read++;
        };
        let taken = 0;
        for await (const _ of imap(square, endless(), options)) if (++taken === 20) break;
        assert(read <= 20 + bufferSize + 2 * chunkSize, `${read} read for 20`);
      }
    }
  });
});

// -- Results

test("AsyncResult of each of twenty results that cannot be sent fails with EncodingError", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const reasons: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      const result = pool.applyAsync(() => () => 0, [], {
        callback: () => reasons.push("a result"),
        errorCallback: (error) => reasons.push(error),
      });
      const error = await assertRejects(() => result.get(), EncodingError, "result");
      assertFalse(result.successful());
      assertStrictEquals(reasons.at(-1), error);
    }
    assertEquals(reasons.length, 20);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("AsyncResult of a hundred pending tasks: some are waited for, then all, then those that are over", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const results = Array.from({ length: 100 }, (_, i) => pool.applyAsync(afterGate, [gate, i]));
    const waits = results.map((result) => result.wait({ timeout: 30 }));
    assertEquals(await Promise.all(waits), new Array(100).fill(false));
    await assertRejects(() => results[3]!.get({ timeout: 0 }), TimeoutError, "0 ms");
    const first = kept(Promise.race(results));
    const all = kept(Promise.all(results));
    gate.set();
    assertEquals(typeof await first, "number");
    assertEquals(await all, results.map((_, i) => i));
    assertEquals(await Promise.all(results.map((result) => result.wait({ timeout: 0 }))), [
      ...new Array(100).fill(true),
    ]);
    // The same result twice gives the same twice.
    assertEquals(await Promise.all([results[5]!, results[5]!, results[5]!.get()]), [5, 5, 5]);
  });
});

test("AsyncResult in Promise.any() and race(): the first that is done, the first that fails", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const late = pool.applyAsync(afterGate, [gate, "late"]);
    const failed = pool.applyAsync(() => {
      throw new RangeError("fails");
    });
    await assertRejects(() => Promise.race([late, failed]), RangeError, "fails");
    await assertRejects(() => Promise.all([late, failed]), RangeError, "fails");
    assertEquals(await Promise.any([late, failed, pool.apply(square, [3])]), 9);
    assertEquals([late.ready(), failed.ready()], [false, true]);
    gate.set();
    const statuses = (await Promise.allSettled([late, failed])).map(({ status }) => status);
    assertEquals(statuses, ["fulfilled", "rejected"]);
  });
});

// -- The end

test("Pool.apply() in a race with close() runs or is refused, nothing in between", async () => {
  for (let round = 0; round < 5; round++) {
    await withPool({ processes: 2 }, async (pool) => {
      let refused = 0;
      const submit = async (n: number): Promise<number> => {
        for (let i = 0;; i++) {
          try {
            assertEquals(await pool.apply(square, [n + i]), (n + i) ** 2);
          } catch (error) {
            assertInstanceOf(error, ClosedError);
            refused++;
            return i;
          }
        }
      };
      const all = Promise.all([1, 2, 3, 4].map(submit));
      await until(() => pool.stats().completed > 10 * round, "some tasks");
      pool.close();
      const ran = (await all).reduce((sum, n) => sum + n);
      assertEquals(await soon(pool.join()), true);
      assertEquals([refused, pool.stats().completed, pool.stats().failed], [4, ran, 0]);
    });
  }
});

test("AsyncResult.cancel() of a thousand results, then close(): the pool ends with what has begun", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Value("i32", 0);
    const begun = [0, 1].map(() => kept(pool.apply(crowd, [here, gate])));
    await until(() => here.value === 2, "the second task");
    const results = Array.from({ length: 1_000 }, (_, n) => pool.applyAsync(square, [n]));
    const outcomes = Promise.allSettled(results);
    for (const result of results) result.cancel();
    for (const outcome of await outcomes) {
      assertEquals(outcome.status, "rejected");
      assertEquals((outcome as PromiseRejectedResult).reason.name, "AbortError");
    }
    pool.close();
    assertEquals(await pool.join({ timeout: 20 }), false);
    gate.set();
    assertEquals((await Promise.all(begun)).toSorted(), [1, 2]);
    assertEquals(await soon(pool.join()), true);
    assertEquals(pool.stats().completed, 2);
  });
});

test("Pool that was disposed of refuses work, and may be disposed of again", async () => {
  const pool = new Pool({ processes: 1 });
  const pending = pool.mapAsync(square, [1, 2, 3]);
  await soon(pool[Symbol.asyncDispose]());
  assertEquals(pending.ready() && await pending, [1, 4, 9]);
  assertThrows(() => pool.mapAsync(square, [1]), ClosedError);
  assertThrows(() => pool.applyAsync(square, [1]), ClosedError);
  assertThrows(() => pool.imapUnordered(square, [1]), ClosedError);
  await soon(pool[Symbol.asyncDispose]());
  await soon(pool.terminate());
});

// -- As a program

let printed: Promise<string[]> | undefined;

/** What the program of this file's fixture has printed. */
function inProgram(): Promise<string[]> {
  return printed ??= runProgram();
}

async function runProgram(): Promise<string[]> {
  const flag = current().name === "deno" ? "--v8-flags=--expose-gc" : "--expose-gc";
  const path = join(ROOT, "tests/fixtures/pool_conformance.ts");
  const { code, output, timedOut } = await capture([...current().command, flag, path], 60_000);
  assertEquals({ code, timedOut }, { code: 0, timedOut: false }, output);
  return output.trim().split("\n");
}

test("Pool keeps nothing of the tasks that are done, here or in its workers", async () => {
  const lines = (await inProgram()).filter((line) => line.startsWith("held"));
  assertEquals(lines, ["held of 14: 0", "held amid an iteration: 0", "held in the worker: 0"]);
});

test("AsyncResult whose callbacks throw has its result, and the throws are unhandled rejections", async () => {
  const lines = await inProgram();
  assert(lines.includes("result 5, successful true"));
  assert(lines.includes("error the task's"));
  assertEquals(lines.filter((line) => line.startsWith("unhandled")), [
    "unhandled: callback throws",
    "unhandled: errorCallback throws",
  ]);
  assert(lines.includes("goes on: 9"));
});

test("Pool with pending tasks keeps the program until they are done, open or closed, and no longer", async () => {
  const lines = await inProgram();
  const end = lines.slice(lines.indexOf("main is done") + 1);
  assertEquals(end.toSorted(), [
    "pending 1",
    "pending 2",
    "pending 3",
    "pending 4 in an open pool",
  ]);
});
