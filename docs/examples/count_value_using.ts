/** Ten processes add to one number; the end of a block releases the lock that comes with it. */

import { Process, Value } from "@multiprocessing/core";

function count(counter: Value<"i32">): void {
  for (let i = 0; i < 100; i++) {
    using _guard = counter.getLock().acquireSync();
    counter.value += 1;
  }
}

if (import.meta.main) {
  const counter = new Value("i32", 0);
  {
    await using processes = new AsyncDisposableStack();
    for (let i = 0; i < 10; i++) {
      processes.use(new Process({ target: count, args: [counter] })).start();
    }
  }
  console.log(counter.value);
}
