/** Pools infer items and results. */

import {
  type AsyncResult,
  closure,
  type ImapOptions,
  type MapOptions,
  Pool,
  type PoolOptions,
  type PoolStats,
  type Queue,
  type Target,
  task,
  type TaskOptions,
  transfer,
} from "@multiprocessing/core";
import { is } from "./expect.ts";

const pool = new Pool({ processes: 2 });
const module = new URL("file:///tasks.ts");

const add = (a: number, b: number): number => a + b;
const half = task(import.meta, function half(n: number): number {
  return n / 2;
});
const same = task(import.meta, function same<T>(item: T): T {
  return item;
});

async function* numbers(): AsyncGenerator<number> {
  yield* [1, 2, 3];
}

/** Items are of what the function takes, and results of what it returns. */
export async function map(queue: Queue<string>, stream: ReadableStream<Uint8Array>): Promise<void> {
  is<number[]>()(await pool.map((n: number) => n + 3, [1, 2, 3]));
  is<string[]>()(await pool.map((n: number) => n.toFixed(), new Set([1, 2])));
  is<string[]>()(await pool.map(async (n: number) => await Promise.resolve(`${n}`), [1]));
  is<number[]>()(await pool.map(half, [1, 2]));
  is<{ id: number; text: string }[]>()(
    await pool.map((id: number) => ({ id, text: "" }), [1]),
  );
  is<("big" | undefined)[]>()(await pool.map((n: number) => n > 1 ? "big" : undefined, [1]));
  is<void[]>()(await pool.map((n: number): void => console.log(n), [1]));
  is<never[]>()(
    await pool.map((n: number): never => {
      throw new Error(`${n}`);
    }, [1]),
  );

  // What the items are made of.
  is<number[]>()(await pool.map((char: string) => char.length, "text"));
  is<number[]>()(await pool.map((n: number) => n * 2, new Float64Array(8)));
  is<bigint[]>()(await pool.map((n: bigint) => n * 2n, new BigInt64Array(8)));
  is<number[]>()(await pool.map((n: number) => n * 2, [1, 2, 3] as const));
  is<number[]>()(
    await pool.map(([key, n]: [string, number]) => key.length + n, new Map([["a", 1]])),
  );
  is<number[]>()(await pool.map((n: number) => n * 2, numbers()));
  is<number[]>()(await pool.map((item: string) => item.length, queue));
  is<number[]>()(await pool.map((bytes: Uint8Array) => bytes.length, stream));
  is<number[]>()(await pool.map((n: number | string) => Number(n), [1, 2]));
  is<number[]>()(await pool.map((n: number, more = 1) => n + more, [1, 2]));
  is<string[]>()(await pool.map(() => "none", [1, 2]));

  // The function's parameter from the items.
  is<string[]>()(await pool.map((n) => n.toFixed(), [1, 2]));
  is<number[]>()(await pool.map((item) => item.length, queue));
  is<number[]>()(await pool.map(({ id }) => id, [{ id: 1 }, { id: 2 }]));
  is<number[]>()(await pool.map(same<number>, [1, 2]));

  const factor = 2;
  is<number[]>()(await pool.map(closure((n: number) => n * factor, { factor }), [1]));
  is<number>()((await pool.map(half, [1]))[0] ?? 0);
}

/** Items that do not fit. */
export function wrongItems(): void {
  // @ts-expect-error: strings are no numbers
  pool.map((n: number) => n, ["1"]);
  // @ts-expect-error: characters are no numbers
  pool.map((n: number) => n, "123");
  // @ts-expect-error: they may be undefined
  pool.map((n: number) => n, [1, undefined]);
  // @ts-expect-error: bigints are no numbers
  pool.map((n: number) => n, new BigInt64Array(1));
  // @ts-expect-error: the function needs two
  pool.map(add, [1, 2]);
  // @ts-expect-error: pairs are for starmap
  pool.map(add, [[1, 2]]);
  // @ts-expect-error: no list
  pool.map((n: number) => n, 3);
  // @ts-expect-error: there is nothing to map
  pool.map((n: number) => n);
  // @ts-expect-error: a promise of a list is no list
  pool.map((n: number) => n, Promise.resolve([1]));
  // @ts-expect-error: the items come after the function
  pool.map([1, 2], (n: number) => n);
  // @ts-expect-error: Python's position of the chunk size
  pool.map((n: number) => n, [1], 10);
  // @ts-expect-error: no such option
  pool.map((n: number) => n, [1], { chunksize: 10 });
  // @ts-expect-error: a number has no such method
  pool.map((n) => n.trim(), [1]);
  // @ts-expect-error: not of what a task takes
  pool.map(half, ["1"]);
  // @ts-expect-error: not of what a closure takes
  pool.imap(closure((n: number) => n, {}), ["1"]);
  // @ts-expect-error: numbers are no strings
  const texts: Promise<string[]> = pool.map((n: number) => n, [1]);
  return void texts;
}

