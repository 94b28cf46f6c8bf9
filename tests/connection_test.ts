/** Pipe and Connection: every member of the contract, between processes, and across closes and deaths. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { deadline } from "@std/async";
import {
  ClosedError,
  EncodingError,
  ProcessError,
  QueueFullError,
  TimeoutError,
} from "../errors.ts";
import { endProcess, newPid } from "../memory/control.ts";
import { PipeEnd } from "../memory/pipe.ts";
import { Roster } from "../memory/roster.ts";
import { Process } from "../process.ts";
import { Connection, Pipe, Queue } from "../queue.ts";
import { Event } from "../sync.ts";
import { closure, type Target } from "../target.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** Ten times the 250 ms within which a death is heard of. */
const SOON = 2_500;

/** The smallest capacity there is: messages of more than a quarter of it are streamed. */
const SMALL = 4096;

const MIB = 2 ** 20;

/** Where the holders of the second end begin, see memory/pipe.ts. */
const HOLDERS = 2 + 2 + Roster.size(0) + 2;

/** Starts a daemon, so that a test that fails does not keep the program. */
function start(target: Target<[], unknown>): Process<[]> {
  const process = new Process<[]>({ target, daemon: true });
  process.start();
  return process;
}

async function ended(
  process: Process<[]> | Process<[Connection]> | Process,
  exitCode = 0,
): Promise<void> {
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

/** How long something takes. */
async function timed(act: () => unknown): Promise<number> {
  const begin = performance.now();
  await act();
  return performance.now() - begin;
}

// -- Construction

test("Pipe() refuses a capacity out of range and a duplex that is no boolean, and names them", () => {
  for (const capacity of [0, -1, 1.5, NaN, Infinity, 2 ** 30 + 1, "3" as unknown as number]) {
    const error = assertThrows(() => Pipe({ capacity }), RangeError, "Cannot create Pipe");
    assertStringIncludes(error.message, `'capacity' must be`);
    assertStringIncludes(error.message, `is ${capacity}`);
  }
  const duplex = "no" as unknown as boolean;
  assertThrows(() => Pipe({ duplex }), TypeError, "'duplex' must be true or false, but is no");
});

test("new Connection() is refused: connections come in pairs", () => {
  const create = Connection as unknown as new () => Connection;
  assertThrows(() => new create(), TypeError, "call Pipe()");
});

test("Pipe() makes two ends that both send and receive", () => {
  for (const end of Pipe()) {
    assertEquals([end.readable, end.writable, end.closed], [true, true, false]);
  }
});

test("Pipe({ duplex: false }) makes a receiver and a sender; the other way is refused with the mend", async () => {
  const [receiver, sender] = Pipe({ duplex: false });
  assertEquals([receiver.readable, receiver.writable], [true, false]);
  assertEquals([sender.readable, sender.writable], [false, true]);
  await sender.send(1);
  assertEquals(await receiver.recv(), 1);
  const bytes = new Uint8Array(1);
  for (const act of [() => receiver.sendSync(1), () => receiver.sendBytesSync(bytes)]) {
    assertThrows(act, ProcessError, "this is the receiving end of a one-way pipe");
  }
  for (const act of [() => receiver.send(1), () => receiver.sendBytes(bytes)]) {
    await assertRejects(act, ProcessError, "send at the other end");
  }
  for (const act of [() => sender.recvSync(), () => sender.recvBytesSync()]) {
    assertThrows(act, ProcessError, "this is the sending end of a one-way pipe");
  }
  for (const act of [() => sender.recv(), () => sender.recvBytes(), () => sender.poll()]) {
    await assertRejects(act, ProcessError, "receive at the other end");
  }
  assertThrows(() => sender.pollSync(), ProcessError, "Cannot poll");
});

// -- Messages

test("Connection.send() brings values of all kinds, in order, whichever the forms", async () => {
  const [a, b] = Pipe();
  const values = [
    ...[undefined, null, true, 1.5, -0, 10n ** 30n, "", "naïve ☃", [], {}, [1, [2]]],
    ...[new Map([[{ k: 1 }, new Set([1])]]), new Date(0), new Float64Array([0.1])],
    ...[new Uint8Array([1, 2]), pattern(50_000), Array.from({ length: 100 }, (_, id) => ({ id }))],
  ];
  for (const value of values) {
    await a.send(value);
    a.sendSync(value);
    await b.send(value, { timeout: 0 });
    assertEquals(b.recvSync(), value);
    assertEquals(await b.recv({ timeout: 0 }), value);
    assertEquals(await a.recv(), value);
  }
  for (let i = 0; i < 100; i++) i % 2 ? a.sendSync(i) : await a.send(i);
  for (let i = 0; i < 100; i++) assertEquals(i % 3 ? b.recvSync() : await b.recv(), i);
});

test("Connection.recv() that waits gets messages in the order of asking", async () => {
  const [a, b] = Pipe();
  const pending = Array.from({ length: 50 }, () => b.recv({ timeout: DEADLINE }));
  for (let i = 0; i < 50; i++) i % 2 ? a.sendSync(i) : await a.send(i);
  assertEquals(await Promise.all(pending), Array.from({ length: 50 }, (_, i) => i));
});

test("Connection.send() of what cannot be sent throws EncodingError with its path, and sends nothing", async () => {
  const [a, b] = Pipe();
  const bad = { list: [1, () => {}] };
  assertThrows(() => a.sendSync(bad), EncodingError, "message.list[1]");
  await assertRejects(() => a.send(bad), EncodingError, "message.list[1]");
  assertEquals(b.pollSync(), false);
});

test("Connection.recv() and send() give up after their timeout with TimeoutError, not before", async () => {
  const [a, b] = Pipe({ capacity: SMALL });
  const check = async (act: () => unknown) => {
    const took = await timed(() => assertRejects(async () => await act(), TimeoutError, "60 ms"));
    assert(took > 50 && took < DEADLINE, `took ${took} ms`);
  };
  const timeout = 60;
  await check(() => b.recv({ timeout }));
  await check(() => b.recvSync({ timeout }));
  await check(() => b.recvBytes({ timeout }));
  await check(() => b.recvBytesSync({ timeout }));
  const full = new Uint8Array(1_000);
  for (let i = 0; i < 3; i++) a.sendBytesSync(full, { timeout: 0 });
  const bytes = new Uint8Array(2_000);
  await check(() => a.send(bytes, { timeout }));
  await check(() => a.sendSync(bytes, { timeout }));
  await check(() => a.sendBytes(bytes, { timeout }));
  await check(() => a.sendBytesSync(bytes, { timeout }));
  for (let i = 0; i < 3; i++) assertEquals(b.recvSync(), full);
  assertEquals(b.pollSync(), false);
});

test("Connection refuses a timeout of NaN, and an aborted signal, and does nothing", async () => {
  const [a, b] = Pipe();
  a.sendSync(1);
  const timeout = NaN;
  assertThrows(() => a.sendSync(2, { timeout }), RangeError, "NaN");
  assertThrows(() => b.recvSync({ timeout }), RangeError, "NaN");
  assertThrows(() => b.pollSync({ timeout }), RangeError, "NaN");
  await assertRejects(() => b.recv({ timeout }), RangeError, "NaN");
  const reason = new Error("no");
  const signal = AbortSignal.abort(reason);
  const acts = [() => a.send(2, { signal }), () => b.recv({ signal }), () => b.poll({ signal })];
  for (const act of acts) assertStrictEquals(await assertRejects(act), reason);
  const controller = new AbortController();
  assertEquals(b.recvSync(), 1);
  const aborted = assertRejects(() => b.recv({ signal: controller.signal }));
  await settle();
  controller.abort(reason);
  assertStrictEquals(await aborted, reason);
  assertEquals(b.pollSync(), false);
});

test("Connection.send() copies what it sends later, when there is room", async () => {
  const [a, b] = Pipe({ capacity: SMALL });
  const bytes = pattern(900, 1);
  const sends = Array.from({ length: 6 }, () => a.sendBytes(bytes, { timeout: DEADLINE }));
  bytes.fill(0);
  for (let i = 0; i < 6; i++) assertPattern(await b.recvBytes({ timeout: DEADLINE }), 900, 1);
  await Promise.all(sends);
});

// -- Bytes

test("Connection.sendBytes() sends bytes as they are, parts by subarray(), and recv() gives them too", async () => {
  const [a, b] = Pipe();
  const bytes = pattern(100);
  await a.sendBytes(bytes);
  a.sendBytesSync(bytes.subarray(10, 20));
  a.sendBytesSync(bytes.subarray(50));
  await a.sendBytes(bytes.subarray(100));
  assertEquals(await b.recvBytes(), bytes);
  assertEquals(b.recvBytesSync(), bytes.slice(10, 20));
  assertEquals(b.recvSync(), bytes.slice(50));
  assertEquals(await b.recv(), new Uint8Array(0));
});

test("Connection.sendBytes() refuses what is no Uint8Array, and says what it is", async () => {
  const [a, b] = Pipe();
  for (const bad of ["text", [1], new ArrayBuffer(2), new Float64Array(1), undefined, null]) {
    const bytes = bad as unknown as Uint8Array;
    const what = typeof bad === "object" ? "[object " : `is ${bad}`;
    assertThrows(() => a.sendBytesSync(bytes), TypeError, what);
    await assertRejects(() => a.sendBytes(bytes), TypeError, "'bytes' must be a Uint8Array");
  }
  assertEquals(b.pollSync(), false);
});

test("Connection.recvBytes() refuses a message longer than maxLength, which stays", async () => {
  for (const length of [100, 50_000]) {
    const [a, b] = Pipe({ capacity: SMALL });
    const sent = a.sendBytes(pattern(length), { timeout: DEADLINE });
    const maxLength = length - 1;
    const error = assertThrows(() => b.recvBytesSync({ maxLength }), RangeError);
    assertStringIncludes(error.message, `${length} bytes`);
    assertStringIncludes(error.message, `${maxLength}`);
    await assertRejects(() => b.recvBytes({ maxLength: 0 }), RangeError, `${length} bytes`);
    assertPattern(await b.recvBytes({ maxLength: length, timeout: DEADLINE }), length);
    await sent;
    const late = assertRejects(() => b.recvBytes({ maxLength: 2 }), RangeError, "3 bytes");
    await settle();
    a.sendBytesSync(new Uint8Array(3));
    await late;
    assertEquals(b.recvBytesSync({ maxLength: 3 }), new Uint8Array(3));
  }
});

test("Connection.recvBytes() refuses a maxLength that is no length", async () => {
  const [, b] = Pipe();
  for (const maxLength of [-1, 1.5, NaN, "9" as unknown as number]) {
    assertThrows(() => b.recvBytesSync({ maxLength }), RangeError, `but is ${maxLength}`);
    await assertRejects(() => b.recvBytes({ maxLength }), RangeError, "'maxLength'");
  }
});

test("Connection.recvBytes() refuses a message that send() sent, which stays", async () => {
  const [a, b] = Pipe();
  a.sendSync(new Uint8Array(3));
  assertThrows(() => b.recvBytesSync(), TypeError, "recv()");
  await assertRejects(() => b.recvBytes(), TypeError, "sent by send()");
  assertEquals(await b.recv(), new Uint8Array(3));
});

test("Connection.recvBytes() that refuses leaves the message to another process that waits", async () => {
  const [a, b] = Pipe();
  const words = new Queue<unknown>();
  const child = start(closure(async () => {
    words.putSync("ready");
    words.putSync(await b.recv());
  }, { b, words }));
  assertEquals(await words.get({ timeout: DEADLINE }), "ready");
  const refused = b.recvBytes({ timeout: 1_000 }).catch((error) => error.name);
  await settle();
  await a.send("hello");
  assertEquals(await words.get({ timeout: DEADLINE }), "hello");
  assert(["TypeError", "TimeoutError"].includes(await refused));
  await ended(child);
});

test("Connection.recvBytesSync() while recv() is amid a large message leaves that to it", async () => {
  const [a, b] = Pipe({ capacity: SMALL });
  const child = start(closure(() => {
    b.sendSync("x".repeat(100_000));
    b.sendBytesSync(new Uint8Array(7));
  }, { b }));
  await until(() => a.pollSync(), "the first part");
  const large = a.recv({ timeout: DEADLINE });
  assertEquals(a.recvBytesSync({ timeout: DEADLINE }).length, 7);
  assertEquals((await large as string).length, 100_000);
  await ended(child);
});

// -- Frames and polling

test("Connection keeps empty messages and boundaries; poll() takes nothing", async () => {
  const [a, b] = Pipe();
  assertEquals([b.pollSync(), await b.poll(), await b.poll({ timeout: -1 })], [
    false,
    false,
    false,
  ]);
  const frames = ["", "a", "", "", "bc", "def", ""];
  const encoder = new TextEncoder();
  for (const frame of frames) a.sendBytesSync(encoder.encode(frame));
  for (const frame of frames) {
    for (let i = 0; i < 3; i++) assert(i % 2 ? b.pollSync() : await b.poll());
    assertEquals(new TextDecoder().decode(b.recvBytesSync()), frame);
  }
  assertEquals(await b.poll(), false);
});

test("Connection.poll() waits for its timeout, not longer, and wakes for a message", async () => {
  const [a, b] = Pipe();
  for (const form of ["poll", "pollSync"] as const) {
    const took = await timed(async () => assertEquals(await b[form]({ timeout: 80 }), false));
    assert(took > 70 && took < DEADLINE, `took ${took} ms`);
  }
  const pending = b.poll({ timeout: DEADLINE });
  await settle();
  a.sendSync(1);
  assertEquals(await pending, true);
  assertEquals(b.recvSync(), 1);
  const controller = new AbortController();
  const aborted = assertRejects(() => b.poll({ timeout: DEADLINE, signal: controller.signal }));
  await settle();
  controller.abort(new Error("enough"));
  await aborted;
});

test("Connection.poll() loops read a sequence with empty messages from a child, frame by frame", async () => {
  const [a, b] = Pipe();
  const child = start(closure(() => {
    const frames = ["hello", "", "a", "b", "", "bye", "", "lop"];
    for (const frame of frames) b.sendBytesSync(new TextEncoder().encode(frame));
  }, { b }));
  for (const frame of ["hello", "", "a", "b", "", "bye", "", "lop"]) {
    const end = performance.now() + DEADLINE;
    while (!await a.poll({ timeout: 5 })) assertLess(performance.now(), end);
    assertEquals(new TextDecoder().decode(a.recvBytesSync()), frame);
  }
  await ended(child);
});

test("Connection.poll() in a child takes nothing from another reader", async () => {
  const [receiver, sender] = Pipe({ duplex: false });
  const words = new Queue<unknown>();
  const child = start(closure(() => {
    words.putSync(receiver.pollSync({ timeout: 5_000 }));
    words.putSync(receiver.pollSync({ timeout: 5_000 }));
  }, { receiver, words }));
  sender.sendBytesSync(pattern(10));
  assertEquals(await words.get({ timeout: DEADLINE }), true);
  assertEquals(await words.get({ timeout: DEADLINE }), true);
  assertPattern(receiver.recvBytesSync({ timeout: 0 }), 10);
  await ended(child);
});

test("Connection.poll() that waits does not keep the wake-up of a process that receives", async () => {
  const times: number[] = [];
  const [a, b] = Pipe();
  const words = new Queue<unknown>();
  const child = start(closure(() => {
    for (let value = b.recvSync(); value !== null; value = b.recvSync()) words.putSync(value);
  }, { b, words }));
  a.sendSync("first");
  assertEquals(await words.get({ timeout: DEADLINE }), "first");
  for (let round = 0; round < 15; round++) {
    // Asleep before the child, or after it.
    const polls = [b.poll({ timeout: DEADLINE }), b.poll({ timeout: 1 }), b.poll({ timeout: 3 })];
    await new Promise((resolve) => setTimeout(resolve, round));
    times.push(
      await timed(async () => {
        a.sendSync(round);
        assertEquals(await words.get({ timeout: DEADLINE }), round);
      }),
    );
    a.sendSync("again");
    assertEquals(await words.get({ timeout: DEADLINE }), "again");
    await settle();
    // Who waits for ever sees one of them, or that there is none any more.
    polls[0]!.catch(() => {});
  }
  a.sendSync(null);
  await ended(child);
  a.close();
  assertLess(times.sort((x, y) => x - y)[times.length >> 1]!, 100);
});

// -- Between processes

test("Connection echoes values, bytes and 16 MiB through a child, then reports the end", async () => {
  const [here, there] = Pipe();
  const echo = start(closure(async () => {
    for (;;) {
      const value = await there.recv();
      if (value === "end") break;
      if (value instanceof Uint8Array) there.sendBytesSync(value);
      else await there.send(value);
    }
    there.close();
  }, { there }));
  for (const value of [1.5, "text", [1, { a: null }], new Map([[1, 2]])]) {
    here.sendSync(value);
    assertEquals(here.recvSync({ timeout: DEADLINE }), value);
    await here.send(value);
    assertEquals(await here.recv({ timeout: DEADLINE }), value);
  }
  await here.sendBytes(pattern(1_000));
  assertPattern(here.recvBytesSync({ timeout: DEADLINE }), 1_000);
  const sent = here.sendBytes(pattern(16 * MIB, 5), { timeout: DEADLINE });
  assertPattern(await here.recvBytes({ timeout: DEADLINE }), 16 * MIB, 5);
  await sent;
  assertEquals(await here.poll({ timeout: 20 }), false);
  here.sendSync("end");
  await assertRejects(() => here.recv({ timeout: DEADLINE }), ClosedError, "other end is closed");
  assertThrows(() => here.recvSync(), ClosedError);
  assertThrows(() => here.recvBytesSync(), ClosedError);
  assertEquals([here.pollSync(), await here.poll()], [true, true]);
  await ended(echo);
});

test("Connection: the parent may close its copy of the child's end right after start()", async () => {
  const [here, there] = Pipe();
  const child = new Process({
    target: (end: Connection) => {
      end.sendSync("hello");
      end.close();
    },
    args: [there],
    daemon: true,
  });
  child.start();
  there.close();
  assertEquals(await here.recv({ timeout: DEADLINE }), "hello");
  await assertRejects(() => here.recv({ timeout: DEADLINE }), ClosedError);
  await ended(child);
});

test("Connection held by several processes: each message is received by one", async () => {
  const [here, there] = Pipe({ capacity: SMALL });
  const sums = new Queue<number>();
  const consumers = [1, 2, 3].map(() =>
    start(closure(async () => {
      let sum = 0;
      try {
        for (let turn = 0;; turn++) {
          sum += (turn % 2 ? there.recvSync() : await there.recv()) as number;
        }
      } catch (error) {
        if ((error as Error).name !== "ClosedError") throw error;
      }
      sums.putSync(sum);
    }, { there, sums }))
  );
  for (let i = 1; i <= 1_000; i++) await here.send(i, { timeout: DEADLINE });
  here.close();
  let sum = 0;
  for (const _ of consumers) sum += await sums.get({ timeout: DEADLINE });
  assertEquals(sum, 500_500);
  for (const consumer of consumers) await ended(consumer);
});

test("Connection sent through a Connection, a Queue, and on to a grandchild works there", async () => {
  const [here, there] = Pipe();
  const [first, second] = Pipe();
  const queue = new Queue<Connection>();
  // No daemon: those have no children.
  const child = new Process({
    target: closure(async () => {
      const end = await there.recv() as Connection;
      end.sendSync("by a connection");
      const same = queue.getSync();
      end.sendSync(same === end);
      const grandchild = new Process({
        target: (end: Connection) => end.sendSync("by a grandchild"),
        args: [end],
      });
      grandchild.start();
    }, { there, queue, Process }),
  });
  child.start();
  await here.send(second);
  await queue.put(second);
  second.close();
  assertEquals(await first.recv({ timeout: DEADLINE }), "by a connection");
  assertEquals(await first.recv({ timeout: DEADLINE }), true);
  assertEquals(await first.recv({ timeout: DEADLINE }), "by a grandchild");
  await assertRejects(() => first.recv({ timeout: DEADLINE }), ClosedError);
  await ended(child);
});

test("Connection of a one-way pipe, sent through another, works in its own direction only", async () => {
  const [here, there] = Pipe();
  const child = start(closure(() => {
    const [receiver, sender] = there.recvSync() as [Connection, Connection];
    const seen = [receiver.readable, receiver.writable, sender.readable, sender.writable];
    sender.sendSync([seen, receiver.recvSync()]);
    try {
      sender.recvSync();
    } catch (error) {
      sender.sendSync((error as Error).name);
    }
  }, { there }));
  const [in1, out1] = Pipe({ duplex: false });
  const [in2, out2] = Pipe({ duplex: false });
  here.sendSync([in1, out2]);
  out1.sendSync("word");
  assertEquals(await in2.recv({ timeout: DEADLINE }), [[true, false, false, true], "word"]);
  assertEquals(await in2.recv({ timeout: DEADLINE }), "ProcessError");
  await ended(child);
});

test("Connection: a process has one handle on an end, and a new one after it was closed", async () => {
  const [a, b] = Pipe();
  const carrier = new Queue<Connection>();
  for (let i = 0; i < 3; i++) carrier.putSync(b);
  assertStrictEquals(carrier.getSync(), b);
  assertStrictEquals(await carrier.get(), b);
  b.close();
  const again = carrier.getSync();
  assertNotStrictEquals(again, b);
  assertEquals([b.closed, again.closed], [true, false]);
  a.sendSync(1);
  assertEquals(again.recvSync(), 1);
  assertThrows(() => b.recvSync(), ClosedError);
});

test("Connection that is closed cannot be sent", () => {
  const [a] = Pipe();
  a.close();
  const queue = new Queue<unknown>();
  assertThrows(
    () => queue.putSync({ a }),
    EncodingError,
    "item.a: this Connection has been closed",
  );
});

// -- Closing

test("Connection.close() fails all further use, twice is harmless, and dispose is the same", async () => {
  const bytes = new Uint8Array(1);
  for (const how of ["close", "dispose"]) {
    const [a] = Pipe();
    how === "close" ? a.close() : a[Symbol.dispose]();
    a.close();
    assertEquals([a.closed, a.readable, a.writable], [true, true, true]);
    const acts = [
      ...[() => a.sendSync(1), () => a.sendBytesSync(bytes), () => a.recvSync()],
      ...[() => a.recvBytesSync(), () => a.pollSync()],
    ];
    for (const act of acts) assertThrows(act, ClosedError, "this end of the pipe is closed");
    const waits = [
      ...[() => a.send(1), () => a.sendBytes(bytes), () => a.recv()],
      ...[() => a.recvBytes(), () => a.poll()],
    ];
    for (const act of waits) {
      await assertRejects(act, ClosedError, "this end of the pipe is closed");
    }
  }
});

test("Connection.close() lets the peer drain, then fails its recv(), and its send() at once", async () => {
  const [a, b] = Pipe();
  a.sendSync(1);
  await a.send(2);
  a.close();
  assertThrows(() => b.sendSync(3), ClosedError, "the other end is closed");
  await assertRejects(() => b.send(3), ClosedError, "the other end is closed");
  assertEquals([b.pollSync(), b.recvSync(), await b.recv()], [true, 1, 2]);
  assertThrows(() => b.recvSync(), ClosedError, "all it sent is received");
  await assertRejects(() => b.recv(), ClosedError);
  assertEquals(b.pollSync(), true);
});

test("Connection.close() fails what waits on that handle", async () => {
  const [a, b] = Pipe({ capacity: SMALL });
  const waits = [a.recv(), a.recvBytes(), a.poll({ timeout: DEADLINE })];
  while (true) {
    try {
      a.sendBytesSync(new Uint8Array(500), { timeout: 0 });
    } catch (error) {
      assertInstanceOf(error, TimeoutError);
      break;
    }
  }
  waits.push(a.send(new Uint8Array(500)) as Promise<never>);
  const failures = waits.map((wait) => assertRejects(() => wait, ClosedError, "this end"));
  await settle();
  a.close();
  await deadline(Promise.all(failures), SOON);
  assertEquals((b.recvSync() as Uint8Array).length, 500);
});

test("Connection.close() wakes a peer at once that waits to receive, poll or send", async () => {
  const acts = [
    (end: Connection) => end.recv(),
    (end: Connection) => end.recvSync(),
    (end: Connection) => end.poll({ timeout: 5_000 }),
    (end: Connection) => end.pollSync({ timeout: 5_000 }),
    (end: Connection) => end.send(new Uint8Array(50_000)),
    (end: Connection) => end.sendSync(new Uint8Array(50_000)),
  ];
  const times: number[] = [];
  for (const act of acts) {
    const [here, there] = Pipe({ capacity: SMALL });
    const words = new Queue<unknown>();
    const child = start(closure(async () => {
      words.putSync("ready");
      try {
        words.putSync(await act(there));
      } catch (error) {
        words.putSync((error as Error).name);
      }
    }, { there, words, act }));
    assertEquals(await words.get({ timeout: DEADLINE }), "ready");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const isPoll = String(act).includes("poll");
    times.push(
      await timed(async () => {
        here.close();
        assertEquals(await words.get({ timeout: DEADLINE }), isPoll ? true : "ClosedError");
      }),
    );
    await ended(child);
  }
  assertLess(times.sort((x, y) => x - y)[2]!, 100);
});

test("Connection.close() of one holder leaves the end to the others", async () => {
  const [here, there] = Pipe();
  const go = new Queue<number>();
  const child = start(closure(() => {
    there.sendSync("before");
    go.getSync();
    there.sendSync("after");
  }, { there, go }));
  assertEquals(await here.recv({ timeout: DEADLINE }), "before");
  // Uses it, so holds it again.
  there.sendSync("mine");
  there.close();
  assertEquals(here.recvSync(), "mine");
  go.putSync(1);
  assertEquals(await here.recv({ timeout: DEADLINE }), "after");
  await ended(child);
  await assertRejects(() => here.recv({ timeout: DEADLINE }), ClosedError);
});

test("Connection.close() amid large messages frees the end for its other holder", async () => {
  const [here, there] = Pipe({ capacity: SMALL });
  const words = new Queue<unknown>();
  const buffer = new SharedArrayBuffer(12);
  const state = new Int32Array(buffer);
  const other = start(closure(() => {
    Atomics.wait(new Int32Array(buffer), 1, 0);
    words.putSync(there.recvSync());
    there.sendSync("reply");
  }, { there, words, buffer }));
  const producer = start(closure(async () => {
    const state = new Int32Array(buffer);
    const large = here.send(new Uint8Array(50_000));
    Atomics.store(state, 0, 1);
    Atomics.wait(state, 1, 0);
    await large;
    here.sendSync("small");
    Atomics.wait(state, 2, 0, 10_000);
  }, { here, buffer }));
  await until(() => Atomics.load(state, 0) === 1, "the producer has begun");
  const receiving = assertRejects(() => there.recv(), ClosedError);
  const sending = assertRejects(() => there.send(new Uint8Array(50_000)), ClosedError);
  await settle();
  there.close();
  await deadline(Promise.all([receiving, sending]), SOON);
  Atomics.store(state, 1, 1);
  Atomics.notify(state, 1);
  assertEquals(await words.get({ timeout: DEADLINE }), "small");
  assertEquals(await here.recv({ timeout: DEADLINE }), "reply");
  producer.terminate();
  await ended(producer, -15);
  await ended(other);
});

// -- Holding

type Exit = { process: { exit(code: number): void } };

/** How a process with an end comes to its own. */
const ENDS: [how: string, code: number, target: (end: Connection) => unknown][] = [
  ["exits", 3, (end) => {
    end.sendSync("last");
    (globalThis as unknown as Exit).process.exit(3);
  }],
  ["returns", 0, (end) => end.sendSync("last")],
  ["throws", 1, (end) => {
    end.sendSync("last");
    throw new Error("expected in this test");
  }],
  ["is terminated", -15, (end) => {
    end.sendSync("last");
    end.recvSync();
  }],
  ["is killed", -9, async (end) => {
    end.sendSync("last");
    await end.recv();
  }],
];

for (const [how, code, target] of ENDS) {
  test(`Connection.recv() ends when the process that got the other end ${how}, though nobody closed`, async () => {
    const [here, there] = Pipe({ capacity: SMALL });
    const child = new Process({ target, args: [there], daemon: true });
    child.start();
    assertEquals(await here.recv({ timeout: DEADLINE }), "last");
    const pending = assertRejects(() => here.recv({ timeout: DEADLINE }), ClosedError);
    await settle();
    if (code === -15) child.terminate();
    if (code === -9) child.kill();
    await ended(child, code);
    assertLess(await timed(() => pending), SOON);
    assertThrows(() => here.sendSync(1), ClosedError);
    // Too late to use the handle that was handed over.
    assertThrows(() => there.sendSync(1), ClosedError);
  });
}

test("Connection.recvSync() and sendSync() that block hear of the peer's death", () => {
  for (const form of ["recvSync", "sendSync"] as const) {
    const [here, there] = Pipe({ capacity: SMALL });
    const child = start(closure(() => there.recvSync(), { there }));
    assertEquals(here.pollSync({ timeout: 100 }), false);
    here.sendSync("end");
    const begin = performance.now();
    const act = () => form === "recvSync" ? here.recvSync() : here.sendSync(new Uint8Array(50_000));
    assertThrows(act, ClosedError, "the other end");
    assertLess(performance.now() - begin, DEADLINE);
    assert(child.joinSync({ timeout: DEADLINE }));
  }
});

test("Connection.recv() ends when the process that should get the other end never comes up", async () => {
  const [here, there] = Pipe();
  const child = new Process({
    target: { module: new URL("./no_such_module.ts", import.meta.url), name: "none" },
    args: [there] as unknown[],
    daemon: true,
  });
  child.start();
  assertLess(await timed(() => assertRejects(() => here.recv(), ClosedError)), DEADLINE);
  await ended(child, 1);
});

test("Process.start() that fails leaves an end with the one who has it", async () => {
  const [here, there] = Pipe();
  const child = new Process<[Connection, unknown]>({ target: () => {}, args: [there, () => {}] });
  const pending = here.recv({ timeout: DEADLINE });
  assertThrows(() => child.start(), EncodingError, "args[1]");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals(await here.poll(), false);
  there.sendSync("still here");
  assertEquals(await pending, "still here");
});

test("Connection handed over is held by its sender again after it was used", async () => {
  for (const use of ["sendSync", "pollSync"] as const) {
    const [here, there] = Pipe();
    const child = start(closure(() => {
      if (there.recvSync() !== "go") throw new Error("not this");
    }, { there }));
    here.sendSync("go");
    if (use === "sendSync") there.sendSync(1);
    else there.pollSync();
    await ended(child);
    if (use === "sendSync") assertEquals(here.recvSync(), 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    here.sendSync(2);
    assertEquals(there.recvSync(), 2);
  }
});

test("Connection on its way through a queue is held: its sender may close it meanwhile", async () => {
  const [here, there] = Pipe();
  const queue = new Queue<Connection>();
  queue.putSync(there);
  queue.putSync(there);
  there.close();
  here.sendSync("early");
  const got = await queue.get();
  assertEquals(got.recvSync(), "early");
  got.close();
  here.sendSync("second");
  const last = queue.getSync();
  assertEquals(last.recvSync(), "second");
  last.close();
  assertThrows(() => here.sendSync(1), ClosedError);
});

test("Connection in a message that goes nowhere is not held by it", async () => {
  const queue = new Queue<unknown>({ maxSize: 1 });
  queue.putSync("full");
  const [here, there] = Pipe();
  assertThrows(() => queue.putSync(there, { timeout: 5 }), QueueFullError);
  await assertRejects(() => queue.put(there, { timeout: 5 }), QueueFullError);
  assertThrows(() => queue.putSync([there, () => {}]), EncodingError);
  const error = new Error("with what cannot be sent", { cause: [there, () => {}] });
  assertEquals(queue.getSync(), "full");
  queue.putSync(error);
  queue.getSync();
  const late = assertRejects(() => here.recv(), ClosedError);
  there.close();
  assertLess(await timed(() => late), SOON);
});

test("Connection that nobody can use any more is as good as closed", async (t) => {
  const collect = await collector();
  if (collect === undefined) return t.skip("garbage cannot be collected on demand here");
  const [here] = Pipe();
  const end = performance.now() + DEADLINE;
  while (!await here.poll({ timeout: 20 })) {
    assertLess(performance.now(), end);
    collect();
  }
  await assertRejects(() => here.recv(), ClosedError);
});

/** Collects garbage now, where there is a way. */
async function collector(): Promise<(() => void) | undefined> {
  const { Bun } = globalThis as unknown as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  try {
    const { setFlagsFromString } = await import("node:v8");
    const { runInNewContext } = await import("node:vm");
    setFlagsFromString("--expose-gc");
    return runInNewContext("gc") as () => void;
  } catch {
    return undefined;
  }
}

test("Connection passed from hand to hand, each closing its own, never seems gone", async () => {
  const [here, there] = Pipe();
  const [left, right] = [new Queue<Connection>(), new Queue<Connection>()];
  const words = new Queue<string>();
  const watcher = start(closure(() => {
    words.putSync("watching");
    try {
      while (here.recvSync() !== "end");
      words.putSync("the end");
    } catch (error) {
      words.putSync((error as Error).name);
    }
  }, { here, words }));
  const looker = start(closure(() => {
    words.putSync("watching");
    // Looks all the time.
    while (!here.pollSync());
  }, { here, words }));
  const juggler = start(closure(() => {
    for (let i = 0; i < 300; i++) {
      const end = left.getSync();
      right.putSync(end);
      end.close();
    }
  }, { left, right }));
  for (let i = 0; i < 2; i++) assertEquals(await words.get({ timeout: DEADLINE }), "watching");
  let end = there;
  for (let i = 0; i < 300; i++) {
    left.putSync(end);
    end.close();
    end = await right.get({ timeout: DEADLINE });
    assertEquals(here.closed, false);
  }
  await ended(juggler);
  assert(watcher.isAlive(), "who receives saw an end");
  assert(looker.isAlive(), "who polls saw an end");
  end.sendSync("end");
  assertEquals(await words.get({ timeout: DEADLINE }), "the end");
  await ended(watcher);
  // Lets the other go, if that has not seen the message.
  end.close();
  await ended(looker);
});

for (const way of ["to a new process", "through a message"] as const) {
  test(`Connection that goes on ${way} is not gone between any two steps of who looks`, () => {
    let steps = 0;
    for (let at = 0; at <= steps; at++) {
      const [here, there] = PipeEnd.create(SMALL, true);
      // The first entry is free for the next, who is looked at before the one who has it.
      const [old, next] = [newPid(), newPid()];
      there.enterFor(old);
      there.leave();
      const holders = new Roster(new Int32Array(there.parts.cells), HOLDERS, 0);
      const table = Atomics as unknown as { load: (...args: unknown[]) => unknown };
      const { load } = table;
      steps = 0;
      table.load = (...args) => {
        if (steps++ === at) {
          table.load = load;
          if (way === "through a message") there.launch();
          else there.enterFor(next);
          holders.leave(old);
          if (way === "through a message") {
            there.land();
            // Lands here, and goes on to another: what is in flight is looked at before the rest.
            there.enterFor(next);
            there.leave();
          }
        }
        return load.apply(Atomics, args);
      };
      try {
        assertEquals(here.noticePeer(), false, `step ${at}`);
      } finally {
        table.load = load;
        for (const pid of [old, next]) endProcess(pid, 0, true);
      }
      assertEquals(here.noticePeer(), true);
      assertEquals(there.incoming?.closed, true);
    }
    assert(steps > 4, `${steps} steps`);
  });
}

// -- Death at every step

const ACTS = ["send", "send large", "recv", "close", "receive the end"] as const;

interface Victim {
  here: Connection;
  carrier: Queue<Connection>;
  process: Process<[]>;
}

/** A process that exits just before a certain atomic step of its act. */
function victim(act: typeof ACTS[number], step: number): Victim {
  const [here, there] = Pipe({ capacity: SMALL });
  const carrier = new Queue<Connection>({ capacity: SMALL });
  here.sendSync("first");
  here.sendSync("second");
  if (act === "receive the end") carrier.putSync(there);
  const end = act === "receive the end" ? undefined : there;
  const process = start(closure(() => {
    const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
    const names = ["load", "store", "add", "sub", "or", "exchange", "compareExchange", "notify"];
    const originals = names.map((name) => table[name]!);
    const { exit } = (globalThis as unknown as Exit).process;
    let left = step;
    const item = act === "send" ? "mine" : "m".repeat(2_500);
    const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
    names.forEach((name, i) => {
      table[name] = (...args) => {
        if (left-- === 0) {
          restore();
          exit(33);
          for (;;);
        }
        return originals[i]!.apply(Atomics, args);
      };
    });
    if (act === "close") end!.close();
    else if (act === "recv") end!.recvSync();
    else if (act === "receive the end") carrier.getSync();
    else end!.sendSync(item);
    restore();
  }, { end, carrier, act, step }));
  if (act === "receive the end") there.close();
  return { here, carrier, process };
}

/** More than there are atomic operations in each; of the long ones not all. */
const STEPS: Record<typeof ACTS[number], number[]> = {
  "send": Array.from({ length: 32 }, (_, i) => i),
  "send large": Array.from({ length: 16 }, (_, i) => 4 * i + 1),
  "recv": Array.from({ length: 28 }, (_, i) => i),
  "close": Array.from({ length: 32 }, (_, i) => i),
  "receive the end": Array.from({ length: 16 }, (_, i) => 2 * i),
};

for (const act of ACTS) {
  test(`Connection: a process that exits before any step of its ${act} is heard of at the other end`, async () => {
    let [survived, died] = [0, 0];
    const item = act === "send" ? "mine" : "m".repeat(2_500);
    for (let from = 0; from < STEPS[act].length; from += 16) {
      const steps = STEPS[act].slice(from, from + 16);
      const victims = steps.map((step) => victim(act, step));
      for (const [i, { here, carrier, process }] of victims.entries()) {
        const where = `${act}, step ${steps[i]}`;
        assert(await process.join({ timeout: DEADLINE }), where);
        process.exitCode === 0 ? survived++ : died++;
        // One that died with the end in its hands leaves it in flight: nobody hears of that.
        if (act === "receive the end" && carrier.empty() && process.exitCode !== 0) continue;
        if (!carrier.empty()) carrier.getSync().close();
        const begin = performance.now();
        const got: unknown[] = [];
        const outcome = await assertRejects(async () => {
          for (;;) got.push(await here.recv({ timeout: DEADLINE }));
        });
        assertInstanceOf(outcome, ClosedError, where);
        assertLess(performance.now() - begin, SOON, where);
        assertThrows(() => here.sendSync("more"), ClosedError);
        assertEquals(got, act.startsWith("send") && got.length > 0 ? [item] : [], where);
        if (act.startsWith("send") && process.exitCode === 0) assertEquals(got.length, 1);
      }
    }
    assert(survived > 0 && died > 5, `${act}: ${survived} survived, ${died} died`);
  });
}

test("Connection: what poll() tells can be received, also after a death amid a large message", async () => {
  const steps = Array.from({ length: 14 }, (_, i) => 2 * i + 2);
  const pipes = steps.map(() => Pipe({ capacity: SMALL }));
  const go = new Event();
  const victims = pipes.map(([here, there], i) => {
    here.sendSync("m".repeat(1_500));
    const step = steps[i]!;
    return start(closure(() => {
      go.waitSync();
      const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
      const names = ["load", "store", "add", "sub", "or", "exchange", "compareExchange", "notify"];
      const originals = names.map((name) => table[name]!);
      const { exit } = (globalThis as unknown as Exit).process;
      let left = step;
      const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
      names.forEach((name, i) => {
        table[name] = (...args) => {
          if (left-- === 0) {
            restore();
            exit(33);
            for (;;);
          }
          return originals[i]!.apply(Atomics, args);
        };
      });
      there.recvSync();
      restore();
    }, { there, step, go }));
  });
  // This process holds the ends, too, and did so before the first victim died: with no holder left, an
  // end is gone for ever.
  for (const [, there] of pipes) there.pollSync();
  go.set();
  const found = [0, 0];
  for (const [i, [here, there]] of pipes.entries()) {
    assert(await victims[i]!.join({ timeout: DEADLINE }));
    const is = there.pollSync();
    found[Number(is)]!++;
    if (is) assertEquals((there.recvSync({ timeout: 0 }) as string).length, 1_500);
    assertEquals(there.pollSync(), false, `step ${steps[i]}`);
    here.sendSync("next", { timeout: DEADLINE });
    assertEquals(there.recvSync({ timeout: DEADLINE }), "next");
  }
  assert(found[0]! > 0 && found[1]! > 0, `${found}`);
});

for (const act of ["send", "recv"] as const) {
  test(`Connection: an end goes on with its other holder when one dies amid its ${act}`, async () => {
    for (const step of [6, 9, 12, 15, 18, 21]) {
      const { here, process } = victim(act, step);
      assert(await process.join({ timeout: DEADLINE }));
      here.close();
    }
    const [here, there] = Pipe({ capacity: SMALL });
    const stuck = start(closure(async () => {
      const pending = act === "send" ? there.send(new Uint8Array(50_000)) : there.recv();
      pending.catch(() => {});
      there.pollSync({ timeout: 1e9 });
      await pending;
    }, { there, act }));
    // This process holds it too.
    there.pollSync();
    if (act === "send") {
      await until(() => here.pollSync(), "the message has begun");
    } else {
      here.sendSync("mine", { timeout: DEADLINE });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    stuck.terminate();
    await ended(stuck, -15);
    if (act === "send") {
      there.sendSync("next", { timeout: DEADLINE });
      assertEquals(await here.recv({ timeout: DEADLINE }), "next");
    } else {
      here.sendSync("next", { timeout: DEADLINE });
      const got = await there.recv({ timeout: DEADLINE });
      assert(got === "next" || got === "mine");
    }
  });
}
