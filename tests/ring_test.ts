/**
 * The ring in memory/ring.ts, directly and in one process: layout, limits, streams, and what is left
 * when a process dies, or another one acts, between any two steps.
 */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ownPid } from "../memory/control.ts";
import { type Claim, CLOSED, DONE, type Item, Ring, type RingResult } from "../memory/ring.ts";
import { RingGet, RingPut } from "../memory/ring_wait.ts";
import { PENDING } from "../memory/wait.ts";

const CAPACITY = 4096;
const QUARTER = CAPACITY / 4;

/** Bytes of one frame of a stream. */
const STEP = QUARTER - 16;

// Words of the ring's header, see memory/ring.ts.
const SERIAL = 3;
const PUT_LOCK = 16;
const PUTS = 17;
const GETTERS_ASLEEP = 18;
const TAIL = 20;
const STREAM = 19;
const GET_LOCK = 32;
const GETS = 33;
const PUTTERS_ASLEEP = 34;
const HEAD = 36;

/** A pid that no process ever had: it counts as dead. */
const DEAD_PID = 15_000;

const create = (maxItems = 0): Ring => Ring.create({ capacity: CAPACITY, maxItems });

let serial = 1_000_000;

/** The same ring as another process sees it: an object of its own, which knows of no stream. */
function elsewhere(ring: Ring): Ring {
  ring.cells[SERIAL] = ++serial;
  const other = Ring.attach(ring.buffer);
  assertNotStrictEquals(other, ring);
  return other;
}

/** Bytes that depend on their length and on `seed`. */
function pattern(length: number, seed = length): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed * 13) & 255);
}

function item(length: number, seed = length, tag = seed & 0xffff): Item {
  return { bytes: pattern(length, seed), length, tag, a: seed, b: -seed };
}

const put = (ring: Ring, length: number, seed = length): RingResult =>
  ring.tryPut(item(length, seed));

/** Gets an item, and checks that it is what `item()` made. */
function check(ring: Ring, length: number, seed = length): void {
  assertStrictEquals(ring.tryGet(), DONE);
  checkInbox(ring, length, seed);
}

function checkInbox({ inbox }: Ring, length: number, seed = length): void {
  const { tag, a, b } = inbox;
  assertEquals({ length: inbox.length, tag, a, b }, {
    length,
    tag: seed & 0xffff,
    a: seed | 0,
    b: -seed | 0,
  });
  const expected = pattern(length, seed);
  const found = inbox.bytes.subarray(0, length);
  assert(expected.every((byte, i) => byte === found[i]), `the bytes of item ${seed} differ`);
}

class TakeSeed extends RingGet<{ length: number; seed: number }> {
  protected override takeInbox(): { length: number; seed: number } {
    const { length, a } = this.ring.inbox;
    checkInbox(this.ring, length, a);
    return { length, seed: a };
  }
}

/** Gets one after the other until there is nothing more; returns their seeds. */
function drain(ring: Ring): number[] {
  const seeds: number[] = [];
  for (;;) {
    if (ring.tryGet() !== DONE) return seeds;
    checkInbox(ring, ring.inbox.length, ring.inbox.a);
    seeds.push(ring.inbox.a);
  }
}

/** Sets how far the ring has got, as if it had been used for long. */
function preset(ring: Ring, count: number, position: number, items: number): void {
  const { cells } = ring;
  cells[PUTS] = cells[GETS] = count;
  for (const base of [TAIL, HEAD]) {
    for (const record of [0, 2]) {
      cells[base + record] = position;
      cells[base + record + 1] = items;
    }
  }
}

type AtomicsName =
  | "load"
  | "store"
  | "add"
  | "sub"
  | "or"
  | "exchange"
  | "compareExchange"
  | "notify";

const STEPS: AtomicsName[] = [
  "load",
  "store",
  "add",
  "sub",
  "or",
  "exchange",
  "compareExchange",
  "notify",
];

