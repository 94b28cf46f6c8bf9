/** SimpleQueue, and JoinableQueue: what is unfinished, who finishes it, and who died over it. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ClosedError, EncodingError, QueueEmptyError, QueueFullError } from "../errors.ts";
import { endProcess, newPid } from "../memory/control.ts";
import { Ledger } from "../memory/joinable.ts";
import { DONE, Ring } from "../memory/ring.ts";
import { Roster } from "../memory/roster.ts";
import { PENDING } from "../memory/wait.ts";
import { Process } from "../process.ts";
import { JoinableQueue, Queue, SimpleQueue } from "../queue.ts";
import { closure, type Target } from "../target.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** Ten times the 250 ms within which a death is heard of. */
const SOON = 2_500;

/** The smallest capacity there is: items of more than a quarter of it are streamed. */
const SMALL = 4096;

/** Where the holders begin in a ledger, see memory/joinable.ts. */
const HOLDERS = 4;

/** Starts a daemon, so that a test that fails does not keep the program. */
function start(target: Target<[], unknown>): Process<[]> {
  const process = new Process<[]>({ target, daemon: true });
  process.start();
  return process;
}

async function ended(process: Process<[]>, exitCode = 0): Promise<void> {
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

/** That all is done now, in both forms. */
async function assertJoins(queue: JoinableQueue<never>, joins = true): Promise<void> {
  assertEquals([queue.joinSync({ timeout: 0 }), await queue.join({ timeout: 0 })], [joins, joins]);
}

// -- The classes

test("SimpleQueue and JoinableQueue are queues with all members of Queue", async () => {
  for (const Class of [SimpleQueue, JoinableQueue]) {
    const queue = new Class<number>({ maxSize: 2, capacity: SMALL });
    assertInstanceOf(queue, Queue);
    queue.putNowait(1);
    await queue.put(2);
    assertThrows(() => queue.putNowait(3), QueueFullError);
    assertEquals([queue.qsize(), queue.empty(), queue.full()], [2, false, true]);
    assertEquals([await queue.get(), queue.getSync()], [1, 2]);
    assertThrows(() => queue.getNowait(), QueueEmptyError);
    queue.putSync(4);
    queue.close();
    queue.close();
    const rest: number[] = [];
    for await (const item of queue) rest.push(item);
    assertEquals(rest, [4]);
    assertEquals([queue.empty(), queue.qsize()], [true, 0]);
    assertThrows(() => queue.putSync(5), ClosedError, "closed");
    await assertRejects(() => queue.get(), ClosedError, "closed");
  }
});

test("new SimpleQueue() and new JoinableQueue() refuse options out of range, and name the class", () => {
  for (const Class of [SimpleQueue, JoinableQueue]) {
    const name = Class === SimpleQueue ? "SimpleQueue" : "JoinableQueue";
    assertThrows(() => new Class({ maxSize: -1 }), RangeError, `Cannot create ${name}: 'maxSize'`);
    assertThrows(() => new Class({ capacity: 0 }), RangeError, `Cannot create ${name}: 'capacity'`);
  }
});

test("SimpleQueue tells whether it is empty across processes, and arrives as what it is", async () => {
  const queue = new SimpleQueue<boolean>();
  const go = new SimpleQueue<number>();
  const child = start(closure(() => {
    go.getSync();
    queue.putSync(queue instanceof SimpleQueue);
    queue.putSync(queue instanceof JoinableQueue);
  }, { queue, go, SimpleQueue, JoinableQueue }));
  assertEquals(queue.empty(), true);
  go.putSync(1);
  assertEquals(await queue.get({ timeout: DEADLINE }), true);
  assertEquals(await queue.get({ timeout: DEADLINE }), false);
  assertEquals(queue.empty(), true);
  await ended(child);
});

test("JoinableQueue arrives as what it is, also twice in one process", async () => {
  const queue = new JoinableQueue<unknown>();
  const carrier = new Queue<JoinableQueue<unknown>>();
  for (let i = 0; i < 2; i++) carrier.putSync(queue);
  const [one, two] = [carrier.getSync(), await carrier.get()];
  assertInstanceOf(one, JoinableQueue);
  one.putSync(1);
  assertEquals(two.getSync(), 1);
  await assertJoins(queue as JoinableQueue<never>, false);
  queue.taskDone();
  assertThrows(() => one.taskDone(), RangeError);
  await assertJoins(two as JoinableQueue<never>);
});

// -- In one process

test("JoinableQueue.join() is true when all that was put is got and done", async () => {
  const queue = new JoinableQueue<number>();
  await assertJoins(queue as JoinableQueue<never>);
  queue.putSync(1);
  await queue.put(2);
  await assertJoins(queue as JoinableQueue<never>, false);
  queue.getSync();
  await assertJoins(queue as JoinableQueue<never>, false);
  queue.taskDone();
  await assertJoins(queue as JoinableQueue<never>, false);
  await queue.get();
  queue.taskDone();
  await assertJoins(queue as JoinableQueue<never>);
});

test("JoinableQueue.taskDone() more often than got is a RangeError with the mend", () => {
  const queue = new JoinableQueue<number>();
  assertThrows(() => queue.taskDone(), RangeError, "once for each get");
  queue.putSync(1);
  assertThrows(() => queue.taskDone(), RangeError);
  queue.getNowait();
  queue.taskDone();
  assertThrows(() => queue.taskDone(), RangeError);
  assertEquals(queue.joinSync(), true);
});

test("JoinableQueue counts no get that took nothing", async () => {
  const queue = new JoinableQueue<unknown>();
  assertThrows(() => queue.getNowait(), QueueEmptyError);
  await assertRejects(() => queue.get({ timeout: 10 }), QueueEmptyError);
  assertThrows(() => queue.putSync(() => {}), EncodingError);
  assertThrows(() => queue.taskDone(), RangeError);
  await assertJoins(queue as JoinableQueue<never>);
});

test("JoinableQueue.join() waits, in both forms, for its timeout and its signal", async () => {
  const queue = new JoinableQueue<number>();
  queue.putSync(1);
  for (const form of ["join", "joinSync"] as const) {
    const begin = performance.now();
    assertEquals(await queue[form]({ timeout: 60 }), false);
    const took = performance.now() - begin;
    assert(took > 50 && took < DEADLINE, `took ${took} ms`);
  }
  assertThrows(() => queue.joinSync({ timeout: NaN }), RangeError, "NaN");
  await assertRejects(() => queue.join({ timeout: NaN }), RangeError, "NaN");
  const reason = new Error("enough");
  const controller = new AbortController();
  const aborted = assertRejects(() => queue.join({ signal: controller.signal }));
  const joined = [queue.join(), queue.join({ timeout: DEADLINE })];
  await settle();
  controller.abort(reason);
  assertStrictEquals(await aborted, reason);
  queue.getSync();
  queue.taskDone();
  assertEquals(await Promise.all(joined), [true, true]);
});

test("JoinableQueue that is closed can still be joined when it is drained and done", async () => {
  const queue = new JoinableQueue<number>();
  queue.putSync(1);
  queue.putSync(2);
  queue.getSync();
  queue.close();
  await assertJoins(queue as JoinableQueue<never>, false);
  queue.getSync();
  assertThrows(() => queue.getSync(), ClosedError);
  queue.taskDone();
  await assertJoins(queue as JoinableQueue<never>, false);
  const joined = queue.join({ timeout: DEADLINE });
  await settle();
  queue.taskDone();
  assertEquals(await joined, true);
});

test("JoinableQueue counts a large item once, and not at all when its producer dies amid it", async () => {
  const queue = new JoinableQueue<unknown>({ capacity: SMALL });
  const large = queue.put(new Uint8Array(50_000));
  assertEquals((await queue.get() as Uint8Array).length, 50_000);
  await large;
  queue.taskDone();
  assertThrows(() => queue.taskDone(), RangeError);
  const buffer = new SharedArrayBuffer(8);
  const words = new Int32Array(buffer);
  const stuck = start(closure(() => {
    const words = new Int32Array(buffer);
    queue.put(new Uint8Array(50_000));
    Atomics.store(words, 0, 1);
    Atomics.wait(words, 1, 0);
  }, { queue, buffer }));
  await until(() => Atomics.load(words, 0) === 1, "the producer has begun");
  const got = queue.get({ timeout: DEADLINE });
  const joined = queue.join({ timeout: DEADLINE });
  await settle();
  stuck.terminate();
  await ended(stuck, -15);
  assertEquals(await joined, true);
  queue.putSync("next", { timeout: DEADLINE });
  assertEquals(await got, "next");
  queue.taskDone();
  assertThrows(() => queue.taskDone(), RangeError);
  await assertJoins(queue as JoinableQueue<never>);
});

// -- Between processes

test("JoinableQueue.join() returns when four workers have done all tasks, none before", async () => {
  const queue = new JoinableQueue<number | null>({ maxSize: 10 });
  const done = new Queue<number>();
  const workers = [1, 2, 3, 4].map(() =>
    start(closure(async () => {
      for (let turn = 0;; turn++) {
        const task = turn % 2 ? queue.getSync() : await queue.get();
        if (task !== null) done.putSync(task);
        queue.taskDone();
        if (task === null) break;
      }
    }, { queue, done }))
  );
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 50; i++) await queue.put(i);
    assertEquals(round % 2 ? queue.joinSync() : await queue.join(), true);
    assertEquals(done.qsize(), 50 * (round + 1));
  }
  for (const _ of workers) queue.putSync(null);
  assertEquals(queue.joinSync({ timeout: DEADLINE }), true);
  for (const worker of workers) await ended(worker);
});

