/** Pools: buffers and ports that are moved, there and back, and what becomes of those that nobody takes. */

import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { ClosedError, EncodingError, TargetError } from "../errors.ts";
import { Pool, type TaskOptions } from "../pool.ts";
import { Event } from "../sync.ts";
import { closure, transfer } from "../target.ts";
import { deposit, fetchSync, withdraw } from "../wire/exchange.ts";
import { kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import { waitAtGate } from "./fixtures/pool_tasks.ts";
import { waitForever } from "./fixtures/pool_user.ts";

const square = (n: number): number => n * n;
const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0);

let common: Pool | undefined;

/** Gives a test a pool of two workers that it has in common with others, and must not close. */
function inPool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(common ??= new Pool({ processes: 2 })));
}

/** A few bytes, or many, that sum up to six times their number. */
function bytesOf(length = 4): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(6);
}

/** The ways in which each call is given something, and the option in which it is listed. */
type Send = (pool: Pool, bytes: Uint8Array, options: TaskOptions) => Promise<number>;
const SENDS: Record<string, Send> = {
  apply: (pool, bytes, options) => pool.apply(sum, [bytes], options),
  applyAsync: (pool, bytes, options) => pool.applyAsync(sum, [bytes], options).get(),
  map: async (pool, bytes, options) => (await pool.map(sum, [bytes], options))[0]!,
  mapAsync: async (pool, bytes, options) => (await pool.mapAsync(sum, [bytes], options))[0]!,
  starmap: async (pool, bytes, options) => (await pool.starmap(sum, [[bytes]], options))[0]!,
  starmapAsync: async (pool, bytes, options) =>
    (await pool.starmapAsync(sum, [[bytes]], options))[0]!,
  imap: async (pool, bytes, options) => (await pool.imap(sum, [bytes], options).next()).value!,
  imapUnordered: async (pool, bytes, options) =>
    (await pool.imapUnordered(sum, [bytes], options).next()).value!,
};

// -- There

test(
  "Pool moves what the option transfer lists: it is detached here, and arrives whole",
  inPool(async (pool) => {
    for (const [name, send] of Object.entries(SENDS)) {
      for (const length of [0, 4, 100_000, 6_000_000]) {
        const bytes = bytesOf(length);
        const { buffer } = bytes;
        assertEquals(await send(pool, bytes, { transfer: [buffer] }), 6 * length, name);
        assertEquals([buffer.detached, bytes.length], [true, 0], name);
      }
    }
  }),
);

test(
  "Pool moves what transfer() marks in arguments and items, however deep",
  inPool(async (pool) => {
    const list = Array.from({ length: 8 }, () => bytesOf(1_000));
    const marked = list.map((bytes) => transfer(bytes, [bytes.buffer]));
    const deep = (map: Map<string, { bytes: Uint8Array }[]>) => map.get("a")![0]!.bytes.length;
    assertEquals(await pool.apply(sum, [marked[0]!]), 6_000);
    assertEquals(await pool.apply(deep, [new Map([["a", [{ bytes: marked[1]! }]]])]), 1_000);
    assertEquals(await pool.map(sum, [marked[2]!, marked[3]!]), [6_000, 6_000]);
    assertEquals(await pool.starmap(sum, [[marked[4]!], [marked[5]!]], { chunkSize: 1 }), [
      6_000,
      6_000,
    ]);
    const results = await Array.fromAsync(pool.imap(sum, [marked[6]!, marked[7]!]));
    assertEquals(results, [6_000, 6_000]);
    assert(list.every(({ buffer }) => buffer.detached));
  }),
);

test(
  "Pool copies what is not listed, beside what is",
  inPool(async (pool) => {
    const moved = bytesOf(10);
    const stays = bytesOf(20);
    const both = (a: Uint8Array, b: Uint8Array) => [a.length, b.length];
    const options = { transfer: [moved.buffer] };
    assertEquals(await pool.apply(both, [moved, stays], options), [10, 20]);
    assertEquals([moved.length, stays.length], [0, 20]);
  }),
);

