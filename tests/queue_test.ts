/** Queue: every member of the contract, between processes, amid large items, and across deaths. */

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
import { deadline } from "@std/async";
import { ClosedError, EncodingError, QueueEmptyError, QueueFullError } from "../errors.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { closure, type Target } from "../target.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** The smallest capacity there is: items of more than a quarter of it are streamed. */
const SMALL = 4096;

const MIB = 2 ** 20;

/** Starts a daemon, so that a test that fails does not keep the program. */
function start(target: Target<[], unknown>): Process<[]> {
  const process = new Process<[]>({ target, daemon: true });
  process.start();
  return process;
}

async function ended(process: Process<[]>, exitCode = 0): Promise<void> {
  assert(await process.join({ timeout: DEADLINE }), `${process.name} did not end`);
  assertEquals(process.exitCode, exitCode);
}

/** Waits until `condition` holds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE;
  while (!condition()) {
    assert(performance.now() < end, `${what}: not within ${DEADLINE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Bytes of which each tells its place. */
function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8) * 7 + seed;
  return bytes;
}

/** That bytes are those of `pattern()`, found without a text of megabytes. */
function assertPattern(bytes: unknown, length: number, seed = 0): void {
  assertInstanceOf(bytes, Uint8Array);
  assertEquals(bytes.length, length);
  const wrong = bytes.findIndex((byte, i) => byte !== ((i * 31 + (i >> 8) * 7 + seed) & 255));
  assertEquals(wrong, -1, "the first byte that differs");
}

/** All that is in the queue now. */
function drain<T>(queue: Queue<T>): T[] {
  const items: T[] = [];
  while (!queue.empty()) items.push(queue.getNowait());
  assertThrows(() => queue.getNowait(), QueueEmptyError);
  return items;
}

// -- Construction

test("new Queue() refuses Python's spelling of maxSize", () => {
  const options = { maxsize: 1 };
  assertThrows(
    () => new Queue(options as object),
    TypeError,
    "no option 'maxsize'; write 'maxSize'",
  );
});

test("new Queue() refuses a maxSize that is no count, and names it", () => {
  for (const maxSize of [-1, 1.5, NaN, Infinity, 2 ** 31, "3" as unknown as number]) {
    const error = assertThrows(() => new Queue({ maxSize }), RangeError, "'maxSize'");
    assertStringIncludes(error.message, `is ${maxSize}`);
  }
});

test("new Queue() refuses a capacity out of range, and names it", () => {
  for (const capacity of [0, -1, 1.5, NaN, Infinity, 2 ** 30 + 1, "3" as unknown as number]) {
    const error = assertThrows(() => new Queue({ capacity }), RangeError, "'capacity'");
    assertStringIncludes(error.message, `is ${capacity}`);
  }
});

test("new Queue() takes the least and undefined options", () => {
  for (
    const options of [undefined, {}, { capacity: 1 }, { maxSize: 0 }, { maxSize: 2 ** 31 - 1 }]
  ) {
    const queue = new Queue<string>(options);
    queue.putNowait("a");
    assertEquals(queue.getNowait(), "a");
  }
});

// -- In one process

test("Queue gives items in the order in which they were put, whichever the forms", async () => {
  const queue = new Queue<number>();
  await queue.put(1);
  queue.putSync(2);
  queue.putNowait(3);
  await queue.put(4, { timeout: 0 });
  queue.putSync(5, { timeout: -1 });
  await queue.put(6, { timeout: 1_000, signal: new AbortController().signal });
  assertEquals(queue.qsize(), 6);
  const got = [
    queue.getNowait(),
    await queue.get(),
    queue.getSync(),
    await queue.get({ timeout: 0 }),
    queue.getSync({ timeout: -1 }),
    await queue.get({ timeout: 1_000, signal: new AbortController().signal }),
  ];
  assertEquals(got, [1, 2, 3, 4, 5, 6]);
});

test("Queue.get() brings undefined, and items of all kinds, as they were", async () => {
  const items = [
    undefined,
    null,
    false,
    true,
    0,
    -0,
    NaN,
    -Infinity,
    1.5,
    10n ** 30n,
    -1n,
    "",
    "ascii",
    "naïve ☃ 🎉",
    "\ud800 alone",
    "\ufeffmark",
    "long ".repeat(1_000),
    [],
    {},
    [1, 2.5, -0, NaN],
    Array.from({ length: 1_000 }, (_, i) => i / 3),
    { a: { b: [{ c: undefined, d: null }] }, e: "f" },
    Array.from({ length: 20 }, (_, id) => ({ id, name: `n${id}` })),
    new Date(0),
    /a+/gi,
    new Map<unknown, unknown>([[{ k: 1 }, new Set([1, "2"])]]),
    new Set([undefined, NaN]),
    new Uint8Array([1, 2, 3]),
    new Float64Array([0.1, -0]),
    new BigInt64Array([-(2n ** 63n)]),
    new Uint8Array(0),
    new Uint8Array([1, 2, 3, 4]).subarray(1, 3),
    new DataView(new ArrayBuffer(5)),
    new Uint8Array([9, 8]).buffer,
    pattern(100_000),
  ];
  const queue = new Queue<unknown>();
  for (const item of items) await queue.put(item);
  for (const item of items) assertEquals(await queue.get({ timeout: 0 }), item);
  for (const item of items) queue.putSync(item);
  for (const item of items) {
    const got = queue.getSync();
    assert(Object.is(got, item) || typeof item === "object");
    assertEquals(got, item);
  }
  assert(queue.empty());
});

