/** What functions capture: every shape of today's syntax, and random functions with a known answer. */

import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { analyseCapture, type Analysis } from "../wire/target/capture.ts";

function namesOf(analysis: Analysis): string {
  return analysis.captured.map(({ name }) => name).join(" ");
}

function evaluate(analysis: Analysis, scope: Record<string, unknown> = {}): unknown {
  return new Function(...Object.keys(scope), `"use strict"; return ${analysis.expression};`)(
    ...Object.values(scope),
  );
}

/** Whether this runtime knows a syntax: Node 22 does not know `using`. */
function compiles(source: string): boolean {
  try {
    new Function(`"use strict"; return (${source});`);
    return true;
  } catch {
    return false;
  }
}

/** Each: a function's source text, and the names that it captures in the order of their meeting. */
const SHAPES: [source: string, captured: string][] = [
  // Functions and their parameters
  ["() => 1", ""],
  ["() => outer", "outer"],
  ["async () => await outer", "outer"],
  ["x => x + y", "y"],
  ["async x => x", ""],
  ["async (x, { y } = z) => [x, y]", "z"],
  ["function () { return a(b); }", "a b"],
  ["function fact(n) { return n < 2 ? 1 : n * fact(n - 1); }", ""],
  ["async function poll() { return await poll(); }", ""],
  ["function* count(n) { yield* count(n - 1); yield step; }", "step"],
  ["async function* read(s) { for await (const c of s) yield decode(c); }", "decode"],
  ["(a, b = a) => b", ""],
  ["(a = b, b) => a", ""],
  ["(a = b) => a", "b"],
  ["(a = b) => { var b; return a; }", "b"],
  ["(a = () => b) => { let b; return a; }", "b"],
  ["(a = () => b) => { function b() {} return a; }", "b"],
  ["(a = b, c = function () { return a; }) => { var b = 1; }", "b"],
  ["function f(f = f) { return f; }", ""],
  ["(f = function g() { return g; }) => g", "g"],
  ["(...rest) => rest.length", ""],
  ["(...[a, b = c]) => a + b", "c"],
  ["({ a, b: { c: [d = e] = f }, ...g }) => [a, d, g]", "e f"],
  ["({ [key]: value }) => value", "key"],
  ["([, a, , ...[b]]) => [a, b, c]", "c"],
  ["function () { return arguments.length; }", ""],
  ["function () { return () => arguments[0]; }", ""],
  ["function () { return this ?? new.target; }", ""],
  // Declarations and hoisting
  ["() => { use(x); var x; }", "use"],
  ["() => { { var x; } return x; }", ""],
  ["() => { { let x; } return x; }", "x"],
  ["() => { { function x() {} x(); } return x; }", "x"],
  ["() => { return x(); function x() {} }", ""],
  ["() => { { x(); function x() {} } }", ""],
  ["() => { x; let x; }", ""],
  ["() => { const x = x; }", ""],
  ["() => { if (a) { var b; } else { const c = 1; } return b ?? c; }", "a c"],
  ["() => { const { a, b: [c], ...d } = e; return [a, c, d, b]; }", "e b"],
  ["() => { let a = b, b = 1; }", ""],
  ["() => { { class A {} } new A(); }", "A"],
  ["() => { var x = () => { var y = x; return z; }; return y; }", "z y"],
  ["() => { new A(); class A extends B {} }", "B"],
  // Loops, switch, labels, catch
  ["() => { for (let i = 0; i < n; i++) use(i); return i; }", "n use i"],
  ["() => { for (var i = 0; i < 9; i++); return i; }", ""],
  ["() => { for (const x of x) use(x); }", "use"],
  ["() => { for (const { a = b } of list) a; }", "b list"],
  ["() => { for (const k in o) for (var v of k) ; return [k, v]; }", "o k"],
  ["(o) => { for (o.x of o.list) ; for (o[i] in o) ; }", "i"],
  ["async (s) => { for await (const { v } of s) yes(v); }", "yes"],
  ["() => { for (;;) { let x; break; } }", ""],
  ["(k) => { switch (k) { case a: let b; default: b; } return b; }", "a b"],
  ["(x) => { switch (x) { case 1: function f() {} default: f(); } }", ""],
  ["(x) => { let y; switch (y) { case 1: let y; } }", ""],
  ["() => { loop: for (;;) { if (a) continue loop; break loop; } }", "a"],
  ["() => { a: { break a; } return a; }", "a"],
  ["() => { try { risky(); } catch (e) { e; } finally { e; } }", "risky e"],
  ["() => { try {} catch { return e; } }", "e"],
  ["() => { try {} catch ({ message: m, code = 1 }) { return [m, code, message]; } }", "message"],
  ["() => { try {} catch (e) { var f = e; } return f; }", ""],
  // Objects, members, templates
  ["(o) => o.a.b?.c?.[d]?.(e)", "d e"],
  ["(a) => ({ a, b: c, [d]: 1, ...e })", "c d e"],
  ["() => ({ b })", "b"],
  ["() => ({ m() { return m; }, get g() { return 1; }, async *[k]() {} })", "m k"],
  ["() => ({ m() { return super.toString() + this.x + arguments[0]; } })", ""],
  ["() => ({ __proto__: base })", "base"],
  ["(a) => `x${a}${b}`", "b"],
  ["(a) => tag`x${a}\\u`", "tag"],
  ["(a) => a.raw`x${`${b}`}`", "b"],
  ["(a) => { a ??= b; a ||= c; a &&= d; a **= 2; return a ** e; }", "b c d e"],
  ["(a) => { [a.x, a[i], ...a.r] = b; ({ k: a.k, l: a.l = m } = c); }", "i b m c"],
  ["(n) => 1_000n + BigInt(n) + 0x_1n".replace("_1n", "1n"), ""],
  ["(s) => /[\\p{L}--[a-z]]/v.test(s) && /(?<year>\\d+)/dgu.exec(s)", ""],
  ["(a, b) => (a, b, c)", "c"],
  ["(o) => { debugger; return o; }", ""],
  ["(a) => a?.[b].c(d) + a.b[e]`f`", "b d e"],
  ["() => eval", ""],
  ["(0, () => (0, eval)('1'))".slice(4, -1), ""],
  ["() => eval?.('1')", ""],
  ["(x) => x.eval('1')", ""],
  // Classes inside
  ["() => class A { m() { return A; } }", ""],
  ["() => { class A { static x = y; z = this.x; [k] = 1; static [l]() {} } }", "y k l"],
  ["() => class { #a = 1; static #b() {} get c() { return this.#a + z; } }", "z"],
  ["() => class { static { var v = this; w; } static { v; } }", "w v"],
  ["() => class { x = () => this.x; static y = new.target; }", ""],
  ["() => class extends B { constructor() { super(a); super.m(); } }", "B a"],
  ["() => class A extends mix(A) {}", "mix"],
  ["() => class { accessor = 1; get = 2; static = 3; async() {} }", ""],
  ["() => class { static async *gen() { yield* this.#g(); } *#g() {} }", ""],
  ["() => { class C { #p; has(o) { return #p in o && class { q(o) { return o.#p; } }; } } }", ""],
  // Globals, typeof, assignments
  ["() => [undefined, NaN, Infinity, globalThis, Math.PI, Array, JSON]", ""],
  ["() => [fetch, URL, structuredClone, setTimeout, queueMicrotask, console.log]", ""],
  ["() => toString() + hasOwnProperty.call({}, 'a')", ""],
  ["() => typeof nowhere === 'undefined'", ""],
  ["() => typeof nowhere === 'undefined' ? 1 : nowhere", "nowhere"],
  ["() => typeof nowhere.x", "nowhere"],
  [
    "() => [require, module, exports, __filename, __dirname, path]",
    "require module exports __filename __dirname path",
  ],
  ["() => { count++; }", "count"],
  ["() => { total += 1; [a, { b: c }] = []; }", "total a c"],
  ["() => { for (x of []) ; for (y in {}) ; }", "x y"],
  ["(x) => { x = 1; x++; ({ x } = {}); }", ""],
  ["() => { \\u{61}b; \\u0061b; }", "ab"],
  ["() => naïve + $ + _ + 变量", "naïve $ _ 变量"],
  ["(async) => { let of, get, set, as, from, type = async; return [of, get, set, as, from]; }", ""],
  ["(x) => x /* y */ // z\n + 1", ""],
  // import()
  ["async () => (await import('node:fs')).readFileSync", ""],
  ["(x) => [import('npm:a'), import('jsr:@b/c'), import(`https://d.e/f.js`), import(x)]", ""],
  [
    "(x) => [import('fs'), import(`./${x}.js`), import('data:text/javascript,1', { with: o })]",
    "o",
  ],
  // using
  ["() => { using a = open(); { await: 1; } }".replace("{ await: 1; }", ""), "open"],
  ["async () => { await using a = b, c = a; for (using d of e) d; return d; }", "b e d"],
  ["async () => { for (await using x of y) x; }", "y"],
  // Methods
  ["m() { return a; }", "a"],
  ["async m(x = y) { await x; m(); }", "y m"],
  ["*gen() { yield 1; }", ""],
  ["async *gen() { yield z; }", "z"],
  ["'two words'() { return 1; }", ""],
  ["1.5() { return 1; }", ""],
  ["1n() { return 1; }", ""],
  ["get() { return this; }", ""],
  ["static() { return arguments; }", ""],
  ["async() { return new.target; }", ""],
  ["function() { return 1; }", ""],
  ["class() { return 1; }", ""],
  ["__proto__() { return 1; }", ""],
  ["constructor() { return 1; }", ""],
];

