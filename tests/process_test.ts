/** Process: its whole life, seen from outside and from within. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { isAlive } from "../memory/control.ts";
import { ClosedError, EncodingError, ProcessError, TargetError } from "../errors.ts";
import {
  activeChildren,
  cpuCount,
  currentProcess,
  isMainProcess,
  parentProcess,
  Process,
  type ProcessOptions,
} from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event, Lock } from "../sync.ts";
import { closure, transfer } from "../target.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { ask, isPending, run, SOON, soon, start, until } from "./fixtures/processes.ts";

declare const process: { exit(code: number): never; on(event: string, fn: () => void): void };

const forever = () => new Promise(() => setInterval(() => {}, 1000));

async function joined<P extends Process>(child: P): Promise<P> {
  assert(await child.join({ timeout: SOON }), "the process does not end");
  return child;
}

/** Runs a program of fixtures/process to its end. */
async function program(name: string, flags: string[] = []): Promise<string> {
  const path = join(ROOT, "tests/fixtures/process", name);
  const { code, output, timedOut } = await capture([...current().command, ...flags, path], SOON);
  assertFalse(timedOut, `${name} did not end; it has printed: ${output}`);
  assertEquals(code, 0, output);
  return output;
}

// -- Life

test("Process lives from start() to the end of its target", async () => {
  const go = new Event();
  const seen = new Queue<unknown[]>();
  const child = new Process({
    name: "liver",
    target: closure((...args: unknown[]) => {
      const { name, pid, daemon } = currentProcess();
      seen.putSync([name, pid, daemon, args]);
      go.waitSync();
    }, { go, seen, currentProcess }),
    args: [1, "two", [3], { four: 4 }],
  });
  assertEquals([child.pid, child.exitCode, child.isAlive()], [null, null, false]);
  assertFalse(activeChildren().includes(child));
  assertEquals(child.start(), undefined);
  assert(child.isAlive());
  assertEquals(child.exitCode, null);
  assert(activeChildren().includes(child));
  const { pid } = child;
  assert(typeof pid === "number" && pid > 1);
  assertEquals(await seen.get({ timeout: SOON }), [
    "liver",
    pid,
    false,
    [1, "two", [3], { four: 4 }],
  ]);
  assertEquals(await child.join({ timeout: 0 }), false);
  go.set();
  assertEquals(await child.join(), true);
  assertEquals([child.pid, child.exitCode, child.isAlive()], [pid, 0, false]);
  assertFalse(activeChildren().includes(child));
  assertEquals(await child.exited, 0);
});

test("Process runs a plain function, an async one, and one without arguments", async () => {
  const children: Process[] = [
    new Process({ target: () => {} }),
    new Process({ target: async (n: number) => await Promise.resolve(n), args: [1] }),
    new Process({
      target(a: string, b: unknown[]) {
        if (a !== "x" || b.length !== 2) throw new Error("wrong arguments");
      },
      args: ["x", [1, 2]],
    }),
  ];
  for (const child of children) child.start();
  for (const child of children) assertEquals((await joined(child)).exitCode, 0);
});

test("Process runs a plain function with a shareable among its arguments", async () => {
  const event = new Event();
  const child = new Process({ target: (event: Event) => event.set(), args: [event] });
  child.start();
  await joined(child);
  assertEquals([child.exitCode, event.isSet()], [0, true]);
});

test("Process.start() is for once: ProcessError, alive or ended", async () => {
  const child = new Process({ target: () => {} });
  child.start();
  const { pid } = child;
  const error = assertThrows(() => child.start(), ProcessError);
  assertMatch(error.message, new RegExp(`^Cannot start ${child.name}: .*started before`));
  await joined(child);
  assertThrows(() => child.start(), ProcessError);
  assertEquals([child.pid, child.exitCode], [pid, 0]);
});

test("Process that was not started refuses what needs a start, with ProcessError", async () => {
  const child = new Process({ target: () => {} });
  await assertRejects(() => child.join(), ProcessError, "was not started");
  await assertRejects(() => child.join({ timeout: 0 }), ProcessError);
  assertThrows(() => child.joinSync(), ProcessError, "was not started");
  assertThrows(() => child.terminate(), ProcessError, "was not started");
  assertThrows(() => child.kill(), ProcessError, "was not started");
  assertThrows(() => child.interrupt(), ProcessError, "was not started");
  assertEquals([child.pid, child.exitCode, child.isAlive()], [null, null, false]);
  assert(await isPending(child.exited, 5));
});

test("Process runs beside its parent, with globals of its own", async () => {
  const [mine, theirs] = [new Value("i32", 0), new Value("i32", 0)];
  const globals = globalThis as { generation?: string };
  globals.generation = "parent";
  const child = start(() => {
    const globals = globalThis as { generation?: string };
    const own = globals.generation === undefined;
    globals.generation = "child";
    theirs.value = own ? 1 : 2;
    const end = Date.now() + 15_000;
    while (mine.value === 0 && Date.now() < end);
    if (mine.value === 0) throw new Error("the parent does not run");
  }, { mine, theirs });
  // Lets it be started; from then on, both threads are busy until each has seen the other.
  await until(() => theirs.value !== 0);
  mine.value = 1;
  await joined(child);
  assertEquals([child.exitCode, theirs.value, globals.generation], [0, 1, "parent"]);
  delete globals.generation;
});