/** Runs `act`; `before` hears of each atomic step on shared memory just before it is taken. */
function instrumented<T>(
  act: () => T,
  before: (step: number, name: AtomicsName, index: number, cells: Int32Array) => void,
): T {
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const originals = STEPS.map((name) => [name, table[name]!] as const);
  const restore = () => originals.forEach(([name, original]) => table[name] = original);
  const patch = () => {
    for (const [name, original] of originals) {
      table[name] = (...args) => {
        restore();
        try {
          before(step++, name, args[1] as number, args[0] as Int32Array);
        } finally {
          patch();
        }
        return original.apply(Atomics, args);
      };
    }
  };
  let step = 0;
  patch();
  try {
    return act();
  } finally {
    restore();
  }
}

class Death extends Error {}

/**
 * Lets a process die just before its `at`-th step of `act`: it does no more, and its locks and its
 * stream belong to a dead pid. Returns false if it took fewer steps.
 */
function dies(ring: Ring, at: number, act: () => unknown): boolean {
  let died = false;
  try {
    instrumented(act, (step) => {
      if (step < at) return;
      died = true;
      throw new Death();
    });
  } catch (error) {
    if (!(error instanceof Death)) throw error;
  }
  const { cells } = ring;
  for (const lock of [PUT_LOCK, GET_LOCK]) {
    if (cells[lock]! >> 1 === ownPid) cells[lock] = (DEAD_PID << 1) | (cells[lock]! & 1);
  }
  if (cells[STREAM] === ownPid) cells[STREAM] = DEAD_PID;
  return died;
}

/** Calls `round` with 0, 1, 2 … until it returns false, the act having fewer steps. */
function everyStep(atLeast: number, round: (at: number) => boolean): void {
  let at = 0;
  while (round(at)) assert(++at < 10_000);
  assert(at >= atLeast, `only ${at} steps`);
}

// -- Layout

test("Ring.create() rounds the capacity up to a power of two, 4096 at least", () => {
  for (
    const [asked, made] of [[1, 4096], [4096, 4096], [4097, 8192], [100_000, 131_072]] as const
  ) {
    const ring = Ring.create({ capacity: asked, maxItems: 0 });
    assertEquals(ring.buffer.byteLength, made + 256);
    assert(ring.fitsFrame(made / 4));
    assert(!ring.fitsFrame(made / 4 + 1));
  }
});

test("Ring.attach() gives the same object for the same ring, and another for another", () => {
  const ring = create();
  assertStrictEquals(Ring.attach(ring.buffer), ring);
  assertNotStrictEquals(create(), ring);
});

test("Ring.tryGet() brings bytes, tag, a and b as they were, wherever in the ring a frame begins", () => {
  const lengths = [0, 1, 15, 16, 17, 63, 64, 65, 100, 500, QUARTER];
  const ring = create();
  for (let position = 0; position < CAPACITY; position += 16) {
    preset(ring, 2 * position, position, 5);
    let seed = 0;
    for (const length of lengths) {
      preset(ring, 2 * position, position, 5);
      assertStrictEquals(put(ring, length, ++seed), DONE);
      assertEquals(ring.size, 1);
      check(ring, length, seed);
      assertEquals(ring.size, 0);
    }
  }
});

test("Ring.tryPut() takes three frames of a quarter of the capacity wherever they begin, and no fourth", () => {
  const ring = create();
  for (let position = 0; position < CAPACITY; position += 16) {
    preset(ring, 0, position, 0);
    for (let seed = 1; seed <= 3; seed++) assertStrictEquals(put(ring, QUARTER, seed), DONE);
    assertStrictEquals(put(ring, QUARTER, 4), PENDING);
    assertEquals(drain(ring), [1, 2, 3]);
  }
});

test("Ring.tryPut() fills the ring to its last byte", () => {
  const ring = create();
  for (let i = 0; i < CAPACITY / 32; i++) {
    assert(!ring.full);
    assertStrictEquals(put(ring, 16, i), DONE);
  }
  assert(ring.full);
  assertStrictEquals(put(ring, 0, 999), PENDING);
  assertEquals(ring.size, CAPACITY / 32);
  assertEquals(drain(ring).length, CAPACITY / 32);
});