test("Queue.get() brings cycles, errors, and a copy", () => {
  const queue = new Queue<Record<string, unknown>>();
  const item: Record<string, unknown> = { list: [1] };
  item.self = item;
  item.error = new TypeError("wrong", { cause: 7 });
  queue.putSync(item);
  item.list = "changed";
  const got = queue.getSync();
  assertStrictEquals(got.self, got);
  assertEquals(got.list, [1]);
  assertInstanceOf(got.error, TypeError);
  assertEquals([got.error.message, got.error.cause], ["wrong", 7]);
});

test("Queue.putNowait() throws QueueFullError and Queue.getNowait() QueueEmptyError at once", async () => {
  const queue = new Queue<number>({ maxSize: 1 });
  for (const timeout of [0, -1, -Infinity]) {
    assertThrows(() => queue.getSync({ timeout }), QueueEmptyError);
    await assertRejects(() => queue.get({ timeout }), QueueEmptyError);
  }
  assertThrows(() => queue.getNowait(), QueueEmptyError, "empty");
  queue.putNowait(1);
  for (const timeout of [0, -1, -Infinity]) {
    assertThrows(() => queue.putSync(2, { timeout }), QueueFullError);
    await assertRejects(() => queue.put(2, { timeout }), QueueFullError);
  }
  assertThrows(() => queue.putNowait(2), QueueFullError, "full");
  assertEquals([queue.qsize(), queue.full()], [1, true]);
  assertEquals(queue.getNowait(), 1);
  assertEquals(queue.qsize(), 0);
});

test("Queue.put() and Queue.get() give up after their timeout, not before", async () => {
  const queue = new Queue<number>({ maxSize: 1 });
  const timed = async (act: () => unknown, error: new (message: string) => Error) => {
    const start = performance.now();
    await assertRejects(async () => await act(), error, "for 60 ms");
    const took = performance.now() - start;
    assert(took > 50 && took < DEADLINE, `took ${took} ms`);
  };
  await timed(() => queue.get({ timeout: 60 }), QueueEmptyError);
  await timed(() => queue.getSync({ timeout: 60 }), QueueEmptyError);
  queue.putNowait(1);
  await timed(() => queue.put(2, { timeout: 60 }), QueueFullError);
  await timed(() => queue.putSync(2, { timeout: 60 }), QueueFullError);
  assertEquals(drain(queue), [1]);
});

test("Queue refuses a timeout of NaN or of another type, and is unharmed", async () => {
  const queue = new Queue<number>();
  queue.putNowait(1);
  const timeout = NaN;
  assertThrows(() => queue.putSync(2, { timeout }), RangeError, "NaN");
  assertThrows(() => queue.getSync({ timeout }), RangeError, "NaN");
  await assertRejects(() => queue.put(2, { timeout }), RangeError, "NaN");
  await assertRejects(() => queue.get({ timeout }), RangeError, "NaN");
  const text = { timeout: "5" as unknown as number };
  assertThrows(() => queue.putSync(2, text), TypeError, "timeout");
  await assertRejects(() => queue.get(text), TypeError, "timeout");
  assertEquals(drain(queue), [1]);
});

test("Queue.put() and Queue.get() with an aborted signal reject with its reason and do nothing", async () => {
  const queue = new Queue<number>();
  queue.putNowait(1);
  const reason = new Error("no");
  const signal = AbortSignal.abort(reason);
  assertStrictEquals(await assertRejects(() => queue.get({ signal })), reason);
  assertStrictEquals(await assertRejects(() => queue.get({ signal, timeout: 0 })), reason);
  assertStrictEquals(await assertRejects(() => queue.put(2, { signal })), reason);
  assertEquals(drain(queue), [1]);
});

test("Queue.get() that is aborted while it waits rejects, and takes nothing afterwards", async () => {
  const queue = new Queue<number>();
  const controller = new AbortController();
  const aborted = queue.get({ signal: controller.signal });
  const patient = queue.get({ timeout: DEADLINE });
  const failure = assertRejects(() => aborted);
  await settle();
  const reason = { why: "enough" };
  controller.abort(reason);
  assertStrictEquals(await failure, reason);
  queue.putSync(1);
  queue.putSync(2);
  assertEquals(await patient, 1);
  assertEquals(drain(queue), [2]);
});

test("Queue.get() that is aborted just after a put either has the item or leaves it", async () => {
  for (let turn = 0; turn < 20; turn++) {
    const queue = new Queue<number>();
    const controller = new AbortController();
    const pending = queue.get({ signal: controller.signal }).catch(() => 0);
    await settle();
    queue.putNowait(7);
    for (let ticks = 0; ticks < turn; ticks++) await null;
    controller.abort();
    const got = await pending;
    const left = queue.empty() ? [] : [queue.getNowait()];
    assertEquals([got, ...left].filter((item) => item !== 0), [7]);
  }
});

test("Queue.put() that is aborted or out of time while it waits puts nothing afterwards", async () => {
  const queue = new Queue<number>({ maxSize: 1 });
  queue.putNowait(1);
  const controller = new AbortController();
  const aborted = assertRejects(() => queue.put(2, { signal: controller.signal }), DOMException);
  const late = assertRejects(() => queue.put(3, { timeout: 30 }), QueueFullError);
  const patient = queue.put(4, { timeout: DEADLINE });
  await settle();
  controller.abort();
  await Promise.all([aborted, late]);
  assertEquals(queue.getNowait(), 1);
  await patient;
  assertEquals(drain(queue), [4]);
});

test("Queue.get() that waits gets items in the order of asking", async () => {
  const queue = new Queue<number>();
  const pending = Array.from({ length: 100 }, () => queue.get({ timeout: DEADLINE }));
  for (let item = 0; item < 100; item++) item % 2 ? queue.putSync(item) : await queue.put(item);
  assertEquals(await Promise.all(pending), Array.from({ length: 100 }, (_, item) => item));
});

