/** What is given in the place of options is refused at once, and the message has the mend. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  Barrier,
  closure,
  Condition,
  Event,
  JoinableQueue,
  Lock,
  parentProcess,
  Pipe,
  Pool,
  Process,
  Queue,
  RLock,
  RWLock,
  Semaphore,
  SharedArray,
  SharedStruct,
  SimpleQueue,
  Value,
  wait,
} from "../mod.ts";

/** A value of a type that TypeScript would refuse. */
function wrong(value: unknown): never {
  return value as never;
}

/** Waits that are over at once, each on things of its own. */
interface Waits {
  /** Those that return a promise. */
  later: Record<string, (options?: never) => Promise<unknown>>;
  /** Those that block. */
  sync: Record<string, (options?: never) => unknown>;
}

function waits(child: Process): Waits {
  const queue = new JoinableQueue<number>();
  for (let n = 0; n < 10; n++) queue.putSync(n);
  const done = new JoinableQueue();
  const event = new Event();
  event.set();
  const condition = new Condition();
  condition.acquireSync();
  const barrier = new Barrier(1);
  const rwlock = new RWLock();
  const [a, b] = Pipe();
  for (let n = 0; n < 4; n++) b.sendSync(n);
  const [c, d] = Pipe();
  for (let n = 0; n < 4; n++) d.sendBytesSync(new Uint8Array(n));
  const yes = () => true;
  return {
    later: {
      "Lock.acquire": (options) => new Lock().acquire(options),
      "RLock.acquire": (options) => new RLock().acquire(options),
      "Semaphore.acquire": (options) => new Semaphore().acquire(options),
      "Condition.acquire": (options) => new Condition().acquire(options),
      "Condition.waitFor": (options) => condition.waitFor(yes, options),
      "Event.wait": (options) => event.wait(options),
      "Barrier.wait": (options) => barrier.wait(options),
      "RWLock.read": async (options) => (await rwlock.read(options)).release(),
      "RWLock.write": async (options) => (await rwlock.write(options)).release(),
      "Queue.put": (options) => queue.put(1, options),
      "Queue.get": (options) => queue.get(options),
      "JoinableQueue.join": (options) => done.join(options),
      "Connection.send": (options) => a.send(1, options),
      "Connection.sendBytes": (options) => a.sendBytes(new Uint8Array(1), options),
      "Connection.recv": (options) => a.recv(options),
      "Connection.recvBytes": (options) => c.recvBytes(options),
      "Connection.poll": (options) => a.poll(options),
      "wait": (options) => wait([event], options),
      "Process.join": (options) => child.join(options),
    },
    sync: {
      "Lock.acquireSync": (options) => new Lock().acquireSync(options),
      "RLock.acquireSync": (options) => new RLock().acquireSync(options),
      "Semaphore.acquireSync": (options) => new Semaphore().acquireSync(options),
      "Condition.acquireSync": (options) => new Condition().acquireSync(options),
      "Condition.waitForSync": (options) => condition.waitForSync(yes, options),
      "Event.waitSync": (options) => event.waitSync(options),
      "Barrier.waitSync": (options) => barrier.waitSync(options),
      "RWLock.readSync": (options) => rwlock.readSync(options).release(),
      "RWLock.writeSync": (options) => rwlock.writeSync(options).release(),
      "Queue.putSync": (options) => queue.putSync(1, options),
      "Queue.getSync": (options) => queue.getSync(options),
      "JoinableQueue.joinSync": (options) => done.joinSync(options),
      "Connection.sendSync": (options) => a.sendSync(1, options),
      "Connection.sendBytesSync": (options) => a.sendBytesSync(new Uint8Array(1), options),
      "Connection.recvSync": (options) => a.recvSync(options),
      "Connection.recvBytesSync": (options) => c.recvBytesSync(options),
      "Connection.pollSync": (options) => a.pollSync(options),
      "Process.joinSync": (options) => child.joinSync(options),
    },
  };
}

