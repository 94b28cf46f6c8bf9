/** Value: its contract for every type, in one process and between processes. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError } from "../errors.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { type ElementType, type SharedOptions, Value } from "../shared.ts";
import { Lock, RLock } from "../sync.ts";
import { closure } from "../target.ts";
import { assertSame, INTEGERS, misfitEnd, OTHERS, TYPES } from "./fixtures/element_types.ts";
import { ask, run, SOON, start, until } from "./fixtures/processes.ts";

/** A value of any type, for tests that go through all of them. */
interface AnyValue extends Omit<Value, "value" | "add" | "sub" | "exchange" | "compareExchange"> {
  value: unknown;
  add(n: unknown): unknown;
  sub(n: unknown): unknown;
  exchange(value: unknown): unknown;
  compareExchange(expected: unknown, value: unknown): unknown;
}

function newValue(type: string, initial?: unknown, options?: SharedOptions): AnyValue {
  return new Value(type as ElementType, initial as never, options) as AnyValue;
}

// -- One process

for (const { type, codes, zero, values, wraps = [] } of TYPES) {
  test(`Value of ${[type, ...codes].join(", ")} holds what it is given`, () => {
    for (const name of [type, ...codes]) {
      const value = newValue(name);
      assertSame(value.value, zero);
      for (const given of values) {
        value.value = given;
        assertSame(value.value, given);
        assertSame(newValue(name, given).value, given);
      }
      for (const [given, becomes] of wraps) {
        value.value = given;
        assertSame(value.value, becomes);
        assertSame(newValue(name, given).value, becomes);
      }
    }
  });

  test(`Value of ${type} refuses what is of another type, and stays as it was`, () => {
    const value = newValue(type, values[1]);
    const wrong = [0, 0n, false, "1", null, undefined, {}, Object.create(null), Symbol("s")].filter(
      (wrong) => typeof wrong !== typeof zero,
    );
    for (const given of wrong) {
      const error = assertThrows(() => value.value = given, TypeError);
      assertMatch(
        error.message,
        new RegExp(`^Cannot write Value: one of type ${type} holds a ${typeof zero}, but got `),
      );
      assert(error.message.endsWith(misfitEnd(zero, given)), error.message);
      assertSame(value.value, values[1]);
      if (given !== undefined) assertThrows(() => newValue(type, given), TypeError);
    }
  });
}

for (const { type, codes, wraps, zero } of INTEGERS) {
  test(`Value of ${type} changes in one step, and gives what was before`, () => {
    for (const name of [type, ...codes]) {
      const of = (n: number) => zero === 0n ? BigInt(n) : n;
      const value = newValue(name, of(40));
      assertSame(value.add(of(2)), of(40));
      assertSame(value.value, of(42));
      assertSame(value.sub(of(12)), of(42));
      assertSame(value.value, of(30));
      assertSame(value.exchange(of(7)), of(30));
      assertSame(value.value, of(7));
      assertSame(value.compareExchange(of(8), of(9)), of(7));
      assertSame(value.value, of(7));
      assertSame(value.compareExchange(of(7), of(9)), of(7));
      assertSame(value.value, of(9));

      const [[beyond, min], [below, max]] = wraps as [unknown, unknown][] as [
        [unknown, unknown],
        [unknown, unknown],
      ];
      value.value = max;
      assertSame(value.add(of(1)), max);
      assertSame(value.value, min);
      assertSame(value.sub(of(1)), min);
      assertSame(value.value, max);
      assertSame(value.exchange(beyond), max);
      assertSame(value.value, min);
      assertSame(value.compareExchange(min, below), min);
      assertSame(value.value, max);
    }
  });

  test(`Value of ${type} refuses wrong operands, and stays as it was`, () => {
    const one = zero === 0n ? 1n : 1;
    const wrong = zero === 0n ? 1 : 1n;
    const value = newValue(type, one);
    for (const operand of [wrong, "1", true, undefined, null]) {
      for (
        const act of [
          () => value.add(operand),
          () => value.sub(operand),
          () => value.exchange(operand),
          () => value.compareExchange(operand, one),
          () => value.compareExchange(one, operand),
        ]
      ) {
        assertThrows(act, TypeError, `of type ${type} holds a ${typeof zero}`);
      }
    }
    assertSame(value.value, one);
  });
}

for (const { type, codes, values } of OTHERS) {
  test(`Value of ${type} has no operations in one step: TypeError says what to do`, () => {
    for (const name of [type, ...codes]) {
      const value = newValue(name, values[0]);
      const operand = values[1];
      for (
        const act of [
          () => value.add(operand),
          () => value.sub(operand),
          () => value.exchange(operand),
          () => value.compareExchange(operand, operand),
        ]
      ) {
        const error = assertThrows(act, TypeError);
        assertMatch(error.message, new RegExp(`a Value of type ${type} is no integer; .*getLock`));
      }
      assertSame(value.value, values[0]);
    }
  });
}

