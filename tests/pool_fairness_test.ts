/** Pools share out their work: nobody waits for long behind others, and nothing is read too early. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ProcessLostError } from "../errors.ts";
import type { Pool } from "../pool.ts";
import { Value } from "../shared.ts";
import { Barrier, Event } from "../sync.ts";
import { closure, transfer as transferred } from "../target.ts";
import { chunkSizes } from "../wire/pool/chunks.ts";
import { kept, until, withPool } from "./fixtures/pool_help.ts";
import { exitIf, waitAtGate } from "./fixtures/pool_tasks.ts";

const square = (n: number): number => n * n;

/** Resolves when the pool has nothing more to do, and its figures say so. */
async function idle(pool: Pool): Promise<void> {
  await until(() => {
    const { idle, queued, running } = pool.stats();
    return idle === pool.size && queued === 0 && running === 0;
  }, "rest");
}

/** Makes sure that all workers of the pool have begun. */
async function warm(pool: Pool): Promise<void> {
  const barrier = new Barrier(pool.size);
  const meet = (barrier: Barrier) => barrier.wait();
  await Promise.all(Array.from({ length: pool.size }, () => pool.apply(meet, [barrier])));
}

// -- Long ones and short ones

test("Pool lets one long task among a thousand short ones delay none of them", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const before = Array.from({ length: 500 }, (_, i) => pool.apply(square, [i]));
    const long = kept(pool.apply(waitAtGate, [gate, here]));
    const after = Array.from({ length: 500 }, (_, i) => pool.apply(square, [i]));
    const squares = Array.from({ length: 500 }, (_, i) => i * i);
    assertEquals(await Promise.all([...before, ...after]), [...squares, ...squares]);
    await here.wait();
    const { running, queued } = pool.stats();
    assertEquals({ running, queued }, { running: 1, queued: 0 });
    gate.set();
    assertEquals(await long, "through");
  });
});

test("Pool.map() takes what lies behind a long item in its chunk to another worker", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const done = new Value("i32", 0);
    // The first item ends when all others have ended.
    const run = closure(async (n: number) => {
      if (n > 0) return done.add(1);
      while (done.value < 299) await new Promise((resolve) => setTimeout(resolve, 1));
      return -1;
    }, { done });
    for (let round = 0; round < 3; round++) {
      done.value = 0;
      const items = Array.from({ length: 300 }, (_, i) => i);
      const results = await pool.map(run, items);
      assertStrictEquals(results[0], -1);
      assertEquals(results.slice(1).toSorted((a, b) => a - b), items.slice(0, 299));
    }
  });
});

test("Pool.map() whose slow items are all at its beginning keeps all workers at them", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    await warm(pool);
    const pair = new Barrier(2);
    // A slow item takes until another worker runs a slow one, too.
    const run = closure(async (n: number) => {
      if (n < 20) await pair.wait();
      return n;
    }, { pair });
    for (const count of [20, 50, 400]) {
      const items = Array.from({ length: count }, (_, i) => i);
      assertEquals(await pool.map(run, items), items);
    }
  });
});

test("Pool.map() is shared with a worker that had something else to do at first", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const long = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const pair = new Barrier(2);
    const begun = new Event();
    const run = closure(async (n: number) => {
      begun.set();
      await pair.wait();
      return n;
    }, { pair, begun });
    const items = Array.from({ length: 40 }, (_, i) => i);
    const mapped = pool.map(run, items);
    await begun.wait();
    gate.set();
    assertEquals(await mapped, items);
    await long;
  });
});

test("Pool.map() sends moved items once, though other workers are idle", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const done = new Value("i32", 0);
    const run = closure(async (bytes: Uint8Array) => {
      // So long that the pool would take back what lies behind it.
      if (bytes[0] === 0) await new Promise((resolve) => setTimeout(resolve, 300));
      done.add(1);
      return bytes[0];
    }, { done });
    const items = Array.from({ length: 60 }, (_, i) => new Uint8Array([i]));
    const transfer = items.map(({ buffer }) => buffer);
    assertEquals(await pool.map(run, items, { transfer }), items.map((_, i) => i));
    const marked = items.map((_, i) => new Uint8Array([i]));
    const moving = marked.map((item) => transferred(item, [item.buffer]));
    assertEquals(await pool.map(run, moving), items.map((_, i) => i));
    assertEquals([done.value, items[59]!.length, marked[59]!.length], [120, 0, 0]);
  });
});

