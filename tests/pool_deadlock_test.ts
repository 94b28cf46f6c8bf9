/**
 * A pool whose calls fail at each point of their way, in each way: every call settles with an error of
 * the contract, and the pool goes on, or is broken by an error that says so. Nothing hangs.
 */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ClosedError, EncodingError, ProcessLostError } from "../errors.ts";
import { TERMINATED } from "../memory/control.ts";
import { Pool } from "../pool.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Event } from "../sync.ts";
import { closure } from "../target.ts";
import { stop } from "../wire/spawn.ts";
import {
  type Deed,
  echoBytes,
  endOfCaller,
  exitWithBytes,
  give,
  perform,
  prepare,
  Snag,
  take,
} from "./fixtures/pool_deadlock.ts";
import { block, kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import { nameAndPid, waitAtGate } from "./fixtures/pool_tasks.ts";

const OPTIONS = { processes: 2, initializer: prepare };

const square = (n: number): number => n * n;
const lengthOf = (bytes: Uint8Array): number => bytes.length;

/** Where a task fails that its worker brings to fail. */
type Place = "while its arguments are decoded" | "in its function" | "while its result is encoded";

/** The function and the argument that fail at a place; an argument `n` is fine. */
function snagAt(place: Place, deed: Deed, memory?: SharedArrayBuffer) {
  if (place === "in its function") return { fn: perform, bad: deed };
  if (place === "while its result is encoded") return { fn: give, bad: ["encode", deed, memory] };
  return { fn: take, bad: new Snag("decode", deed, memory) };
}

/** Checks that an error says what the deed at that place comes to. */
function assertError(error: unknown, place: Place, deed: Deed): void {
  if (deed === "exits" || deed === "terminates itself") {
    assertInstanceOf(error, ProcessLostError);
    assertEquals(error.exitCode, deed === "exits" ? 7 : TERMINATED);
  } else if (place === "in its function") {
    assertInstanceOf(error, RangeError);
    assertEquals([error.name, error.message], ["SnagError", "on purpose"]);
  } else {
    assertInstanceOf(error, EncodingError);
    assertStringIncludes(error.message, "on purpose");
  }
}

async function errorOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then((value) => assertFalse(true, `it has come to ${value}`), (error) => error);
}

