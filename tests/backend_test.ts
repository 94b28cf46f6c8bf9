/** Backends: what runs a pool's tasks, if that is not the workers of this machine. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import {
  type Backend,
  type BackendOptions,
  decodeValue,
  encodeError,
  encodeValue,
  isCall,
  type Job,
  NO_SOURCES,
  type PoolBackend,
  rejectJob,
  resolveJob,
  setDefaultBackend,
} from "../backend.ts";
import { EncodingError } from "../errors.ts";
import { Pool } from "../pool.ts";
import { Queue } from "../queue.ts";
import { SharedArray, Value } from "../shared.ts";
import { Lock } from "../sync.ts";
import { transfer } from "../target.ts";
import { withPool } from "./fixtures/pool_help.ts";

type Any = (...args: unknown[]) => unknown;

/** Runs each job at home, in a later turn. */
class HomeBackend implements Backend {
  readonly size: number;
  readonly ended: Promise<void>;
  readonly options: BackendOptions;
  readonly jobs = new Set<Job>();
  completed = 0;
  readonly #end: () => void;

  constructor(options: BackendOptions) {
    this.options = options;
    this.size = options.processes ?? 3;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
  }

  submit(target: unknown, input: unknown[], job: Job): void {
    const { mode = "call" } = job;
    const sent = decodeValue(encodeValue(input, mode === "call" ? "args" : "items")) as unknown[];
    this.jobs.add(job);
    setTimeout(() => this.#run(target as Any, sent, job), 1);
  }

  #run(fn: Any, input: unknown[], job: Job): void {
    if (!this.jobs.delete(job)) return;
    this.completed++;
    if (isCall(job)) {
      try {
        resolveJob(job, fn(...input));
      } catch (error) {
        rejectJob(job, error);
      }
      return;
    }
    const values: unknown[] = [];
    const errors = new Map<number, unknown>();
    input.forEach((item, at) => {
      try {
        values[at] = job.mode === "starmap" ? fn(...item as unknown[]) : fn(item);
      } catch (error) {
        errors.set(at, error);
      }
    });
    resolveJob(job, { values, errors, took: 1, sources: NO_SOURCES });
  }

  cancel(job: Job, reason: unknown): void {
    if (this.jobs.delete(job)) rejectJob(job, reason);
  }

  close(): void {
    this.#end();
  }

  terminate(reason: unknown): void {
    for (const job of this.jobs) this.cancel(job, reason);
    this.#end();
  }

  stats() {
    const { size, completed } = this;
    const rest = { idle: size, queued: this.jobs.size, running: 0, failed: 0, replaced: 0 };
    return { size, completed, ...rest };
  }
}

/** A backend that remembers what it has opened. */
function home(): PoolBackend & { opened: HomeBackend[] } {
  const opened: HomeBackend[] = [];
  const open = (options: BackendOptions) => {
    opened.push(new HomeBackend(options));
    return opened.at(-1)!;
  };
  return { opened, open };
}

const square = (n: number): number => n * n;

test("Pool with a backend of its own has every method", async () => {
  const backend = home();
  const pool = new Pool({ backend, processes: 2, name: "Home", maxTasksPerChild: 5 });
  const { processes, name, maxTasksPerChild, initializer, initargs } = backend.opened[0]!.options;
  assertEquals([processes, name, maxTasksPerChild], [2, "Home", 5]);
  assertEquals([initializer, initargs], [undefined, []]);
  assertEquals(pool.size, 2);
  const items = Array.from({ length: 50 }, (_, i) => i);
  const squares = items.map(square);
  assertEquals(await pool.apply(square, [7]), 49);
  assertEquals(await pool.applyAsync(square, [8]).get(), 64);
  assertEquals(await pool.map(square, items), squares);
  assertEquals(await pool.mapAsync(square, items), squares);
  assertEquals(await pool.starmap((a: number, b: number) => a - b, [[3, 1], [9, 2]]), [2, 7]);
  assertEquals(await Array.fromAsync(pool.imap(square, items)), squares);
  const unordered = await Array.fromAsync(pool.imapUnordered(square, items));
  assertEquals(unordered.sort((a, b) => a - b), squares);
  const steps: number[] = [];
  await pool.map(square, items, { chunkSize: 10, onProgress: (done) => steps.push(done) });
  assertEquals(steps, [10, 20, 30, 40, 50]);
  assertEquals(pool.stats().completed, backend.opened[0]!.completed);
  pool.close();
  await pool.join();
});

