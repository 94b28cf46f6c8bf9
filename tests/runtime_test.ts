/** The contract of runtime/, on the adapter of whichever runtime runs this file. */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { deadline } from "@std/async";
import type { Inside, NativeWorker } from "../runtime/mod.ts";
import type { Transferable } from "../runtime/port.ts";
import { openChannel, type Port, receive, runtime } from "../runtime/mod.ts";
import { detectRuntime, type RuntimeGlobals } from "../runtime/detect.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** What `words` are for: the worker tells by them what it does. */
const CODE = 0;
const STARTED = 1;
const NEVER = 2;

/** What every worker of this file gets. */
interface Message {
  words: Int32Array;
  extra: unknown;
}

type Act = (message: Message, inside: Inside) => void;

/** Runs before `Act` in each worker, as memory/boot.ts does. Self-contained: it travels as text. */
function prepare({ words }: Message, inside: Inside): void {
  inside.onExit((code) => Atomics.compareExchange(words, 0, -1, code));
  inside.onUncaught(() => inside.exit(1));
}

interface Started {
  native: NativeWorker;
  words: Int32Array;
  /** What the runtime reports. */
  ended: Promise<{ code: number; error: unknown }>;
}

/** Starts a worker that runs `act`. */
function start(act: Act, extra?: unknown, transfer?: Transferable[]): Started {
  const boot = `(message, inside) => { (${prepare})(message, inside); (${act})(message, inside); }`;
  return startEntry(runtime.entryText(boot), extra, transfer);
}

/** Starts a worker with this text as its entry. */
function startEntry(entry: string, extra?: unknown, transfer: Transferable[] = []): Started {
  const words = new Int32Array(new SharedArrayBuffer(12));
  words[CODE] = -1;
  const { promise, resolve } = Promise.withResolvers<{ code: number; error: unknown }>();
  const onExit = (code: number, error: unknown) => resolve({ code, error });
  const native = runtime.startWorker({ entry, message: { words, extra }, transfer, onExit });
  return { native, words, ended: deadline(promise, DEADLINE) };
}

/** Waits until the worker says that it has started. */
async function untilStarted({ words }: Started): Promise<void> {
  const wait = Atomics.waitAsync(words, STARTED, 0);
  // A pending waitAsync does not keep the loop alive; the deadline's timer does.
  if (wait.async) await deadline(wait.value, DEADLINE);
}

/** Runs a program of fixtures/runtime to its end. */
async function run(program: string): Promise<string> {
  const path = join(ROOT, "tests/fixtures/runtime", program);
  const { output, timedOut, code } = await capture([...current().command, path], DEADLINE);
  assert(!timedOut, `${program} did not end; it has printed: ${output}`);
  assertEquals(code, 0, output);
  return output.trim();
}

// -- Which runtime

test("detectRuntime() tells the three runtimes by their globals", () => {
  const process = { versions: { node: "24.21.0" } };
  assertEquals(detectRuntime({ process }), "node");
  assertEquals(detectRuntime({ process, Bun: { version: "1.4.5" } }), "bun");
  assertEquals(detectRuntime({ process, Deno: { version: { deno: "2.9.5" } } }), "deno");
  assertEquals(detectRuntime(), runtime.name);
});

test("detectRuntime() refuses whatever is none of the three, and names them", () => {
  const unknown: RuntimeGlobals[] = [{}, { process: {} }, { process: { versions: {} } }];
  // A page whose bundler or whose other scripts have left such a name.
  unknown.push({ Deno: {} }, { Bun: {} });
  for (const globals of unknown) {
    const { message } = assertThrows(() => detectRuntime(globals), Error);
    assertMatch(message, /^Cannot load @multiprocessing\/core: .*none of Deno, Bun and Node/);
  }
});

test("runtime.version and name are those of the runtime under test", () => {
  assertEquals(runtime.version, current().version);
  assertEquals(runtime.name, current().name.replace("22", ""));
});

test("runtime.cpuCount() is a whole number of at least 1", () => {
  assert(Number.isInteger(runtime.cpuCount()));
  assertGreater(runtime.cpuCount(), 0);
});

// -- Every way out

const WAYS_OUT: Record<string, number> = {
  "return": 0,
  "natural end": 0,
  "throw": 1,
  "throw in a timer": 1,
  "throw in a listener": 1,
  "unhandled rejection": 1,
  "late unhandled rejection": 1,
  "throw undefined": 1,
  "inside.exit": 0,
  "process.exit": 7,
  "process.exit in a promise": 7,
  "process.exitCode": 9,
  ...(runtime.name === "deno" ? { "Deno.exit": 8 } : {}),
  "close": 0,
};

let waysOut: Promise<string> | undefined;