/** A process that has ended. */
async function ended(): Promise<Process> {
  const child = new Process({ target: () => {} });
  child.start();
  await child.join();
  return child as Process;
}

/** The message of the TypeError that a call throws, or that its promise rejects with. */
async function refusalOf(call: () => unknown): Promise<string> {
  return (await assertRejects(async () => void await call(), TypeError)).message;
}

/** What a bare value in the place of a wait's options is told. */
const TOLD: [options: unknown, told: string][] = [
  [100, "Cannot wait: 'options' must be an object, but is 100; write { timeout: 100 }"],
  [null, "Cannot wait: 'options' must be an object, but is null"],
  ["100", "Cannot wait: 'options' must be an object, but is \"100\""],
  [false, "Cannot wait: 'options' must be an object, but is false"],
  [() => {}, "Cannot wait: 'options' must be an object, but is function (anonymous)"],
  [
    new AbortController().signal,
    "Cannot wait: 'options' must be an object, but is [object AbortSignal]; write { signal: signal }",
  ],
  [{ timeout: "5" }, "Cannot wait: 'timeout' must be a number of milliseconds, but is \"5\""],
  [{ timeout: null }, "Cannot wait: 'timeout' must be a number of milliseconds, but is null"],
];

const CONTROLLER = new AbortController();

/** What a wrong signal is told. */
const SIGNALS: [signal: unknown, told: string][] = [
  [5, "Cannot wait: 'signal' must be an AbortSignal, but is 5"],
  [null, "Cannot wait: 'signal' must be an AbortSignal, but is null"],
  [CONTROLLER, "Cannot wait: 'signal' must be an AbortSignal, but is [object AbortController]"],
];

test("Every wait takes no options, and undefined ones", async () => {
  const { later, sync } = waits(await ended());
  for (const call of [...Object.values(later), ...Object.values(sync)]) {
    await call();
    await call(undefined);
  }
});

test("Every wait refuses what is no options, and tells the option that was meant", async () => {
  const { later, sync } = waits(await ended());
  for (const [options, told] of TOLD) {
    for (const [name, call] of Object.entries(later)) {
      const promise = call(wrong(options));
      assert(promise instanceof Promise, name);
      assertEquals(await refusalOf(() => promise), told, name);
    }
    for (const [name, call] of Object.entries(sync)) {
      assertEquals(assertThrows(() => call(wrong(options)), TypeError).message, told, name);
    }
  }
});

test("Every wait refuses what is no signal", async () => {
  const { later } = waits(await ended());
  for (const [signal, told] of SIGNALS) {
    for (const [name, call] of Object.entries(later)) {
      assertEquals(await refusalOf(() => call(wrong({ signal }))), told, name);
    }
  }
});

test("A wait that was refused has changed nothing", async () => {
  const lock = new Lock();
  await assertRejects(() => lock.acquire(wrong(100)), TypeError);
  assertThrows(() => lock.acquireSync(wrong(100)), TypeError);
  assertFalse(lock.locked());

  const queue = new Queue<number>();
  await assertRejects(() => queue.put(1, wrong(100)), TypeError);
  assertThrows(() => queue.putSync(1, wrong(100)), TypeError);
  assert(queue.empty());
  queue.putSync(2);
  await assertRejects(() => queue.get(wrong(null)), TypeError);
  assertThrows(() => queue.getSync(wrong(null)), TypeError);
  assertEquals(queue.getSync(), 2);

  const barrier = new Barrier(2);
  await assertRejects(() => barrier.wait(wrong(100)), TypeError);
  assertThrows(() => barrier.waitSync(wrong({ timeout: "1" })), TypeError);
  assertEquals([barrier.nWaiting, barrier.broken], [0, false]);

  const condition = new Condition();
  condition.acquireSync();
  await assertRejects(() => condition.wait(wrong({ signal: 5 })), TypeError);
  assertThrows(() => condition.waitSync(wrong(100)), TypeError);
  condition.notifyAll(); // Throws unless the lock is still held.
});

