/** SharedArray: its contract for every type, in one process, between processes, and through a death. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertNotStrictEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Pool } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import {
  type ElementOf,
  type ElementType,
  SharedArray,
  type SharedOptions,
  Value,
} from "../shared.ts";
import { Lock, RLock } from "../sync.ts";
import { closure } from "../target.ts";
import { assertSame, misfitEnd, TYPES } from "./fixtures/element_types.ts";
import { ask, run, SOON, start, TAKEOVER_MS, until } from "./fixtures/processes.ts";

/** An array of any type, for tests that go through all of them. */
interface AnyArray {
  readonly length: number;
  readonly array: ArrayLike<unknown> & ArrayBufferView;
  at(index: unknown): unknown;
  set(index: unknown, value: unknown): void;
  slice(start?: unknown, end?: unknown): unknown[];
  fill(value: unknown, start?: unknown, end?: unknown): this;
  getLock(): Lock;
  [Symbol.iterator](): Iterator<unknown>;
}

function newArray(type: unknown, sizeOrValues: unknown, options?: SharedOptions): AnyArray {
  return new SharedArray(type as ElementType, sizeOrValues as number, options) as AnyArray;
}

/** The typed array of each type. */
const CLASSES: Record<string, unknown> = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  f32: Float32Array,
  f64: Float64Array,
  bool: Uint8Array,
};

/** Bounds as a caller may give them, for an array of four elements. */
const BOUNDS = [
  undefined,
  -Infinity,
  -9,
  -4,
  -3,
  -1.7,
  -1,
  -0,
  0,
  0.9,
  1,
  2.7,
  3,
  4,
  9,
  Infinity,
  NaN,
];

// -- One process

for (const { type, codes, zero, values, wraps = [] } of TYPES) {
  test(`SharedArray of ${[type, ...codes].join(", ")} is zero at first, and holds what it is given`, () => {
    for (const name of [type, ...codes]) {
      const array = newArray(name, 3);
      assertEquals([...array], [zero, zero, zero]);
      for (const given of values) {
        array.set(1, given);
        assertSame(array.at(1), given);
        assertSame(array.fill(given, 2).at(-1), given);
      }
      assertSame(array.at(0), zero);
      const copy = newArray(name, values);
      assertEquals(copy.length, values.length);
      values.forEach((value, index) => assertSame(copy.at(index), value));
      for (const [given, becomes] of wraps) {
        array.set(0, given);
        assertSame(array.at(0), becomes);
        assertSame(array.fill(given).at(2), becomes);
        assertSame(newArray(name, [given]).at(0), becomes);
      }
    }
  });

  test(`SharedArray.array of ${type} is the typed array itself: what one writes, the other reads`, () => {
    for (const name of [type, ...codes]) {
      const array = newArray(name, 3);
      assertStrictEquals(array.array.constructor, CLASSES[type]);
      assertInstanceOf(array.array.buffer, SharedArrayBuffer);
      assertEquals([array.array.length, array.array.byteOffset], [3, 0]);
      assertStrictEquals(array.array, array.array);
      const [value] = values.slice(-1);
      array.set(1, value);
      assertSame(type === "bool" ? array.array[1] !== 0 : array.array[1], value);
      (array.array as unknown as unknown[])[2] = array.array[1];
      assertSame(array.at(2), value);
    }
  });

  test(`SharedArray of ${type} refuses what is of another type, and stays as it was`, () => {
    const [one] = values.slice(1);
    const array = newArray(type, [one, one]);
    const wrong = [0, 0n, false, "1", null, undefined, {}, Object.create(null), Symbol("s")]
      .filter((wrong) => typeof wrong !== typeof zero);
    for (const given of wrong) {
      for (
        const [act, at] of [
          [() => array.set(1, given), 1],
          [() => array.set(-2, given), 0],
          [() => array.fill(given), 0],
          [() => array.fill(given, 9), 2],
          [() => newArray(type, [one, one, one, given]), 3],
        ] as const
      ) {
        const error = assertThrows(act, TypeError);
        assertStringIncludes(
          error.message,
          `Cannot write SharedArray: element ${at} of type ${type} holds a ${typeof zero}, but got `,
        );
        assert(error.message.endsWith(misfitEnd(zero, given)), error.message);
      }
    }
    assertEquals([...array], [one, one]);
  });
}

