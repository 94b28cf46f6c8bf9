/** SharedStruct: its contract in one process, between processes, and through a death. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Pool } from "../pool.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { type ElementType, type SharedOptions, SharedStruct, Value } from "../shared.ts";
import { Lock, RLock } from "../sync.ts";
import { closure } from "../target.ts";
import { assertSame, misfitEnd, TYPES } from "./fixtures/element_types.ts";
import { ask, run, SOON, start, until } from "./fixtures/processes.ts";

/** A struct of any fields, for tests that go through all types and odd names. */
interface AnyStruct {
  fields: Record<string, unknown>;
  getLock(): Lock;
}

function newStruct(schema: unknown, initial?: unknown, options?: SharedOptions): AnyStruct {
  return new SharedStruct(
    schema as Record<string, ElementType>,
    initial as Record<string, never>,
    options,
  ) as AnyStruct;
}

/** Every type and code as a field, the small ones between the wide ones. */
const ALL = TYPES.flatMap((row) => [row.type, ...row.codes].map((name) => ({ ...row, name })))
  .toSorted((one, other) => one.name < other.name ? -1 : 1);

const SCHEMA = Object.fromEntries(ALL.map(({ name }) => [`f_${name}`, name]));

/** Names that are something else on an ordinary object. */
const ODD_NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "then", ""];

const ODD = Object.fromEntries(ODD_NAMES.map((name) => [name, "i32"]));

// -- One process

test("SharedStruct of every type is zero at first, and each field holds what it is given alone", () => {
  const struct = newStruct(SCHEMA);
  for (const { name, zero } of ALL) assertSame(struct.fields[`f_${name}`], zero);
  // One after the other: none may reach into another.
  const expected = new Map(ALL.map(({ name, zero }) => [name, zero]));
  for (let round = 0; round < 6; round++) {
    for (const { name, values, wraps = [] } of ALL) {
      const pairs = [...values.map((value) => [value, value]), ...wraps];
      const [given, becomes] = pairs[round % pairs.length]!;
      struct.fields[`f_${name}`] = given;
      expected.set(name, becomes);
      for (const [other, value] of expected) assertSame(struct.fields[`f_${other}`], value);
    }
  }
});

test("SharedStruct takes first values of any of its fields; the others are zero", () => {
  const point = new SharedStruct({ x: "f64", n: "i32", big: "u64", on: "bool" }, { x: 1.5 });
  assertEquals({ ...point.fields }, { x: 1.5, n: 0, big: 0n, on: false });
  const full = newStruct(SCHEMA, Object.fromEntries(ALL.map((r) => [`f_${r.name}`, r.values[1]])));
  for (const { name, values } of ALL) {
    const value = name === "f" || name === "f32" ? Math.fround(values[1] as number) : values[1];
    assertSame(full.fields[`f_${name}`], value);
  }
  assertEquals(newStruct({ x: "i8" }, { x: undefined }).fields.x, 0);
  assertEquals(newStruct({ x: "i8" }, Object.create({ x: 5, y: 6 })).fields.x, 0);
});

test("SharedStruct is typed: fields go by the schema", () => {
  const struct = new SharedStruct({ x: "f64", n: "q", on: "?" }, { n: 1n });
  const x: number = struct.fields.x;
  const n: bigint = struct.fields.n;
  const on: boolean = struct.fields.on;
  assertEquals([x, n, on], [0, 1n, false]);
});

test("SharedStruct.fields has the schema's names in their order, enumerable, and copies as data", () => {
  const names = ["zeta", "alpha", "mid", "b"];
  const struct = newStruct(Object.fromEntries(names.map((name) => [name, "u8"])), { mid: 3, b: 4 });
  const { fields } = struct;
  const expected: Record<string, unknown> = { zeta: 0, alpha: 0, mid: 3, b: 4 };
  assertEquals(Object.keys(fields), names);
  assertEquals(Object.values(fields), [0, 0, 3, 4]);
  const looped: string[] = [];
  for (const name in fields) looped.push(name);
  assertEquals(looped, names);
  assertEquals({ ...fields }, expected);
  assertEquals(structuredClone(fields), expected);
  assertEquals(JSON.stringify(fields), JSON.stringify(expected));
  const { zeta, ...rest } = fields;
  assertEquals([zeta, rest], [0, { alpha: 0, mid: 3, b: 4 }]);
  const copy = { ...fields };
  copy.mid = 9;
  assertEquals(fields.mid, 3);
  Object.assign(fields, { zeta: 1, b: 2 });
  assertEquals({ ...fields }, { zeta: 1, alpha: 0, mid: 3, b: 2 });
  assertStrictEquals(struct.fields, fields);
  assert("mid" in fields && !("other" in fields));
  assertEquals([fields.other, String(fields)], [undefined, "[object Object]"]);
});

