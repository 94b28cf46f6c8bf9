/** What semaphores, conditions, barriers and read-write locks stand on: roster, identity and monitor. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertLess,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ProcessError } from "../errors.ts";
import { endProcess, newPid, ownPid } from "../memory/control.ts";
import { Attachments, identify, IDENTITY_WORDS } from "../memory/identity.ts";
import {
  Monitor,
  MONITOR_IDENTITY,
  type MonitorWait,
  newMonitor,
  OWN_WORDS,
} from "../memory/monitor.ts";
import { Roster } from "../memory/roster.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import { Event } from "../sync.ts";
import { isPending, run, SOON, soon, start, until } from "./fixtures/processes.ts";

const CAPACITY = 1000;

/** Words of each entry, besides the pid. */
const WORDS = 2;

/** A roster that begins behind five other words. */
function create(): { cells: Int32Array; roster: Roster } {
  const cells = new Int32Array(new SharedArrayBuffer(4 * (5 + Roster.size(WORDS))));
  return { cells, roster: new Roster(cells, 5, WORDS) };
}

function pids(roster: Roster): number[] {
  const found: number[] = [];
  for (let entry = roster.first; entry < roster.end; entry += roster.step) {
    found.push(roster.pidAt(entry));
  }
  return found;
}

/** A process that counts as alive until `die()`, without a thread. */
function alive(): { pid: number; die(): void } {
  const pid = newPid();
  return { pid, die: () => assert(endProcess(pid, 0, true)) };
}

/** Pids that count as dead, for no process ever had them. */
const dead = (i: number): number => 14_000 + i;

// -- Roster

test("Roster is empty at first, and finds nobody", () => {
  const { roster } = create();
  assertEquals(pids(roster), []);
  assertEquals(roster.find(ownPid), undefined);
  assertFalse(roster.hasLiving);
  roster.leave(ownPid);
  assertEquals(pids(roster), []);
});

test("Roster.own() enters this process once, with words of its own", () => {
  const { cells, roster } = create();
  const own = roster.own();
  assertEquals([roster.own(), roster.find(ownPid), roster.pidAt(own)], [own, own, ownPid]);
  assertEquals(pids(roster), [ownPid]);
  assertEquals([...cells.subarray(own + 1, own + 1 + WORDS)], [0, 0]);
  assert(roster.hasLiving);
  // Another object on the same words finds it too.
  assertEquals(new Roster(cells, 5, WORDS).own(), own);
});

test("Roster.own() enters this process anew after it has left", () => {
  const { roster } = create();
  const own = roster.own();
  roster.leave(ownPid);
  assertEquals([pids(roster), roster.find(ownPid), roster.hasLiving], [[0], undefined, false]);
  const other = alive();
  assertEquals(roster.enter(other.pid), own);
  const again = roster.own();
  assertNotStrictEquals(again, own);
  assertEquals(pids(roster), [other.pid, ownPid]);
  other.die();
});

test("Roster.enter() gives each process one entry, whoever enters it", () => {
  const { roster } = create();
  const others = [alive(), alive(), alive()];
  const entries = others.map(({ pid }) => roster.enter(pid));
  assertEquals(new Set(entries).size, 3);
  for (const [i, { pid }] of others.entries()) {
    assertEquals([roster.enter(pid), roster.find(pid)], [entries[i], entries[i]]);
  }
  assertEquals(pids(roster), others.map(({ pid }) => pid));
  others.forEach(({ die }) => die());
  assertFalse(roster.hasLiving);
});

test("Roster.enter() takes the place of the dead when nothing of theirs is left to settle", () => {
  const { cells, roster } = create();
  const [one, two, three, four] = [alive(), alive(), alive(), alive()];
  const [first, second] = [one, two].map(({ pid }) => roster.enter(pid)) as [number, number];
  cells[first + 1] = 7;
  cells[second + 2] = 8;
  one.die();
  two.die();
  assertFalse(roster.hasLiving);
  const third = roster.enter(three.pid);
  assertEquals(pids(roster), [one.pid, two.pid, three.pid]);
  cells[second + 2] = 0;
  assertEquals(roster.enter(four.pid), second);
  assertEquals(pids(roster), [one.pid, four.pid, three.pid]);
  assertEquals([roster.find(one.pid), roster.find(two.pid)], [first, undefined]);
  assertEquals(roster.find(three.pid), third);
  three.die();
  four.die();
});

