/** Pools: what an error tells of itself, of the worker, of the item, and of its caller. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { EncodingError, ProcessLostError, TargetError, TimeoutError } from "../errors.ts";
import { Pool } from "../pool.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";
import { Value } from "../shared.ts";
import { closure, type Target } from "../target.ts";
import { kept, soon, withPool } from "./fixtures/pool_help.ts";
import { nameAndPid } from "./fixtures/pool_tasks.ts";
import { exit, pay, PaymentError, refuseSetup } from "./fixtures/pool_user.ts";

const HERE = "pool_errors_test.ts";
const USER = "pool_user.ts";

const square = (n: number): number => n * n;

let common: Pool | undefined;

/** Gives a test a pool of two workers that it has in common with others, and must not close. */
function inPool<T>(body: (pool: Pool) => Promise<T>): () => Promise<void> {
  return async () => void await soon(body(common ??= new Pool({ processes: 2 })));
}

// deno-lint-ignore no-explicit-any
type AnyTarget = Target<any, unknown>;

/** The result of an iterator's only item. */
async function only(results: AsyncIterable<unknown>): Promise<unknown> {
  for await (const result of results) return result;
  throw new Error("The iterator is empty");
}

/** Each way to have a function called with one argument, on a line of its own. */
const CALLS: Record<string, (pool: Pool, fn: AnyTarget, arg: unknown) => Promise<unknown>> = {
  apply: async (pool, fn, arg) => {
    return await pool.apply(fn, [arg]); // CALL apply
  },
  applyAsync: async (pool, fn, arg) => {
    return await pool.applyAsync(fn, [arg]); // CALL applyAsync
  },
  map: async (pool, fn, arg) => {
    return await pool.map(fn, [arg]); // CALL map
  },
  mapAsync: async (pool, fn, arg) => {
    return await pool.mapAsync(fn, [arg]).get(); // CALL mapAsync
  },
  starmap: async (pool, fn, arg) => {
    return await pool.starmap(fn, [[arg]]); // CALL starmap
  },
  imap: async (pool, fn, arg) => {
    return await only(pool.imap(fn, [arg])); // CALL imap
  },
  imapUnordered: async (pool, fn, arg) => {
    return await only(pool.imapUnordered(fn, [arg])); // CALL imapUnordered
  },
};

