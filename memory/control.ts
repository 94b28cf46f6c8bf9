/**
 * The control block: who is alive, in one SharedArrayBuffer handed down the whole tree of processes.
 *
 * Header: `[next pid, doorbell]`, then a table of `SLOTS` slots. A process has slot `pid % SLOTS`;
 * pids whose slot is still in use are passed over, so pids are never reused and the record of an
 * ended process stays for at least the next `SLOTS` starts.
 *
 * | word of a slot | meaning |
 * |---|---|
 * | `STATE` | 0: never used · 1 `ALIVE` · `code << 2 \| 2`: ended with that exit code |
 * | `PID` | whose state this is |
 * | `PARENT` | the pid of its creator |
 * | `INTERRUPTED` | 1 once the process has been asked to stop |
 * | `DYING` | 0, or when it was terminated by somebody else (ms, low 31 bits) |
 *
 * | transition of `STATE` | by |
 * |---|---|
 * | free or ended → `ALIVE` | the creator, before the process is started |
 * | `ALIVE` → ended | **once**, by a compare-exchange of whoever comes first: the process on its way out, who terminates it, the main process that hears of its end |
 *
 * A process whose state is ended while its thread still runs is **fenced**: see `checkAlive`. A thread
 * that is terminated runs on for a moment, perhaps amid a change of shared memory; so its locks are
 * taken over only when it {@linkcode isGone}, {@linkcode GRACE_MS} later.
 *
 * @module
 */

import { BOOT_KEY, type BootRecord } from "./boot.ts";
import { sleep, wake } from "./futex.ts";
import { type Attempt, PENDING } from "./attempt.ts";

const SLOTS = 16_384;
const NEXT_PID = 0;
const DOORBELL = 1;
const HEADER = 4;
const SLOT_WORDS = 8;
const STATE = 0;
const PID = 1;
const PARENT = 2;
const DYING = 3;
const INTERRUPTED = 4;
const ALIVE = 1;
const ENDED = 2;

/** The pid of the program's first process. */
export const MAIN_PID = 1;

/**
 * For so long a terminated thread may still be inside a critical section of this library. Each of them
 * takes microseconds, and begins with `checkAlive`.
 */
export const GRACE_MS = 100;

/** Exit code of a terminated process: Python's -SIGTERM. */
export const TERMINATED = -15;

/** Exit code of a killed process: Python's -SIGKILL. */
export const KILLED = -9;

/** What this thread was started with; undefined in the main process. */
export const bootRecord: BootRecord | undefined =
  (globalThis as Record<symbol, unknown>)[Symbol.for(BOOT_KEY)] as BootRecord | undefined;

const buffer: SharedArrayBuffer = bootRecord?.start.control ??
  new SharedArrayBuffer((HEADER + SLOTS * SLOT_WORDS) * Int32Array.BYTES_PER_ELEMENT);
const words = new Int32Array(buffer);

/** The control block itself, to be handed to every new process. */
export const controlBuffer: SharedArrayBuffer = buffer;

/** The pid of this process. */
export const ownPid: number = bootRecord?.start.pid ?? MAIN_PID;

if (bootRecord === undefined) {
  words[NEXT_PID] = MAIN_PID;
  occupy(MAIN_PID, 0);
}

const ownState = stateIndex(ownPid);

/** Where the state word of `pid` lies in the control block. */
export function stateIndex(pid: number): number {
  return HEADER + (pid % SLOTS) * SLOT_WORDS + STATE;
}

/** A wait for the end of a process; its outcome is the exit code. */
export function endOf(pid: number): Attempt<number> {
  return {
    cells: words,
    index: stateIndex(pid),
    expected: ALIVE,
    attempt: () => exitCodeOf(pid) ?? PENDING,
  };
}

/** Resolves with the exit code when the process has ended. Does not keep the event loop alive. */
export async function ended(pid: number): Promise<number> {
  for (;;) {
    const code = exitCodeOf(pid);
    if (code !== null) return code;
    await sleep(words, stateIndex(pid), ALIVE, Infinity);
  }
}

/** Asks a process to stop: see {@linkcode interrupted}. */
export function interruptProcess(pid: number): void {
  const index = stateIndex(pid) + INTERRUPTED;
  Atomics.store(words, index, 1);
  wake(words, index);
}

/** Whether somebody has asked this process to stop. */
export function wasInterrupted(): boolean {
  return Atomics.load(words, ownState + INTERRUPTED) !== 0;
}

/** Resolves once somebody asked this process to stop. Does not keep the event loop alive. */
export async function interrupted(): Promise<void> {
  while (!wasInterrupted()) {
    await sleep(words, ownState + INTERRUPTED, 0, Infinity);
  }
}

/**
 * Takes a pid for a process that this one is about to start; it counts as alive from now on.
 *
 * Only the living take one: nobody would look for the children of a dead one any more.
 */
