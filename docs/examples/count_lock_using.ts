/** Ten processes add to one number, and take turns by a lock; the end of a block releases it. */

import { Lock, Process, Value } from "@multiprocessing/core";

function count(lock: Lock, counter: Value<"i32">): void {
  for (let i = 0; i < 100; i++) {
    using _guard = lock.acquireSync();
    counter.value += 1;
  }
}

if (import.meta.main) {
  const lock = new Lock();
  const counter = new Value("i32", 0, { lock: false });
  {
    await using processes = new AsyncDisposableStack();
    for (let i = 0; i < 10; i++) {
      processes.use(new Process({ target: count, args: [lock, counter] })).start();
    }
  }
  console.log(counter.value);
}
