/**
 * `node scripts/types_check.ts`: the programs of tests/types under each type checker that users may have.
 *
 * In these programs, what is right must be accepted, and each line below `@ts-expect-error` refused. They
 * are checked against the npm form, installed into an empty project, and by Deno also against the source.
 * `--only=ts7,deno` runs only the checkers whose names begin so. The last line is `N passed, N failed`.
 *
 * @module
 */

import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { readJson, walk } from "./files.ts";
import { dependenciesOf } from "./pack/consumer.ts";
import { buildNpmForm } from "./pack/npm_form.ts";
import { ROOT, runtime } from "./runtimes.ts";
import { capture } from "./spawn.ts";

/** A checker may take this long, in milliseconds. */
const TIMEOUT = 120_000;

/** Where the programs lie. */
const PROGRAMS = "tests/types";

/** As strict as consumers can be; also the declarations themselves are checked. */
const STRICT = {
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noPropertyAccessFromIndexSignature: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  allowImportingTsExtensions: true,
  noEmit: true,
};

/** Ways in which consumers resolve modules. */
const MODULES: Record<string, object> = {
  nodenext: { module: "nodenext" },
  bundler: { module: "esnext", moduleResolution: "bundler" },
};

/** Libraries that consumers name; the first needs the least. */
const LIBS: Record<string, object> = {
  es2023: { target: "es2023", lib: ["es2023", "esnext.disposable"], types: ["node"] },
  esnext: { target: "esnext", lib: ["esnext"], types: ["node"] },
  "node+dom": { target: "esnext", lib: ["esnext", "dom", "dom.asynciterable"], types: ["node"] },
};

/** What `bun init` writes, but for the types, which a package of its own has. */
const BUN = {
  target: "esnext",
  lib: ["esnext", "dom", "dom.asynciterable"],
  module: "preserve",
  moduleResolution: "bundler",
  moduleDetection: "force",
  allowJs: true,
  types: [],
};

/** The packages with TypeScript's versions. */
const COMPILERS = { ts5: "typescript", ts6: "typescript6", ts7: "typescript7" };

/** A checker: what to run, and in which folder. */
interface Checker {
  name: string;
  command: string[];
}

/** Where a consumer's project lies, and what it has of the library. */
interface Project {
  folder: string;
  /** Describes it in a checker's name. */
  name: string;
}

/** An empty project with the npm form in it, and the programs. */
async function createProject(folder: string): Promise<Project> {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@multiprocessing"), { recursive: true });
  await buildNpmForm(join(modules, "@multiprocessing/core"));
  await buildNpmForm(join(modules, "@multiprocessing/cluster"), "cluster");
  for (const folder of ["@types", "@ioredis"]) mkdirSync(join(modules, folder));
  const needed = new Set([".", "cluster"].flatMap(dependenciesOf));
  for (const name of ["@types/node", "undici-types", ...needed]) {
    symlinkSync(join(ROOT, "node_modules", name), join(modules, name), "junction");
  }
  cpSync(join(ROOT, PROGRAMS), join(folder, "src"), { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  return { folder, name: "npm form" };
}

/** The same with the declarations that Deno makes, with the code by which JSR makes them. */
async function withDenoTypes({ folder }: Project, copy: string): Promise<Project> {
  cpSync(folder, copy, { recursive: true, verbatimSymlinks: true });
  const library = join(copy, "node_modules/@multiprocessing/core");
  for (const path of walk(library)) if (path.endsWith(".d.ts")) rmSync(join(library, path));
  const archive = join(copy, "core.tgz");
  const commands = [
    [runtime("deno").binary, "pack", "--allow-dirty", "--no-source-maps", "-q", "-o", archive],
    ["tar", "-xzf", archive, "-C", library, "--strip-components=1", "--wildcards", "*.d.ts"],
  ];
  for (const command of commands) {
    const { code, output } = await capture(command, TIMEOUT);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${output}`);
  }
  return { folder: copy, name: "Deno's npm form" };
}

/** A checker of the project by a version of TypeScript. */
function typescript(
  compiler: keyof typeof COMPILERS,
  { folder, name }: Project,
  settings: string,
  options: object,
): Checker {
  const { version } = readJson<{ version: string }>(
    ROOT,
    `node_modules/${COMPILERS[compiler]}/package.json`,
  )!;
  const config = join(folder, `tsconfig.${compiler}.${settings.replaceAll(" ", ".")}.json`);
  writeFileSync(
    config,
    JSON.stringify({ compilerOptions: { ...STRICT, ...options }, include: ["src"] }),
  );
  return {
    name: `${compiler} ${version}, ${name}, ${settings}`,
    command: [
      process.execPath,
      join(ROOT, "node_modules", COMPILERS[compiler], "bin/tsc"),
      "--pretty",
      "false",
      "-p",
      config,
    ],
  };
}

/** All checkers. */
function checkers(project: Project, deno: Project): Checker[] {
  const { binary, version } = runtime("deno");
  const all: Checker[] = [];
  for (const compiler of Object.keys(COMPILERS) as (keyof typeof COMPILERS)[]) {
    for (const [module, resolution] of Object.entries(MODULES)) {
      for (const [lib, libs] of Object.entries(LIBS)) {
        all.push(typescript(compiler, project, `${module} ${lib}`, { ...resolution, ...libs }));
      }
    }
    all.push(typescript(compiler, project, "bun", BUN));
    const settings = { ...MODULES["nodenext"], ...LIBS["esnext"] };
    all.push(typescript(compiler, deno, "nodenext esnext", settings));
  }
  writeFileSync(
    join(project.folder, "deno.json"),
    JSON.stringify({
      nodeModulesDir: "manual",
      compilerOptions: { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    }),
  );
  const config = ["--config", join(project.folder, "deno.json")];
  all.push(
    { name: `deno ${version}, source`, command: [binary, "check", PROGRAMS] },
    {
      name: `deno ${version}, npm form`,
      command: [binary, "check", ...config, join(project.folder, "src")],
    },
  );
  return all;
}

const words = process.argv.slice(2).flatMap((arg) => /^--only=(.+)$/.exec(arg)?.[1] ?? [])
  .flatMap((list) => list.split(","));
const scratch = mkdtempSync(join(tmpdir(), "types-"));
/** What stands before a project's name in messages. */
const paths = new RegExp(`\\S*${basename(scratch)}.`, "g");
let passed = 0;
let failed = 0;
try {
  const project = await createProject(join(scratch, "npm"));
  const deno = await withDenoTypes(project, join(scratch, "deno"));
  for (const { name, command } of checkers(project, deno)) {
    if (words.length > 0 && !words.some((word) => name.startsWith(word))) continue;
    const begun = performance.now();
    const { code, output, timedOut } = await capture(command, TIMEOUT);
    const ok = code === 0 && !timedOut;
    const seconds = ((performance.now() - begun) / 1_000).toFixed(1).padStart(5);
    console.log(`${ok ? "ok    " : "FAILED"} ${seconds} s  ${name}`);
    if (!ok) console.log(output.trimEnd().replaceAll(paths, "").replace(/^/gm, "    | "));
    ok ? passed++ : failed++;
  }
} catch (error) {
  console.log(error);
  failed++;
} finally {
  rmSync(scratch, { recursive: true });
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
