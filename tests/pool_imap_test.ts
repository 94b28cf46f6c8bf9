/** Pool.imap() and imapUnordered(): what is read when, of whatever source, and how it may end. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { ClosedError, ProcessLostError, TimeoutError } from "../errors.ts";
import { type ImapOptions, Pool } from "../pool.ts";
import { Value } from "../shared.ts";
import { Event } from "../sync.ts";
import { closure } from "../target.ts";
import { kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import { waitAtGate } from "./fixtures/pool_tasks.ts";
import { exit, waitForever } from "./fixtures/pool_user.ts";

const square = (n: number): number => n * n;
const echo = <T>(value: T): T => value;

let common: Pool | undefined;

/** Gives a test a pool of two workers that it has in common with others, and must not close. */
function inPool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(common ??= new Pool({ processes: 2 })));
}

const FORMS = ["imap", "imapUnordered"] as const;
type Form = typeof FORMS[number];

type Items<T> = Iterable<T> | AsyncIterable<T>;

/** Either form, as a method of its own name. */
function imapOf(pool: Pool, form: Form) {
  return <T, R>(fn: (item: T) => R, items: Items<T>, options?: ImapOptions) =>
    pool[form](fn, items, options);
}

/** What an iterator yields, and the error that it ends with, if any. */
async function drained<R>(results: AsyncIterable<R>): Promise<{ seen: R[]; error: unknown }> {
  const seen: R[] = [];
  try {
    for await (const result of results) seen.push(result);
  } catch (error) {
    return { seen, error };
  }
  return { seen, error: undefined };
}

const numerically = (a: number, b: number) => a - b;

/** A source that knows what became of it, and does at `step` what it was told. */
class Source {
  reads = 0;
  returned = 0;
  readonly #step: (n: number) => unknown;
  readonly #onReturn: (() => unknown) | undefined;

  constructor(step: (n: number) => unknown = (n) => n, onReturn?: () => unknown) {
    this.#step = step;
    this.#onReturn = onReturn;
  }

  [Symbol.iterator](): Iterator<never> {
    return this.#iterator((value) => ({ done: false, value })) as Iterator<never>;
  }