test(
  "Pool.map() and imap() move each listed buffer with the item that it stands in",
  inPool(async (pool) => {
    for (const form of ["map", "imap", "imapUnordered"] as const) {
      for (const chunkSize of [undefined, 1, 3]) {
        const items = Array.from({ length: 20 }, (_, i) => bytesOf(i));
        const options = {
          transfer: items.map(({ buffer }) => buffer),
          ...chunkSize === undefined ? {} : { chunkSize },
        };
        const sums = form === "map"
          ? await pool.map(sum, items, options)
          : await Array.fromAsync(pool[form](sum, items, options));
        assertEquals(sums.sort((a, b) => a - b), items.map((_, i) => 6 * i));
        assert(items.every(({ buffer }) => buffer.detached));
      }
    }
  }),
);

test(
  "Pool.imap() leaves listed buffers alone that it has not read",
  inPool(async (pool) => {
    const items = Array.from({ length: 20 }, () => bytesOf(5));
    const options = { transfer: items.map(({ buffer }) => buffer), bufferSize: 2, chunkSize: 1 };
    const results = pool.imap(sum, items, options);
    assertEquals((await results.next()).value, 30);
    await results.return!();
    assertEquals(items.map(({ length }) => length), [0, 0, 0, ...new Array(17).fill(5)]);
  }),
);

test(
  "Pool moves two views of one buffer as what they are: views of one buffer",
  inPool(async (pool) => {
    const { buffer } = bytesOf(8);
    const args = [new Uint8Array(buffer, 0, 4), new Uint8Array(buffer, 2, 4)];
    const write = (a: Uint8Array, b: Uint8Array) => {
      a[3] = 99;
      return [a.length, b[1], a.buffer === b.buffer];
    };
    assertEquals(await pool.apply(write, args as never, { transfer: [buffer] }), [4, 99, true]);
    assertEquals(args.map(({ length }) => length), [0, 0]);
  }),
);

test(
  "Pool moves a port, over which the task answers",
  inPool(async (pool) => {
    const { port1, port2 } = new MessageChannel();
    const answered = new Promise((resolve) => port1.onmessage = ({ data }) => resolve(data));
    const speak = (port: MessagePort) => {
      port.postMessage("from the worker");
      port.close();
    };
    await pool.apply(speak, [port2], { transfer: [port2] });
    assertEquals(await answered, "from the worker");
    port1.close();
    const unlisted = new MessageChannel();
    const error = await assertRejects(() => pool.apply(speak, [unlisted.port2]), EncodingError);
    assert(error.message.includes("args[0]") && error.message.includes("transfer"), error.message);
    unlisted.port1.close();
  }),
);

// -- Lists that are odd

test(
  "Pool moves what is listed but does not occur, or only leaves it: the task runs",
  inPool(async (pool) => {
    for (const [name, send] of Object.entries(SENDS)) {
      const bytes = bytesOf();
      const other = bytesOf();
      const options = { transfer: [bytes.buffer, other.buffer] };
      assertEquals(await send(pool, bytes, options), 24, name);
      assertEquals(bytes.length, 0, name);
    }
  }),
);

