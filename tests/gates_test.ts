/** What comes in from outside does no harm: forged messages, misleading names, and what runs text as code. */

import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { EncodingError, TargetError } from "../errors.ts";
import { Ring } from "../memory/ring.ts";
import { Queue } from "../queue.ts";
import { isLibrary, read, walk } from "../scripts/files.ts";
import { ROOT } from "../scripts/runtimes.ts";
import { strip } from "../scripts/strip.ts";
import { SharedStruct, Value } from "../shared.ts";
import { closure } from "../target.ts";
import { decode } from "../wire/codec/codec.ts";
import { emptyError } from "../wire/codec/error_envelope.ts";
import { shareableNamed } from "../wire/codec/shareable.ts";
import { request } from "../wire/link.ts";
import { fromInboxSync, unpack } from "../wire/packet.ts";
import { exportNamed } from "../wire/target/exports.ts";
import { resolveTarget } from "../wire/target/target_resolve.ts";
import { taskNamed } from "../wire/target/tasks.ts";
import { answers } from "./fixtures/gates/names.ts";
import { withPool } from "./fixtures/pool_help.ts";
import { corpus, messageOf } from "./fuzz/corpus.ts";
import { forge, INHERITED, tableMessage } from "./fuzz/forge.ts";
import { fuzz } from "./fuzz/fuzz.ts";
import { checkDecode, fingerprint, weigh } from "./fuzz/oracle.ts";
import { Random } from "./fuzz/random.ts";

/** To try others: FUZZ_SEED=7 before the command. */
const SEED = Number(process.env.FUZZ_SEED ?? 20_261_123);

/** Ten times what the slowest of these takes. */
const SOON = 30_000;

function decodeBytes(bytes: Uint8Array, attachments: unknown[] = []): unknown {
  return decode(bytes, 0, bytes.length, attachments);
}

// ────────────────────────────────────────────────────────────────────────────── forged messages

test("decode() of 20,000 forged messages gives data or an EncodingError, and does no harm", () => {
  const { values, errors } = fuzz({ seed: SEED, count: 20_000 });
  // Otherwise the messages would not get far into the decoder, or not be forged.
  assert(values > 2_000 && errors > 2_000, `${values} values, ${errors} errors`);
});

test("unpack() and a ring's reader take forged messages as decode() does, and the ring goes on", () => {
  const messages = corpus();
  const ring = Ring.create({ capacity: 2 ** 16, maxItems: 0 });
  const settle = (read: () => unknown) => {
    try {
      return read();
    } catch (error) {
      assert(error instanceof EncodingError, `Seed ${SEED}: ${error}`);
      return EncodingError;
    }
  };
  for (let number = 0; number < 1_000; number++) {
    const { bytes } = forge(messages, new Random(SEED, number, 1));
    if (bytes.length > 2 ** 14) continue;
    const unpacked = settle(() => unpack({ bytes, attachments: [] }));
    ring.tryPut({ bytes, length: bytes.length, tag: 0, a: 0, b: 0 });
    ring.tryGet();
    const received = settle(() => fromInboxSync(ring));
    assertEquals(typeof received, typeof unpacked, `Message ${number} of seed ${SEED}`);
    const { bytes: true_ } = messageOf({ number });
    ring.tryPut({ bytes: true_, length: true_.length, tag: 0, a: 0, b: 0 });
    ring.tryGet();
    assertEquals(fromInboxSync(ring), { number });
  }
});

/** Bytes of one kind, as if something very long or deep were to follow. */
const ENDLESS: Record<string, number[]> = {
  "arrays in arrays": [0x91],
  "objects in objects": [0x81, 0xa1, 0x61],
  "arrays of 65,535": [0xdc, 0xff, 0xff],
  "arrays of fifteen": [0x9f],
  "objects of fifteen": [0x8f],
  "an array of four milliards": [0xdd, 0xff, 0xff, 0xff, 0xff],
  "an object of four milliards": [0xdf, 0xff, 0xff, 0xff, 0xff],
  "a text of four milliards": [0xdb, 0xff, 0xff, 0xff, 0xff],
  "bytes of four milliards": [0xc6, 0xff, 0xff, 0xff, 0xff],
  "an extension of four milliards": [0xc9, 0xff, 0xff, 0xff, 0xff, 0x74],
  "records of records": [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61],
  "sets in sets": [0xd4, 0x73, 0x00],
};