test("analyseCapture() finds the captured names of every shape", () => {
  assert(SHAPES.length >= 70);
  for (const [source, captured] of SHAPES) {
    const analysis = analyseCapture(source);
    assertEquals(analysis.problems, [], source);
    assertEquals(namesOf(analysis), captured, source);
  }
});

test("analyseCapture() gives an expression that is the function", () => {
  let skipped = 0;
  for (const [source] of SHAPES) {
    if (/\busing\b/.test(source) && !compiles("() => { using x = null; }")) {
      skipped++;
      continue;
    }
    const analysis = analyseCapture(source);
    const scope = Object.fromEntries(analysis.captured.map(({ name }) => [name, 0]));
    assertEquals(typeof evaluate(analysis, scope), "function", source);
  }
  assert(skipped <= 3);
});

/** Each: a source text, a part of the reason for refusing it, and of the mend. */
const REFUSED: [source: string, reason: string, mend: string][] = [
  ["() => eval('x')", "calls eval", "(0, eval)"],
  ["() => () => (eval)('x')", "calls eval", "(0, eval)"],
  ["function () { with (Math) { return PI; } }", "'with' in strict mode", "use strict"],
  ["function () { return 010; }", "strict-mode", "use strict"],
  ["class A { constructor() {} }", "it is a class", "makes the object"],
  ["class { static x = 1 }", "it is a class", "makes the object"],
  ["function max() { [native code] }", "native", "write a function that calls it"],
  ["function () {\n    [native code]\n}", "native", "write a function that calls it"],
  ["get x() { return 1; }", "it is a getter", "function"],
  ["set x(value) {}", "it is a setter", "function"],
  ["[Symbol.iterator]() {}", "its name is computed", "function"],
  ["async *[key]() {}", "its name is computed", "function"],
  ["#secret() {}", "it is a private method", "function"],
  ["async *#secret() {}", "it is a private method", "function"],
  ["() => import.meta.url", "import.meta", "task(import.meta, f)"],
  ["() => $Bun_import_meta.url", "import.meta", "task(import.meta, f)"],
  ["() => import('./x.js')", 'imports "./x.js"', "task(import.meta, f)"],
  ["() => import('lodash')", 'imports "lodash"', "import.meta.resolve"],
  ["() => import(`../x.js`)", 'imports "../x.js"', "task(import.meta, f)"],
  ["() => import('/x.js')", 'imports "/x.js"', "task(import.meta, f)"],
  ["() => import('#x')", 'imports "#x"', "task(import.meta, f)"],
  ["() => this.x", "'this'", "function"],
  ["(a = this) => a", "'this'", "function"],
  ["() => () => this", "'this'", "function"],
  ["() => ({ [this.k]: 1, [this.l]() {} })", "'this'", "function"],
  ["() => class extends this.Base { [this.k] = 1; }", "'this'", "function"],
  ["() => arguments.length", "'arguments'", "function"],
  ["() => [typeof arguments]", "'arguments'", "function"],
  ["() => ({ arguments })", "'arguments'", "function"],
  ["() => new.target", "'new.target'", "function"],
  ["() => super.m()", "'super'", "object"],
  ["m() { return super.m(); }", "'super'", "object"],
  ["m() { return () => super.m(); }", "'super'", "object"],
  ["(o) => o.#x", "#x", "function"],
  ["(o) => #x in o", "#x", "function"],
  ["(o) => class { #y; m() { return o?.#x; } }", "#x", "function"],
  ["(o) => class extends o.#x { #x; }", "#x", "function"],
  ["(n) => { while (n<!--n) n--; }", "<!--", "space"],
  ["(n) => { while (n\n--> 0) ; }", "-->", "space"],
  ["(n) => {\n if (n<!--n) \n return 1; }", "<!--", "space"],
  ["() => { ¿ }", "cannot be parsed", "task(import.meta, f)"],
  ["x", "no function", "task(import.meta, f)"],
  ["a: 1", "no function", "task(import.meta, f)"],
  ["() => 1, () => 2", "cannot be parsed", "task(import.meta, f)"],
];