test("Process.pid is never used twice", async () => {
  const children = Array.from({ length: 4 }, () => new Process({ target: () => {} }));
  for (const child of children) child.start();
  const later = new Process({ target: () => {} });
  await Promise.all(children.map(joined));
  later.start();
  await joined(later);
  const pids = [...children, later].map((child) => child.pid!);
  assertEquals(new Set(pids).size, 5);
  assertEquals(pids, [...pids].sort((a, b) => a - b));
  assertGreater(pids[0]!, currentProcess().pid);
});

test("Process that dies between marking its end and waking who waits for it is heard of", async () => {
  const process = start(() => {
    Atomics.notify = () => 0;
  });
  assert(await process.join({ timeout: SOON }));
  assertEquals(process.exitCode, 0);
});

test("Process runs thirty times at once", async () => {
  const sum = new Value("i32", 0);
  const children = Array.from({ length: 30 }, (_, i) => {
    const child = new Process({
      target: closure((n: number) => void sum.add(n), { sum }),
      args: [i],
    });
    child.start();
    return child;
  });
  assertEquals(await soon(Promise.all(children.map((child) => child.exited))), Array(30).fill(0));
  assertEquals(sum.value, 435);
  assertEquals(activeChildren(), []);
});

test("Process starts children, and they theirs, in a tree: all report, each with its place", async () => {
  const places = new Queue<number[]>();
  const scope = { Process, closure, places };
  const target = closure(function grow(place: number[]) {
    places.putSync(place);
    if (place.length === 2) return;
    for (const i of [0, 1]) {
      const target = closure(grow, { Process, closure, places });
      const child = new Process({ target, args: [[...place, i]] });
      child.start();
      child.joinSync();
    }
  }, scope);
  const root = new Process({ target, args: [[]] });
  root.start();
  await joined(root);
  assertEquals(root.exitCode, 0);
  const seen: number[][] = [];
  while (!places.empty()) seen.push(places.getNowait());
  assertEquals(seen, [[], [0], [0, 0], [0, 1], [1], [1, 0], [1, 1]]);
});

// -- Names and daemons

test("Process.name is given, or numbered: Process-7, in a child Process-7:1", async () => {
  const named = new Process({ name: "my own", target: () => {} });
  assertEquals(named.name, "my own");
  const [one, two] = [new Process({ target: () => {} }), new Process({ target: () => {} })];
  const [, number] = /^Process-(\d+)$/.exec(one.name)!;
  assertEquals(two.name, `Process-${Number(number) + 1}`);
  const { child, result } = ask(
    () => {
      const target = () => {};
      return [
        new Process({ target }).name,
        new Process({ target, name: "x" }).name,
        new Process({ target }).name,
      ];
    },
    { Process },
  );
  assertEquals(await result, [`${child.name}:1`, "x", `${child.name}:3`]);
});

test("Process.daemon is false at first, settable until the start, and then refused", async () => {
  const child = new Process({ target: () => {} });
  assertEquals(child.daemon, false);
  child.daemon = true;
  assertEquals(child.daemon, true);
  child.daemon = false;
  assertEquals(new Process({ target: () => {}, daemon: true }).daemon, true);
  child.start();
  assertThrows(() => child.daemon = true, ProcessError, "has been started");
  await joined(child);
  assertThrows(() => child.daemon = true, ProcessError);
  assertEquals(child.daemon, false);
});

test("Process.daemon is the creator's: a daemon makes daemons, and may start none", async () => {
  const said = new Queue<unknown[]>();
  const child = start(
    () => {
      const refused = (daemon?: boolean) => {
        const target = () => {};
        const child = daemon === undefined
          ? new Process({ target })
          : new Process({ target, daemon });
        try {
          child.start();
          return "started";
        } catch (error) {
          return [child.daemon, (error as Error).name, child.pid];
        }
      };
      said.putSync([currentProcess().daemon, refused(), refused(false), refused(true)]);
    },
    { Process, currentProcess, said },
    { daemon: true },
  );
  await joined(child);
  assertEquals(await said.get({ timeout: SOON }), [
    true,
    [true, "ProcessError", null],
    [false, "ProcessError", null],
    [true, "ProcessError", null],
  ]);
});