  /** The same, as an async iterable. */
  get later(): AsyncIterable<number> {
    const take = async (value: unknown) => ({ done: false, value: await value });
    return { [Symbol.asyncIterator]: () => this.#iterator(take) as AsyncIterator<number> };
  }

  #iterator(wrap: (value: unknown) => unknown): unknown {
    return {
      next: () => wrap(this.#step(this.reads++)),
      return: () => {
        this.returned++;
        return this.#onReturn === undefined ? { done: true, value: undefined } : this.#onReturn();
      },
    };
  }
}

// -- Kinds of sources

const READABLE = () =>
  new ReadableStream<number>({
    start(controller) {
      for (const n of [1, 2, 3]) controller.enqueue(n);
      controller.close();
    },
  });

const KINDS: [string, () => Items<unknown>, unknown[]][] = [
  ["an array", () => [1, 2, 3], [1, 2, 3]],
  ["an empty array", () => [], []],
  ["a sparse array", () => new Array(3), [undefined, undefined, undefined]],
  ["a set", () => new Set([1, 2, 3]), [1, 2, 3]],
  ["a map", () => new Map([["a", 1], ["b", 2]]), [["a", 1], ["b", 2]]],
  ["a string", () => "aü\u{1F600}", ["a", "ü", "\u{1F600}"]],
  ["a typed array", () => new Float64Array([1, 2, 3]), [1, 2, 3]],
  ["a typed array of bigints", () => new BigInt64Array([1n, 2n]), [1n, 2n]],
  ["the keys of a map", () => new Map([[1, 0], [2, 0]]).keys(), [1, 2]],
  ["a generator", function* () {
    yield* [1, 2, 3];
  }, [1, 2, 3]],
  ["an async generator", async function* () {
    yield* [1, 2, 3];
  }, [1, 2, 3]],
  ["an array of promises", () => [Promise.resolve(1), 2, Promise.resolve(3)], [1, 2, 3]],
  ["a generator of promises", function* () {
    yield Promise.resolve(1);
    yield 2;
    yield Promise.resolve(3);
  }, [1, 2, 3]],
  ["a stream", READABLE, [1, 2, 3]],
  ["an iterator without return()", () => ({
    [Symbol.iterator]: () => {
      let n = 0;
      return { next: () => n < 3 ? { done: false, value: ++n } : { done: true, value: 9 } };
    },
  } as Iterable<unknown>), [1, 2, 3]],
];

for (const form of FORMS) {
  test(
    `Pool.${form}() reads ${KINDS.map(([kind]) => kind).join(", ")}`,
    inPool(async (pool) => {
      for (const [kind, make, expected] of KINDS) {
        for (const options of [{}, { chunkSize: 2 }, { bufferSize: 1 }, { chunkSize: 50 }]) {
          const seen = await Array.fromAsync(imapOf(pool, form)(echo<unknown>, make(), options));
          const key = (value: unknown) => typeof value + String(value);
          const order = (list: unknown[]) =>
            form === "imap" ? list : list.sort((a, b) => key(a) < key(b) ? -1 : 1);
          assertEquals(order(seen), order(expected.slice()), kind);
        }
      }
    }),
  );

  test(
    `Pool.${form}() is an async iterator, and is over after its end`,
    inPool(async (pool) => {
      const results = imapOf(pool, form)(square, [3]);
      assertStrictEquals(results[Symbol.asyncIterator](), results);
      assertEquals(await results.next(), { done: false, value: 9 });
      for (let i = 0; i < 3; i++) {
        assertEquals(await results.next(), { done: true, value: undefined });
      }
      assertEquals(await results.return!(), { done: true, value: undefined });
      const none = imapOf(pool, form)(square, []);
      assertEquals(await none.next(), { done: true, value: undefined });
    }),
  );

  // -- Laziness

  test(
    `Pool.${form}() reads nothing before the first next(), and nothing after return()`,
    inPool(async (pool) => {
      for (const pick of [(source: Source) => source, (source: Source) => source.later]) {
        const source = new Source();
        const results = imapOf(pool, form)(square, pick(source) as Items<number>);
        await pool.apply(square, [1]);
        assertEquals(source.reads, 0);
        assertEquals(await results.return!(), { done: true, value: undefined });
        assertEquals(await results.next(), { done: true, value: undefined });
        assertEquals(source.reads, 0);
      }
    }),
  );

  test(
    `Pool.${form}() reads exactly bufferSize ahead of its consumer, in both forms of sources`,
    inPool(async (pool) => {
      for (const [bufferSize, chunkSize] of [[1, 1], [5, 1], [12, 3]] as const) {
        for (const pick of [(source: Source) => source, (source: Source) => source.later]) {
          const source = new Source();
          const items = pick(source) as Items<number>;
          const results = imapOf(pool, form)(square, items, { bufferSize, chunkSize });
          for (let taken = 1; taken <= 13; taken++) {
            await results.next();
            // With chunks, a chunk is read when the last item of one has been consumed.
            const most = bufferSize + Math.floor(taken / chunkSize) * chunkSize;
            await until(() => source.reads >= most, `${most} reads`);
            await pool.apply(square, [1]);
            assertEquals(source.reads, most, `after ${taken} of ${bufferSize}/${chunkSize}`);
          }
          await results.return!();
          assertEquals(source.returned, 1);
        }
      }
    }),
  );

  test(
    `Pool.${form}() reads by default four chunks a worker ahead`,
    inPool(async (pool) => {
      for (const chunkSize of [1, 3]) {
        const source = new Source();
        const results = imapOf(pool, form)(square, source, { chunkSize });
        for (let taken = 0; taken < chunkSize; taken++) await results.next();
        await until(() => source.reads >= 9 * chunkSize, "the reads");
        await pool.apply(square, [1]);
        assertEquals(source.reads, 9 * chunkSize);
        await results.return!();
      }
    }),
  );

  // -- Several consumers

  test(
    `Pool.${form}() serves next() calls that are made at once, each with another result`,
    inPool(async (pool) => {
      for (const items of [[0, 1, 2, 3, 4, 5, 6], new Source((n) => n).later]) {
        const results = imapOf(pool, form)(square, items as Items<number>, { bufferSize: 2 });
        const seen = await Promise.all([0, 1, 2, 3, 4].map(() => results.next()));
        const values = seen.map(({ value }) => value as number);
        if (form === "imap") assertEquals(values, [0, 1, 4, 9, 16]);
        assertEquals(new Set(values).size, 5);
        assert(values.every((value) => [0, 1, 2, 3, 4, 5, 6].includes(Math.sqrt(value))));
        await results.return!();
      }
      const short = imapOf(pool, form)(square, [1, 2]);
      const all = await Promise.all([short.next(), short.next(), short.next(), short.next()]);
      assertEquals(all.map(({ done }) => done), [false, false, true, true]);
    }),
  );

  test(
    `Pool.${form}() settles all waiting next() calls when an item fails: one with the error`,
    inPool(async (pool) => {
      const fail = (n: number) => {
        throw new RangeError(`item ${n}`);
      };
      const results = imapOf(pool, form)(fail, new Source(), { bufferSize: 1 });
      const outcomes = await Promise.allSettled([results.next(), results.next(), results.next()]);
      assertEquals(outcomes.map(({ status }) => status), ["rejected", "fulfilled", "fulfilled"]);
      const { reason } = outcomes[0] as PromiseRejectedResult;
      assertEquals([reason.name, reason.message], ["RangeError", "item 0"]);
      assertEquals(await results.next(), { done: true, value: undefined });
    }),
  );

  test(`Pool.${form}() gives waiting next() calls the end when it is left by return()`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const gate = new Event();
      const here = new Event();
      const wait = closure(async (_n: number) => {
        here.set();
        await gate.wait();
      }, { gate, here });
      const source = new Source();
      const results = imapOf(pool, form)(wait, source);
      const waiting = [results.next(), results.next()];
      await here.wait();
      assertEquals(await results.return!(), { done: true, value: undefined });
      for (const next of waiting) assertEquals(await next, { done: true, value: undefined });
      assertEquals(source.returned, 1);
      gate.set();
      assertEquals(await pool.apply(square, [3]), 9);
      assertEquals(pool.stats().replaced, 0);
    });
  });

  // -- Leaving early

  test(`Pool.${form}() left in the middle drops what has not begun`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const ran = new Value("i32", 0);
      const gate = new Event();
      const here = new Event();
      const count = closure(async (n: number) => {
        ran.add(1);
        if (n === 1) {
          here.set();
          await gate.wait();
        }
        return n;
      }, { ran, gate, here });
      const source = new Source();
      for await (const n of imapOf(pool, form)(count, source, { bufferSize: 20 })) {
        assertEquals(n, 0);
        await here.wait();
        break;
      }
      assertEquals(source.returned, 1);
      const { reads } = source;
      gate.set();
      assertEquals(await pool.apply(square, [3]), 9);
      assertEquals([ran.value, source.reads], [2, reads]);
      const { queued, running, replaced } = pool.stats();
      assertEquals({ queued, running, replaced }, { queued: 0, running: 0, replaced: 0 });
    });
  });

  test(
    `Pool.${form}() closes its source once: at return(), by a throw in the loop, and by an error`,
    inPool(async (pool) => {
      const sources = Array.from({ length: 4 }, () => new Source());
      const results = imapOf(pool, form)(square, sources[0]!);
      await results.next();
      await results.return!();
      await results.return!();
      await assertRejects(
        async () => {
          for await (const _ of imapOf(pool, form)(square, sources[1]!.later)) {
            throw new URIError("in the loop");
          }
        },
        URIError,
        "in the loop",
      );
      const fail = (n: number) => {
        if (n === 2) throw new RangeError("item 2");
        return n;
      };
      for (const items of [sources[2]!, sources[3]!.later]) {
        const { error } = await drained(imapOf(pool, form)(fail, items as Items<number>));
        assertInstanceOf(error, RangeError);
      }
      assertEquals(sources.map(({ returned }) => returned), [1, 1, 1, 1]);
    }),
  );

  // -- Sources that misbehave

  test(
    `Pool.${form}() throws the error of its source after the results that were read`,
    inPool(async (pool) => {
      for (const chunkSize of [1, 2, 4]) {
        for (const pick of [(source: Source) => source, (source: Source) => source.later]) {
          const source = new Source((n) => {
            if (n === 5) throw new URIError("no more");
            return n;
          });
          const items = pick(source) as Items<number>;
          const { seen, error } = await drained(imapOf(pool, form)(square, items, { chunkSize }));
          assertEquals(seen.sort(numerically), [0, 1, 4, 9, 16]);
          assertInstanceOf(error, URIError);
          assertEquals([source.reads, source.returned], [6, 0]);
        }
      }
      const rejecting = [1, 2, Promise.reject(new URIError("rejected")), 4];
      kept(rejecting[2] as Promise<never>);
      const { seen, error } = await drained(imapOf(pool, form)(echo<unknown>, rejecting));
      assertEquals((seen as number[]).sort(numerically), [1, 2]);
      assertInstanceOf(error, URIError);
    }),
  );

  test(
    `Pool.${form}() rejects return() with the error of its source's return(), and is over`,
    inPool(async (pool) => {
      for (const pick of [(source: Source) => source, (source: Source) => source.later]) {
        const source = new Source(undefined, () => {
          throw new URIError("cannot close");
        });
        const results = imapOf(pool, form)(square, pick(source) as Items<number>);
        await results.next();
        await assertRejects(async () => void await results.return!(), URIError, "cannot close");
        assertEquals(await results.next(), { done: true, value: undefined });
        assertEquals(source.returned, 1);
      }
      assertEquals(await pool.apply(square, [3]), 9);
    }),
  );

  test(
    `Pool.${form}() throws the item's error, even if its source's return() throws as well`,
    inPool(async (pool) => {
      const source = new Source(undefined, () => {
        throw new URIError("cannot close");
      });
      const fail = () => {
        throw new RangeError("the item's own");
      };
      await assertRejects(
        async () => void await imapOf(pool, form)(fail, source).next(),
        RangeError,
        "the item's own",
      );
    }),
  );

  test(
    `Pool.${form}() can be left while its source never answers`,
    inPool(async (pool) => {
      const never = () => new Promise(() => {});
      const results = imapOf(pool, form)(square, new Source((n) => n < 1 ? n : never()).later);
      assertEquals((await results.next()).value, 0);
      const waiting = results.next();
      assertEquals(await results.return!(), { done: true, value: undefined });
      assertEquals(await waiting, { done: true, value: undefined });
      const silent = imapOf(pool, form)(square, [never()] as never);
      const first = silent.next();
      assertEquals(await silent.return!(), { done: true, value: undefined });
      assertEquals(await first, { done: true, value: undefined });
    }),
  );

  test(
    `Pool.${form}() refuses what is no iterator's result, and what has no iterator`,
    inPool(async (pool) => {
      const odd = { [Symbol.iterator]: () => ({ next: () => 5 }) } as never;
      const results = imapOf(pool, form)(square, odd);
      try {
        await assertRejects(async () => void await results.next(), TypeError);
      } finally {
        await results.return!();
      }
      for (const items of [null, undefined, 5, {}]) {
        await assertRejects(
          async () => void await imapOf(pool, form)(square, items as never).next(),
          TypeError,
        );
      }
    }),
  );

  // -- Errors of items

  test(
    `Pool.${form}() ends with the error of an item, and goes on in its workers`,
    inPool(async (pool) => {
      for (const chunkSize of [1, 3]) {
        const fail = (n: number) => {
          if (n === 4) throw new RangeError("item 4");
          return n;
        };
        const source = new Source();
        const { seen, error } = await drained(imapOf(pool, form)(fail, source, { chunkSize }));
        assertInstanceOf(error, RangeError);
        if (form === "imap") assertEquals(seen, [0, 1, 2, 3]);
        assert(!seen.includes(4));
        assertEquals(source.returned, 1);
      }
      assertEquals(await pool.apply(square, [3]), 9);
    }),
  );

  test(`Pool.${form}() throws ProcessLostError for an item whose worker ends`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const die = closure((n: number) => n === 2 ? exit(6) : n, { exit });
      const { seen, error } = await drained(imapOf(pool, form)(die, [0, 1, 2, 3]));
      assertInstanceOf(error, ProcessLostError);
      assertEquals([seen, error.exitCode], [[0, 1], 6]);
      assertStringIncludes(error.message, "item 2");
      assertEquals(await pool.apply(square, [3]), 9);
    });
  });

  // -- close, join, terminate

  test(`Pool.${form}() consumed in part does not keep close() and join() waiting`, async () => {
    const inputs: Items<number>[] = [[...Array(50).keys()], new Source(), new Source().later];
    for (const input of inputs) {
      const pool = new Pool({ processes: 2 });
      const results = imapOf(pool, form)(square, input);
      assertEquals((await results.next()).done, false);
      pool.close();
      assertEquals(await soon(pool.join()), true);
    }
    const left = new Pool({ processes: 1 });
    for await (const _ of imapOf(left, form)(square, new Source())) break;
    imapOf(left, form)(square, new Source());
    await soon(left[Symbol.asyncDispose]());
  });

  test(`Pool.${form}() over a list gives all its results after close() and join()`, async () => {
    const pool = new Pool({ processes: 2 });
    const results = imapOf(pool, form)(square, [...Array(60).keys()], { bufferSize: 3 });
    const untouched = imapOf(pool, form)(square, [1, 2, 3]);
    await results.next();
    pool.close();
    assertEquals(await soon(pool.join()), true);
    assertEquals((await Array.fromAsync(results)).length, 59);
    const others = await Array.fromAsync(untouched);
    assertEquals(others.sort(numerically), [1, 4, 9]);
  });

  test(`Pool.terminate() rejects those who wait for a result of ${form}()`, async () => {
    for (const input of [[1, 2, 3], new Source(), new Source().later]) {
      const pool = new Pool({ processes: 1 });
      const here = new Event();
      const loop = closure((_n: number) => waitForever(here), { waitForever, here });
      const results = imapOf(pool, form)(loop, input as Items<number>);
      const settled = Promise.allSettled([results.next(), results.next()]);
      await here.wait();
      await soon(pool.terminate());
      const [first, second] = await soon(settled, "the consumers");
      assertInstanceOf((first as PromiseRejectedResult).reason, ClosedError);
      assertEquals(second, { status: "fulfilled", value: { done: true, value: undefined } });
    }
  });

  test(`Pool.terminate() ends ${form}() although its source never answers`, async () => {
    const never = new Promise<number>(() => {});
    for (const input of [[never] as never, new Source(() => never).later]) {
      const pool = new Pool({ processes: 1 });
      const results = imapOf(pool, form)(square, input as Items<number>);
      const waiting = kept(results.next());
      await soon(pool.terminate());
      const late = new Promise<string>((resolve) => setTimeout(resolve, 1_000, "still pending"));
      const outcome = await Promise.race([waiting.then(() => "a result", (error) => error), late]);
      assertInstanceOf(outcome, ClosedError);
    }
  });

  // -- signal and timeout

  test(`Pool.${form}() ends with the signal's reason, before, while and after it runs`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const reason = { code: "stop" };
      const aborted = new Source();
      const signal = AbortSignal.abort(reason);
      const early = imapOf(pool, form)(square, aborted, { signal });
      assertStrictEquals(await early.next().then(() => "not this", (thrown) => thrown), reason);
      assertEquals(await early.next(), { done: true, value: undefined });
      assertEquals(aborted.reads, 0);

      const controller = new AbortController();
      const here = new Event();
      const source = new Source();
      const results = imapOf(pool, form)(
        closure((n: number): unknown => n < 2 ? n : waitForever(here), { waitForever, here }),
        source,
        { signal: controller.signal },
      );
      assertEquals([(await results.next()).value, (await results.next()).value], [0, 1]);
      const waiting = [results.next(), results.next()];
      await here.wait();
      controller.abort(reason);
      const outcomes = await Promise.allSettled(waiting);
      assertStrictEquals((outcomes[0] as PromiseRejectedResult).reason, reason);
      assertEquals(outcomes[1], { status: "fulfilled", value: { done: true, value: undefined } });
      assertEquals(source.returned, 1);
      assertEquals(await pool.apply(square, [3]), 9);
      assertEquals(pool.stats().replaced, 1);

      const late = new AbortController();
      const done = imapOf(pool, form)(square, [1, 2], { signal: late.signal });
      assertEquals((await Array.fromAsync(done)).length, 2);
      late.abort(reason);
      assertEquals(await done.next(), { done: true, value: undefined });
    });
  });

  test(`Pool.${form}() is ended by its signal although its source never answers`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const controller = new AbortController();
      const source = new Source(() => new Promise(() => {}));
      const results = imapOf(pool, form)(square, source.later, { signal: controller.signal });
      const waiting = results.next();
      controller.abort(new URIError("enough"));
      await assertRejects(() => waiting, URIError, "enough");
      pool.close();
      assertEquals(await pool.join(), true);
    });
  });

  test(`Pool.${form}() throws TimeoutError for an item that takes too long, and only for it`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const slow = (n: number) => n === 2 ? new Promise<number>(() => {}) : n;
      const options = { timeout: 1_000, chunkSize: 10 };
      const { seen, error } = await drained(imapOf(pool, form)(slow, [0, 1, 2, 3, 4], options));
      assertInstanceOf(error, TimeoutError);
      assertStringIncludes(error.message, "1000 ms");
      assertEquals(seen, [0, 1]);
      assertEquals(await pool.apply(square, [3]), 9);
      const many = imapOf(pool, form)(square, [...Array(20).keys()], { timeout: 20_000 });
      assertEquals((await Array.fromAsync(many)).length, 20);
    });
  });

  // -- onProgress

  test(
    `Pool.${form}() reports how many items are done, and of how many where it is known`,
    inPool(async (pool) => {
      const items = [1, 2, 3, 4, 5];
      const sources: [Items<number>, number | undefined][] = [
        [items, 5],
        [new Set(items), 5],
        [new Int8Array(items), 5],
        [items.values(), undefined],
        [
          (async function* () {
            yield* items;
          })(),
          undefined,
        ],
      ];
      for (const [source, total] of sources) {
        for (const chunkSize of [1, 2]) {
          if (total === undefined && chunkSize === 2) continue;
          const calls: [number, number | undefined][] = [];
          const onProgress = (done: number, of: number | undefined) => void calls.push([done, of]);
          await Array.fromAsync(imapOf(pool, form)(square, source, { chunkSize, onProgress }));
          const steps = chunkSize === 1 ? [1, 2, 3, 4, 5] : undefined;
          assertEquals(calls.at(-1), [5, total]);
          if (steps !== undefined) assertEquals(calls, steps.map((n) => [n, total]));
          assert(calls.every(([done], i) => i === 0 || done > calls[i - 1]![0]));
        }
      }
      let last = 0;
      const onProgress = (done: number) => void (last = done);
      await Array.fromAsync(imapOf(pool, form)(echo<string>, "aü\u{1F600}", { onProgress }));
      assertEquals(last, 3);
    }),
  );

  test(
    `Pool.${form}() ends with what onProgress throws, and closes its source`,
    inPool(async (pool) => {
      const source = new Source();
      let calls = 0;
      const onProgress = () => {
        calls++;
        throw new URIError("in onProgress");
      };
      const results = imapOf(pool, form)(square, source, { onProgress });
      const { error } = await drained(results);
      assertInstanceOf(error, URIError);
      assertEquals([calls, source.returned], [1, 1]);
      assertEquals(await results.next(), { done: true, value: undefined });
      assertEquals(await pool.apply(square, [3]), 9);
    }),
  );

  // -- Speed

  test(
    `Pool.${form}() runs 100,000 items quickly`,
    inPool(async (pool) => {
      const start = performance.now();
      let sum = 0;
      const results = imapOf(pool, form)(square, Array(100_000).keys(), { chunkSize: 500 });
      for await (const n of results) sum += n;
      assertEquals(sum, 333328333350000);
      assertLess(performance.now() - start, 10_000);
    }),
  );
}