test("Roster.enter() leaves the living where they are, though their words are zero", () => {
  const { roster } = create();
  const others = [alive(), alive()];
  others.forEach(({ pid }) => roster.enter(pid));
  roster.own();
  assertEquals(pids(roster), [...others.map(({ pid }) => pid), ownPid]);
  others.forEach(({ die }) => die());
});

test("Roster.enter() takes the place of a terminated process only when its thread is sure to have stopped", async () => {
  const { roster } = create();
  const pid = newPid();
  const entry = roster.enter(pid);
  assert(endProcess(pid, -15, false));
  const other = alive();
  assertNotStrictEquals(roster.enter(other.pid), entry);
  await until(() => roster.enter(alive().pid) === entry, "the place of the terminated");
});

test("Roster.enter() of more living processes than it has room for throws ProcessError", () => {
  const { roster } = create();
  const others = Array.from({ length: CAPACITY }, alive);
  for (const { pid } of others) roster.enter(pid);
  assertEquals(new Set(pids(roster)).size, CAPACITY);
  const error = assertThrows(() => roster.own(), ProcessError);
  assertEquals(
    error.message,
    "Cannot enter another process: more than 1000 living ones use it already",
  );
  assertThrows(() => roster.enter(alive().pid), ProcessError);
  others[500]!.die();
  assertEquals(roster.own(), roster.first + 500 * roster.step);
  roster.leave(others[7]!.pid);
  const last = alive();
  assertEquals(roster.enter(last.pid), roster.first + 7 * roster.step);
  assertThrows(() => roster.enter(alive().pid), ProcessError);
});

test("Roster has room for any number of processes that come and go", () => {
  const { roster } = create();
  for (let i = 0; i < 3 * CAPACITY; i++) roster.enter(dead(i));
  assertEquals(pids(roster).length, 1);
});

test("Roster.enter() goes on where one has died, or another acts, before any of its steps", () => {
  const table = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = ["load", "compareExchange"];
  for (const dies of [true, false]) {
    for (const settled of [0, 3]) {
      let more = true;
      let at = 0;
      for (; more; at++) {
        const { cells, roster } = create();
        for (let i = 0; i < settled; i++) roster.enter(dead(i));
        const [slow, fast] = [alive(), alive()];
        const originals = names.map((name) => table[name]!);
        const restore = () => names.forEach((name, i) => table[name] = originals[i]!);
        more = false;
        let steps = 0;
        names.forEach((name, i) => {
          table[name] = (...args) => {
            if (steps++ === at) {
              restore();
              more = true;
              if (dies) throw new Event();
              new Roster(cells, 5, WORDS).enter(fast.pid);
            }
            return originals[i]!.apply(Atomics, args);
          };
        });
        try {
          roster.enter(slow.pid);
        } catch (error) {
          assert(error instanceof Event, String(error));
          slow.die();
        } finally {
          restore();
        }
        const entry = roster.enter(fast.pid);
        const message = `step ${at}: ${pids(roster)}`;
        assertEquals(roster.find(fast.pid), entry, message);
        assertEquals(pids(roster).filter((pid) => pid === fast.pid).length, 1, message);
        if (!dies) assert(roster.find(slow.pid) !== undefined, message);
        assertEquals(pids(roster).filter((pid) => pid === slow.pid).length > 1, false, message);
        assertLess(pids(roster).length, 5, message);
        // Places that were left half-taken are found again.
        const entered = roster.enter(alive().pid);
        assertLess(entered, roster.first + 5 * roster.step, message);
        fast.die();
      }
      assertGreaterOrEqual(at, 5);
    }
  }
});

