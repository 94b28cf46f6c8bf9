/**
 * Checks the walls of the architecture: who may import whom, and who may name what.
 *
 * Run it as `npm test -- --only=walls`; tests/walls_test.ts shows that each rule can fail.
 *
 * @module
 */

import { posix } from "node:path";
import process from "node:process";
import { isLibrary, read, walk } from "./files.ts";
import { ROOT } from "./runtimes.ts";
import { strip } from "./strip.ts";

/** A rule that a file breaks. */
export interface Breach {
  /** The rule's name. */
  rule: string;
  /** The file, relative to the project. */
  path: string;
  /** The line, from 1. */
  line: number;
  /** What is wrong with it. */
  message: string;
}

interface Import {
  /** What stands between the quotes. */
  specifier: string;
  /** Where, as an offset. */
  index: number;
  /** Whether it is erased: `import type`, `export type`. */
  typeOnly: boolean;
}

interface Source {
  path: string;
  /** The text without comments and without what stands in quotes. */
  code: string;
  imports: Import[];
}

/** A finding: an offset in the file, and what is wrong there. */
type Finding = [index: number, message: string];

/** A file past this many lines of code is asking to be two. */
const MAX_CODE_LINES = 400;

/** The floors, from the ground up: a file imports from its own floor or from one below. */
const FLOORS = ["runtime", "memory", "wire", "top"];

/** In which package a file lies, and on which of its floors. */
function place(path: string): { cluster: boolean; floor: string } {
  const cluster = path.startsWith("cluster/");
  const inside = cluster ? path.slice("cluster/".length) : path;
  const folder = inside.includes("/") ? inside.slice(0, inside.indexOf("/")) : "top";
  return { cluster, floor: FLOORS.includes(folder) ? folder : "top" };
}

