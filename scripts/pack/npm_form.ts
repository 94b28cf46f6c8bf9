/**
 * What npm, Bun and bundlers get of this library: JSR's npm form, built here.
 *
 * `npm run pack` writes that of each package into a folder, `npm/core` and `npm/cluster`: each module
 * that can be reached from `exports` as JavaScript, the declarations that their types need, and a
 * package.json.
 *
 * **As JSR does it.** Each module for itself: types go away, and specifiers of `import` and `export` that
 * end in `.ts` end in `.js`, those of `import("./x.ts")` with them. Nothing else changes: not
 * `new URL("./x.ts", import.meta.url)`, not `import(url)`. What only they name is left out. Besides, the
 * package.json has the commands of the package's own; JSR's has none.
 *
 * @module
 */

import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import ts from "typescript";
import { packages, read, readJson } from "../files.ts";
import { ROOT } from "../runtimes.ts";

/** How the compiler reads the modules; it turns each into JavaScript without a look at any other. */
const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts", "lib.dom.d.ts"],
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  allowImportingTsExtensions: true,
};

/** Documents that go with the modules. */
const DOCUMENTS = ["README.md", "LICENSE"];

interface Config {
  name: string;
  version: string;
  exports: Record<string, string>;
}

interface Manifest {
  name: string;
  description: string;
  license: string;
  dependencies: Record<string, string>;
  engines: Record<string, string>;
  bin?: Record<string, string>;
}

/** The literal specifier of an import or export, of `import("…")`, or of a type `import("…").T`. */
function specifierOf(node: ts.Node): ts.StringLiteralLike | undefined {
  let literal: ts.Node | undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    literal = node.moduleSpecifier;
  } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    literal = node.arguments[0];
  } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    literal = node.argument.literal;
  }
  return literal !== undefined && ts.isStringLiteralLike(literal) ? literal : undefined;
}

/** The specifiers in a text, in order. */
function specifiersIn(path: string, text: string): ts.StringLiteralLike[] {
  const found: ts.StringLiteralLike[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) found.push(specifier);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.ESNext));
  return found;
}

const asJavaScript = (path: string): string => path.replace(/\.ts$/, ".js");
const asDeclaration = (path: string): string => path.replace(/\.ts$/, ".d.ts");

const isOwn = (specifier: string): boolean => /^\.\.?\//.test(specifier);

/** A text whose specifiers name JavaScript. */
interface Module {
  /** The text, otherwise unchanged. */
  text: string;
  /** The own modules that it names, types included. */
  named: string[];
}

function rewrite(path: string, source: string): Module {
  const own = specifiersIn(path, source).filter(({ text }) => isOwn(text));
  let text = "";
  let last = 0;
  for (const specifier of own) {
    const end = specifier.getEnd();
    // The quotes stay.
    text += source.slice(last, end - 1).replace(/\.ts$/, ".js");
    last = end - 1;
  }
  const folder = posix.dirname(path);
  return {
    text: text + source.slice(last),
    named: own.map((specifier) => posix.join(folder, specifier.text)),
  };
}

/** All modules of a package that can be reached, by their paths. */
function reachable(root: string, entries: string[]): Map<string, Module> {
  const modules = new Map<string, Module>();
  const queue = [...entries];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (modules.has(path)) continue;
    const module = rewrite(path, read(root, path));
    modules.set(path, module);
    queue.push(...module.named);
  }
  return modules;
}

/** Throws what the compiler has to say against a module. */
function check(path: string, diagnostics: readonly ts.Diagnostic[] = []): void {
  if (diagnostics.length === 0) return;
  const texts = diagnostics.map(({ file, start, messageText }) => {
    const line = file === undefined
      ? ""
      : `:${ts.getLineAndCharacterOfPosition(file, start!).line + 1}`;
    return `${path}${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
  throw new Error(`Cannot build the npm form:\n${texts.join("\n")}`);
}

/** The declarations of the entries and of all modules that these name, by their paths. */
function declarations(root: string, entries: string[]): Map<string, string> {
  const program = ts.createProgram(entries.map((path) => join(root, path)), {
    ...OPTIONS,
    declaration: true,
    emitDeclarationOnly: true,
  });
  const emit = (path: string): string => {
    let text = "";
    const file = program.getSourceFile(join(root, path));
    const { diagnostics } = program.emit(file, (_, emitted) => text = emitted, undefined, true);
    check(path, diagnostics);
    return text;
  };
  const texts = new Map<string, string>();
  const queue = [...entries];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (texts.has(path)) continue;
    const { text, named } = rewrite(path, emit(path));
    texts.set(path, text);
    queue.push(...named);
  }
  return texts;
}

/** The dependencies as who installs the package needs them: a package of this project by its version. */
function published(dependencies: Record<string, string>): Record<string, string> {
  const { name, version } = readJson<Config>(ROOT, "deno.json")!;
  return name in dependencies ? { ...dependencies, [name]: `^${version}` } : dependencies;
}

/** The package.json. */
function manifest(root: string, { version, exports }: Config): unknown {
  const { name, description, license, dependencies, engines, bin } = readJson<Manifest>(
    root,
    "package.json",
  )!;
  const commands = Object.entries(bin ?? {}).map(([name, path]) => [name, asJavaScript(path)]);
  return {
    name,
    version,
    description,
    license,
    type: "module",
    exports: Object.fromEntries(
      Object.entries(exports).map(([name, path]) => [
        name,
        { types: asDeclaration(path), default: asJavaScript(path) },
      ]),
    ),
    ...bin !== undefined && { bin: Object.fromEntries(commands) },
    // Modules tell the codec of their classes when they are loaded.
    sideEffects: true,
    engines,
    dependencies: published(dependencies),
  };
}

/**
 * Builds the npm form of a package.
 *
 * @param out The folder to write it into; made if it is not there.
 * @param folder Where the package is: the core's if none is named.
 */
// deno-lint-ignore require-await -- whoever calls it need not know that nothing in it waits
export async function buildNpmForm(out: string, folder = "."): Promise<void> {
  const root = join(ROOT, folder);
  const config = readJson<Config>(root, "deno.json")!;
  const entries = Object.values(config.exports).map((path) => posix.normalize(path));
  const modules = reachable(root, entries);
  const write = (path: string, text: string): void => {
    const target = join(out, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  };
  for (const [path, { text }] of modules) {
    const input = { compilerOptions: OPTIONS, fileName: path, reportDiagnostics: true };
    const { outputText, diagnostics } = ts.transpileModule(text, input);
    check(path, diagnostics);
    write(asJavaScript(path), outputText);
  }
  for (const [path, text] of declarations(root, entries)) write(asDeclaration(path), text);
  for (const path of DOCUMENTS) copyFileSync(join(root, path), join(out, path));
  write("package.json", `${JSON.stringify(manifest(root, config), null, 2)}\n`);
}

if (import.meta.main) {
  for (const folder of packages(ROOT)) {
    const out = join("npm", folder === "." ? "core" : folder);
    await buildNpmForm(join(ROOT, out), folder);
    console.log(out);
  }
}
