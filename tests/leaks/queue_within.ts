/** 1,000,000 items through a queue within one process. */

import { Queue } from "../../queue.ts";
import { measure } from "./meter.ts";

const BATCH = 1_000;

const queue = new Queue<{ id: number; text: string }>({ capacity: 2 ** 20 });
let id = 0;

await measure(1_000_000, BATCH, async () => {
  for (let i = 0; i < BATCH / 2; i++) queue.putSync({ id: id++, text: "sync" });
  for (let i = 0; i < BATCH / 2; i++) await queue.put({ id: id++, text: "async" });
  for (let i = 0; i < BATCH / 2; i++) await queue.get();
  for (let i = 0; i < BATCH / 2; i++) queue.getSync();
});