test("currentProcess() and parentProcess() tell who is who, to the third generation", async () => {
  assertEquals(isMainProcess(), true);
  assertEquals(parentProcess(), null);
  const main = currentProcess();
  assertEquals([main.name, main.pid, main.daemon], ["MainProcess", 1, false]);
  assertFalse(main.signal.aborted);
  assertStrictEquals(main.signal, currentProcess().signal);
  const generations = new Queue<unknown[]>();
  const child = new Process({
    name: "g1",
    target: closure(function descend(depth: number) {
      const { name, pid } = currentProcess();
      const parent = parentProcess()!;
      generations.putSync([
        [name, pid],
        [parent.name, parent.pid, parent.isAlive()],
        isMainProcess(),
        activeChildren().length,
      ]);
      if (depth === 3) return;
      const next = new Process({
        name: `g${depth + 1}`,
        target: closure(descend, {
          Process,
          activeChildren,
          closure,
          currentProcess,
          generations,
          isMainProcess,
          parentProcess,
        }),
        args: [depth + 1],
      });
      next.start();
      next.joinSync();
      if (next.exitCode !== 0) throw new Error(`exit code ${next.exitCode}`);
    }, {
      Process,
      activeChildren,
      closure,
      currentProcess,
      generations,
      isMainProcess,
      parentProcess,
    }),
    args: [1],
  });
  child.start();
  await joined(child);
  assertEquals(child.exitCode, 0);
  const rows = [];
  for (let i = 0; i < 3; i++) rows.push(await generations.get({ timeout: SOON }));
  const pids = rows.map(([me]) => (me as [string, number])[1]);
  assertEquals(pids[0], child.pid);
  assertEquals(rows, [
    [["g1", pids[0]], ["MainProcess", 1, true], false, 0],
    [["g2", pids[1]], ["g1", pids[0], true], false, 0],
    [["g3", pids[2]], ["g2", pids[1], true], false, 0],
  ]);
});

test("cpuCount() is a whole number, at least 1, and the same in a child", async () => {
  assert(Number.isInteger(cpuCount()) && cpuCount() >= 1);
  assertEquals(await run(() => cpuCount(), { cpuCount }), cpuCount());
});

// -- join

test("Process.join() gives true as often as asked, from anywhere", async () => {
  const child = start(() => {});
  const all = [child.join(), child.join({ timeout: SOON }), child.join()];
  assertEquals(await Promise.all(all), [true, true, true]);
  assertEquals(await child.join({ timeout: 0 }), true);
  assertEquals(await child.join({ timeout: -1 }), true);
  assertEquals(child.joinSync(), true);
  assertEquals(child.joinSync({ timeout: 0 }), true);
});

test("Process.join() gives false when its timeout is over", async () => {
  const child = start(forever);
  for (const timeout of [0, -1, -Infinity, 20]) {
    assertEquals(await child.join({ timeout }), false);
    assertEquals(child.joinSync({ timeout }), false);
  }
  const began = performance.now();
  await child.join({ timeout: 40 });
  assertGreaterOrEqual(performance.now() - began, 38);
  assert(child.isAlive());
  child.terminate();
  await joined(child);
});

test("Process.join() refuses NaN, and a timeout that is no number", async () => {
  const child = start(() => {});
  const text = { timeout: "1" as unknown as number };
  for (const when of ["alive or not", "ended"]) {
    await assertRejects(() => child.join({ timeout: NaN }), RangeError, "NaN", when);
    assertThrows(() => child.joinSync({ timeout: NaN }), RangeError, "NaN");
    await assertRejects(() => child.join(text), TypeError, "'timeout'");
    assertThrows(() => child.joinSync(text), TypeError, "'timeout'");
    await joined(child);
  }
});

test("Process.join() heeds a signal, before and while it waits; the process goes on", async () => {
  const child = start(forever);
  const reason = new Error("never mind");
  const before = () => child.join({ signal: AbortSignal.abort(reason) });
  assertStrictEquals(await assertRejects(before), reason);
  const controller = new AbortController();
  const waiting = child.join({ signal: controller.signal });
  assert(await isPending(waiting));
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
  assert(child.isAlive());
  const other = child.join();
  child.terminate();
  assertEquals(await soon(other), true);
});

test("Process.join() that is given up holds nothing: the program lives by its later waits only", async () => {
  const output = await program("join_timeout.ts");
  assertEquals(output.trim().split("\n"), ["join: false", "TimeoutError", "abandoned: false"]);
});

test("Process.joinSync() waits here, and in a child for its own", async () => {
  const child = start(() => new Promise((resolve) => setTimeout(resolve, 50)));
  assertEquals(child.joinSync(), true);
  assertEquals([child.exitCode, child.isAlive()], [0, false]);
  const seen = await run(() => {
    const child = new Process({ target: () => process.exit(6) });
    child.start();
    const early = child.joinSync({ timeout: 0 });
    return [early, child.joinSync({ timeout: 15_000 }), child.exitCode, child.isAlive()];
  }, { Process });
  assertEquals(seen.slice(1), [true, 6, false]);
});