test("Ring.inbox keeps tags up to 65535 and all 32-bit numbers", () => {
  const ring = create();
  for (const [tag, a, b] of [[65_535, -1, 2 ** 31 - 1], [32_768, -(2 ** 31), 0], [1, 7, -7]]) {
    ring.tryPut({ bytes: new Uint8Array(3), length: 3, tag: tag!, a: a!, b: b! });
    assertStrictEquals(ring.tryGet(), DONE);
    assertEquals([ring.inbox.tag, ring.inbox.a, ring.inbox.b], [tag, a, b]);
  }
});

// -- Counters

/** Numbers that look random, the same every time. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** Puts and gets at random, beside an array that does the same. */
function walk(ring: Ring, maxItems: number, steps: number, seed: number): void {
  const pick = random(seed);
  const model: [length: number, seed: number][] = [];
  let used = 0;
  const space = (length: number) => (16 + length + 15) & ~15;
  for (let step = 1; step <= steps; step++) {
    // Tides: now more puts, now more gets.
    if (pick(100) < (step % 200 < 100 ? 70 : 30)) {
      const length = pick(10) === 0 ? pick(QUARTER + 1) : pick(100);
      const fits = used + space(length) <= CAPACITY && (maxItems === 0 || model.length < maxItems);
      assertStrictEquals(put(ring, length, step), fits ? DONE : PENDING);
      if (fits) used += space(length), model.push([length, step]);
    } else if (model.length === 0) {
      assertStrictEquals(ring.tryGet(), PENDING);
    } else {
      const [length, made] = model.shift()!;
      used -= space(length);
      check(ring, length, made);
    }
    assertStrictEquals(ring.size, model.length);
    const full = used + 32 > CAPACITY || (maxItems > 0 && model.length >= maxItems);
    assertStrictEquals(ring.full, full);
  }
}

test("Ring.size and Ring.full are exact on a random walk of puts and gets", () => {
  walk(create(), 0, 5_000, 1);
  walk(create(7), 7, 5_000, 2);
  walk(create(1), 1, 1_000, 3);
});

for (
  const [what, count, position, items] of [
    ["2^31 steps", 2 ** 31 - 40, 0, 0],
    ["2^32 steps", -40, 64, 3],
    ["2^31 bytes", 10, 2 ** 31 - 1024, 0],
    ["2^32 bytes", 12, -1024, 9],
    ["2^31 items", 4, 16, 2 ** 31 - 20],
    ["2^32 items", 2, 4080, -20],
    ["2^31 of all at once", 2 ** 31 - 40, 2 ** 31 - 1024, 2 ** 31 - 20],
  ] as const
) {
  test(`Ring goes on exactly as before after ${what}`, () => {
    for (const maxItems of [0, 5]) {
      const ring = create(maxItems);
      preset(ring, count, position, items);
      walk(ring, maxItems, 500, 4);
      const streaming = create(maxItems);
      preset(streaming, count, position, items);
      for (let round = 0; round < 20; round++) assertEquals(stream(streaming, 5_000, round), 5_000);
    }
  });
}

test("Ring.close() is seen beyond 2^31 steps", () => {
  for (const count of [2 ** 31 - 2, -2]) {
    const ring = create();
    preset(ring, count, 0, 0);
    put(ring, 10, 1);
    put(ring, 10, 2);
    assert(!ring.closed);
    ring.close();
    assert(ring.closed);
    assertEquals(ring.size, 2);
    assertEquals(drain(ring), [1, 2]);
    assertStrictEquals(ring.tryGet(), CLOSED);
  }
});

// -- Closing

test("Ring.close() fails puts, lets gets drain, and may be called twice", () => {
  const ring = create();
  put(ring, 10, 1);
  put(ring, 10, 2);
  ring.close();
  ring.close();
  assertStrictEquals(put(ring, 10, 3), CLOSED);
  assertStrictEquals(new RingPut(ring, item(5_000)).attempt(), CLOSED);
  assertEquals(ring.size, 2);
  assertEquals(drain(ring), [1, 2]);
  assertStrictEquals(ring.tryGet(), CLOSED);
  assertEquals(ring.cells[PUT_LOCK], 0);
  assertEquals(ring.cells[GET_LOCK], 0);
});

