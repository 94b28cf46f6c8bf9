/**
 * Consumer: a project that has the cluster's package, its daemon and a program, around a Redis.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { readJson } from "../files.ts";
import { ROOT, type Runtime, runtimes } from "../runtimes.ts";
import {
  check,
  copyPackages,
  dependenciesOf,
  type Program,
  programsIn,
  type RunOptions,
  writeJavaScript,
  writeTypeScript,
} from "./consumer.ts";
import { RUN, withJsr } from "./jsr.ts";
import { buildNpmForm } from "./npm_form.ts";

const PROGRAMS: readonly Program[] = programsIn("scripts/pack/programs", {
  cluster_map: "2 km,4 km,6 km\n",
});

/** A program that runs beside others. */
class Service {
  readonly #child: ChildProcess;
  readonly #kill = (): void => {
    try {
      // The whole group: npx has started another.
      process.kill(-this.#child.pid!, "SIGKILL");
    } catch {
      // It has ended.
    }
  };

  private constructor(child: ChildProcess) {
    this.#child = child;
    process.once("exit", this.#kill);
  }

  /** Starts a command, and waits until it says something. */
  static async start(words: readonly string[], said: RegExp, options: RunOptions) {
    const [file, ...args] = words as [string, ...string[]];
    const { cwd, env } = options;
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, NO_COLOR: "1", ...env },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const service = new Service(child);
    let output = "";
    await new Promise<void>((resolve, reject) => {
      const hear = (chunk: unknown): void => {
        output += chunk;
        if (said.test(output)) resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.once("error", reject);
      child.once("exit", (code) => {
        reject(new Error(`${words.join(" ")} ended with exit code ${code}:\n${output}`));
      });
    });
    return service;
  }

  /** Ends it. */
  end(): void {
    process.off("exit", this.#kill);
    this.#kill();
  }
}

/** Makes a project with both packages, and the command as npm links it. */
async function install(project: string): Promise<void> {
  const modules = join(project, "node_modules");
  const dependencies: Record<string, string> = {};
  for (const folder of [".", "cluster"]) {
    const { name, version } = readJson<{ name: string; version: string }>(
      join(ROOT, folder),
      "deno.json",
    )!;
    await buildNpmForm(join(modules, name), folder);
    copyPackages(project, dependenciesOf(folder));
    dependencies[name] = version;
    const { bin = {} } = readJson<{ bin?: Record<string, string> }>(
      join(modules, name),
      "package.json",
    )!;
    mkdirSync(join(modules, ".bin"), { recursive: true });
    for (const [command, path] of Object.entries(bin)) {
      const file = join(modules, name, path);
      chmodSync(file, 0o755);
      symlinkSync(file, join(modules, ".bin", command));
    }
  }
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, dependencies }));
}

/** How the docs say that the daemon is started. */
function daemonOf({ name, binary, command }: Runtime): string[] {
  if (name === "bun") return [binary, "x", "--bun", "--no-install", "multiprocessing-worker"];
  if (name !== "deno") return ["npx", "--no", "--", "multiprocessing-worker"];
  return [...command, "node_modules/@multiprocessing/cluster/worker.js"];
}

/** Runs the programs beside a daemon. */
async function checkBeside(
  daemon: readonly string[],
  consumer: { title: string; on: string; command: (program: Program) => string[] },
  { cwd, env }: RunOptions,
): Promise<void> {
  const socket = join(cwd, `${consumer.on}.sock`);
  const redis = await Service.start(
    ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""],
    /ready to accept connections/i,
    { cwd },
  );
  const options = {
    cwd,
    env: { ...env, MULTIPROCESSING_CLUSTER_URL: `unix://${socket}` },
  };
  try {
    const command = [...daemon, "--slots", "2", "--root", "."];
    const worker = await Service.start(command, /ready: cluster default/, options);
    await check({ ...consumer, programs: PROGRAMS, options });
    worker.end();
  } finally {
    redis.end();
  }
}

/** Runs a program and its daemon on each runtime; says so where there is no Redis. */
export async function checkCluster(folder: string): Promise<void> {
  if (spawnSync("redis-server", ["--version"]).status !== 0) {
    console.log("cluster: NOT RUN: there is no redis-server on the PATH");
    return;
  }
  const project = join(folder, "npm");
  await install(project);
  writeJavaScript(project, PROGRAMS);
  for (const runtime of runtimes()) {
    // npx runs with the `node` that it finds.
    const path = `${dirname(runtime.binary)}:${process.env["PATH"]}`;
    await checkBeside(daemonOf(runtime), {
      title: "cluster, npm",
      on: runtime.name,
      command: ({ name }) => [...runtime.command, join(project, `${name}.mjs`)],
    }, { cwd: project, env: { PATH: path } });
  }
  const jsr = join(folder, "jsr");
  mkdirSync(jsr);
  await withJsr(jsr, async (options) => {
    writeTypeScript(options.cwd, PROGRAMS);
    await checkBeside([...RUN, "jsr:@multiprocessing/cluster/worker"], {
      title: "cluster, jsr",
      on: "deno",
      command: ({ name }) => [...RUN, `${name}.ts`],
    }, options);
  });
}