test("SharedStruct.fields refuses what is of another type by the field's name, and stays as it was", () => {
  for (const { name, type, zero, values } of ALL) {
    const struct = newStruct({ first: "i8", some: name }, { first: 1, some: values[1] });
    const before = struct.fields.some;
    const wrong = [0, 0n, false, "1", null, undefined, {}, Object.create(null), Symbol("s")]
      .filter((wrong) => typeof wrong !== typeof zero);
    for (const given of wrong) {
      const error = assertThrows(() => struct.fields.some = given, TypeError);
      assertStringIncludes(
        error.message,
        `Cannot write SharedStruct: field 'some' of type ${type} holds a ${typeof zero}, but got `,
      );
      assert(error.message.endsWith(misfitEnd(zero, given)), error.message);
      if (given === undefined) continue;
      assertThrows(
        () => newStruct({ first: "i8", some: name }, { some: given }),
        TypeError,
        "field 'some' of type",
      );
    }
    assertEquals({ ...struct.fields }, { first: 1, some: before });
  }
});

test("SharedStruct.fields refuses a name that is no field, and names the known ones", () => {
  const struct = newStruct({ x: "f64", n: "i32" }, { x: 1 });
  const sloppy = new Function("fields", "name", "fields[name] = 1") as (
    fields: object,
    name: PropertyKey,
  ) => void;
  for (const name of ["y", "X", "__proto__", "constructor", "toString", "0", Symbol("x")]) {
    for (
      const write of [sloppy, (fields: object, name: PropertyKey) => Reflect.set(fields, name, 1)]
    ) {
      const error = assertThrows(() => write(struct.fields, name), TypeError);
      assertEquals(
        error.message,
        `Cannot write SharedStruct: there is no field '${String(name)}'; known are x, n`,
      );
    }
  }
  for (const initial of [{ y: 1 }, { x: 1, toString: 1 }, JSON.parse('{"__proto__": 1}')]) {
    const error = assertThrows(() => newStruct({ x: "f64", n: "i32" }, initial), TypeError);
    const name = Object.keys(initial).at(-1);
    assertEquals(
      error.message,
      `Cannot create SharedStruct: 'initial' has an unknown field '${name}'; known are x, n`,
    );
  }
  assertThrows(() => Object.defineProperty(struct.fields, "y", { value: 1 }), TypeError);
  assertThrows(() => Object.defineProperty(struct.fields, "x", { value: 1 }), TypeError);
  assertThrows(() => Object.setPrototypeOf(struct.fields, { y: 1 }), TypeError);
  assertThrows(() => delete struct.fields.x, TypeError);
  assertEquals(JSON.stringify(struct.fields), '{"x":1,"n":0}');
  assertEquals(({} as Record<string, unknown>).y, undefined);
});

test("SharedStruct takes any text as a field's name, here and in a child", async () => {
  const struct = newStruct(ODD, Object.fromEntries(ODD_NAMES.map((name, n) => [name, n + 1])));
  assertEquals(Object.keys(struct.fields), ODD_NAMES);
  assertEquals(Object.values(struct.fields), ODD_NAMES.map((_, n) => n + 1));
  const seen = await run(() => {
    for (const name of Object.keys(struct.fields)) {
      struct.fields[name] = struct.fields[name] as number * 10;
    }
    return Object.entries(struct.fields);
  }, { struct });
  const expected = ODD_NAMES.map((name, n): [string, unknown] => [name, 10 * (n + 1)]);
  assertEquals(seen, expected);
  assertEquals(Object.entries(struct.fields), expected);
  const error = assertThrows(() => struct.fields["toString"] = "one" as never, TypeError);
  assertMatch(error.message, /field 'toString' of type i32/);
  assertThrows(() => struct.fields.other = 1, TypeError, "known are __proto__, constructor, ");
});

