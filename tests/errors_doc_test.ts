/** docs/errors.md has every message that the library can give, and no other. */

import { test } from "node:test";
import { assert, assertEquals, assertFalse } from "@std/assert";
import { encodeValue } from "../backend.ts";
import { MultiprocessingError } from "../errors.ts";
import * as library from "../mod.ts";
import {
  Barrier,
  BoundedSemaphore,
  closure,
  Condition,
  Connection,
  currentProcess,
  Event,
  JoinableQueue,
  Lock,
  Pipe,
  Pool,
  type PoolOptions,
  Process,
  Queue,
  RLock,
  RWLock,
  Semaphore,
  SharedArray,
  SharedStruct,
  task,
  transfer,
  Value,
  wait,
} from "../mod.ts";
import { controlBuffer, newPid, ownPid, stateIndex } from "../memory/control.ts";
import { Roster } from "../memory/roster.ts";
import { checkVersion, detectRuntime } from "../runtime/detect.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { decode } from "../wire/codec/codec.ts";
import { LocalBackend } from "../wire/pool/local_backend.ts";
import { resolveTarget } from "../wire/target/target_resolve.ts";
import { UNSENDABLE } from "./fixtures/errors_doc/functions.ts";
import { entriesOf, type Entry, entryFor, HOLE, meet, PAGE } from "./fixtures/errors_doc/page.ts";
import { libraryFiles, messagesOf, type Site } from "./fixtures/errors_doc/sources.ts";
import { tell } from "./fixtures/errors_doc/unguarded.ts";
import { tableMessage } from "./fuzz/forge.ts";
import { countRound } from "./fixtures/barrier_tasks.ts";
import { soon } from "./fixtures/pool_help.ts";

const { name: runtime, binary } = current();
const ENTRIES = entriesOf(PAGE);
const REMOTE = import.meta.resolve("./fixtures/errors_doc/remote.ts");

/** Messages that only one runtime gives. */
const ONLY: Record<string, string> = {
  "Cannot start <process>: it loads this library, which takes the permission to read <url>; run deno with --allow-read":
    "deno",
};

// ────────────────────────────────────────────────────────────────────────────── mistakes

/** A value of a type that TypeScript would refuse. */
function wrong(value: unknown): never {
  return value as never;
}

/** A pool of one, which is gone when the mistake has been made. */
async function inPool(
  use: (pool: Pool) => unknown,
  options: PoolOptions = {},
): Promise<unknown> {
  const pool = new Pool({ processes: 1, ...options });
  try {
    return await soon(Promise.resolve(use(pool)));
  } finally {
    await pool.terminate();
  }
}

/** An argument that cannot be sent. */
const send = (value: unknown) => new Process({ target: () => {}, args: [value] as never }).start();

/** A process that has ended. */
async function ended(): Promise<Process> {
  const child = new Process({ target: () => {} });
  child.start();
  await child.join();
  return child as Process;
}

/** What another process does, and puts into the queue. */
async function elsewhere<T>(
  target: (queue: Queue<T>) => unknown,
  use: (child: Process) => void = () => {},
): Promise<T> {
  const queue = new Queue<T>();
  const child = new Process({ target, args: [queue] });
  child.start();
  use(child as unknown as Process);
  try {
    return await queue.get({ timeout: 30_000 });
  } finally {
    child.terminate();
    await child.join();
  }
}

const moved = (): ArrayBuffer => {
  const buffer = new ArrayBuffer(8);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
};

const never = () => new Promise(() => {});

