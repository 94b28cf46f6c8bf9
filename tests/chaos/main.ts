/**
 * The program that scripts/soak.ts and tests/chaos_test.ts start: rounds, one after the other.
 *
 * Prints a line of JSON before each round and one after it, and others while its event loop runs.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { type RoundSize, runRound } from "./round.ts";

const [first = 1, rounds = 1, minutes = 1, ...size] = process.argv.slice(2).map(Number);
const [members = 6, mayflies = 14, pool = 0.4] = size;

/**
 * A runtime starts threads of its own when it needs them, and not before: up to four for its compiler
 * and garbage collector, four for files, and a few that come with the first worker.
 */
const SPARE_THREADS = 12;

/** Terminated threads that are asleep wake up within 250 ms, and end; on a busy machine later. */
const SETTLE_MS = 10_000;

const BEAT_MS = 5_000;

/** Threads of this program; 0 where the system does not tell. */
function threads(): number {
  try {
    return Number(/^Threads:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/**
 * Waits until the threads of a round have ended, and says how many there are then.
 *
 * @param least How many there were at first, if that is known.
 */
async function threadsLeft(least: number): Promise<number> {
  const deadline = performance.now() + SETTLE_MS;
  while (threads() > least + SPARE_THREADS && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return threads();
}

/** Tells every few seconds that the event loop runs, and how long it did not. */
class Pulse {
  #last = performance.now();
  #longest = 0;

  constructor() {
    setInterval(() => this.#beat(), 20).unref();
    setInterval(() => console.log(JSON.stringify({ alive: true })), BEAT_MS).unref();
  }

  #beat(): void {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
  }

  /** The longest pause since the last call, in milliseconds. */
  take(): number {
    const longest = Math.round(this.#longest);
    this.#longest = 0;
    return longest;
  }
}

async function main(size: RoundSize): Promise<void> {
  const end = Date.now() + minutes * 60_000;
  const least = threads();
  const pulse = new Pulse();
  for (let round = 0; round < rounds && Date.now() < end; round++) {
    const seed = (first + round) >>> 0;
    console.log(JSON.stringify({ begin: seed }));
    const began = performance.now();
    const { processes, deaths, violations } = await runRound(seed, size);
    const ms = Math.round(performance.now() - began);
    const left = await threadsLeft(least);
    if (left > least + SPARE_THREADS) violations.push(`${left} threads are left of ${least}`);
    const rss = Math.round(process.memoryUsage.rss() / 2 ** 20);
    const line = {
      seed,
      processes,
      deaths,
      violations,
      ms,
      pause: pulse.take(),
      rss,
      threads: left,
    };
    console.log(JSON.stringify(line));
  }
}

await main({ members, mayflies, pool });
