/** The same, for minifiers: `counter` is only declared, so that none of them renames it. */

import { closure, Process, Value } from "@multiprocessing/core";

declare const counter: Value<"i32">;

if (import.meta.main) {
  const sum = new Value("i32", 0);
  const target = closure(() => {
    for (let i = 0; i < 100; i++) {
      const guard = counter.getLock().acquireSync();
      try {
        counter.value += 1;
      } finally {
        guard.release();
      }
    }
  }, { counter: sum });
  const processes = Array.from({ length: 10 }, () => new Process({ target }));
  for (const process of processes) process.start();
  for (const process of processes) await process.join();
  console.log(sum.value);
}