test("Process.joinSync() lets the child start children of its own meanwhile", async () => {
  const child = start(() => {
    const child = new Process({ target: () => process.exit(9) });
    child.start();
    child.joinSync();
    process.exit(child.exitCode!);
  }, { Process });
  assertEquals(child.joinSync({ timeout: SOON }), true);
  assertEquals(child.exitCode, 9);
  await joined(child);
});

test("Process.join() and joinSync() agree on who has ended", async () => {
  const child = start(() => {});
  assertEquals(child.joinSync({ timeout: SOON }), true);
  assertEquals(await child.join({ timeout: 0 }), true);
  const other = start(forever);
  other.terminate();
  assertFalse(other.isAlive());
  assertEquals(await other.join({ timeout: 0 }), true);
  await joined(other);
});

test("Process.exited resolves with the exit code and never rejects", async () => {
  const codes = await soon(Promise.all([
    start(() => {}).exited,
    start(() => process.exit(7)).exited,
    start(() => Promise.reject(new Error("rejected on purpose"))).exited,
  ]));
  assertEquals(codes, [0, 7, 1]);
});

test("Process[Symbol.asyncDispose]() joins, and is harmless before the start and after close()", async () => {
  const child = new Process({ target: () => {} });
  await child[Symbol.asyncDispose]();
  child.start();
  await soon(child[Symbol.asyncDispose]());
  assertEquals(child.exitCode, 0);
  await child[Symbol.asyncDispose]();
  child.close();
  await child[Symbol.asyncDispose]();
});

// -- How it ends

test("Process.exitCode tells how it ended: 0, n, 1, -15, -9", async () => {
  const ways: [number, Process<[]>][] = [
    [0, start(() => "ignored")],
    [0, start(() => process.exit(0))],
    [11, start(() => process.exit(11))],
    [255, start(() => process.exit(255))],
    [
      1,
      start(() => {
        throw new Error("thrown on purpose");
      }),
    ],
    [-15, start(forever)],
    [-9, start(forever)],
  ];
  ways[5]![1].terminate();
  ways[6]![1].kill();
  for (const [code, child] of ways) assertEquals((await joined(child)).exitCode, code);
  for (const [code, child] of ways) {
    child.terminate();
    child.kill();
    child.interrupt();
    assertEquals(child.exitCode, code);
  }
});

test("Process writes its uncaught error to stderr with name, pid and the worker's stack", async () => {
  const output = await program("uncaught.ts");
  assertMatch(output, /Uncaught error in thrower \(pid 2\)/);
  assertMatch(output, /RangeError: the bomb went off/);
  assertMatch(output, /at detonate\b/);
  assertMatch(output, /^exit code 1$/m);
});

test("Process shows with its uncaught error where it was made, and not what called its target", async () => {
  const output = await program("uncaught_where.ts");
  const lines = readFileSync(join(ROOT, "tests/fixtures/process/uncaught_where.ts"), "utf8").split(
    "\n",
  );
  const reports = output.split("Uncaught error in ").slice(1);
  assertEquals(reports.map((report) => report.split(" ")[0]), ["plain", "loaded", "inner"]);
  for (const report of reports) {
    const [name] = report.split(" ");
    assertStringIncludes(report, `RangeError: ${name} failed`);
    const made = lines.findIndex((line) => line.endsWith(`// MADE ${name}`)) + 1;
    if (made > 0) assertStringIncludes(report, `uncaught_where.ts:${made}:`);
    assertFalse(/wire[/\\]work\.|[/\\]process\.ts:/.test(report), report);
  }
});

for (const stop of ["terminate", "kill"] as const) {
  const code = stop === "kill" ? -9 : -15;

  test(`Process.${stop}() ends what waits, blocks, loops, or is only just starting`, async () => {
    const lock = new Lock();
    const guard = lock.acquireSync();
    const ready = new Value("i32", 0);
    const scope = { lock, ready };
    const children = [
      start(async () => {
        ready.add(1);
        await lock.acquire();
      }, scope),
      start(() => {
        ready.add(1);
        lock.acquireSync();
      }, scope),
      start(() => {
        ready.add(1);
        // Not for ever: Deno cannot stop it.
        const end = Date.now() + 2_000;
        while (Date.now() < end);
      }, scope),
    ];
    await until(() => ready.value === 3);
    children.push(start(() => void ready.add(1), scope));
    for (const child of children) {
      child[stop]();
      assertEquals([child.isAlive(), child.exitCode], [false, code]);
      child[stop]();
    }
    assertEquals(activeChildren(), []);
    const began = performance.now();
    for (const child of children) assertEquals((await joined(child)).exitCode, code);
    assertLess(performance.now() - began, 8_000);
    assert(lock.locked());
    guard.release();
    lock.acquireSync({ timeout: 2_500 }).release();
  });
}

test("Process.terminate() and kill() end ten that sleep, each with its code", async () => {
  const children = Array.from({ length: 10 }, () => start(forever));
  children.forEach((child, i) => i % 2 === 0 ? child.terminate() : child.kill());
  for (const child of children) await joined(child);
  assertEquals(children.map((child) => child.exitCode), Array(5).fill([-15, -9]).flat());
  assertEquals(activeChildren(), []);
});

