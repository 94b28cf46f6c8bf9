/** Shareables and shared memory in the items of a queue: wire/exchange.ts, seen from outside. */

import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Lock } from "../sync.ts";
import { closure, type Target, transfer } from "../target.ts";

/** Nothing here takes longer than this, on a busy machine either. */
const DEADLINE = 30_000;

const timeout = DEADLINE;

/** Starts a daemon, so that a test that fails does not keep the program. */
function start(target: Target<[], unknown>): Process<[]> {
  const process = new Process<[]>({ target, daemon: true });
  process.start();
  return process;
}

async function ended(process: Process<[]>, exitCode = 0): Promise<void> {
  assert(await process.join({ timeout }), `${process.name} did not end`);
  assertEquals(process.exitCode, exitCode);
}

/** That two handles are on the same lock. */
function assertSameLock(one: Lock, other: Lock): void {
  assertInstanceOf(other, Lock);
  assert(!one.locked() && !other.locked());
  const guard = one.acquireSync({ timeout });
  assert(other.locked(), "the handles are on different locks");
  assertStrictEquals(other.tryAcquire(), null);
  guard.release();
  assert(!other.locked());
}

interface Parcel {
  lock: Lock;
  queue: Queue<unknown>;
  words: Int32Array;
  text: string;
}

/** A parcel of all that bytes cannot hold, and what shows that a copy of it is live. */
function parcel(queue: Queue<unknown> = new Queue<unknown>()): Parcel {
  const words = new Int32Array(new SharedArrayBuffer(8));
  return { lock: new Lock(), queue, words, text: "plain" };
}

function assertLive(sent: Parcel, got: Parcel): void {
  assertEquals(got.text, "plain");
  assertSameLock(sent.lock, got.lock);
  assertSameLock(got.lock, sent.lock);
  assertInstanceOf(got.queue, Queue);
  const size = sent.queue.qsize();
  got.queue.putSync("hello");
  assertEquals(sent.queue.qsize(), size + 1);
  Atomics.add(got.words, 1, 5);
  assertEquals(Atomics.sub(sent.words, 1, 5), 5);
}

test("Queue.get() in the main process brings live handles that it has put itself, in both forms", async () => {
  const queue = new Queue<Parcel>();
  const sent = parcel();
  for (let i = 0; i < 3; i++) queue.putSync(sent);
  await queue.put(sent);
  assertLive(sent, queue.getSync());
  assertLive(sent, await queue.get());
  assertLive(sent, queue.getNowait());
  const pending = [queue.get(), queue.get({ timeout })];
  queue.putNowait(sent);
  for (const got of await Promise.all(pending)) assertLive(sent, got);
});

test("Queue brings itself, bare and deep within an item", async () => {
  const queue = new Queue<unknown>();
  queue.putSync(queue);
  queue.putSync({ deep: [new Map([["self", queue]])] });
  const self = queue.getSync() as Queue<unknown>;
  assertEquals(self.qsize(), 1);
  const { deep } = await self.get() as { deep: [Map<string, Queue<unknown>>] };
  deep[0].get("self")!.putSync("round");
  assertEquals(queue.getNowait(), "round");
});

