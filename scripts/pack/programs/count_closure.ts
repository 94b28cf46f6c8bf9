/** Ten processes add to one number: a closure gives them the number, and its own lock. */

import { closure, Process, Value } from "@multiprocessing/core";

if (import.meta.main) {
  const counter = new Value("i32", 0);
  const target = closure(() => {
    for (let i = 0; i < 100; i++) {
      const guard = counter.getLock().acquireSync();
      try {
        counter.value += 1;
      } finally {
        guard.release();
      }
    }
  }, { counter });
  const processes = Array.from({ length: 10 }, () => new Process({ target }));
  for (const process of processes) process.start();
  for (const process of processes) await process.join();
  console.log(counter.value);
}
