/** Pools whose workers die: what is lost, what is not, and that the pool goes on. */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ClosedError, EncodingError, ProcessLostError } from "../errors.ts";
import { Pool } from "../pool.ts";
import { activeChildren, Process } from "../process.ts";
import { Value } from "../shared.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Event } from "../sync.ts";
import { closure, transfer } from "../target.ts";
import type { Job } from "../wire/pool/job.ts";
import { LocalBackend } from "../wire/pool/local_backend.ts";
import { block, kept, soon, until, withPool } from "./fixtures/pool_help.ts";
import {
  answerAndExit,
  answerInChild,
  dieAtGate,
  exit,
  exitIf,
  exitWhenSet,
  hugeAndExit,
  loopForever,
  nameAndPid,
  waitAtGate,
} from "./fixtures/pool_tasks.ts";

const NO_START_URL = new URL("./fixtures/pool_no_start.ts", import.meta.url).href;

const square = (n: number): number => n * n;
const lengthOf = (bytes: Uint8Array): number => bytes.length;

async function lost(call: Promise<unknown>): Promise<ProcessLostError> {
  return await assertRejects(() => call, ProcessLostError);
}

// -- Ways to die

for (const code of [0, 7, 255]) {
  test(`Pool.apply() rejects with ProcessLostError after exit(${code}), and the pool goes on`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const { pid } = await pool.apply(nameAndPid);
      const error = await lost(pool.apply(exit, [code]));
      assertEquals(
        { exitCode: error.exitCode, pid: error.pid, processName: error.processName },
        { exitCode: code, pid, processName: "PoolWorker-1" },
      );
      assertMatch(error.message, new RegExp(`PoolWorker-1.*${code}`));
      assertEquals(Object.hasOwn(error, "cause"), false);
      const next = await pool.apply(nameAndPid);
      assertEquals([next.name, next.pid > pid], ["PoolWorker-2", true]);
      const { replaced, failed, completed } = pool.stats();
      assertEquals({ replaced, failed, completed }, { replaced: 1, failed: 1, completed: 2 });
    });
  });
}

let uncaught: Promise<string[]> | undefined;

/** What the program of uncaught errors has printed. */
function uncaughtLines(): Promise<string[]> {
  const program = join(ROOT, "tests/fixtures/pool_uncaught.ts");
  uncaught ??= capture([...current().command, program], 30_000)
    .then(({ output }) => output.trim().split("\n"));
  return uncaught;
}

for (const message of ["one", "two", "three"]) {
  const what = message === "three" ? "a rejection that nobody handled" : `a late throw, ${message}`;
  test(`Pool.apply() rejects with ProcessLostError whose cause is ${what}`, async () => {
    const lines = await uncaughtLines();
    const line = lines.findIndex((line) => line.includes(`"message":"${message}"`));
    assert(line >= 0, lines.join("\n"));
    assertEquals(JSON.parse(lines[line]!), {
      name: "ProcessLostError",
      exitCode: 1,
      causeName: "OrderError",
      message,
      code: "E_ORDER",
      mentioned: true,
    });
    assertEquals(lines[line + 1], "9");
  });
}

test("Pool.apply() rejects when its worker ends by a throw that cannot be sent", async () => {
  const lines = await uncaughtLines();
  const line = lines.findIndex((line) => line.includes("EncodingError"));
  assert(line >= 0, lines.join("\n"));
  const { name, exitCode, message } = JSON.parse(lines[line]!);
  assertEquals([name, exitCode], ["ProcessLostError", 1]);
  assertMatch(message, /thrown/);
  assertEquals(lines[line + 1], "9");
});

test("Pool in a process knows why its worker ended", async () => {
  // 1: ProcessLostError; 2: with its cause. Five times both.
  assertEquals((await uncaughtLines()).at(-1), "in a process 15");
});

