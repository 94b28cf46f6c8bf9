/** The daemon's program: its command line, what it prints, how it is stopped. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { Pool } from "@multiprocessing/core/pool";
import { current, ROOT } from "../../scripts/runtimes.ts";
import { cluster } from "../mod.ts";
import { Program, WORKER } from "./fixtures/program.ts";
import { kept, siteTest, soon, until } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";
import { Way } from "./fixtures/way.ts";

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

// ── Stopped

siteTest("multiprocessing-worker finishes what runs when it is stopped", async (site) => {
  const daemon = await site.daemon();
  const at = site.cluster();
  const pool = site.pool({}, { lossRetries: 0 });
  const running = pool.apply(tasks.hold, ["finish"]);
  await at.event("finish begun").wait();
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM: finishing what runs\n/);
  const next = await site.daemon();
  // It takes no more; another does.
  const places = await pool.map(tasks.whereAmI, [1, 1, 1, 1], { chunkSize: 1 });
  assertEquals([...new Set(places.map(({ daemon }) => daemon))], [next.pid]);
  await at.event("finish go").set();
  assertEquals(await running, "finish");
  assertEquals(await soon(daemon.ended), 0);
  assertEquals([await at.value("finish begins").get(), await at.value("finish ends").get()], [
    1,
    1,
  ]);
});

siteTest(
  "multiprocessing-worker ends at once when it is stopped with nothing to do",
  async (site) => {
    const [fresh, used] = await Promise.all([site.daemon(), site.other("used").daemon()]);
    const pool = site.other("used").pool();
    await pool.apply(tasks.square, [1]);
    const start = performance.now();
    for (const daemon of [fresh, used]) daemon.signal("SIGTERM");
    assertEquals(await soon(Promise.all([fresh.ended, used.ended])), [0, 0]);
    assertLess(performance.now() - start, 15_000);
  },
);

siteTest("multiprocessing-worker gives back what takes longer than --grace", async (site) => {
  const daemon = await site.daemon(["--grace", "300"]);
  const at = site.cluster();
  // Given back is not lost.
  const pool = site.pool({}, { lossRetries: 0 });
  const calls = ["g1", "g2"].map((name) => pool.apply(tasks.hold, [name]));
  for (const name of ["g1", "g2"]) await at.event(`${name} begun`).wait();
  daemon.signal("SIGTERM");
  assertEquals(await soon(daemon.ended), 0);
  for (const name of ["g1", "g2"]) {
    assertEquals(await at.value(`${name} ends`).get(), 0);
    await at.event(`${name} begun`).clear();
  }
  await site.daemon();
  for (const name of ["g1", "g2"]) {
    await at.event(`${name} begun`).wait();
    await at.event(`${name} go`).set();
  }
  assertEquals(await Promise.all(calls), ["g1", "g2"]);
  for (const name of ["g1", "g2"]) {
    assertEquals(await at.value(`${name} begins`).get(), 2);
    assertEquals(await at.value(`${name} ends`).get(), 1);
  }
  assertEquals(pool.stats().completed, 2);
});

siteTest(
  "multiprocessing-worker gives back the chunks of a map, which loses nothing",
  async (site) => {
    const daemon = await site.daemon(["--grace", "0"]);
    const pool = site.pool({}, { lossRetries: 0 });
    const items = Array.from({ length: 40 }, (_, item) => ({ item, counter: "steps", ms: 20 }));
    const map = pool.map(tasks.step, items, { chunkSize: 4 });
    const at = site.cluster();
    await until(async () => await at.value("steps").get() >= 6, "begin");
    const next = await site.daemon();
    daemon.signal("SIGTERM");
    assertEquals(await soon(daemon.ended), 0);
    assertEquals(await map, items.map(({ item }) => item));
    const steps = await at.value("steps").get();
    assertGreater(steps, 39);
    assertLess(steps, 49);
    assertEquals((await pool.apply(tasks.whereAmI, [0])).daemon, next.pid);
  },
);

siteTest("multiprocessing-worker gives all back at the second signal", async (site) => {
  const daemon = await site.daemon(["--grace", "600000"]);
  const at = site.cluster();
  const pool = site.pool({}, { lossRetries: 0 });
  const call = pool.apply(tasks.hold, ["second"]);
  await at.event("second begun").wait();
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM: finishing what runs\n/);
  daemon.signal("SIGTERM");
  assertEquals(await soon(daemon.ended), 0);
  assertMatch(daemon.output, /SIGTERM: giving back what runs\n/);
  await at.event("second go").set();
  await site.daemon();
  assertEquals(await call, "second");
  assertEquals(await at.value("second ends").get(), 1);
});

/** Its exit code, or that it runs on. */
async function endOf(daemon: Program): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => timer = setTimeout(resolve, 30_000, "it runs on"));
  try {
    return await Promise.race([daemon.ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

siteTest("a daemon that gets SIGTERM ends while Redis is away", async (site) => {
  const daemon = await site.daemon(["--grace", "500"]);
  await site.redis.kill();
  await new Promise((resolve) => setTimeout(resolve, 500));
  daemon.signal("SIGTERM");
  assertEquals(await endOf(daemon), 0);
});

siteTest("a daemon that gets SIGTERM amid work ends while Redis is away", async (site) => {
  const daemon = await site.daemon(["--grace", "500"]);
  const pool = site.pool({}, { patience: 1_000 });
  for (const ms of [3_000, 60_000]) kept(pool.apply(tasks.nap, [ms]));
  await until(() => pool.stats().running === 2, "work");
  daemon.signal("SIGTERM");
  await daemon.prints(/SIGTERM/);
  await site.redis.kill();
  assertEquals(await endOf(daemon), 0);
});

siteTest("a daemon works though a record of a pool is nonsense", async (site) => {
  await site.redis.client.hset("mp:{default}:pools", "x", "nonsense", "y", '{"slots":0}');
  await site.redis.client.mset("mp:{default}:lease:x", "alive", "mp:{default}:lease:y", "alive");
  await site.daemon();
  assertEquals(await soon(site.pool().apply(tasks.square, [3])), 9);
});

siteTest("a daemon without grace gives back a job that it was about to begin", async (site) => {
  const way = await Way.open(site);
  try {
    const daemon = await site.daemon(["--url", way.url, "--grace", "0"]);
    const pool = site.pool({}, { lease: 10_000, waitForWorkers: 60_000 });
    way.delay = 1_000;
    kept(pool.apply(tasks.nap, [55_000]));
    await until(() => pool.stats().running === 1, "the job");
    // It hears of the job after a second, and of the function after two.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    daemon.signal("SIGTERM");
    assertEquals(await endOf(daemon), 0);
  } finally {
    way.close();
  }
});

siteTest("a daemon leaves connections that have fallen silent", async (site) => {
  const way = await Way.open(site);
  try {
    await site.daemon(["--url", way.url]);
    const pool = site.pool({}, { lease: 60_000, waitForWorkers: 60_000 });
    await pool.apply(tasks.square, [1]);
    way.silence();
    const controller = new AbortController();
    const { signal } = controller;
    const call = kept(pool.apply(tasks.endWhenTold, ["silent"], { signal, grace: 60_000 }));
    const at = site.cluster();
    assert(await at.event("silent begun").wait({ timeout: 50_000 }));
    controller.abort();
    await assertRejects(() => call);
    assert(await at.event("silent told").wait({ timeout: 50_000 }));
  } finally {
    way.close();
  }
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