for (const form of ["sync", "async"] as const) {
  test(`Queue brings live handles from main to a child and back, ${form}`, async () => {
    const there = new Queue<Parcel>();
    const back = new Queue<Parcel>();
    const child = start(closure(async () => {
      for (let i = 0; i < 5; i++) {
        const got = form === "sync" ? there.getSync() : await there.get();
        Atomics.add(got.words, 0, 1);
        got.queue.putSync(got.lock.locked());
        if (form === "sync") back.putSync(got);
        else await back.put(got);
      }
    }, { there, back, form }));
    for (let i = 0; i < 5; i++) {
      const sent = parcel();
      const guard = i % 2 ? sent.lock.acquireSync() : undefined;
      there.putSync(sent);
      const got = form === "sync" ? back.getSync({ timeout }) : await back.get({ timeout });
      assertEquals(Atomics.load(sent.words, 0), 1);
      assertEquals(sent.queue.getNowait(), i % 2 === 1);
      guard?.release();
      assertLive(sent, got);
    }
    await ended(child);
  });

  test(`Queue brings live handles from child to child, ${form}, while main blocks in joinSync()`, async () => {
    const queue = new Queue<{ made: Queue<number>; self: Queue<unknown>; lock: Lock }>();
    const results = new Queue<string>();
    const lock = new Lock();
    const producer = start(closure(async () => {
      for (let i = 0; i < 5; i++) {
        const made = new Queue<number>();
        made.putSync(i);
        if (form === "sync") queue.putSync({ made, self: queue as Queue<unknown>, lock });
        else await queue.put({ made, self: queue as Queue<unknown>, lock });
      }
    }, { queue, lock, form, Queue }));
    const consumer = start(closure(async () => {
      for (let i = 0; i < 5; i++) {
        const got = form === "sync" ? queue.getSync() : await queue.get();
        const guard = got.lock.acquireSync();
        results.putSync(`${got.made.getSync()} ${got.lock.locked() && lock.locked()}`);
        guard.release();
        got.self.qsize();
      }
    }, { queue, results, lock, form }));
    assert(producer.joinSync({ timeout }), "the producer did not end");
    assert(consumer.joinSync({ timeout }), "the consumer did not end");
    const said = Array.from({ length: 5 }, () => results.getNowait());
    assertEquals(said, ["0 true", "1 true", "2 true", "3 true", "4 true"]);
    await ended(producer);
    await ended(consumer);
  });
}

test("Queue.getSync() while main is blocked in it brings what a child puts then", async () => {
  const queue = new Queue<Parcel>();
  const go = new Queue<Parcel>();
  const child = start(closure(() => {
    for (let i = 0; i < 50; i++) queue.putSync(go.getSync());
  }, { queue, go }));
  const sent = parcel();
  for (let i = 0; i < 50; i++) {
    go.putSync(sent);
    assertLive(sent, queue.getSync({ timeout }));
  }
  await ended(child);
});

test("Queue brings live handles of a process that has ended before anybody gets them", async () => {
  for (const blocked of [true, false]) {
    const queue = new Queue<Parcel>();
    const sent = parcel();
    const child = start(closure(() => {
      for (let i = 0; i < 10; i++) queue.putSync(sent);
    }, { queue, sent }));
    if (blocked) assert(child.joinSync({ timeout }));
    else await ended(child);
    for (let i = 0; i < 5; i++) assertLive(sent, queue.getSync());
    await ended(child);
    for (let i = 0; i < 5; i++) assertLive(sent, await queue.get());
  }
});

test("Queue brings live handles of a process that exits or is terminated just after its put", async () => {
  const queue = new Queue<{ i: number; lock: Lock }>();
  const lock = new Lock();
  const children = Array.from({ length: 6 }, (_, i) =>
    start(closure(() => {
      queue.putSync({ i, lock });
      const { process } = globalThis as unknown as { process: { exit(code: number): void } };
      if (i % 2) process.exit(0);
      const words = new Int32Array(new SharedArrayBuffer(4));
      Atomics.wait(words, 0, 0);
    }, { queue, lock, i })));
  const seen: number[] = [];
  for (const _ of children) {
    const got = await queue.get({ timeout });
    assertSameLock(lock, got.lock);
    seen.push(got.i);
    if (got.i % 2 === 0) children[got.i]!.terminate();
  }
  assertEquals(seen.sort(), [0, 1, 2, 3, 4, 5]);
  for (const [i, child] of children.entries()) await ended(child, i % 2 ? 0 : -15);
});

test("Queue.get() of many at once in a child: each promise has its own item's handles", async () => {
  const queue = new Queue<unknown>();
  const results = new Queue<boolean[]>();
  const queues = Array.from({ length: 30 }, () => new Queue<number>());
  queues.forEach((each, i) => {
    each.putSync(i);
    queue.putSync(i % 3 ? { each } : i);
  });
  const child = start(closure(async () => {
    const items = await Promise.all(Array.from({ length: 30 }, () => queue.get()));
    results.putSync(
      items.map((item, i) =>
        i % 3 ? (item as { each: Queue<number> }).each.getSync() === i : item === i
      ),
    );
  }, { queue, results }));
  assertEquals(await results.get({ timeout }), Array(30).fill(true));
  await ended(child);
});

