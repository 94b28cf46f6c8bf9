/** How programs and their processes end: real programs, started as a user would. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { current, ROOT, runtimes } from "../scripts/runtimes.ts";
import { capture, type Outcome } from "../scripts/spawn.ts";

/** No program here takes longer than this, on a busy machine either. */
const DEADLINE = 60_000;

/** After this time, a program that should go on is killed. */
const PATIENCE = 2_000;

const FOLDER = join(ROOT, "tests/fixtures/exit");
const BUN = runtimes().find(({ name }) => name === "bun")!.binary;
const onDeno = current().name === "deno";

function start(program: string, timeout = DEADLINE): Promise<Outcome> {
  return capture([...current().command, join(FOLDER, program)], timeout);
}

/** Runs a program to its end, which must come by itself. Returns the lines that it has printed. */
async function run(program: string, exitCode = 0): Promise<string[]> {
  const { output, timedOut, code } = await start(program);
  assert(!timedOut, `${program} did not end; it has printed: ${output}`);
  assertEquals(code, exitCode, output);
  return output.trim().split("\n");
}

function count(lines: string[], line: string): number {
  return lines.filter((text) => text === line).length;
}

// -- What keeps a program

test("Pool that is open and idle does not keep the program alive", async () => {
  const lines = await run("idle_pool.ts");
  assertEquals(lines.at(-1), "main is done");
});

for (const [what, program] of [["Queue.get()", "get"], ["Lock.acquire()", "acquire"]]) {
  test(`${what} that is pending keeps the program alive`, async () => {
    let patience = PATIENCE;
    let outcome = await start(`pending_${program}.ts`, patience);
    // A busy machine may not even have got so far as to print something.
    while (outcome.output === "" && outcome.timedOut && patience < DEADLINE) {
      patience *= 2;
      outcome = await start(`pending_${program}.ts`, patience);
    }
    const { output, timedOut } = outcome;
    assertEquals({ output, timedOut }, { output: "waiting\n", timedOut: true });
  });
}

test("Queue.get() keeps the program alive until a daemon has put something, and no longer", async () => {
  assertEquals(await run("daemon_puts.ts"), ["main is done", "an item"]);
});

test("Process that is a daemon does not keep the program alive", async () => {
  assertEquals(await run("daemon.ts"), ["main is done"]);
});

test("Process that is no daemon keeps the program alive, and all its output comes", async () => {
  const lines = await run("non_daemon.ts");
  assertEquals(lines[0], "main is done");
  assertEquals(lines.slice(1, -1), Array.from({ length: 200 }, (_, i) => `line ${i}`));
  assertEquals(lines.at(-1), "child is done");
});

test("Process.terminate() of a busy loop gives -15, and the program ends within 3 s", async () => {
  const [code, time] = await run("busy.ts");
  assertEquals(code, "exit code -15");
  assertLess(Date.now() - Number(time!.replace("terminated at ", "")), 3000);
});

test("Process.terminate() fences a thread that the runtime cannot stop", async () => {
  assertEquals(await run("fenced.ts"), ["exit code -15, queue: QueueEmptyError"]);
});

test("process.exit() of the main process ends the program at once, whoever lives", async () => {
  assertEquals(await run("main_exits.ts", 5), ["main exits"]);
});

// -- How a process ends

test("Process ends when its target has returned, though a timer is left", async () => {
  assertEquals(await run("leftovers.ts"), ["child is done", "exit code 0"]);
});

test("Process does not end before its target's promise has settled", async () => {
  assertEquals(await run("never_settles.ts"), ["ended within 500 ms: false", "exit code -15"]);
});

const EXIT_CODES: Record<string, number> = {
  "return": 0,
  "await": 0,
  "process.exit(0)": 0,
  "process.exit(7)": 7,
  "process.exit(255)": 255,
  "late process.exit(7)": 7,
  "throw": 1,
  "throw undefined": 1,
  "rejection": 1,
  "late throw": 1,
  "unhandled rejection": 1,
  ...(onDeno ? { "Deno.exit(8)": 8, "close()": 0 } : {}),
  "terminate": -15,
  "kill": -9,
  "terminate, then kill": -15,
};

let exitCodes: Promise<string[]> | undefined;

for (const [way, code] of Object.entries(EXIT_CODES)) {
  test(`Process.exitCode is ${code} after ${way}`, async () => {
    const lines = await (exitCodes ??= run("exit_codes.ts"));
    assertEquals(lines.filter((line) => line.startsWith(`${way}: `)), [`${way}: ${code}`]);
  });
}