test("Ring.close() before any step of a put fails it, or comes after it: never both, never neither", () => {
  const results = new Set<RingResult>();
  everyStep(0, (at) => {
    const ring = create();
    const other = elsewhere(ring);
    let reached = false;
    const result = instrumented(() => put(ring, 10, 1), (step) => {
      if (step !== at) return;
      reached = true;
      other.close();
    });
    results.add(result);
    if (!reached) other.close();
    assertEquals(drain(other), result === DONE ? [1] : [], `closed before step ${at}`);
    assertStrictEquals(other.tryGet(), CLOSED);
    assertEquals(ring.cells[PUT_LOCK], 0);
    return reached;
  });
  assertEquals(results, new Set<RingResult>([CLOSED, DONE]));
});

test("Ring.close() amid a large item fails its put, and the gets", () => {
  const ring = create();
  const sending = new RingPut(ring, item(10_000, 3));
  assertStrictEquals(sending.attempt(), PENDING);
  const getting = new TakeSeed(ring);
  assertStrictEquals(getting.attempt(), PENDING);
  ring.close();
  assertStrictEquals(getting.attempt(), CLOSED);
  assertStrictEquals(sending.attempt(), CLOSED);
  assertStrictEquals(getting.attempt(), CLOSED);
  assertStrictEquals(put(ring, 1), CLOSED);
});

// -- Large items

/** Streams an item through the ring, a turn each; returns the length of what came out. */
function stream(ring: Ring, length: number, seed: number): number {
  const sending = new RingPut(ring, item(length, seed));
  const getting = new TakeSeed(ring);
  let sent: RingResult = PENDING;
  for (let turns = 0; turns <= 2 * length; turns++) {
    if (sent === PENDING) sent = sending.attempt();
    assertEquals(ring.size, sent === DONE ? 1 : 0);
    const got = getting.attempt();
    if (got === PENDING || got === CLOSED) continue;
    assertStrictEquals(sent, DONE);
    assertEquals(got.seed, seed);
    assertEquals([ring.size, ring.amidStream, ring.streamer], [0, false, undefined]);
    assertEquals([ring.cells[PUT_LOCK], ring.cells[GET_LOCK], ring.cells[STREAM]], [0, 0, 0]);
    return got.length;
  }
  throw new Error(`an item of ${length} bytes did not come through`);
}

test("RingPut and RingGet stream items of every awkward length", () => {
  const ring = create();
  for (const frames of [1, 2, 3, 4, 5, 8, 260]) {
    for (const more of [-1, 0, 1]) {
      const length = Math.max(QUARTER + 1, frames * STEP + more);
      assertEquals(stream(ring, length, length), length);
    }
  }
});

test("RingPut and RingGet stream an item from wherever the ring has got to", () => {
  const ring = create();
  for (let position = 0; position < CAPACITY; position += 16) {
    preset(ring, position, position, 0);
    assertEquals(stream(ring, 4_500, position), 4_500);
  }
});

test("RingPut lets the small items of its own process pass only after a large item", () => {
  const ring = create();
  const other = elsewhere(ring);
  const large = new RingPut(ring, item(5_000, 1));
  assertStrictEquals(large.attempt(), PENDING);
  assertStrictEquals(put(ring, 10, 2), PENDING);
  assertStrictEquals(new RingPut(ring, item(6_000, 3)).attempt(), PENDING);
  assertStrictEquals(put(other, 10, 4), PENDING);
  assertStrictEquals(other.tryGet(), PENDING);
  // The put of the small item first brings the large one to its end.
  assertStrictEquals(put(ring, 10, 2), DONE);
  assertStrictEquals(large.attempt(), DONE);
  assertEquals(drain(other), [1, 2]);
});

test("RingPut.cancel() amid a stream leaves nothing to be got, and the next item comes", () => {
  for (const begun of [false, true]) {
    const ring = create();
    const getting = elsewhere(ring);
    put(ring, 10, 1);
    const large = new RingPut(ring, item(20_000, 2));
    assertStrictEquals(large.attempt(), PENDING);
    if (begun) {
      check(getting, 10, 1);
      assertStrictEquals(getting.tryGet(), PENDING);
      assert(getting.amidStream);
      assertStrictEquals(large.attempt(), PENDING);
    }
    large.cancel();
    assertEquals(ring.size, begun ? 0 : 1);
    assertEquals(drain(getting), begun ? [] : [1]);
    assert(!getting.amidStream);
    assertStrictEquals(put(ring, 10, 3), DONE);
    assertEquals(ring.size, 1);
    assertEquals(drain(getting), [3]);
  }
});