test("SharedArray of bool holds bytes 0 and 1, and reads any other byte as true", () => {
  const array = new SharedArray("bool", [true, false, true]);
  assertEquals([...array.array], [1, 0, 1]);
  array.array[1] = 7;
  assertEquals([...array], [true, true, true]);
});

test("SharedArray of an unknown type throws TypeError that names the known ones", () => {
  for (const type of ["", "int", "toString", "__proto__", 8, null, undefined, {}, ["i8"]]) {
    const error = assertThrows(() => newArray(type, 1), TypeError);
    assertMatch(error.message, /^Cannot create SharedArray: unknown type .*; known are i8, u8, /);
  }
});

test("SharedArray takes a size that is an integer >= 0, and names what else it is given", () => {
  for (const size of [-1, 1.5, NaN, Infinity, -Infinity, 2 ** 53]) {
    const error = assertThrows(() => newArray("u8", size), RangeError);
    assertEquals(
      error.message,
      `Cannot create SharedArray: its size must be an integer >= 0, but is ${size}`,
    );
  }
  for (const given of [null, undefined, true, 5n, {}, { length: 3 }, () => 3, Symbol("3")]) {
    assertThrows(() => newArray("u8", given), TypeError, "must be a number or an iterable");
  }
  assertThrows(() => newArray("u8", "123"), TypeError, "element 0 of type u8");
});

test("SharedArray that is larger than the runtime can give throws RangeError with type and size", () => {
  for (const [type, bytes] of [["u8", 2 ** 50], ["f64", 2 ** 53]] as const) {
    const error = assertThrows(() => newArray(type, 2 ** 50), RangeError);
    assertEquals(
      error.message,
      `Cannot allocate ${2 ** 50} elements of type ${type}: ${bytes} bytes are more than this ` +
        "runtime can give",
    );
    assertInstanceOf(error.cause, RangeError);
  }
});

test("SharedArray of no elements can be used and crosses", async () => {
  for (const none of [0, -0, [], new Set<number>()]) {
    const array = newArray("f64", none);
    assertEquals([array.length, [...array], array.slice(), array.array.byteLength], [0, [], [], 0]);
    assertStrictEquals(array.fill(1), array);
    assertThrows(() => array.at(0), RangeError, "(length 0)");
    assertEquals(await run(() => [array.length, [...array]], { array }), [0, []]);
  }
});

test("SharedArray of a size is zero also where memory has been used before", () => {
  for (let round = 0; round < 30; round++) {
    const array = new SharedArray("u32", 50_000);
    assert(array.array.every((element) => element === 0));
    array.fill(0xdead_beef);
  }
});

test("SharedArray copies values of any iterable, once and for all", () => {
  function* naturals() {
    for (let n = 1; n <= 3; n++) yield n;
  }
  const list = [1, 2, 3];
  const typed = new Float32Array(list);
  const original = new SharedArray("i16", list);
  for (const values of [list, naturals(), new Set(list), typed, original, original.array]) {
    const array = new SharedArray("i32", values);
    list[0] = typed[0] = 9;
    original.set(0, 9);
    assertEquals([...array], [1, 2, 3]);
    array.set(0, 8);
    assertEquals([list[0], typed[0], original.at(0)], [9, 9, 9]);
    list[0] = typed[0] = 1;
    original.set(0, 1);
  }
  assertThrows(() => newArray("i32", [1, , 3]), TypeError, "element 1 of type i32");
  assertEquals([...newArray("i64", new BigInt64Array([5n]))], [5n]);
});

