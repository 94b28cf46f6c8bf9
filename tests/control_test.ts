/**
 * What lies beneath the locks: the control block, the mutex and its waiters, taken through states that
 * processes come to by chance only. A pid that nobody runs stands for a process; its words are written
 * as if by it.
 */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  checkAlive,
  doorbellRang,
  ended,
  endOf,
  endProcess,
  exitCodeOf,
  GRACE_MS,
  isAlive,
  isGone,
  KILLED,
  MAIN_PID,
  newPid,
  ownPid,
  ringDoorbell,
  TERMINATED,
} from "../memory/control.ts";
import { EventFlag } from "../memory/event_flag.ts";
import { ABANDONED, ACQUIRED, Mutex } from "../memory/mutex.ts";
import { RecursiveMutex } from "../memory/recursive_mutex.ts";
import { checkTimeout, checkWait, within } from "../memory/timeout.ts";
import { type Attempt, Line, PENDING, waitSync } from "../memory/wait.ts";
import { isPending, SOON, soon, until } from "./fixtures/processes.ts";

const FREE = 0;
const CONTENDED = 1;
const heldBy = (pid: number) => pid << 1;

function newCells(...words: number[]): Int32Array<SharedArrayBuffer> {
  const cells = new Int32Array(new SharedArrayBuffer(16));
  cells.set(words);
  return cells;
}

