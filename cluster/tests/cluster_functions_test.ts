/** The functions of a pool on a cluster: which are found, and which are refused. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Queue as JobQueue, QueueEvents } from "bullmq";
import { encodeValue } from "@multiprocessing/core/backend";
import { EncodingError, TargetError } from "@multiprocessing/core/errors";
import { Lock } from "@multiprocessing/core/sync";
import { closure, type Target } from "@multiprocessing/core/target";
import { ROOT } from "../../scripts/runtimes.ts";
import { ModuleMismatchError } from "../mod.ts";
import { Names } from "../wire/names.ts";
import { Server } from "../wire/server.ts";
import { readFile, sha256, toBase64 } from "../runtime/host.ts";
import { range, sharedSite } from "./fixtures/site.ts";
import * as tasks from "./fixtures/tasks.ts";

const TASKS = new URL("./fixtures/tasks.ts", import.meta.url).href;

/** An export, by its name. */
function exported<A extends unknown[], R>(name: string, module: string | URL = TASKS) {
  return { module, name } as Target<A, R>;
}

/** Two daemons of two slots. */
const clusterTest = sharedSite((site) => Promise.all([site.daemon(), site.daemon()]));

// ── Functions

clusterTest("Pool on a cluster finds functions by module and name", async (site) => {
  const pool = site.pool();
  assertEquals(await pool.apply(exported<[number], number>("triple"), [4]), 12);
  assertEquals(await pool.map(exported<[number], number>("triple", new URL(TASKS)), [1, 2]), [
    3,
    6,
  ]);
  await assertRejects(() => pool.apply(exported("absent"), []), TargetError, "absent");
  await assertRejects(() => pool.apply(exported("notAFunction"), []), TargetError);
  const outside = pathToFileURL(join(tmpdir(), "elsewhere.ts")).href;
  writeFileSync(new URL(outside), "export const f = () => 1;\n");
  try {
    const error = await assertRejects(() => pool.apply(exported("f", outside), []), TargetError);
    assertStringIncludes(error.message, `not under the root, ${ROOT}`);
  } finally {
    rmSync(new URL(outside));
  }
  await assertRejects(() => pool.apply(exported("f", "data:text/javascript,"), []), TargetError);
  await assertRejects(
    () => pool.apply(exported("f", new URL("./none.ts", import.meta.url)), []),
    TargetError,
    "none.ts",
  );
});

clusterTest(
  "Pool on a cluster runs functions that come as text only where that is allowed",
  async (site) => {
    const increment = (n: number) => n + 1;
    const error = await assertRejects(() => site.pool().apply(increment, [1]), ModuleMismatchError);
    assertStringIncludes(error.message, "--allow-code");
    await assertRejects(() => site.pool().map(increment, [1, 2]), ModuleMismatchError);
    const open = site.other("code");
    await open.daemon(["--allow-code"]);
    const pool = open.pool();
    assertEquals(await pool.apply(increment, [1]), 2);
    assertEquals(await pool.map(increment, range(10)), range(10).map(increment));
    const factor = 5;
    const scaled = closure((n: number) => increment(n) * factor, { increment, factor });
    assertEquals(await pool.map(scaled, [1, 2, 3]), [10, 15, 20]);
    const failing = (n: number) => {
      if (n > 0) throw new RangeError(`${n} is positive`);
    };
    await assertRejects(() => pool.map(failing, [0, 1]), RangeError, "1 is positive");
    const lock = new Lock();
    const locked = closure(() => lock.locked(), { lock });
    const refusal = await assertRejects(() => pool.apply(locked, []), EncodingError, "scope");
    assertStringIncludes(refusal.message, "use Lock of @multiprocessing/cluster");
    const captured = factor;
    await assertRejects(() => pool.apply(() => captured, []), TargetError, "captured");
  },
);