test("chunkSizes() shrink toward the end, and have all items", () => {
  for (const workers of [1, 2, 8]) {
    for (const items of [1, 2, 7, 100, 12_345, 100_000]) {
      const sizes = [...chunkSizes(square, items, workers, false)];
      assertEquals(sizes.reduce((sum, size) => sum + size, 0), items);
      assertEquals(sizes, sizes.toSorted((a, b) => b - a));
      assertEquals(sizes[0], Math.min(1_023, Math.ceil(items / (2 * workers))));
      assertEquals(sizes.at(-1), 1);
      const watched = [...chunkSizes(square, items, workers, true)];
      assertLessOrEqual(watched[0]!, Math.ceil(items / 100));
    }
  }
});

// -- Deaths

for (const processes of [1, 2]) {
  for (const at of [0, 40, 199]) {
    test(`Pool.map() runs all others when item ${at} ends one of ${processes} workers`, async () => {
      await withPool({ processes }, async (pool) => {
        const done = new Value("i32", 0);
        const exit = closure(exitIf, {});
        const run = closure((n: number) => {
          if (n === at) exit({ n, exit: true });
          done.add(1);
        }, { at, done, exit });
        const error = await assertRejects(
          () => pool.map(run, Array.from({ length: 200 }, (_, i) => i)),
          ProcessLostError,
        );
        assertMatch(error.message, new RegExp(`item ${at} of the map`));
        assertEquals([error.exitCode, done.value], [3, 199]);
        await idle(pool);
        assertEquals(pool.stats().replaced, 1);
      });
    });
  }
}

test("Pool.map() whose every tenth item ends its worker runs all others", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const done = new Value("i32", 0);
    const items = Array.from({ length: 60 }, (_, n) => ({ n, exit: n % 10 === 5 }));
    const exit = closure(exitIf, {});
    const run = closure((item: typeof items[number]) => {
      exit(item);
      done.add(1);
    }, { done, exit });
    const error = await assertRejects(() => pool.map(run, items), ProcessLostError);
    assertMatch(error.message, /item 5 of the map/);
    assertEquals(done.value, 54);
    await idle(pool);
    assertEquals(pool.stats().replaced, 6);
  });
});

// -- Bounded imap

/** The numbers from 0, without an end; knows how far it was read, and whether it was closed. */
class Numbers {
  reads = 0;
  closed = false;
  /** Called at each read. */
  readonly #look: () => void;

  constructor(look: () => void = () => {}) {
    this.#look = look;
  }

  *[Symbol.iterator](): Generator<number> {
    try {
      for (;;) {
        const n = this.reads++;
        this.#look();
        yield n;
      }
    } finally {
      this.closed = true;
    }
  }

  async *later(): AsyncGenerator<number> {
    for (const n of this) {
      if (n % 3 === 0) await Promise.resolve();
      yield n;
    }
  }
}

