/**
 * Measures what a program leaves behind when it does the same thing over and over.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** What precedes a {@linkcode Report} in a program's output. */
export const MARK = "@leaks ";

/** What a program holds at one moment, garbage excepted. */
export interface Sample {
  /** How often it has done its thing since the warm-up. */
  done: number;
  /** Resident memory of the operating system's process, in bytes: of all workers, too. */
  rss: number;
  /** The main thread's JavaScript heap, in bytes. */
  heap: number;
  /** Threads, without those of {@linkcode PASSING}; 0 where there is no /proc. */
  threads: number;
  /** Open file descriptors; 0 where there is no /proc. */
  files: number;
}

/** What a program prints at its end. */
export interface Report {
  /** After the warm-up, at several points, and at the end. */
  samples: Sample[];
}

// A sample after each fifth.
const PARTS = 5;

/** The warm-up's share of the whole. */
const WARM_UP = 0.2;

// Deno keeps an idle thread for file access and the like for 10 seconds, with 25 MB, and gives back
// the memory of a worker some time after its end.
const SETTLE_MS = 15_000;

/** How Linux calls JavaScriptCore's collectors: some come with a heap, and go some time after it. */
const PASSING = "ollector Thread\n";

/** So often garbage is collected meanwhile. */
const LOOK_MS = 1_000;

/** What the runtimes give to collect garbage by. */
interface Collectors {
  Bun?: { gc(sync: boolean): void };
  gc?(): void;
}

/** Collects garbage, so that finalizers run, too. Can be sent: it uses nothing of this module. */
export async function collect(): Promise<void> {
  const { Bun, gc } = globalThis as Collectors;
  for (let i = 0; i < 4; i++) {
    if (Bun === undefined) gc!();
    else Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What Deno gives to call a function of the C library. */
interface Foreign {
  dlopen(
    name: string,
    symbols: { malloc_trim: { parameters: ["usize"]; result: "i32" } },
  ): { symbols: { malloc_trim(pad: number): number }; close(): void };
}

/**
 * On Deno, lets glibc give back what is free. Else it keeps what workers have freed, up to 100 MB of
 * it, now more and now less, and that is nobody's leak. Node cannot call it, and Bun has an allocator
 * of its own.
 */
function trim(): void {
  const { Deno } = globalThis as unknown as { Deno?: Foreign };
  try {
    const libc = Deno?.dlopen("libc.so.6", {
      malloc_trim: { parameters: ["usize"], result: "i32" },
    });
    libc?.symbols.malloc_trim(0);
    libc?.close();
  } catch {
    // Another system's library has no such function.
  }
}

/** Whether a thread is one that a leak could have left behind. */
function stays(thread: string): boolean {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, "utf8") !== PASSING;
  } catch {
    return false; // it has just ended
  }
}

function look(done: number): Sample {
  trim();
  const { rss, heapUsed: heap } = process.memoryUsage();
  try {
    const threads = readdirSync("/proc/self/task").filter(stays);
    // Whoever lists them has one more open.
    const files = readdirSync("/proc/self/fd").length - 1;
    return { done, rss, heap, threads: threads.length, files };
  } catch {
    return { done, rss, heap, threads: 0, files: 0 };
  }
}

/** Takes a sample when what can go has gone: finalizers run, threads end and memory comes back later. */
async function sample(done: number): Promise<Sample> {
  const started = performance.now();
  do {
    await collect();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  } while (performance.now() - started < SETTLE_MS);
  return look(done);
}

/**
 * Does a thing `count` times and prints what that has left behind, after a warm-up with a fifth as many.
 *
 * @param count How often; a multiple of five times `batch`.
 * @param batch How often `run` does it.
 * @param run Does it `batch` times, to the end.
 * @param tidy Called before each sample: collects the garbage of other processes.
 */
export async function measure(
  count: number,
  batch: number,
  run: () => Promise<void>,
  tidy?: () => Promise<void>,
): Promise<void> {
  const repeat = async (times: number): Promise<void> => {
    for (let done = 0; done < times; done += batch) await run();
    await tidy?.();
  };
  await repeat(count * WARM_UP);
  const samples = [await sample(0)];
  for (let part = 1; part <= PARTS; part++) {
    await repeat(count / PARTS);
    samples.push(await sample(count / PARTS * part));
  }
  console.log(`\n${MARK}${JSON.stringify({ samples } satisfies Report)}`);
}
