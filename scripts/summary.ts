/**
 * Reads how many tests passed and failed from what the runners print.
 *
 * @module
 */

import type { Outcome } from "./spawn.ts";
import type { RuntimeName } from "./runtimes.ts";

/** The numbers of tests in one file. */
export interface Counts {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed, and one for a file that did not end as it should. */
  failed: number;
  /** Tests that were left out. */
  skipped: number;
}

/** The last number that the pattern's first group finds: a test may print alike lines before. */
function last(output: string, pattern: RegExp): number {
  return Number([...output.matchAll(pattern)].at(-1)?.[1] ?? 0);
}

function readDeno(output: string): Counts {
  // ok | 9 passed (3 steps) | 0 failed | 1 ignored (29ms)
  const line = output.match(/^(?:ok|FAILED) \| \d+ passed.*$/gm)?.at(-1) ?? "";
  return {
    passed: last(line, /(\d+) passed/g),
    failed: last(line, /(\d+) failed/g),
    skipped: last(line, /(\d+) ignored/g),
  };
}

function readBun(output: string): Counts {
  //  9 pass\n 1 skip\n 1 todo\n 0 fail\n 1 error\nRan 11 tests across 1 file.
  return {
    passed: last(output, /^ *(\d+) pass$/gm),
    failed: last(output, /^ *(\d+) fail$/gm) + last(output, /^ *(\d+) errors?$/gm),
    skipped: last(output, /^ *(\d+) skip$/gm) + last(output, /^ *(\d+) todo$/gm),
  };
}

function readNode(output: string): Counts {
  // # tests 9\n# suites 0\n# pass 9\n# fail 0\n# cancelled 0\n# skipped 0\n# todo 0
  const count = (name: string) => last(output, new RegExp(`^# ${name} (\\d+)$`, "gm"));
  return {
    passed: count("pass"),
    failed: count("fail") + count("cancelled"),
    skipped: count("skipped") + count("todo"),
  };
}

/**
 * The counts of one test file, and what is wrong with it as a whole, if anything is. A file that was
 * killed, ended with an error of its own, or ran no test has failed, whatever its tests say.
 */
export function readCounts(
  name: RuntimeName,
  outcome: Outcome,
): { counts: Counts; problem?: string } {
  const read = name === "deno" ? readDeno : name === "bun" ? readBun : readNode;
  const counts = read(outcome.output);
  const fail = (problem: string) => ({
    counts: { ...counts, failed: counts.failed + 1 },
    problem,
  });
  if (outcome.timedOut) return fail("did not end in time: a test hangs, or a worker was left over");
  if (counts.passed + counts.failed + counts.skipped === 0) {
    return fail(
      `no tests ran in this file, or it ended before their sum, with code ${outcome.code}`,
    );
  }
  // Printed by deno_preload.ts, since Deno counts such a file as passed.
  if (/^uncaught in the test file:/m.test(outcome.output)) return fail("has an uncaught error");
  if (outcome.code !== 0 && counts.failed === 0) return fail(`ended with code ${outcome.code}`);
  if (outcome.code === 0 && counts.failed > 0) return { counts, problem: "failed with code 0" };
  return counts.failed > 0 ? { counts, problem: "has failed tests" } : { counts };
}