test("Pool.apply() gives the queued tasks to other workers when one has ended", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const calls = [
      kept(pool.apply(exit, [4])),
      ...Array.from({ length: 200 }, (_, i) => kept(pool.apply(square, [i]))),
      kept(pool.apply(exit, [4])),
    ];
    const outcomes = await Promise.allSettled(calls);
    assertEquals(outcomes.at(0)!.status, "rejected");
    assertEquals(outcomes.at(-1)!.status, "rejected");
    assertEquals(
      outcomes.slice(1, -1),
      Array.from({ length: 200 }, (_, i) => ({ status: "fulfilled", value: i * i })),
    );
  });
});

test("Pool.map() loses only the chunk whose worker has ended", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const ran = new Value("i32", 0);
    const run = closure((item: { n: number; exit: boolean }) => {
      ran.add(1);
      return exitIf(item);
    }, { ran, exitIf });
    const items = Array.from({ length: 20 }, (_, n) => ({ n, exit: n === 9 }));
    const error = await lost(pool.map(run, items, { chunkSize: 4 }));
    assertEquals(error.exitCode, 3);
    // The chunk of 9 has run 8 and 9; the four other chunks have run as a whole.
    assertEquals(ran.value, 18);
    assertEquals(pool.stats().failed, 1);
    assertEquals(pool.stats().completed, 4);

    const seen: number[] = [];
    await assertRejects(async () => {
      for await (const n of pool.imap(run, items, { chunkSize: 4 })) seen.push(n);
    }, ProcessLostError);
    assertEquals(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    assertEquals(await pool.map(square, [1, 2, 3]), [1, 4, 9]);
  });
});

test("Pool replaces a worker that ends between tasks, and loses nothing", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const event = new Event();
    await pool.apply(exitWhenSet, [event]);
    event.set();
    await until(() => pool.stats().replaced === 1, "the replacement");
    assertEquals(await pool.apply(square, [3]), 9);
    const { failed, completed, replaced } = pool.stats();
    assertEquals({ failed, completed, replaced }, { failed: 0, completed: 2, replaced: 1 });
  });
});

test("Pool loses no answer of a worker that ends right after it", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    for (let i = 0; i < 4; i++) {
      assertEquals(await pool.apply(answerAndExit<number>, [i]), i);
    }
    assertEquals(pool.stats().failed, 0);
    // The same, with both the answer and the end there before the pool gets to look.
    for (let i = 0; i < 3; i++) {
      const answer = kept(pool.apply(answerAndExit<number>, [i]));
      await Promise.resolve();
      block(150);
      assertEquals(await answer, i);
    }
    assertEquals(pool.stats().failed, 0);
  });
});

test("Pool loses no shareable answered by a worker that ends right after it", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const value = new Value("i32", 0);
    for (let i = 0; i < 3; i++) {
      const answer = kept(pool.apply(answerAndExit<Value<"i32">>, [value]));
      await Promise.resolve();
      block(150);
      (await answer).add(1);
      // Otherwise the worker might take the next task in the moment before it ends.
      await until(() => pool.stats().replaced === i + 1, "another worker");
    }
    assertEquals(value.value, 3);
  });
});

test("Pool in a process loses no shareable answered by a worker that ends right after it", async () => {
  const count = new Value("i32", 0);
  const child = new Process({ target: answerInChild, args: [count] });
  child.start();
  await soon(child.join());
  assertEquals([child.exitCode, count.value], [0, 5]);
});

test("Pool whose workers all end at once fails what was running, and nothing else", async () => {
  await withPool({ processes: 3 }, async (pool) => {
    const gate = new Event();
    const here = new Value("i32", 0);
    const dying = Array.from({ length: 3 }, () => kept(pool.apply(dieAtGate, [gate, here])));
    const queued = Array.from({ length: 1_000 }, (_, i) => kept(pool.apply(square, [i])));
    await until(() => here.value === 3, "the third task");
    gate.set();
    const outcomes = await Promise.allSettled(queued);
    assertEquals(
      outcomes,
      Array.from({ length: 1_000 }, (_, i) => ({ status: "fulfilled", value: i * i })),
    );
    const pids = await Promise.all(dying.map(async (call) => (await lost(call)).pid));
    assertEquals(new Set(pids).size, 3);
    const { replaced, failed, completed } = pool.stats();
    assertEquals({ replaced, failed, completed }, { replaced: 3, failed: 3, completed: 1_000 });
  });
});