test("Process ends as ever though its target has broken the console and the streams", async () => {
  const lines = (await program("broken_streams.ts")).split("\n");
  assertEquals(lines.filter((line) => /^[a-z, ]+: \d+$/.test(line)), [
    "no console: 0",
    "no console, throws: 1",
    "a console that throws, throws: 1",
    "streams ended: 0",
    "streams destroyed, throws: 1",
  ]);
});

test("Process that was terminated while it waited uses no CPU, and says nothing", async () => {
  const output = (await program("cpu_after_terminate.ts")).trim();
  const [, cpu] = /^(\d+) ms of CPU$/.exec(output) ?? [];
  assert(cpu !== undefined, output);
  assertLess(Number(cpu), 200);
});

test("Process.terminate() in a child ends its own child", async () => {
  const held = new Event();
  const lock = new Lock();
  const seen = await run(async () => {
    const target = closure(async () => {
      lock.acquireSync();
      held.set();
      await new Promise(() => setInterval(() => {}, 1000));
    }, { lock, held });
    const child = new Process({ target });
    child.start();
    held.waitSync();
    child.terminate();
    const { abandoned } = lock.acquireSync({ timeout: 15_000 });
    const joined = await child.join({ timeout: 15_000 });
    return [abandoned, joined, child.exitCode];
  }, { Process, closure, held, lock });
  assertEquals(seen, [true, true, -15]);
});

test("Process runs the exit listeners that its target has set", async () => {
  const cells = new Int32Array(new SharedArrayBuffer(8));
  const child = start(() => {
    process.on("exit", () => void Atomics.store(cells, 0, 1));
    process.on("exit", () => void Atomics.store(cells, 1, 2));
  }, { cells });
  await joined(child);
  assertEquals([child.exitCode, ...cells], [0, 1, 2]);
});

// -- interrupt

test("Process.interrupt() aborts the signal of currentProcess(), and nothing else", async () => {
  const [ready, aborted] = [new Event(), new Event()];
  const said = new Queue<unknown[]>();
  const child = start(async () => {
    const { signal } = currentProcess();
    const before = signal.aborted;
    signal.addEventListener("abort", () => aborted.set());
    ready.set();
    await aborted.wait();
    await said.put([
      before,
      signal.aborted,
      signal.reason.name,
      currentProcess().signal === signal,
    ]);
  }, { ready, aborted, said, currentProcess });
  await ready.wait({ timeout: SOON });
  child.interrupt();
  child.interrupt();
  await joined(child);
  assertEquals(await said.get(), [false, true, "AbortError", true]);
  assertEquals(child.exitCode, 0);
  assertFalse(currentProcess().signal.aborted);
});

test("Process.interrupt() ends a wait that was given the signal", async () => {
  const ready = new Event();
  const { child, result } = ask(async () => {
    const waiting = new Event().wait({ signal: currentProcess().signal });
    ready.set();
    return await waiting.catch((error) => error.name);
  }, { Event, ready, currentProcess });
  await ready.wait({ timeout: SOON });
  child.interrupt();
  assertEquals(await result, "AbortError");
});

test("Process.interrupt() ends a process whose target lets the abort through, with 1", async () => {
  const ready = new Event();
  const child = start(async () => {
    const { signal } = currentProcess();
    const waiting = new Event().wait({ signal });
    ready.set();
    await waiting;
  }, { Event, ready, currentProcess });
  await ready.wait({ timeout: SOON });
  assert(child.isAlive());
  child.interrupt();
  assertEquals((await joined(child)).exitCode, 1);
});

test("Process.interrupt() is seen by a process that looks at the signal only later", async () => {
  const [ready, go] = [new Event(), new Event()];
  const { child, result } = ask(() => {
    ready.set();
    go.waitSync();
    return currentProcess().signal.aborted;
  }, { ready, go, currentProcess });
  await ready.wait({ timeout: SOON });
  child.interrupt();
  go.set();
  assertEquals(await result, true);
});

test("Process.interrupt() right after the start is not lost", async () => {
  const { child, result } = ask(
    () =>
      new Promise((resolve) => {
        const { signal } = currentProcess();
        if (signal.aborted) resolve("aborted");
        else signal.addEventListener("abort", () => resolve("aborted"));
      }),
    { currentProcess },
  );
  child.interrupt();
  assertEquals(await soon(result), "aborted");
});

// -- close

test("Process.close() is refused while alive, and final afterwards", async () => {
  const child = start(forever);
  assertThrows(() => child.close(), ProcessError, "it is alive");
  child.terminate();
  await joined(child);
  assertEquals(child.close(), undefined);
  child.close();
  const uses: (() => unknown)[] = [
    () => child.name,
    () => child.daemon,
    () => child.daemon = true,
    () => child.pid,
    () => child.exitCode,
    () => child.exited,
    () => child.start(),
    () => child.isAlive(),
    () => child.joinSync(),
    () => child.interrupt(),
    () => child.terminate(),
    () => child.kill(),
  ];
  for (const use of uses) assertThrows(use, ClosedError, "it has been closed");
  await assertRejects(() => child.join(), ClosedError);
  assertEquals(activeChildren(), []);
});