/** What a call rejects with. */
async function thrownBy(call: () => PromiseLike<unknown>): Promise<Error> {
  try {
    await call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("The call was to reject");
}

// -- Class, name, message, properties

interface Told {
  ctor: string;
  name: string;
  message: string;
}

for (const [form, call] of Object.entries(CALLS)) {
  test(
    `Pool.${form}() keeps the class, name and message of built-in errors`,
    inPool(async (pool) => {
      const fail = (name: string) => {
        throw new (Reflect.get(globalThis, name))(`a ${name}`);
      };
      const names = ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError"];
      for (const ctor of [...names, "TypeError", "URIError"]) {
        const error = await thrownBy(() => call(pool, fail, ctor));
        assertStrictEquals(error.constructor, Reflect.get(globalThis, ctor));
        const told: Told = { ctor, name: error.name, message: error.message };
        assertEquals(told, { ctor, name: ctor, message: `a ${ctor}` });
      }
      const rejecting = async (name: string) => {
        await Promise.resolve();
        throw new DOMException("stop", name);
      };
      const dom = await thrownBy(() => call(pool, rejecting, "AbortError"));
      assertInstanceOf(dom, DOMException);
      assertEquals([dom.name, dom.message, dom.code], ["AbortError", "stop", 20]);
    }),
  );

  test(
    `Pool.${form}() keeps own properties, cause and AggregateError.errors, however deep`,
    inPool(async (pool) => {
      const fail = (code: string) => {
        const cause = new TypeError("inner", { cause: new RangeError("innermost") });
        const error = new AggregateError([new URIError("one"), { two: 2 }, cause], "all", {
          cause,
        });
        throw Object.assign(error, { code, when: new Date(5), counts: new Map([["a", 1n]]) });
      };
      const error = await thrownBy(() => call(pool, fail, "E_ALL")) as AggregateError & {
        code: string;
        when: Date;
        counts: Map<string, bigint>;
      };
      assertInstanceOf(error, AggregateError);
      assertEquals([error.code, error.when, error.counts], [
        "E_ALL",
        new Date(5),
        new Map([["a", 1n]]),
      ]);
      assertInstanceOf(error.errors[0], URIError);
      assertEquals([error.errors[0].message, error.errors[1]], ["one", { two: 2 }]);
      assertInstanceOf(error.cause, TypeError);
      assertInstanceOf(error.cause.cause, RangeError);
      assertStrictEquals(error.errors[2], error.cause);
      assertEquals(Object.keys(error).sort(), ["code", "counts", "when"]);
    }),
  );

  test(
    `Pool.${form}() keeps the class of an error that is marked by task()`,
    inPool(async (pool) => {
      const error = await thrownBy(() => call(pool, pay, 12n));
      assertEquals([error.name, error.message], ["PaymentError", "cannot pay 12"]);
      assertInstanceOf(error, RangeError);
      const { code, amount } = error as PaymentError;
      assertEquals([code, amount], ["E_PAYMENT", 12n]);
      assertInstanceOf(error, PaymentError);
    }),
  );
}

test(
  "Pool tells an error of a class of the function's own by name, as the nearest built-in class",
  inPool(async (pool) => {
    const fail = () => {
      class LocalError extends TypeError {
        override name = "LocalError";
        detail = { deep: [1] };
      }
      throw new LocalError("local");
    };
    for (const call of Object.values(CALLS)) {
      const error = await thrownBy(() => call(pool, fail, 0)) as Error & { detail: unknown };
      assertInstanceOf(error, TypeError);
      assertEquals([error.name, error.message], ["LocalError", "local"]);
      assertEquals(error.detail, { deep: [1] });
    }
  }),
);

// -- Stacks

const FILES: Record<string, string[]> = Object.fromEntries(
  [HERE, `fixtures/${USER}`].map((path) => {
    const text = readFileSync(new URL(path, new URL(".", import.meta.url)), "utf8");
    return [path.replace("fixtures/", ""), text.split("\n")];
  }),
);

/** The frame of the line that ends with a marker. */
function at(marker: string, file = HERE): string {
  const lines = FILES[file]!.flatMap((line, i) => line.endsWith(`// ${marker}`) ? [i + 1] : []);
  assertEquals(lines.length, 1, `the marker ${marker}`);
  return `${file}:${lines[0]}`;
}

/** The frames of an error's stack as `file:line`; what stands before them is no frame. */
function framesOf(error: Error): string[] {
  return error.stack!.split("\n")
    .map((line) => /([^/\\]+\.ts):(\d+):\d+\)?$/.exec(line))
    .flatMap((match) => match === null ? [] : [`${match[1]}:${match[2]}`]);
}

const LIBRARY =
  /multiprocessing:|(^|[/\\])(wire|memory|runtime|pool)[/\\]\w|[/\\](_worker|pool|mod|process)\.ts/;

/** That a stack has these frames, in this order, and none of the library's. */
function assertFrames(error: Error, frames: string[], what = ""): void {
  const found = framesOf(error);
  const places = frames.map((frame) => found.indexOf(frame));
  const message = `${what}: ${frames.join(", ")} in\n${error.stack}`;
  assert(places.every((place, i) => place >= 0 && (i === 0 || place > places[i - 1]!)), message);
  // JavaScriptCore shows the constructor of an error's class.
  assert(found.indexOf(frames[0]!) <= 1, message);
  assert(!error.stack!.split("\n").some((line) => LIBRARY.test(line)), message);
}

const boom = (n: number): never => {
  if (n > 100) return undefined as never;
  throw new RangeError(`no ${n}`); // AT boom
};

async function boomLater(n: number): Promise<never> {
  await Promise.resolve();
  const text: string = `later ${n}`;
  throw new RangeError(text); // AT boomLater
}

const helper = (n: number): number => {
  const result = boom(n); // AT helper
  return result + result;
};
closure(helper, { boom });

const withHelper = closure((n: number) => {
  const more = helper(n + 1); // AT withHelper
  return more + 1;
}, { helper });