for (const form of ["imap", "imapUnordered"] as const) {
  for (const kind of ["sync", "async"] as const) {
    test(`Pool.${form}() reads an endless ${kind} input at most bufferSize ahead`, async () => {
      await withPool({ processes: 2 }, async (pool) => {
        for (const [bufferSize, chunkSize] of [[1, 1], [8, 1], [10, 3], [5, 50], [20, 0]]) {
          let asked = 0;
          let furthest = 0;
          const numbers = new Numbers(() => furthest = Math.max(furthest, numbers.reads - asked));
          const found = pool[form](square, kind === "sync" ? numbers : numbers.later(), {
            bufferSize: bufferSize!,
            ...(chunkSize! > 0 ? { chunkSize: chunkSize! } : {}),
          });
          const results: number[] = [];
          while (asked < 120) {
            asked++;
            const { value } = await found.next();
            results.push(value);
            // Slower than the workers, now and then.
            if (asked % 40 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
          }
          await found.return?.();
          await until(() => numbers.closed, "the end of the input");
          assertLessOrEqual(furthest, bufferSize!);
          if (form === "imap") assertEquals(results, results.map((_, i) => i * i));
          assertEquals(new Set(results).size, 120);
        }
      });
    });

    test(`Pool.${form}() that is left stops reading an endless ${kind} input, and what waits`, async () => {
      await withPool({ processes: 2 }, async (pool) => {
        await warm(pool);
        const gate = new Event();
        const begun = new Value("i32", 0);
        const run = closure(async (n: number) => {
          begun.add(1);
          if (n >= 4) await gate.wait();
          return n;
        }, { begun, gate });
        const numbers = new Numbers();
        const options = { bufferSize: 16, chunkSize: 1 };
        const source = kind === "sync" ? numbers : numbers.later();
        const found: number[] = [];
        for await (const n of pool[form](run, source, options)) {
          found.push(n);
          if (found.length < 4) continue;
          await until(() => begun.value === 6, "the items that run");
          break;
        }
        assertEquals(found.toSorted(), [0, 1, 2, 3]);
        await until(() => numbers.closed, "the end of the input");
        // Both workers are amid an item; what was read behind them is dropped.
        const { reads } = numbers;
        const other = kept(pool.apply(square, [3]));
        gate.set();
        assertEquals(await other, 9);
        await idle(pool);
        assertEquals(begun.value, 6);
        const { completed, failed, replaced } = pool.stats();
        // Those two have met, those four were consumed, and the square.
        assertEquals({ completed, replaced }, { completed: 7, replaced: 0 });
        // What is just being read when the loop is left, is not submitted any more.
        assertLessOrEqual(Math.abs(reads - (failed + 4)), 1);
        assertEquals(numbers.reads, reads);
        assertEquals(await pool.map(square, [1, 2, 3]), [1, 4, 9]);
      });
    });
  }
}

test("Pool.close() reads a list of 20,000 items that cannot be sent, without an error of its own", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const found = pool.imap(square, new Array(20_000).fill(Symbol("s")) as never[]);
    pool.close();
    assertInstanceOf(await found.next().catch((error) => error), Error);
    assertEquals(await found.next(), { done: true, value: undefined });
    assertEquals(await pool.join(), true);
  });
});

// -- Order

test("Pool begins, and settles, 200,000 calls in the order of submission", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const count = (n: number): boolean => {
      const scope = globalThis as { counted?: number };
      scope.counted ??= 0;
      return scope.counted++ === n;
    };
    let settled = 0;
    let wrong = 0;
    let last: Promise<unknown> | undefined;
    for (let i = 0; i < 200_000; i++) {
      last = pool.apply(count, [i]).then((inOrder) => {
        if (!inOrder || settled++ !== i) wrong++;
      });
    }
    assert(pool.stats().queued > 190_000);
    await last;
    assertEquals([settled, wrong], [200_000, 0]);
    await idle(pool);
    assertEquals(pool.stats().completed, 200_000);
  });
});

test("Pool keeps the order of a backlog of which every third call is cancelled", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const first = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const places = (): number => {
      const scope = globalThis as { place?: number };
      scope.place ??= 0;
      return scope.place++;
    };
    // More than the ring takes.
    const calls = Array.from({ length: 20_000 }, () => pool.applyAsync(places));
    for (let i = 0; i < calls.length; i += 3) calls[i]!.cancel("enough");
    gate.set();
    const outcomes = await Promise.allSettled(calls);
    let place = 0;
    for (const [i, outcome] of outcomes.entries()) {
      if (i % 3 === 0) assertEquals(outcome, { status: "rejected", reason: "enough" });
      else assertEquals(outcome, { status: "fulfilled", value: place++ });
    }
    await first;
    await idle(pool);
    const { completed, failed } = pool.stats();
    assertEquals({ completed, failed }, { completed: place + 1, failed: 20_000 - place });
  });
});
