/** Ten processes add to one number, and take turns by the lock that comes with it. */

import { Process, Value } from "@multiprocessing/core";

function count(counter: Value<"i32">): void {
  for (let i = 0; i < 100; i++) {
    const guard = counter.getLock().acquireSync();
    try {
      counter.value += 1;
    } finally {
      guard.release();
    }
  }
}

if (import.meta.main) {
  const counter = new Value("i32", 0);

  const processes: Process<[Value<"i32">]>[] = [];
  for (let i = 0; i < 10; i++) {
    const process = new Process({ target: count, args: [counter] });
    process.start();
    processes.push(process);
  }
  for (const process of processes) await process.join();

  console.log(counter.value);
}
