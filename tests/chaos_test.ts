/** Chaos: trees of processes that share one thing of each kind, and die anywhere. See chaos/round.ts. */

import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { current, ROOT } from "../scripts/runtimes.ts";
import { capture } from "../scripts/spawn.ts";

const PROGRAM = join(ROOT, "tests/chaos/main.ts");

/** Minutes, members, processes that live for a moment, and how often there is a pool. */
const SIZE = ["10", "4", "3", "0.4"];

/** Rounds take seconds, on a busy machine too. */
const DEADLINE = 100_000;

interface Line {
  seed?: number;
  deaths: number;
  violations: string[];
}

/** Runs so many rounds, from a seed on, in a program of their own. */
async function assertNoViolation(seed: number, rounds: number): Promise<void> {
  const { name, command } = current();
  const { output, code, timedOut } = await capture(
    [...command, PROGRAM, String(seed), String(rounds), ...SIZE],
    DEADLINE,
  );
  const again = `npm run soak -- --runtime=${name} --seed=${seed} --rounds=${rounds}\n${output}`;
  assert(!timedOut && code === 0, `ended with ${timedOut ? "nothing" : code}; again: ${again}`);
  // Members print their errors in between, and may leave a line unfinished.
  const lines = output.match(/^\{"seed":.*\}$/gm)?.map((line): Line => JSON.parse(line)) ?? [];
  assertEquals(lines.length, rounds, again);
  assertEquals(lines.flatMap(({ violations }) => violations), [], again);
  assert(lines.every(({ deaths }) => deaths > 0), again);
}

test("Chaos of seeds 1 to 3: members that die break none of the promises of what they share", async () => {
  await assertNoViolation(1, 3);
});

test("Chaos of a random seed breaks none either", async () => {
  await assertNoViolation(Math.floor(Math.random() * 1e9), 2);
});
