/** The daemon's program: its command line, and what it prints. */

import { test } from "node:test";
import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { Pool } from "@multiprocessing/core/pool";
import { current, ROOT } from "../../scripts/runtimes.ts";
import { cluster } from "../mod.ts";
import { Program, WORKER } from "./fixtures/program.ts";
import { siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

const NOBODY = "unix:///nowhere/redis.sock";

/** Runs it until it ends by itself. */
async function run(words: string[], env: Record<string, string> = {}) {
  const program = new Program(WORKER, words, { env });
  const code = await soon(program.ended);
  return { code, output: program.output, errors: program.errors };
}

// ── The command line

test("multiprocessing-worker --help says what it can do", async () => {
  for (const words of [["--help"], ["status", "-h"]]) {
    const { code, output, errors } = await run(words);
    assertEquals([code, errors], [0, ""]);
    for (const option of ["url", "cluster", "slots", "root", "allow-code", "lock", "grace"]) {
      assertMatch(output, new RegExp(`^  --${option}\\b`, "m"));
    }
    assertMatch(output, /^Exit codes: 0 stopped, 1 failed, 2 wrong usage\.$/m);
  }
});

test("multiprocessing-worker with wrong words ends with 2, and one line", async () => {
  const url = ["--url", NOBODY];
  const wrong: [string[], RegExp][] = [
    [[], /--url is missing/],
    [["--url", "http://x"], /must begin with redis:/],
    [["--url", "nothing"], /the URL is none/],
    [[...url, "--slots", "0"], /--slots must be a whole number of at least 1, but is 0/],
    [[...url, "--slots", "two"], /--slots must be .* but is two/],
    [[...url, "--lock", "499"], /--lock must be a whole number of at least 500/],
    [[...url, "--grace", "-1"], /--grace/],
    [[...url, "--root", "/nowhere"], /--root must be a folder, but is \/nowhere/],
    [[...url, "--cluster", "a{b}"], /must have no braces/],
    [[...url, "--colour"], /--colour/],
    [["dance", ...url], /'dance' is no command; see --help/],
    [["status", "more", ...url], /'status more' is no command/],
  ];
  // Some at a time: each is a start of the runtime.
  for (let at = 0; at < wrong.length; at += 4) {
    await Promise.all(
      wrong.slice(at, at + 4).map(async ([words, line]) => {
        const { code, output, errors } = await run(words);
        assertEquals([code, output], [2, ""], words.join(" "));
        assertMatch(errors, /^multiprocessing-worker: .*\n$/, words.join(" "));
        assertMatch(errors, line);
      }),
    );
  }
});

test("multiprocessing-worker ends with 1, and one line, where Redis cannot be reached", async () => {
  const tries = [
    ["--url", NOBODY],
    ["status", "--url", NOBODY],
    ["--url", "redis://user:secret@127.0.0.1:1"],
  ].map(async (words) => {
    const start = performance.now();
    const { code, output, errors } = await run(words);
    assertEquals([code, output], [1, ""]);
    assertMatch(
      errors,
      /^multiprocessing-worker: cannot reach Redis at (\/nowhere|127\.0\.0\.1:1).+\n$/,
    );
    assert(!errors.includes("secret"));
    assertLess(performance.now() - start, 30_000);
  });
  await Promise.all(tries);
});

siteTest("multiprocessing-worker takes URL and name from the environment", async (site) => {
  const env = {
    MULTIPROCESSING_CLUSTER_URL: site.redis.url,
    MULTIPROCESSING_CLUSTER_NAME: "by environment",
  };
  const program = new Program(WORKER, [], { env });
  site.daemons.push(program);
  await program.prints(/ready: cluster by environment at .*redis\.sock, \d+ slots, root .*\n/);
  const other = site.other("by environment");
  assertEquals(await other.pool().apply(tasks.clusterName, []), "by environment");
});

// ── What it shows

siteTest("multiprocessing-worker status shows daemons and pools", async (site) => {
  const ask = async () => {
    const { code, output, errors } = await run(["status", "--url", site.redis.url]);
    assertEquals([code, errors], [0, ""]);
    return output;
  };
  const nothing = await ask();
  assertMatch(nothing, /^daemon +pid +runtime +slots +running +pools\n\(none\)\n\n/);
  assertMatch(nothing, /^pool +name +processes +queued +running\n\(none\)\n$/m);
  const daemon = await site.daemon();
  const at = site.cluster();
  const pool = site.pool({ processes: 1, name: "Thumbnails" });
  const held = pool.apply(tasks.hold, ["status"]);
  const rest = [pool.apply(tasks.square, [1]), pool.apply(tasks.square, [2])];
  await at.event("status begun").wait();
  const { version, name } = current();
  const runtime = `${name.replace("22", "")} ${version}`;
  // It says what it does once a second.
  await until(async () => / 2 +1 +1$/m.test(await ask()), "news");
  const output = await ask();
  assertMatch(output, new RegExp(`^\\S+ +${daemon.pid} +${runtime} +2 +1 +1$`, "m"));
  assertMatch(output, /^\w{8}-\w{4} +Thumbnails +1 +2 +1$/m);
  await at.event("status go").set();
  await held;
  await Promise.all(rest);
  // Who looks leaves no trace.
  pool.close();
  await pool.join();
  await site.empty();
  assertMatch(await ask(), /running\n\(none\)\n$/);
  await site.empty();
});

siteTest("multiprocessing-worker prints a line for all that happens", async (site) => {
  const daemon = await site.daemon();
  const pool = site.pool({ name: "Lines" });
  await pool.apply(tasks.square, [1]);
  pool.close();
  await pool.join();
  await daemon.prints(/left\n/);
  daemon.signal("SIGINT");
  assertEquals(await soon(daemon.ended), 0);
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /;
  const lines = daemon.output.trimEnd().split("\n").map((line) => {
    assertMatch(line, time);
    return line.replace(time, "").replace(/pool \w+-\w+/, "pool ID");
  });
  assertMatch(lines[0]!, /^ready: cluster default at \S+redis\.sock, 2 slots, root \S+$/);
  assertEquals(lines.slice(1), [
    "pool ID (Lines): joined, 2 at once",
    "pool ID (Lines): left",
    "SIGINT: finishing what runs",
  ]);
  assertEquals(daemon.errors, "");
});

// ── Over loopback

siteTest("a pool and its daemon meet over loopback, and tell a wrong password", async (site) => {
  const address = await site.redis.listen("s/ecret");
  const daemon = new Program(WORKER, ["--url", `redis://${address}/1`, "--root", ROOT]);
  site.daemons.push(daemon);
  await daemon.prints(/ready: cluster default at 127\.0\.0\.1:\d+,/);
  const right = new Pool({ backend: cluster(`redis://${address}/1`, { root: ROOT }) });
  assertEquals(await right.map(tasks.square, [1, 2, 3]), [1, 4, 9]);
  await right.terminate();

  const url = `redis://${address.replace("s%2Fecret", "wrong")}/1`;
  const wrong = new Pool({ backend: cluster(url, { root: ROOT }) });
  await assertRejects(() => wrong.apply(tasks.square, [1]), Error, "WRONGPASS");
  await wrong.terminate();
  const { code, errors } = await run(["--url", url]);
  assertEquals(code, 1);
  assertMatch(errors, /^multiprocessing-worker: cannot reach Redis at 127\.0\.0\.1:\d+: WRONGPASS/);
});