test("analyseCapture() refuses what has no meaning elsewhere, with the mend", () => {
  for (const [source, reason, mend] of REFUSED) {
    const { problems, expression } = analyseCapture(source);
    assertEquals(problems.length, 1, `${source}: ${problems.map((problem) => problem.reason)}`);
    assertStringIncludes(problems[0]!.reason, reason, source);
    assertStringIncludes(problems[0]!.mend("f"), mend, source);
    assertEquals(expression, "", source);
  }
});

test("analyseCapture() reports everything at once", () => {
  const analysis = analyseCapture(
    "(x) => [this, arguments, import.meta, eval('x'), x.#p, import('./y'), a, b]",
  );
  assertEquals(analysis.problems.length, 6);
  assertEquals(namesOf(analysis), "a b");
  assertEquals(namesOf(analyseCapture("get x() { return a; }")), "a");
  assertEquals(namesOf(analyseCapture("class A extends B { m() { return c; } }")), "B c");
});

test("analyseCapture() tells how a name is used", () => {
  const { captured } = analyseCapture("() => { a(); new b(); c`x`; d = 1; e++; typeof f; f; }");
  assertEquals(
    captured.map(({ name, called, assigned }) => [name, called, assigned]),
    [
      ["a", true, false],
      ["b", true, false],
      ["c", true, false],
      ["d", false, true],
      ["e", false, true],
      ["f", false, false],
    ],
  );
});