/** Consumes results to their end, which is an error. */
async function drain(results: AsyncIterable<unknown>, seen: unknown[]): Promise<unknown> {
  try {
    for await (const result of results) seen.push(result);
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Resolves when nothing of what was submitted is left, in the ring or with a worker. */
async function rest(pool: Pool): Promise<void> {
  await until(() => pool.stats().queued + pool.stats().running === 0, "a pool at rest");
}

// -- In a worker

const PLACES: Place[] = [
  "while its arguments are decoded",
  "in its function",
  "while its result is encoded",
];

for (const place of PLACES) {
  for (const deed of ["throws", "exits", "terminates itself"] as const) {
    test(`Pool goes on when a task ${deed} ${place}`, async () => {
      await withPool(OPTIONS, async (pool) => {
        const { fn, bad } = snagAt(place, deed);
        const call = pool.apply.bind(pool, fn as never) as (args: unknown[]) => Promise<unknown>;
        const good = Array.from({ length: 20 }, (_, i) => kept(pool.apply(square, [i])));
        const calls = [bad, snagAt(place, deed, new SharedArrayBuffer(8)).bad].map((bad) =>
          kept(call([bad]))
        );
        const more = Array.from({ length: 20 }, (_, i) => kept(pool.apply(square, [i])));
        for (const each of calls) assertError(await errorOf(each), place, deed);
        const squares = Array.from({ length: 20 }, (_, i) => i * i);
        assertEquals(await Promise.all([...good, ...more]), [...squares, ...squares]);

        const items = [0, 1, 2, bad, 4, 5] as never[];
        const map = pool.map(fn as (item: never) => unknown, items, { chunkSize: 2 });
        assertError(await errorOf(map), place, deed);
        const seen: unknown[] = [];
        const imap = pool.imap(fn as (item: never) => unknown, items, { chunkSize: 1 });
        assertError(await drain(imap, seen), place, deed);
        assertEquals(seen, [0, 1, 2]);

        const deaths = deed === "throws" ? 0 : 4;
        await until(() => pool.stats().replaced === deaths, `replacement ${deaths}`);
        assertEquals(await pool.map(square, [1, 2, 3], { chunkSize: 1 }), [1, 4, 9]);
        await rest(pool);
        pool.close();
        assertEquals(await pool.join({ timeout: 10_000 }), true);
      });
    });
  }
}

// -- In the caller

for (const point of ["encode", "decode"] as const) {
  const place = point === "encode" ? "an argument is encoded" : "a result is decoded";

  test(`Pool goes on when something throws in the caller while ${place}`, async () => {
    await withPool(OPTIONS, async (pool) => {
      const fn = (point === "encode" ? take : give) as (item: unknown) => unknown;
      for (const memory of [undefined, new SharedArrayBuffer(8)]) {
        const bad = point === "encode"
          ? new Snag(point, "throws", memory)
          : [point, "throws", memory];
        const around = [1, 2].map((n) => kept(pool.apply(square, [n])));
        const errors = [
          await errorOf(pool.apply(fn, [bad])),
          await errorOf(pool.map(fn, [0, 1, bad, 3], { chunkSize: 1 })),
          await drain(pool.imap(fn, [bad, 1]), []),
          await drain(pool.imapUnordered(fn, [bad, 1]), []),
        ];
        for (const error of errors) {
          assertInstanceOf(error, EncodingError);
          assertStringIncludes(error.message, "on purpose");
        }
        assertEquals(await Promise.all(around), [1, 4]);
      }
      // What is no SharedArrayBuffer's matter: a getter.
      const getter = {
        get trap() {
          throw new URIError("in a getter");
        },
      }; // deno-fmt-ignore
      await assertRejects(() => pool.apply(take, [getter]), EncodingError, "args[0].trap");
      assertEquals(await pool.map(square, [1, 2, 3], { chunkSize: 1 }), [1, 4, 9]);
      // What an iterator has begun when it failed may still run.
      await rest(pool);
      assertEquals(pool.stats().replaced, 0);
      pool.close();
      assertEquals(await pool.join({ timeout: 10_000 }), true);
    });
  });

  for (const deed of ["exits", "terminates itself"] as const) {
    test(`Pool's workers end with a caller that ${deed} while ${place}`, async () => {
      const exitCode = deed === "exits" ? 7 : TERMINATED;
      assertEquals(await soon(endOfCaller(point, deed)), { exitCode, abandoned: true });
    });
  }
}

// -- Errors that nobody catches

let printed: Promise<Map<string, Record<string, unknown>>> | undefined;

/** What the program of errors that nobody catches has printed, by what it is about. */
function inProgram(what: string): Promise<Record<string, unknown> | undefined> {
  printed ??= runProgram();
  return printed.then((lines) => lines.get(what));
}

async function runProgram(): Promise<Map<string, Record<string, unknown>>> {
  const program = join(ROOT, "tests/fixtures/pool_deadlock.ts");
  const { code, output, timedOut } = await capture([...current().command, program], 60_000);
  assertEquals({ code, timedOut }, { code: 0, timedOut: false }, output);
  const lines = output.split("\n").filter((line) => line.startsWith('{"what"'));
  return new Map(lines.map((line) => {
    const { what, ...rest } = JSON.parse(line);
    return [what, rest];
  }));
}

for (const place of ["decode", "function"]) {
  const where = place === "decode" ? "while its arguments are decoded" : "in its function";
  test(`Pool goes on when a timer that was set ${where} throws amid the task`, async () => {
    assertEquals(await inProgram(place), {
      name: "ProcessLostError",
      exitCode: 1,
      code: "E_SNAG",
      message: "later",
      next: 9,
    });
  });
}

test("Pool goes on when a timer that was set while a result is encoded throws after the answer", async () => {
  assertEquals(await inProgram("encode"), { name: "none", next: 9 });
});

for (const point of ["encode", "decode"]) {
  const place = point === "encode" ? "an argument is encoded" : "a result is decoded";
  test(`Pool's workers end with a caller that ends by a timer set while ${place}`, async () => {
    assertEquals(await inProgram(`caller ${point}`), { exitCode: 1, abandoned: true });
  });
}

test("Pool.close() that nobody waits for, with arguments that fail and a worker that exits, ends the program", async () => {
  const { name, message } = (await inProgram("close"))!;
  assertEquals(name, "EncodingError");
  assertStringIncludes(String(message), "args[0]");
  assertEquals(await inProgram("exit after close"), { name: "ProcessLostError", exitCode: 7 });
});

// -- The end

for (const deed of ["throws", "exits", "terminates itself"] as const) {
  test(`Pool.close() while each worker has a task that ${deed} ends the pool`, async () => {
    await withPool(OPTIONS, async (pool) => {
      const calls = PLACES.flatMap((place) => {
        const { fn, bad } = snagAt(place, deed);
        return [0, 1].map(() => ({ place, call: kept(pool.apply(fn as never, [bad] as never)) }));
      });
      const good = kept(pool.map(square, [1, 2, 3], { chunkSize: 1 }));
      pool.close();
      for (const { place, call } of calls) assertError(await errorOf(call), place, deed);
      assertEquals(await good, [1, 4, 9]);
      assertEquals(await pool.join({ timeout: 20_000 }), true);
    });
  });

  test(`Pool.terminate() while each worker has a task that ${deed} settles all`, async () => {
    await withPool(OPTIONS, async (pool) => {
      const calls = PLACES.flatMap((place) => {
        const { fn, bad } = snagAt(place, deed);
        return [0, 1].map(() => ({ place, call: kept(pool.apply(fn as never, [bad] as never)) }));
      });
      await soon(Promise.race(calls.map(({ call }) => call.catch(() => {}))));
      await soon(pool.terminate(), "terminate()");
      for (const { place, call } of calls) {
        const error = await errorOf(call);
        if (!(error instanceof ClosedError)) assertError(error, place, deed);
      }
    });
  });
}

test("Pool.join() right after arguments that cannot be encoded ends", async () => {
  const pool = new Pool(OPTIONS);
  const calls = [new Snag("encode", "throws"), () => {}].map((bad) =>
    kept(pool.apply(take, [bad]))
  );
  pool.close();
  for (const call of calls) await assertRejects(() => call, EncodingError);
  assertEquals(await pool.join({ timeout: 10_000 }), true);
});

// -- Large items and full rings

test("Pool.map() whose every item is large and ends its worker rejects, and the pool goes on", async () => {
  await withPool(OPTIONS, async (pool) => {
    const items = Array.from({ length: 4 }, () => new Uint8Array(5_000_000));
    const error = await assertRejects(
      () => pool.map(exitWithBytes, items, { chunkSize: 1 }),
      ProcessLostError,
    );
    assertEquals(error.exitCode, 7);
    assertEquals(pool.stats().failed, 4);
    assertEquals((await pool.apply(echoBytes, [items[0]!])).length, 5_000_000);
    await rest(pool);
  });
});

test("Pool goes on when workers are stopped amid 10 MB on their way in and out", async () => {
  await withPool(OPTIONS, async (pool) => {
    const bytes = new Uint8Array(10_000_000);
    for (const ms of [0, 3, 9, 25]) {
      const { pid } = await pool.apply(nameAndPid);
      const calls = Array.from({ length: 3 }, () => kept(pool.apply(echoBytes, [bytes])));
      const small = kept(pool.apply(square, [3]));
      await new Promise((resolve) => setTimeout(resolve, ms));
      const { replaced } = pool.stats();
      stop(pid, TERMINATED);
      const outcomes = await Promise.allSettled([...calls, small]);
      const losses = outcomes.filter((outcome) => outcome.status === "rejected");
      for (const { reason } of losses) assertInstanceOf(reason, ProcessLostError);
      assert(losses.length <= 1, `${losses.length} calls are lost by one end`);
      for (const outcome of outcomes.slice(0, 3)) {
        if (outcome.status === "fulfilled") {
          assertEquals((outcome.value as Uint8Array).length, bytes.length);
        }
      }
      await until(() => pool.stats().replaced === replaced + 1, "the replacement");
      assertEquals(await pool.map(lengthOf, [bytes.subarray(0, 3_000_000)]), [3_000_000]);
    }
    pool.close();
    assertEquals(await pool.join({ timeout: 10_000 }), true);
  });
});

test("Pool goes on when a worker ends that waits for room in the ring of results", async () => {
  await withPool(OPTIONS, async (pool) => {
    const pids = new Set<number>();
    while (pids.size < 2) pids.add((await pool.apply(nameAndPid)).pid);
    const [first] = pids;
    const make = closure((n: number) => new Uint8Array(1_000_000).fill(n), {});
    const calls = Array.from({ length: 16 }, (_, n) => kept(pool.apply(make, [n])));
    await Promise.resolve();
    // Nobody takes results meanwhile: the ring has room for four at most.
    block(300);
    stop(first!, TERMINATED);
    block(100);
    const outcomes = await Promise.allSettled(calls);
    const losses = outcomes.filter((outcome) => outcome.status === "rejected");
    assert(losses.length <= 1, `${losses.length} calls are lost by one end`);
    for (const { reason } of losses) assertInstanceOf(reason, ProcessLostError);
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") {
        assertEquals([outcome.value.length, outcome.value[999_999]], [1_000_000, n]);
      }
    }
    await until(() => pool.stats().replaced === 1, "the replacement");
    assertEquals(await pool.map(square, [1, 2, 3], { chunkSize: 1 }), [1, 4, 9]);
  });
});