test("Pool outlives 30 deaths in a row", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    for (let i = 0; i < 15; i++) {
      const calls = [pool.apply(exit, [2]), pool.apply(exit, [3])].map(kept);
      const squares = kept(pool.map(square, [1, 2, 3, 4], { chunkSize: 1 }));
      await Promise.all(calls.map(lost));
      assertEquals(await squares, [1, 4, 9, 16]);
    }
    await until(() => pool.stats().replaced === 30, "the last replacement");
    assertEquals(pool.stats().failed, 30);
    // Dead sleepers do not swallow the calls that wake the living.
    const start = performance.now();
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      assertEquals(await pool.apply(square, [i]), i * i);
    }
    assertLess(performance.now() - start, 2_500);
  });
});

test("Pool.apply() of a function first seen while a worker is being replaced", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    for (let i = 0; i < 3; i++) {
      const dead = kept(pool.apply(exit, [2]));
      const before = pool.apply(closure(() => i, { i }));
      await lost(dead);
      const after = pool.apply(closure(() => -i, { i }));
      assertEquals(await Promise.all([before, after]), [i, -i]);
    }
  });
});

test("Pool.apply() refuses a scope with a port, which cannot be given to all workers", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const { port1: port, port2 } = new MessageChannel();
    const fn = closure(() => typeof port, { port: transfer(port, [port]) });
    for (let i = 0; i < 2; i++) await assertRejects(() => pool.apply(fn), EncodingError, "scope");
    // The next worker is told all functions anew.
    await lost(pool.apply(exit, [1]));
    assertEquals(await pool.apply(square, [3]), 9);
    port2.close();
  });
});

// -- Large items

test("Pool.apply() rejects when the worker ends amid its huge result", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const event = new Event();
    const huge = kept(pool.apply(hugeAndExit, [40_000_000, event]));
    // The worker has put the first frames, and waits for room, while this thread is busy.
    await until(() => pool.stats().running === 1, "the task");
    block(150);
    event.set();
    block(150);
    const outcome = await soon(huge.then(lengthOf, (error) => (error as Error).name), "the result");
    // On a busy machine the result may have come through; then the worker ended idle.
    assert(outcome === "ProcessLostError" || outcome === 40_000_000, String(outcome));
    assertEquals(await pool.apply(lengthOf, [new Uint8Array(3_000_000)]), 3_000_000);
    assertEquals((await pool.apply((n: number) => new Uint8Array(n), [5e6])).length, 5e6);
  });
});

test("Pool.apply() settles when a worker ends amid its huge argument", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const event = new Event();
    await pool.apply(exitWhenSet, [event]);
    // The pool comes to rest; so it puts the first frames at once.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const huge = kept(pool.apply(lengthOf, [new Uint8Array(40_000_000)]));
    await Promise.resolve();
    // The worker has taken the first frames, and waits for more, while this thread is busy.
    block(150);
    event.set();
    block(150);
    const outcome = await soon(huge.catch((error) => (error as Error).name), "the large task");
    assert(outcome === "ProcessLostError" || outcome === 40_000_000, String(outcome));
    assertEquals(await pool.apply(lengthOf, [new Uint8Array(3_000_000)]), 3_000_000);
    assertEquals(pool.stats().queued, 0);
    pool.close();
    assertEquals(await soon(pool.join(), "join()"), true);
  });
});

test("Pool.terminate() amid a huge argument and a huge result", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const result = kept(pool.apply(hugeAndExit, [40_000_000, new Event()]));
    const argument = kept(pool.apply(lengthOf, [new Uint8Array(40_000_000)]));
    await until(() => pool.stats().running > 0, "the first task");
    const terminated = pool.terminate();
    for (const call of [result, argument]) await assertRejects(() => call, ClosedError);
    await soon(terminated, "terminate()");
  });
});

// -- The end