for (const [way, code] of Object.entries(WAYS_OUT)) {
  test(`startWorker() and the worker's own exit listener report ${way} with ${code}`, async () => {
    const lines = (await (waysOut ??= run("ways_out.ts"))).split("\n");
    assertEquals(lines.filter((line) => line.startsWith(`${way}: `)), [`${way}: ${code}, ${code}`]);
  });
}

test("startWorker() hands over the error of a worker that has no handler for it", async () => {
  const worker = startEntry(runtime.entryText(`() => { throw new TypeError("no handler"); }`));
  const { code, error } = await worker.ended;
  assertEquals(code, 1);
  assertStringIncludes(String(error), "no handler");
});

test("startWorker() reports an entry that does not compile", async () => {
  const { code, error } = await startEntry("this is no module").ended;
  assertEquals(code, 1);
  assert(error !== undefined);
});

test("startWorker() throws at once, and starts nothing, if the message cannot be cloned", () => {
  const entry = runtime.entryText("() => {}");
  assertThrows(() => runtime.startWorker({ entry, message: () => {}, transfer: [], onExit() {} }));
});

// -- Stopping

test("terminate() while the worker is loading ends it", async () => {
  const worker = start(({ words }) => {
    words[2] = 1;
    setInterval(() => {}, 1000);
  });
  worker.native.terminate();
  await worker.ended;
});

test("terminate() of an idle worker ends it, and no exit listener of it runs", async () => {
  const worker = start(({ words }) => {
    setInterval(() => {}, 1000);
    Atomics.store(words, 1, 1);
    Atomics.notify(words, 1);
  });
  await untilStarted(worker);
  worker.native.terminate();
  await worker.ended;
  assertEquals(Atomics.load(worker.words, CODE), -1);
});

test("terminate() of a worker that is blocked in Atomics.wait() ends it", async () => {
  const worker = start(({ words }) => {
    Atomics.store(words, 1, 1);
    Atomics.notify(words, 1);
    Atomics.wait(words, 2, 0);
    words[0] = 99;
  });
  await untilStarted(worker);
  worker.native.terminate();
  await worker.ended;
  // On Deno the thread is only parked: if woken, it goes on. See docs/runtimes.md.
  if (runtime.name === "deno") return;
  assertEquals(Atomics.notify(worker.words, NEVER), 0);
  assertEquals(Atomics.load(worker.words, CODE), -1);
});

test("terminate() of a worker that is blocked for ever lets the program end", async () => {
  assertEquals(await run("blocked.ts"), "blocked\nended");
});

test("terminate() after the end, and twice, is harmless; the end is reported once", async () => {
  let reports = 0;
  const ended = Promise.withResolvers<void>();
  const native = runtime.startWorker({
    entry: runtime.entryText("() => {}"),
    message: null,
    transfer: [],
    onExit() {
      reports++;
      ended.resolve();
    },
  });
  await deadline(ended.promise, DEADLINE);
  native.terminate();
  native.terminate();
  // Another worker's life is time enough for a second report to come.
  await start(() => {}).ended;
  assertEquals(reports, 1);
});

test("terminate() of a busy loop reports the end, and the program ends within 3 s", async () => {
  const output = await run("busy.ts");
  const [, terminated] = /^looping\nterminated at (\d+)\nended$/.exec(output) ?? [];
  assertLess(Date.now() - Number(terminated), 3000, output);
});

// -- Keeping the program

test("startWorker() keeps the program alive until the worker has ended", async () => {
  assertEquals(await run("kept.ts"), "main is done\nworker has ended");
});

test("unref() lets the program end while the worker lives", async () => {
  assertEquals(await run("unref.ts"), "main is done");
});

test("ref() after unref() keeps the program alive again", async () => {
  assertEquals(await run("ref.ts"), "main is done\nworker has ended");
});

test("startWorker() fifty times in a row: all end, and nothing of them keeps the program", async () => {
  assertEquals(await run("fifty.ts"), "50 ended with 0");
});

test("startWorker() starts the worker while this thread goes on to block", async () => {
  const worker = start(({ words }) => {
    Atomics.store(words, 1, 1);
    Atomics.notify(words, 1);
  });
  assertNotEquals(Atomics.wait(worker.words, STARTED, 0, DEADLINE), "timed-out");
  await worker.ended;
});

test("hold() keeps the program alive for a pending Atomics.waitAsync() until release()", async () => {
  assertEquals(await run("hold.ts"), "main is done\nwoken\nreleased");
});

test("Atomics.waitAsync() alone lets the program end, as does hold() that has been released", async () => {
  assertEquals(await run("no_hold.ts"), "main is done");
});