test("Process.close() before the start gives the handle up", () => {
  const child = new Process({ target: () => {} });
  child.close();
  assertThrows(() => child.start(), ClosedError);
});

test("activeChildren() goes on after joinSync() and close()", async () => {
  const go = new Event();
  const other = start(() => void go.waitSync(), { go });
  const child = start(() => {});
  child.joinSync();
  child.close();
  try {
    assertEquals(activeChildren(), [other] as unknown as Process[]);
  } finally {
    go.set();
    await joined(other);
  }
});

test("Process ends well after it has joined and closed its children", async () => {
  const child = start(() => {
    const child = new Process({ target: () => {} });
    child.start();
    child.joinSync();
    child.close();
  }, { Process });
  assertEquals((await joined(child)).exitCode, 0);
});

test("activeChildren() is a new array, in order of start, of the living", async () => {
  const go = new Event();
  const children = [1, 2, 3].map(() => start(() => void go.waitSync(), { go }));
  assertEquals(activeChildren(), children as unknown as Process[]);
  assert(Array.isArray(activeChildren()));
  activeChildren().pop();
  assertEquals(activeChildren().length, 3);
  children[1]!.terminate();
  assertEquals(activeChildren(), [children[0], children[2]] as unknown as Process[]);
  go.set();
  await Promise.all(children.map(joined));
  assertEquals(activeChildren(), []);
});

const exposeGc = current().name === "deno" ? "--v8-flags=--expose-gc" : "--expose-gc";

test("Process keeps nothing of its arguments after the start, and is not kept itself after close()", async () => {
  assertEquals((await program("collectable.ts", [exposeGc])).trim().split("\n"), [
    "after the start: process",
    "exit code 0",
    "after close():",
  ]);
});

// -- The program's settings

test("Process runs under the flags of the program, and so do its children", async () => {
  const lines = (await program("flags.ts", [exposeGc])).trim().split("\n");
  assertEquals(lines.map((line) => line.split(":")[0]), ["main", "child", "grandchild"]);
  // Deno tells no program of its V8 flags; Bun does not expose gc() in workers, but knows the flag.
  const seen = current().name === "bun" ? "known true" : "exposed true";
  for (const line of lines) assertMatch(line, new RegExp(seen));
});

test("Process imports by bare and relative names as its parent does, and so does its child", async () => {
  assertEquals((await program("bare_imports.ts")).trim().split("\n"), [
    "grandchild has imported",
    "child has imported",
  ]);
});

// -- Arguments and refusals

test("Process gets its arguments as they are, copied", async () => {
  const loop: Record<string, unknown> = { name: "loop" };
  loop.self = loop;
  const args = [
    ...[undefined, null, true, -0, NaN, 2n ** 70n, "text\u0000ü€😀", ""],
    ...[new Date(0), /a+/gi, new Uint8Array([1, 2, 3]), [[[]]], { deep: { deeper: [1] } }],
    ...[new Map([[{ k: 1 }, new Set([1, "2"])]]), new RangeError("an error"), loop],
  ];
  const echoed = new Queue<unknown[]>();
  const child = new Process({
    target: closure((...args: unknown[]) => echoed.putSync(args), { echoed }),
    args,
  });
  child.start();
  const got = await echoed.get({ timeout: SOON });
  await joined(child);
  assertEquals(got.slice(0, -2), args.slice(0, -2));
  assert(Object.is(got[3], -0));
  const [error, cycle] = got.slice(-2) as [RangeError, typeof loop];
  assertEquals([error.name, error.message, error instanceof RangeError], [
    "RangeError",
    "an error",
    true,
  ]);
  assertStrictEquals(cycle.self, cycle);
});

test("Process copies its arguments at the start, and the parent's stay its own", async () => {
  const list = [1];
  const seen = new Queue<number[]>();
  const child = new Process({
    target: closure((list: number[]) => {
      list.push(99);
      seen.putSync(list);
    }, { seen }),
    args: [list],
  });
  list.push(2);
  child.start();
  list.push(3);
  assertEquals(await seen.get({ timeout: SOON }), [1, 2, 99]);
  assertEquals(list, [1, 2, 3]);
  await joined(child);
});

test("Process objects that were given one array each send what it holds at their start", async () => {
  const args: number[] = [];
  const seen = new Queue<number[]>();
  const target = closure((...args: number[]) => {
    args.push(99);
    seen.putSync(args);
  }, { seen });
  const children = [1, 2].map(() => new Process({ target, args }));
  children.push(new Process({ target }), new Process({ target }));
  for (const child of children) {
    child.start();
    assertEquals(await seen.get({ timeout: SOON }), child === children[1] ? [7, 99] : [99]);
    if (child === children[0]) args.push(7);
    await joined(child);
  }
  assertEquals(args, [7]);
});

