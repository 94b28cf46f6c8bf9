/**
 * Whether a function can travel as source text: what it captures, and the expression that rebuilds it.
 *
 * ```text
 * fn.toString() ──parse──▶ syntax tree ──free_names.ts──▶ free names ── minus globals ──▶ captured
 *        └──── wrapped, with compiler_helpers.ts ──▶ expression
 * ```
 *
 * This is the only module that loads the parser. Processes that merely run functions have no use of it.
 *
 * @module
 */

import { type AnyNode, type Expression, type Options, parseExpressionAt } from "acorn";
import { COMPILER_HELPERS, withHelpers } from "./compiler_helpers.ts";
import { freeNames, type Use } from "./free_names.ts";

/** A name that a function takes from outside, and how it uses it. */
export interface Captured extends Use {
  /** The name. */
  name: string;
}

/** Something other than a captured name that keeps a function from travelling as source text. */
export interface Problem {
  /** Completes "Cannot send function f: …". */
  reason: string;
  /** What to do instead, given the name under which the error speaks of the function. */
  mend: (fn: string) => string;
}

/** What is known of a function from its source text. */
export interface Analysis {
  /** A JavaScript expression that evaluates, in strict mode, to the function. Empty if it has problems. */
  expression: string;
  /** All its free names, globals among them: a closure's scope may give any of these. */
  free: ReadonlySet<string>;
  /** Those of them that are neither globals nor a compiler's helpers. */
  captured: readonly Captured[];
  /** What else is wrong with it. */
  problems: readonly Problem[];
}

/**
 * Modules that need no scheme: a bundler may write `import("fs")` for `import("node:fs")`. In `node -e`
 * and `bun -e` they are globals too, but not in the processes that such a program starts.
 */
const BUILTIN_MODULES = ("assert async_hooks buffer child_process cluster constants dgram " +
  "diagnostics_channel dns domain events ffi fs http http2 https inspector jsc module net os path " +
  "perf_hooks punycode querystring readline repl sqlite stream string_decoder sys timers tls " +
  "trace_events tty url util v8 vm wasi worker_threads zlib").split(" ");
/** Those whose names are globals everywhere. */
const GLOBAL_MODULES = ["console", "crypto", "process"];
/** Names that belong to a file, although they look global. */
const COMMONJS = ["require", "module", "exports", "__filename", "__dirname"];

/** The names that mean the same in every process, as they are before the program has added any. */
const GLOBALS: ReadonlySet<string> = globalNames();