/** Each makes one error: throws it, rejects with it, or gives it. */
const MISTAKES: Record<string, (() => unknown)[]> = {
  functions: [
    ...UNSENDABLE.map((target) => () => new Process({ target: wrong(target) })),
    // As if this runtime knew a syntax that the parser does not.
    () => {
      const { toString } = Function.prototype;
      Function.prototype.toString = () => "() => { ¿ }";
      try {
        return new Process({ target: () => 0 });
      } finally {
        Function.prototype.toString = toString;
      }
    },
    ...["missing", "ten", "nothing"].map((name) => () =>
      inPool((pool) => pool.apply({ module: REMOTE, name }))
    ),
    () =>
      resolveTarget(
        { kind: "module", module: import.meta.url, name: "end", task: true },
        (url) => import(url),
      ),
    () =>
      resolveTarget({ kind: "source", name: "f", source: "(¿)", scope: [] }, (url) => import(url)),
    () =>
      resolveTarget({
        kind: "source",
        name: "f",
        source: "() => 1",
        scope: [["a", { kind: "export", name: "NoSuchExport" }]],
      }, (url) => import(url)),
    ...[5, "./module.ts", null, {}].map((target) => () => new Process({ target: wrong(target) })),
    () => inPool((pool) => pool.apply({ module: `${REMOTE}x`, name: "f" })),
    () => new Process({ target: { module: REMOTE, name: "" } }),
    () => new Process({ target: { module: "./module.ts", name: "f" } }),
    () => task(import.meta, wrong(5)),
    () => task(import.meta, (() => () => {})()),
    () => task(wrong({}), function named() {}),
    () => [0, 1].forEach(() => task(import.meta, function twice() {})),
    () => closure(wrong(5), {}),
    () => closure(() => {}, wrong(undefined)),
    () => closure(() => {}, { "no name": 1 }),
  ],

  values: [
    () => send(() => {}),
    () => send(Symbol("s")),
    () => send(Promise.resolve()),
    () => send((function* () {})()),
    () => send(new WeakMap()),
    () => send(new WeakSet()),
    () => send(new WeakRef({})),
    () => send(new URL("http://x")),
    () => send(new URLSearchParams()),
    () => send(new Headers()),
    () => send(new Request("http://x")),
    () => send(new Response()),
    () => send(new AbortController().signal),
    () => send([][Symbol.iterator]()),
    () => send((async function* () {})()),
    () => send(new Process({ target: () => {} })),
    () => send(new Lock().acquireSync()),
    () => inPool((pool) => send(pool)),
    () => inPool((pool) => send(pool.applyAsync(() => 1))),
    () =>
      send({
        get a() {
          throw new Error("no");
        },
      }),
    () => send(new MessageChannel().port1),
    () => send(moved()),
    () => send(transfer(1, [moved()])),
    () => send(transfer(1, wrong([new Uint8Array(1)]))),
    () => {
      const buffer = new ArrayBuffer(1);
      send(transfer(1, [buffer, buffer]));
    },
    () => transfer(1, wrong(undefined)),
    () => {
      const [end] = Pipe();
      end.close();
      send(end);
    },
    () => encodeValue(new Lock(), "args"),
    () => decode(new Uint8Array([255]), 0, 1, []),
    () => {
      const bytes = tableMessage([[0], [], [[12, 99, [1], 0, null], [11, 0, 0, null]]]);
      return decode(bytes, 0, bytes.length, []);
    },
    () =>
      inPool((pool) =>
        pool.apply(() => {
          throw new WeakRef({});
        })
      ),
    () => inPool((pool) => pool.apply({ module: REMOTE, name: "barrierWithAction" })),
    () => inPool((pool) => pool.apply({ module: REMOTE, name: "secret" })),
    () =>
      inPool((pool) => {
        const buffer = new ArrayBuffer(1);
        return pool.apply(
          closure(() => bytes.byteLength, { bytes: transfer(buffer, [buffer]) }),
        );
      }),
    () => {
      const buffer = new ArrayBuffer(1);
      new Pool({ initializer: () => {}, initargs: [transfer(buffer, [buffer])] });
    },
  ],

  processes: [
    () => new Process(wrong(never)),
    ...[{ args: "one" }, { name: 5 }, { daemon: "yes" }, { transfer: 5 }].map((options) => () =>
      new Process({ target: () => {}, ...wrong(options) as object })
    ),
    () => new Process({ target: () => {} }).daemon = wrong("yes"),
    () => elsewhere(tell as (queue: Queue<unknown>) => void),
    () => inPool((pool) => pool.apply({ module: REMOTE, name: "startChild" })),
    async () => (await ended()).start(),
    () => new Process({ target: () => {} }).join(),
    async () => {
      (await ended()).daemon = true;
    },
    async () => {
      const child = new Process({ target: never });
      child.start();
      try {
        child.close();
      } finally {
        child.terminate();
        await child.join();
      }
    },
    async () => {
      const child = await ended();
      child.close();
      return child.pid;
    },
    () =>
      elsewhere(
        closure(
          async (queue: Queue<unknown>) => {
            const { signal } = currentProcess();
            if (!signal.aborted) await new Promise((end) => signal.addEventListener("abort", end));
            queue.putSync(signal.reason);
          },
          { currentProcess },
        ),
        (child) => child.interrupt(),
      ),
    // As if another had terminated this process, whose thread goes on.
    () => {
      const words = new Int32Array(controlBuffer);
      const state = stateIndex(ownPid);
      const alive = words[state] as number;
      words[state] = (-15 << 2) | 2;
      try {
        new Lock().tryAcquire();
      } finally {
        words[state] = alive;
      }
    },
    ...runtime === "deno" ? [unreadable] : [],
  ],

  locks: [
    () => new Lock().release(),
    () => new RLock().release(),
    async () => {
      const lock = new RLock();
      const held = closure(async (queue: Queue<unknown>) => {
        await lock.acquire();
        queue.putSync(0);
        await new Promise(() => {});
      }, { lock });
      const queue = new Queue();
      const child = new Process({ target: held, args: [queue] });
      child.start();
      await queue.get({ timeout: 30_000 });
      try {
        lock.release();
      } finally {
        child.terminate();
        await child.join();
      }
    },
    () => {
      const lock = new Lock();
      lock.acquireSync();
      lock.acquireSync({ timeout: 1 });
    },
    () => new Condition().notify(),
    () => new Condition(wrong(5)),
    () => new Condition().waitFor(wrong(5)),
    () => {
      const condition = new Condition();
      condition.acquireSync();
      condition.notify(-1);
    },
    () => {
      const lock = new RWLock();
      lock.readSync();
      lock.writeSync();
    },
    // As if so many processes used one semaphore.
    () => {
      const cells = new Int32Array(new SharedArrayBuffer(4 * Roster.size(1)));
      const roster = new Roster(cells, 0, 1);
      for (let count = 0; count <= 1000; count++) roster.enter(newPid());
    },
    () => new Semaphore(-1),
    () => new Semaphore().release(0),
    () => new BoundedSemaphore(1).release(),
    () => new Semaphore(2 ** 31 - 1).release(),
    () => new Barrier(0),
    () => new Barrier(1, { action: wrong(5) }),
    () => new Barrier(2).waitSync({ timeout: 1 }),
    () => {
      const barrier = new Barrier(2);
      barrier.abort();
      barrier.waitSync();
    },
    () => {
      const barrier = new Barrier(2, { action: countRound });
      const waits = closure((queue: Queue<unknown>) => {
        try {
          barrier.waitSync();
        } catch (error) {
          queue.putSync(error);
        }
      }, { barrier });
      return elsewhere(waits);
    },
    () => new Event().wait({ timeout: wrong("100") }),
    () => new Event().wait({ timeout: NaN }),
    () => new Event().wait({ signal: wrong(5) }),
    () => new Event().wait(wrong(100)),
    () => new Event().wait(wrong(null)),
  ],

  queues: [
    () => new Queue({ maxSize: -1 }),
    () => new Queue(wrong({ maxsize: 1 })),
    () => new Queue({ capacity: 0 }),
    () => new Queue().getNowait(),
    () => new Queue().getSync({ timeout: 1 }),
    ...[0, 1].map((timeout) => () => {
      const queue = new Queue({ maxSize: 1 });
      queue.putSync(0);
      queue.putSync(0, { timeout });
    }),
    ...(["putNowait", "getNowait"] as const).map((method) => () => {
      const queue = new Queue();
      queue.close();
      queue[method](0);
    }),
    () => new JoinableQueue().taskDone(),
    () => new (wrong(Connection) as new () => unknown)(),
    () => Pipe({ duplex: wrong("no") }),
    () => Pipe({ duplex: false })[0].send(1),
    () => Pipe({ duplex: false })[1].recv(),
    () => Pipe()[0].sendBytes(wrong("text")),
    () => Pipe()[0].recvBytes({ maxLength: -1 }),
    () => {
      const [a, b] = Pipe();
      a.sendSync(1);
      return b.recvBytes();
    },
    async () => {
      const [a, b] = Pipe();
      await a.sendBytes(new Uint8Array(9));
      return b.recvBytes({ maxLength: 1 });
    },
    () => {
      const [a] = Pipe();
      a.close();
      a.sendSync(1);
    },
    ...(["sendSync", "recvSync"] as const).map((method) => () => {
      const [a, b] = Pipe();
      b.close();
      a[method](wrong({}));
    }),
    () => {
      const [a] = Pipe({ capacity: 1 });
      for (;;) a.sendSync("full", { timeout: 1 });
    },
    () => Pipe()[0].recvSync({ timeout: 1 }),
    () => wait(wrong(5)),
    () => wait(wrong([5])),
  ],

  shared: [
    () => new Value(wrong("int")),
    () => new Value("i32", wrong("5")),
    () => new Value("i64", wrong(5)),
    () => new Value("f64").add(1),
    () => new Value("i32", 0, { lock: wrong(5) }),
    () => new Value("i32", 0, { lock: false }).getLock(),
    () => new SharedArray("i32", wrong(undefined)),
    () => new SharedArray("i32", -1),
    () => new SharedArray("i32", 2 ** 50),
    () => new SharedArray("i32", 1).at(1),
    () => new SharedArray("i32", 1).at(wrong("0")),
    () => (new SharedArray("i32", 1) as unknown as number[])[0],
    () => new SharedStruct(wrong(5)),
    () => new SharedStruct({ x: "i32" }, wrong(5)),
    () => new SharedStruct({ x: "i32" }, wrong({ y: 1 })),
    () => Object.assign(new SharedStruct({ x: "i32" }).fields, { y: 1 }),
  ],

  pools: [
    () => new Pool({ processes: 0 }),
    () => new Pool({ name: wrong(5) }),
    () => new Pool({ initializer: wrong(5) }),
    () => new Pool({ initargs: wrong(5) }),
    () => new Pool({ backend: wrong({}) }),
    () => inPool((pool) => pool.apply(() => {}, wrong(5))),
    () => inPool((pool) => pool.map(() => {}, wrong(5))),
    () => inPool((pool) => pool.starmap(() => {}, wrong([5]))),
    () => inPool((pool) => pool.map(() => {}, [], { onProgress: wrong(5) })),
    () =>
      inPool((pool) =>
        pool.imap(() => {}, wrong({ [Symbol.iterator]: () => ({ next() {} }) })).next()
      ),
    ...[
      { signal: 5 },
      { timeout: "5" },
      { timeout: NaN },
      { grace: -1 },
      { transfer: 5 },
      { transfer: [5] },
    ].map((options) => () => inPool((pool) => pool.map(() => {}, [1], wrong(options)))),
    () => inPool((pool) => pool.join()),
    () =>
      inPool((pool) => {
        pool.close();
        return pool.apply(() => {});
      }),
    () =>
      inPool((pool) => {
        const result = pool.apply(never);
        return Promise.all([result, pool.terminate()]);
      }),
    () => inPool((pool) => pool.apply(never, [], { timeout: 1 })),
    () => inPool((pool) => pool.applyAsync(never).get({ timeout: 1 })),
    () => inPool((pool) => pool.applyAsync(never).successful()),
    () =>
      inPool((pool) => {
        const result = pool.applyAsync(never);
        result.cancel();
        return result;
      }),
    () => inPool((pool) => pool.apply({ module: REMOTE, name: "end" }, [3])),
    () => inPool((pool) => pool.map({ module: REMOTE, name: "end" }, [3])),
    () => {
      const module = import.meta.resolve("./fixtures/pool_no_start.ts");
      const open = ({ name }: { name: string }) => new LocalBackend({ module, size: 1, name });
      return inPool((pool) => pool.apply(() => {}), { backend: { open } });
    },
    () => new LocalBackend({ module: "", size: 1, name: "PoolWorker" }),
  ],

  runtimes: [
    () => checkVersion("node", "18.0.0"),
    () => detectRuntime({}),
  ],
};