test("Queue.put() that waits puts items in the order of asking", async () => {
  const queue = new Queue<number>({ maxSize: 2 });
  const puts = Array.from({ length: 50 }, (_, item) => queue.put(item, { timeout: DEADLINE }));
  const got: number[] = [];
  while (got.length < 50) got.push(await queue.get({ timeout: DEADLINE }));
  await Promise.all(puts);
  assertEquals(got, Array.from({ length: 50 }, (_, item) => item));
});

test("Queue.get() with different timeouts: each gives up by its own", async () => {
  const queue = new Queue<number>();
  const ended: number[] = [];
  const waits = [300, 60, 180].map((timeout) =>
    assertRejects(() => queue.get({ timeout }), QueueEmptyError, `${timeout} ms`)
      .then(() => ended.push(timeout))
  );
  const patient = queue.get({ timeout: DEADLINE });
  await Promise.all(waits);
  assertEquals(ended, [60, 180, 300]);
  queue.putNowait(1);
  assertEquals(await patient, 1);
});

test("Queue.qsize(), empty() and full() are exact", () => {
  const queue = new Queue<number>({ maxSize: 3 });
  for (let size = 0; size <= 3; size++) {
    assertEquals([queue.qsize(), queue.empty(), queue.full()], [size, size === 0, size === 3]);
    if (size < 3) queue.putNowait(size);
  }
  for (let size = 2; size >= 0; size--) {
    queue.getNowait();
    assertEquals([queue.qsize(), queue.empty(), queue.full()], [size, size === 0, false]);
  }
});

test("Queue.full() without maxSize tells whether the memory is full", () => {
  const queue = new Queue<Uint8Array>({ capacity: SMALL });
  const item = pattern(500);
  let count = 0;
  for (; count < 100; count++) {
    try {
      queue.putNowait(item);
    } catch (error) {
      assertInstanceOf(error, QueueFullError);
      break;
    }
  }
  assert(count >= 6 && count <= 8, `${count} items of 500 bytes`);
  while (!queue.full()) queue.putNowait(new Uint8Array(0)), count++;
  assertThrows(() => queue.putNowait(new Uint8Array(0)), QueueFullError);
  assertEquals(queue.qsize(), count);
  while (!queue.empty()) queue.getNowait(), count--;
  assertEquals(count, 0);
});

test("Queue.put() of what cannot be sent throws EncodingError with its path, and harms nothing", async () => {
  const queue = new Queue<unknown>({ maxSize: 1 });
  const bad = { list: [1, { socket: () => {} }] };
  assertThrows(() => queue.putSync(bad), EncodingError, "item.list[1].socket");
  assertThrows(() => queue.putNowait(Symbol("s")), EncodingError, "item");
  await assertRejects(() => queue.put(bad), EncodingError, "item.list[1].socket");
  assertEquals([queue.qsize(), queue.full()], [0, false]);
  queue.putNowait("good");
  assertEquals(queue.getNowait(), "good");
});

test("Queue.put() within a getter of an item puts both", () => {
  const queue = new Queue<unknown>();
  queue.putSync({
    get inner() {
      if (queue.empty()) queue.putSync("within");
      return 1;
    },
  });
  assertEquals(drain(queue), ["within", { inner: 1 }]);
});

// -- Closing

test("Queue.close() fails puts, lets gets drain, then fails them with ClosedError", async () => {
  const queue = new Queue<number>();
  queue.putNowait(1);
  queue.putNowait(2);
  queue.putNowait(3);
  queue.close();
  queue.close();
  assertThrows(() => queue.putSync(4), ClosedError, "closed");
  assertThrows(() => queue.putNowait(4), ClosedError);
  await assertRejects(() => queue.put(4), ClosedError, "closed");
  await assertRejects(() => queue.put(4, { timeout: 0 }), ClosedError);
  assertEquals([queue.qsize(), queue.empty()], [3, false]);
  assertEquals([queue.getNowait(), await queue.get(), queue.getSync()], [1, 2, 3]);
  assertEquals([queue.qsize(), queue.empty()], [0, true]);
  assertThrows(() => queue.getNowait(), ClosedError, "closed");
  assertThrows(() => queue.getSync(), ClosedError);
  await assertRejects(() => queue.get(), ClosedError);
  await assertRejects(() => queue.get({ timeout: 0 }), ClosedError);
});

test("Queue.close() wakes those who wait in this process", async () => {
  const queue = new Queue<number>();
  const gets = [1, 2, 3].map(() => assertRejects(() => queue.get(), ClosedError));
  await settle();
  queue.close();
  await deadline(Promise.all(gets), DEADLINE);
  const full = new Queue<number>({ maxSize: 1 });
  full.putNowait(1);
  const puts = [2, 3].map((item) => assertRejects(() => full.put(item), ClosedError));
  await settle();
  full.close();
  await deadline(Promise.all(puts), DEADLINE);
  assertEquals(full.getNowait(), 1);
});

test("Queue.close() wakes those who wait in other processes, in both forms", async () => {
  const empty = new Queue<number>();
  const full = new Queue<number>({ maxSize: 1 });
  const words = new Queue<string>();
  full.putNowait(0);
  const attempts = [
    closure(() => {
      try {
        words.putSync("ready");
        empty.getSync();
      } catch (error) {
        words.putSync(`getSync ${(error as Error).name}`);
      }
    }, { empty, words }),
    closure(async () => {
      try {
        words.putSync("ready");
        await empty.get();
      } catch (error) {
        await words.put(`get ${(error as Error).name}`);
      }
    }, { empty, words }),
    closure(() => {
      try {
        words.putSync("ready");
        full.putSync(1);
      } catch (error) {
        words.putSync(`putSync ${(error as Error).name}`);
      }
    }, { full, words }),
    closure(async () => {
      try {
        words.putSync("ready");
        await full.put(1);
      } catch (error) {
        await words.put(`put ${(error as Error).name}`);
      }
    }, { full, words }),
  ];
  const processes = attempts.map(start);
  for (const _ of attempts) assertEquals(await words.get({ timeout: DEADLINE }), "ready");
  await settle();
  empty.close();
  full.close();
  const said: string[] = [];
  for (const _ of attempts) said.push(await words.get({ timeout: DEADLINE }));
  const all = ["get", "getSync", "put", "putSync"].map((name) => `${name} ClosedError`);
  assertEquals(said.sort(), all.sort());
  for (const process of processes) await ended(process);
});

