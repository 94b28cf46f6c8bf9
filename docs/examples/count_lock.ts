/** Ten processes add to one number, and take turns by a lock. */

import { Lock, Process, Value } from "@multiprocessing/core";

function count(lock: Lock, counter: Value<"i32">): void {
  for (let i = 0; i < 100; i++) {
    const guard = lock.acquireSync();
    try {
      counter.value += 1;
    } finally {
      guard.release();
    }
  }
}

if (import.meta.main) {
  const lock = new Lock();
  const counter = new Value("i32", 0, { lock: false });

  const processes: Process<[Lock, Value<"i32">]>[] = [];
  for (let i = 0; i < 10; i++) {
    const process = new Process({ target: count, args: [lock, counter] });
    process.start();
    processes.push(process);
  }
  for (const process of processes) await process.join();

  console.log(counter.value);
}
