/** JobTable: it is a map of jobs by number, and the numbers are good for shared memory. */

import { test } from "node:test";
import { assert, assertEquals, assertFalse, assertLess, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { WATCHED_TASKS } from "../memory/lease.ts";
import { NO_SOURCES } from "../wire/pool/caller.ts";
import type { Definition } from "../wire/pool/definitions.ts";
import type { Job } from "../wire/pool/job.ts";
import { JobTable } from "../wire/pool/job_table.ts";

const SEED = 20261122;

function newJob(watched: boolean): Job {
  return {
    mode: "call",
    watch: watched ? { timeout: Infinity, grace: 0, giveBack: undefined, task: 0 } : undefined,
    first: 0,
    mark: undefined,
    resolve() {},
    reject() {},
  };
}

function newDefinition(index: number): Definition {
  return { index, packed: undefined as never, key: index, sources: NO_SOURCES, users: 0 };
}

const slotOf = (number: number) => number & (2 ** 20 - 1);

/** A table, and a map that does the same. */
class Pair {
  readonly table = new JobTable();
  readonly jobs = new Map<number, { job: Job; definition: Definition }>();
  readonly definitions = [newDefinition(0), newDefinition(1)];
  /** Numbers that have been given, the last of each slot. */
  readonly given = new Map<number, number>();

  add(watched: boolean, index: number): number {
    const [job, definition] = [newJob(watched), this.definitions[index]!];
    const number = this.table.add(job, definition);
    assert(Number.isInteger(number) && number > 0 && number < 2 ** 31, `${number}`);
    assertFalse(this.jobs.has(number), `${number} is out already`);
    const slot = slotOf(number);
    assert(watched === slot < WATCHED_TASKS, `slot ${slot}`);
    for (const other of this.jobs.keys()) assert(slotOf(other) !== slot, `slot ${slot} is taken`);
    assert(this.given.get(slot) !== number, `${number} comes twice in a row`);
    this.given.set(slot, number);
    this.jobs.set(number, { job, definition });
    return number;
  }

  remove(number: number): void {
    const { job } = this.jobs.get(number) ?? {};
    assertStrictEquals(this.table.remove(number), job);
    this.jobs.delete(number);
    assertStrictEquals(this.table.remove(number), undefined);
  }

  replace(number: number): void {
    const job = newJob(false);
    this.table.replace(number, job);
    this.jobs.get(number)!.job = job;
  }

  check(): void {
    const { table, jobs, definitions, given } = this;
    assertStrictEquals(table.size, jobs.size);
    const ascending = (a: number, b: number) => a - b;
    assertEquals(table.numbers().sort(ascending), [...jobs.keys()].sort(ascending));
    for (const number of [0, -1, ...given.values()]) {
      assertStrictEquals(table.get(number), jobs.get(number)?.job);
      assertStrictEquals(table.definition(number), jobs.get(number)?.definition);
    }
    const users = definitions.map((one) =>
      [...jobs.values()].filter((of) => of.definition === one)
    );
    assertEquals(definitions.map((one) => one.users), users.map(({ length }) => length));
  }
}

test("JobTable is a map of jobs by number, whatever comes and goes", () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ add: fc.boolean(), definition: fc.nat(1) }) },
    { weight: 3, arbitrary: fc.record({ remove: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ replace: fc.nat() }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const pair = new Pair();
      const pick = (at: number) => [...pair.jobs.keys()][at % pair.jobs.size]!;
      for (const one of steps) {
        if ("add" in one) pair.add(one.add, one.definition);
        else if (pair.jobs.size === 0) continue;
        else if ("remove" in one) pair.remove(pick(one.remove));
        else pair.replace(pick(one.replace));
      }
      pair.check();
      for (const number of [...pair.jobs.keys()]) pair.remove(number);
      pair.check();
    }),
    { seed: SEED, numRuns: 100, endOnFailure: true },
  );
});

test("JobTable.add() gives 0 to what is watched once too many are, and to nothing else", () => {
  const table = new JobTable();
  const definition = newDefinition(0);
  const numbers = Array.from({ length: WATCHED_TASKS }, () => table.add(newJob(true), definition));
  assertStrictEquals(new Set(numbers.map(slotOf)).size, WATCHED_TASKS);
  for (const number of numbers) assertLess(slotOf(number), WATCHED_TASKS);
  for (let i = 0; i < 3; i++) assertStrictEquals(table.add(newJob(true), definition), 0);
  assertEquals([table.size, definition.users], [WATCHED_TASKS, WATCHED_TASKS]);
  const other = table.add(newJob(false), definition);
  assert(slotOf(other) >= WATCHED_TASKS);
  table.remove(numbers[77]!);
  const again = table.add(newJob(true), definition);
  assertEquals([slotOf(again), again === numbers[77]], [slotOf(numbers[77]!), false]);
  assertStrictEquals(table.add(newJob(true), definition), 0);
  for (const number of table.numbers()) table.remove(number);
  assertEquals([table.size, definition.users], [0, 0]);
});

for (const watched of [true, false]) {
  test(`JobTable gives a number of a slot again after 2,047 others: ${watched ? "" : "not "}watched`, () => {
    const table = new JobTable();
    const definition = newDefinition(0);
    const seen: number[] = [];
    for (let i = 0; i < 2_048; i++) {
      seen.push(table.add(newJob(watched), definition));
      table.remove(seen.at(-1)!);
    }
    assertStrictEquals(new Set(seen.map(slotOf)).size, 1);
    assertStrictEquals(new Set(seen).size, 2_047);
    assertStrictEquals(seen.at(-1), seen[0]);
  });
}