test("Queue[Symbol.asyncIterator]() ends when the queue is closed and drained", async () => {
  const queue = new Queue<number>({ maxSize: 3 });
  const producer = start(closure(async () => {
    for (let item = 0; item < 200; item++) {
      item % 2 ? queue.putSync(item) : await queue.put(item);
    }
    queue.close();
  }, { queue }));
  let next = 0;
  for await (const item of queue) assertEquals(item, next++);
  assertEquals(next, 200);
  await ended(producer);
});

test("Queue[Symbol.asyncIterator]() left early leaves the rest, and passes other errors on", async () => {
  const queue = new Queue<number>();
  for (const item of [1, 2, 3]) queue.putNowait(item);
  for await (const item of queue) if (item === 2) break;
  assertEquals(drain(queue), [3]);
  await assertRejects(
    async () => {
      queue.putNowait(4);
      for await (const item of queue) throw new RangeError(`${item}`);
    },
    RangeError,
    "4",
  );
});

// -- Between processes

test("Queue works in a child with each of its members", async () => {
  const queue = new Queue<unknown>({ maxSize: 2 });
  const results = new Queue<unknown[]>();
  const child = start(closure(async () => {
    const seen: unknown[] = [queue.qsize(), queue.empty(), queue.full()];
    const name = (act: () => unknown) => {
      try {
        return act();
      } catch (error) {
        return (error as Error).name;
      }
    };
    seen.push(name(() => queue.getNowait()));
    queue.putNowait("a");
    await queue.put(undefined);
    seen.push(queue.qsize(), queue.empty(), queue.full(), name(() => queue.putNowait(1)));
    seen.push(name(() => queue.putSync(1, { timeout: 20 })));
    seen.push(await queue.put(1, { timeout: 20 }).catch((error) => error.name));
    seen.push(await queue.get(), queue.getSync(), name(() => queue.getSync({ timeout: 20 })));
    seen.push(await queue.get({ timeout: 20 }).catch((error) => error.name));
    seen.push(name(() => queue.putSync(() => 1)), name(() => queue.putSync(1, { timeout: NaN })));
    queue.close();
    seen.push(name(() => queue.putSync(1)), name(() => queue.getSync()));
    results.putSync(seen);
  }, { queue, results }));
  assertEquals(await results.get({ timeout: DEADLINE }), [
    ...[0, true, false, "QueueEmptyError"],
    ...[2, false, true, "QueueFullError", "QueueFullError", "QueueFullError"],
    ...["a", undefined, "QueueEmptyError", "QueueEmptyError"],
    ...["EncodingError", "RangeError", "ClosedError", "ClosedError"],
  ]);
  await ended(child);
  assertThrows(() => queue.getNowait(), ClosedError);
});

test("Queue gets each of 10,000 items exactly once, three producers and three consumers mixing forms", async () => {
  const EACH = 3_334;
  const queue = new Queue<[producer: number, number: number]>({ maxSize: 50 });
  const results = new Queue<{ counts: number[]; sums: number[]; disorder: string }>();
  const producers = [0, 1, 2].map((id) =>
    start(closure(async () => {
      for (let number = 0; number < EACH; number++) {
        if (number % 5 === 0) await queue.put([id, number]);
        else if (number % 5 !== 1) queue.putSync([id, number]);
        else {
          for (;;) {
            try {
              queue.putNowait([id, number]);
              break;
            } catch (error) {
              if ((error as Error).name !== "QueueFullError") throw error;
              await new Promise((resolve) => setTimeout(resolve, 0));
            }
          }
        }
      }
    }, { queue, id, EACH }))
  );
  const consumers = [0, 1, 2].map((id) =>
    start(closure(async () => {
      const counts = [0, 0, 0], sums = [0, 0, 0], last = [-1, -1, -1];
      let disorder = "";
      for (let turn = id;; turn++) {
        let item: [number, number];
        try {
          if (turn % 3 === 0) item = await queue.get();
          else if (turn % 3 === 1) item = queue.getSync();
          else item = queue.getNowait();
        } catch (error) {
          if ((error as Error).name === "QueueEmptyError") continue;
          if ((error as Error).name === "ClosedError") break;
          throw error;
        }
        const [producer, number] = item;
        if (number <= last[producer]!) disorder += `${number} after ${last[producer]}; `;
        last[producer] = number;
        counts[producer]!++;
        sums[producer]! += number * number;
      }
      results.putSync({ counts, sums, disorder });
    }, { queue, results, id }))
  );
  for (const producer of producers) await ended(producer);
  queue.close();
  const counts = [0, 0, 0], sums = [0, 0, 0];
  for (const _ of consumers) {
    const result = await results.get({ timeout: DEADLINE });
    assertEquals(result.disorder, "");
    for (const id of [0, 1, 2]) {
      counts[id]! += result.counts[id]!;
      sums[id]! += result.sums[id]!;
    }
  }
  let sum = 0;
  for (let number = 0; number < EACH; number++) sum += number * number;
  assertEquals({ counts, sums }, { counts: [EACH, EACH, EACH], sums: [sum, sum, sum] });
  for (const consumer of consumers) await ended(consumer);
  assertEquals(queue.qsize(), 0);
});

