/** Backlog: it is an array of jobs, whatever their sizes. */

import { test } from "node:test";
import { assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import type { Item } from "../memory/ring.ts";
import { NO_SOURCES } from "../wire/pool/caller.ts";
import { Backlog } from "../wire/pool/backlog.ts";
import type { Definition } from "../wire/pool/definitions.ts";
import type { Job } from "../wire/pool/job.ts";

const SEED = 20261122;
const PAGE_BYTES = 64 * 1024;

/** What a page is left with by one entry of so many bytes is 0, or not enough for another. */
const BORDERS = [-16, -13, -12, -11, -8, -4, -3, -1, 0, 1, 4, 12].map((d) => PAGE_BYTES - 12 + d);

interface Entry {
  job: Job;
  definition: Definition;
  length: number;
  seed: number;
}

/** Nothing of a job matters here. */
function newJob(): Job {
  return () => {};
}

function newDefinition(index: number): Definition {
  return { index, packed: undefined as never, key: index, sources: NO_SOURCES, users: 0 };
}

/** Bytes that say where they stand, and whose they are. */
function fill(bytes: Uint8Array, seed: number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 31) + seed;
  return bytes;
}

/** A backlog, and an array that does the same. */
class Pair {
  readonly backlog = new Backlog();
  readonly entries: Entry[] = [];
  readonly definitions = [newDefinition(0), newDefinition(1), newDefinition(2)];
  #seed = 0;
  // The caller's own, and longer than what it holds.
  readonly #item: Item = { bytes: new Uint8Array(256 * 1024), length: 0, tag: 0, a: 0, b: 0 };

  push(length: number): void {
    const seed = ++this.#seed;
    const item = this.#item;
    fill(item.bytes.subarray(0, length), seed);
    item.bytes.fill(0xee, length, length + 16);
    Object.assign(item, { length, tag: -seed, b: seed * 3 });
    const definition = this.definitions[seed % 3]!;
    const job = newJob();
    this.backlog.push(job, definition, item);
    this.entries.push({ job, definition, length, seed });
    item.bytes.fill(0, 0, length);
  }

  shift(): void {
    this.check();
    assertStrictEquals(this.backlog.shift(), this.entries.shift()?.job);
  }

  /** What comes first is whole, and nothing is missing. */
  check(): void {
    const { backlog, entries, definitions } = this;
    assertStrictEquals(backlog.length, entries.length);
    const first = entries[0];
    assertStrictEquals(backlog.first, first?.job);
    const users = definitions.map((one) => entries.filter((entry) => entry.definition === one));
    assertEquals(definitions.map((one) => one.users), users.map(({ length }) => length));
    if (first === undefined) return;
    assertStrictEquals(backlog.definition, first.definition);
    const item = backlog.item();
    assertEquals([item.length, item.tag, item.b], [first.length, -first.seed, first.seed * 3]);
    const wanted = fill(new Uint8Array(first.length), first.seed);
    const wrong = wanted.findIndex((byte, i) => byte !== item.bytes[i]);
    assertStrictEquals(wrong, -1, `byte ${wrong} of ${first.length}`);
  }

  drain(): void {
    while (this.entries.length > 0) this.shift();
    this.shift();
    this.check();
  }
}

test("Backlog is an array of jobs, of all sizes, whatever comes and goes in between", () => {
  const length = fc.oneof(
    { weight: 6, arbitrary: fc.nat(130) },
    { weight: 2, arbitrary: fc.nat(20_000) },
    { weight: 1, arbitrary: fc.nat(200_000) },
    { weight: 2, arbitrary: fc.constantFrom(...BORDERS) },
  );
  const step = fc.oneof(
    { weight: 3, arbitrary: length },
    { weight: 2, arbitrary: fc.constant("shift" as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pair = new Pair();
      for (const one of steps) one === "shift" ? pair.shift() : pair.push(one);
      pair.drain();
      // It is as good as new.
      pair.push(5);
      pair.drain();
    }),
    { seed: SEED, numRuns: 150, endOnFailure: true },
  );
});

test("Backlog keeps what lies at the border of a page, before it and behind it", () => {
  for (const length of BORDERS) {
    for (const second of [0, 1, ...BORDERS]) {
      const pair = new Pair();
      for (const one of [length, second, 3, length]) pair.push(one);
      pair.shift();
      pair.push(0);
      pair.drain();
    }
  }
});

test("Backlog fills a page to its last byte", () => {
  // Entries of 64 bytes: 1,024 a page.
  const pair = new Pair();
  for (let i = 0; i < 1_024 * 2 + 1; i++) pair.push(52);
  for (let i = 0; i < 1_024; i++) {
    assertStrictEquals(pair.backlog.shift(), pair.entries.shift()!.job);
  }
  pair.check();
  for (let i = 0; i < 1_024; i++) {
    assertStrictEquals(pair.backlog.shift(), pair.entries.shift()!.job);
  }
  pair.drain();
});

test("Backlog.item() of a large item outlives its shift() and what is pushed behind it", () => {
  const pair = new Pair();
  pair.push(1_000);
  const kept = { ...pair.backlog.item() };
  pair.shift();
  for (let i = 0; i < 200; i++) pair.push(1_000);
  assertEquals(kept.bytes.subarray(0, 1_000), fill(new Uint8Array(1_000), 1));
  pair.drain();
});