/** How many sleep on the word; wakes them. */
function sleepers(cells: Int32Array, index = 0): number {
  return Atomics.notify(cells, index);
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

// -- Control block

test("newPid() gives a pid that counts as alive until endProcess()", () => {
  assertEquals([ownPid, MAIN_PID, isAlive(MAIN_PID)], [1, 1, true]);
  const pid = newPid();
  assertGreater(pid, MAIN_PID);
  assertEquals([isAlive(pid), exitCodeOf(pid), isGone(pid)], [true, null, false]);
  assertEquals(endProcess(pid, 7, true), true);
  assertEquals([isAlive(pid), exitCodeOf(pid), isGone(pid)], [false, 7, true]);
});

test("endProcess() counts once: the first code stays", () => {
  for (const codes of [[0, 1], [255, 0], [TERMINATED, KILLED], [KILLED, 0], [1, TERMINATED]]) {
    const pid = newPid();
    assertEquals(codes.map((code) => endProcess(pid, code, true)), [true, false]);
    assertEquals(exitCodeOf(pid), codes[0]);
  }
});

test("isGone() is true of one terminated only after its grace, or when its end was heard of", async () => {
  const [left, heard] = [newPid(), newPid()];
  const began = performance.now();
  endProcess(left, TERMINATED, false);
  endProcess(heard, TERMINATED, false);
  assertEquals([left, heard].map(isAlive), [false, false]);
  if (performance.now() - began < GRACE_MS / 2) {
    assertEquals([left, heard].map(isGone), [false, false]);
  }
  assertEquals(endProcess(heard, 1, true), false);
  assertEquals([isGone(heard), exitCodeOf(heard)], [true, TERMINATED]);
  await until(() => isGone(left), "the end of the grace period");
  assertGreaterOrEqual(performance.now() - began, GRACE_MS - 2);
});

test("isGone() stays true of one that had ended before it was terminated", () => {
  const pid = newPid();
  endProcess(pid, 0, true);
  assert(isGone(pid));
  assertEquals(endProcess(pid, TERMINATED, false), false);
  assertEquals([isGone(pid), exitCodeOf(pid)], [true, 0]);
});

test("endOf() and ended() wait for the end, with its code", async () => {
  const pid = newPid();
  assertEquals(waitSync(endOf(pid), 0), PENDING);
  const waiting = ended(pid);
  assert(await isPending(waiting, 5));
  endProcess(pid, KILLED, false);
  // Nothing of ended() keeps the event loop: the timer of soon() does.
  assertEquals(await soon(waiting), KILLED);
  assertEquals(waitSync(endOf(pid)), KILLED);
});

test("newPid() passes over pids whose slot is in use, and never gives one twice", () => {
  const living = newPid();
  const recent: number[] = [];
  let last = living;
  for (let i = 0; i < 40_000; i++) {
    const pid = newPid();
    if (pid <= last) throw new Error(`pid ${pid} after ${last}`);
    last = pid;
    endProcess(pid, pid & 0xff, true);
    recent.push(pid);
    if (recent.length > 10_000) recent.shift();
    if (i % 1000 === 0) {
      for (const pid of recent) {
        if (exitCodeOf(pid) !== (pid & 0xff)) throw new Error(`pid ${pid} has lost its exit code`);
      }
    }
  }
  assertGreater(last, living + 40_000);
  assertEquals([isAlive(living), isAlive(MAIN_PID), exitCodeOf(living)], [true, true, null]);
  assertEquals([isAlive(last - 30_000), isGone(last - 30_000)], [false, true]);
  endProcess(living, 0, true);
});

test("endProcess() of a pid whose slot has passed to another does nothing", () => {
  const old = newPid();
  endProcess(old, 3, true);
  let pid = old;
  while (pid < old + 16_384) {
    pid = newPid();
    if (pid !== old + 16_384) endProcess(pid, 0, true);
  }
  assertEquals([isAlive(old), isGone(old), isAlive(pid)], [false, true, true]);
  assertEquals(endProcess(old, TERMINATED, false), false);
  assertEquals([isAlive(pid), exitCodeOf(pid)], [true, null]);
  endProcess(pid, 0, true);
});

test("doorbellRang() hears each ring once", () => {
  doorbellRang();
  assertFalse(doorbellRang());
  ringDoorbell();
  ringDoorbell();
  assert(doorbellRang());
  assertFalse(doorbellRang());
});

test("checkAlive() lets the living pass", () => {
  assertEquals(checkAlive(), undefined);
});

// -- Mutex: every state, and whoever dies in it

test("Mutex goes from free to held and back, and counts waiters by one bit", () => {
  const cells = newCells();
  const mutex = new Mutex(cells, 0);
  assertEquals([mutex.owner, mutex.release(), mutex.forceRelease()], [0, "free", "free"]);
  assertEquals([mutex.tryAcquire(), cells[0], mutex.owner], [ACQUIRED, heldBy(ownPid), ownPid]);
  assertEquals(mutex.tryAcquire(), undefined);
  assertEquals(cells[0], heldBy(ownPid));
  assertEquals([mutex.attempt(), cells[0]], [PENDING, heldBy(ownPid) | CONTENDED]);
  assertEquals([mutex.expected, mutex.patience], [heldBy(ownPid) | CONTENDED, undefined]);
  assertEquals([mutex.release(), cells[0]], ["released", FREE]);
  assertEquals([mutex.attempt(), cells[0]], [ACQUIRED, heldBy(ownPid) | CONTENDED]);
  assertEquals([mutex.forceRelease(), cells[0]], ["released", FREE]);
});

test("Mutex held by another process is released by force only", () => {
  const other = newPid();
  const cells = newCells(heldBy(other));
  const mutex = new Mutex(cells, 0);
  assertEquals([mutex.owner, mutex.tryAcquire(), mutex.release()], [other, undefined, "foreign"]);
  assertEquals(cells[0], heldBy(other));
  assertEquals([mutex.forceRelease(), cells[0]], ["released", FREE]);
  endProcess(other, 0, true);
});

for (const bit of [0, CONTENDED]) {
  for (const way of ["tryAcquire", "attempt"] as const) {
    test(`Mutex.${way}() takes over from the gone, waited for or not: ${bit}`, () => {
      const other = newPid();
      const cells = newCells(heldBy(other) | bit);
      const mutex = new Mutex(cells, 0);
      endProcess(other, 1, true);
      assertEquals(mutex.owner, 0);
      assertEquals(mutex[way](), ABANDONED);
      // Contended, for there may be others who wait.
      assertEquals([cells[0], mutex.owner], [heldBy(ownPid) | CONTENDED, ownPid]);
      assertEquals(mutex.release(), "released");
      assertEquals(mutex[way](), ACQUIRED);
    });
  }
}

test("Mutex whose owner is terminated is left alone for the grace period, then taken over", () => {
  const other = newPid();
  const cells = newCells(heldBy(other));
  const mutex = new Mutex(cells, 0);
  const began = performance.now();
  endProcess(other, TERMINATED, false);
  assertEquals(mutex.owner, 0);
  assertEquals(waitSync(mutex, SOON), ABANDONED);
  const took = performance.now() - began;
  assertGreaterOrEqual(took, GRACE_MS - 2);
  assertLess(took, 2_500);
});

test("Mutex is handed on by an owner that dies with its word written but before waking anybody", async () => {
  // Released, and dead before the wake-up: the sleeper finds out by itself.
  const other = newPid();
  const cells = newCells(heldBy(other));
  const mutex = new Mutex(cells, 0);
  const waiting = new Line().wait(mutex, SOON);
  assert(await isPending(waiting, 5));
  assertEquals(cells[0], heldBy(other) | CONTENDED);
  Atomics.store(cells, 0, FREE);
  endProcess(other, 1, true);
  const began = performance.now();
  assertEquals(await waiting, ACQUIRED);
  assertLess(performance.now() - began, 2_500);
});

test("Mutex outlives a waiter that was woken and died before it took the word", async () => {
  const cells = newCells(heldBy(ownPid));
  const mutex = new Mutex(cells, 0);
  // The one who dies: first to sleep, so that the wake-up goes to it.
  const victim = Atomics.waitAsync(cells, 0, heldBy(ownPid));
  const waiting = new Line().wait(new Mutex(cells, 0), SOON);
  assert(victim.async && await isPending(waiting, 5));
  mutex.release();
  assertEquals(await victim.value, "ok");
  assertEquals(await waiting, ACQUIRED);
});

test("Mutex goes through two owners that die one after the other", async () => {
  const [first, second] = [newPid(), newPid()];
  const cells = newCells(heldBy(first) | CONTENDED);
  const waiting = new Line().wait(new Mutex(cells, 0), SOON);
  endProcess(first, 1, true);
  assertEquals(
    Atomics.compareExchange(cells, 0, heldBy(first) | 1, heldBy(second) | 1),
    heldBy(first) | 1,
  );
  assert(await isPending(waiting, 5));
  endProcess(second, KILLED, false);
  assertEquals(await waiting, ABANDONED);
});

test("RecursiveMutex counts, and begins anew after a death", () => {
  const other = newPid();
  const cells = newCells(heldBy(other), 5);
  const mutex = new RecursiveMutex(cells, 0);
  assertEquals([mutex.tryAcquire(), mutex.reenter(), mutex.release()], [
    undefined,
    false,
    "foreign",
  ]);
  assertEquals(cells[1], 5);
  endProcess(other, 1, true);
  assertEquals([mutex.tryAcquire(), cells[1]], [ABANDONED, 1]);
  assertEquals([mutex.tryAcquire(), mutex.attempt(), mutex.reenter()], [ACQUIRED, ACQUIRED, true]);
  assertEquals(cells[1], 4);
  for (const depth of [3, 2, 1]) assertEquals([mutex.release(), cells[1]], ["released", depth]);
  assertEquals([mutex.release(), mutex.release()], ["released", "free"]);
  assertEquals(cells[0], FREE);
});

// -- Waiting

/** A wait that is over when `open` says so; sleeps on a word that anybody may wake. */
class Gate implements Attempt<string> {
  readonly cells: Int32Array;
  readonly index = 0;
  readonly expected = 0;
  readonly patience: number | undefined;
  open = false;
  attempts = 0;
  cancelled = 0;
  name: string;

  constructor(name: string, cells = newCells(), patience?: number) {
    this.name = name;
    this.cells = cells;
    this.patience = patience;
  }

  attempt(): string | typeof PENDING {
    this.attempts++;
    return this.open ? this.name : PENDING;
  }

  cancel(): void {
    this.cancelled++;
  }
}

test("waitSync() cancels once when it gives up, and never when it has got something", () => {
  const gate = new Gate("gate");
  for (const timeout of [0, -1, -Infinity, 5]) assertEquals(waitSync(gate, timeout), PENDING);
  assertEquals(gate.cancelled, 4);
  gate.open = true;
  for (const timeout of [0, -1, Infinity]) assertEquals(waitSync(gate, timeout), "gate");
  assertEquals(gate.cancelled, 4);
});

test("Line.wait() cancels once when it gives up: timeout, signal, no time at all", async () => {
  const line = new Line();
  const gate = new Gate("gate");
  assertEquals(await line.wait(gate, 0), PENDING);
  assertEquals(await line.wait(gate, 5), PENDING);
  assertEquals(gate.cancelled, 2);
  const controller = new AbortController();
  const waiting = line.wait(gate, SOON, controller.signal);
  controller.abort();
  await assertRejects(() => waiting);
  assertEquals(gate.cancelled, 3);
  gate.open = true;
  assertEquals(await line.wait(gate, 0), "gate");
  assertEquals(await line.wait(gate), "gate");
  assertEquals(gate.cancelled, 3);
});

test("Line lets only the first try, and sleeps once, however many wait", async () => {
  const line = new Line();
  const cells = newCells();
  const gates = Array.from({ length: 100 }, (_, i) => new Gate(`${i}`, cells));
  const waiting = gates.map((gate) => line.wait(gate));
  await pause(5);
  assertGreater(gates[0]!.attempts, 0);
  assertEquals(gates.slice(1).map((gate) => gate.attempts), Array(99).fill(0));
  for (const gate of gates) gate.open = true;
  assertEquals(sleepers(cells), 1);
  assertEquals(await soon(Promise.all(waiting)), gates.map((gate) => gate.name));
});

test("Line whose first leaves lets the second try within a slice, though on another word", async () => {
  const line = new Line();
  const [first, second] = [new Gate("first"), new Gate("second")];
  const controller = new AbortController();
  const aborted = line.wait(first, Infinity, controller.signal);
  const waiting = line.wait(second);
  await pause(5);
  controller.abort();
  await assertRejects(() => aborted);
  // A wake-up on its own word, while the line still sleeps on that of the first.
  second.open = true;
  sleepers(second.cells);
  const began = performance.now();
  assertEquals(await soon(waiting), "second");
  assertLess(performance.now() - began, 2_500);
});

test("Line that was woken after all have left passes the wake-up on", async () => {
  const cells = newCells();
  const [mine, other] = [new Line(), new Line()];
  const controller = new AbortController();
  const gate = new Gate("other", cells, SOON);
  const aborted = mine.wait(new Gate("mine", cells, SOON), Infinity, controller.signal);
  const waiting = other.wait(gate);
  await pause(5);
  gate.open = true;
  Atomics.notify(cells, 0, 1);
  controller.abort();
  await assertRejects(() => aborted);
  assertEquals(await soon(waiting, "the wake-up that went to who had left"), "other");
});

test("Line that all have left starts anew with the next who comes", async () => {
  const line = new Line();
  const cells = newCells();
  for (let i = 0; i < 50; i++) {
    const controller = new AbortController();
    const waiting = line.wait(new Gate("left", cells), Infinity, controller.signal);
    if (i % 2 === 0) await null;
    controller.abort();
    await assertRejects(() => waiting);
  }
  // However often: one sleeper at most is left behind.
  assertLess(sleepers(cells), 2);
  const gate = new Gate("late", cells);
  const waiting = line.wait(gate);
  await pause(5);
  gate.open = true;
  sleepers(cells);
  assertEquals(await soon(waiting), "late");
});

test("Line goes on after an attempt that throws: the error is its own", async () => {
  const line = new Line();
  const cells = newCells();
  const bad = new Gate("bad", cells);
  const good = new Gate("good", cells);
  const failing = line.wait(bad);
  const waiting = line.wait(good);
  const error = new Error("an attempt fails");
  bad.attempt = () => {
    throw error;
  };
  good.open = true;
  const caught = assertRejects(() => failing);
  sleepers(cells);
  assertStrictEquals(await caught, error);
  assertEquals(await soon(waiting), "good");
});

test("Line.wait() that is committed is not given up by timeout or signal", async () => {
  const line = new Line();
  const gate = Object.assign(new Gate("committed"), { committed: true });
  const controller = new AbortController();
  const waiting = line.wait(gate, 5, controller.signal);
  controller.abort();
  assert(await isPending(waiting, 20));
  gate.open = true;
  sleepers(gate.cells);
  assertEquals(await soon(waiting), "committed");
  assertEquals(gate.cancelled, 0);
});

test("Line.wait() looks once more when its timeout is over", async () => {
  const line = new Line();
  const gate = new Gate("gate", newCells(), SOON);
  const waiting = line.wait(gate, 20);
  // Open, and nobody wakes: as after a waker's death.
  gate.open = true;
  assertEquals(await waiting, "gate");
});

test("EventFlag releases who came in an earlier round, and counts on over the sign", () => {
  const buffer = new SharedArrayBuffer(4);
  const cells = new Int32Array(buffer);
  for (const word of [0, 0x7fff_fffe, -2]) {
    cells[0] = word;
    const flag = new EventFlag(buffer);
    const early = flag.waiter();
    assertEquals([flag.isSet, early.attempt()], [false, PENDING]);
    flag.set();
    flag.set();
    assertEquals([flag.isSet, early.attempt(), flag.waiter().attempt()], [true, true, true]);
    flag.clear();
    flag.clear();
    const late = flag.waiter();
    assertEquals([flag.isSet, early.attempt(), late.attempt()], [false, true, PENDING]);
    assertEquals(late.expected, cells[0]);
  }
});

test("checkTimeout() takes any number but NaN", () => {
  assertEquals(
    [undefined, 0, -1, -Infinity, 1.5, Infinity].map(checkTimeout),
    [Infinity, 0, -1, -Infinity, 1.5, Infinity],
  );
  assertThrows(() => checkTimeout(NaN), RangeError);
  for (const wrong of [null, "1", 1n, {}]) {
    assertThrows(() => checkTimeout(wrong as never), TypeError);
  }
});

test("checkWait() takes the timeout of the options, or the other one", () => {
  assertEquals(
    [undefined, {}, { timeout: undefined }, { timeout: 7 }].map((options) => checkWait(options)),
    [Infinity, Infinity, Infinity, 7],
  );
  assertEquals(
    [undefined, {}, { timeout: undefined }, { timeout: 7 }].map((options) => checkWait(options, 5)),
    [5, 5, 5, 7],
  );
  assertThrows(() => checkWait({ timeout: NaN }), RangeError);
  assertThrows(() => checkWait(5 as never), TypeError);
});

test("within() settles once: promise, timeout or signal, whichever comes first", async () => {
  const never = new Promise<never>(() => {});
  assertEquals(await within(Promise.resolve(1), Infinity), 1);
  assertEquals(await within(Promise.resolve(1), 0), 1);
  assertEquals(await within(never, 0), PENDING);
  assertEquals(await within(never, -Infinity), PENDING);
  assertEquals(await within(never, 5), PENDING);
  const reason = new Error("never mind");
  const aborted = () => within(never, Infinity, AbortSignal.abort(reason));
  assertStrictEquals(await assertRejects(aborted), reason);
  const controller = new AbortController();
  const waiting = within(never, SOON, controller.signal);
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
  assertStrictEquals(await assertRejects(() => within(Promise.reject(reason), SOON)), reason);
});