test("Pool with a backend of its own fails as its jobs fail", () => {
  return withPool({ backend: home() }, async (pool) => {
    const odd = (n: number) => {
      if (n % 2 === 1) throw new RangeError(`${n} is odd`);
      return n;
    };
    await assertRejects(() => pool.apply(odd, [3]), RangeError, "3 is odd");
    await assertRejects(() => pool.map(odd, [2, 4, 5, 6, 7]), RangeError, "5 is odd");
    const controller = new AbortController();
    const call = pool.apply(square, [1], { signal: controller.signal });
    controller.abort(new Error("not any more"));
    await assertRejects(() => call, Error, "not any more");
    await assertRejects(() => pool.apply(square, [new Lock() as never]), EncodingError, "args[0]");
  });
});

test("setDefaultBackend() is for pools that name none, from then on", async () => {
  const backend = home();
  setDefaultBackend(backend);
  try {
    await withPool({}, async (pool) => {
      assertEquals(pool.size, 3);
      assertEquals(await pool.apply(square, [5]), 25);
    });
    await withPool({ backend: home() }, async (pool) => {
      assertEquals([await pool.apply(square, [2]), backend.opened.length], [4, 1]);
    });
  } finally {
    setDefaultBackend(undefined);
  }
  await withPool({ processes: 1 }, async (pool) => {
    assertEquals([await pool.apply(square, [4]), backend.opened.length], [16, 1]);
  });
});

test("Pool refuses a backend that is none", () => {
  for (const backend of [3, {}, () => 0]) {
    assertThrows(
      () => new Pool({ backend: backend as never }),
      TypeError,
      "'backend' must have a method open()",
    );
  }
  const failing = {
    open() {
      throw new RangeError("no room");
    },
  };
  assertThrows(() => new Pool({ backend: failing }), RangeError, "no room");
});

test("encodeValue() takes what structured clone takes, and gives memory of its own", () => {
  const value = { at: new Date(5), list: [1, -0, "two"], map: new Map([[1n, new Set([3])]]) };
  const bytes = encodeValue(value, "value");
  encodeValue("something else", "value");
  assertEquals(decodeValue(bytes), value);
  assertEquals(decodeValue(encodeValue(new Uint8Array([1, 2]), "value")), new Uint8Array([1, 2]));
  assertThrows(() => decodeValue(new Uint8Array([255])), EncodingError, "Cannot decode");
});

test("encodeValue() refuses what is of this machine, and says where it stands", () => {
  const buffer = new ArrayBuffer(8);
  const cases: [unknown, string, string][] = [
    [new Lock(), "", "Lock"],
    [{ a: [new Value("i32", 0)] }, ".a[0]", "Value"],
    [[new Queue()], "[0]", "Queue"],
    [{ shared: new SharedArray("f64", 2) }, ".shared", "SharedArray"],
    [[new SharedArrayBuffer(4)], "[0]", "SharedArrayBuffer"],
    [[new Int8Array(new SharedArrayBuffer(4))], "[0]", "SharedArrayBuffer"],
    [{ port: new MessageChannel().port1 }, ".port", "MessagePort"],
    [[transfer(buffer, [buffer])], "[0]", "ArrayBuffer"],
  ];
  for (const [value, path, what] of cases) {
    const error = assertThrows(() => encodeValue(value, "args", (what) => `no ${what} here`));
    assert(error instanceof EncodingError, what);
    assert(error.message.startsWith(`Cannot send args${path}`), error.message);
    if (what !== "MessagePort") assert(error.message.endsWith(`no ${what} here`), error.message);
  }
  assertEquals(buffer.byteLength, 8);
});

test("encodeError() never fails, and leaves out what is of this machine", () => {
  const error = decodeValue(
    encodeError(Object.assign(new RangeError("late"), { lock: new Lock() })),
  );
  assert(error instanceof RangeError);
  assertStrictEquals(error.message, "late");
  const other = decodeValue(encodeError(new Lock()));
  assert(other instanceof EncodingError);
  assert(other.message.includes("Lock is of this machine only"), other.message);
});