test("RingPut.cancel() frees the room of what it has put, though nobody gets", () => {
  const ring = create();
  const large = new RingPut(ring, item(20_000, 2));
  assertStrictEquals(large.attempt(), PENDING);
  large.cancel();
  assertEquals(ring.size, 0);
  assertEquals(ring.full, false);
  for (let seed = 1; seed <= 3; seed++) assertStrictEquals(put(ring, QUARTER, seed), DONE);
  assertEquals(drain(ring), [1, 2, 3]);
});

test("RingPut.cancel() does nothing to a stream that is not its own", () => {
  const ring = create();
  const first = new RingPut(ring, item(20_000, 1));
  const second = new RingPut(ring, item(20_000, 2));
  first.attempt();
  second.attempt();
  second.cancel();
  const other = elsewhere(ring);
  for (let turn = 0; turn < 100 && other.tryGet() === PENDING; turn++) first.attempt();
  checkInbox(other, 20_000, 1);
});

// -- Claims

/** A claim that writes the item's `a` and the number of its frame. */
function claimAt(cells: Int32Array, index: number): Claim {
  return {
    take({ a }, frame) {
      Atomics.store(cells, index + 1, frame);
      Atomics.store(cells, index, a);
    },
  };
}

test("Ring.tryGet() writes the claim of an item, and nothing if there is none", () => {
  const ring = create();
  const cells = new Int32Array(new SharedArrayBuffer(16));
  const claim = claimAt(cells, 1);
  assertStrictEquals(ring.tryGet(claim), PENDING);
  assertEquals([...cells], [0, 0, 0, 0]);
  for (let seed = 11; seed < 14; seed++) put(ring, 10, seed);
  for (let seed = 11; seed < 14; seed++) {
    const number = ring.frameNumber;
    assertStrictEquals(ring.tryGet(claim), DONE);
    assertEquals([...cells], [0, seed, number, 0]);
    assert(((ring.frameNumber - number) | 0) > 0);
  }
});

test("Ring.tryGet() claims a large item with its first frame, and never the rest of one", () => {
  const ring = create();
  const cells = new Int32Array(new SharedArrayBuffer(8));
  const claim = claimAt(cells, 0);
  const sending = new RingPut(ring, item(3 * STEP, 5));
  assertStrictEquals(sending.attempt(), DONE);
  const dead = elsewhere(ring);
  assert(dies(ring, 12, () => dead.tryGet(claim)), "it dies amid the item");
  assertEquals(cells[0], 5);
  cells[0] = 0;
  put(ring, 10, 6);
  assertStrictEquals(ring.tryGet(claim), DONE);
  assert(cells[0] === 5 || cells[0] === 6);
  checkInbox(ring, cells[0] === 5 ? 3 * STEP : 10, cells[0]);
});

test("Ring.quiesceGets() tells whether another process is amid a get", () => {
  const ring = create();
  assert(ring.quiesceGets());
  ring.cells[GET_LOCK] = 1 << 1; // The main process is alive.
  assert(!ring.quiesceGets());
  ring.cells[GET_LOCK] = DEAD_PID << 1;
  assert(ring.quiesceGets());
  assertEquals(ring.cells[GET_LOCK], 0);
});

// -- Waking

/** The words that `act` has notified, each with the count. */
function notified(ring: Ring, act: () => void): Map<number, number | undefined> {
  const seen = new Map<number, number | undefined>();
  const table = Atomics as { notify(cells: Int32Array, index: number, count?: number): number };
  const original = table.notify;
  table.notify = (cells, index, count) => {
    if (cells.buffer === ring.buffer) seen.set(index, count);
    return original(cells, index, count);
  };
  try {
    act();
  } finally {
    table.notify = original;
  }
  return seen;
}