test("Condition.waitFor() refuses what is no predicate, also without the lock", async () => {
  const condition = new Condition();
  const told = "Cannot wait for Condition: 'predicate' must be a function, but is ";
  for (const [predicate, text] of [[5, "5"], [undefined, "undefined"], [{}, "[object Object]"]]) {
    assertEquals(await refusalOf(() => condition.waitFor(wrong(predicate))), told + text);
    assertEquals(await refusalOf(() => condition.waitForSync(wrong(predicate))), told + text);
  }
});

test("AsyncResult and Pool.join() refuse what is no options", async () => {
  const pool = new Pool({ processes: 1 });
  const result = pool.applyAsync(() => 5);
  for (const [options, told] of TOLD) {
    assertEquals(await refusalOf(() => result.get(wrong(options))), told);
    assertEquals(await refusalOf(() => result.wait(wrong(options))), told);
  }
  for (const [signal, told] of SIGNALS) {
    assertEquals(await refusalOf(() => result.get(wrong({ signal }))), told);
    assertEquals(await refusalOf(() => result.wait(wrong({ signal }))), told);
  }
  assertEquals(await result.get(undefined), 5);
  assert(await result.wait(undefined));
  pool.close();
  assertEquals(await refusalOf(() => pool.join(wrong(100))), TOLD[0]![1]);
  assert(await pool.join(undefined));
});

test("ParentProcess.join() refuses what is no options", async () => {
  const join = closure((queue: Queue<unknown>, options: unknown) => {
    return parentProcess()!.join(options as never).catch((error) => queue.putSync(error));
  }, { parentProcess });
  const queue = new Queue<TypeError>();
  const child = new Process({ target: join, args: [queue, 100] });
  child.start();
  const error = await queue.get({ timeout: 60_000 });
  assert(error instanceof TypeError);
  assertEquals(error.message, TOLD[0]![1]);
  await child.join();
});

test("Whatever is made with options refuses what is none", async () => {
  for (const [make, text] of CONSTRUCTIONS) {
    assertEquals(await refusalOf(make), `Cannot create ${text}`);
  }
});

/** Each makes something, and is told why not. */
const CONSTRUCTIONS: [make: () => unknown, told: string][] = [
  [() => new Pool(wrong(4)), is("Pool", "4; write { processes: 4 }")],
  [() => new Pool(wrong(null)), is("Pool", "null")],
  [() => new Pool(wrong("4")), is("Pool", '"4"')],
  [() => new Process(wrong(main)), is("Process", "function main; write { target: fn }")],
  [() => new Process(wrong(undefined)), is("Process", "undefined; write { target: fn }")],
  [() => new Process(wrong(null)), is("Process", "null")],
  [() => new Queue(wrong(5)), is("Queue", "5; write { maxSize: 5 }")],
  [() => new SimpleQueue(wrong(5)), is("SimpleQueue", "5; write { maxSize: 5 }")],
  [() => new JoinableQueue(wrong(5)), is("JoinableQueue", "5; write { maxSize: 5 }")],
  [() => new Queue(wrong(null)), is("Queue", "null")],
  [() => Pipe(wrong(false)), is("Pipe", "false; write { duplex: false }")],
  [() => Pipe(wrong(null)), is("Pipe", "null")],
  [() => new Barrier(2, wrong(main)), is("Barrier", "function main; write { action: fn }")],
  [() => new Barrier(2, wrong(100)), is("Barrier", "100; write { timeout: 100 }")],
  [() => new Barrier(2, wrong(null)), is("Barrier", "null")],
  [() => new Value("i32", 0, wrong(false)), is("Value", "false; write { lock: false }")],
  [() => new Value("i32", 0, wrong(null)), is("Value", "null")],
  [() => new SharedArray("i32", 1, wrong(true)), is("SharedArray", "true; write { lock: true }")],
  [() => new SharedStruct({ x: "i32" }, {}, wrong(null)), is("SharedStruct", "null")],
];