test("JoinableQueue.join() never returns between a task and those that it makes", async () => {
  const queue = new JoinableQueue<number>();
  const leaves = new Queue<number>();
  const workers = [1, 2, 3].map(() =>
    start(closure(() => {
      try {
        for (;;) {
          const depth = queue.getSync();
          if (depth === 0) leaves.putSync(1);
          else for (let i = 0; i < 2; i++) queue.putSync(depth - 1);
          queue.taskDone();
        }
      } catch (error) {
        if ((error as Error).name !== "ClosedError") throw error;
      }
    }, { queue, leaves }))
  );
  let expected = 0;
  for (const depth of [0, 1, 3, 5, 8]) {
    queue.putSync(depth);
    expected += 2 ** depth;
    // Looks all the time, so that any moment in which nothing seemed to be left would be seen.
    while (!queue.joinSync({ timeout: 0 }));
    assertEquals(leaves.qsize(), expected);
  }
  queue.close();
  for (const worker of workers) await ended(worker);
});

test("JoinableQueue.taskDone() in a process that got none marks what another has got", async () => {
  const queue = new JoinableQueue<number>();
  const go = new Queue<number>();
  const words = new Queue<string>();
  queue.putSync(1);
  const child = start(closure(() => {
    queue.getSync();
    words.putSync("got");
    go.getSync();
    try {
      queue.taskDone();
    } catch (error) {
      words.putSync((error as Error).name);
    }
  }, { queue, go, words }));
  assertEquals(await words.get({ timeout: DEADLINE }), "got");
  await assertJoins(queue as JoinableQueue<never>, false);
  queue.taskDone();
  await assertJoins(queue as JoinableQueue<never>);
  go.putSync(1);
  assertEquals(await words.get({ timeout: DEADLINE }), "RangeError");
  await ended(child);
});