test("Queue of one place passes items to and fro, in both forms", async () => {
  const there = new Queue<number>({ maxSize: 1 });
  const back = new Queue<number>({ maxSize: 1 });
  const echo = start(closure(async () => {
    for (let i = 0; i < 300; i++) {
      if (i % 2) back.putSync(there.getSync() + 1);
      else await back.put(await there.get() + 1);
    }
  }, { there, back }));
  for (let i = 0; i < 300; i++) {
    if (i % 3) there.putSync(i);
    else await there.put(i);
    assertEquals(i % 5 ? back.getSync({ timeout: DEADLINE }) : await back.get(), i + 1);
  }
  await ended(echo);
});

test("Queue.put() that waits for room in another process goes on after an abort here", async () => {
  const queue = new Queue<number>({ maxSize: 1 });
  queue.putNowait(0);
  const ready = new Queue<number>();
  const child = start(closure(() => (ready.putSync(1), queue.putSync(1)), { queue, ready }));
  await ready.get({ timeout: DEADLINE });
  const controller = new AbortController();
  const pending = assertRejects(() => queue.put(2, { signal: controller.signal }));
  await settle();
  assertEquals(queue.getNowait(), 0);
  controller.abort();
  await pending;
  await ended(child);
  assertEquals(drain(queue), [1]);
});

test("Queue handles of the same queue, decoded twice in one process, share its state", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const carrier = new Queue<Queue<unknown>>();
  const results = new Queue<unknown[]>();
  for (let i = 0; i < 3; i++) carrier.putSync(queue);
  const child = start(closure(async () => {
    const [one, two] = [carrier.getSync(), await carrier.get()];
    one.putSync(1);
    const seen = [one !== two, two.qsize(), two.getNowait()];
    // A stream of the one handle, and a blocking put of the other.
    const large = one.put(new Uint8Array(20_000).fill(7));
    two.putSync("small");
    await large;
    // Put means that it lies there, not that it was taken.
    const three = carrier.getSync();
    while (three.qsize() !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
    seen.push(three.qsize());
    results.putSync(seen);
  }, { carrier, results }));
  // The child itself takes the first, this is the large one.
  await until(() => queue.full(), "the large item has begun");
  const got = await queue.get({ timeout: DEADLINE });
  assertEquals((got as Uint8Array).length, 20_000);
  assertEquals(await results.get({ timeout: DEADLINE }), [true, 1, 1, 1]);
  assertEquals(drain(queue), ["small"]);
  await ended(child);
});

test("Queue handles of the same queue in one process: waits are served in the order of asking", async () => {
  const one = new Queue<number>({ maxSize: 1 });
  const carrier = new Queue<Queue<number>>();
  carrier.putSync(one);
  const two = carrier.getSync();
  const gets = Array.from({ length: 20 }, (_, i) => (i % 2 ? one : two).get({ timeout: DEADLINE }));
  const puts = Array.from({ length: 40 }, (_, i) => (i % 3 ? one : two).put(i));
  assertEquals(await Promise.all(gets), Array.from({ length: 20 }, (_, i) => i));
  const rest: number[] = [];
  while (rest.length < 20) rest.push(await one.get({ timeout: DEADLINE }));
  await Promise.all(puts);
  assertEquals(rest, Array.from({ length: 20 }, (_, i) => 20 + i));
});

test("Queue gives what the parent has put before what the child puts then", async () => {
  const queue = new Queue<number>();
  for (let i = 0; i < 10; i++) queue.putSync(i);
  await ended(start(closure(() => {
    for (let i = 10; i < 20; i++) queue.putSync(i);
  }, { queue })));
  assertEquals(drain(queue), Array.from({ length: 20 }, (_, i) => i));
});

test("Queue works while a module is being imported", async () => {
  const { got } = await import("./fixtures/queue_while_imported.ts");
  assertEquals(got, ["knock", "knock"]);
});

// -- Large items

test("Queue streams items larger than its memory from and to a child, in both forms", async () => {
  const queue = new Queue<Uint8Array>({ capacity: SMALL });
  const back = new Queue<Uint8Array>({ capacity: SMALL });
  const echo = start(closure(async () => {
    for (let i = 0; i < 4; i++) {
      const item = i % 2 ? queue.getSync() : await queue.get();
      if (i < 2) back.putSync(item);
      else await back.put(item);
    }
  }, { queue, back }));
  for (let i = 0; i < 4; i++) {
    const bytes = pattern(MIB + i, i);
    if (i % 3) queue.putSync(bytes, { timeout: DEADLINE });
    else await queue.put(bytes, { timeout: DEADLINE });
    assertEquals(queue.full(), false);
    const got = i % 2 ? back.getSync({ timeout: DEADLINE }) : await back.get({ timeout: DEADLINE });
    assertPattern(got, MIB + i, i);
    assertEquals([queue.qsize(), back.qsize()], [0, 0]);
  }
  await ended(echo);
});

test("Queue streams the items of two producers one after the other, and small ones in between", async () => {
  const queue = new Queue<[string, number, Uint8Array | number]>({ capacity: SMALL });
  const large = (id: number) =>
    closure(async () => {
      for (let i = 0; i < 4; i++) {
        const bytes = new Uint8Array(60_000 + i).fill(10 * id + i);
        if ((i + id) % 2) queue.putSync(["large", id, bytes]);
        else await queue.put(["large", id, bytes]);
      }
    }, { queue, id });
  const small = closure(() => {
    for (let i = 0; i < 100; i++) queue.putSync(["small", 3, i]);
  }, { queue });
  const producers = [large(1), large(2), small].map(start);
  const next = [0, 0, 0, 0];
  for (let count = 0; count < 108; count++) {
    const [size, id, value] = count % 2
      ? queue.getSync({ timeout: DEADLINE })
      : await queue.get({ timeout: DEADLINE });
    const expected = next[id]!++;
    if (size === "small") {
      assertEquals(value, expected);
    } else {
      const bytes = value as Uint8Array;
      assertEquals(bytes.length, 60_000 + expected);
      assert(bytes.every((byte) => byte === 10 * id + expected), "two items are mixed up");
    }
  }
  for (const producer of producers) await ended(producer);
  assertEquals(queue.qsize(), 0);
});

