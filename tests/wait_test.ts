/** wait(): connections, queues, processes and events at once. */

import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { ClosedError, ProcessError } from "../errors.ts";
import { waitAny } from "../memory/readiness.ts";
import { PENDING } from "../memory/attempt.ts";
import { Process } from "../process.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { type Connection, JoinableQueue, Pipe, Queue, SimpleQueue, wait } from "../queue.ts";
import { Event } from "../sync.ts";
import { closure, type Target } from "../target.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** Ten times the 250 ms within which a death is heard of. */
const SOON = 2_500;

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

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** How long something takes. */
async function timed(act: () => unknown): Promise<number> {
  const begin = performance.now();
  await act();
  return performance.now() - begin;
}

type Waitable = Connection | Queue | Process | Event;

// -- What is ready

test("wait([]) waits for the timeout and resolves with nothing; at once if there is none", async () => {
  assertEquals(await wait([]), []);
  assertEquals(await wait(new Set<Queue>(), { timeout: 0 }), []);
  const took = await timed(async () => assertEquals(await wait([], { timeout: 60 }), []));
  assert(took > 50 && took < DEADLINE, `took ${took} ms`);
  const signal = AbortSignal.timeout(20);
  await assertRejects(() => wait([], { timeout: DEADLINE, signal }), DOMException);
});

test("wait() resolves with what is ready now, in the given order, and takes nothing", async () => {
  const [a, b] = Pipe();
  const [c, d] = Pipe();
  const queue = new Queue<number>();
  const empty = new SimpleQueue<number>();
  const closed = new JoinableQueue<number>();
  const event = new Event();
  const process = start(() => {});
  await ended(process);
  a.sendSync(1);
  d.close();
  queue.putSync(2);
  closed.close();
  const all: Waitable[] = [empty, event, process as Process, a, closed, b, c, queue as Queue];
  for (let turn = 0; turn < 3; turn++) {
    assertEquals(await wait(all), [all[2], all[4], all[5], all[6], all[7]] as Waitable[]);
  }
  assertEquals(await wait(new Set(all.slice(0, 2)), { timeout: 0 }), []);
  event.set();
  assertEquals(await wait(all.slice(0, 2), { timeout: -1 }), [event]);
  assertEquals([b.recvSync(), queue.getNowait()], [1, 2]);
  await assertRejects(() => c.recv(), ClosedError);
});

test("wait() with a timeout <= 0 looks once, with a longer one waits so long", async () => {
  const [a, b] = Pipe();
  const queue = new Queue<number>();
  for (const timeout of [0, -1, -Infinity]) assertEquals(await wait([b, queue], { timeout }), []);
  const took = await timed(async () => assertEquals(await wait([b, queue], { timeout: 80 }), []));
  assert(took > 70 && took < DEADLINE, `took ${took} ms`);
  queue.putSync(1);
  assertEquals(await wait([b, queue], { timeout: DEADLINE }), [queue]);
  // Until here somebody must have the other end.
  a.close();
});

test("wait() wakes for each kind of object, and only with what is ready", async () => {
  const [a, b] = Pipe();
  const [c, d] = Pipe();
  const queue = new Queue<number>();
  const closing = new Queue<number>();
  const event = new Event();
  const go = new Queue<number>();
  const process = start(closure(() => go.getSync(), { go }));
  const acts: [object: Waitable, act: () => void][] = [
    [b, () => a.sendSync(1)],
    [c, () => d.close()],
    [queue as Queue, () => queue.putSync(1)],
    [closing as Queue, () => closing.close()],
    [event, () => event.set()],
    [process as Process, () => go.putSync(1)],
  ];
  const left = new Map(acts);
  for (const [object, act] of acts) {
    const pending = wait(left.keys(), { timeout: DEADLINE });
    await settle();
    act();
    const ready = await pending;
    assertEquals(ready.length, 1);
    assertStrictEquals(ready[0], object);
    left.delete(object);
  }
  assertEquals(await process.exited, 0);
});

test("wait() hears within 250 ms of the death of a process, and of the end of its pipe", async () => {
  for (const way of ["terminate", "kill"] as const) {
    const [here, there] = Pipe();
    const process = start(closure(() => there.recvSync(), { there }));
    const byPipe = wait([here], { timeout: DEADLINE });
    const byProcess = wait([process as Process], { timeout: DEADLINE });
    await settle();
    const took = await timed(async () => {
      process[way]();
      assertEquals(await byProcess, [process] as unknown[] as Process[]);
      assertEquals(await byPipe, [here]);
    });
    assertLess(took, SOON);
    await ended(process, way === "kill" ? -9 : -15);
  }
});