test("analyseCapture() lists globals among the free names, so that a scope can give them", () => {
  const { free } = analyseCapture("(x) => fetch(x, typeof y)");
  assertEquals([...free], ["fetch", "y"]);
});

test("analyseCapture() remembers its answers", () => {
  const source = "() => remembered";
  assertEquals(analyseCapture(source) === analyseCapture(source), true);
  for (let i = 0; i < 1100; i++) analyseCapture(`() => ${i}`);
  assertEquals(namesOf(analyseCapture(source)), "remembered");
});

// -- What compilers add

test("analyseCapture() provides __name of esbuild", () => {
  const analysis = analyseCapture('() => { const f = __name(() => 1, "g"); return f.name + f(); }');
  assertEquals(namesOf(analysis), "");
  assertEquals((evaluate(analysis) as () => string)(), "g1");
});

test("analyseCapture() provides the object helpers of esbuild", () => {
  const analysis = analyseCapture(`(o) => {
    const copy = __spreadProps(__spreadValues({}, o), { d: 4 });
    const { a } = copy, rest = __objRest(copy, ["a"]);
    class P { constructor() { __publicField(this, "x", __pow(2, 3)); } }
    return [a, rest, new P().x];
  }`);
  assertEquals(namesOf(analysis), "");
  const fn = evaluate(analysis) as (o: object) => unknown;
  assertEquals(fn({ a: 1, b: 2 }), [1, { b: 2, d: 4 }, 8]);
});