test("Pool.imap() runs 20,000 items one by one quickly", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const start = performance.now();
    let next = 0;
    for await (const n of pool.imap(square, Array(20_000).keys(), { chunkSize: 1 })) {
      assertStrictEquals(n, next * next);
      next++;
    }
    assertEquals(next, 20_000);
    assertLess(performance.now() - start, 15_000);
  });
});

// -- The order of imapUnordered

test("Pool.imapUnordered() yields results as they finish: a slow item delays no other", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const wait = closure(async (n: number) => {
      if (n === 0) {
        here.set();
        await gate.wait();
      }
      return n;
    }, { gate, here });
    const results = pool.imapUnordered(wait, [...Array(20).keys()], { bufferSize: 4 });
    const seen: number[] = [];
    for (let i = 0; i < 19; i++) seen.push((await results.next()).value!);
    assertEquals(seen.sort(numerically), [...Array(20).keys()].slice(1));
    gate.set();
    assertEquals(await results.next(), { done: false, value: 0 });
    assertEquals((await results.next()).done, true);
  });
});

test("Pool.imap() waits for a slow item, and has run the others within its buffer meanwhile", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const ran = new Value("i32", 0);
    const wait = closure(async (n: number) => {
      if (n === 0) await gate.wait();
      ran.add(1);
      return n;
    }, { gate, ran });
    const source = new Source();
    const results = pool.imap(wait, source, { bufferSize: 6 });
    const first = results.next();
    await until(() => ran.value === 5, "the others");
    assertEquals(source.reads, 6);
    gate.set();
    assertEquals(await first, { done: false, value: 0 });
    for (const n of [1, 2, 3, 4, 5]) assertEquals((await results.next()).value, n);
    await results.return!();
  });
});