function is(what: string, text: string): string {
  return `${what}: 'options' must be an object, but is ${text}`;
}

function main(): void {}

test("Whatever is made with options takes undefined ones", async () => {
  assertStrictEquals(await new Pool(undefined)[Symbol.asyncDispose](), undefined);
  assert(new Queue(undefined).empty());
  assert(new JoinableQueue(undefined).empty());
  assertEquals(Pipe(undefined).map(({ readable, writable }) => readable && writable), [true, true]);
  assertEquals(new Barrier(1, undefined).waitSync(), 0);
  assert(new Value("i32", 0, undefined).getLock() instanceof RLock);
});

test("Pool's calls refuse what is no options, and tell the option that was meant", async () => {
  const pool = new Pool({ processes: 1 });
  const { apply, applyAsync } = calls(pool);
  const maps = Object.entries(calls(pool)).filter(([name]) => !name.startsWith("apply"));
  assertEquals(maps.length, 6);
  const told = (name: string, text: string) =>
    `Cannot ${name}: 'options' must be an object, but is ${text}`;
  for (const [name, call] of Object.entries({ apply, applyAsync })) {
    assertEquals(await refusalOf(() => call(wrong(5))), told(name, "5; write { timeout: 5 }"));
    assertEquals(await refusalOf(() => call(wrong(null))), told(name, "null"));
  }
  for (const [name, call] of maps) {
    assertEquals(await refusalOf(() => call(wrong(5))), told(name, "5; write { chunkSize: 5 }"));
    assertEquals(await refusalOf(() => call(wrong(null))), told(name, "null"));
  }
  const { queued, running, completed, failed } = pool.stats();
  assertEquals([queued, running, completed, failed], [0, 0, 0, 0]);
  for (const call of Object.values(calls(pool))) await call(undefined);
  await pool[Symbol.asyncDispose]();
});

/** All that a pool calls functions with. */
function calls(pool: Pool): Record<string, (options?: never) => unknown> & {
  apply: (options?: never) => unknown;
  applyAsync: (options?: never) => unknown;
} {
  const negate = (n: number) => -n;
  return {
    apply: (options) => pool.apply(negate, [1], options),
    applyAsync: (options) => pool.applyAsync(negate, [1], options),
    map: (options) => pool.map(negate, [1], options),
    mapAsync: (options) => pool.mapAsync(negate, [1], options),
    starmap: (options) => pool.starmap(negate, [[1]], options),
    starmapAsync: (options) => pool.starmapAsync(negate, [[1]], options),
    imap: (options) => pool.imap(negate, [1], options).next(),
    imapUnordered: (options) => pool.imapUnordered(negate, [1], options).next(),
  };
}

test("A lock in the place of the options is refused: it would not be used", () => {
  const told = "'options' must be an object, but is [object Object]; write { lock: lock }";
  for (const lock of [new Lock(), new RLock()].map(wrong)) {
    assertThrows(() => new Value("i32", 0, lock), TypeError, `Cannot create Value: ${told}`);
    assertThrows(() => new SharedArray("i32", 1, lock), TypeError, told);
    assertThrows(() => new SharedStruct({ n: "i32" }, {}, lock), TypeError, told);
  }
});

test("A call of a pool refuses a signal in the place of the options", async () => {
  const { signal } = new AbortController();
  const pool = new Pool({ processes: 1 });
  for (const call of Object.values(calls(pool))) {
    assertStringIncludes(await refusalOf(() => call(signal as never)), "write { signal: signal }");
  }
  await pool[Symbol.asyncDispose]();
});

