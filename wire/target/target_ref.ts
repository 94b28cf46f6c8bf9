/**
 * From a function to a {@linkcode TargetRef}, which can cross to another process: the sender's half.
 * The receiver's is `target_resolve.ts`.
 *
 * @module
 */

import { TargetError } from "../../errors.ts";
import { show } from "../../memory/show.ts";
import { setDescriber } from "./describer.ts";
import { analyseCapture, type Analysis, type Captured } from "./capture.ts";
import { exportName } from "./exports.ts";
import type { ScopeBinding, SourceRef, TargetRef } from "../protocol.ts";
import { type AnyFunction, isScopeName, scopeOf, taskName } from "./tasks.ts";

export { compileSource, resolveTarget } from "./target_resolve.ts";

/** The references to plain functions, which never change. */
const plainRefs = new WeakMap<AnyFunction, SourceRef>();

/**
 * Describes a function so that another process can make it anew.
 *
 * A task is known by its module and name, even if it has a scope too; a function with a scope is sent
 * as source text with the values that it uses, and any other as source text alone, if it captures
 * nothing. **One reference a function.** The same plain function gives the same reference each time.
 *
 * @param target A function, or the module and name of one.
 * @returns The reference. Data in a closure's scope stands in it as it is: the codec copies it.
 * @throws {TypeError} If it is neither, or the module is no absolute URL.
 * @throws {TargetError} If the function cannot be sent: says all that it captures, and the mends.
 */
export function describeTarget(target: unknown): TargetRef {
  return typeof target === "function"
    ? describeFunction([step(target as AnyFunction)])
    : describeExport(target);
}

function describeExport(target: unknown): TargetRef {
  if (typeof target !== "object" || target === null || !("module" in target && "name" in target)) {
    throw new TypeError(
      `Cannot send target: it must be a function or { module, name }, but is ${show(target)}`,
    );
  }
  const { name } = target;
  if (typeof name !== "string" || name === "") {
    throw new TypeError(
      `Cannot send target: 'name' must be the name of an export, but is ${show(name)}`,
    );
  }
  const module = target.module instanceof URL ? target.module.href : target.module;
  // A scheme of one letter is a drive of Windows.
  if (typeof module !== "string" || !URL.canParse(module) || /^[a-z]:/i.test(module)) {
    const path = typeof module === "string" ? module : "./module.ts";
    throw new TypeError(
      `Cannot send target "${name}": 'module' must be an absolute URL, but is ${show(module)}; ` +
        `use import.meta.resolve(${JSON.stringify(path)})`,
    );
  }
  return { kind: "module", module, name, task: false };
}

/** A function on the way inward through the scopes of closures, and what errors call it. */
interface Step {
  fn: AnyFunction;
  name: string;
}

/** An anonymous function goes by its key in the scope; a class may have a static `name` of any type. */
function step(fn: AnyFunction, key = ""): Step {
  return { fn, name: typeof fn.name === "string" && fn.name !== "" ? fn.name : key };
}

/** Describes the last function of the path: the others have it in their scopes, outermost first. */
function describeFunction(path: readonly Step[]): TargetRef {
  const { fn, name } = path.at(-1)!;
  const task = taskName(fn);
  if (task !== undefined) return { kind: "module", ...task, task: true };
  const plain = plainRefs.get(fn);
  const scope = scopeOf(fn);
  if (plain !== undefined && scope === undefined) return plain;

  const first = path.findIndex((step) => step.fn === fn);
  if (first < path.length - 1) {
    throw new TargetError(
      `Cannot send ${label(path)}: its closure's scope leads back to itself: ` +
        `${path.slice(first).map(shortName).join(" → ")}; ` +
        "write it as a function declaration, which may call itself, or mark it with task()",
    );
  }
  // Not fn.toString(), which anybody may have replaced.
  const analysis = analyseCapture(Function.prototype.toString.call(fn));
  const { expression, free, captured, problems } = analysis;
  const keys = Object.keys(scope ?? {});
  const given = keys.filter((key) => free.has(key));
  const unused = keys.filter((key) => !free.has(key));
  const missing = captured.filter((use) => !given.includes(use.name));
  if (missing.length > 0 || problems.length > 0) {
    throw new TargetError(refusal(path, missing, problems, given, unused));
  }
  const ref: SourceRef = {
    kind: "source",
    name: name || "anonymous",
    source: expression,
    scope: given.map((key) => [key, describeBinding(scope![key], key, path)]),
  };
  if (scope === undefined) plainRefs.set(fn, ref);
  return ref;
}

function describeBinding(value: unknown, key: string, path: readonly Step[]): ScopeBinding {
  const name = exportName(value);
  if (name !== undefined) return { kind: "export", name };
  return typeof value === "function"
    ? { kind: "target", target: describeFunction([...path, step(value as AnyFunction, key)]) }
    : { kind: "data", value };
}

/** Says all that is wrong: the captured names first, each with its mend on a line of its own. */
function refusal(
  path: readonly Step[],
  missing: readonly Captured[],
  problems: Analysis["problems"],
  given: readonly string[],
  unused: readonly string[],
): string {
  const own = path.at(-1)!;
  const fn = shortName(own);
  const lines = problems.map(({ reason, mend }) => `${reason}; ${mend(fn)}`);
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name);
    const withScope = `closure(${fn}, { ${[...given, ...names].join(", ")} })`;
    const mends = path.length > 1
      // Whoever put it there need not have written it: it may be a runtime's own function.
      ? [
        `mark ${shortName(path[0]!)} with task(import.meta, ${
          shortName(path[0]!)
        }), or ${withScope}`,
      ]
      : missing.map((use) =>
        use.name === own.name
          ? `${fn}: write it as a declaration, "function ${fn}", which may call itself by its name`
          : `${use.name}: ${nameMend(use, fn, withScope)}`
      );
    lines.unshift(`it uses names from outside: ${names.join(", ")}`, ...mends);
    if (unused.length > 0) {
      lines.push(
        `its scope has ${unused.join(", ")}, which it does not use; ` +
          "if a minifier has renamed them, docs/bundlers.md has the mend",
      );
    }
  }
  return `Cannot send ${label(path)}: ${lines.join("\n  ")}`;
}

function nameMend(use: Captured, fn: string, withScope: string): string {
  const { called, constructed, assigned } = use;
  if (assigned) return "return the new value instead of assigning it, or keep it in a Value";
  // What a task uses may be imported or declared in its module.
  if (constructed) return `mark ${fn} with task(import.meta, ${fn})`;
  return called
    ? `mark ${fn} with task(import.meta, ${fn}), or ${withScope}`
    : `pass it as an argument, or ${withScope}; if it is an import, task(import.meta, ${fn})`;
}

function label(path: readonly Step[]): string {
  return [...path].reverse()
    .map(({ name }) => name === "" ? "an anonymous function" : `function "${name}"`)
    .join(", in the scope of ");
}

/** How the function is called in code that a message proposes. */
function shortName({ name }: Step): string {
  return isScopeName(name) ? name : "fn";
}

setDescriber(describeTarget);
