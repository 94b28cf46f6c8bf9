/** What the codec makes of one value of each kind: what forged messages are made of. */

import {
  BrokenBarrierError,
  ClosedError,
  EncodingError,
  ProcessError,
  ProcessLostError,
  QueueEmptyError,
  QueueFullError,
  TargetError,
  TimeoutError,
} from "../../errors.ts";
import { JoinableQueue, Pipe, Queue } from "../../queue.ts";
import { SharedArray, SharedStruct, Value } from "../../shared.ts";
import { Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RWLock } from "../../sync.ts";
import { closure, transfer } from "../../target.ts";
import { encode, type EncodeOptions } from "../../wire/codec/codec.ts";
import { describeTarget } from "../../wire/target/target_ref.ts";

/** A message: bytes, and what travels beside and behind them. */
export interface Message {
  bytes: Uint8Array;
  attachments: readonly unknown[];
  body: Uint8Array | undefined;
}

/** Encodes a value, for good. */
export function messageOf(value: unknown, options?: EncodeOptions): Message {
  const { bytes, length, attachments, body } = encode(value, options);
  return {
    bytes: new Uint8Array(bytes.subarray(0, length)),
    attachments: [...attachments],
    body: body && new Uint8Array(body),
  };
}

function primitives(): unknown[] {
  return [
    undefined,
    null,
    false,
    true,
    0,
    -0,
    7,
    -40_000,
    1.5,
    NaN,
    2 ** 53,
    "",
    "hello",
    "x".repeat(24),
    "naïve 世界 🌍",
    "long ".repeat(30),
    "a\ud800",
    "\ufeffa",
    42n,
    -(2n ** 63n),
    2n ** 64n,
    -(7n ** 99n),
  ];
}

function containers(): unknown[] {
  const cycle: Record<string, unknown> = { list: [] };
  cycle.self = cycle;
  cycle.map = new Map<unknown, unknown>([[cycle, cycle.list], ["set", new Set([cycle])]]);
  const shared = { x: 1 };
  const resizable = new ArrayBuffer(8, { maxByteLength: 32 });
  const views = new ArrayBuffer(32);
  return [
    {},
    [],
    { a: 1, b: "two", c: [true, null, undefined], d: { e: -1.5, f: 3n } },
    JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": 1}}}'),
    Array.from({ length: 12 }, (_, id) => ({ id, name: `row ${id}`, "odd key": null })),
    Array.from({ length: 9 }, (_, id) => [{ id }, { name: "n" }]),
    [1, 2, 3],
    Array.from({ length: 40 }, (_, at) => at / 3),
    Object.assign(new Array(5), { 3: "three", key: "value" }),
    Object.assign([], { 3000: "end" }),
    new Map<unknown, unknown>([["a", 1], [NaN, -0], [{}, []]]),
    new Set<unknown>([1, "two", [3]]),
    cycle,
    [shared, { shared }, shared],
    [new Date(0), new Date(NaN), new Date(1234567890123)],
    [/a+/giu, /[\ud800]/],
    [Object(1), Object(-0), Object("s"), Object(false), Object(1n << 80n)],
    new Uint8Array([1, 2, 3]),
    new Float64Array([1.5, NaN]),
    new BigInt64Array([-1n]),
    new DataView(new ArrayBuffer(5)),
    new ArrayBuffer(6),
    [resizable, new Uint8Array(resizable), new Uint8Array(resizable, 4, 4)],
    [new Uint8Array(views, 3, 5), new DataView(views, 8), new Float64Array(views, 16, 1), views],
    new Uint8Array(10).subarray(2, 4),
  ];
}

/** Stacks tell of the runtime, and where the project lies: messages would not come again elsewhere. */
function alike(error: Error): Error {
  Object.defineProperty(error, "stack", { value: "a stack\n    of two lines" });
  if (error.cause instanceof Error && error.cause !== error) alike(error.cause);
  return error;
}

function errors(): unknown[] {
  const own = Object.assign(new TypeError("mine"), { code: "E_MINE", path: ["a", 1] });
  own.cause = own;
  const lost = new ProcessLostError("gone", { exitCode: 3, pid: 9, processName: "worker" });
  const causes = new Error("plain", {
    cause: new RangeError("deeper", { cause: { not: "an error" } }),
  });
  const many = [new SyntaxError("one"), 2, new URIError("three")];
  return [
    alike(causes),
    alike(own),
    alike(
      new AggregateError(many.map((each) => each instanceof Error ? alike(each) : each), "many"),
    ),
    alike(new DOMException("stop", "AbortError")),
    [TimeoutError, ClosedError, QueueEmptyError, QueueFullError, BrokenBarrierError]
      .map((ctor) => alike(new ctor("a text"))),
    [TargetError, EncodingError, ProcessError]
      .map((ctor) => alike(new ctor("a text", { cause: 1 }))),
    alike(lost),
  ];
}

function shareables(): unknown[] {
  const lock = new Lock();
  const queue = new Queue({ capacity: 4096 });
  const [near, far] = Pipe({ capacity: 4096 });
  return [
    lock,
    new RLock(),
    new Value("i32", 7),
    new Value("f64", 1.5, { lock }),
    new SharedArray("u8", [1, 2, 3]),
    new SharedStruct({ x: "f64", n: "i32" }, { x: 1.5 }),
    new Event(),
    new Condition(lock),
    new BoundedSemaphore(2),
    new Barrier(2),
    new RWLock(),
    queue,
    new JoinableQueue({ capacity: 4096 }),
    near,
    far,
    { deep: [new Map([["lock", lock]]), { queue, again: queue }] },
    [new SharedArrayBuffer(16), new Int32Array(new SharedArrayBuffer(16), 4, 2)],
    describeTarget(closure((n: number) => n * factor, { factor: 3, lock })),
  ];
}
declare const factor: number;

function movables(): unknown[] {
  const pixels = new Uint8Array(8);
  return [
    transfer(pixels, [pixels.buffer]),
    { stream: transfer(stream, [stream]), pixels: transfer(pixels, [pixels.buffer]) },
    new Blob(["a blob"]),
  ];
}
const stream = new ReadableStream();

/** A message of each kind that the codec knows, nested too. */
export function corpus(): Message[] {
  const bare = [...primitives(), ...containers(), ...errors(), ...shareables(), ...movables()];
  const plain = [...primitives(), ...containers(), ...errors()];
  const large = new Uint8Array(20_000).fill(7);
  return [
    ...bare.map((value) => messageOf(value)),
    ...plain.map((value) => messageOf({ "odd key": [value, { value }] })),
    messageOf(large, { apart: true }),
    messageOf(new Float64Array(large.buffer), { apart: true }),
    messageOf(plain),
  ];
}
