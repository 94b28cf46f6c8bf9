/** The workflows of the repository's host call what is there, and may do no more than they must. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { packages, read, readJson, walk } from "../scripts/files.ts";
import { ROOT, runtime, runtimes } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

const FOLDER = ".github/workflows";

interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, {
    "runs-on": string;
    "timeout-minutes": number;
    strategy?: { matrix: { os: string[]; runtime: string[] } };
    steps: { uses?: string; run?: string }[];
  }>;
}

/** Reads YAML by Bun, which has a parser of its own. */
async function parse(path: string): Promise<Workflow> {
  const program =
    "console.log(JSON.stringify(Bun.YAML.parse(await Bun.file(process.argv[1]).text())))";
  const { output } = await capture(
    [runtime("bun").binary, "-e", program, join(ROOT, path)],
    60_000,
  );
  return JSON.parse(output);
}

const paths = readdirSync(join(ROOT, FOLDER)).map((name) => `${FOLDER}/${name}`).sort();
const workflows = new Map(
  await Promise.all(paths.map(async (path) => [path, await parse(path)] as const)),
);
const { scripts } = readJson<{ scripts: Record<string, string> }>(ROOT, "package.json")!;

/** All commands, by where they stand. */
function commands(): [where: string, command: string][] {
  return [...workflows].flatMap(([path, { jobs }]) =>
    Object.entries(jobs).flatMap(([job, { steps }]) =>
      steps.flatMap(({ run }) =>
        (run ?? "").split(/\n|&&/).map((line) => line.trim()).filter(Boolean)
          .map((line): [string, string] => [`${path}, ${job}`, line])
      )
    )
  );
}

test("workflows call scripts that package.json has", () => {
  let called = 0;
  for (const [where, command] of commands()) {
    const [, run, short] = /^npm (?:run ([\w:]+)|(test|start)\b)/.exec(command) ?? [];
    const script = run ?? short;
    if (script !== undefined) {
      assert(script in scripts, `${where}: there is no script '${script}'`);
      called++;
      continue;
    }
    const isKnown =
      /^(npm ci|npx jsr@[\d.]+ publish|npm publish [-\w ]+ \.\/npm\/\w+|sudo apt-get (update|install .*))$/;
    assert(isKnown.test(command), `${where}: '${command}' is no script of package.json`);
  }
  assert(called >= 4);
});

test("ci.yml tests each runtime that npm test knows, on three systems", () => {
  const { strategy, steps } = workflows.get(`${FOLDER}/ci.yml`)!.jobs.test!;
  assertEquals(strategy!.matrix.runtime, runtimes().map(({ name }) => name));
  assertEquals(strategy!.matrix.os, ["ubuntu-latest", "macos-latest", "windows-latest"]);
  assert(steps.at(-1)!.run!.endsWith("--runtime=${{ matrix.runtime }}"));
});

test("workflows may read the repository and no more; publishing, tell who it is", () => {
  for (const [path, { permissions, jobs }] of workflows) {
    const publishes = path.endsWith("publish.yml");
    const expected = publishes ? { contents: "read", "id-token": "write" } : { contents: "read" };
    assertEquals(permissions, expected, path);
    for (const [name, job] of Object.entries(jobs)) {
      assert(job["timeout-minutes"] > 0, `${path}: ${name} may hang for hours`);
      for (const { uses } of job.steps) {
        assert(uses === undefined || /^actions\/[\w-]+@v\d+$/.test(uses), `${path}: ${uses}`);
      }
    }
  }
});

test("publish.yml publishes tags of versions, after all tests", () => {
  const { on, jobs } = workflows.get(`${FOLDER}/publish.yml`)!;
  assertEquals(on, { push: { tags: ["v*"] } });
  const [, , ...runs] = jobs.publish!.steps.map(({ run }) => run);
  assertEquals(runs.slice(0, 2), ["npm ci", "npm test"]);
  const published = runs.slice(2).filter((run) => / publish\b/.test(run!));
  assertEquals(published.length, 2 * packages(ROOT).length);
});

/** The documents for those who come to the repository. */
const DOCUMENTS = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"];

test("CONTRIBUTING.md and its like link to files that are there, and name scripts that are", () => {
  const files = walk(ROOT);
  let links = 0;
  for (const path of DOCUMENTS) {
    const text = read(ROOT, path);
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      const found = files.some((file) => file === target || file.startsWith(`${target}/`));
      assert(found, `${path}: there is no ${target}`);
      links++;
    }
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g)) {
      assert(script! in scripts, `${path}: there is no script '${script}'`);
    }
  }
  assert(links > 20);
});
