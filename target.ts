/**
 * What can run in another process: functions, and the three ways in which they travel.
 *
 * A **plain function** that uses only its parameters, its own locals and globals travels as source text.
 * One that uses imports or other things of its module is marked with {@linkcode task}, and travels as
 * the module's URL and a name. One that needs a few values from around it gets them by
 * {@linkcode closure}. Whether a function can travel is decided when it is handed over, before any
 * process sees it: a `TargetError` names everything that it captures, and the mend.
 *
 * @example
 * ```ts
 * import { closure, task } from "@multiprocessing/core/target";
 * import { basename } from "node:path";
 *
 * const plain = (n: number) => Math.sqrt(n);
 *
 * const base = task(import.meta, function base(path: string) {
 *   return basename(path);
 * });
 *
 * const factor = 3;
 * const scaled = closure((n: number) => n * factor, { factor });
 *
 * console.log(plain(9), base("/a/b"), scaled(2)); // 3 b 6
 * ```
 *
 * @module
 */

import { show } from "./memory/show.ts";
import { type ErrorClass, registerErrorClass } from "./wire/codec/error_envelope.ts";
import { registerExports } from "./wire/target/exports.ts";
import { type AnyFunction, isScopeName, registerTask, setScope } from "./wire/target/tasks.ts";
import { transfer } from "./wire/codec/transfer.ts";
import type { Transferable } from "./runtime/port.ts";

export { transfer, type Transferable };

/**
 * A function that a process can run. One of
 *
 * 1. **a plain function** that uses only its parameters, its own locals and globals;
 * 2. **a task**, marked by {@linkcode task}, which may use imports and the state of its module;
 * 3. **a closure**, made by {@linkcode closure}, which gets copies of the values that it names;
 * 4. **`{ module, name }`**: an exported function of a module by absolute URL, when the caller must not
 *    load it itself.
 *
 * Functions, arrows and methods, async or generators, all can be sent. Classes, getters, setters, and
 * native or bound functions cannot.
 *
 * **A name that is a global counts as that global.** Source text does not tell a module's own `fetch`
 * or `setTimeout` from the global one: a function that uses its own must be a task, or a closure that
 * gives it.
 */
export type Target<Args extends unknown[], R> = ((...args: Args) => R) | ModuleTarget<Args, R>;

/**
 * An exported function of a module, which the caller does not load.
 *
 * @typeParam Args The function's parameters.
 * @typeParam R What it returns.
 *
 * @example Usage
 * ```ts
 * import { type ModuleTarget, Pool } from "@multiprocessing/core";
 *
 * const basename: ModuleTarget<[path: string], string> = { module: "node:path", name: "basename" };
 * await using pool = new Pool({ processes: 2 });
 * console.log(await pool.map(basename, ["/a/b.ts", "/c/d.ts"])); // [ "b.ts", "d.ts" ]
 * ```
 */
export interface ModuleTarget<Args extends unknown[] = never[], R = unknown> {
  /** Absolute URL of the module, as `import.meta.resolve()` gives it. */
  readonly module: string | URL;
  /** Name of the export. */
  readonly name: string;
  /** Only a type, never a value: from here the function's types are inferred. */
  readonly "~type"?: (...args: Args) => R;
}

/**
 * Marks a function of this module as runnable elsewhere; or a class of errors, so that what a task throws
 * of it arrives as one.
 *
 * It travels as "module URL + name", and the process that runs it imports the module. So it may use
 * imports and the state of the module (each process has its own), and needs no export. **At the top
 * level.** The call must happen whenever the module is imported, and so must not be within a function or
 * behind `import.meta.main`.
 *
 * @example
 * ```ts
 * import { task } from "@multiprocessing/core/target";
 * import { createHash } from "node:crypto";
 *
 * const digest = task(import.meta, function digest(text: string) {
 *   return createHash("sha256").update(text).digest("hex");
 * });
 *
 * console.log(digest("abc").slice(0, 8)); // ba7816bf
 * ```
 *
 * @param meta `import.meta` of the module.
 * @param fn The function, or the class. Its name is how it will be found: it must be unique within the
 * module. An error of the class is made anew without calling the constructor: private fields are not there.
 * @returns `fn` itself: calling it here still works.
 * @throws {TypeError} If the function has no name, the name is taken within the module, or `meta` has
 * no URL.
 */
export function task<
  F extends ((...args: never[]) => unknown) | (abstract new (...args: never[]) => Error),
>(meta: ImportMeta, fn: F): F {
  if (typeof fn !== "function") {
    throw new TypeError(`Cannot mark task: 'fn' must be a function, but is ${show(fn)}`);
  }
  if (typeof fn.name !== "string" || fn.name === "") {
    throw new TypeError(
      "Cannot mark task: 'fn' must have a name, but is anonymous; " +
        "write task(import.meta, function name() { … })",
    );
  }
  const url: unknown = meta?.url;
  if (typeof url !== "string" || !URL.canParse(url)) {
    throw new TypeError(
      `Cannot mark task "${fn.name}": 'meta' must be import.meta with a URL, but its url is ${url}`,
    );
  }
  if (!registerTask(url, fn.name, fn as AnyFunction)) {
    throw new TypeError(
      `Cannot mark task "${fn.name}": its name must be unique within the module, but ${url} ` +
        "already has a task of that name",
    );
  }
  if (fn.prototype instanceof Error) {
    registerErrorClass(fn as unknown as ErrorClass, `${url}#${fn.name}`);
  }
  return fn;
}

/**
 * Gives a function the values of the names that it takes from outside, so that it can be sent.
 *
 * It travels as source text plus a copy of `scope`. A value of the scope may be data, a shareable such
 * as a `Lock`, a function that is itself a target, or an export of this library such as `Lock`. **Copied
 * when sent.** A process is sent the values that the scope has when it is created, a pool those that it
 * has at the first call; what the function assigns to them elsewhere stays there. **The last scope counts** if a function is given several.
 *
 * @example
 * ```ts
 * import { closure } from "@multiprocessing/core/target";
 *
 * const limit = 100;
 * const clamp = (n: number) => Math.min(n, limit);
 * closure(clamp, { limit });
 *
 * const sum = closure((a: number, b: number) => clamp(a + b), { clamp });
 * console.log(sum(70, 80)); // 100
 * ```
 *
 * @param fn The function.
 * @param scope Each name that the function uses from outside → its value. Others do no harm.
 * @returns `fn` itself: calling it here still uses what it has captured here.
 * @throws {TypeError} If `fn` is no function, `scope` no object, or one of its keys no identifier.
 */
export function closure<F extends (...args: never[]) => unknown>(
  fn: F,
  scope: Record<string, unknown>,
): F {
  if (typeof fn !== "function") {
    throw new TypeError(`Cannot create closure: 'fn' must be a function, but is ${show(fn)}`);
  }
  if (typeof scope !== "object" || scope === null || Array.isArray(scope)) {
    throw new TypeError(
      `Cannot create ${label(fn)}: 'scope' must be an object such as { name }, but is ${
        show(scope)
      }`,
    );
  }
  for (const name of Object.keys(scope)) {
    if (!isScopeName(name)) {
      throw new TypeError(
        `Cannot create ${label(fn)}: each key of 'scope' must be an identifier, ` +
          `but one is ${JSON.stringify(name)}`,
      );
    }
  }
  setScope(fn, scope);
  return fn;
}

function label({ name }: { readonly name: unknown }): string {
  return typeof name === "string" && name !== "" ? `closure "${name}"` : "an anonymous closure";
}

registerExports({ task, closure, transfer });