function globalNames(): Set<string> {
  const names = new Set<string>();
  for (let at: object | null = globalThis; at !== null; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  for (const name of [...COMMONJS, ...BUILTIN_MODULES]) names.delete(name);
  return names;
}

/** Bun 1.4 writes `import.meta` this way in files that it runs as CommonJS. */
const BUN_IMPORT_META = "$Bun_import_meta";

const asTask = (fn: string) => `mark it with task(import.meta, ${fn})`;
const asFunction = () => `write it as "function", and pass in what it needs`;

/** Why each of the words that `freeNames()` reports keeps a function at home, and the mend. */
const WORDS: Record<string, Problem> = {
  "this": { reason: "it uses 'this' of the code around it", mend: asFunction },
  "arguments": { reason: "it uses 'arguments' of the code around it", mend: asFunction },
  "new.target": { reason: "it uses 'new.target' of the code around it", mend: asFunction },
  "super": {
    reason: "it uses 'super', which does not leave its class or object",
    mend: (fn) => `send a function that makes the object anew, or ${asTask(fn)}`,
  },
  "import.meta": { reason: "it uses import.meta of its module", mend: asTask },
  "eval": {
    reason: "it calls eval directly, which may use any name",
    mend: () => "call (0, eval)(text), which sees globals only, or pass a function",
  },
};

/** Operators in a module, but a comment where a sent function is compiled. */
const HTML_COMMENT: Problem = {
  reason: "it contains '<!--' or '-->', which begin a comment outside modules",
  mend: () => "put a space into them",
};

/** Analyses by source text: the closures that a loop makes are all alike. */
const cache = new Map<string, Analysis>();
const CACHE_SIZE = 1000;

/**
 * Finds out what a function captures. Never throws: what is wrong is in the result, all at once.
 *
 * @param source The function's source text, as `toString()` gives it.
 * @returns The expression to send, and what stands against sending it.
 */
export function analyseCapture(source: string): Analysis {
  let analysis = cache.get(source);
  if (analysis === undefined) {
    analysis = analyse(source);
    if (cache.size === CACHE_SIZE) cache.clear();
    cache.set(source, analysis);
  }
  return analysis;
}

function analyse(source: string): Analysis {
  let part: Part;
  try {
    part = parseFunction(source, true);
  } catch (error) {
    return refused([unreadable(source, error)]);
  }

  const { names, words, imports } = freeNames(part.node);
  const free = new Set(names.keys());
  const problems = part.problems;
  for (const word of words) problems.push(WORDS[word] ?? privateName(word));
  if (free.has(BUN_IMPORT_META)) problems.push(WORDS["import.meta"]!);
  for (const specifier of imports) {
    if (!isAbsolute(specifier)) problems.push(relativeImport(specifier));
  }
  const captured: Captured[] = [];
  for (const [name, use] of names) {
    if (use.probed || GLOBALS.has(name) || COMPILER_HELPERS.has(name) || name === BUN_IMPORT_META) {
      continue;
    }
    captured.push({ name, ...use });
  }
  const expression = problems.length === 0 ? withHelpers(part.expression, free) : "";
  return { expression, free, captured, problems };
}

function refused(problems: Problem[]): Analysis {
  return { expression: "", free: new Set(), captured: [], problems };
}

/** A function's syntax tree, the expression that rebuilds it, and what parsing brought to light. */
interface Part {
  node: AnyNode;
  expression: string;
  problems: Problem[];
}

/** Reads the text of a function, arrow, class or method. Throws a SyntaxError if it is none. */
function parseFunction(source: string, strict: boolean): Part {
  let failure: unknown;
  try {
    const { node, problems } = parseText(source, strict);
    const isClass = node.type === "ClassExpression";
    if (isClass) {
      problems.push({
        reason: "it is a class",
        mend: () => "write a function that makes the object",
      });
    }
    if (isClass || node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression") {
      return { node, expression: `(${source}\n)`, problems };
    }
  } catch (error) {
    failure = error;
  }
  try {
    return parseMethod(source, strict);
  } catch (error) {
    // Read the wrong way, a text fails in its first words: the error further on is the true one.
    throw failure !== undefined && position(failure) >= position(error) ? failure : error;
  }
}

function parseMethod(source: string, strict: boolean): Part {
  const text = `{${source}\n}`;
  const { node, problems } = parseText(text, strict);
  const [method] = node.type === "ObjectExpression" ? node.properties : [];
  if (method?.type !== "Property" || method.value.type !== "FunctionExpression") {
    throw new SyntaxError("It is no function");
  }
  const { key } = method;
  if (method.kind !== "init") {
    problems.push({ reason: `it is a ${method.kind}ter`, mend: asFunction });
  }
  if (method.computed) {
    problems.push({ reason: "its name is computed", mend: asFunction });
  }
  const name = key.type === "Identifier"
    ? JSON.stringify(key.name)
    : text.slice(key.start, key.end);
  return { node: method.value, expression: `(${text})[${name}]`, problems };
}

function parseText(text: string, strict: boolean): { node: Expression; problems: Problem[] } {
  const problems: Problem[] = [];
  const options: Options = {
    ecmaVersion: "latest",
    // Permissive, since the walk reports what is out of place with a better text, and all at once.
    sourceType: "commonjs",
    strict,
    allowSuperOutsideMethod: true,
    allowImportExportEverywhere: true,
    checkPrivateFields: false,
    onComment: (_isBlock, _text, start) => {
      if (text[start] !== "/" && problems.length === 0) problems.push(HTML_COMMENT);
    },
  };
  const node = parseExpressionAt(text, 0, options);
  if (text.slice(node.end).trim() !== "") throw new SyntaxError("It is no function");
  return { node, problems };
}

function position(error: unknown): number {
  return error instanceof SyntaxError && "pos" in error ? Number(error.pos) : 0;
}

function unreadable(source: string, error: unknown): Problem {
  if (/\{\s*\[native code\]\s*\}$/.test(source)) {
    return {
      reason: "it is native, bound or a proxy, and has no source to send",
      mend: () => "write a function that calls it",
    };
  }
  if (/^(async\s*)?(\*\s*)?#/.test(source)) {
    return { reason: "it is a private method", mend: asFunction };
  }
  if (/<!--|-->/.test(source)) return HTML_COMMENT;
  const message = String((error as Error).message).replace(/ \(\d+:\d+\)$/, "");
  try {
    parseFunction(source, false);
    return {
      reason: `it is not strict-mode code: ${message}`,
      mend: () => `rewrite it so that it runs below "use strict"`,
    };
  } catch {
    return { reason: `its source cannot be parsed: ${message}`, mend: asTask };
  }
}

function privateName(name: string): Problem {
  return { reason: `it uses ${name}, a private name of its class`, mend: asFunction };
}

/** Whether a specifier of `import()` means the same everywhere. */
function isAbsolute(specifier: string): boolean {
  const [name = ""] = specifier.split("/");
  return URL.canParse(specifier) || BUILTIN_MODULES.includes(name) || GLOBAL_MODULES.includes(name);
}

function relativeImport(specifier: string): Problem {
  return {
    reason: `it imports "${specifier}", which only its own module can find`,
    mend: (fn) => `${asTask(fn)}, or pass in import.meta.resolve("${specifier}") and import that`,
  };
}