/** One call. */
export async function apply(): Promise<void> {
  is<number>()(await pool.apply(add, [1, 2]));
  is<number>()(await pool.apply(async () => await Promise.resolve(1)));
  is<number>()(await pool.apply(() => 1, undefined, { timeout: 10 }));
  is<number>()(await pool.apply(() => 1, []));
  is<number>()(await pool.apply<[], number>(() => 1));
  is<number>()(await pool.apply(add, [1, 2] as const));
  is<string>()(await pool.apply((name = "bob") => name));
  is<string>()(await pool.apply((a, b) => a.toFixed() + b.trim(), [1, "two"]));
  is<number>()(await pool.apply((...all: number[]) => all.length, [1, 2, 3]));
  is<number>()(await pool.apply((...all: number[]) => all.length));
  const buffer = new ArrayBuffer(8);
  is<number>()(
    await pool.apply((b: ArrayBuffer) => b.byteLength, [buffer], { transfer: [buffer] }),
  );
  is<number>()(await pool.apply((b: ArrayBuffer) => b.byteLength, [transfer(buffer, [buffer])]));

  // @ts-expect-error: one argument too few
  pool.apply(add, [1]);
  // @ts-expect-error: none at all
  pool.apply(add);
  // @ts-expect-error: one too many
  pool.apply(add, [1, 2, 3]);
  // @ts-expect-error: of another type
  pool.apply(add, [1, "2"]);
  // @ts-expect-error: arguments are an array
  pool.apply(half, 1);
  // @ts-expect-error: it takes none
  pool.apply(() => 1, [1]);
  // @ts-expect-error: none at all
  pool.applyAsync(add);
  // @ts-expect-error: only a map has chunks
  pool.apply(add, [1, 2], { chunkSize: 1 });
}

/** Several arguments each. */
export async function starmap(pairs: AsyncIterable<[number, number]>): Promise<void> {
  is<number[]>()(await pool.starmap(add, [[1, 2], [3, 4]]));
  is<number[]>()(await pool.starmap(add, pairs));
  is<number[]>()(await pool.starmap(add, [[1, 2], [3, 4]] as const));
  is<string[]>()(await pool.starmap((a, b) => a.trim() + b.toFixed(), [["a", 1], ["b", 2]]));
  is<number[]>()(await pool.starmap((...all: number[]) => all.length, [[1], [1, 2]]));
  is<number[]>()(
    await pool.starmap((key: string, n: number) => key.length + n, new Map([["a", 1]])),
  );
  is<string[]>()(await pool.starmap((a, b) => (a + b).toFixed(), pairs));
  is<number[]>()(await pool.starmap(async (a: number) => await Promise.resolve(a), [[1]]));
  is<AsyncResult<number[]>>()(pool.starmapAsync(add, [[1, 2]]));

  // @ts-expect-error: one argument too few
  pool.starmap(add, [[1]]);
  // @ts-expect-error: one too many
  pool.starmap(add, [[1, 2, 3]]);
  // @ts-expect-error: of another type
  pool.starmap(add, [[1, "2"]]);
  // @ts-expect-error: items of map
  pool.starmap(half, [1, 2]);
}

/** As they come. */
export async function imap(): Promise<void> {
  is<AsyncIterableIterator<number>>()(pool.imap(half, [1, 2]));
  is<AsyncIterableIterator<string>>()(pool.imapUnordered((n: number) => `${n}`, numbers()));
  for await (const result of pool.imap(async (n: number) => await Promise.resolve(n > 1), [1])) {
    is<boolean>()(result);
  }
  for await (const result of pool.imapUnordered((text) => text.length, ["a"])) is<number>()(result);
  // @ts-expect-error: strings are no numbers
  pool.imap(half, ["1"]);
  // @ts-expect-error: strings are no numbers
  pool.imapUnordered(half, ["1"]);
  // @ts-expect-error: it is no list
  for (const result of pool.imap(half, [1])) console.log(result);
}