test("Queue.getSync() between pending gets with handles mixes nothing up", async () => {
  const queue = new Queue<Queue<number>>();
  const results = new Queue<number[]>();
  for (let i = 0; i < 20; i++) {
    const each = new Queue<number>();
    each.putSync(i);
    queue.putSync(each);
  }
  const child = start(closure(async () => {
    const seen: number[] = [];
    for (let i = 0; i < 10; i++) {
      const pending = queue.get();
      const second = queue.getSync().getSync();
      seen.push((await pending).getSync(), second);
    }
    results.putSync(seen);
  }, { queue, results }));
  const seen = await results.get({ timeout });
  assertEquals(seen, Array.from({ length: 20 }, (_, i) => i));
  await ended(child);
});

test("Queue streams a large item with handles in it", async () => {
  const queue = new Queue<{ lock: Lock; bytes: Uint8Array; last: Lock }>({ capacity: 4096 });
  const back = new Queue<boolean>();
  const lock = new Lock();
  const child = start(closure(async () => {
    for (let i = 0; i < 4; i++) {
      const { lock, last, bytes } = i % 2 ? queue.getSync() : await queue.get();
      const guard = lock.acquireSync();
      back.putSync(last.locked() && bytes.length === 100_000 + i && bytes.every((b) => b === i));
      guard.release();
    }
  }, { queue, back }));
  for (let i = 0; i < 4; i++) {
    const item = { lock, bytes: new Uint8Array(100_000 + i).fill(i), last: lock };
    if (i < 2) queue.putSync(item, { timeout });
    else await queue.put(item, { timeout });
    assertEquals(await back.get({ timeout }), true);
  }
  await ended(child);
});

test("Queue forwards a handle through a chain of processes", async () => {
  const queues = [0, 1, 2, 3].map(() => new Queue<Lock>());
  const links = [0, 1, 2].map((i) => {
    const [from, to] = [queues[i]!, queues[i + 1]!];
    return start(closure(async () => to.putSync(i % 2 ? from.getSync() : await from.get()), {
      from,
      to,
      i,
    }));
  });
  const lock = new Lock();
  queues[0]!.putSync(lock);
  assertSameLock(lock, await queues[3]!.get({ timeout }));
  for (const link of links) await ended(link);
});

test("Queue with handles under load: children put, main gets in turns of its event loop", async () => {
  const COUNT = 300;
  const lock = new Lock();
  const queues = [0, 1].map(() => new Queue<{ i: number; lock: Lock }>({ maxSize: 20 }));
  const children = queues.map((queue) =>
    start(closure(() => {
      for (let i = 0; i < COUNT; i++) queue.putSync({ i, lock });
    }, { queue, lock, COUNT }))
  );
  for (let i = 0; i < COUNT; i++) {
    for (const queue of queues) {
      if (i % 3 === 1) await new Promise((resolve) => setTimeout(resolve, 0));
      const got = i % 2 ? queue.getSync({ timeout }) : await queue.get({ timeout });
      assertEquals(got.i, i);
      assertInstanceOf(got.lock, Lock);
    }
  }
  for (const child of children) await ended(child);
  assertEquals(queues.map((queue) => queue.qsize()), [0, 0]);
});

test("Queue.put() of handles that times out leaves the queue as it was, and they may be put again", async () => {
  const queue = new Queue<unknown>({ maxSize: 1 });
  queue.putNowait("full");
  const sent = parcel();
  let error = "";
  await queue.put(sent, { timeout: 10 }).catch((thrown) => error = thrown.name);
  assertEquals([error, queue.qsize(), queue.getNowait()], ["QueueFullError", 1, "full"]);
  queue.putNowait(sent);
  assertLive(sent, queue.getNowait() as Parcel);
});

test("deposit() moves at once what transfer() lists, and the reader gets it", async () => {
  const queue = new Queue<unknown>();
  const buffer = new Uint8Array([1, 2, 3]).buffer;
  const { port1, port2 } = new MessageChannel();
  queue.putSync(transfer({ buffer, port: port2 }, [buffer, port2]));
  assertEquals(buffer.byteLength, 0);
  const got = queue.getSync() as { buffer: ArrayBuffer; port: MessagePort };
  assertEquals([...new Uint8Array(got.buffer)], [1, 2, 3]);
  const heard = new Promise((resolve) => port1.onmessage = (event) => resolve(event.data));
  got.port.postMessage("through");
  assertEquals(await heard, "through");
  port1.close();
});