test("Ring wakes one consumer for an item and all producers for room, and nobody if none sleeps", () => {
  const ring = create();
  assertEquals(notified(ring, () => put(ring, 10)).size, 0);
  assertEquals(notified(ring, () => ring.tryGet()).size, 0);
  ring.cells[GETTERS_ASLEEP] = ring.cells[PUTTERS_ASLEEP] = 2;
  assertEquals([...notified(ring, () => put(ring, 10))], [[PUTS, 1]]);
  assertEquals([...notified(ring, () => ring.tryGet())], [[GETS, undefined]]);
  const closing = notified(ring, () => ring.close());
  assertEquals([...closing.keys()].sort(), [PUTS, GETS]);
});

for (const [side, lock] of [["tryPut", PUT_LOCK], ["tryGet", GET_LOCK]] as const) {
  test(`Ring.${side}() after a sleep on the lock wakes the next who sleeps there`, () => {
    const ring = create();
    put(ring, 10, 1);
    const other = elsewhere(ring);
    const act = () => side === "tryPut" ? put(other, 10, 2) : other.tryGet();
    ring.cells[lock] = ownPid << 1; // Held, as if by another process.
    assertStrictEquals(act(), PENDING);
    assertEquals([other.index, other.expected], [lock, (ownPid << 1) | 1]);
    // The holder releases and wakes one of many: this one. It cannot know whether it was the last.
    ring.cells[lock] = 0;
    const woken = notified(ring, () => assertStrictEquals(act(), DONE));
    assertEquals(woken.get(lock), 1);
  });
}

test("Ring says where to sleep: on room, on items, on the lock", () => {
  const ring = create(1);
  assertStrictEquals(ring.tryGet(), PENDING);
  assertEquals([ring.index, ring.expected, ring.sleepers], [
    PUTS,
    ring.cells[PUTS],
    GETTERS_ASLEEP,
  ]);
  put(ring, 1);
  assertStrictEquals(put(ring, 1), PENDING);
  assertEquals([ring.index, ring.expected, ring.sleepers], [
    GETS,
    ring.cells[GETS],
    PUTTERS_ASLEEP,
  ]);
});

test("Ring does not keep a lock when memory for the item runs out", () => {
  const ring = create();
  put(ring, 1_000, 1);
  const original = globalThis.Uint8Array;
  class NoMemory extends original {
    constructor(...args: unknown[]) {
      if (typeof args[0] === "number") throw new RangeError("Array buffer allocation failed");
      super(...args as [ArrayBuffer, number, number]);
    }
  }
  globalThis.Uint8Array = NoMemory as unknown as typeof Uint8Array;
  try {
    assertThrows(() => ring.tryGet(), RangeError, "allocation failed");
  } finally {
    globalThis.Uint8Array = original;
  }
  assertEquals(ring.cells[GET_LOCK], 0);
  check(ring, 1_000, 1);
});

// -- Death, and others, at every step

for (const start of [0, CAPACITY - 64]) {
  test(`Ring.tryPut() that dies at any step from byte ${start} on puts its item or does not`, () => {
    everyStep(8, (at) => {
      const ring = create(4);
      preset(ring, 6, start, 2);
      const [victim, survivor] = [elsewhere(ring), elsewhere(ring)];
      put(ring, 40, 1);
      const died = dies(ring, at, () => put(victim, 50, 2));
      const committed = survivor.size === 2;
      assertStrictEquals(put(survivor, 60, 3), DONE);
      assertEquals(survivor.size, committed ? 3 : 2);
      assertEquals(drain(survivor), committed ? [1, 2, 3] : [1, 3]);
      assertEquals([survivor.size, ring.cells[PUT_LOCK]], [0, 0]);
      return died;
    });
  });

  test(`Ring.tryGet() that dies at any step from byte ${start} on takes its item or leaves it`, () => {
    everyStep(8, (at) => {
      const ring = create();
      preset(ring, 6, start, 2);
      const [victim, survivor] = [elsewhere(ring), elsewhere(ring)];
      for (let seed = 1; seed <= 3; seed++) put(ring, 50, seed);
      const died = dies(ring, at, () => victim.tryGet());
      const taken = survivor.size === 2;
      assertEquals(survivor.size, taken ? 2 : 3);
      assertEquals(drain(survivor), taken ? [2, 3] : [1, 2, 3]);
      assertEquals([survivor.size, ring.cells[GET_LOCK]], [0, 0]);
      return died;
    });
  });
}