for (const [what, unit] of Object.entries(ENDLESS)) {
  test(`decode() survives a megabyte of ${what}`, () => {
    const bytes = new Uint8Array(2 ** 20).map((_, at) => unit[at % unit.length] as number);
    for (const tag of [9, 10]) {
      bytes[0] = tag;
      if (tag === 10) new DataView(bytes.buffer).setUint32(1, bytes.length - 5);
      const begun = performance.now();
      checkDecode({ bytes, attachments: [], body: undefined });
      assert(performance.now() - begun < SOON);
    }
  });
}

test("decode() of a table reaches neither what arrays inherit nor beyond its nodes", () => {
  for (const index of [...INHERITED, -1, 1, 0.5, 2 ** 32, "0", null, [0]]) {
    const bytes = tableMessage([[index], [], [[0]]]);
    assertThrows(() => decodeBytes(bytes), EncodingError, "Cannot decode", String(index));
  }
});

test("decode() of a table knows kinds by their numbers only", () => {
  for (const kind of [...INHERITED, "0", -1, 0.5, 99, null, [0]]) {
    const bytes = tableMessage([[0], [], [[kind]]]);
    assertThrows(() => decodeBytes(bytes), EncodingError, "no known kind", String(kind));
  }
});

test("decode() of a table takes attachments and views by their numbers only", () => {
  for (const index of [...INHERITED, "0", -1, 0.5, 9, null]) {
    const attached = tableMessage([[0], [], [[13, index]]]);
    assertThrows(() => decodeBytes(attached, ["secret"]), EncodingError, "missing", String(index));
    if (typeof index !== "string" || index === "0") continue;
    const view = tableMessage([[0], [], [[12, index, [1], 0, null], [11, 0, 0, null]]]);
    assertThrows(() => decodeBytes(view), EncodingError, "is not known here", index);
  }
});

test("decode() of a table copies no byte of a message into two buffers", () => {
  const blobs = new Uint8Array(2 ** 16);
  const nodes = Array.from({ length: 200 }, () => [11, 0, blobs.length, null]);
  const slots = nodes.map((_, at) => [at + 1]);
  const bytes = tableMessage([[0], [], [[1, ...slots], ...nodes]], blobs);
  assertThrows(() => decodeBytes(bytes), EncodingError, "Cannot decode");
});

test("decode() hands out nothing that msgpackr or the program use themselves", () => {
  // An error of the class "valueOf", and so on: an extension of msgpackr's that the library never writes.
  for (const name of INHERITED) {
    const { bytes } = messageOf([name, "__proto__"]);
    const forged = Uint8Array.of(9, 0xd4, 0x65, 0, ...bytes.subarray(1));
    try {
      weigh(decodeBytes(forged), []);
    } catch (error) {
      assert(error instanceof EncodingError, `${name}: ${error}`);
    }
  }
});

test("decode() does not set prototypes, by whatever keys", () => {
  const before = fingerprint();
  const key = (name: string) => [0xa0 + name.length, ...new TextEncoder().encode(name)];
  const map = (name: string) => [0x81, ...key(name), 0x81, ...key("polluted"), 0xc3];
  const record = (name: string) => [0xd4, 0x72, 0x40, 0x91, ...key(name), 0xc0];
  for (const name of INHERITED) {
    for (const packed of [map(name), record(name)]) {
      const value = decodeBytes(Uint8Array.of(9, ...packed)) as object;
      assertStrictEquals(Object.getPrototypeOf(value), Object.prototype);
      assertEquals(Object.keys(value).length, 1, name);
    }
    for (const kind of name === "length" ? [0, 15] : [0, 2, 15]) {
      const parts: Record<number, unknown[]> = {
        0: [0, true],
        2: [4, 0, 0, true],
        15: ["Error", "Error", "a text", "its stack", 0, 0, true],
      };
      const made = decodeBytes(tableMessage([[0], [name], [[kind, ...parts[kind]!]]])) as object;
      const { prototype } = { 0: Object, 2: Array, 15: Error }[kind] as { prototype: object };
      assertStrictEquals(Object.getPrototypeOf(made), prototype, name);
    }
  }
  assertEquals(fingerprint(), before);
  assertEquals(({} as Record<string, unknown>).polluted, undefined);
});

// ────────────────────────────────────────────────────────────────────────────── misleading names

test("Pool.apply() of { module, name } finds own exports only", () =>
  withPool({ processes: 1 }, async (pool) => {
    const module = import.meta.resolve("./fixtures/gates/names.ts");
    for (const name of INHERITED) {
      await assertRejects(
        () => pool.apply({ module, name }),
        TargetError,
        "no export of that name",
      );
    }
  }));