test("SharedArray.at() and set() count from either end, and name index and length beyond", () => {
  const array = new SharedArray("i32", [10, 20, 30]);
  assertEquals([0, 1, 2, -1, -2, -3, -0].map((i) => array.at(i)), [10, 20, 30, 30, 20, 10, 10]);
  array.set(-1, 31);
  array.set(0, 11);
  assertEquals([...array], [11, 20, 31]);
  for (const index of [3, -4, 2 ** 40, -Infinity, Infinity, NaN, 0.5, -1.5]) {
    const text = `'index' must be an integer >= -3 and < 3, but is ${index} (length 3)`;
    for (
      const [verb, act] of [
        ["read", () => array.at(index)],
        ["write", () => array.set(index, 1)],
      ] as const
    ) {
      const error = assertThrows(act, RangeError);
      assertEquals(error.message, `Cannot ${verb} SharedArray: ${text}`);
    }
  }
  for (const index of ["0", 0n, null, undefined, {}, Symbol("0")]) {
    assertThrows(() => newArray("i8", 1).at(index), TypeError, "'index' must be an integer");
    assertThrows(() => newArray("i8", 1).set(index, 1), TypeError, "'index' must be an integer");
  }
  assertEquals([...array], [11, 20, 31]);
});

test("SharedArray.slice() takes its bounds as Array.prototype.slice does, and gives a copy", () => {
  const plain = [1.5, 2.5, 3.5, 4.5];
  const array = new SharedArray("f64", plain);
  for (const start of BOUNDS) {
    for (const end of BOUNDS) assertEquals(array.slice(start, end), plain.slice(start, end));
  }
  assertEquals(array.slice(), plain);
  array.slice()[0] = 0;
  assertEquals(array.at(0), 1.5);
});

test("SharedArray.fill() takes its bounds as Array.prototype.fill does, and gives the array", () => {
  for (const [type, old, given] of [["i16", 1, 7], ["f64", 1, 7.5], ["u64", 1n, 7n]] as const) {
    for (const start of BOUNDS) {
      for (const end of BOUNDS) {
        const array = newArray(type, Array(4).fill(old));
        assertStrictEquals(array.fill(given, start, end), array);
        const plain = Array<number | bigint>(4).fill(old).fill(given, start, end);
        assertEquals([...array], plain, `fill(${given}, ${start}, ${end})`);
      }
    }
  }
});

test("SharedArray.fill() writes each element of a long one, and none beside", () => {
  for (const { type, zero, values } of TYPES) {
    const length = 20_000;
    for (const [start, end] of [[1, length - 1], [4_095, 4_097], [4_096, 8_192], [5, 4_101]]) {
      const array = newArray(type, length).fill(values[1], start, end);
      const plain = Array(length).fill(zero).fill(values[1], start, end);
      assert(array.slice().every((value, index) => Object.is(value, plain[index])), type);
    }
  }
});

test("SharedArray can be iterated again and again; each element is read when its turn comes", () => {
  const array = new SharedArray("u8", [1, 2, 3]);
  const iterator = array[Symbol.iterator]();
  assertEquals(iterator.next(), { value: 1, done: false });
  array.set(1, 20);
  assertEquals(iterator.next(), { value: 20, done: false });
  assertEquals(iterator.next().value, 3);
  assertEquals(iterator.next(), { value: undefined, done: true });
  assertEquals(Array.from(array, (n) => n + 1), [2, 21, 4]);
  const [first, ...rest] = array;
  assertEquals([first, rest], [1, [20, 3]]);
});

test("SharedArray refuses the brackets of Python and of typed arrays, which would share nothing", () => {
  const array = newArray("i32", [1, 2]);
  const bare = array as unknown as Record<number, number>;
  const mend = "use at(0) and set(0, value), or 'array'";
  assertThrows(() => bare[0], TypeError, `Cannot read SharedArray by [0]: ${mend}`);
  assertThrows(() => bare[0] = 5, TypeError, `Cannot write SharedArray by [0]: ${mend}`);
  assertEquals([...array], [1, 2]);
  (array.array as Int32Array)[0] = 5;
  assertEquals([array.at(0), Object.keys(array).sort()], [5, ["array", "length"]]);
});