test("Process.start() with what cannot be sent throws EncodingError, and may be tried again", async () => {
  const bag: { value: unknown } = { value: () => {} };
  const sum = new Value("i32", 0);
  const child = new Process({
    target: closure((bag: { value: unknown }) => void sum.add(bag.value as number), { sum }),
    args: [bag],
  });
  const error = assertThrows(() => child.start(), EncodingError);
  assertMatch(error.message, /args\[0\]\.value/);
  assertEquals([child.pid, child.exitCode, child.isAlive()], [null, null, false]);
  assertEquals(activeChildren(), []);
  bag.value = 5;
  child.start();
  await joined(child);
  assertEquals([child.exitCode, sum.value], [0, 5]);
});

test("Process moves what 'transfer' lists, and what transfer() wraps", async () => {
  const seen = new Queue<number[]>();
  const target = closure((a: Uint8Array, { b }: { b: ArrayBuffer }) => {
    seen.putSync([a.length, a[0]!, b.byteLength]);
  }, { seen });
  const [a, b] = [new Uint8Array([7, 8, 9]), new ArrayBuffer(16)];
  const listed = new Process({ target, args: [a, { b }], transfer: [a.buffer] });
  assertEquals(a.length, 3);
  listed.start();
  assertEquals([a.length, b.byteLength], [0, 16]);
  assertEquals(await seen.get({ timeout: SOON }), [3, 7, 16]);
  const c = new Uint8Array([5, 6]);
  const wrapped = new Process({ target, args: [c, transfer({ b }, [b])] });
  wrapped.start();
  assertEquals([c.length, b.byteLength], [2, 0]);
  assertEquals(await seen.get({ timeout: SOON }), [2, 5, 16]);
  await Promise.all([listed, wrapped].map(joined));
});

test("new Process() throws TargetError for what cannot be sent, naming what it captures", () => {
  const captured = [3];
  const error = assertThrows(() => new Process({ target: () => captured }), TargetError);
  assertMatch(error.message, /captured/);
  for (const target of [Math.max, class {}, (() => {}).bind(null)]) {
    assertThrows(() => new Process({ target: target as never }), TargetError);
  }
  assertEquals(activeChildren(), []);
});

test("new Process() refuses arguments that are no array", () => {
  for (const args of ["text", {}, 1, new Set([1])]) {
    const options = { target: () => {}, args } as unknown as ProcessOptions<[]>;
    assertThrows(() => new Process(options), TypeError, "'args' must be an array");
  }
});

test("Process may be subclassed: one that serves requests over two queues", async () => {
  class Upcaser extends Process<[Queue<string | null>, Queue<string>]> {
    readonly requests: Queue<string | null>;
    readonly replies: Queue<string>;
    served = 0;

    constructor() {
      const [requests, replies] = [new Queue<string | null>(), new Queue<string>()];
      super({
        name: "upcaser",
        target: (requests, replies) => {
          for (let text = requests.getSync(); text !== null; text = requests.getSync()) {
            replies.putSync(text.toUpperCase());
          }
        },
        args: [requests, replies],
      });
      this.requests = requests;
      this.replies = replies;
    }

    async submit(text: string): Promise<string> {
      await this.requests.put(text);
      const reply = await this.replies.get({ timeout: SOON });
      this.served++;
      return reply;
    }
  }
  const upcaser = new Upcaser();
  upcaser.start();
  assert(upcaser instanceof Process && activeChildren().includes(upcaser as unknown as Process));
  assertEquals([await upcaser.submit("hello"), await upcaser.submit("world")], ["HELLO", "WORLD"]);
  assertEquals([upcaser.name, upcaser.served], ["upcaser", 2]);
  await upcaser.requests.put(null);
  assert(await upcaser.join({ timeout: SOON }));
  assertEquals(upcaser.exitCode, 0);
});

// -- Families

test("Process waits for its children that are no daemons, and ends its daemons", async () => {
  const log = new Queue<string>();
  const [started, returns] = [new Event(), new Event()];
  const child = start(() => {
    const child = new Process({
      target: closure(async () => {
        await returns.wait();
        await new Promise((resolve) => setTimeout(resolve, 100));
        log.putSync("grandchild ends");
      }, { log, returns }),
    });
    child.start();
    const daemon = new Process({
      target: closure(async () => {
        started.set();
        await new Promise((resolve) => setTimeout(resolve, 60_000));
        log.putSync("daemon ends");
      }, { log, started }),
      daemon: true,
    });
    daemon.start();
    started.waitSync();
    log.putSync("child returns");
    returns.set();
  }, { Process, closure, log, returns, started });
  await joined(child);
  assertEquals(child.exitCode, 0);
  assertEquals([log.getSync(), log.getSync(), log.empty()], [
    "child returns",
    "grandchild ends",
    true,
  ]);
});