test("analyseCapture() provides __async of esbuild", async () => {
  const analysis = analyseCapture(`function (ok) {
    return __async(this, null, function* () {
      const value = yield Promise.resolve(ok);
      if (!value) throw new Error("no");
      try { yield Promise.reject(new Error("caught")); } catch (e) { return e.message; }
    });
  }`);
  const fn = evaluate(analysis) as (ok: boolean) => Promise<string>;
  assertEquals(await fn(true), "caught");
  assertEquals(await fn(false).catch((error) => error.message), "no");
});

/** What bun build 1.4.5 makes of `using` for Node and browsers, and esbuild likewise. */
const BUN_USING = `async (log) => {
  let __stack = [];
  try {
    const a = __using(__stack, { [Symbol.dispose]() { log.push("a"); } }, 0),
      b = __using(__stack, { async [Symbol.asyncDispose]() { log.push("b"); } }, 1),
      c = __using(__stack, null, 1),
      d = __using(__stack, { [Symbol.dispose]() { log.push("d"); throw new Error("d"); } }, 1);
    throw new Error("body");
  } catch (_catch) {
    var _err = _catch, _hasErr = 1;
  } finally {
    var _promise = __callDispose(__stack, _err, _hasErr);
    _promise && await _promise;
  }
}`;

/** What the TypeScript compiler makes of the same. */
const TYPESCRIPT_USING = `async (log) => {
  const env_1 = { stack: [], error: void 0, hasError: false };
  try {
    const a = __addDisposableResource(env_1, { [Symbol.dispose]() { log.push("a"); } }, false);
    const b = __addDisposableResource(env_1,
      { async [Symbol.asyncDispose]() { log.push("b"); } }, true);
    const d = __addDisposableResource(env_1,
      { [Symbol.dispose]() { log.push("d"); throw new Error("d"); } }, true);
    throw new Error("body");
  } catch (e_1) {
    env_1.error = e_1;
    env_1.hasError = true;
  } finally {
    const result_1 = __disposeResources(env_1);
    if (result_1) await result_1;
  }
}`;

test("analyseCapture() provides the helpers of a lowered using", async () => {
  for (const source of [BUN_USING, TYPESCRIPT_USING]) {
    const analysis = analyseCapture(source);
    assertEquals(namesOf(analysis), "");
    const log: string[] = [];
    const run = evaluate(analysis) as (log: string[]) => Promise<void>;
    const error = await run(log).then(() => undefined, (error) => error);
    assertEquals(log, ["d", "b", "a"]);
    assertEquals(error.name, "SuppressedError");
    assertEquals([error.error.message, error.suppressed.message], ["d", "body"]);
  }
});

test("analyseCapture() takes a helper whose name is mangled for a captured name", () => {
  assertEquals(namesOf(analyseCapture("(x) => { const a = se([], x, 0); }")), "se");
  assertEquals(
    namesOf(analyseCapture("() => { __decoratorStart_x73frcn4(void 0); }")),
    "__decoratorStart_x73frcn4",
  );
});

test("analyseCapture() reads functions as this runtime prints them", () => {
  // Not a literal: Bun's transpiler would write it into the functions.
  const outside = Number("1");
  const object = {
    method: (a: number, ...rest: number[]) => ({ a, rest, outside }),
    async *"two words"<T>(x: T) {
      yield [x, outside] as const;
    },
  };
  class Box {
    #x = 1;
    static make(this: void) {
      return new Set([1]);
    }
    peek() {
      return this.#x;
    }
  }
  const read = (fn: unknown) => analyseCapture(Function.prototype.toString.call(fn));
  assertEquals(namesOf(read(object.method)), "outside");
  assertEquals(namesOf(read(object["two words"])), "outside");
  assertEquals(read(Box.make).problems, []);
  assertStringIncludes(read(Box.prototype.peek).problems[0]!.reason, "#x");
  assertStringIncludes(read(Box).problems[0]!.reason, "class");
  assertStringIncludes(read(Math.max).problems[0]!.reason, "native");
  assertStringIncludes(read(Box.make.bind(undefined)).problems[0]!.reason, "native");
  assertStringIncludes(read(new Proxy(Box.make, {})).problems[0]!.reason, "native");
  assertStringIncludes(read(() => import.meta.url).problems[0]!.reason, "import.meta");
  assertEquals(read(new Function("a", "return a + b")).captured.map(({ name }) => name), ["b"]);
});

// -- Random functions whose free names are known by construction