test("SharedArray is typed: elements, values and typed array go by the element type", () => {
  const floats = new SharedArray("f64", [1]);
  const view: Float64Array = floats.array;
  const longs = new SharedArray("q", [1n]);
  const long: bigint = longs.at(0);
  const flags = new SharedArray("?", [true]);
  const flag: boolean = flags.slice()[0]!;
  const any: ArrayBufferView = (floats as unknown as SharedArray).array;
  const element: ElementOf<"f64"> = floats.at(0);
  assertEquals([view[0], long, flag, any.byteLength, element], [1, 1n, true, 8, 1]);
});

test("SharedArray.getLock() is an RLock of its own, or the lock given, or refused", () => {
  const array = new SharedArray("i32", 1);
  assertInstanceOf(array.getLock(), RLock);
  assertStrictEquals(array.getLock(), array.getLock());
  assertNotStrictEquals(array.getLock(), new SharedArray("i32", 1).getLock());
  assertInstanceOf(new SharedArray("i32", 1, { lock: true }).getLock(), RLock);
  for (const lock of [new Lock(), new RLock()]) {
    assertStrictEquals(new SharedArray("i32", [1], { lock }).getLock(), lock);
  }
  const bare = new SharedArray("i32", 1, { lock: false });
  assertThrows(() => bare.getLock(), TypeError, "'lock: false'");
  for (const lock of ["nolock", {}, 0, null]) {
    assertThrows(
      () => newArray("i32", 1, { lock } as never),
      TypeError,
      "Cannot create SharedArray: 'lock' must be",
    );
  }
});

test("SharedArray of any number and size lies in memory of its own", () => {
  const arrays = Array.from({ length: 300 }, (_, n) => {
    const { type } = TYPES[n % 10]!;
    const value = type === "i64" || type === "u64" ? BigInt(n % 100) : n % 100;
    return { value, array: newArray(type, (n * 7919) % 1000).fill(value) };
  });
  for (const { value, array } of arrays) {
    assert([...array].every((element) => element === value));
  }
});

// -- Between processes

for (const lock of [true, false]) {
  test(`SharedArray of every type is doubled in place by a child ${lock ? "under" : "without"} its lock`, async () => {
    const rows = TYPES.filter(({ type }) => type !== "bool").map(({ type }) => {
      const wide = type === "i64" || type === "u64";
      return newArray(type, wide ? [1n, 2n, 20n] : [1, 2, 20], { lock });
    });
    const flags = new SharedArray("bool", [true, false], { lock });
    await run(() => {
      for (const array of rows) {
        const guard = lock ? array.getLock().acquireSync() : undefined;
        for (let i = 0; i < array.length; i++) {
          const element = array.at(i) as number;
          array.set(i, element + element);
        }
        guard?.release();
      }
      for (let i = 0; i < flags.length; i++) flags.set(i, !flags.at(i));
    }, { rows, flags, lock });
    for (const array of rows) assertEquals([...array].map(Number), [2, 4, 40]);
    assertEquals([...flags], [false, true]);
  });

  test(`SharedArray ${lock ? "with" : "without"} a lock becomes its own prefix sums in a child`, async () => {
    const plain = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];
    const array = new SharedArray("i32", plain, { lock });
    assertEquals([array.length, array.at(3), array.slice(2, 7)], [10, 821, plain.slice(2, 7)]);
    [1, 2, 3, 4].forEach((value, i) => array.set(4 + i, plain[4 + i] = value));
    assertEquals(array.slice(), plain);
    await run(() => {
      for (let i = 1; i < array.length; i++) array.set(i, array.at(i) + array.at(i - 1));
    }, { array });
    let sum = 0;
    assertEquals([...array], plain.map((value) => sum += value));
  });
}