for (const [form, call] of Object.entries(CALLS)) {
  test(
    `Pool.${form}() throws an error whose stack has the lines of what was sent, then the caller's`,
    inPool(async (pool) => {
      const caller = at(`CALL ${form}`);
      // The first call of a function goes another way than all others.
      for (let i = 0; i < 2; i++) {
        const plain = await thrownBy(() => call(pool, boom, 1));
        assertFrames(plain, [at("AT boom"), caller], "plain");
        assertStringIncludes(plain.stack!, "RangeError: no 1");
        const later = await thrownBy(() => call(pool, boomLater, 2));
        assertFrames(later, [at("AT boomLater"), caller], "async");
        const deep = await thrownBy(() => call(pool, withHelper, 3));
        assertFrames(
          deep,
          [at("AT boom"), at("AT helper"), at("AT withHelper"), caller],
          "closure",
        );
      }
    }),
  );

  test(
    `Pool.${form}() throws an error whose stack has the lines of the task's file, then the caller's`,
    inPool(async (pool) => {
      for (let i = 0; i < 2; i++) {
        const error = await thrownBy(() => call(pool, pay, 5n));
        assertFrames(error, [at("AT settle", USER), at(`CALL ${form}`)], form);
        assertStringIncludes(error.stack!, "cannot pay 5");
      }
    }),
  );

  test(
    `Pool.${form}() throws library errors whose stack has the caller's lines alone`,
    inPool(async (pool) => {
      const caller = at(`CALL ${form}`);
      const lost = await thrownBy(() => call(pool, exit, 3));
      assertInstanceOf(lost, ProcessLostError);
      assertFrames(lost, [caller], "lost");
      assertStringIncludes(lost.stack!, lost.message);
      const unsendable = await thrownBy(() => call(pool, () => () => {}, 3));
      assertInstanceOf(unsendable, EncodingError);
      assertFrames(unsendable, [caller], "result");
    }),
  );

  test(
    `Pool.${form}() refuses functions and arguments with an error whose stack has the caller's lines alone`,
    inPool(async (pool) => {
      const caller = at(`CALL ${form}`);
      const outside = Number("1");
      const target = await thrownBy(() => call(pool, (n: number) => n + outside, 1));
      assertInstanceOf(target, TargetError);
      assertFrames(target, [caller], "target");
      assertEquals(target.stack!.split(caller).length, 2, target.stack);
      const argument = await thrownBy(() => call(pool, boom, (() => {}) as never));
      assertInstanceOf(argument, EncodingError);
      assertFrames(argument, [caller], "argument");
      assertEquals(argument.stack!.split(caller).length, 2, argument.stack);
    }),
  );
}

/** The caller's line, for each way to wait for a call. Awaited where it is made, or somewhere else. */
const WAYS: Record<string, (pool: Pool) => Promise<unknown>> = {
  await: async (pool) => {
    return await pool.apply(boom, [1]); // WAY await
  },
  "Promise.all": async (pool) => {
    return await Promise.all([pool.apply(square, [1]), pool.apply(boom, [1])]); // WAY Promise.all
  },
  "map in Promise.all": async (pool) => {
    return await Promise.all([pool.map(boom, [1]), 5]); // WAY map in Promise.all
  },
  "Promise.race": async (pool) => {
    return await Promise.race([pool.apply(boom, [1]), new Promise(() => {})]); // WAY Promise.race
  },
  catch: async (pool) => {
    return await pool.apply(boom, [1]).catch((error) => Promise.reject(error)); // WAY catch
  },
  then: async (pool) => {
    return await pool.apply(boom, [1]).then((n) => n); // WAY then
  },
  finally: async (pool) => {
    return await pool.apply(boom, [1]).finally(() => {}); // WAY finally
  },
  "returned from an async function": async (pool) => {
    const inner = async () => await pool.apply(boom, [1]); // WAY returned from an async function
    return await inner();
  },
  "map returned without await": async (pool) => {
    const inner = () => pool.map(boom, [1]); // WAY map returned without await
    return await inner();
  },
  "for await": async (pool) => {
    const results = pool.imap(boom, [1]); // WAY for await
    for await (const _ of results);
  },
};