for (const begun of [false, true]) {
  const whom = begun ? "who had begun to get it" : "who had not begun to get it";
  test(`RingPut that dies at any step of a stream puts all of it or nothing for one ${whom}`, () => {
    everyStep(25, (at) => {
      const ring = create();
      const [victim, survivor] = [elsewhere(ring), elsewhere(ring)];
      put(ring, 40, 1);
      let died = false;
      const large = new RingPut(victim, item(3 * STEP, 2));
      if (begun) {
        assertEquals(drain(survivor), [1]);
        died = dies(ring, at, () => {
          large.attempt();
        });
        if (survivor.tryGet() === DONE) checkInbox(survivor, 3 * STEP, 2);
      } else {
        died = dies(ring, at, () => large.attempt());
      }
      if (begun) {
        assertStrictEquals(put(survivor, 60, 3), DONE);
        assertEquals(drain(survivor), [3]);
      } else {
        const committed = survivor.size === 2;
        assertStrictEquals(put(survivor, 60, 3), DONE);
        assertEquals(drain(survivor), committed ? [1, 2, 3] : [1, 3]);
      }
      assertEquals([survivor.size, survivor.amidStream], [0, false]);
      assertEquals([ring.cells[PUT_LOCK], ring.cells[GET_LOCK]], [0, 0]);
      return died;
    });
  });
}

test("RingPut that dies amid a stream longer than the ring blocks no producer, though nobody gets", () => {
  const ring = create();
  const [victim, survivor] = [elsewhere(ring), elsewhere(ring)];
  const large = new RingPut(victim, item(20_000, 2));
  dies(ring, Infinity, () => large.attempt());
  assertEquals([survivor.size, survivor.full], [0, false]);
  assertStrictEquals(put(survivor, 60, 3), DONE);
  assertEquals(drain(survivor), [3]);
});

test("RingPut that dies while a consumer waits for the next frame is given up by the consumer", () => {
  for (const next of [10, 3 * STEP]) {
    const ring = create();
    const [victim, survivor, third] = [elsewhere(ring), elsewhere(ring), elsewhere(ring)];
    const large = new RingPut(victim, item(20_000, 2));
    assertStrictEquals(large.attempt(), PENDING);
    assertStrictEquals(survivor.tryGet(), PENDING);
    assert(survivor.amidStream);
    assertStrictEquals(survivor.tryGet(), PENDING);
    assert(survivor.amidStream);
    dies(ring, 0, () => {});
    // The consumer's lock is its own still; dies() has made it the dead one's.
    ring.cells[GET_LOCK] = ownPid << 1;
    assertStrictEquals(survivor.tryGet(), PENDING);
    assert(!survivor.amidStream);
    assertStrictEquals(new RingPut(third, item(next, 3)).attempt(), DONE);
    assertEquals(drain(survivor), [3]);
  }
});

test("Ring.tryGet() that dies at any step of a stream loses at most that item", () => {
  everyStep(15, (at) => {
    const ring = create();
    const [victim, survivor] = [elsewhere(ring), elsewhere(ring)];
    assertStrictEquals(new RingPut(ring, item(2 * STEP, 1)).attempt(), DONE);
    put(ring, 40, 2);
    const died = dies(ring, at, () => victim.tryGet());
    const before = survivor.size;
    assert(before === 1 || before === 2);
    const got = drain(survivor);
    assert(got.length === 1 ? got[0] === 2 : `${got}` === "1,2", `got ${got}`);
    assertEquals([survivor.size, ring.cells[GET_LOCK]], [0, 0]);
    return died;
  });
});

