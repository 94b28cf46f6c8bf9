/** One process puts items into a queue, another gets them; each block waits for its process. */

import { Process, Queue } from "@multiprocessing/core";

function produce(queue: Queue<string>): void {
  for (const item of ["red", "green", "blue"]) queue.putSync(item);
}

function consume(queue: Queue<string>): void {
  while (!queue.empty()) console.log("got", queue.getSync());
}

if (import.meta.main) {
  const queue = new Queue<string>();
  {
    await using producer = new Process({ target: produce, args: [queue] });
    producer.start();
  }
  {
    await using consumer = new Process({ target: consume, args: [queue] });
    consumer.start();
  }
}