for (const way of ["terminate", "exit", "throw"] as const) {
  test(`Process that ends by ${way} takes its daemons along, and its other children go on`, async () => {
    const lock = new Lock();
    const [held, go, orphaned] = [new Event(), new Event(), new Event()];
    const results = new Queue<unknown[]>();
    const child = start(async () => {
      const daemon = new Process({
        target: closure(async () => {
          lock.acquireSync();
          held.set();
          await new Promise(() => setInterval(() => {}, 1000));
        }, { lock, held }),
        daemon: true,
      });
      daemon.start();
      const orphan = new Process({
        target: closure(async () => {
          const parent = parentProcess()!;
          const before = [parent.isAlive(), await parent.join({ timeout: 0 })];
          orphaned.set();
          const ended = await parent.join({ timeout: 15_000 });
          go.waitSync();
          results.putSync([...before, ended, parent.isAlive(), await parent.join()]);
        }, { parentProcess, orphaned, go, results }),
      });
      orphan.start();
      held.waitSync();
      orphaned.waitSync();
      if (way === "exit") process.exit(5);
      if (way === "throw") throw new Error("a parent dies on purpose");
      await new Promise(() => setInterval(() => {}, 1000));
    }, { Process, closure, parentProcess, lock, held, orphaned, go, results, way });
    assert(await held.wait({ timeout: SOON }));
    assert(await orphaned.wait({ timeout: SOON }));
    if (way === "terminate") child.terminate();
    await joined(child);
    assertEquals(child.exitCode, { terminate: -15, exit: 5, throw: 1 }[way]);
    const guard = await lock.acquire({ timeout: SOON });
    assert(guard.abandoned, "the daemon has not ended by force");
    go.set();
    assertEquals(await results.get({ timeout: SOON }), [true, false, true, false, true]);
  });
}

test("Process whose parent exits right after the start runs all the same", async () => {
  const ran = new Event();
  const child = start(() => {
    new Process({ target: closure(() => ran.set(), { ran }) }).start();
    process.exit(0);
  }, { Process, closure, ran });
  await joined(child);
  assert(await ran.wait({ timeout: SOON }));
});

test("Process that dies amid the start of another leaves none that seems to live", async () => {
  const taken = new Value("i32", 0, { lock: false });
  const url = import.meta.resolve("../wire/spawn.ts");
  const child = start(async () => {
    const { takePid } = await import(url);
    taken.value = takePid("never started");
    process.exit(3);
  }, { taken, url });
  await joined(child);
  assert(taken.value > 0);
  await until(() => !isAlive(taken.value), "the end of what was not started");
});

test("Process that runs on when it has been terminated starts no other", async () => {
  // No Value: that would be fenced, too.
  const taken = new Int32Array(new SharedArrayBuffer(4));
  const urls = ["../memory/control.ts", "../wire/spawn.ts"].map((path) =>
    import.meta.resolve(path)
  );
  const child = start(async () => {
    const [{ endProcess, ownPid, TERMINATED }, { takePid }] = await Promise.all(
      urls.map((url) => import(url)),
    );
    // As by terminate(), after which a thread of Deno may run on.
    endProcess(ownPid, TERMINATED, false);
    taken[0] = takePid("never started");
  }, { taken, urls });
  await joined(child);
  assertEquals([child.exitCode, taken[0]], [-15, 0]);
});

test("Process may start a closure that it was given", async () => {
  const done = new Event();
  const child = start(() => {
    new Process({ target: helper }).start();
  }, { Process, helper: closure(() => done.set(), { done }) });
  await joined(child);
  assert(await done.wait({ timeout: 0 }));
  assertEquals(child.exitCode, 0);
});

test("Process hands a queue that it got as an argument on to a child of its own", async () => {
  const queue = new Queue<string>();
  const child = new Process({
    target: closure((queue: Queue<string>) => {
      const child = new Process({
        target: (queue: Queue<string>) => queue.putSync("from the grandchild"),
        args: [queue],
      });
      child.start();
      child.joinSync();
      if (child.exitCode !== 0) throw new Error(`exit code ${child.exitCode}`);
    }, { Process }),
    args: [queue],
  });
  child.start();
  await joined(child);
  assertEquals([child.exitCode, queue.getNowait(), queue.empty()], [
    0,
    "from the grandchild",
    true,
  ]);
});

test("Process may make a queue, and get from it what its own child has put", async () => {
  const got = await run(() => {
    const queue = new Queue<number[]>();
    const child = new Process({
      target: (queue: Queue<number[]>) => queue.putSync([1, 2, 3]),
      args: [queue],
    });
    child.start();
    const item = queue.getSync({ timeout: 15_000 });
    child.joinSync();
    return [item, child.exitCode];
  }, { Process, Queue });
  assertEquals(got, [[1, 2, 3], 0]);
});

declare const helper: () => void;