// -- Refusals

test("wait() refuses what cannot be waited for with a TypeError that names it", async () => {
  for (const bad of [1, "queue", null, undefined, {}, [], () => {}, Promise.resolve()]) {
    const objects = [new Queue(), bad] as Queue[];
    const error = await assertRejects(() => wait(objects), TypeError, "'objects[1]'");
    assertStringIncludes(error.message, "Connection, Queue, Process or Event");
  }
  for (const bad of [5, undefined, {}]) {
    await assertRejects(() => wait(bad as Queue[]), TypeError, "'objects' must be iterable");
  }
});

test("wait() refuses closed objects, processes not started, sending ends, and timeouts of NaN", async () => {
  const [a] = Pipe();
  a.close();
  await assertRejects(() => wait([a]), ClosedError, "closed");
  const [, sender] = Pipe({ duplex: false });
  await assertRejects(() => wait([sender]), ProcessError, "sending end");
  const process = new Process({ target: () => {} });
  await assertRejects(() => wait([process as Process]), ProcessError, "not started");
  process.start();
  await process.join();
  process.close();
  await assertRejects(() => wait([process as Process]), ClosedError);
  await assertRejects(() => wait([new Queue()], { timeout: NaN }), RangeError, "NaN");
});

test("wait() that is aborted rejects with the reason; one whose connection is closed, with ClosedError", async () => {
  const [a, b] = Pipe();
  const reason = { why: "enough" };
  const aborted = AbortSignal.abort(reason);
  assertStrictEquals(await wait([b], { signal: aborted }).catch((error) => error), reason);
  const controller = new AbortController();
  const pending = wait([b], { signal: controller.signal }).catch((error) => error);
  const closed = assertRejects(() => wait([new Queue(), b] as Waitable[]), ClosedError, "this end");
  await settle();
  controller.abort(reason);
  assertStrictEquals(await pending, reason);
  b.close();
  await closed;
  assertEquals(await wait([a]), [a]);
});

// -- Between processes

for (const pace of ["at once", "with pauses"] as const) {
  test(`wait() gets all messages of four processes that send ${pace}, until all pipes have ended`, async () => {
    const slow = pace === "with pauses";
    const receivers: Connection[] = [];
    const processes: Process<[]>[] = [];
    for (let id = 0; id < 4; id++) {
      const [receiver, sender] = Pipe({ duplex: false });
      receivers.push(receiver);
      processes.push(start(closure(async () => {
        for (let i = 0; i < 10; i++) {
          if (slow) await new Promise((resolve) => setTimeout(resolve, (id * 7 + i * 3) % 11));
          sender.sendSync([id, i]);
        }
      }, { sender, id, slow })));
    }
    const messages: number[][] = [];
    const open = new Set(receivers);
    while (open.size > 0) {
      for (const receiver of await wait(open, { timeout: DEADLINE })) {
        try {
          messages.push(receiver.recvSync({ timeout: 0 }) as number[]);
        } catch (error) {
          if (!(error instanceof ClosedError)) throw error;
          open.delete(receiver);
        }
      }
    }
    const expected = Array.from({ length: 40 }, (_, i) => [Math.floor(i / 10), i % 10]);
    assertEquals(messages.sort(([a, b], [c, d]) => a! - c! || b! - d!), expected);
    for (const process of processes) await ended(process);
  });
}

test("wait() works in a child, on handles that it was given", async () => {
  const [here, there] = Pipe();
  const queue = new Queue<string>();
  const event = new Event();
  const child = start(closure(async () => {
    for (let i = 0; i < 3; i++) {
      const ready = await wait([there, queue, event] as Waitable[], { timeout: 5_000 });
      const names = ready.map((object) => object.constructor.name);
      there.sendSync(names);
      if (ready[0] === there) there.recvSync();
      if (ready[0] === queue as unknown) queue.getSync();
    }
  }, { there, queue, event, wait }));
  here.sendSync(1);
  assertEquals(await here.recv({ timeout: DEADLINE }), ["Connection"]);
  await settle();
  queue.putSync("one");
  assertEquals(await here.recv({ timeout: DEADLINE }), ["Queue"]);
  await settle();
  event.set();
  assertEquals(await here.recv({ timeout: DEADLINE }), ["Event"]);
  await ended(child);
});