test("Queue.putSync() of a large item that times out, nobody getting, leaves the queue as it was", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const bytes = pattern(100_000);
  assertThrows(() => queue.putSync(bytes, { timeout: 30 }), QueueFullError, "30 ms");
  assertEquals([queue.qsize(), queue.empty(), queue.full()], [0, true, false]);
  assertThrows(() => queue.putNowait(bytes), QueueFullError);
  await assertRejects(() => queue.put(bytes, { timeout: 30 }), QueueFullError);
  const controller = new AbortController();
  const aborted = assertRejects(
    () => queue.put(bytes, { signal: controller.signal }),
    DOMException,
  );
  await settle();
  controller.abort();
  await aborted;
  queue.putNowait("small");
  assertEquals(queue.qsize(), 1);
  assertEquals(drain(queue), ["small"]);
});

test("Queue.put() of a large item that is aborted behind others leaves them, and nothing half", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  queue.putSync("first");
  const controller = new AbortController();
  const aborted = assertRejects(() => queue.put(pattern(MIB), { signal: controller.signal }));
  await settle();
  controller.abort();
  await aborted;
  assertEquals(queue.qsize(), 1);
  assertEquals(drain(queue), ["first"]);
  const next = queue.get({ timeout: DEADLINE });
  queue.putSync("next");
  assertEquals(await next, "next");
});

for (const form of ["get", "getSync"] as const) {
  test(`Queue.${form}() in a child drops a large item that is aborted amid, and gets the next`, async () => {
    const queue = new Queue<unknown>({ capacity: SMALL });
    const results = new Queue<unknown>();
    const child = start(closure(async () => {
      for (let i = 0; i < 2; i++) {
        results.putSync(form === "get" ? await queue.get() : queue.getSync());
      }
    }, { queue, results, form }));
    const controller = new AbortController();
    const large = pattern(64 * MIB);
    const aborted = assertRejects(() => queue.put(large, { signal: controller.signal }));
    // It has begun to get when a put of little memory has gone on after its first attempt.
    await new Promise((resolve) => setTimeout(resolve, 100));
    controller.abort();
    await aborted;
    queue.putSync("next");
    assertEquals(await results.get({ timeout: DEADLINE }), "next");
    await queue.put(pattern(10_000), { timeout: DEADLINE });
    assertPattern(await results.get({ timeout: DEADLINE }), 10_000);
    await ended(child);
  });
}

test("Queue.putSync() where an async put of a large item is pending waits for it, without a deadlock", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const child = start(closure(async () => {
    const large = queue.put(new Uint8Array(100_000).fill(1));
    queue.putSync("small");
    queue.putSync(new Uint8Array(50_000).fill(2));
    await large;
  }, { queue }));
  const sizes: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const item = await queue.get({ timeout: DEADLINE });
    sizes.push(item instanceof Uint8Array ? item.length : item);
  }
  assertEquals(sizes, [100_000, "small", 50_000]);
  await ended(child);
});

test("Queue.getSync() where an async put of a large item is pending gets it, without a deadlock", async () => {
  const queue = new Queue<Uint8Array>({ capacity: SMALL });
  const results = new Queue<number>();
  const child = start(closure(async () => {
    const large = queue.put(new Uint8Array(100_000));
    results.putSync(queue.getSync().length);
    await large;
  }, { queue, results }));
  assertEquals(await results.get({ timeout: 3_000 }).catch((error) => error.name), 100_000);
  await ended(child);
});

test("Queue.putSync() where an async get is amid a large item waits for it, without a deadlock", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const results = new Queue<unknown>();
  const ready = new Queue<number>();
  const producer = start(closure(() => {
    ready.putSync(1);
    queue.putSync(new Uint8Array(100_000));
  }, { queue, ready }));
  await ready.get({ timeout: DEADLINE });
  await until(() => queue.full(), "the stream has begun");
  const child = start(closure(async () => {
    const large = queue.get() as Promise<Uint8Array>;
    try {
      queue.putSync("small", { timeout: 3_000 });
      results.putSync("put");
    } catch (error) {
      results.putSync((error as Error).name);
    }
    results.putSync((await large).length);
  }, { queue, results }));
  assertEquals(await results.get({ timeout: DEADLINE }), "put");
  assertEquals(await results.get({ timeout: DEADLINE }), 100_000);
  assertEquals(drain(queue), ["small"]);
  await ended(producer);
  await ended(child);
});

/** A process that has begun to put a large item, does no more, and ends when the words say so. */
async function stuckProducer(queue: Queue<unknown>): Promise<[Process<[]>, Int32Array]> {
  const buffer = new SharedArrayBuffer(8);
  const words = new Int32Array(buffer);
  const process = start(closure(() => {
    const words = new Int32Array(buffer);
    queue.put(new Uint8Array(100_000));
    Atomics.store(words, 0, 1);
    Atomics.wait(words, 1, 0);
    (globalThis as unknown as { process: { exit(code: number): void } }).process.exit(3);
  }, { queue, buffer }));
  await until(() => Atomics.load(words, 0) === 1, "the producer has begun");
  return [process, words];
}

