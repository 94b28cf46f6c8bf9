/**
 * Consumer: a program on Deno that imports the library as from JSR.
 *
 * A server on loopback stands for JSR, and for npm: it has just this project's packages and what they
 * depend on. So every module of them has an `http:` URL, in the processes that a program starts, too.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { packages, readJson, walk } from "../files.ts";
import { ROOT, runtime } from "../runtimes.ts";
import {
  check,
  dependenciesOf,
  mustRun,
  PROGRAMS,
  type RunOptions,
  writeTypeScript,
} from "./consumer.ts";

/** Path → what the server has there. */
type Site = Map<string, string | Uint8Array>;

interface Config {
  name: string;
  version: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
}

/** The files of a package that `deno publish` would send to JSR. */
async function publishedFiles(root: string): Promise<string[]> {
  const command = [runtime("deno").binary, "publish", "--dry-run", "--allow-dirty", "--no-check"];
  const printed = await mustRun(command, { cwd: root });
  const origin = `${pathToFileURL(root)}/`;
  return [...printed.matchAll(/^ +(file:\S+) \(/gm)].map(([, url]) => url!.replace(origin, ""));
}

/** As JSR stores a module: names that the package's own deno.json explains are written out. */
function resolved(text: string, { imports }: Config): string {
  return text.replace(
    /(\bfrom |\bimport\()"((?:@\w[\w-]*\/)?\w[\w-]*)([\w/-]*)"/g,
    (statement, start: string, name: string, path: string) =>
      name in imports ? `${start}"${imports[name]}${path}"` : statement,
  );
}

/** Puts a package where JSR would have it. */
async function addPackage(site: Site, root: string): Promise<void> {
  const config = readJson<Config>(root, "deno.json")!;
  const { name, version, exports } = config;
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const path of await publishedFiles(root)) {
    let bytes: Uint8Array = readFileSync(join(root, path));
    if (path.endsWith(".ts")) bytes = Buffer.from(resolved(String(bytes), config));
    const checksum = `sha256-${createHash("sha256").update(bytes).digest("hex")}`;
    manifest[`/${path}`] = { size: bytes.length, checksum };
    site.set(`/${name}/${version}/${path}`, bytes);
  }
  site.set(`/${name}/meta.json`, JSON.stringify({ latest: version, versions: { [version]: {} } }));
  site.set(`/${name}/${version}_meta.json`, JSON.stringify({ manifest, exports }));
}

/** A tar archive of a folder, whose files lie in `package/`. */
function pack(folder: string): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const path of walk(folder)) {
    const bytes = readFileSync(join(folder, path));
    const header = Buffer.alloc(512);
    header.write(`package/${path}`, 0);
    header.write("0000644\0", 100);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write(`${"0".repeat(11)}\0        0`, 136);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((sum, byte) => sum + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(header, bytes, Buffer.alloc((512 - bytes.length % 512) % 512));
  }
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(1024)]));
}

/** Puts installed packages where npm would have them. */
function addDependencies(site: Site, names: Iterable<string>, origin: string): void {
  for (const name of names) {
    const folder = join(ROOT, "node_modules", name);
    const { version, dependencies } = readJson<{
      version: string;
      dependencies?: Record<string, string>;
    }>(folder, "package.json")!;
    const archive = `/${name}-${version}.tgz`;
    const bytes = pack(folder);
    const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
    const dist = { tarball: origin + archive, integrity };
    site.set(archive, bytes);
    site.set(
      `/${name}`,
      JSON.stringify({
        name,
        "dist-tags": { latest: version },
        // Without its optional dependencies, which are native code.
        versions: { [version]: { name, version, dependencies, dist } },
      }),
    );
  }
}

/** A server that has a site, on loopback. */
async function serve(site: Site): Promise<{ server: Server; origin: string }> {
  const server = createServer((request, response) => {
    const found = site.get(decodeURIComponent(request.url!));
    const type = request.url!.endsWith(".ts") ? "application/typescript" : "application/json";
    response.writeHead(found === undefined ? 404 : 200, { "content-type": type });
    response.end(found);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/**
 * Makes a project on Deno that has this project's packages as from JSR, while a function runs.
 *
 * @param folder An empty folder.
 * @param use Gets how commands are run there; Deno's begin with {@linkcode RUN}.
 */
export async function withJsr(
  folder: string,
  use: (options: RunOptions) => Promise<void>,
): Promise<void> {
  const site: Site = new Map();
  const { server, origin } = await serve(site);
  try {
    const project = join(folder, "project");
    mkdirSync(project);
    mkdirSync(join(folder, "cache"));
    const imports: Record<string, string> = {};
    const needed = new Set<string>();
    for (const path of packages(ROOT)) {
      const root = resolve(ROOT, path);
      await addPackage(site, root);
      for (const dependency of dependenciesOf(path)) needed.add(dependency);
      const { name, version } = readJson<Config>(root, "deno.json")!;
      imports[name] = `jsr:${name}@^${version}`;
    }
    addDependencies(site, needed, origin);
    // As `deno add` writes it.
    writeFileSync(join(project, "deno.json"), JSON.stringify({ imports }));
    const cache = join(folder, "cache");
    await use({
      cwd: project,
      env: { JSR_URL: origin, NPM_CONFIG_REGISTRY: origin, DENO_DIR: cache },
    });
  } finally {
    server.close();
  }
}

/** How Deno runs a program there. */
export const RUN = [runtime("deno").binary, "run", "--quiet", "-A", "--no-check"];

/** Runs the programs on Deno, as from JSR. */
export async function checkJsr(folder: string): Promise<void> {
  await withJsr(folder, async (options) => {
    writeTypeScript(options.cwd, PROGRAMS);
    await check({
      title: "jsr",
      on: "deno",
      programs: PROGRAMS,
      options,
      command: ({ name }) => [...RUN, `${name}.ts`],
    });
  });
}