test("SharedArray keeps type, values, length and rules in a child", async () => {
  const rows = TYPES.map(({ type, values }) => newArray(type, values));
  const said = await run(
    () =>
      rows.map((array) => {
        const refused = [
          () => array.set(0, "text"),
          () => array.at(array.length),
          () => array.fill("text"),
        ].map((act) => {
          try {
            act();
            return "none";
          } catch (error) {
            return (error as Error).name;
          }
        });
        return [[...array], array.array.constructor.name, refused, array.constructor.name];
      }),
    { rows },
  );
  assertEquals(
    said,
    TYPES.map(({ type, values }) => [
      values.map((value) => type === "f32" ? Math.fround(value as number) : value),
      (CLASSES[type] as { name: string }).name,
      ["TypeError", "RangeError", "TypeError"],
      "SharedArray",
    ]),
  );
});

test("SharedArray takes Atomics on its typed array, also in a child", async () => {
  const array = new SharedArray("i32", 2, { lock: false });
  const work = () => {
    for (let i = 0; i < 2_000; i++) Atomics.add(array.array, i % 2, 1);
  };
  const children = [1, 2].map(() => start(work, { array }));
  work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals(array.slice(), [3_000, 3_000]);
});

test("SharedArray.getLock() makes several elements change as one among processes", async () => {
  const accounts = new SharedArray("f64", [100, 100, 100]);
  const broken = new Value("i32", 0);
  const work = async () => {
    for (let i = 0; i < 60; i++) {
      const lock = accounts.getLock();
      const guard = i % 2 === 0 ? lock.acquireSync() : await lock.acquire();
      if (accounts.slice().reduce((a, b) => a + b) !== 300) broken.add(1);
      accounts.set(i % 3, accounts.at(i % 3) - 10);
      accounts.set((i + 1) % 3, accounts.at((i + 1) % 3) + 10);
      guard.release();
    }
  };
  const children = [1, 2].map(() => start(work, { accounts, broken }));
  await work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals([accounts.slice(), broken.value], [[100, 100, 100], 0]);
});

test("SharedArray is filled by the tasks of a pool, each its own stripe", async () => {
  const squares = new SharedArray("u32", 40, { lock: false });
  const pool = new Pool({ processes: 2 });
  const fillStripe = ([array, start]: [SharedArray<"u32">, number]) => {
    for (let i = start; i < start + 10; i++) array.set(i, i * i);
    return array.at(start);
  };
  const stripes = [0, 10, 20, 30].map((at): [SharedArray<"u32">, number] => [squares, at]);
  const firsts = await pool.map(fillStripe, stripes);
  const sum = await pool.apply(closure(() => [...squares].reduce((a, b) => a + b), { squares }));
  pool.close();
  await pool.join();
  assertEquals(firsts, [0, 100, 400, 900]);
  assertEquals(squares.slice(), Array.from({ length: 40 }, (_, i) => i * i));
  assertEquals(sum, (39 * 40 * 79) / 6);
});

test("SharedArray crosses as itself: deep in objects, in a scope, in a queue item; twice is one", async () => {
  const [deep, scoped, queued] = [1, 2, 3].map(() => new SharedArray("i32", 2)) as [
    SharedArray<"i32">,
    SharedArray<"i32">,
    SharedArray<"i32">,
  ];
  const items = new Queue<unknown>();
  await items.put({ list: [new Map([[queued, queued]])] });
  const nested = { map: new Map([["key", [deep]]]), again: deep };
  const same = new Queue<boolean[]>();
  const child = new Process({
    target: closure(({ map, again }: typeof nested) => {
      const [deep] = map.get("key")!;
      const item = items.getSync() as { list: [Map<SharedArray<"i32">, SharedArray<"i32">>] };
      const [[key, value]] = [...item.list[0]] as [[SharedArray<"i32">, SharedArray<"i32">]];
      same.putSync([deep === again, key === value, deep!.getLock() === again.getLock()]);
      deep!.set(0, 1);
      scoped.set(-1, 2);
      key.fill(3);
    }, { scoped, items, same }),
    args: [nested],
  });
  child.start();
  assertEquals(await same.get({ timeout: SOON }), [true, true, true]);
  await child.join();
  assertEquals([deep, scoped, queued].map((array) => array.slice()), [[1, 0], [0, 2], [3, 3]]);
});

