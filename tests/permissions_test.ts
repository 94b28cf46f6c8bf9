/** What each feature may do, and must be allowed: programs that are run with just these permissions. */

import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { isLibrary, walk } from "../scripts/files.ts";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

/** No program here takes a tenth of this. */
const DEADLINE = 60_000;

const FOLDER = join(ROOT, "tests/fixtures/gates");
const { name: runtime, binary } = current();
const onNode = runtime === "node" || runtime === "node22";

/** Deno's child_process allows a child everything, unless one of its flags is about permissions. */
const NOTHING = "--deny-write";

/** The command that runs a program with no permissions but these; Bun has none to give. */
function command(permissions: readonly string[]): string[] {
  if (runtime === "deno") {
    return [binary, "run", "--no-prompt", NOTHING, "--no-check", ...permissions];
  }
  if (onNode) return [binary, "--no-warnings", "--permission", ...permissions];
  return [binary];
}

async function run(permissions: readonly string[], program: string, ...args: string[]) {
  const line = [...command(permissions), join(FOLDER, program), ...args];
  const { output, timedOut } = await capture(line, DEADLINE);
  assert(!timedOut, `${line.join(" ")} did not end; it has printed: ${output}`);
  return output.trim();
}

/** What features.ts prints last, for each feature that needs nothing but a thread. */
const WITHOUT_LIBRARY: Record<string, string> = {
  "cpuCount": "true",
  "within one process": "5",
  "plain process": "exit code 0",
  "exit code": "exit code 3",
  "terminate": "-15",
};

/** And for those whose processes load the library, or a module of the user's. */
const WITH_LIBRARY: Record<string, string> = {
  "closure process": "exit code 0",
  "shared": "exit code 0, 5, 6",
  "plain pool": "2",
  "closure pool": "6",
  "timeout": "TimeoutError",
};
const WITH_MODULE: Record<string, string> = {
  "task process": "exit code 0",
  "module process": "exit code 0",
  "task pool": "4",
  "stack": "true",
  "stack of text": "in its file",
};

/** The library's own files and folders, as a list for an option. */
function libraryPaths(): string {
  const parts = walk(ROOT).filter(isLibrary).map((path) =>
    join(ROOT, path.split("/")[0] as string)
  );
  return [...new Set(parts)].join(",");
}

/** Packages may lie elsewhere, behind a link. */
const READ_ALL = runtime === "deno"
  ? [`--allow-read=${ROOT}`]
  : [ROOT, realpathSync(join(ROOT, "node_modules"))].map((folder) =>
    `--allow-fs-read=${join(folder, "*")}`
  );

/** By feature: what it takes here. Bun knows no permissions: all must work without any. */
function needs(feature: string): string[] {
  if (runtime === "deno") return feature in WITHOUT_LIBRARY ? [] : READ_ALL;
  if (!onNode) return [];
  const threads = feature !== "cpuCount" && feature !== "within one process";
  return threads ? [...READ_ALL, "--allow-worker"] : READ_ALL;
}

const OUTCOMES: Record<string, string> = { ...WITHOUT_LIBRARY, ...WITH_LIBRARY, ...WITH_MODULE };

/** What features.ts says of each of these features, and all that it has printed. */
async function tryFeatures(permissions: readonly string[], features: readonly string[]) {
  const output = await run(permissions, "features.ts", ...features);
  const said = new Map<string, string>();
  for (const line of output.split("\n")) {
    const feature = features.find((feature) => line.startsWith(`${feature}: `));
    if (feature !== undefined) said.set(feature, line.slice(feature.length + 2));
  }
  return { said, output };
}

/** One program for all features that take the same: a start is most of what each costs. */
const programs = new Map<string, ReturnType<typeof tryFeatures>>();

function tryWithNeeds(feature: string): ReturnType<typeof tryFeatures> {
  const key = needs(feature).join(" ");
  let program = programs.get(key);
  if (program === undefined) {
    const alike = Object.keys(OUTCOMES).filter((each) => needs(each).join(" ") === key);
    programs.set(key, program = tryFeatures(needs(feature), alike));
  }
  return program;
}