/** Lexical, var, parameter, and function or class names differ, so that nothing is declared twice. */
const LEXICAL = ["la", "lb", "lc"];
const VARS = ["va", "vb", "vc"];
const PARAMS = ["pa", "pb", "pc"];
const INNER = ["fa", "fb", "fc"];
const NAMES = [...LEXICAL, ...VARS, ...PARAMS, ...INNER, "xa", "xb"];

/**
 * Writes a random function from the outside in: it first chooses what a scope declares, then writes
 * what uses it. So it knows of each name, at once, whether it is bound, whereas the analysis learns it
 * only at the scope's end.
 */
class Writer {
  readonly free = new Set<string>();
  readonly #nat: (max: number) => number;
  /** How many more nodes may be written. */
  #fuel = 40;

  constructor(nat: (max: number) => number) {
    this.#nat = nat;
  }

  function(env: ReadonlySet<string>): string {
    const name = this.#pick(["", this.#pick(INNER)]);
    const own = name === "" ? env : new Set([...env, name]);
    switch (this.#nat(3)) {
      case 0:
        return this.#call(env, " =>");
      case 1:
        return `async ${this.#call(env, " =>")}`;
      case 2:
        return `function ${name}${this.#call(own)}`;
      default:
        return `async function* ${name}${this.#call(own)}`;
    }
  }

  /** The names that are bound where the writer stands. */
  #env: ReadonlySet<string> = new Set();
  /** The `var` names that may be declared where the writer stands. */
  #vars: readonly string[] = [];

  #pick<T>(from: readonly T[]): T {
    return from[this.#nat(from.length - 1)]!;
  }

