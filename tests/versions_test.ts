/** Runtimes that are too old are refused when the library is loaded, with the versions that it needs. */

import { test } from "node:test";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { RuntimeName } from "../runtime/adapter.ts";
import { checkVersion, detectRuntime, OLDEST, type RuntimeGlobals } from "../runtime/detect.ts";
import { read, readJson } from "../scripts/files.ts";
import { ROOT } from "../scripts/runtimes.ts";

const NAMES = Object.keys(OLDEST) as RuntimeName[];

/** Major and minor version. */
function parts(version: string): [major: number, minor: number] {
  return version.split(".").map(Number) as [number, number];
}

/** What a runtime of this version has among its globals: all three have Node's. */
function globalsOf(name: RuntimeName, version: string): RuntimeGlobals {
  const process = { versions: { node: name === "node" ? version : "99.0.0" } };
  if (name === "deno") return { process, Deno: { version: { deno: version } } };
  return name === "bun" ? { process, Bun: { version } } : { process };
}

test("checkVersion() lets the oldest supported version of each line pass, and newer ones of the line", () => {
  for (const name of NAMES) {
    for (const [major, minor] of OLDEST[name].map(parts)) {
      checkVersion(name, `${major}.${minor}.0`);
      checkVersion(name, `${major}.${minor}.17`);
      checkVersion(name, `${major}.${minor + 1}.0`);
      checkVersion(name, `${major}.${minor + 100}.0`);
    }
  }
});

test("checkVersion() lets all lines pass that are newer than the last", () => {
  for (const name of NAMES) {
    const [major] = parts(OLDEST[name].at(-1)!);
    for (const later of [1, 2, 100]) checkVersion(name, `${major + later}.0.0`);
  }
});

test("checkVersion() refuses what is older, by numbers, and not by letters", () => {
  for (const name of NAMES) {
    const [major, minor] = parts(OLDEST[name][0]!);
    const older = [`${major}.${minor - 1}.99`, `${major}.0.0`, `${major - 1}.99.0`, "0.9.0"];
    for (const version of older) {
      assertThrows(() => checkVersion(name, version), Error, `and this is `);
    }
  }
  assertThrows(() => checkVersion("node", "9.99.0"), Error, "this is Node 9.99.0");
  assertThrows(() => checkVersion("node", "22.2.0"), Error, "this is Node 22.2.0");
  checkVersion("node", "100.0.0");
});

test("checkVersion() refuses the Nodes between 22 and 24.3, whose import.meta.main is missing or wrong", () => {
  for (const version of ["23.0.0", "23.11.1", "24.0.0", "24.2.0"]) {
    assertThrows(() => checkVersion("node", version), Error, `this is Node ${version}`);
  }
});

test("checkVersion() says what it needs, and what it found", () => {
  const error = assertThrows(() => checkVersion("node", "20.19.0"), Error);
  assertEquals(
    error.message,
    "Cannot load @multiprocessing/core: it needs Node 22.18, or 24.3 or newer, " +
      "and this is Node 20.19.0",
  );
});

test("checkVersion() takes a canary, a nightly or a build for the version before the dash", () => {
  for (const name of NAMES) {
    for (const oldest of OLDEST[name]) {
      checkVersion(name, `${oldest}.0-canary.1`);
      checkVersion(name, `${oldest}.0+a1b2c3d`);
      checkVersion(name, `v${oldest}.0-nightly20261122`);
    }
    assertThrows(() => checkVersion(name, "0.9.0-canary.1"), Error, "0.9.0-canary.1");
  }
});

test("checkVersion() says nothing of what is no version", () => {
  for (const version of ["", "local", "x.y.z"]) checkVersion("bun", version);
});

test("detectRuntime() refuses an old runtime by its own version, whatever Node's it claims", () => {
  const old = [["deno", "2.0.0", "Deno"], ["bun", "1.0.0", "Bun"], ["node", "20.19.0", "Node"]];
  for (const [name, version, title] of old as [RuntimeName, string, string][]) {
    const { message } = assertThrows(() => detectRuntime(globalsOf(name, version)), Error);
    assertStringIncludes(message, `needs ${title} `);
    assertStringIncludes(message, `this is ${title} ${version}`);
    assertEquals(detectRuntime(globalsOf(name, `${OLDEST[name][0]}.0`)), name);
  }
});

test("package.json and the README name the versions that checkVersion() lets in", () => {
  const { engines } = readJson<{ engines: Record<string, string> }>(ROOT, "package.json")!;
  const readme = read(ROOT, "README.md").toLowerCase();
  for (const name of NAMES) {
    const named = [...engines[name]!.matchAll(/>=(\S+)/g)].map(([, version]) => version);
    assertEquals(named, [...OLDEST[name]]);
    assertStringIncludes(readme, `${name} ≥ ${OLDEST[name][0]}`);
  }
});