test("Pool.apply() finds tasks whose names every object inherits", () =>
  withPool({ processes: 1 }, async (pool) => {
    for (const [name, fn] of answers) assertEquals(await pool.apply(fn), `a task called ${name}`);
    assertEquals(answers.size, 4);
  }));

/** An object of such keys, as a parser would make it. */
const MISLEADING = JSON.parse(
  '{"__proto__": {"polluted": true}, "constructor": 1, "toString": 2, "hasOwnProperty": 3, "then": 4}',
);

test("Pool.map() carries keys that every object inherits, in items, results and errors", () =>
  withPool({ processes: 1 }, async (pool) => {
    const before = fingerprint();
    const [arrived] = await pool.map((item: object) => [Object.keys(item), item], [MISLEADING]);
    assertEquals(arrived![0], Object.keys(MISLEADING));
    const item = arrived![1] as Record<string, unknown>;
    assertEquals(Object.getOwnPropertyNames(item), Object.keys(MISLEADING));
    assertStrictEquals(Object.getPrototypeOf(item), Object.prototype);
    assertEquals(item.polluted, undefined);

    const fail = (keys: object) => {
      const error = new RangeError("a text");
      for (const [key, value] of Object.entries(keys)) {
        Object.defineProperty(error, key, { value, enumerable: true });
      }
      throw Object.defineProperty(error, "name", { value: "constructor" });
    };
    const error = await assertRejects(() => pool.map(fail, [MISLEADING]), RangeError);
    assertStrictEquals(Object.getPrototypeOf(error), RangeError.prototype);
    assertEquals(error.name, "constructor");
    assertEquals(Object.keys(error).sort(), Object.keys(MISLEADING).sort());
    assertEquals(fingerprint(), before);
  }));

test("Pool.map() reads no options out of a key __proto__", () =>
  withPool({ processes: 1 }, async (pool) => {
    const options = JSON.parse('{"__proto__": {"chunkSize": 0, "timeout": 1, "onProgress": 5}}');
    assertEquals(await pool.map((n: number) => n + 1, [1, 2], options), [2, 3]);
  }));

test("closure() gives names that every object inherits, and only those of its own scope", () =>
  withPool({ processes: 1 }, async (pool) => {
    const constructor = "c";
    const toString = "t";
    const __proto__ = "p";
    const all = closure(() => [constructor, toString, __proto__], {
      constructor,
      toString,
      ["__proto__"]: __proto__,
    });
    assertEquals(await pool.apply(all), ["c", "t", "p"]);

    const factor = 3;
    const inherits = closure(() => factor, Object.create({ factor }));
    await assertRejects(async () => await pool.apply(inherits), TargetError, "factor");
  }));

test("Value and SharedStruct know no types by inherited names, and any field's name", () => {
  for (const name of INHERITED) {
    assertThrows(() => new Value(name as "i32"), TypeError, "unknown type");
    assertThrows(() => new SharedStruct({ x: name as "i32" }), TypeError, "unknown type");
    const { fields } = new SharedStruct({ [name]: "i32" }, { [name]: 5 });
    assertEquals(fields[name], 5);
    const other = new SharedStruct({ x: "i32" }).fields as Record<string, number>;
    assertThrows(() => void (other[name] = 1), TypeError, "there is no field");
  }
});

test("Queue.put() says why something cannot be sent, whatever it calls itself", () => {
  const queue = new Queue();
  for (const name of INHERITED) {
    class Tagged extends WeakMap<object, unknown> {
      override get [Symbol.toStringTag](): string {
        return name;
      }
    }
    const error = assertThrows(() => queue.putNowait(new Tagged()), EncodingError);
    assertEquals(/cannot be sent between processes(.*)$/s.exec(error.message)?.[1], "", name);
  }
});

test("the library's tables have no entry that nobody has made", async () => {
  for (const name of INHERITED) {
    assertEquals(shareableNamed(name), undefined);
    assertEquals(exportNamed(name), undefined);
    assertEquals(taskNamed(name, name), undefined);
    const error = emptyError({ class: name, name: "Error", message: "a text" });
    assertStrictEquals(Object.getPrototypeOf(error), Error.prototype);
    const message = tableMessage([[0], [], [[16, name, null]]]);
    assertThrows(() => decodeBytes(message), EncodingError, `knows no shareable "${name}"`);
    const scope = [[name, { kind: "export", name }]] as never;
    await assertRejects(
      () => resolveTarget({ kind: "source", name, source: "() => 1", scope }, (url) => import(url)),
      TargetError,
      "which no module loaded in this process exports",
    );
    request({ kind: name } as never); // To nobody: a kind that is not known is passed over.
  }
});