test("Process writes an uncaught error to stderr: its name, the error, the worker's stack", async () => {
  const lines = await run("uncaught.ts");
  const text = lines.join("\n");
  assertMatch(text, /^Uncaught error in bomber \(pid 2\):/m);
  assertMatch(text, /TypeError: the bomb went off/);
  assertMatch(text, /at explode\b/);
  assertEquals(count(lines, "main goes on"), 1, text);
  assertEquals(text.match(/Uncaught error in/g)?.length, 1);
});

test("Process writes the file and line of a task's error", async () => {
  const lines = await run("uncaught_task.ts");
  const text = lines.join("\n");
  assertMatch(text, /^Uncaught error in tasker \(pid 2\):/m);
  assertMatch(text, /at fail \(.*uncaught_task\.ts:7:\d+\)/);
  assertEquals(count(lines, "exit code 1"), 1, text);
});

// -- Chains

/** One process ran the module again, was refused with the recipe, and started nobody. */
function assertRefused(lines: string[]): void {
  const text = lines.join("\n");
  const runs = count(lines, "module runs");
  // What a worker has printed may get lost when the main process ends by an error at once.
  assert(runs === 2 || runs === 1, text);
  assert(count(lines, "target runs") <= 1, text);
  assertMatch(text, /ProcessError: Cannot start .*: this module has been imported/);
  assertMatch(text, /if \(import\.meta\.main\) \{/);
}

test("Process.start() in a module without main guard is refused, and never becomes a chain", async () => {
  const lines = await run("no_guard.ts");
  assertRefused(lines);
  assertEquals(count(lines, "exit code 1"), 1);
});

test("Pool in a module without main guard is refused, and never becomes a chain", async () => {
  const { output, timedOut } = await start("no_guard_pool.ts");
  assert(!timedOut, output);
  assertRefused(output.trim().split("\n"));
});

test("Process.start() a while after the import of a module without main guard makes no chain", async () => {
  const { output, timedOut } = await start("no_guard_late.ts");
  assert(!timedOut, `${count(output.split("\n"), "module runs")} processes`);
  assertRefused(output.trim().split("\n"));
});

for (const guard of ["main_guard", "process_guard"]) {
  test(`Process.start() works behind a guard: ${guard}`, async () => {
    const lines = await run(`${guard}.ts`);
    assertEquals(lines, ["main runs", "target runs with 1", "exit code 0"]);
  });
}

/** Runs a program as an executable made by `bun build --compile`. */
async function runCompiled(program: string): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "compiled_"));
  try {
    const file = join(folder, "program");
    const source = join(FOLDER, program);
    const build = [BUN, "build", "--compile", source, "--outfile", file];
    const built = await capture(build, DEADLINE);
    assertEquals(built.code, 0, built.output);
    return await capture([file], DEADLINE);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("Process.start() in a compiled executable works behind isMainProcess()", async () => {
  const { output, timedOut, code } = await runCompiled("process_guard.ts");
  assertEquals({ output, timedOut, code }, {
    output: "main runs\ntarget runs with 1\nexit code 0\n",
    timedOut: false,
    code: 0,
  });
});

test(
  "Process.start() in a compiled executable behind import.meta.main is refused, without a chain",
  async () => {
    const { output, timedOut } = await runCompiled("main_guard.ts");
    assert(!timedOut, output);
    const lines = output.trim().split("\n");
    assertEquals(count(lines, "main runs"), 2, output);
    assertEquals(count(lines, "target runs with 1"), 0, output);
    assertMatch(output, /ProcessError: Cannot start .*: this module has been imported/);
    assertMatch(output, /if \(isMainProcess\(\)\)/);
    assertEquals(count(lines, "exit code 1"), 1, output);
  },
);

// -- Families

test("Process that is a daemon may not start children", async () => {
  const [refusal, code] = await run("daemon_children.ts");
  assertEquals(
    refusal,
    "ProcessError: Cannot start Process-1:1: imp is a daemon, which has no children; " +
      "start it from a process that is none",
  );
  assertEquals(code, "exit code 0");
});

test("Process that ends takes its daemons with it, and what they held comes free", async () => {
  const lines = await run("daemon_with_parent.ts");
  assertEquals(lines, ["parent is done", "exit code 0, lock abandoned: true"]);
});

test("Process ends after the children that it has started", async () => {
  assertEquals(await run("children_first.ts"), [
    "child has returned",
    "grandchild is done",
    "exit code 0",
  ]);
});

test("Process.exited can be awaited in a process", async () => {
  assertEquals(await run("nested_exited.ts"), ["grandchild's exit code 0", "exit code 0"]);
});

test("Process goes on when its parent is terminated", async () => {
  assertEquals(await run("orphan.ts"), [
    "exit code -15",
    "grandchild goes on, its parent is alive: false",
  ]);
});