for (const [feature, outcome] of Object.entries(OUTCOMES)) {
  const options = new Set(needs(feature).map((permission) => permission.split("=")[0]));
  test(`${feature} works with ${[...options].join(" ") || "no permission"}`, async () => {
    const { said, output } = await tryWithNeeds(feature);
    assertEquals(said.get(feature), outcome, output);
  });
}

/** Which permission a feature fails without, as the error names it. */
const MISSING = { deno: "--allow-read", node: "--allow-worker", node22: "--allow-worker", bun: "" };
const missing = MISSING[runtime];

test(`closures, tasks, queues and pools without ${missing || "a flag"} say what they lack`, async () => {
  const features = ["closure process", "task process", "shared", "plain pool", "task pool"];
  const left = needs("shared").filter((each) => !each.startsWith(missing));
  const { said, output } = await tryFeatures(left, features);
  for (const feature of features) {
    // Bun has no permissions that one could lack.
    if (missing === "") assertEquals(said.get(feature), OUTCOMES[feature], output);
    else assertMatch(said.get(feature) ?? "", new RegExp(`Error: .*${missing}`), output);
  }
});

/** Who may what, by the lines that denied.ts prints. */
function rights(output: string): Record<string, Record<string, string>> {
  const lines = output.split("\n").map((line) => line.split(" "));
  return Object.fromEntries(lines.map(([who, json]) => [who, JSON.parse(json as string)]));
}

test("Process and Pool give their processes the program's permissions, and no more", async () => {
  const folder = mkdtempSync(join(tmpdir(), "permissions_"));
  try {
    const outside = join(folder, "outside.txt");
    writeFileSync(outside, "");
    const permissions = runtime === "bun" ? [] : needs("plain pool");
    const [no, yes] = ["denied", "allowed"];
    // Its permission model has --allow-net from 25 on.
    const nodeDeniesNet = parseInt(process.versions.node) >= 25;
    const expected = {
      deno: { read: no, write: no, env: no, run: no, net: no },
      node: { read: no, write: no, env: yes, run: no, net: nodeDeniesNet ? no : yes },
      bun: { read: yes, write: yes, env: yes, run: yes, net: yes },
    }[runtime === "node22" ? "node" : runtime];
    assertEquals(
      rights(await run(permissions, "denied.ts", outside, "pool")),
      { main: expected, process: expected, worker: expected },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

if (runtime === "deno") {
  test("the library's processes need to read the library, and nothing else", async () => {
    const permissions = [`--allow-read=${libraryPaths()}`];
    const features = [...Object.keys(WITH_LIBRARY), "stack of text", "task pool"];
    const { said, output } = await tryFeatures(permissions, features);
    for (const [feature, outcome] of Object.entries(WITH_LIBRARY)) {
      assertEquals(said.get(feature), outcome, output);
    }
    assertEquals(said.get("stack of text"), "in its text");
    // A task's module has to be read, too.
    assertMatch(said.get("task pool") as string, /tasks\.ts".*--allow-read/);
  });

  test("no feature asks for any permission but to read", async () => {
    const folder = mkdtempSync(join(tmpdir(), "permissions_"));
    const log = join(folder, "asked.jsonl");
    process.env.DENO_AUDIT_PERMISSIONS = log;
    try {
      const features = Object.keys(OUTCOMES);
      const { said } = await tryFeatures(needs("shared"), features);
      assertEquals([...said.keys()], features);
      const lines = readFileSync(log, "utf8").trim().split("\n");
      const asked = new Set(lines.map((line) => JSON.parse(line).permission));
      assertEquals([...asked], ["read"]);
    } finally {
      delete process.env.DENO_AUDIT_PERMISSIONS;
      rmSync(folder, { recursive: true });
    }
  });

  test("what a process revokes is revoked for the whole program", async () => {
    const output = await run(["--allow-net"], "revoke.ts");
    assertEquals(output.split("\n"), [
      "main: granted",
      "process: prompt",
      "main: prompt",
      "another: prompt",
    ]);
  });
}