for (const [way, call] of Object.entries(WAYS)) {
  test(
    `Pool's errors show their caller: ${way}`,
    inPool(async (pool) => {
      for (let i = 0; i < 2; i++) {
        const error = await thrownBy(() => call(pool));
        assertFrames(error, [at("AT boom"), at(`WAY ${way}`)], way);
      }
    }),
  );
}

test(
  "Pool's errors show the caller's caller, through async functions",
  inPool(async (pool) => {
    const inner = async () => {
      await Promise.resolve();
      return await pool.apply(boom, [1]); // DEEP inner
    };
    const outer = async () => {
      const result = await inner(); // DEEP outer
      return result;
    };
    const error = await thrownBy(() => outer());
    assertFrames(error, [at("AT boom"), at("DEEP inner")]);
    const frames = framesOf(error);
    // JavaScriptCore knows of no awaiting function, once one has waited.
    if (current().name !== "bun") assert(frames.includes(at("DEEP outer")), error.stack);
  }),
);

test(
  "Pool's errors of 1,000 calls made at once all have the lines of what was sent",
  inPool(async (pool) => {
    const calls = Array.from({ length: 1_000 }, (_, i) => pool.apply(boom, [i % 100]));
    const outcomes = await Promise.allSettled(calls);
    for (const [i, outcome] of outcomes.entries()) {
      const { reason } = outcome as PromiseRejectedResult;
      assertEquals(reason.message, `no ${i % 100}`);
      assertEquals(framesOf(reason)[0], at("AT boom"));
    }
  }),
);

test(
  "Pool's errors have the lines of what was sent, whoever else waits for the call, or nobody",
  inPool(async (pool) => {
    const calls = [
      () => kept(pool.apply(boom, [1])),
      () => kept(pool.map(boom, [1])),
      () => kept(pool.imap(boom, [1]).next()),
      () => pool.applyAsync(boom, [1], { errorCallback: () => {} }).get(),
      () => new Promise((resolve, reject) => pool.apply(boom, [1]).then(resolve, reject)),
    ];
    for (const call of calls) {
      const error = await thrownBy(call);
      assertEquals(framesOf(error)[0], at("AT boom"), `${call}\n${error.stack}`);
    }
  }),
);

test(
  "Pool's errors reject all who ask for a result, and are not extended again",
  inPool(async (pool) => {
    const result = pool.applyAsync(boom, [1]);
    const error = await thrownBy(() => result.get());
    const { stack } = error;
    for (const ask of [() => result.get(), () => result, () => result.then()]) {
      assertStrictEquals(await thrownBy(ask), error);
      assertEquals(error.stack, stack);
    }
    const frames = framesOf(error);
    assertEquals(frames.filter((frame) => frame === at("AT boom")).length, 1);
  }),
);

test("Pool whose initializer failed rejects all calls with an error that is extended once", async () => {
  await withPool({ processes: 1, initializer: refuseSetup, initargs: [1n] }, async (pool) => {
    const calls = [1, 2, 3].map(() => kept(pool.apply(square, [1])));
    const first = await thrownBy(() => calls[0]!);
    const stack = String(first.stack);
    await Promise.allSettled(calls);
    for (const call of Object.values(CALLS)) await thrownBy(() => call(pool, square, 1));
    assertEquals(first.stack, stack);
    const frames = framesOf(first);
    assertEquals(new Set(frames).size, frames.length, stack);
    assert(!stack.split("\n").some((line) => LIBRARY.test(line)), stack);
  });
});

test("Pool rejects with a signal's reason as it is, and leaves its stack alone", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    for (const make of [() => new URIError("mine"), () => Object.freeze(new URIError("mine"))]) {
      const forever = () => new Promise(() => {});
      for (
        const call of [
          (signal: AbortSignal) => pool.apply(forever, [], { signal }),
          (signal: AbortSignal) => pool.map(forever, [1], { signal }),
          (signal: AbortSignal) => pool.imap(forever, [1], { signal }).next(),
        ]
      ) {
        const controller = new AbortController();
        const reason = make();
        const { stack } = reason;
        const waiting = kept(call(controller.signal));
        controller.abort(reason);
        assertStrictEquals(await thrownBy(() => waiting), reason);
        assertEquals(reason.stack, stack);
      }
    }
  });
});