test(
  "Pool refuses a buffer that is listed twice, or was moved before, and what cannot be moved",
  inPool(async (pool) => {
    for (const [name, send] of Object.entries(SENDS)) {
      const bytes = bytesOf();
      const { buffer } = bytes;
      const gone = bytesOf().buffer;
      structuredClone(gone, { transfer: [gone] });
      const lists: [unknown[], string][] = [
        [[buffer, buffer], "twice"],
        [[gone], "moved before"],
        [[5], "5, which cannot be moved"],
        [[null], "which cannot be moved"],
        [[bytes], "which cannot be moved"],
        [[new SharedArrayBuffer(1)], "which cannot be moved"],
        [[() => {}], "which cannot be moved"],
      ];
      for (const [list, text] of lists) {
        const call = () => send(pool, bytes, { transfer: list as Transferable[] });
        const error = await assertRejects(call, EncodingError, text, name);
        assert(/Cannot send args|Cannot \w*map/.test(error.message), error.message);
        assertEquals(bytes.length, 4, name);
      }
    }
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool refuses lists within transfer() that are odd, in arguments and in items",
  inPool(async (pool) => {
    const bytes = bytesOf();
    const { buffer } = bytes;
    const gone = bytesOf().buffer;
    structuredClone(gone, { transfer: [gone] });
    const lists: unknown[][] = [[buffer, buffer], [gone], [5], [bytes]];
    for (const list of lists) {
      const marked = () => transfer(bytes, list as Transferable[]);
      await assertRejects(() => pool.apply(sum, [marked()]), EncodingError, "args[0]");
      await assertRejects(
        () => pool.map(sum, [bytes, marked()], { chunkSize: 1 }),
        EncodingError,
        "items[1]",
      );
      assertEquals(bytes.length, 4);
    }
  }),
);

test(
  "Pool moves the same buffer once: a second call with it is refused",
  inPool(async (pool) => {
    const bytes = bytesOf();
    const { buffer } = bytes;
    const first = pool.apply(sum, [bytes], { transfer: [buffer] });
    await assertRejects(() => pool.apply(sum, [bytes], { transfer: [buffer] }), EncodingError);
    assertEquals(await first, 24);
  }),
);

test(
  "Pool moves nothing of a call that it refuses",
  inPool(async (pool) => {
    const bytes = bytesOf();
    const { buffer } = bytes;
    const outside = Number("1");
    const options = { transfer: [buffer] };
    const closed = new Pool({ processes: 1 });
    closed.close();
    await assertRejects(() => closed.apply(sum, [bytes], options), ClosedError);
    await assertRejects(() => pool.apply(() => outside, [bytes] as never, options), TargetError);
    await assertRejects(
      () => pool.apply((..._: unknown[]) => {}, [bytes, () => {}], options),
      EncodingError,
    );
    const signal = AbortSignal.abort(new URIError("before"));
    await assertRejects(() => pool.apply(sum, [bytes], { ...options, signal }), URIError);
    await assertRejects(() => pool.map(sum, [bytes], { ...options, signal }), URIError);
    await assertRejects(async () => {
      await pool.imap(sum, [bytes], { ...options, signal }).next();
    }, URIError);
    await assertRejects(() => pool.apply(sum, [bytes], { ...options, grace: -1 }), RangeError);
    assertEquals(bytes.length, 4);
    await soon(closed.join());
  }),
);

// -- Back

test(
  "Pool moves what a task marks in its result: it is detached there, and arrives whole",
  inPool(async (pool) => {
    const make = closure((length: number) => {
      const bytes = new Uint8Array(length).fill(3);
      Reflect.set(globalThis, "made", bytes);
      return { deep: [transfer(bytes, [bytes.buffer])] };
    }, { transfer });
    for (const length of [0, 10, 100_000, 6_000_000]) {
      const { deep } = await pool.apply(make, [length]);
      assertInstanceOf(deep[0], Uint8Array);
      assertEquals([deep[0].length, deep[0][0] ?? 3, deep[0].at(-1) ?? 3], [length, 3, 3]);
    }
    const mapped = await pool.map(make, [1, 2, 3, 4], { chunkSize: 2 });
    assertEquals(mapped.map(({ deep }) => deep[0]!.length), [1, 2, 3, 4]);
    const later = await Array.fromAsync(pool.imap(make, [1, 2, 3, 4]));
    assertEquals(later.map(({ deep }) => deep[0]!.length), [1, 2, 3, 4]);
    const left = await pool.map(() => Reflect.get(globalThis, "made")?.length ?? 0, [1, 2, 3, 4]);
    assertEquals(left, [0, 0, 0, 0]);
  }),
);

test(
  "Pool hands a buffer there and back again, moved each time",
  inPool(async (pool) => {
    const increment = closure((bytes: Uint8Array) => {
      bytes[0]!++;
      return transfer(bytes, [bytes.buffer as ArrayBuffer]);
    }, { transfer });
    let bytes: Uint8Array = new Uint8Array(1_000);
    for (let i = 0; i < 50; i++) {
      const next = await pool.apply(increment, [bytes], {
        transfer: [bytes.buffer as ArrayBuffer],
      });
      assertEquals(bytes.length, 0);
      bytes = next;
    }
    assertEquals([bytes.length, bytes[0]], [1_000, 50]);
  }),
);

test(
  "Pool moves a port in a result",
  inPool(async (pool) => {
    const open = closure(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => {
        port1.postMessage(data + 1);
        port1.close();
      };
      return transfer(port2, [port2]);
    }, { transfer });
    const port = await pool.apply(open);
    const answered = new Promise((resolve) => port.onmessage = ({ data }) => resolve(data));
    port.postMessage(41);
    assertEquals(await answered, 42);
    port.close();
  }),
);

test(
  "Pool refuses an odd list in a result, with EncodingError that names the result",
  inPool(async (pool) => {
    const twice = closure(() => {
      const bytes = new Uint8Array(4);
      return { a: transfer(bytes, [bytes.buffer, bytes.buffer]) };
    }, { transfer });
    await assertRejects(() => pool.apply(twice), EncodingError, "result");
    await assertRejects(() => pool.map(twice as never, [1, 2]), EncodingError, "result");
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

// -- Nothing is left behind

/** The token of the deposit that is made next by this process. */
function nextToken(): number {
  const token = deposit([], []);
  withdraw(token);
  return token + 1;
}

/** Which deposits made since still lie at the exchange; they are gone afterwards. */
function leftSince(from: number): number {
  let left = 0;
  const to = nextToken();
  // Nothing lies there; but who looks for it, first sees to what the workers have asked for.
  fetchSync(to);
  for (let token = from; token < to; token++) {
    if (fetchSync(token).length > 0) left++;
  }
  return left;
}

/** What a pool is told, and what then becomes of the buffers that are queued in it. */
const ENDS: Record<string, (pool: Pool, cancel: AbortController) => void> = {
  "signal": (_, cancel) => cancel.abort(),
  "terminate()": (pool) => void pool.terminate(),
  "close() and terminate()": (pool) => {
    pool.close();
    void pool.terminate();
  },
};

for (const [name, end] of Object.entries(ENDS)) {
  for (const where of ["ring", "backlog"]) {
    test(`Pool frees moved buffers that wait in the ${where}, after ${name}`, async () => {
      await withPool({ processes: 1 }, async (pool) => {
        const gate = new Event();
        const here = new Event();
        const first = kept(pool.apply(waitAtGate, [gate, here]));
        await here.wait();
        // Four of these fill the ring; what comes behind the fifth waits in the backlog.
        const fill = where === "ring" ? [] : [1, 2, 3, 4, 5];
        const fillers = Promise.allSettled(fill.map(() => pool.apply(sum, [bytesOf(1_000_000)])));
        const from = nextToken();
        const cancel = new AbortController();
        const { signal } = cancel;
        const buffers = Array.from({ length: 12 }, () => bytesOf(1_000).buffer);
        const calls = buffers.map((buffer, i) => {
          const bytes = new Uint8Array(buffer);
          const transfer = [buffer];
          if (i % 3 === 0) return pool.apply(sum, [bytes], { signal, transfer });
          return i % 3 === 1
            ? pool.map(sum, [bytes], { signal, transfer })
            : pool.imap(sum, [bytes], { signal, transfer }).next();
        });
        const settled = Promise.allSettled(calls);
        assert(buffers.every(({ detached }) => detached));
        end(pool, cancel);
        const outcomes = await settled;
        assert(outcomes.every(({ status }) => status === "rejected"));
        gate.set();
        if (name === "signal") {
          assertEquals(await first, "through");
          assertEquals(await pool.apply(square, [3]), 9);
          await until(() => pool.stats().idle === 1, "an idle worker");
        } else {
          await pool.terminate();
        }
        await fillers;
        assertEquals(leftSince(from), 0);
      });
    });
  }
}

test("Pool frees the moved buffers of tasks that run, and of one that is stopped", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const from = nextToken();
    const cancel = new AbortController();
    const here = new Event();
    for (let i = 0; i < 20; i++) {
      const bytes = bytesOf(1_000);
      await pool.apply(sum, [bytes], { transfer: [bytes.buffer] });
    }
    const bytes = bytesOf(1_000);
    const loop = closure((_: Uint8Array) => waitForever(here), { waitForever, here });
    const { signal } = cancel;
    const running = kept(pool.apply(loop, [bytes], { signal, transfer: [bytes.buffer] }));
    await here.wait();
    cancel.abort(new URIError("stop"));
    await assertRejects(() => running, URIError);
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(leftSince(from), 0);
  });
});

test("Pool frees the moved buffers that an imap has read, and nobody consumes", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const first = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    const from = nextToken();
    const items = Array.from({ length: 10 }, () => bytesOf(1_000));
    const results = pool.imap(sum, items, { transfer: items.map(({ buffer }) => buffer) });
    const waiting = results.next();
    await results.return!();
    assertEquals(await waiting, { done: true, value: undefined });
    gate.set();
    await first;
    assertEquals(await pool.apply(square, [3]), 9);
    assertEquals(leftSince(from), 0);
  });
});