test("SharedStruct refuses a schema that is none, and names field and known types", () => {
  for (const type of ["", "int", "toString", "__proto__", 8, null, undefined, {}, ["i8"]]) {
    const error = assertThrows(() => newStruct({ good: "i8", bad: type }), TypeError);
    assertMatch(
      error.message,
      /^Cannot create SharedStruct: field 'bad' has unknown type .*; known are i8, u8, .*\bd, \?$/,
    );
  }
  for (const schema of [null, undefined, "i8", 5, ["i8"], () => "i8", Symbol("i8")]) {
    assertThrows(() => newStruct(schema), TypeError, "'schema' must be an object");
  }
  for (const initial of [null, "x", 5, [1], () => 1]) {
    assertThrows(() => newStruct({ x: "i8" }, initial), TypeError, "'initial' must be an object");
  }
});

test("SharedStruct does not follow what happens to its schema later", () => {
  const schema: Record<string, ElementType> = { x: "i8" };
  const struct = new SharedStruct(schema, { x: 1 });
  schema.x = "f64";
  schema.y = "i8";
  assertEquals({ ...struct.fields }, { x: 1 });
  assertThrows(() => struct.fields.x = 1n as never, TypeError, "of type i8");
  struct.fields.x = 1.5;
  assertEquals(struct.fields.x, 1);
});

test("SharedStruct of no fields can be used and crosses", async () => {
  const struct = newStruct({});
  assertEquals({ ...struct.fields }, {});
  assertThrows(() => struct.fields.x = 1, TypeError, "known are none");
  assertEquals(await run(() => Object.keys(struct.fields), { struct }), []);
});

test("SharedStruct copied field by field is independent of the original", () => {
  const schema = { x: "f64", n: "i64" } as const;
  const original = new SharedStruct(schema, { x: 1.5, n: 2n });
  const copy = new SharedStruct(schema, { ...original.fields });
  original.fields.x = 9;
  copy.fields.n = 7n;
  assertEquals([{ ...original.fields }, { ...copy.fields }], [{ x: 9, n: 2n }, { x: 1.5, n: 7n }]);
});

test("SharedStruct.getLock() is an RLock of its own, or the lock given, or refused", () => {
  const struct = new SharedStruct({ x: "i8" });
  assertInstanceOf(struct.getLock(), RLock);
  assertStrictEquals(struct.getLock(), struct.getLock());
  assertNotStrictEquals(struct.getLock(), new SharedStruct({ x: "i8" }).getLock());
  for (const lock of [new Lock(), new RLock()]) {
    assertStrictEquals(new SharedStruct({ x: "i8" }, {}, { lock }).getLock(), lock);
  }
  const bare = new SharedStruct({ x: "i8" }, { x: 5 }, { lock: false });
  assertThrows(() => bare.getLock(), TypeError, "'lock: false'");
  assertEquals(bare.fields.x, 5);
  for (const lock of ["nolock", {}, 0, null]) {
    assertThrows(
      () => newStruct({ x: "i8" }, {}, { lock } as never),
      TypeError,
      "Cannot create SharedStruct: 'lock' must be",
    );
  }
});

// -- Between processes

for (const lock of [true, false]) {
  test(`SharedStruct has its fields doubled by a child ${lock ? "under" : "without"} its lock`, async () => {
    const struct = new SharedStruct(
      { small: "i16", n: "i32", long: "i64", x: "f64", y: "f32", on: "bool" },
      { small: -4, n: 7, long: 2n ** 40n, x: 1 / 3, y: 0.25, on: true },
      { lock },
    );
    await run(() => {
      const guard = lock ? struct.getLock().acquireSync() : undefined;
      struct.fields.small *= 2;
      struct.fields.n *= 2;
      struct.fields.long *= 2n;
      struct.fields.x *= 2;
      struct.fields.y *= 2;
      struct.fields.on = !struct.fields.on;
      guard?.release();
    }, { struct, lock });
    assertEquals({ ...struct.fields }, {
      small: -8,
      n: 14,
      long: 2n ** 41n,
      x: 2 / 3,
      y: 0.5,
      on: false,
    });
  });
}

test("SharedStruct of every type is seen here when a child has written it", async () => {
  const struct = newStruct(SCHEMA);
  const rows = ALL.map(({ name, values }) => ({ name: `f_${name}`, value: values.at(-2) }));
  await run(() => {
    for (const { name, value } of rows) struct.fields[name] = value;
  }, { struct, rows });
  for (const { name, value } of rows) assertSame(struct.fields[name], value);
});