declare const bytes: ArrayBuffer;

/** What a pool says on Deno to a program that may not read. */
async function unreadable(): Promise<unknown> {
  const program = "tests/fixtures/errors_doc/unreadable.ts";
  // Without a flag about permissions, Deno's child_process allows a child everything.
  const flags = ["--no-prompt", "--deny-read", "--no-check"];
  const { output } = await capture([binary, "run", ...flags, `${ROOT}/${program}`], 60_000);
  const { name, message } = JSON.parse(output.trim().split("\n").at(-1)!);
  return Object.assign(new Error(message), { name });
}

/** The error that comes of a mistake. */
async function errorOf(mistake: () => unknown): Promise<Error> {
  let made: unknown;
  try {
    made = await mistake();
  } catch (error) {
    made = error;
  }
  // A DOMException of Bun's is no Error.
  assert(made instanceof Error || made instanceof DOMException, `No error from ${mistake}`);
  return made;
}

const triggered = new Set<Entry>();

for (const [feature, mistakes] of Object.entries(MISTAKES)) {
  test(`docs/errors.md has the messages for mistakes with ${feature}`, async () => {
    for (const mistake of mistakes) {
      const error = await errorOf(mistake);
      const entry = entryFor(ENTRIES, error);
      assert(entry !== undefined, `Not on the page: ${error.name}: ${error.message}`);
      triggered.add(entry);
    }
  });
}