test("Pool.close() with dying workers settles all, and ends", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const calls = Array.from(
      { length: 40 },
      (_, n) => kept(pool.apply(exitIf, [{ n, exit: n % 10 === 5 }])),
    );
    pool.close();
    const outcomes = await Promise.allSettled(calls);
    for (const [n, outcome] of outcomes.entries()) {
      if (n % 10 === 5) {
        assertInstanceOf((outcome as PromiseRejectedResult).reason, ProcessLostError);
      } else assertEquals(outcome, { status: "fulfilled", value: n });
    }
    assertEquals(await soon(pool.join(), "join()"), true);
  });
});

test("Pool.close() ends although the last task ends its worker", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const call = kept(pool.apply(exit, [7]));
    pool.close();
    assertEquals((await lost(call)).exitCode, 7);
    assertEquals(await soon(pool.join(), "join()"), true);
  });
});

test("Pool.terminate() ends while workers are being replaced", async () => {
  for (let i = 0; i < 3; i++) {
    const pool = new Pool({ processes: 2 });
    const calls = [pool.apply(exit, [1]), pool.apply(exit, [2]), pool.apply(square, [2])].map(
      (call) => kept<unknown>(call),
    );
    if (i > 0) await Promise.allSettled(calls.slice(0, i));
    await soon(pool.terminate(), "terminate()");
    await Promise.allSettled(calls);
    assertEquals(await pool.join({ timeout: 0 }), true);
    assertEquals(pool.stats().running, 0);
  }
});

test("Pool.terminate() ends infinite loops", async () => {
  const pool = new Pool({ processes: 2 });
  const here = [new Event(), new Event()];
  const calls = here.map((event) => kept(pool.apply(loopForever, [event])));
  for (const event of here) await event.wait();
  const start = performance.now();
  const terminated = pool.terminate();
  for (const call of calls) await assertRejects(() => call, ClosedError);
  assertLess(performance.now() - start, 1_000);
  await soon(terminated, "terminate()");
  assertLess(performance.now() - start, 5_000);
});

test("LocalBackend gives up when its workers cannot start, and rejects what is pending", async () => {
  const backend = new LocalBackend({ module: NO_START_URL, size: 2, name: "Stillborn" });
  const outcomes: unknown[] = [];
  const job: Job = {
    mode: "call",
    watch: undefined,
    first: 0,
    mark: undefined,
    resolve: (value) => outcomes.push(value),
    reject: (error) => outcomes.push(error),
  };
  for (let i = 0; i < 10; i++) backend.submit(square, [3], job);
  await until(() => outcomes.length === 10, "the tenth rejection");
  for (const error of outcomes) {
    assertInstanceOf(error, ProcessLostError);
    assertEquals(error.exitCode, 1);
    assertStrictEquals(error, outcomes[0]);
  }
  let refusal: unknown;
  try {
    backend.submit(square, [3], job);
  } catch (error) {
    refusal = error;
  }
  assertInstanceOf(refusal, ProcessLostError);
  backend.close();
  await soon(backend.ended, "the end");
  const { queued, running, failed, replaced } = backend.stats();
  assertEquals({ queued, running, failed }, { queued: 0, running: 0, failed: 10 });
  assertLess(replaced, 4);
  assertEquals(outcomes.length, 10);
});

test("LocalBackend gives up when its workers cannot start, though it has nothing to do", async () => {
  const backend = new LocalBackend({ module: NO_START_URL, size: 1, name: "Stillborn" });
  await until(() => backend.stats().replaced === 2, "the third worker");
  backend.close();
  await soon(backend.ended, "the end");
  assertLess(backend.stats().replaced, 4);
});

test("Pool's workers are not among activeChildren()", async () => {
  await withPool({ processes: 2 }, async (pool) => {
    const gate = new Event();
    const here = new Event();
    const call = kept(pool.apply(waitAtGate, [gate, here]));
    await here.wait();
    assertEquals(activeChildren(), []);
    gate.set();
    assertEquals(await call, "through");
  });
  assertEquals(activeChildren(), []);
});