for (const way of ["exits", "is terminated", "is killed"] as const) {
  for (const form of ["get", "getSync"] as const) {
    test(`Queue.${form}() drops the large item of a producer that ${way} amid, and gets the next`, async () => {
      const queue = new Queue<unknown>({ capacity: SMALL });
      queue.putSync("before");
      const [producer, words] = await stuckProducer(queue);
      assertEquals(queue.qsize(), 1);
      assertEquals(queue.getNowait(), "before");
      let got: Promise<unknown> | undefined;
      if (form === "get") {
        got = queue.get({ timeout: DEADLINE });
        await settle();
      }
      if (way === "exits") {
        Atomics.store(words, 1, 1);
        Atomics.notify(words, 1);
      } else if (way === "is killed") {
        producer.kill();
      } else {
        producer.terminate();
      }
      await ended(producer, { exits: 3, "is terminated": -15, "is killed": -9 }[way]);
      const start = performance.now();
      queue.putSync("next", { timeout: DEADLINE });
      got ??= Promise.resolve(queue.getSync({ timeout: DEADLINE }));
      assertEquals(await got, "next");
      assertLess(performance.now() - start, 2_000);
      assertEquals([queue.qsize(), queue.full()], [0, false]);
    });
  }
}

test("Queue.get() amid a large item whose producer dies keeps its timeout and its signal", async () => {
  const reason = new Error("enough");
  for (const way of ["timeout", "signal"]) {
    const queue = new Queue<unknown>({ capacity: SMALL });
    const [producer] = await stuckProducer(queue);
    const controller = new AbortController();
    const got = queue.get(way === "timeout" ? { timeout: 50 } : { signal: controller.signal });
    const outcome = deadline(got, 3_000).then(() => "an item", (error) => error);
    await new Promise((resolve) => setTimeout(resolve, 100));
    controller.abort(reason);
    producer.terminate();
    const error = await outcome;
    // Whatever still waits must not keep the program.
    queue.close();
    if (way === "timeout") assertEquals(error.name, "QueueEmptyError");
    else assertStrictEquals(error, reason);
    assertEquals(queue.qsize(), 0);
  }
});

test("Queue.getSync() with a timeout gives up on a large item whose producer dies", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const [producer] = await stuckProducer(queue);
  producer.terminate();
  assertThrows(() => queue.getSync({ timeout: 50 }), QueueEmptyError);
  queue.putSync("next", { timeout: DEADLINE });
  assertEquals(drain(queue), ["next"]);
});

test("Queue.putSync() of others is not held up by a producer that died amid a large item", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const [producer] = await stuckProducer(queue);
  producer.terminate();
  await ended(producer, -15);
  // Nobody gets; the queue is empty.
  queue.putSync("next", { timeout: 2_000 });
  assertEquals(drain(queue), ["next"]);
});

test("Queue.put() of a large item whose consumer is terminated amid it goes on, and others get the next", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const buffer = new SharedArrayBuffer(8);
  const words = new Int32Array(buffer);
  const large = queue.put(pattern(100_000), { timeout: DEADLINE });
  const consumer = start(closure(() => {
    const words = new Int32Array(buffer);
    queue.get();
    Atomics.store(words, 0, 1);
    Atomics.wait(words, 1, 0);
  }, { queue, buffer }));
  await until(() => Atomics.load(words, 0) === 1, "the consumer has begun");
  consumer.terminate();
  await ended(consumer, -15);
  const next = queue.get({ timeout: DEADLINE });
  await large;
  await queue.put("next", { timeout: DEADLINE });
  assertEquals(await next, "next");
  assertEquals([queue.qsize(), queue.full()], [0, false]);
});

/** The middle one of the numbers: one late wake-up in a busy machine does not move it. */
function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1]!;
}

test("Queue.getSync() of two consumers: a large item comes without a sleep in between", async () => {
  const queue = new Queue<Uint8Array | null>({ capacity: SMALL });
  const results = new Queue<number>();
  const consumer = closure(() => {
    for (let item = queue.getSync(); item !== null; item = queue.getSync()) {
      results.putSync(item.length);
    }
  }, { queue, results });
  const consumers = [consumer, consumer].map(start);
  queue.putSync(new Uint8Array(1));
  assertEquals(await results.get({ timeout: DEADLINE }), 1);
  const times: number[] = [];
  for (let round = 0; round < 9; round++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const start = performance.now();
    queue.putSync(new Uint8Array(1_500), { timeout: DEADLINE });
    assertEquals(await results.get({ timeout: DEADLINE }), 1_500);
    times.push(performance.now() - start);
  }
  queue.putSync(null);
  queue.putSync(null);
  for (const process of consumers) await ended(process);
  assertLess(median(times), 50);
});

test("Queue.putSync() of many who wait behind a large item: all go on when it is through", async () => {
  const queue = new Queue<unknown>({ capacity: SMALL });
  const go = new Queue<number>();
  const producer = closure(() => {
    for (let round = 0; round < 5; round++) {
      go.getSync();
      queue.putSync("small");
    }
  }, { queue, go });
  const producers = [producer, producer, producer].map(start);
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const large = queue.put(pattern(10_000), { timeout: DEADLINE });
    for (const _ of producers) go.putSync(round);
    await until(() => go.empty(), "all have gone");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const start = performance.now();
    // One that was faster than the large one's first part may be before it.
    const items: unknown[] = [];
    while (items.length <= producers.length) items.push(await queue.get({ timeout: DEADLINE }));
    await large;
    assertPattern(items.find((item) => item !== "small"), 10_000);
    assertEquals(items.filter((item) => item === "small").length, producers.length);
    times.push(performance.now() - start);
  }
  for (const process of producers) await ended(process);
  assertLess(median(times), 60);
});

// -- Death at every step

const DIED = 33;

type Act = "put" | "get";

interface Victim {
  queue: Queue<unknown>;
  process: Process<[]>;
  words: Int32Array;
}