test("wait() passes a wake-up on to the process that gets", async () => {
  const queue = new Queue<number>();
  const words = new Queue<number>();
  const waiter = start(closure(async () => {
    // Its waits come and go, and leave sleeps behind; it never takes anything.
    for (let i = 0; i < 400 && !queue.full(); i++) await wait([queue], { timeout: 2 });
  }, { queue, wait }));
  const getter = start(closure(() => {
    for (let item = queue.getSync(); item >= 0; item = queue.getSync()) words.putSync(item);
  }, { queue, words }));
  queue.putSync(0);
  assertEquals(await words.get({ timeout: DEADLINE }), 0);
  const times: number[] = [];
  const others: Promise<unknown[]>[] = [];
  for (let round = 1; round < 30; round++) {
    const other = wait([queue], { timeout: DEADLINE });
    await new Promise((resolve) => setTimeout(resolve, round % 7));
    times.push(
      await timed(async () => {
        queue.putSync(round);
        assertEquals(await words.get({ timeout: DEADLINE }), round);
      }),
    );
    // Either has seen the item, or waits on until the queue is closed.
    others.push(other);
  }
  queue.putSync(-1);
  await ended(getter);
  queue.close();
  for (const ready of await Promise.all(others)) assertEquals(ready, [queue]);
  await ended(waiter);
  assertLess(times.sort((a, b) => a - b)[times.length >> 1]!, 100);
});

test("wait() returns what it saw ready, even if another takes it at once", async () => {
  const cells = new Int32Array(new SharedArrayBuffer(4));
  let looks = 0;
  // Ready at the second look only: as a queue's item that a getter takes before the third.
  const attempt = () => looks++ === 1 ? true : PENDING;
  const spot = { cells, index: 0, expected: 0, patience: 10, attempt };
  assertEquals(await waitAny([spot], DEADLINE), [0]);
});

test("wait() called again and again does not pile up sleepers", async () => {
  const queue = new Queue<number>();
  const [a, b] = Pipe();
  const event = new Event();
  const table = Atomics as unknown as { waitAsync: (...args: unknown[]) => unknown };
  const { waitAsync } = table;
  let sleeps = 0;
  table.waitAsync = (...args) => {
    sleeps++;
    return waitAsync.apply(Atomics, args);
  };
  const begin = performance.now();
  let rounds = 0;
  try {
    for (; rounds < 100; rounds++) {
      await Promise.all([
        wait([queue, b, event] as Waitable[], { timeout: 1 }),
        wait([event, queue] as Waitable[], { timeout: 1 }),
        b.poll({ timeout: 1 }),
      ]);
    }
  } finally {
    table.waitAsync = waitAsync;
  }
  const slices = (performance.now() - begin) / 250 + 1;
  assertLess(sleeps, 3 * 2 * slices + 10);
  a.close();
});

test("wait() that is pending sleeps, and looks four times a second", async () => {
  const queue = new Queue<string>();
  const words = new Queue<unknown>();
  const child = start(closure(async () => {
    const table = Atomics as unknown as { load: (...args: unknown[]) => unknown };
    const { load } = table;
    let looks = 0;
    const pending = wait([queue], { timeout: 10_000 });
    table.load = (...args) => (looks++, load.apply(Atomics, args));
    await new Promise((resolve) => setTimeout(resolve, 600));
    table.load = load;
    words.putSync(looks);
    words.putSync((await pending)[0] === queue);
  }, { queue, words, wait }));
  // On a busy machine, 600 ms may become many more.
  assertLess(await words.get({ timeout: DEADLINE }) as number, 1_000);
  queue.putSync("go");
  assertEquals(await words.get({ timeout: DEADLINE }), true);
  await ended(child);
});

test("wait() and Connection.poll() keep the program alive until a daemon has sent, and no longer", async () => {
  const path = join(ROOT, "tests/fixtures/exit/daemon_sends.ts");
  const { output, timedOut, code } = await capture([...current().command, path], 20_000);
  assertEquals({ output, timedOut, code }, {
    output: "main is done\nready: 1\na message: true\n",
    timedOut: false,
    code: 0,
  });
});