test("docs/errors.md has no message but those", () => {
  const missing = ENTRIES
    .filter((entry) => !triggered.has(entry) && (ONLY[entry.text] ?? runtime) === runtime)
    .map(({ className, text }) => `${className}: ${text}`);
  assertEquals(missing, []);
});

test("docs/errors.md lists no message twice", () => {
  const texts = ENTRIES.map(({ className, text }) => `${className}: ${text}`);
  assertEquals(texts.length, new Set(texts).size);
});

test("docs/errors.md has a heading for each class of errors", () => {
  for (const [name, value] of Object.entries(library)) {
    const isClass = typeof value === "function" && value.prototype instanceof MultiprocessingError;
    if (isClass) assert(PAGE.includes(`\n## ${name}\n`), name);
  }
  for (const { className } of ENTRIES) assert(PAGE.includes(`(#${className.toLowerCase()})`));
});

// ────────────────────────────────────────────────────────────────────────────── sources

/** What the sources say that no user sees, and why. */
const INTERNAL: Record<string, Record<string, string>> = {
  "memory/boot.ts": {
    " is not the library's worker module": "what the worker module is loaded to replace",
  },
  "memory/ring.ts": {
    "The consumers' turn was taken over": "of a thread that checkAlive() has ended a line before",
  },
  "wire/codec/error_envelope.ts": {
    "Cannot register error class: it must be a class with a name and extend Error":
      "task() registers only those",
    "Cannot register error class ": "task() gives names that no built-in class has",
    ": a built-in class has that name": "the same",
  },
  "wire/codec/graph.ts": {
    "it is not among what is moved": "caught, where errors are taken apart",
  },
  "wire/codec/shareable.ts": {
    ' as shareable: the kind "': "the library's own classes only",
    '" is taken by another class': "the same",
  },
  "wire/exchange.ts": { "Deposit ": "the main process has replied before it wakes who asked" },
  "wire/pool/functions.ts": { "Definition ": "the pool has posted it before the task" },
  "wire/target/capture.ts": {
    "It is no function": "becomes the reason why it cannot be parsed",
    "assert async_hooks ": "a list of modules",
    "diagnostics_channel ": "the same",
    "perf_hooks ": "the same",
    "trace_events ": "the same",
  },
  "runtime/node.ts": { "import { enableCompileCache }": "code" },
  "runtime/node_worker.ts": { "import { workerData": "code" },
  "wire/target/compiler_helpers.ts": {
    "(target, source) =>": "code",
    "(source, excluded) =>": "code",
  },
  "wire/target/words.ts": { "return typeof case": "a list of words" },
};