test("Ring.tryGet() that dies amid a stream, and its producer then too, leave a ring that works", () => {
  everyStep(20, (at) => {
    const ring = create();
    const [producer, victim, survivor] = [elsewhere(ring), elsewhere(ring), elsewhere(ring)];
    const large = new RingPut(producer, item(8 * STEP, 1));
    assertStrictEquals(large.attempt(), PENDING);
    const died = dies(ring, at, () => victim.tryGet());
    ring.cells[PUT_LOCK] = DEAD_PID << 1;
    assertEquals(drain(survivor), []);
    for (let seed = 2; seed < 5; seed++) assertStrictEquals(put(survivor, QUARTER, seed), DONE);
    assertEquals(survivor.size, 3);
    assertEquals(drain(survivor), [2, 3, 4]);
    assertEquals(stream(survivor, 9_000, 5), 9_000);
    return died;
  });
});

/** What another process may do between two steps: its name, and the act. */
const OTHERS: [string, (other: Ring, got: number[]) => void][] = [
  ["gets", (other, got) => other.tryGet() === DONE && got.push(other.inbox.a)],
  ["gets all", (other, got) => got.push(...drain(other))],
  ["puts", (other) => put(other, 30, 100)],
  ["puts and gets", (other, got) => {
    put(other, 30, 100);
    got.push(...drain(other));
  }],
];

for (const [what, act] of OTHERS) {
  test(`Ring.tryPut() while another process ${what} at any step loses and doubles nothing`, () => {
    everyStep(8, (at) => {
      const ring = create(4);
      const other = elsewhere(ring);
      put(ring, 40, 1);
      put(ring, 40, 2);
      const got: number[] = [];
      let reached = false;
      let added = 0;
      const result = instrumented(() => put(ring, 50, 3), (step) => {
        if (step !== at) return;
        reached = true;
        const before = other.size + got.length;
        const had = got.length;
        act(other, got);
        added = other.size + got.length - before;
        assert(got.length - had >= 0);
      });
      assertStrictEquals(result, DONE);
      assertEquals(ring.size, 3 + added - got.length);
      got.push(...drain(ring));
      assertEquals(got.filter((seed) => seed < 100), [1, 2, 3], `${what} at step ${at}`);
      assertEquals(got.length, 3 + added);
      return reached;
    });
  });

  test(`Ring.tryGet() while another process ${what} at any step loses and doubles nothing`, () => {
    everyStep(8, (at) => {
      const ring = create();
      const other = elsewhere(ring);
      for (let seed = 1; seed <= 3; seed++) put(ring, 50, seed);
      const got: number[] = [];
      let reached = false;
      let added = 0;
      const result = instrumented(() => ring.tryGet(), (step) => {
        if (step !== at) return;
        reached = true;
        const before = other.size + got.length;
        act(other, got);
        added = other.size + got.length - before;
      });
      if (result === DONE) got.push(ring.inbox.a);
      got.push(...drain(ring));
      const own = got.filter((seed) => seed < 100);
      // The other one may have got item 2 while this one still had item 1 in its hands.
      assertEquals(own.sort(), [1, 2, 3], `${what} at step ${at}`);
      assertEquals(got.length, 3 + Math.max(0, added));
      return reached;
    });
  });
}

for (const reading of ["size", "full"] as const) {
  test(`Ring.${reading} is exact while others put and get at any step`, () => {
    // Items of 16 bytes but one: one less than full. Two puts and two gets reuse both records.
    for (
      const act of [
        (ring: Ring) => (put(ring, 0, 1), put(ring, 0, 2), put(ring, 0, 3)),
        (ring: Ring) => (ring.tryGet(), ring.tryGet(), ring.tryGet()),
        (ring: Ring) => (ring.tryGet(), put(ring, 0, 4), ring.tryGet(), put(ring, 0, 5)),
      ]
    ) {
      everyStep(2, (at) => {
        const ring = create();
        const other = elsewhere(ring);
        for (let i = 0; i < CAPACITY / 16 - 4; i++) put(ring, 0, i);
        let reached = false;
        const before = ring[reading];
        const found = instrumented(() => ring[reading], (step) => {
          if (step !== at) return;
          reached = true;
          act(other);
        });
        assert(found === before || found === ring[reading], `${found} at step ${at}`);
        return reached;
      });
    }
  });
}