test("Value of an unknown type throws TypeError that names the known ones", () => {
  const strange = [8, 8n, null, undefined, {}, ["i8"], Symbol("i8"), Object.create(null)];
  for (const type of ["", "int", "x", "toString", "__proto__", "F64", ...strange]) {
    const error = assertThrows(() => newValue(type as string), TypeError);
    for (const { type, codes } of TYPES) {
      for (const name of [type, ...codes]) {
        assert(new RegExp(`[ ,]${name.replace("?", "\\?")}(?:,|$| )`).test(error.message), name);
      }
    }
  }
  assertMatch(assertThrows(() => newValue("int"), TypeError).message, /unknown type "int"/);
});

test("Value.getLock() is an RLock of its own, or the lock given", () => {
  const value = new Value("i32");
  assertInstanceOf(value.getLock(), RLock);
  assertStrictEquals(value.getLock(), value.getLock());
  assertNotStrictEquals(value.getLock(), new Value("i32").getLock());
  assertInstanceOf(new Value("i32", 1, {}).getLock(), RLock);
  assertInstanceOf(new Value("i32", 1, { lock: true }).getLock(), RLock);
  for (const lock of [new Lock(), new RLock()]) {
    assertStrictEquals(new Value("i32", 1, { lock }).getLock(), lock);
  }
  const outer = value.getLock().acquireSync();
  const inner = value.getLock().acquireSync();
  value.value += 1;
  inner.release();
  outer.release();
  assertThrows(() => value.getLock().release(), ProcessError);
});

test("Value without a lock throws TypeError from getLock()", () => {
  const value = new Value("i32", 5, { lock: false });
  const error = assertThrows(() => value.getLock(), TypeError);
  assertMatch(error.message, /lock: false/);
  assertEquals(value.value, 5);
});

test("Value refuses what is no lock", () => {
  for (const lock of ["navalue", {}, 0, null, Object.create(null)]) {
    assertThrows(() => newValue("i32", 0, { lock } as never), TypeError, "'lock' must be");
  }
});

// -- Between processes

test("Value of every type is seen here when a child has written it", async () => {
  const rows = TYPES.flatMap(({ type, codes, values }) =>
    [type, ...codes].flatMap((name) =>
      [true, false].map((lock) => ({
        value: newValue(name, values[0], { lock }),
        written: values.at(-2)!,
      }))
    )
  );
  const child = new Process({
    target: (rows: { value: { value: unknown }; written: unknown }[]) => {
      for (const row of rows) row.value.value = row.written;
    },
    args: [rows],
  });
  child.start();
  await child.join();
  assertEquals(child.exitCode, 0);
  for (const { value, written } of rows) assertSame(value.value, written);
});

test("Value of every type keeps type, value and rules in a child", async () => {
  const rows = TYPES.map(({ type, values }) => ({ type, value: newValue(type, values[1]) }));
  const said = await run(
    () =>
      rows.map(({ value }) => {
        const read = value.value;
        let refused = "no";
        try {
          value.value = "text";
        } catch (error) {
          refused = (error as Error).name;
        }
        return [read, refused, value.constructor === Value];
      }),
    { rows, Value },
  );
  assertEquals(said, TYPES.map(({ values }) => [values[1], "TypeError", true]));
});

test("Value.add() loses nothing among four processes", async () => {
  const values = TYPES.filter((row) => INTEGERS.includes(row)).map(({ type }) => newValue(type));
  const rounds = 1000;
  const work = () => {
    for (let i = 0; i < rounds; i++) {
      for (const value of values) value.add(typeof value.value === "bigint" ? 3n : 3);
    }
  };
  const children = [1, 2, 3].map(() => start(work, { values, rounds }));
  work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  const total = 4 * rounds * 3;
  assertEquals(
    values.map((value) => value.value),
    [total << 24 >> 24, total & 0xff, total, total, total, total, BigInt(total), BigInt(total)],
  );
});

test("Value.compareExchange() makes a counter of any kind among three processes", async () => {
  const value = new Value("u64", 1n);
  const work = () => {
    for (let i = 0; i < 200; i++) {
      let seen = value.value;
      for (;;) {
        const old = value.compareExchange(seen, seen + 2n);
        if (old === seen) break;
        seen = old;
      }
    }
  };
  const children = [1, 2].map(() => start(work, { value }));
  work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals(value.value, 1n + 3n * 200n * 2n);
});