function parse(path: string, text: string): Source {
  const code = strip(text);
  const imports: Import[] = [];
  // In stripped code the next quote closes the text; what it says is in the original.
  const pattern = /\b(?:from|import)\s*\(?\s*(?:"_*"|'_*')/g;
  for (const match of code.matchAll(pattern)) {
    const end = match.index + match[0].length;
    const start = match.index + match[0].search(/["']/);
    const statement = code.slice(0, match.index).match(/(?:^|[;\n])\s*((?:import|export)[^;]*)$/);
    imports.push({
      specifier: text.slice(start + 1, end - 1),
      index: match.index,
      typeOnly: /^(?:import|export)\s+type\b/.test(statement?.[1] ?? ""),
    });
  }
  return { path, code, imports };
}

/** One finding for each match of the pattern. */
function find(code: string, pattern: RegExp, message: string): Finding[] {
  return [...code.matchAll(pattern)].map((match) => [match.index, message]);
}

function checkImport({ path }: Source, specifier: string): string | undefined {
  const from = place(path);
  if (!specifier.startsWith(".")) {
    return specifier.startsWith("@multiprocessing/cluster") && !from.cluster
      ? "nobody imports cluster/"
      : undefined;
  }
  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  const to = place(target);
  if (to.cluster !== from.cluster) {
    return to.cluster
      ? "nobody imports cluster/"
      : "cluster/ imports the core by its name, @multiprocessing/core";
  }
  if (target === "errors.ts") return undefined;
  if (path === "errors.ts") return "errors.ts imports nothing";
  if (!isLibrary(target)) return `${target} is not a part of the library`;
  return FLOORS.indexOf(to.floor) > FLOORS.indexOf(from.floor)
    ? `${from.floor} may not import ${to.floor}, which lies above`
    : undefined;
}

/**
 * Node's global, unless the file has a variable of that name: in a library about processes many are
 * called so. Scopes are not followed; runtime/ and the review of changes do the rest.
 */
function usesNodeProcess(code: string): Finding[] {
  const message = "'process' may be named in runtime/ only";
  const declared = [
    /\b(?:const|let|var)\s+process\b/,
    /\b(?:const|let|var)\s*[{[][^=;]*\bprocess\b[^=;]*=/,
    /[(,]\s*process\s*\??\s*:/,
    /[(,]\s*process\s*(?:,[^()]*)?\)\s*=>/,
    /\bprocess\s*=>/,
  ].some((pattern) => pattern.test(code));
  return [
    ...find(code, /\bglobalThis\s*(?:\?\.|\.)\s*process\b/g, message),
    ...(declared ? [] : find(code, /(?<![.#\w$]\s*)\bprocess\s*(?:\?\.|\.|\[)/g, message)),
  ];
}

/** The rules on library files. Each says where a file breaks it. */
const RULES: Record<string, (source: Source) => Finding[]> = {
  "atomics stay in memory/": ({ path, code }) =>
    place(path).floor === "memory"
      ? []
      : find(code, /\bAtomics\b/g, "'Atomics' may be named in memory/ only"),

  "only memory/futex.ts waits": ({ path, code }) =>
    path === "memory/futex.ts" || path === "memory/boot.ts" ? [] : [
      ...find(
        code,
        /\bAtomics\s*\??\.\s*(?:wait|waitAsync|notify)\b/g,
        "only memory/futex.ts waits and wakes",
      ),
      // Otherwise the rule could be got round by `const { wait } = Atomics`.
      ...find(code, /\bAtomics\b(?!\s*\??\.\s*\w)/g, "'Atomics' without a method's name after it"),
    ],

  "runtime names stay in runtime/": (source) => {
    if (place(source.path).floor === "runtime") return [];
    return [
      ...find(source.code, /(?<![\w$])(?:Deno|Bun)\b/g, "a runtime may be named in runtime/ only"),
      ...find(
        source.code,
        /\bnew\s+(?:globalThis\s*\.\s*)?Worker\b/g,
        "workers are started in runtime/ only",
      ),
      ...usesNodeProcess(source.code),
      ...source.imports
        .filter(({ specifier }) => /^(?:node|bun|deno):|^bun$/.test(specifier))
        .map(({ specifier, index }): Finding => [
          index,
          `'${specifier}' may be imported in runtime/ only`,
        ]),
    ];
  },

  "imports never go upward": (source) =>
    source.imports.flatMap(({ specifier, index }): Finding[] => {
      const message = source.path === "errors.ts"
        ? "errors.ts imports nothing"
        : checkImport(source, specifier);
      return message ? [[index, `cannot import '${specifier}': ${message}`]] : [];
    }),

  "wire/protocol.ts has types only": ({ path, code, imports }) =>
    path.endsWith("wire/protocol.ts")
      ? [
        ...find(
          code,
          /^(?:export\s+)?(?:default\s+)?(?:declare\s+|abstract\s+|async\s+)*(?:const|let|var|function|class|enum|namespace)\b/gm,
          "only interfaces and types belong here",
        ),
        ...imports.filter(({ typeOnly }) => !typeOnly)
          .map(({ index }): Finding => [index, "only 'import type' belongs here"]),
      ]
      : [],

  "globals are not augmented": ({ code }) =>
    find(code, /\bdeclare\s+global\b/g, "JSR refuses 'declare global'"),

  "only erasable syntax": ({ code }) => [
    ...find(
      code,
      /\busing\s+(?!in\b|of\b|instanceof\b)[\w$]+\s*(?:[=:]|of\b)/g,
      "Node 22 has no 'using'",
    ),
    ...find(code, /\benum\s+[\w$]+\s*\{/g, "an enum is not erasable"),
    ...find(code, /\bnamespace\s+[\w$.]+\s*\{/g, "a namespace is not erasable"),
    ...find(
      code,
      /\bconstructor\s*\((?:[^()]|\([^()]*\))*?(?<=[(,]\s*)(?:public|private|protected|readonly|override)\s+[\w$]/g,
      "a parameter property is not erasable",
    ),
  ],

  "files stay small": ({ code }) => {
    const lines = code.split("\n").filter((line) => line.trim() !== "").length;
    return lines > MAX_CODE_LINES
      ? [[0, `${lines} lines of code are more than ${MAX_CODE_LINES}: make it two files`]]
      : [];
  },
};

/** What must stand in no file at all. Written so that this file passes. */
const FORBIDDEN: [RegExp, string][] = [
  [/(?<![\w.-])\/(?:work|root)\/[\w.]/g, "a path of one machine"],
  [/registry\.(?:npmjs|yarnpkg|npmmirror)\./g, "the address of a registry"],
  [/"resolved":\s*"https?:/g, "the address of a download"],
];

const TEXT_FILE = /(?:\.(?:ts|js|cjs|mjs|json|md|txt|yml|yaml|sh)|(?:^|\/)\.?[^./]+)$/;

/** All breaches in a project's folder. */
export function checkWalls(root: string): Breach[] {
  const breaches: Breach[] = [];
  for (const path of walk(root)) {
    if (!TEXT_FILE.test(path)) continue;
    const text = read(root, path);
    const report = (rule: string, findings: Finding[]) => {
      for (const [index, message] of findings) {
        breaches.push({ rule, path, line: text.slice(0, index).split("\n").length, message });
      }
    };
    for (const [pattern, message] of FORBIDDEN) {
      report("no file knows a machine", find(text, pattern, message));
    }
    if (!isLibrary(path)) continue;
    const source = parse(path, text);
    for (const [rule, check] of Object.entries(RULES)) report(rule, check(source));
  }
  return breaches;
}

/** The names of all rules. */
export const RULE_NAMES: string[] = [...Object.keys(RULES), "no file knows a machine"];

if (process.argv[1] === import.meta.filename) {
  const breaches = checkWalls(ROOT);
  for (const { path, line, message, rule } of breaches) {
    console.log(`${path}:${line}: ${message} (${rule})`);
  }
  process.exitCode = breaches.length > 0 ? 1 : 0;
}