test("Pool's TimeoutError has the caller's lines, and none of the library's", async () => {
  await withPool({ processes: 1 }, async (pool) => {
    const error = await thrownBy(async () => {
      const forever = () => new Promise(() => {});
      return await pool.apply(forever, [], { timeout: 30 }); // CALL timeout
    });
    assertInstanceOf(error, TimeoutError);
    assertFrames(error, [at("CALL timeout")]);
  });
});

test(
  "Pool rejects with a TargetError that names the module if there is none, as what it imports in vain",
  inPool(async (pool) => {
    for (const name of ["no_such", "fixtures/imports_missing"]) {
      const module = new URL(`./${name}.ts`, import.meta.url).href;
      const error = await thrownBy(() => pool.apply({ module, name: "f" }));
      assertEquals(error instanceof TargetError, name === "no_such", `${error}`);
      assertStringIncludes(`${error}`, "no_such.ts");
      if (name === "no_such") {
        assertEquals(error.message, `Cannot import ${module}: there is no such module`);
      }
    }
  }),
);

test(
  "Pool rejects with errors that are frozen or sealed, or without a stack",
  inPool(async (pool) => {
    const throwers: ((text: string) => never)[] = [
      (text) => {
        throw Object.freeze(new RangeError(text));
      },
      (text) => {
        throw Object.seal(new RangeError(text));
      },
      (text) => {
        const error = new RangeError(text);
        delete error.stack;
        throw error;
      },
      (text) => {
        throw Object.defineProperty(new RangeError(text), "stack", { value: undefined });
      },
      (text) => {
        throw Object.defineProperty(new RangeError(text), "stack", { value: 5 });
      },
      (text) => {
        throw Object.defineProperty(new RangeError(text), "stack", {
          get: () => {
            throw new Error("no stack");
          },
        });
      },
    ];
    for (const call of Object.values(CALLS)) {
      for (const thrower of throwers) {
        const error = await thrownBy(() => call(pool, thrower, "odd"));
        assertInstanceOf(error, RangeError);
        assertEquals(error.message, "odd");
        assert(!String(error.stack ?? "").includes("undefined"), error.stack);
      }
    }
    assertEquals(await pool.apply(square, [3]), 9);
  }),
);

test(
  "Pool keeps a message of several lines, also in the stack",
  inPool(async (pool) => {
    const fail = (text: string) => {
      throw new TypeError(text); // AT lines
    };
    const text = "one\n    at two (three.ts:1:1)\nfour";
    const error = await thrownBy(() => pool.apply(fail, [text]));
    assertEquals(error.message, text);
    assertStringIncludes(error.stack!, "four");
    assert(framesOf(error).includes(at("AT lines")), error.stack);
  }),
);

test(
  "Pool's errors have a cause whose stack has the lines of what was sent",
  inPool(async (pool) => {
    const fail = (n: number) => {
      const cause = new TypeError(`cause ${n}`); // AT cause
      throw new RangeError("outer", { cause }); // AT outer
    };
    const error = await thrownBy(() => pool.apply(fail, [1]));
    assertEquals(framesOf(error)[0], at("AT outer"));
    assertEquals(framesOf(error.cause as Error)[0], at("AT cause"));
  }),
);

// -- Items that cannot be sent

/** Twelve items, of which the eighth cannot be sent. */
function withBad(): unknown[] {
  return Array.from({ length: 12 }, (_, i) => i === 7 ? { socket: [() => {}] } : i);
}