for (const form of ["join", "joinSync"] as const) {
  for (const how of ["exits", "is terminated", "is killed"] as const) {
    test(`JoinableQueue.${form}() is not held up by what a process held that ${how}`, async () => {
      const queue = new JoinableQueue<number>();
      for (let i = 0; i < 3; i++) queue.putSync(i);
      const words = new Queue<string>();
      const go = new Queue<number>();
      const child = start(closure(() => {
        for (let i = 0; i < 3; i++) queue.getSync();
        queue.taskDone();
        words.putSync("got");
        go.getSync();
      }, { queue, words, go }));
      assertEquals(await words.get({ timeout: DEADLINE }), "got");
      await assertJoins(queue as JoinableQueue<never>, false);
      const joined = form === "join" ? queue.join({ timeout: DEADLINE }) : undefined;
      await settle();
      if (how === "exits") go.putSync(1);
      else if (how === "is killed") child.kill();
      else child.terminate();
      await ended(child, { exits: 0, "is terminated": -15, "is killed": -9 }[how]);
      const begin = performance.now();
      assertEquals(await (joined ?? queue.joinSync({ timeout: DEADLINE })), true);
      assertLess(performance.now() - begin, SOON);
      // Whoever comes late may still mark them.
      queue.taskDone();
      queue.taskDone();
      assertThrows(() => queue.taskDone(), RangeError);
      queue.putSync(9);
      await assertJoins(queue as JoinableQueue<never>, false);
      assertEquals(queue.getSync(), 9);
      queue.taskDone();
      await assertJoins(queue as JoinableQueue<never>);
    });
  }
}

