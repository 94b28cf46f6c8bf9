/** A process that prints. */

import { Process } from "@multiprocessing/core";

function hello(name: string): void {
  console.log(`hello ${name}`);
}

if (import.meta.main) {
  const process = new Process({ target: hello, args: ["bob"] });
  process.start();
  await process.join();
}