test("Pool goes on when all workers end before a full ring of tasks and a backlog", async () => {
  await withPool(OPTIONS, async (pool) => {
    const gate = new Event();
    const here = [new Event(), new Event()];
    const gated = here.map((event) => kept(pool.apply(waitAtGate, [gate, event])));
    for (const event of here) await event.wait();
    // 12 MB: three rings full.
    const calls = Array.from(
      { length: 1_200 },
      (_, n) =>
        n === 3 || n === 900
          ? kept(pool.apply(perform, ["exits"]))
          : kept(pool.apply(lengthOf, [new Uint8Array(10_000 + n)])),
    );
    gate.set();
    assertEquals(await Promise.all(gated), ["through", "through"]);
    for (const [n, outcome] of (await Promise.allSettled<unknown>(calls)).entries()) {
      if (n !== 3 && n !== 900) assertEquals(outcome, { status: "fulfilled", value: 10_000 + n });
      else assertInstanceOf((outcome as PromiseRejectedResult).reason, ProcessLostError);
    }
    await until(() => pool.stats().replaced === 2, "the second replacement");
    assertEquals(pool.stats().failed, 2);
  });
});

// -- Pools that are broken

for (const deed of ["throws", "exits"] as const) {
  test(`Pool whose initializer ${deed} is broken: all calls reject, and it ends`, async () => {
    await withPool({ processes: 2, initializer: perform, initargs: [deed] }, async (pool) => {
      const calls = [
        pool.apply(square, [3]),
        pool.map(square, [1, 2, 3], { chunkSize: 1 }),
        pool.imap(square, [1, 2]).next(),
        pool.apply(lengthOf, [new Uint8Array(10_000_000)]),
      ].map((call) => kept<unknown>(call));
      const check = (error: unknown) => {
        if (deed === "throws") {
          assertInstanceOf(error, RangeError);
          assertEquals([error.name, error.message], ["SnagError", "on purpose"]);
        } else {
          assertInstanceOf(error, ProcessLostError);
          assertEquals(error.exitCode, 7);
        }
      };
      for (const call of calls) check(await errorOf(call));
      check(await errorOf(pool.apply(square, [4])));
      check(await errorOf(pool.map(square, [4])));
      check(await drain(pool.imapUnordered(square, [4]), []));
      await rest(pool);
      pool.close();
      assertEquals(await pool.join({ timeout: 10_000 }), true);
    });
  });
}

