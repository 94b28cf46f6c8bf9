/** Functions on their way to another process: described, sent as plain data, and made anew. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { encodeTarget } from "../backend.ts";
import { EncodingError, TargetError } from "../errors.ts";
import { Process } from "../process.ts";
import { closure, type Target, task, transfer } from "../target.ts";
import { exportName, exportNamed, registerExports } from "../wire/target/exports.ts";
import type { TargetRef } from "../wire/protocol.ts";
import { compileSource, describeTarget, resolveTarget } from "../wire/target/target_ref.ts";
import { Transfer } from "../wire/codec/transfer.ts";

type Call = (...args: unknown[]) => unknown;

const importModule = (url: string): Promise<Record<string, unknown>> => import(url);

/** What the receiver makes of a target, after a copy such as the wire makes. */
async function send(target: unknown): Promise<Call> {
  return await resolveTarget(structuredClone(describeTarget(target)), importModule) as Call;
}

function refusal(target: unknown): string {
  return assertThrows(() => describeTarget(target), TargetError).message;
}

let outside = 1;
// Bun's transpiler writes the value of a constant with a literal into the functions that use it.
const limit = Number("100");
const clamp = (n: number) => Math.min(n, limit);

// -- Plain functions

test("describeTarget() sends functions of every kind, and the copies do the same", async () => {
  const object = {
    shorthand(a: number) {
      return a + 1;
    },
    async "two words"(a: number) {
      return await Promise.resolve(a * 2);
    },
    1.5: function (a: number) {
      return a / 2;
    },
    get(a: number) {
      return typeof a;
    },
    __proto__(a: number) {
      return [a];
    },
  };
  class Box {
    static make(a: number) {
      return { a };
    }
    async peek(a: number) {
      return await a;
    }
  }
  const targets: ((a: number) => unknown)[] = [
    (a) => a + 1,
    async (a) => await Promise.resolve(a),
    function (a) {
      return arguments.length + a;
    },
    function fact(n): number {
      return n < 2 ? 1 : n * fact(n - 1);
    },
    (a, { b = a, ...c } = { b: 1, d: 2 } as { b?: number }, ...rest: number[]) => [a, b, c, rest],
    (a) => {
      class Counter {
        static #made = 0;
        static {
          Counter.#made = 10;
        }
        value = a;
        get total() {
          return this.value + Counter.#made;
        }
      }
      return new Counter().total;
    },
    (a) => /(?<digit>\d)/v.exec(`x${a}`)?.groups?.digit ?? `none of ${a}`,
    (a) => typeof nowhere === "undefined" && a,
    async (a) => (await import("node:path")).posix.join("a", String(a)),
    (a) => [..."abc"].map((c, i) => c.repeat(i + a)),
    object.shorthand,
    object["two words"],
    object[1.5],
    object.get,
    object.__proto__,
    Box.make,
    Box.prototype.peek,
    new Function("a", "return a + 1") as (a: number) => unknown,
  ];
  for (const target of targets) {
    const copy = await send(target);
    assertEquals(await copy(3), await target(3), String(target));
    assert(copy !== target as unknown);
    assertEquals(copy.name, target.name);
  }
});

declare const nowhere: unknown;

test("describeTarget() sends generators", async () => {
  const gen = await send(function* (n: number) {
    for (let i = 0; i < n; i++) yield i;
  });
  assertEquals([...gen(3) as Iterable<number>], [0, 1, 2]);
  const later = await send(async function* (n: number) {
    yield await Promise.resolve(n);
  });
  for await (const n of later(7) as AsyncIterable<number>) assertEquals(n, 7);
});

test("describeTarget() gives one reference a plain function", () => {
  const fn = (n: number) => n;
  assertStrictEquals(describeTarget(fn), describeTarget(fn));
});

test("describeTarget() does not ask a function for its own toString()", () => {
  const fn = Object.assign(() => outside, { toString: () => "() => 1" });
  assertStringIncludes(refusal(fn), "outside");
});