/** Why a text is not on the page; undefined if it has to be. */
function exemption(path: string, text: string): string | undefined {
  for (const start of Object.keys(INTERNAL[path] ?? {})) {
    if (text.startsWith(start)) return `${path}: ${start}`;
  }
  return undefined;
}

/** What goes into "Cannot decode a message of …", for messages that no sender has written. */
function isDecodeReason({ path, className }: Site): boolean {
  return className === "Error" && path.startsWith("wire/codec/");
}

test("docs/errors.md has every message of the sources", () => {
  const missing: string[] = [];
  const used = new Set<string>();
  const page = PAGE.replace(/\s+/g, " ");
  let found = 0;
  for (const path of libraryFiles()) {
    const { sites, prose } = messagesOf(path);
    for (const site of sites) {
      const { at, className, template } = site;
      // No error's class, or an error that is made again as it was.
      if (className === HOLE && template === HOLE) continue;
      const exempt = exemption(path, template);
      if (exempt !== undefined) used.add(exempt);
      if (exempt !== undefined || isDecodeReason(site)) continue;
      found++;
      const isThere = ENTRIES.some((entry) =>
        entry.className === className && meet(entry.template, template)
      );
      if (!isThere) missing.push(`${at}: ${className}: ${template.replaceAll(HOLE, "…")}`);
    }
    const reasons = sites.filter(isDecodeReason).map(({ template }) => template);
    for (const { at, text } of prose) {
      const exempt = exemption(path, text);
      if (exempt !== undefined) used.add(exempt);
      if (exempt !== undefined || reasons.some((reason) => reason.includes(text))) continue;
      if (!page.includes(text.trim())) missing.push(`${at}: ${JSON.stringify(text)}`);
    }
  }
  assertEquals(missing, []);
  assert(found > 150, `only ${found} messages were found`);
  const unused = Object.entries(INTERNAL).flatMap(([path, texts]) =>
    Object.keys(texts).map((text) => `${path}: ${text}`)
  ).filter((text) => !used.has(text));
  assertEquals(unused, []);
});