test("Process refuses options of a wrong type", async () => {
  const target = () => {};
  const told: [options: unknown, told: string][] = [
    [{ name: 5 }, "'name' must be a string, but is 5"],
    [{ name: null }, "'name' must be a string, but is null"],
    [{ daemon: "yes" }, "'daemon' must be true or false, but is \"yes\""],
    [{ daemon: null }, "'daemon' must be true or false, but is null"],
    [{ transfer: 5 }, "'transfer' must be an array of buffers and ports, but is 5"],
    [{ transfer: null }, "'transfer' must be an array of buffers and ports, but is null"],
    [{ args: "one" }, "'args' must be an array, but is \"one\""],
  ];
  for (const [options, text] of told) {
    const make = () => new Process({ target, ...options as object });
    assertEquals(await refusalOf(make), `Cannot create Process: ${text}`);
  }
  const unset = { args: undefined, name: undefined, daemon: undefined, transfer: undefined };
  const child = new Process({ target, ...unset });
  const set = () => child.daemon = wrong("yes");
  assertEquals(
    await refusalOf(set),
    `Cannot set 'daemon' of ${child.name}: it must be true or false, but is "yes"`,
  );
  assertFalse(child.daemon);
  child.daemon = true;
  assert(child.daemon);
});

test("Process that is refused takes no number away", () => {
  const number = () => Number(new Process({ target: () => {} }).name.split("-")[1]);
  const before = number();
  assertThrows(() => new Process(wrong({ target: () => {}, name: 5 })), TypeError);
  assertEquals(number(), before + 1);
});

test("Types of 64 bits tell how a number is written", async () => {
  const told = (of: string, text: string) => `Cannot write ${of} holds a bigint, but got ${text}`;
  const value = "Value: one of type i64";
  const cases: [write: () => unknown, told: string][] = [
    [() => new Value("i64", wrong(5)), told(value, "5 (number); write 5n")],
    [() => new Value("q", wrong(-7)), told(value, "-7 (number); write -7n")],
    [
      () => new Value("i64", wrong(2 ** 53)),
      told(value, "9007199254740992 (number); write 9007199254740992n"),
    ],
    [
      () => new Value("i64", wrong(1e21)),
      told(value, "1e+21 (number); write 1000000000000000000000n"),
    ],
    [() => new Value("i64", wrong(0.5)), told(value, "0.5 (number)")],
    [() => new Value("i64", wrong(NaN)), told(value, "NaN (number)")],
    [() => new Value("i64", wrong("5")), told(value, "5 (string)")],
    [
      () => new SharedArray("u64", wrong([1])),
      told("SharedArray: element 0 of type u64", "1 (number); write 1n"),
    ],
    [
      () => new SharedStruct({ x: "u64" }, wrong({ x: 1 })),
      told("SharedStruct: field 'x' of type u64", "1 (number); write 1n"),
    ],
  ];
  for (const [write, text] of cases) assertEquals(await refusalOf(write), text);
  assertEquals(
    await refusalOf(() => new Value("i32", wrong(5n))),
    "Cannot write Value: one of type i32 holds a number, but got 5n (bigint)",
  );
});

test("closure() calls a function without a name anonymous", async () => {
  const anonymous = (() => () => 1)();
  const named = () => 1;
  class Odd {
    static name = 5;
  }
  const cases: [fn: unknown, scope: unknown, told: string][] = [
    [
      anonymous,
      undefined,
      "an anonymous closure: 'scope' must be an object such as { name }, but is undefined",
    ],
    [
      anonymous,
      { "no name": 1 },
      "an anonymous closure: each key of 'scope' must be an identifier, but one is \"no name\"",
    ],
    [
      anonymous,
      [named],
      "an anonymous closure: 'scope' must be an object such as { name }, but is [object Array]",
    ],
    [named, 5, "closure \"named\": 'scope' must be an object such as { name }, but is 5"],
    [Odd, 5, "an anonymous closure: 'scope' must be an object such as { name }, but is 5"],
  ];
  for (const [fn, scope, text] of cases) {
    assertEquals(await refusalOf(() => closure(wrong(fn), wrong(scope))), `Cannot create ${text}`);
  }
});