test("SharedStruct keeps its names, order and rules in a child", async () => {
  const struct = newStruct({ zeta: "f64", alpha: "i8" }, { alpha: 3 });
  const said = await run(() => {
    const errors = [["alpha", "x"], ["beta", 1]].map(([name, value]) => {
      try {
        struct.fields[name as string] = value;
        return "none";
      } catch (error) {
        return (error as Error).message;
      }
    });
    return [{ ...struct.fields }, Object.keys(struct.fields), errors, struct.constructor.name];
  }, { struct });
  assertEquals(said, [
    { zeta: 0, alpha: 3 },
    ["zeta", "alpha"],
    [
      "Cannot write SharedStruct: field 'alpha' of type i8 holds a number, but got x (string)",
      "Cannot write SharedStruct: there is no field 'beta'; known are zeta, alpha",
    ],
    "SharedStruct",
  ]);
});

test("SharedStruct.fields crosses as a copy of the data", async () => {
  const struct = new SharedStruct({ x: "f64", n: "u64" }, { x: 0.5, n: 5n });
  const { fields } = struct;
  const said = await run(() => {
    const before = { ...fields };
    fields.x = 9;
    return [before, Object.getPrototypeOf(fields) === Object.prototype];
  }, { fields });
  assertEquals(said, [{ x: 0.5, n: 5n }, true]);
  assertEquals(fields.x, 0.5);
});

test("SharedStruct.getLock() makes several fields change as one among processes", async () => {
  const pair = new SharedStruct({ left: "i64", right: "f64", steps: "u32" });
  const broken = new Value("i32", 0);
  const work = async () => {
    for (let i = 0; i < 60; i++) {
      const lock = pair.getLock();
      const guard = i % 2 === 0 ? lock.acquireSync() : await lock.acquire();
      if (Number(pair.fields.left) !== -pair.fields.right) broken.add(1);
      pair.fields.left += 3n;
      pair.fields.right -= 3;
      pair.fields.steps += 1;
      guard.release();
    }
  };
  const children = [1, 2].map(() => start(work, { pair, broken }));
  await work();
  for (const child of children) assert(await child.join({ timeout: SOON }));
  assertEquals([{ ...pair.fields }, broken.value], [{ left: 540n, right: -540, steps: 180 }, 0]);
});

test("SharedStruct crosses as itself: deep in objects, in a scope, in a queue item; twice is one", async () => {
  type Counter = SharedStruct<{ n: "i32" }>;
  const [deep, scoped, queued] = [1, 2, 3].map(() => new SharedStruct({ n: "i32" })) as [
    Counter,
    Counter,
    Counter,
  ];
  const items = new Queue<unknown>();
  await items.put({ list: [new Map([[queued, queued]])] });
  const nested = { map: new Map([["key", [deep]]]), again: deep };
  const same = new Queue<boolean[]>();
  const child = new Process({
    target: closure(({ map, again }: typeof nested) => {
      const [deep] = map.get("key")!;
      const item = items.getSync() as { list: [Map<Counter, Counter>] };
      const [[key, value]] = [...item.list[0]] as [[Counter, Counter]];
      same.putSync([deep === again, key === value, deep!.getLock() === again.getLock()]);
      deep!.fields.n = 1;
      scoped.fields.n = 2;
      key.fields.n = 3;
    }, { scoped, items, same }),
    args: [nested],
  });
  child.start();
  assertEquals(await same.get({ timeout: SOON }), [true, true, true]);
  await child.join();
  assertEquals([deep, scoped, queued].map(({ fields }) => fields.n), [1, 2, 3]);
});

test("SharedStruct takes its lock along, and can be changed by the tasks of a pool", async () => {
  const lock = new Lock();
  const sums = new SharedStruct({ count: "i32", total: "f64" }, {}, { lock });
  const pool = new Pool({ processes: 2 });
  const add = closure((n: number) => {
    const guard = sums.getLock().acquireSync();
    sums.fields.count += 1;
    sums.fields.total += n;
    guard.release();
    return sums.getLock() === lock;
  }, { sums, lock });
  const same = await pool.map(add, Array.from({ length: 50 }, (_, n) => n / 2));
  pool.close();
  await pool.join();
  assert(same.every(Boolean));
  assertEquals({ ...sums.fields }, { count: 50, total: 612.5 });
});