test("Pool.imapUnordered() throws an error as soon as it is there, before slower results", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const fail = closure(async (n: number) => {
      if (n === 1) {
        // Item 0 would be dropped if it had not begun.
        await here.wait();
        throw new RangeError("item 1");
      }
      here.set();
      await gate.wait();
    }, { gate, here });
    const results = pool.imapUnordered(fail, [0, 1]);
    await assertRejects(() => results.next(), RangeError, "item 1");
    assertEquals(await results.next(), { done: true, value: undefined });
    gate.set();
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(pool.stats().replaced, 0);
  });
});

test("Pool.imap() reads on while a consumer is slow, and no more than that", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const source = new Source();
    const results = pool.imap(square, source, { bufferSize: 3 });
    await results.next();
    await until(() => pool.stats().completed === 4, "what was read ahead");
    for (let i = 0; i < 3; i++) await pool.apply(square, [1]);
    assertLessOrEqual(source.reads, 4);
    await results.return!();
  });
});

test("Pool.imap() of two at once shares the workers, and keeps the results apart", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const long = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const [one, two] = await Promise.all([
      Array.fromAsync(pool.imap(square, [...Array(100).keys()])),
      Array.fromAsync(pool.imap((n: number) => -n, [...Array(100).keys()], { chunkSize: 7 })),
    ]);
    assertEquals(one, Array.from({ length: 100 }, (_, n) => n * n));
    assertEquals(two, Array.from({ length: 100 }, (_, n) => -n));
    gate.set();
    await long;
  });
});