test("Roster.enter() of several processes at once gives each an entry of its own", async () => {
  const count = 4;
  const rounds = 40;
  const size = Roster.size(WORDS);
  // Each round in other words: who has a place keeps it.
  const cells = new Int32Array(new SharedArrayBuffer(4 * size * rounds));
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const found = new Int32Array(new SharedArrayBuffer(4 * count * rounds));
  const roster = new URL("../memory/roster.ts", import.meta.url).href;
  const scope = { roster, count, rounds, size, words: WORDS, cells, gate, found };
  const children = Array.from({ length: count }, (_, id) =>
    start(
      async () => {
        const { Roster } = await import(roster);
        // After the last round too: the place of one who has ended may be taken.
        for (let round = 0; round <= rounds; round++) {
          const arrived = Atomics.add(gate, 0, 1) + 1;
          const all = count * (round + 1);
          if (arrived === all) Atomics.notify(gate, 0);
          for (let seen; (seen = Atomics.load(gate, 0)) < all;) Atomics.wait(gate, 0, seen);
          if (round === rounds) return;
          found[round * count + id] = new Roster(cells, round * size, words).own();
        }
      },
      { ...scope, id },
    ));
  for (const child of children) {
    assert(await child.join({ timeout: SOON }));
    assertEquals(child.exitCode, 0);
  }
  for (let round = 0; round < rounds; round++) {
    const entries = [...found.subarray(round * count, (round + 1) * count)];
    assertEquals(new Set(entries).size, count, `round ${round}: ${entries}`);
    const step = 1 + WORDS;
    const first = new Roster(cells, round * size, WORDS).first;
    assertEquals(entries.sort((a, b) => a - b), entries.map((_, i) => first + i * step));
  }
});

declare const words: number;

// -- Identity

test("Attachments.get() gives one object for the same memory, however often its buffer comes", () => {
  const attachments = new Attachments<object>();
  const blocks = [1, 2].map(() => {
    const cells = new Int32Array(new SharedArrayBuffer(32));
    identify(cells, 3);
    return cells;
  });
  const [one, two] = blocks.map((cells) => attachments.get(cells, 3, () => ({ cells })));
  assertNotStrictEquals(one, two);
  const copy = new Int32Array(blocks[0]!.buffer);
  const never = () => {
    throw new Error("made twice");
  };
  assertStrictEquals(attachments.get(copy, 3, never), one);
  assertStrictEquals(attachments.get(blocks[1]!, 3, never), two);
  // As it comes back from another process.
  const crossed = structuredClone(blocks[0]!);
  assertNotStrictEquals(crossed, blocks[0]!);
  assertStrictEquals(attachments.get(crossed, 3, never), one);
  // Each class has objects of its own.
  assertNotStrictEquals(new Attachments<object>().get(copy, 3, () => ({})), one);
});

test("identify() tells blocks of all processes apart", async () => {
  const url = new URL("../memory/identity.ts", import.meta.url).href;
  const make = async (): Promise<string[]> => {
    const { identify, IDENTITY_WORDS } = await import(url);
    return [1, 2, 3].map(() => {
      const cells = new Int32Array(new SharedArrayBuffer(4 * IDENTITY_WORDS));
      identify(cells, 0);
      return cells.join();
    });
  };
  const here = [1, 2, 3].map(() => {
    const cells = new Int32Array(new SharedArrayBuffer(4 * IDENTITY_WORDS));
    identify(cells, 0);
    return cells.join();
  });
  const all = [...here, ...await run(make, { url }), ...await run(make, { url })];
  assertEquals(new Set(all).size, 9);
});

// -- Monitor

/** A number of tokens: as little as a monitor can be. */
class Tokens extends Monitor {
  static attach(cells: Int32Array): Tokens {
    return new Tokens(cells);
  }

  get count(): number {
    return this.cells[OWN_WORDS]!;
  }

  take(): MonitorWait<true> {
    return this.when(() => {
      if (this.count === 0) return PENDING;
      Atomics.sub(this.cells, OWN_WORDS, 1);
      return true;
    });
  }

