/** A process that prints; the end of the block waits for it. */

import { Process } from "@multiprocessing/core";

function hello(name: string): void {
  console.log(`hello ${name}`);
}

if (import.meta.main) {
  await using process = new Process({ target: hello, args: ["bob"] });
  process.start();
}