  #some(from: readonly string[]): string[] {
    return this.#fuel-- <= 0 ? [] : from.filter(() => this.#nat(2) === 0);
  }

  #within<T>(env: ReadonlySet<string>, write: () => T): T {
    const [outer, vars] = [this.#env, this.#vars];
    this.#env = env;
    const text = write();
    [this.#env, this.#vars] = [outer, vars];
    return text;
  }

  /** Parameters and body. The defaults see the parameters, but not what the body declares. */
  #call(env: ReadonlySet<string>, arrow = ""): string {
    const names = this.#some(PARAMS);
    const inner = new Set([...env, ...names]);
    return this.#within(inner, () => {
      const params = names.map((name) => this.#param(name)).join(", ");
      const body = arrow !== "" && this.#nat(1) ? `(${this.expr()})` : this.#body();
      return `(${params})${arrow} ${body}`;
    });
  }

  #param(name: string): string {
    switch (this.#nat(4)) {
      case 0:
        return `${name} = ${this.expr()}`;
      case 1:
        return `{ k: ${name} = ${this.expr()} }`;
      case 2:
        return `[, ${name}]`;
      case 3:
        return `{ [${this.expr()}]: ${name} }`;
      default:
        return name;
    }
  }

  /** A body in braces, which chooses its `var` names first: they hoist. */
  #body(): string {
    const vars = this.#some(VARS);
    return this.#within(new Set([...this.#env, ...vars]), () => {
      this.#vars = vars;
      const rest = vars.map((name) => `if (0) { var ${name}; }`).join(" ");
      return `{ ${this.#block()} ${rest} }`;
    });
  }

  /** The statements of a block, whose declarations may stand below their uses. */
  #block(): string {
    const lexical = this.#some(LEXICAL);
    const inner = this.#some(INNER);
    return this.#within(new Set([...this.#env, ...lexical, ...inner]), () => {
      const lines: string[] = [];
      for (let i = this.#nat(3); i > 0; i--) lines.push(this.#statement());
      for (const name of lexical) {
        lines.push(this.#nat(1) ? `let ${name} = ${this.expr()};` : `const [${name}] = [];`);
      }
      for (const name of inner) lines.push(this.#declaration(name));
      for (let i = this.#nat(2); i > 0; i--) lines.push(this.#statement());
      return lines.join(" ");
    });
  }

  #declaration(name: string): string {
    if (this.#nat(1)) return `function ${name}${this.#call(this.#env)}`;
    const heritage = this.#nat(1) ? `extends (${this.expr()}) ` : "";
    return `class ${name} ${heritage}{ ${this.#member()} ${this.#member()} }`;
  }

  #member(): string {
    switch (this.#nat(5)) {
      case 0:
        return `${this.#pick(NAMES)}${this.#call(this.#env)}`;
      case 1:
        return `static ${this.#pick(NAMES)} = ${this.expr()};`;
      case 2:
        return `[${this.expr()}] = ${this.expr()};`;
      case 3:
        return `static ${this.#body()}`;
      case 4:
        return `get [${this.expr()}]() ${this.#body()}`;
      default:
        return "";
    }
  }

  #statement(): string {
    if (this.#fuel-- <= 0) return ";";
    switch (this.#nat(9)) {
      case 0:
        return `{ ${this.#block()} }`;
      case 1:
        return `if (${this.expr()}) { ${this.#block()} } else ${this.expr()};`;
      case 2: {
        const name = this.#pick(LEXICAL);
        return this.#within(
          new Set([...this.#env, name]),
          () => `for (const ${name} of [${this.expr()}]) { ${this.#block()} }`,
        );
      }
      case 3: {
        const name = this.#pick(LEXICAL);
        return this.#within(
          new Set([...this.#env, name]),
          () => `for (let ${name} = ${this.expr()}; ${this.expr()}; ) { ${this.#block()} }`,
        );
      }
      case 4: {
        const name = this.#pick(LEXICAL);
        const start = `try { ${this.#block()} } catch`;
        return this.#within(new Set([...this.#env, name]), () =>
          // The parameter may not be declared again in the block itself.
          `${start} ({ ${name} = ${this.expr()} }) { { ${this.#block()} } }`);
      }
      case 5: {
        const key = this.expr();
        const name = this.#pick(LEXICAL);
        return this.#within(
          new Set([...this.#env, name]),
          () => `switch (${key}) { case ${this.expr()}: let ${name}; default: ${this.expr()}; }`,
        );
      }
      case 6: {
        const label = this.#pick(NAMES);
        // A label inside another of the same name is an error, so nothing is nested here.
        return `${label}: for (;;) { if (${this.#use()}) continue ${label}; break ${label}; }`;
      }
      case 7:
        return this.#vars.length === 0
          ? ";"
          : `var { k: ${this.#pick(this.#vars)} = ${this.expr()} } = ${this.expr()};`;
      default:
        return `${this.expr()};`;
    }
  }

  expr(): string {
    if (this.#fuel-- <= 0) return "0";
    switch (this.#nat(11)) {
      case 0:
        return `(${this.function(this.#env)})`;
      case 1:
        return `[${this.expr()}, ...[${this.expr()}]]`;
      case 2: {
        const name = this.#pick(NAMES);
        return `({ ${this.#use(name)}, ${
          this.#pick(NAMES)
        }: ${this.expr()}, [${this.expr()}]: 1 })`;
      }
      case 3:
        return `\`a\${${this.expr()}}b\``;
      case 4:
        return `(${this.expr()}).${this.#pick(NAMES)}?.[${this.expr()}]`;
      case 5:
        return `(${this.#use()} ?? ${this.expr()})`;
      case 6:
        return `${this.#use()}(${this.expr()})`;
      case 7:
        return `typeof ${this.#pick(["nowhere", "elsewhere"])}`;
      case 8:
        return `({ ${this.#pick(NAMES)}${this.#call(this.#env)} })`;
      case 9:
        return `(class { ${this.#member()} })`;
      default:
        return this.#use();
    }
  }

  #use(name = this.#pick(NAMES)): string {
    if (!this.#env.has(name)) this.free.add(name);
    return name;
  }
}

test("analyseCapture() agrees with a model on random functions", () => {
  fc.assert(
    fc.property(fc.gen(), (gen) => {
      const writer = new Writer((max) => gen(fc.nat, max));
      const source = writer.function(new Set());
      const analysis = analyseCapture(source);
      assertEquals(analysis.problems, [], source);
      assertEquals(
        namesOf(analysis).split(" ").filter(Boolean).sort(),
        [...writer.free].sort(),
        source,
      );
      // The runtime agrees that the text is a function.
      const scope = Object.fromEntries([...writer.free].map((name) => [name, 0]));
      assertEquals(typeof evaluate(analysis, scope), "function", source);
    }),
    { numRuns: 300, endOnFailure: true },
  );
});