for (
  const [type, patterns] of [
    ["u64", [0n, 2n ** 64n - 1n, 0x0123_4567_89ab_cdefn]],
    ["i64", [0n, -1n, 0x0123_4567_89ab_cdefn]],
    ["f64", [0, -Math.PI * 1e200, 1e-300]],
  ] as const
) {
  test(`Value of ${type} is never torn: two processes write while this one reads`, async () => {
    const value = newValue(type, patterns[0], { lock: false });
    const stop = new Value("bool", false, { lock: false });
    const running = new Value("i32", 0, { lock: false });
    const write = () => {
      running.add(1);
      while (!stop.value) for (const pattern of patterns) value.value = pattern;
    };
    const writers = [1, 2].map(() => ask(write, { value, stop, running, patterns }));
    await until(() => running.value === 2);
    const seen = new Set<unknown>();
    const began = performance.now();
    const passed = () => performance.now() - began;
    while (passed() < 150 || seen.size < 2 && passed() < SOON) {
      for (let i = 0; i < 1000; i++) seen.add(value.value);
    }
    stop.value = true;
    await Promise.all(writers.map(({ result }) => result));
    for (const read of seen) assert((patterns as readonly unknown[]).includes(read), String(read));
    assert(seen.size > 1, "nothing was written while this process read");
  });
}

test("Value.getLock() makes a read and a write one step among processes", async () => {
  const value = new Value("f64", 0);
  const work = async () => {
    for (let i = 0; i < 100; i++) {
      const guard = i % 2 === 0 ? value.getLock().acquireSync() : await value.getLock().acquire();
      value.value += 0.5;
      guard.release();
    }
  };
  const children = [1, 2].map(() => start(work, { value }));
  await work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals(value.value, 150);
});

test("Value takes its lock along: kind, sharing with others, and none", async () => {
  const lock = new Lock();
  const [one, two] = [new Value("i32", 1, { lock }), new Value("f32", 2, { lock })];
  const bare = new Value("i32", 3, { lock: false });
  const own = new Value("i32", 4);
  const guard = lock.acquireSync();
  const child = new Queue<unknown[]>();
  const peer = new Process({
    target: closure(
      (values: { one: Value<"i32">; two: Value<"f32"> }, lock: Lock, bare: Value, own: Value) => {
        let refused = "";
        try {
          bare.getLock();
        } catch (error) {
          refused = (error as Error).name;
        }
        const inner = own.getLock().acquireSync();
        own.getLock().acquireSync().release();
        inner.release();
        child.putSync([
          values.one.getLock() === lock,
          values.two.getLock() === lock,
          lock.locked(),
          lock.constructor.name,
          own.getLock().constructor.name,
          refused,
          [values.one.value, values.two.value, bare.value, own.value],
        ]);
      },
      { child },
    ),
    args: [{ one, two }, lock, bare, own],
  });
  peer.start();
  assertEquals(await child.get({ timeout: SOON }), [
    true,
    true,
    true,
    "Lock",
    "RLock",
    "TypeError",
    [1, 2, 3, 4],
  ]);
  guard.release();
  await peer.join();
  assertFalse(own.getLock().locked());
});

test("Value crosses as itself: deep in objects, in a scope, in a queue item; twice is one", async () => {
  const values = Array.from({ length: 3 }, () => new Value("i32"));
  const [deep, scoped, queued] = values as [Value<"i32">, Value<"i32">, Value<"i32">];
  const items = new Queue<unknown>();
  await items.put({ list: [new Map([[queued, queued]])] });
  const nested = { map: new Map([["key", [deep]]]), again: deep };
  const same = new Queue<boolean[]>();
  const child = new Process({
    target: closure(({ map, again }: typeof nested) => {
      const [deep] = map.get("key")!;
      const item = items.getSync() as { list: [Map<Value<"i32">, Value<"i32">>] };
      const [[key, value]] = [...item.list[0]] as [[Value<"i32">, Value<"i32">]];
      same.putSync([deep === again, key === value]);
      deep!.value = 1;
      scoped.value = 2;
      key.value = 3;
    }, { scoped, items, same }),
    args: [nested],
  });
  child.start();
  assertEquals(await same.get({ timeout: SOON }), [true, true]);
  await child.join();
  assertEquals(values.map((value) => value.value), [1, 2, 3]);
});

test("Value that a child has made works here after the child's end", async () => {
  const made = new Queue<Value<"f64">>();
  await run(() => made.putSync(new Value("f64", 0.25)), { Value, made });
  const value = await made.get();
  assertInstanceOf(value, Value);
  assertEquals(value.value, 0.25);
  assertInstanceOf(value.getLock(), RLock);
  value.getLock().acquireSync().release();
});

test("Value keeps what a process has written that dies at once", async () => {
  const value = new Value("i64", 0n);
  const child = start(() => {
    value.getLock().acquireSync();
    value.value = 2n ** 40n;
    throw new Error("a writer dies on purpose");
  }, { value });
  await child.join();
  assertEquals([child.exitCode, value.value], [1, 2n ** 40n]);
  const guard = await value.getLock().acquire({ timeout: SOON });
  assert(guard.abandoned);
  guard.release();
});