// ────────────────────────────────────────────────────────────────────────────── text that becomes code

/** What turns text into code, or reaches beyond imports; `strip()` has blanked what stands in quotes. */
const WAYS: Record<string, RegExp> = {
  "eval": /(?<![\w$])eval\b(?!\s*:)/g,
  "Function constructor": /(?<![\w$.])Function\s*\(|\.\s*constructor\s*\(/g,
  "import() of a literal": /(?<![\w$.]|typeof )import\s*\(\s*(["'])_*\1\s*\)/g,
  "import() of anything else": /(?<![\w$.])import\s*\((?!\s*(["'])_*\1\s*\))/g,
  "code in a context": /\b(?:runIn\w*Context|compileFunction|SourceTextModule|vm)\b\s*(?=[.(,}])/g,
  "built-in modules by name": /\b(?:getBuiltinModule|createRequire|binding|dlopen|require)\s*\(/g,
  "a thread": /\bnew\s+Worker\s*\(/g,
};

/** Where the library does so, how often, and why that is no way in. */
const ALLOWED: Record<string, Record<string, [count: number, reason: string]>> = {
  "eval": {
    "cluster/daemon/daemon.ts": [1, "a script for Redis, a constant text"],
    "cluster/pool/presence.ts": [1, "a script for Redis, a constant text"],
  },
  "Function constructor": {
    "memory/boot.ts": [1, "a target's own source, read by the program that sends it"],
    "wire/target/target_resolve.ts": [1, "a target's own source, and names of its scope"],
  },
  "import() of a literal": {
    "_worker.ts": [3, "the library's own modules, loaded when they are needed"],
    "wire/pool/caller.ts": [1, "the library's own module, loaded when it is needed"],
    "cluster/pool/link.ts": [1, "a dependency, loaded when it is needed"],
    "cluster/wire/connection.ts": [1, "a dependency, loaded when it is needed"],
    "cluster/wire/server.ts": [1, "a dependency, loaded when it is needed"],
  },
  "import() of anything else": {
    "cluster/daemon/run.ts": [1, "a module under the daemon's root, whose hash was compared"],
    "runtime/inside.ts": [1, "a target's module, and the library's worker module"],
    "sync/barrier.ts": [1, "the module of a barrier's action, which is a target"],
  },
  "code in a context": {
    "runtime/deno.ts": [2, "a constant text, which calls a function of the pool's"],
  },
  "built-in modules by name": {
    "runtime/deno.ts": [1, "node:vm, which limits a call's time"],
  },
  "a thread": {
    "runtime/bun.ts": [1, "a process"],
    "runtime/node_worker.ts": [1, "a process"],
  },
};

function countWays(text: string): Record<string, number> {
  const code = strip(text);
  const counts: Record<string, number> = {};
  for (const [way, pattern] of Object.entries(WAYS)) {
    const { length } = [...code.matchAll(pattern)];
    if (length > 0) counts[way] = length;
  }
  return counts;
}

test("the library turns no text into code but in the places that are listed", () => {
  const found: Record<string, Record<string, number>> = {};
  for (const path of walk(ROOT).filter(isLibrary)) {
    for (const [way, count] of Object.entries(countWays(read(ROOT, path)))) {
      (found[way] ??= {})[path] = count;
    }
  }
  const allowed = Object.entries(ALLOWED).map(([way, files]) => [
    way,
    Object.fromEntries(Object.entries(files).map(([path, [count]]) => [path, count])),
  ]);
  assertEquals(found, Object.fromEntries(allowed));
});

test("that test finds each way to turn text into code", () => {
  const samples: Record<string, string[]> = {
    "eval": ['eval("1");', '(0, eval)("1");', 'globalThis.eval("1");'],
    "Function constructor": ['new Function("1");', 'Function("1");', 'fn.constructor("1");'],
    "import() of a literal": ['await import("./a.ts");'],
    "import() of anything else": [
      "await import(url);",
      'import("./" + name);',
      "import(`./a.ts`);",
    ],
    "code in a context": ['runInNewContext("1");', "vm.runInContext(text, context);"],
    "built-in modules by name": ['process.getBuiltinModule("node:vm");', 'process.binding("fs");'],
    "a thread": ["new Worker(url);"],
  };
  assertEquals(Object.keys(samples), Object.keys(WAYS));
  for (const [way, texts] of Object.entries(samples)) {
    for (const text of texts) assertFalse(countWays(text)[way] === undefined, text);
  }
  assertEquals(countWays('const text = "eval(1) import(x)"; // new Function()'), {});
});