test("JoinableQueue.join() sees what goes from hand to hand between any two of its steps", () => {
  let steps = 0;
  for (let at = 0; at <= steps; at++) {
    const ring = Ring.create({ capacity: SMALL, maxItems: 0 });
    const ledger = Ledger.create(ring);
    const cells = new Int32Array(ledger.buffer);
    // Another process, which is looked at before this one.
    const pid = newPid();
    const other = new Roster(cells, HOLDERS, 1).enter(pid);
    const item = { bytes: new Uint8Array(8), length: 8, tag: 0, a: 0, b: 0 };
    ring.tryPut(item);
    assertEquals(ledger.tryGet(), DONE);
    const table = Atomics as unknown as { load: (...args: unknown[]) => unknown };
    const { load } = table;
    steps = 0;
    table.load = (...args) => {
      if (steps++ === at) {
        table.load = load;
        // Puts one, is done with its own; the other gets that one.
        ring.tryPut(item);
        ledger.done();
        Atomics.add(cells, other + 1, 1);
        ring.tryGet();
      }
      return load.apply(Atomics, args);
    };
    try {
      assertStrictEquals(ledger.join().attempt(), PENDING, `step ${at}`);
    } finally {
      table.load = load;
      endProcess(pid, 0, true);
    }
  }
  assert(steps > 8, `${steps} steps`);
});

// -- Death at every step

for (const act of ["get", "get of a large item", "taskDone"] as const) {
  test(`JoinableQueue: a process that exits before any step of its ${act} holds nobody up`, async () => {
    const steps = act === "taskDone"
      ? Array.from({ length: 12 }, (_, i) => i)
      : Array.from({ length: 14 }, (_, i) => 2 * i + (act === "get" ? 0 : 12));
    const size = act === "get of a large item" ? 1_200 : 50;
    const queues = steps.map(() => new JoinableQueue<unknown>({ capacity: SMALL }));
    const victims = queues.map((queue, i) => {
      const step = steps[i]!;
      const items = act === "get of a large item" ? 1 : 2;
      for (let item = 0; item < items; item++) queue.putSync(new Uint8Array(size));
      return start(closure(() => {
        const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
        const names = ["load", "store", "add", "sub", "exchange", "compareExchange", "notify"];
        const originals = names.map((name) => table[name]!);
        const globals = globalThis as unknown as { process: { exit(code: number): void } };
        const { exit } = globals.process;
        const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
        if (act === "taskDone") queue.getSync();
        let left = step;
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
        if (act === "taskDone") queue.taskDone();
        else queue.getSync();
        restore();
      }, { queue, act, step }));
    });
    let [survived, died] = [0, 0];
    for (const [i, queue] of queues.entries()) {
      const where = `step ${steps[i]}`;
      const joined = queue.join({ timeout: DEADLINE });
      assert(await victims[i]!.join({ timeout: DEADLINE }), where);
      victims[i]!.exitCode === 0 ? survived++ : died++;
      // What is counted can be got, whole.
      const left = queue.joinSync({ timeout: 0 }) ? 0 : queue.qsize();
      assertEquals(queue.qsize(), left, where);
      const begin = performance.now();
      for (let item = 0; item < left; item++) {
        assertEquals((queue.getNowait() as Uint8Array).length, size, where);
        queue.taskDone();
      }
      assertThrows(() => queue.getNowait(), QueueEmptyError);
      assertEquals(await joined, true, where);
      assertLess(performance.now() - begin, SOON, where);
    }
    assert(died > 3 && survived > 0, `${survived} survived, ${died} died`);
  });
}