/** Later. */
export async function later(): Promise<void> {
  const one = pool.applyAsync(async (n: number) => await Promise.resolve(`${n}`), [1], {
    callback: (result) => is<string>()(result),
    errorCallback: (error) => is<unknown>()(error),
  });
  is<AsyncResult<string>>()(one);
  is<string>()(await one);
  is<string>()(await one.get({ timeout: 10 }));
  is<boolean>()(await one.wait());
  is<boolean>()(one.ready());
  is<boolean>()(one.successful());
  one.cancel();
  is<number>()(await one.then((text) => text.length));
  const all = pool.mapAsync(half, [1, 2], { callback: (result) => is<number[]>()(result) });
  is<number[]>()(await all.get());
  // @ts-expect-error: the result is a number
  pool.applyAsync(add, [1, 2], { callback: (result: string) => console.log(result) });
}

/** By module and name: nothing is known of it, unless one says it. */
export async function byName(): Promise<void> {
  is<unknown>()(await pool.apply({ module, name: "main" }));
  is<unknown>()(await pool.apply({ module, name: "main" }, [1, "two"]));
  is<unknown[]>()(await pool.map({ module, name: "half" }, [1, 2]));
  const typed: Target<[n: number], Promise<string>> = { module, name: "text" };
  is<string>()(await pool.apply(typed, [1]));
  is<string[]>()(await pool.map(typed, [1, 2]));
  is<AsyncIterableIterator<string>>()(pool.imap(typed, [1, 2]));
  is<string[]>()(await pool.map<number, string>({ module, name: "text" }, [1, 2]));
  is<string>()(await pool.apply<[number], string>({ module, name: "text" }, [1]));
  is<number[]>()(
    await pool.starmap<[a: number, b: number], number>({ module, name: "add" }, [[1, 2]]),
  );
  // @ts-expect-error: its type says otherwise
  pool.map(typed, ["1"]);
  // @ts-expect-error: its type says otherwise
  pool.apply(typed, ["1"]);
  // @ts-expect-error: a function of the module needs a name
  pool.apply({ module });
  // @ts-expect-error: no URL
  pool.apply({ module: 1, name: "main" });
}

/** Options may be undefined. */
export function options(
  signal: AbortSignal | undefined,
  count: number | undefined,
  onProgress: ((done: number, total: number | undefined) => void) | undefined,
): void {
  const made: PoolOptions = { processes: count, maxTasksPerChild: count, name: undefined };
  new Pool(made);
  new Pool({ initializer: undefined, initargs: undefined, backend: undefined });
  new Pool({ initializer: (n: number) => console.log(n), initargs: [1] });
  new Pool({ initializer: { module, name: "prepare" } });
  const task: TaskOptions = { signal, timeout: count, grace: count, transfer: undefined };
  const map: MapOptions = { ...task, chunkSize: count, onProgress };
  const imap: ImapOptions = { ...map, bufferSize: count };
  pool.apply(add, [1, 2], task);
  pool.map(half, [1], map);
  pool.imap(half, [1], imap);
  pool.applyAsync(add, [1, 2], { callback: undefined, errorCallback: undefined });
  pool.map(half, [1], { onProgress: (done, total) => is<number>()(done + (total ?? 0)) });
  // @ts-expect-error: Python's name
  new Pool({ maxtasksperchild: 1 });
  // @ts-expect-error: options, not a number
  new Pool(4);
  // @ts-expect-error: not a thing that can be moved
  pool.apply(half, [1], { transfer: [1] });
}

/** One generic over its function. */
export async function twice<T, R>(fn: Target<[T], R>, items: T[]): Promise<Awaited<R>[]> {
  return [...await pool.map(fn, items), ...await pool.map(fn, items)];
}
is<Promise<string[]>>()(twice((n: number) => `${n}`, [1]));

/** One that passes arguments on, if there are any. */
export function once<A extends unknown[], R>(fn: Target<A, R>, args?: A): Promise<Awaited<R>> {
  return pool.apply(fn, args);
}
is<Promise<number>>()(once(add, [1, 2]));

/** `await using` closes and joins. */
export async function disposes(): Promise<void> {
  await using pool = new Pool();
  is<number>()(pool.size);
  is<PoolStats>()(pool.stats());
  is<number>()(pool.stats().idle);
  const disposable: AsyncDisposable = pool;
  is<void>()(await pool.terminate());
  is<boolean>()(await pool.join({ timeout: 1 }));
  // @ts-expect-error: cannot be written
  pool.size = 3;
  // @ts-expect-error: its end is to be awaited
  using wrong = pool;
  return void [disposable, wrong];
}