test("SharedArray takes its lock along: shared with others, and none", async () => {
  const lock = new Lock();
  const one = new SharedArray("i32", 1, { lock });
  const two = new SharedArray("f32", 1, { lock });
  const bare = new SharedArray("i32", 1, { lock: false });
  const own = new SharedArray("i32", 1);
  const said = await run(() => {
    let refused = "";
    try {
      bare.getLock();
    } catch (error) {
      refused = (error as Error).name;
    }
    return [
      one.getLock() === lock,
      two.getLock() === lock,
      own.getLock() instanceof RLock,
      own.getLock() === lock,
      refused,
    ];
  }, { lock, one, two, bare, own, RLock });
  assertEquals(said, [true, true, true, false, "TypeError"]);
});

test("SharedArray that a child has made works here after the child's end", async () => {
  const made = new Queue<SharedArray<"f64">>();
  await run(() => made.putSync(new SharedArray("f64", [0.25, 0.5])), { SharedArray, made });
  const array = await made.get();
  assertInstanceOf(array, SharedArray);
  array.set(0, array.at(0) + 1);
  assertEquals(array.slice(), [1.25, 0.5]);
  array.getLock().acquireSync().release();
});

test("SharedArray can be subclassed; a subclass that is not known elsewhere arrives as SharedArray", async () => {
  class Grid extends SharedArray<"i32"> {
    readonly width: number;
    constructor(width: number, height: number) {
      super("i32", width * height);
      this.width = width;
    }
    cell(x: number, y: number): number {
      return this.at(y * this.width + x);
    }
  }
  const grid = new Grid(3, 2);
  assertStrictEquals(grid.fill(1), grid);
  const name = await run(() => {
    grid.set(5, 7);
    return grid.constructor === SharedArray ? "SharedArray" : grid.constructor.name;
  }, { grid, SharedArray });
  assertEquals([name, grid.cell(2, 1), grid.cell(1, 1)], ["SharedArray", 7, 1]);
});

test("SharedArray of 256 MiB reaches a process as fast as one of 8 bytes", async () => {
  const requests = new Queue<SharedArray<"u8"> | null>();
  const replies = new Queue<number>();
  const child = start(
    () => {
      for (let array = requests.getSync(); array !== null; array = requests.getSync()) {
        replies.putSync(array.length);
      }
    },
    { requests, replies },
  );
  const small = new SharedArray("u8", 8);
  const large = new SharedArray("u8", 256 * 2 ** 20);
  const times = new Map<SharedArray<"u8">, number[]>([[small, []], [large, []]]);
  for (let round = 0; round < 21; round++) {
    for (const [array, its] of times) {
      const began = performance.now();
      await requests.put(array);
      assertEquals(await replies.get({ timeout: SOON }), array.length);
      its.push(performance.now() - began);
    }
  }
  await requests.put(null);
  await child.join();
  const median = (its: number[]) => its.sort((a, b) => a - b)[its.length >> 1]!;
  // To copy it takes 50 ms and more; the rest is for a busy machine.
  assertLess(median(times.get(large)!), 5 * median(times.get(small)!) + 10);
});