test("a message that the page lacks is found in the sources, however it is written", () => {
  const { sites } = messagesOf(
    "queue/x.ts",
    `throw new RangeError(n > 1 ? \`Cannot x: \${n} is\` + " too large" : text());
     function text() { return "Cannot y"; }
     throw new Unsendable("it is old", "make another");
     const Class = n ? RangeError : TypeError; throw new Class("Cannot z");
     const problem = { reason: "it is new", mend: (fn) => \`use \${fn}\` };
     new DOMException("Cannot w", "AbortError"); new Map([]); new Error();`,
  );
  assertEquals(sites.map((site) => `${site.className}: ${site.template.replaceAll(HOLE, "…")}`), [
    "RangeError: Cannot x: … is too large",
    "RangeError: Cannot y",
    "EncodingError: Cannot …: it is old; make another",
    "RangeError: Cannot z",
    "TypeError: Cannot z",
    "TargetError: Cannot send …: it is new; use …",
    "AbortError: Cannot w",
  ]);
  const { prose } = messagesOf(
    "queue/x.ts",
    'import "a b c d"; console.error(`it is ${a} no good at all`);',
  );
  assertEquals(prose.map(({ text }) => text), [" no good at all"]);
});

test("templates meet when some text is of both", () => {
  assert(meet(`a${HOLE}d`, "abcd"));
  assert(meet(`a${HOLE}c`, `${HOLE}bc`));
  assert(meet(HOLE, ""));
  assertFalse(meet(`a${HOLE}d`, "abc"));
  assertFalse(meet(`a${HOLE}`, `b${HOLE}`));
});