// -- All at once

/** Numbers from 0 to `below`, the same in every run. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

for (const seed of [1, 2]) {
  test(`Pool settles 200 calls of which each fails by chance, seed ${seed}`, async () => {
    await withPool({ processes: 3, initializer: prepare }, async (pool) => {
      const roll = dice(seed);
      const deeds: Deed[] = ["throws", "throws", "throws", "exits", "terminates itself"];
      let deaths = 0;
      const calls = Array.from({ length: 200 }, (_, n) => {
        if (roll(12) > 0) {
          const size = roll(20) === 0 ? 2_500_000 : roll(5_000);
          const call = kept<unknown>(pool.apply(echoBytes, [new Uint8Array(size)]));
          return async () => assertEquals((await call as Uint8Array).length, size, `call ${n}`);
        }
        const place = PLACES[roll(3)]!;
        const deed = deeds[roll(5)]!;
        const { fn, bad } = snagAt(place, deed);
        if (deed !== "throws") deaths++;
        const call = kept<unknown>(pool.apply(fn as never, [bad] as never));
        return async () => assertError(await errorOf(call), place, deed);
      });
      for (const check of calls) await check();
      assert(deaths > 2, "chance has let hardly any worker end");
      await until(() => pool.stats().replaced === deaths, `replacement ${deaths}`);
      await rest(pool);
      pool.close();
      assertEquals(await pool.join({ timeout: 10_000 }), true);
    });
  });
}