/** A process that exits, or stops for ever, just before a certain atomic step of its act. */
function victim(act: Act, step: number, how: "exit" | "park", size: number): Victim {
  const queue = new Queue<unknown>({ capacity: SMALL });
  if (act === "get") { for (let i = 1; i <= 2; i++) queue.putNowait(new Uint8Array(size).fill(i)); }
  else queue.putNowait("before");
  const buffer = new SharedArrayBuffer(8);
  const process = start(closure(() => {
    const words = new Int32Array(buffer);
    const { wait, store } = Atomics;
    const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
    const names = ["load", "store", "add", "sub", "or", "exchange", "compareExchange", "notify"];
    const originals = names.map((name) => table[name]!);
    const { exit } = (globalThis as unknown as { process: { exit(code: number): void } }).process;
    let left = step;
    const die = () => {
      names.forEach((name, i) => table[name] = originals[i]!);
      if (how === "exit") {
        exit(33);
        for (;;);
      }
      store(words, 0, 1);
      wait(words, 1, 0);
    };
    const item = new Uint8Array(size).fill(9);
    names.forEach((name, i) => {
      table[name] = (...args) => {
        if (left-- === 0) die();
        return originals[i]!.apply(Atomics, args);
      };
    });
    if (act === "put") queue.putSync(item);
    else queue.getSync();
    names.forEach((name, i) => table[name] = originals[i]!);
  }, { queue, buffer, act, step, how, size }));
  return { queue, process, words: new Int32Array(buffer) };
}

/** What is in the queue of a dead one: items of bytes by their first byte. */
function contents(queue: Queue<unknown>, size: number): unknown[] {
  const items: unknown[] = [];
  while (!queue.empty()) items.push(queue.getSync({ timeout: DEADLINE }));
  return items.map((item) => {
    if (!(item instanceof Uint8Array)) return item;
    assertEquals(item.length, size);
    assert(item.every((byte) => byte === item[0]), "an item is torn");
    return item[0];
  });
}

/** Checks the queue after a death: others put and get at once, and only what the dead one held is gone. */
function checkAfterDeath(act: Act, { queue }: Victim, size: number, where: string): void {
  const start = performance.now();
  const before = queue.qsize();
  queue.putSync("after", { timeout: DEADLINE });
  assertEquals(queue.qsize(), before + 1, where);
  const left = contents(queue, size);
  assertLess(performance.now() - start, 2_000, where);
  const expected = act === "put"
    ? [["before", "after"], ["before", 9, "after"]]
    : [[2, "after"], [1, 2, "after"]];
  assertEquals(left, expected[before - 1], where);
}

/** More than there are atomic operations in a put or a get. */
const STEPS = 24;

for (const act of ["put", "get"] as const) {
  test(`Queue.${act}Sync() of a process that exits before any of its steps harms no other`, async () => {
    const victims = Array.from({ length: STEPS }, (_, step) => victim(act, step, "exit", 50));
    const survived: number[] = [];
    for (const [step, dead] of victims.entries()) {
      assert(await dead.process.join({ timeout: DEADLINE }), `step ${step}`);
      if (dead.process.exitCode === 0) survived.push(step);
      else assertEquals(dead.process.exitCode, DIED);
      checkAfterDeath(act, dead, 50, `step ${step}`);
    }
    // All steps were tried, and there were some.
    assert(survived.length > 0 && survived[0]! > 7, `survived ${survived}`);
    assertEquals(survived.length, STEPS - survived[0]!);
  });

  test(`Queue.${act}Sync() of a process that is terminated before a step harms no other`, async () => {
    const victims = [1, 4, 6, 7].map((step) => victim(act, step, "park", 50));
    for (const { words } of victims) await until(() => Atomics.load(words, 0) === 1, "parked");
    victims.forEach(({ process }, i) => i % 2 ? process.terminate() : process.kill());
    for (const dead of victims) checkAfterDeath(act, dead, 50, `${act}`);
    for (const [i, { process }] of victims.entries()) await ended(process, i % 2 ? -15 : -9);
  });
}

test("Queue.putSync() of a large item by a process that exits before a step puts all of it or nothing", async () => {
  const steps = Array.from({ length: 7 }, (_, i) => 5 * i + 3);
  const victims = steps.map((step) => victim("put", step, "exit", 2_500));
  for (const [i, dead] of victims.entries()) {
    assert(await dead.process.join({ timeout: DEADLINE }));
    checkAfterDeath("put", dead, 2_500, `step ${steps[i]}`);
  }
});

test("Queue.getSync() of a large item by a process that exits before a step loses at most that", async () => {
  const steps = Array.from({ length: 5 }, (_, i) => 4 * i + 3);
  const victims = steps.map((step) => victim("get", step, "exit", 1_100));
  for (const [i, dead] of victims.entries()) {
    assert(await dead.process.join({ timeout: DEADLINE }));
    const { queue } = dead;
    const before = queue.qsize();
    queue.putSync("after", { timeout: DEADLINE });
    const left = contents(queue, 1_100);
    // Who died amid the first item leaves its rest, which is counted until somebody gets.
    assertEquals(left.at(-1), "after", `step ${steps[i]}`);
    assertMatch(left.join(), before === 2 ? /^(1,)?2,after$/ : /^2,after$/);
  }
});

test("Queue.get() that waits gets the item of a process that died after its commit, or the next", async () => {
  const victims = [2, 6, 7, 8, 10, 11].map((step) => victim("put", step, "exit", 50));
  const waits = victims.map(async ({ queue, process }, step) => {
    assertEquals(await queue.get({ timeout: DEADLINE }), "before");
    const pending = queue.get({ timeout: DEADLINE });
    assert(await process.join({ timeout: DEADLINE }));
    await queue.put("after", { timeout: DEADLINE });
    const got = await pending;
    const rest = contents(queue, 50);
    if (got === "after") assertEquals(rest, [], `step ${step}`);
    else assertEquals([(got as Uint8Array)[0], ...rest], [9, "after"], `step ${step}`);
  });
  await Promise.all(waits);
});