export function newPid(): number {
  checkAlive();
  for (;;) {
    const pid = Atomics.add(words, NEXT_PID, 1) + 1;
    if (Atomics.load(words, stateIndex(pid)) === ALIVE) continue;
    occupy(pid, ownPid);
    return pid;
  }
}

function occupy(pid: number, parent: number): void {
  const slot = stateIndex(pid);
  Atomics.store(words, slot + PID, pid);
  Atomics.store(words, slot + PARENT, parent);
  Atomics.store(words, slot + DYING, 0);
  Atomics.store(words, slot + INTERRUPTED, 0);
  Atomics.store(words, slot + STATE, ALIVE);
}

/** Whether the process counts as alive. */
export function isAlive(pid: number): boolean {
  const slot = stateIndex(pid);
  return Atomics.load(words, slot + STATE) === ALIVE && Atomics.load(words, slot + PID) === pid;
}

/** The living processes that a process has created. */
export function livingChildren(parent: number): number[] {
  const children: number[] = [];
  const used = Math.min(SLOTS, Atomics.load(words, NEXT_PID) + 1);
  for (let i = 0; i < used; i++) {
    const slot = HEADER + i * SLOT_WORDS;
    // Plainly, for there may be many: who asks knows that the parent creates no more.
    if (words[slot + STATE] === ALIVE && words[slot + PARENT] === parent) {
      children.push(words[slot + PID] as number);
    }
  }
  return children;
}

/** The exit code of an ended process; null while it lives. -1 if its slot has been used again. */
export function exitCodeOf(pid: number): number | null {
  const slot = stateIndex(pid);
  const state = Atomics.load(words, slot + STATE);
  if (Atomics.load(words, slot + PID) !== pid) return -1;
  return state === ALIVE ? null : state >> 2;
}

/**
 * Whether the process has ended and its thread can no longer touch shared memory.
 * Model: tests/models/futex.pml.
 */
export function isGone(pid: number): boolean {
  if (isAlive(pid)) return false;
  const slot = stateIndex(pid);
  const dying = Atomics.load(words, slot + DYING);
  if (dying === 0 || Atomics.load(words, slot + PID) !== pid) return true;
  return Math.abs(now31() - dying) >= GRACE_MS;
}

/** Resolves once an ended process {@linkcode isGone}. Does not keep the event loop alive. */
export async function gone(pid: number): Promise<void> {
  const state = stateIndex(pid) + STATE;
  while (!isGone(pid)) await sleep(words, state, Atomics.load(words, state), GRACE_MS);
}

function now31(): number {
  return Date.now() & 0x7fff_ffff;
}

/**
 * Marks a process as ended. The first to say so wins.
 * Model: tests/models/futex.pml.
 *
 * @param gone Whether its thread is known to have stopped.
 * @returns Whether this call was the first.
 */
export function endProcess(pid: number, code: number, gone: boolean): boolean {
  const slot = stateIndex(pid);
  if (Atomics.load(words, slot + PID) !== pid) return false;
  // Who has ended by itself must not seem to be dying.
  if (!gone && Atomics.load(words, slot + STATE) !== ALIVE) return false;
  if (!gone) Atomics.compareExchange(words, slot + DYING, 0, now31() | 1);
  const ended = (code << 2) | ENDED;
  const won = Atomics.compareExchange(words, slot + STATE, ALIVE, ended) === ALIVE;
  if (gone) Atomics.store(words, slot + DYING, 0);
  if (won) wake(words, slot + STATE);
  return won;
}

/**
 * Wakes who waits for the end of a process. Called when the runtime has reported it: the process itself
 * may have died between marking its end and waking them.
 */
export function announceEnd(pid: number): void {
  wake(words, stateIndex(pid));
}

/** Thrown in a process that has been terminated but whose thread the runtime could not stop. */
class FencedError extends Error {
  static {
    this.prototype.name = "FencedError";
  }
}

/**
 * Ends this thread if its process no longer counts as alive. Every wait and every step that changes
 * shared state passes here.
 * Model: tests/models/futex.pml.
 */
export function checkAlive(): void {
  // Read plainly, for V8 calls a function for Atomics.load(): it may be late in any case.
  if (words[ownState] === ALIVE) return;
  bootRecord?.inside.exit(exitCodeOf(ownPid) ?? 1);
  throw new FencedError(`Process ${ownPid} has been terminated`);
}

/** Rings for the main process: a request lies in one of its ports. */
export function ringDoorbell(): void {
  Atomics.add(words, DOORBELL, 1);
  wake(words, DOORBELL);
}

/** Calls `serve` after each ring, for ever. Does not keep the event loop alive. */
export async function onDoorbell(serve: () => void): Promise<never> {
  for (;;) {
    const rings = Atomics.load(words, DOORBELL);
    serve();
    await sleep(words, DOORBELL, rings, Infinity);
  }
}

let heard = 0;

/** Whether somebody rang since the last call. */
export function doorbellRang(): boolean {
  const rings = Atomics.load(words, DOORBELL);
  const rang = rings !== heard;
  heard = rings;
  return rang;
}