  give(n: number, count?: number): void {
    this.inTurn(() => {
      Atomics.add(this.cells, OWN_WORDS, n);
      this.announce(count);
    });
  }

  fail(): void {
    this.inTurn(() => {
      throw new Error("amid a turn");
    });
  }
}

const LOCK = 0;
const ASLEEP = 2;

test("Monitor ends its turn, whether what is done in it returns or throws", () => {
  const tokens = Tokens.attach(newMonitor(1));
  assertThrows(() => tokens.fail(), Error, "amid a turn");
  assertEquals(tokens.cells[LOCK], 0);
  tokens.give(1);
  assertEquals([tokens.cells[LOCK], tokens.count], [0, 1]);
  assertEquals(waitSync(tokens.take(), 0), true);
  assertEquals(waitSync(tokens.take(), 0), PENDING);
  assertEquals([tokens.cells[LOCK], tokens.count], [0, 0]);
});

test("Monitor has an identity, and no more words than it was asked for", () => {
  const cells = newMonitor(3);
  assertEquals(cells.length, OWN_WORDS + 3);
  assertEquals(cells[MONITOR_IDENTITY], ownPid);
  assertStrictEquals(Tokens.attach(cells).buffer, cells.buffer);
});

test("Monitor counts nobody as asleep when all have been woken or given up", async () => {
  const tokens = Tokens.attach(newMonitor(1));
  assertEquals(waitSync(tokens.take(), 5), PENDING);
  const controller = new AbortController();
  const { signal } = controller;
  const waits = Array.from({ length: 5 }, (_, i) => {
    return tokens.line.wait(tokens.take(), i === 0 ? 10 : Infinity, signal);
  });
  assertEquals(await waits[0], PENDING);
  await until(() => tokens.cells[ASLEEP] === 1, "one asleep for all");
  tokens.give(2);
  assertEquals(await soon(Promise.all(waits.slice(1, 3))), [true, true]);
  const rest = Promise.allSettled(waits.slice(3));
  controller.abort();
  assertEquals((await rest).map(({ status }) => status), ["rejected", "rejected"]);
  await until(() => tokens.cells[ASLEEP] === 0, "nobody asleep");
  assertEquals([tokens.cells[LOCK], tokens.count], [0, 0]);
});

test("Monitor's wake-up that meets one who gave up is passed on to another who waits", async () => {
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const cells = newMonitor(1);
    // Two objects, as of two processes: each has a line of its own.
    const [early, late] = [Tokens.attach(cells), Tokens.attach(cells)];
    const controller = new AbortController();
    const first = early.line.wait(early.take(), Infinity, controller.signal);
    const gaveUp = first.then(() => false, () => true);
    await until(() => cells[ASLEEP] === 1, "the first");
    const second = late.line.wait(late.take());
    await until(() => cells[ASLEEP] === 2, "the second");
    assert(await isPending(second, 5));
    late.give(1, 1);
    controller.abort();
    const began = performance.now();
    assertEquals(await soon(second), true);
    times.push(performance.now() - began);
    assert(await gaveUp);
    await until(() => cells[ASLEEP] === 0, "nobody asleep");
  }
  // Not by a slice of 250 ms.
  assertLess(times.sort((a, b) => a - b)[3]!, 120);
});

test("Monitor loses no token among waiters that come, give up and are woken one by one", async () => {
  const cells = newMonitor(1);
  const monitors = [1, 2, 3].map(() => Tokens.attach(cells));
  let taken = 0;
  const waiting: Promise<void>[] = [];
  for (let i = 0; i < 300; i++) {
    const tokens = monitors[i % 3]!;
    const timeout = i % 4 === 0 ? 1 + i % 7 : Infinity;
    waiting.push(
      tokens.line.wait(tokens.take(), timeout).then((outcome) => {
        if (outcome === true) taken++;
        else assertEquals(timeout < Infinity, true);
      }),
    );
    if (i % 3 === 2) monitors[(i + 1) % 3]!.give(3, 3);
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await soon(Promise.all(waiting));
  assertEquals(taken + monitors[0]!.count, 300);
});