test("describeTarget() names each captured name and its mend", () => {
  const width = Number("1"), sharp = () => width, total = { n: 0 };
  let count = 0;
  function resize() {
    count++;
    total.n++;
    return sharp() + width;
  }
  const message = refusal(resize);
  assertMatch(
    message,
    /^Cannot send function "resize": it uses names from outside: count, total, sharp, width\n/,
  );
  assertMatch(message, /\n {2}count: return the new value/);
  assertMatch(message, /\n {2}total: pass it as an argument, or closure\(resize, \{ /);
  assertMatch(
    message,
    /\n {2}sharp: mark resize with task\(import\.meta, resize\), or closure\(resize, \{ /,
  );
  assertMatch(message, /\n {2}width: .* closure\(resize, \{ count, total, sharp, width \}\)/);
  assertEquals(count, 0);
});

test("describeTarget() says how a function may call itself", () => {
  const fact = (n: number): number => n < 2 ? 1 : n * fact(n - 1);
  assertStringIncludes(refusal(fact), 'write it as a declaration, "function fact"');
  const fn = fact;
  assertStringIncludes(refusal(() => fn(1)), "fn: mark fn with task(import.meta, fn)");
});

test("describeTarget() refuses all that source text cannot carry, with a mend", () => {
  const cases: [target: unknown, text: string][] = [
    [class A {}, 'Cannot send function "A": it is a class; write a function'],
    [Math.max, 'Cannot send function "max": it is native'],
    [clamp.bind(null), "bound or a proxy"],
    [new Proxy(clamp, {}), "bound or a proxy"],
    [() => outside, "Cannot send an anonymous function: it uses names from outside: outside"],
    [() => import.meta, "it uses import.meta of its module; mark it with task(import.meta, fn)"],
    [() => import("./target_test.ts"), 'it imports "./target_test.ts"'],
    [
      Object.getOwnPropertyDescriptor({
        get x() {
          return 1;
        },
      }, "x")?.get,
      "it is a getter",
    ],
    [[][Symbol.iterator], "native"],
    [{ [Symbol.iterator]() {} }[Symbol.iterator], "its name is computed"],
    [(code: string) => eval(code), "it calls eval directly"],
    [new Function("with (Math) { return PI; }"), "'with' in strict mode"],
    [
      function (this: unknown) {
        return [() => this, import.meta, outside];
      },
      "it uses names from outside: outside\n",
    ],
  ];
  for (const [target, text] of cases) assertStringIncludes(refusal(target), text);
});

test("describeTarget() refuses what is no target with a TypeError", () => {
  for (const target of [undefined, null, 1, "f", {}, [], { module: "file:///a.js" }]) {
    const { message } = assertThrows(() => describeTarget(target), TypeError);
    assertMatch(message, /must be a function or \{ module, name \}, but is /);
  }
});

// -- Tasks

const add = task(import.meta, function add(a: number, b: number) {
  return a + b + outside;
});

test("task() returns the function itself, which is found by module and name", async () => {
  assertEquals(add(1, 2), 3 + outside);
  assertEquals(describeTarget(add), {
    kind: "module",
    module: import.meta.url,
    name: "add",
    task: true,
  });
  assertStrictEquals<unknown>(await send(add), add);
});

test("task() lets a function use the state of its module", async () => {
  const copy = await send(add);
  outside = 5;
  assertEquals(copy(1, 1), 7);
});

test("task() wants a name that is free", () => {
  const meta = { url: "file:///names.ts" } as ImportMeta;
  const first = task(meta, function twice() {});
  const again = assertThrows(() => task(meta, function twice() {}), TypeError);
  assertMatch(again.message, /^Cannot mark task "twice": .*file:\/\/\/names\.ts already has/);
  assertThrows(() => task(meta, first), TypeError);
  task({ url: "file:///others.ts" } as ImportMeta, function twice() {});
  for (const fn of [() => {}, function () {}]) {
    const { message } = assertThrows(() => task(meta, (() => fn)()), TypeError);
    if (fn.name === "") assertStringIncludes(message, "anonymous");
  }
});

test("task() wants import.meta and a function", () => {
  for (const meta of [undefined, {}, { url: 1 }, { url: "names.ts" }]) {
    assertThrows(() => task(meta as ImportMeta, function fn() {}), TypeError, "import.meta");
  }
  assertThrows(() => task(import.meta, 1 as unknown as () => void), TypeError, "but is 1");
});

test("resolveTarget() says that a module did not register the task", async () => {
  const module = "data:text/javascript,export function lost() {}";
  const ref: TargetRef = { kind: "module", module, name: "lost", task: true };
  const { message } = await assertRejects(() => resolveTarget(ref, importModule), TargetError);
  assertMatch(message, /^Cannot run task "lost": .* was imported, but did not register it/);
  assertStringIncludes(message, "task(import.meta, lost)");
});

// -- { module, name }

const MODULE = "data:text/javascript," +
  encodeURIComponent("export function double(x) { return x * 2; } export const ten = 10;");

test("describeTarget() takes an export by absolute URL", async () => {
  assertEquals((await send({ module: MODULE, name: "double" }))(4), 8);
  assertEquals((await send({ module: new URL(MODULE), name: "double" }))(4), 8);
  const target: Target<[string], string> = { module: "node:path", name: "basename" };
  assertEquals((await send(target))("/a/b"), "b");
});

test("describeTarget() refuses a module that is no absolute URL", () => {
  for (const module of ["./a.ts", "a", "/a.ts", "", 1, null, undefined, "C:\\a.ts"]) {
    const { message } = assertThrows(() => describeTarget({ module, name: "f" }), TypeError);
    assertStringIncludes(
      message,
      `must be an absolute URL, but is ${
        typeof module === "string" ? JSON.stringify(module) : module
      }`,
    );
    assertStringIncludes(message, "import.meta.resolve(");
  }
  for (const name of ["", 1, null, undefined]) {
    assertThrows(() => describeTarget({ module: MODULE, name }), TypeError, "'name'");
  }
});

test("resolveTarget() looks at a module's own exports only", async () => {
  for (const name of ["__proto__", "toString", "constructor", "hasOwnProperty", "triple"]) {
    const { message } = await assertRejects(() => send({ module: MODULE, name }), TargetError);
    assertStringIncludes(message, `Cannot run "${name}" of data:`);
    assertStringIncludes(message, 'no export of that name, but "double", "ten"');
  }
  const plain = () => Promise.resolve({ f: () => 1 });
  for (const name of ["__proto__", "toString", "constructor"]) {
    const ref: TargetRef = { kind: "module", module: "x:y", name, task: false };
    await assertRejects(() => resolveTarget(ref, plain), TargetError);
  }
});

test("resolveTarget() refuses an export that is no function", async () => {
  const { message } = await assertRejects(() => send({ module: MODULE, name: "ten" }), TargetError);
  assertStringIncludes(message, "must be a function, but is a value of type number");
});

test("resolveTarget() passes on the error of a module that does not load", async () => {
  const module = "data:text/javascript,throw new RangeError('broken')";
  await assertRejects(() => send({ module, name: "f" }), RangeError, "broken");
});

// -- Closures

test("closure() gives a function the names it uses", async () => {
  const factor = Number("3"), offset = { by: 1 };
  const fn = closure((n: number) => n * factor + offset.by, { factor, offset });
  assertEquals(fn(2), 7);
  const copy = await send(fn);
  assertEquals(copy(2), 7);
  offset.by = 5;
  assertEquals([fn(2), copy(2)], [11, 7]);
});

test("closure() reads its scope when the function is sent", async () => {
  const scope = { n: 1 };
  const n = Number("0");
  const fn = closure(() => n, scope);
  assertEquals((await send(fn))(), 1);
  scope.n = 2;
  assertEquals((await send(fn))(), 2);
  closure(fn, { n: 3 });
  assertEquals((await send(fn))(), 3);
});

test("closure() may give a name that is a global too", async () => {
  const fn = closure((url: string) => fetch(url), { fetch: (url: string) => `fetched ${url}` });
  assertEquals((await send(fn))("x"), "fetched x");
});

test("closure() takes targets of all kinds in its scope", async () => {
  const double = (n: number) => n * 2;
  function fact(n: number): number {
    return n < 2 ? 1 : n * fact(n - 1);
  }
  const clamped = closure((n: number) => clamp(n), { clamp: closure(clamp, { limit }) });
  const fn = closure(
    (n: number) => [double(n), fact(n), clamped(n * 1000), add(n, 0)],
    { double, fact, clamped, add },
  );
  assertEquals((await send(fn))(4), fn(4));
});

test("closure() takes exports of the library in its scope", async () => {
  class Lock {
    readonly kind = "lock";
  }
  registerExports({ TestLock: Lock });
  const fn = closure(() => new Lock().kind, { Lock });
  const ref = describeTarget(fn);
  assert(ref.kind === "source");
  assertEquals(ref.scope, [["Lock", { kind: "export", name: "TestLock" }]]);
  assertEquals((await send(fn))(), "lock");
  assertEquals([exportName(task), exportName(closure), exportName(transfer)], [
    "task",
    "closure",
    "transfer",
  ]);
  assertEquals([exportName(Math), exportNamed("toString")], [undefined, undefined]);
  ref.scope = [["Lock", { kind: "export", name: "Gone" }]];
  const { message } = await assertRejects(() => resolveTarget(ref, importModule), TargetError);
  assertStringIncludes(message, "its scope's \"Lock\" is the library's Gone");
});

test("closure() sends only what the function uses", () => {
  const fn = closure(() => outside, { outside: 1, unused: Math.max, other: () => limit });
  const ref = describeTarget(fn);
  assert(ref.kind === "source");
  assertEquals(ref.scope, [["outside", { kind: "data", value: 1 }]]);
});

test("a value in a scope that cannot be sent is named by its variable", () => {
  const broken = { deep: [Symbol("s")] };
  const inner = closure(() => broken, { broken });
  const outer = closure(() => inner() && limit, { limit, inner });
  for (const [target, path] of [[inner, "broken"], [outer, "inner.broken"]] as const) {
    const ref = describeTarget(target);
    const tries = [
      () => encodeTarget(ref),
      () => new Process({ target: target as () => unknown }).start(),
    ];
    for (const attempt of tries) {
      const { message } = assertThrows(attempt, EncodingError);
      assertStringIncludes(message, `Cannot send scope.${path}.deep[0]: `);
    }
  }
});

test("closure() does not look up its scope's prototype", () => {
  const message = refusal(closure(() => outside, Object.create({ outside: 1 })));
  assertStringIncludes(message, "outside");
});

test("closure() is refused if its scope lacks a name", () => {
  const fn = closure((n: number) => clamp(n) + outside, { clamp: 1 });
  const message = refusal(fn);
  assertMatch(message, /it uses names from outside: outside\n/);
  assertStringIncludes(message, "closure(fn, { clamp, outside })");
});

test("closure() is refused with the path to a function in its scope", () => {
  const low = (n: number) => n < limit;
  const inner = closure(() => low(1), { low });
  const outer = closure(() => inner(), { inner });
  assertStringIncludes(
    refusal(outer),
    'Cannot send function "low", in the scope of function "inner", in the scope of ' +
      "an anonymous function: it uses names from outside: limit",
  );
  const max = Math.max;
  assertStringIncludes(refusal(closure(() => max(1), { max })), 'function "max", in the scope of');
});

test("closure() whose scope leads back to itself is refused", () => {
  const even = (n: number): boolean => n === 0 || odd(n - 1);
  const odd = (n: number): boolean => n !== 0 && even(n - 1);
  closure(even, { odd });
  closure(odd, { even });
  assertStringIncludes(refusal(even), "leads back to itself: even → odd → even");
  const fact = (n: number): number => n < 2 ? 1 : n * fact(n - 1);
  closure(fact, { fact });
  assertStringIncludes(refusal(fact), "fact → fact");
  // Twice is no cycle.
  const shared = closure(() => outside, { outside });
  const a = closure(() => shared(), { shared });
  describeTarget(closure(() => [a(), shared()], { a, shared }));
});

test("closure() does not mind its own name in its scope", async () => {
  function fact(n: number): number {
    return n < 2 ? 1 : n * fact(n - 1);
  }
  assertEquals((await send(closure(fact, { fact })))(4), 24);
});

test("closure() wants a function, an object and identifiers", () => {
  const fn = () => 1;
  assertThrows(() => closure(1 as unknown as () => void, {}), TypeError, "but is 1");
  for (const scope of [null, undefined, 1] as unknown as Record<string, unknown>[]) {
    assertThrows(() => closure(fn, scope), TypeError, "'scope' must be an object");
  }
  for (const name of ["a b", "1", "", "a-b", "a;alert()", "eval", "arguments"]) {
    const { message } = assertThrows(() => closure(fn, { [name]: 1 }), TypeError);
    assertStringIncludes(message, JSON.stringify(name));
  }
  closure(fn, { $: 1, _a: 2, naïve: 3 });
});

test("task() wins over closure()", () => {
  const fn = closure(
    task({ url: "file:///both.ts" } as ImportMeta, function both() {
      return outside;
    }),
    { outside },
  );
  assertEquals(describeTarget(fn).kind, "module");
});

// -- The rest

test("resolveTarget() says that a source does not compile", async () => {
  const ref: TargetRef = { kind: "source", name: "f", source: "(() => {", scope: [] };
  const error = await assertRejects(() => resolveTarget(ref, importModule), TargetError);
  assertStringIncludes(error.message, 'Cannot run function "f": this runtime does not compile');
  assert(error.cause instanceof SyntaxError);
});

test("compileSource() evaluates in strict mode and sees globals only", () => {
  assertEquals(compileSource("(function () { return this; })()", [], []), undefined);
  assertEquals(compileSource("a + b", ["a", "b"], [1, 2]), 3);
  assertEquals(compileSource("typeof importModule", [], []), "undefined");
});

test("transfer() marks a value", () => {
  const buffer = new ArrayBuffer(8);
  const marked: unknown = transfer({ buffer }, [buffer]);
  assert(marked instanceof Transfer);
  assertStrictEquals((marked.value as { buffer: ArrayBuffer }).buffer, buffer);
  assertEquals(marked.transferables, [buffer]);
  assertThrows(() => transfer(1, null as unknown as []), TypeError, "'transferables' must be");
});