test("yieldLoop() lets a rejection be reported at once, not when something else wakes the loop", async () => {
  const output = await run("left_rejection.ts");
  const [, late] = /^20 left, 20 reported, (\d+) late$/.exec(output) ?? [];
  // Where a timer falls due before the loop has come round, a busy machine makes it look late.
  assertLess(Number(late), 10, output);
});

// -- Inside

test("inside.importModule() imports a module by its URL", async () => {
  const url = new URL("../runtime/detect.ts", import.meta.url).href;
  const worker = start(async ({ words, extra }, inside) => {
    const { detectRuntime } = await inside.importModule(extra as string);
    words[2] = (detectRuntime as () => string)().length;
  }, url);
  assertEquals((await worker.ended).code, 0);
  assertEquals(worker.words[NEVER], runtime.name.length);
});

test("inside.importModule() rejects in the worker if there is no such module", async () => {
  const worker = start((_, inside) => {
    inside.importModule("file:///no/such/module.ts").catch(() => inside.exit(3));
  });
  assertEquals((await worker.ended).code, 3);
});

test("inside.exit() lets no statement after it run in another turn of the loop", async () => {
  const worker = start(({ words }, inside) => {
    setTimeout(() => words[2] = 1, 0);
    queueMicrotask(() => setTimeout(() => words[2] = 1, 0));
    inside.exit(4);
  });
  assertEquals((await worker.ended).code, 4);
  assertEquals(worker.words[NEVER], 0);
});

// -- Channels

const PORT_MODULE = new URL("../runtime/port.ts", import.meta.url).href;

/** Opens a channel whose other end goes to a worker that runs `act` with it. */
function startWithPort(act: Act): { worker: Started; port: Port } {
  const [port, raw] = openChannel();
  const worker = start(act, { raw, module: PORT_MODULE }, [raw]);
  return { worker, port };
}

test("receive() takes messages in order while this thread blocks", async () => {
  const { worker, port } = startWithPort(async ({ words, extra }, inside) => {
    const { raw, module } = extra as { raw: unknown; module: string };
    const { wrapPort } = await inside.importModule(module) as unknown as {
      wrapPort(raw: unknown): Port;
    };
    const port = wrapPort(raw);
    for (let i = 0; i < 3; i++) port.post({ i });
    Atomics.store(words, 1, 1);
    Atomics.notify(words, 1);
    Atomics.wait(words, 2, 0, 20_000);
  });
  assertNotEquals(Atomics.wait(worker.words, STARTED, 0, DEADLINE), "timed-out");
  for (let i = 0; i < 3; i++) assertEquals(receive(port), { message: { i } });
  assertEquals(receive(port), undefined);
  Atomics.store(worker.words, NEVER, 1);
  Atomics.notify(worker.words, NEVER);
  await worker.ended;
  port.close();
});

test("Port.listen() hears what was posted before and after it, and answers cross back", async () => {
  const { worker, port } = startWithPort(async ({ extra }, inside) => {
    const { raw, module } = extra as { raw: unknown; module: string };
    const { wrapPort } = await inside.importModule(module) as unknown as {
      wrapPort(raw: unknown): Port;
    };
    const port = wrapPort(raw);
    const keeper = setInterval(() => {}, 1000);
    port.listen((message) => {
      port.post((message as number) * 2);
      if (message === 3) clearInterval(keeper);
    });
  });
  const answers: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  port.post(1);
  port.listen((message) => {
    answers.push(message);
    if (message === 6) resolve();
  });
  port.post(2);
  port.post(3);
  await deadline(promise, DEADLINE);
  assertEquals(answers, [2, 4, 6]);
  await worker.ended;
  port.close();
});

test("Port.post() moves what it is told to, and ports through ports", async () => {
  const { worker, port } = startWithPort(async ({ extra }, inside) => {
    const { raw, module } = extra as { raw: unknown; module: string };
    const { wrapPort } = await inside.importModule(module) as unknown as {
      wrapPort(raw: unknown): Port;
    };
    const port = wrapPort(raw);
    const keeper = setInterval(() => {}, 1000);
    port.listen((message) => {
      wrapPort(message).post("through the second channel");
      clearInterval(keeper);
    });
  });
  const [second, secondRaw] = openChannel();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  second.listen(resolve);
  port.post(secondRaw, [secondRaw]);
  assertEquals(await deadline(promise, DEADLINE), "through the second channel");
  const bytes = new Uint8Array(8);
  port.post(bytes, [bytes.buffer]);
  assertEquals(bytes.byteLength, 0);
  await worker.ended;
  second.close();
  port.close();
});

test("Port.listen() keeps neither the program nor a worker alive", async () => {
  assertEquals(await run("listen.ts"), "main is done\nworker has ended");
});