/** Two folders with a few modules; gone when `body` has ended. */
async function withFolders(body: (client: string, daemon: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mp-roots-"));
  const [client, daemon] = [join(folder, "client"), join(folder, "daemon")];
  for (const root of [client, daemon]) mkdirSync(root);
  try {
    await body(client, daemon);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

clusterTest(
  "Pool on a cluster runs a function only where its file is the client's",
  async (site) => {
    await withFolders(async (client, daemon) => {
      const text = "export const next = (n) => n + 1;\n";
      mkdirSync(join(client, "deep"));
      mkdirSync(join(daemon, "deep"));
      for (const file of ["same.mjs", "changed.mjs", "missing.mjs", "deep/a b#%41.mjs"]) {
        writeFileSync(join(client, file), text);
        if (file !== "missing.mjs") {
          writeFileSync(join(daemon, file), file === "changed.mjs" ? `${text}// later\n` : text);
        }
      }
      const other = site.other("roots");
      await other.daemon(["--root", daemon]);
      const pool = other.pool({}, { root: client });
      const next = (file: string) =>
        exported<[number], number>("next", pathToFileURL(join(client, file)));
      assertEquals(await pool.apply(next("same.mjs"), [1]), 2);
      assertEquals(await pool.apply(next("deep/a b#%41.mjs"), [2]), 3);
      const changed = await assertRejects(
        () => pool.apply(next("changed.mjs"), [1]),
        ModuleMismatchError,
        "changed.mjs",
      );
      assertStringIncludes(changed.message, "another than the client's");
      await assertRejects(() => pool.map(next("changed.mjs"), [1, 2]), ModuleMismatchError);
      await assertRejects(
        () => pool.apply(next("missing.mjs"), [1]),
        ModuleMismatchError,
        "there is no missing.mjs",
      );
      // Mended on the daemon's side, as long as nothing of it was imported.
      writeFileSync(join(daemon, "changed.mjs"), text);
      assertEquals(await pool.apply(next("changed.mjs"), [1]), 2);
      await assertRejects(() => pool.apply(tasks.square, [1]), TargetError, "not under the root");
    });
  },
);

clusterTest(
  "a daemon imports nothing from outside of its root, whatever Redis says",
  async (site) => {
    await withFolders(async (outside, root) => {
      const evil = join(outside, "evil.mjs");
      const proof = join(outside, "proof");
      writeFileSync(
        evil,
        `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(proof)}, "");\n` +
          "export const f = () => 1;\n",
      );
      const good = join(root, "good.mjs");
      writeFileSync(good, "export const f = () => 2;\n");
      symlinkSync(evil, join(root, "link.mjs"));
      symlinkSync(outside, join(root, "folder"));
      symlinkSync(good, join(root, "alias.mjs"));
      const other = site.other("forged");
      await other.daemon(["--root", root]);
      const pool = other.pool({}, { root });
      await pool.apply(exported("f", pathToFileURL(good)), []);

      const names = new Names("forged");
      const [id] = await site.redis.client.hkeys(names.pools) as [string];
      const [evilHash, goodHash] = [evil, good].map((file) => sha256(readFile(file))) as [
        string,
        string,
      ];
      const connection = new Server(site.redis.url).options;
      const queue = new JobQueue(names.queue(id), { connection, prefix: names.bull });
      const events = new QueueEvents(names.queue(id), { connection, prefix: names.bull });
      try {
        await events.waitUntilReady();
        let made = 0;
        const forge = async (path: string, hash: string, name = "f") => {
          const key = `forged-${++made}`;
          const record = { kind: "module", path, hash, name, task: false };
          await site.redis.client.hset(names.functions(id), key, JSON.stringify(record));
          const input = { b: toBase64(encodeValue([], "args")) };
          const job = await queue.add("job", { f: key, m: "call", i: input }, { jobId: key });
          return await job.waitUntilFinished(events) as Record<string, unknown>;
        };
        assert("v" in await forge("good.mjs", goodHash));
        for (
          const path of [
            "../client/evil.mjs",
            "folder/../../client/evil.mjs",
            "folder/evil.mjs",
            "link.mjs",
            evil,
            `/${evil}`,
            pathToFileURL(evil).href,
            "..",
            ".",
            "",
          ]
        ) {
          assertMatch(
            `${(await forge(path, evilHash)).r}`,
            /^Cannot run on .*(not under|there is no)/,
          );
        }
        // Only by its own name.
        for (const path of ["./good.mjs", "alias.mjs", "folder/../good.mjs", "good.mjs\0"]) {
          assert("r" in await forge(path, goodHash), path);
        }
        for (const name of ["constructor", "__proto__", "default", ""]) {
          assert("e" in await forge("good.mjs", goodHash, name), name);
        }
        assert("r" in await forge("good.mjs", evilHash));
        assertFalse(existsSync(proof));
      } finally {
        await Promise.all([events.close(), queue.close()]);
      }
      assertGreater(pool.size, 0);
    });
  },
);
