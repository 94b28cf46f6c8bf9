/**
 * From a {@linkcode TargetRef} back to a function: the receiver's half of `target_ref.ts`, apart from
 * it so that a process which only runs functions does not load the parser.
 *
 * @module
 */

import { TargetError } from "../../errors.ts";
import { isMissing } from "../../runtime/mod.ts";
import { exportNamed, loadExport } from "./exports.ts";
import type { ModuleRef, ScopeBinding, SourceRef, TargetRef } from "../protocol.ts";
import { type AnyFunction, setScope, taskNamed } from "./tasks.ts";

/** Imports a module by absolute URL. */
export type ImportModule = (url: string) => Promise<Record<string, unknown>>;

/**
 * Makes the function that a reference describes.
 *
 * Nothing is remembered: each call compiles or imports anew, so that the caller decides what is worth
 * keeping.
 *
 * @param ref What `describeTarget()` made.
 * @param importModule Imports a module, usually `(url) => import(url)`.
 * @returns The function.
 * @throws {TargetError} If the module lacks the function, or the source does not compile here.
 */
export async function resolveTarget(
  ref: TargetRef,
  importModule: ImportModule,
): Promise<AnyFunction> {
  if (ref.kind === "module") return await resolveModule(ref, importModule);
  const values: unknown[] = [];
  for (const [name, binding] of ref.scope) {
    values.push(await resolveBinding(ref, name, binding, importModule));
  }
  return build(ref, values);
}

function build(ref: SourceRef, values: unknown[]): AnyFunction {
  const fn = compile(ref, values);
  // What was received can be sent on.
  if (values.length > 0) {
    setScope(fn, Object.fromEntries(ref.scope.map(([name], i) => [name, values[i]])));
  }
  return fn;
}

/**
 * Like {@linkcode resolveTarget}, at once.
 *
 * @param ref The reference.
 * @returns The function, or `undefined` if that takes a module which this process has not loaded.
 */
export function resolveLoaded(ref: TargetRef): AnyFunction | undefined {
  if (ref.kind === "module") return ref.task ? taskNamed(ref.module, ref.name) : undefined;
  const values: unknown[] = [];
  for (const [, binding] of ref.scope) {
    const value = loadedBinding(binding);
    if (value === undefined && binding.kind !== "data") return undefined;
    values.push(value);
  }
  return build(ref, values);
}

function loadedBinding(binding: ScopeBinding): unknown {
  switch (binding.kind) {
    case "data":
      return binding.value;
    case "target":
      return resolveLoaded(binding.target);
    case "export":
      return exportNamed(binding.name);
  }
}

/** Imports a module. Of one that is missing, a runtime's error may name as importer the worker's entry. */
async function imported(
  module: string,
  importModule: ImportModule,
): Promise<Record<string, unknown>> {
  try {
    return await importModule(module);
  } catch (error) {
    if (!isMissing(error, module)) throw error;
    throw new TargetError(`Cannot import ${module}: there is no such module`);
  }
}

async function resolveModule(ref: ModuleRef, importModule: ImportModule): Promise<AnyFunction> {
  const { module, name } = ref;
  const exports = await imported(module, importModule);
  if (ref.task) {
    const fn = taskNamed(module, name);
    if (fn !== undefined) return fn;
    throw new TargetError(
      `Cannot run task "${name}": ${module} was imported, but did not register it; ` +
        `call task(import.meta, ${name}) at the top level of the module, on every run`,
    );
  }
  // Own properties only: a name such as "constructor" must not reach what every object inherits.
  if (!Object.hasOwn(exports, name)) {
    throw new TargetError(
      `Cannot run "${name}" of ${module}: the module has no export of that name, but ` +
        (Object.keys(exports).map((key) => `"${key}"`).join(", ") || "none at all"),
    );
  }
  const fn = exports[name];
  if (typeof fn !== "function") {
    throw new TargetError(
      `Cannot run "${name}" of ${module}: it must be a function, but is ${
        fn === null ? "null" : `a value of type ${typeof fn}`
      }`,
    );
  }
  return fn as AnyFunction;
}

async function resolveBinding(
  ref: SourceRef,
  name: string,
  binding: ScopeBinding,
  importModule: ImportModule,
): Promise<unknown> {
  switch (binding.kind) {
    case "data":
      return binding.value;
    case "target":
      return await resolveTarget(binding.target, importModule);
    case "export": {
      const value = await loadExport(binding.name);
      if (value !== undefined) return value;
      throw new TargetError(
        `Cannot run function "${ref.name}": its scope's "${name}" is the library's ` +
          `${binding.name}, which no module loaded in this process exports`,
      );
    }
  }
}

function compile(ref: SourceRef, values: unknown[]): AnyFunction {
  let fn: unknown;
  try {
    const names = ref.scope.map(([name]) => name);
    fn = compileSource(ref.source, names, values, sourceName(ref));
  } catch (error) {
    throw new TargetError(
      `Cannot run function "${ref.name}": this runtime does not compile its source: ${error}`,
      { cause: error },
    );
  }
  // An arrow gets its name from where it is assigned, which has stayed behind.
  if (typeof fn === "function" && fn.name === "" && ref.name !== "anonymous") {
    Object.defineProperty(fn, "name", { value: ref.name, configurable: true });
  }
  return fn as AnyFunction;
}

/**
 * Evaluates an expression in strict mode, in the global scope and the given names.
 *
 * @param expression A JavaScript expression.
 * @param names The names that it may use besides globals.
 * @param values What they stand for, in the same order.
 * @param sourceName What stacks call it.
 * @returns The expression's value.
 */
export function compileSource(
  expression: string,
  names: readonly string[],
  values: readonly unknown[],
  sourceName = "target",
): unknown {
  return new Function(
    ...names,
    `"use strict";\nreturn ${expression};\n//# sourceURL=multiprocessing:${sourceName}`,
  )(...values);
}

/**
 * What stacks call a function that was compiled from its source: its name and a hash of the text, so
 * that both ends know it, and it is no other's.
 *
 * @param ref The function's name and source.
 * @returns Such as `double-1x9k3f`.
 */
export function sourceName({ name, source }: Pick<SourceRef, "name" | "source">): string {
  let hash = 0;
  for (let at = 0; at < source.length; at++) {
    hash = (Math.imul(hash, 31) + source.charCodeAt(at)) | 0;
  }
  return `${name.replace(/[^\p{ID_Continue}$]/gu, "_")}-${(hash >>> 0).toString(36)}`;
}

/**
 * The functions that travel as text with a reference, its own and those of its scope.
 *
 * @param ref The reference.
 * @param sources Where to add them.
 * @returns Name in stacks → source text.
 */
export function sourcesOf(ref: TargetRef, sources = new Map<string, string>()): typeof sources {
  if (ref.kind === "module") return sources;
  sources.set(sourceName(ref), ref.source);
  for (const [, binding] of ref.scope) {
    if (binding.kind === "target") sourcesOf(binding.target, sources);
  }
  return sources;
}