test("SharedStruct that a child has made works here after the child's end", async () => {
  const made = new Queue<SharedStruct<{ x: "f64" }>>();
  await run(() => made.putSync(new SharedStruct({ x: "f64" }, { x: 0.25 })), {
    SharedStruct,
    made,
  });
  const struct = await made.get();
  assertInstanceOf(struct, SharedStruct);
  struct.fields.x += 1;
  assertEquals(struct.fields.x, 1.25);
  struct.getLock().acquireSync().release();
});

test("SharedStruct can be subclassed; a subclass that is not known elsewhere arrives as SharedStruct", async () => {
  class Point extends SharedStruct<{ x: "f64"; y: "f64" }> {
    constructor(x: number, y: number) {
      super({ x: "f64", y: "f64" }, { x, y });
    }
    get norm(): number {
      return Math.hypot(this.fields.x, this.fields.y);
    }
  }
  const point = new Point(3, 1);
  const plain = await run(() => {
    point.fields.y = 4;
    return point.constructor === SharedStruct;
  }, { point, SharedStruct });
  assertEquals([plain, point.norm], [true, 5]);
});

test("SharedStruct is never torn: two processes write fields that lie close, while this one reads", async () => {
  const struct = new SharedStruct(
    { flag: "u8", wide: "u64", half: "i16", x: "f64", y: "f32" },
    {},
    { lock: false },
  );
  const stop = new Value("bool", false, { lock: false });
  const running = new Value("i32", 0, { lock: false });
  const patterns = {
    flag: [0, 255],
    wide: [0n, 2n ** 64n - 1n, 0x0123_4567_89ab_cdefn],
    half: [0, -1, 0x1234],
    x: [0, -Math.PI * 1e200, 1e-300],
    y: [0, -Math.fround(Math.PI), 2 ** -149],
  };
  const write = () => {
    running.add(1);
    for (let i = 0; !stop.value; i++) {
      for (const [name, values] of Object.entries(patterns)) {
        (struct.fields as Record<string, unknown>)[name] = values[i % values.length];
      }
    }
  };
  const writers = [1, 2].map(() => ask(write, { struct, stop, running, patterns }));
  await until(() => running.value === 2);
  const seen = new Map(Object.keys(patterns).map((name) => [name, new Set<unknown>()]));
  const began = performance.now();
  const passed = () => performance.now() - began;
  const isStill = () => [...seen.values()].some(({ size }) => size < 2);
  while (passed() < 200 || isStill() && passed() < SOON) {
    for (let i = 0; i < 100; i++) {
      for (const [name, value] of Object.entries(struct.fields)) seen.get(name)!.add(value);
    }
  }
  stop.value = true;
  await Promise.all(writers.map(({ result }) => result));
  for (const [name, values] of Object.entries(patterns)) {
    for (const read of seen.get(name)!) assert((values as unknown[]).includes(read), `${name}`);
    assert(seen.get(name)!.size > 1, `nothing was written to ${name} while this process read`);
  }
});

// -- Death

for (const way of ["terminate", "kill"] as const) {
  test(`SharedStruct whose writer meets ${way}() under the lock: whole fields, abandoned, then still`, async () => {
    const pair = new SharedStruct({ first: "f64", second: "i64" });
    const child = start(() => {
      pair.getLock().acquireSync();
      for (let n = 1;; n++) {
        pair.fields.first = n;
        pair.fields.second = BigInt(n);
      }
    }, { pair });
    await until(() => pair.fields.second > 10n, "some writes");
    child[way]();
    const guard = pair.getLock().acquireSync({ timeout: SOON });
    assert(guard.abandoned);
    const { first, second } = pair.fields;
    assert(first === Number(second) || first === Number(second) + 1, `${first}, ${second}`);
    // Whoever has the lock now has the fields for itself.
    pair.fields.first = -1;
    await child.join();
    assertEquals({ ...pair.fields }, { first: -1, second });
    guard.release();
    const next = pair.getLock().acquireSync();
    assertFalse(next.abandoned);
    next.release();
  });
}

test("SharedStruct keeps what a process has written before its death between two fields", async () => {
  const struct = new SharedStruct({ first: "i64", second: "f64" });
  const child = start(() => {
    struct.getLock().acquireSync();
    struct.fields.first = 2n ** 40n;
    throw new Error("a writer dies on purpose");
  }, { struct });
  await child.join();
  assertEquals([child.exitCode, { ...struct.fields }], [1, { first: 2n ** 40n, second: 0 }]);
  const guard = await struct.getLock().acquire({ timeout: SOON });
  assert(guard.abandoned);
  guard.release();
});