for (const chunkSize of [undefined, 1, 3, 5, 100]) {
  test(
    `Pool.map() names the item that cannot be sent, and runs the others, chunkSize ${chunkSize}`,
    inPool(async (pool) => {
      const options = chunkSize === undefined ? {} : { chunkSize };
      const ran = new Value("i32", 0);
      const count = closure((_: unknown) => void ran.add(1), { ran });
      const map = await assertRejects(() => pool.map(count, withBad(), options), EncodingError);
      assertStringIncludes(map.message, "items[7].socket[0]");
      assertEquals(ran.value, 11);
      const pairs = withBad().map((item): [unknown, unknown] => [0, item]);
      const starmap = await assertRejects(
        () =>
          pool.starmap(
            closure((_a: unknown, _b: unknown) => void ran.add(1), { ran }),
            pairs,
            options,
          ),
        EncodingError,
      );
      assertStringIncludes(starmap.message, "items[7][1].socket[0]");
      assertEquals(ran.value, 22);
    }),
  );

  test(
    `Pool.imap() names the item that cannot be sent, in its place, chunkSize ${chunkSize}`,
    inPool(async (pool) => {
      const options = chunkSize === undefined ? {} : { chunkSize };
      for (const form of ["imap", "imapUnordered"] as const) {
        const seen: unknown[] = [];
        const error = await assertRejects(async () => {
          const results = pool[form]((item: unknown) => item, withBad(), options);
          for await (const result of results) seen.push(result);
        }, EncodingError);
        assertStringIncludes(error.message, "items[7].socket[0]");
        if (form === "imap") assertEquals(seen, [0, 1, 2, 3, 4, 5, 6]);
      }
    }),
  );
}

test(
  "Pool.map() throws the first of several errors, whether of sending or of running",
  inPool(async (pool) => {
    const fail = (item: unknown) => {
      if (item === 3) throw new RangeError("item 3");
    };
    const early = await thrownBy(() => pool.map(fail, [0, () => {}, 2, 3], { chunkSize: 2 }));
    assertStringIncludes(early.message, "items[1]");
    const late = await thrownBy(() => pool.map(fail, [0, 1, 2, 3, () => {}], { chunkSize: 5 }));
    assertEquals(late.message, "item 3");
    const both = await thrownBy(() => pool.map(fail, [0, () => {}, () => {}], { chunkSize: 3 }));
    assertStringIncludes(both.message, "items[1]");
  }),
);

// -- Workers that end

test("ProcessLostError says which process, how it ended, and which task it ran", async () => {
  await withPool({ processes: 1, name: "Mill" }, async (pool) => {
    for (const form of ["apply", "applyAsync"]) {
      const { name, pid } = await pool.apply(nameAndPid);
      const error = await thrownBy(() => CALLS[form]!(pool, exit, 7));
      assertInstanceOf(error, ProcessLostError);
      const { exitCode, processName } = error;
      assertEquals({ pid: error.pid, exitCode, processName }, {
        pid,
        exitCode: 7,
        processName: name,
      });
      for (const part of [name, `pid ${pid}`, "exit code 7", "the task"]) {
        assertStringIncludes(error.message, part);
      }
      assertEquals(Object.hasOwn(error, "cause"), false);
    }
  });
});

for (const form of ["map", "starmap", "imap", "imapUnordered"] as const) {
  test(`ProcessLostError of Pool.${form}() says which item of all, in chunks too`, async () => {
    await withPool({ processes: 1 }, async (pool) => {
      const die = closure((n: number) => n === 7 ? exit(4) : n, { exit });
      const items = Array.from({ length: 12 }, (_, i) => i);
      for (const chunkSize of [1, 5]) {
        const options = { chunkSize };
        const error = await assertRejects(async () => {
          if (form === "map") await pool.map(die, items, options);
          else if (form === "starmap") await pool.starmap(die, items.map((n) => [n]), options);
          else for await (const _ of pool[form](die, items, options));
        }, ProcessLostError);
        assertMatch(error.message, /PoolWorker-\d+ \(pid \d+\).*exit code 4.*item 7/);
        assertEquals([error.exitCode, error.pid > 1], [4, true]);
      }
      assertEquals(await pool.apply(square, [3]), 9);
    });
  });
}

test("ProcessLostError has the error that nobody caught as its cause, for each call", async () => {
  const program = join(ROOT, "tests/fixtures/pool_user.ts");
  const { output } = await capture([...current().command, program, "losses"], 30_000);
  const lost = (what: string) => [
    "ProcessLostError",
    1,
    "PaymentError",
    "too late",
    "E_PAYMENT",
    true,
    true,
    `PoolWorker-N ended with exit code 1 while it ran ${what}`,
  ];
  const lines = output.trim().split("\n").filter((line) => line.startsWith("["));
  const item = lost("item 0 of the map");
  assertEquals(lines.map((line) => JSON.parse(line)), [
    lost("the task"),
    lost("the task"),
    item,
    item,
    item,
    item,
  ]);
});