for (
  const [type, patterns] of [
    ["u64", [0n, 2n ** 64n - 1n, 0x0123_4567_89ab_cdefn]],
    ["f64", [0, -Math.PI * 1e200, 1e-300]],
    ["f32", [0, -Math.fround(Math.PI), 2 ** -149]],
  ] as const
) {
  test(`SharedArray of ${type} is never torn: two processes write while this one reads`, async () => {
    const array = newArray(type, 8, { lock: false });
    const stop = new Value("bool", false, { lock: false });
    const running = new Value("i32", 0, { lock: false });
    const write = () => {
      running.add(1);
      for (let i = 0; !stop.value; i++) {
        for (const pattern of patterns) {
          array.fill(pattern);
          array.set(i % 8, pattern);
        }
      }
    };
    const writers = [1, 2].map(() => ask(write, { array, stop, running, patterns }));
    await until(() => running.value === 2);
    const seen = new Set<unknown>();
    const began = performance.now();
    const passed = () => performance.now() - began;
    while (passed() < 150 || seen.size < 2 && passed() < SOON) {
      for (let i = 0; i < 100; i++) {
        for (const element of array.slice()) seen.add(element);
        for (const element of array) seen.add(element);
        seen.add(array.at(i % 8));
      }
    }
    stop.value = true;
    await Promise.all(writers.map(({ result }) => result));
    for (const read of seen) assert((patterns as readonly unknown[]).includes(read), String(read));
    assert(seen.size > 1, "nothing was written while this process read");
  });
}

// -- Death

for (const way of ["terminate", "kill"] as const) {
  for (const type of ["f64", "i16"] as const) {
    test(`SharedArray.fill() of ${type} that meets ${way}() under the lock: whole elements, abandoned, then still`, async () => {
      const array = new SharedArray(type, 2 ** 20);
      const rounds = new Value("i32", 0);
      const child = start(
        () => {
          array.getLock().acquireSync();
          for (;;) array.fill(rounds.add(1) % 1000 + 1);
        },
        { array, rounds },
      );
      await until(() => rounds.value > 3, "some fills");
      child[way]();
      const began = performance.now();
      const guard = array.getLock().acquireSync({ timeout: SOON });
      assertLess(performance.now() - began, TAKEOVER_MS);
      assert(guard.abandoned);
      const [stoppedAt, left] = [rounds.value, array.slice()];
      // At most the last fill is half done, and each element is of it or of the one before.
      const [last, before] = [stoppedAt - 1, stoppedAt - 2].map((round) => round % 1000 + 1);
      for (const element of new Set(left)) assert([last, before].includes(element), `${element}`);
      // Whoever has the lock now has the array for itself.
      array.fill(-1);
      await child.join();
      assert(array.slice().every((element) => element === -1), "the dead goes on filling");
      assertEquals(rounds.value, stoppedAt);
      guard.release();
      const next = array.getLock().acquireSync();
      assertFalse(next.abandoned);
      next.release();
    });
  }
}

test("SharedArray.fill() that takes long stops at kill() before its lock is taken over, also on Deno", async () => {
  const array = new SharedArray("f64", 2 ** 24);
  const child = start(() => {
    array.getLock().acquireSync();
    array.fill(1);
  }, { array });
  await until(() => array.at(0) === 1, "the first element");
  child.kill();
  const guard = array.getLock().acquireSync({ timeout: SOON });
  // At once, lest this overtake a fill that goes on; reading them all then takes long enough.
  array.array.fill(2);
  let others = 0;
  for (let i = 0; i < array.length; i++) if (array.at(i) !== 2) others++;
  assertEquals(others, 0);
  await child.join();
  guard.release();
});

test("SharedArray keeps what a process has set before its death between two elements", async () => {
  const array = new SharedArray("i64", 3);
  const child = start(() => {
    array.getLock().acquireSync();
    array.set(0, 2n ** 40n);
    array.set(1, -1n);
    throw new Error("a writer dies on purpose");
  }, { array });
  await child.join();
  assertEquals([child.exitCode, array.slice()], [1, [2n ** 40n, -1n, 0n]]);
  const guard = await array.getLock().acquire({ timeout: SOON });
  assert(guard.abandoned);
  guard.release();
});
