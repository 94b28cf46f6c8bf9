/** 1,000,000 items from one process through a queue to another. */

import { Process } from "../../process.ts";
import { Queue } from "../../queue.ts";
import { closure } from "../../target.ts";
import { measure } from "./meter.ts";

const BATCH = 20_000;

const items = new Queue<{ id: number; text: string }>({ capacity: 2 ** 20 });
const orders = new Queue<number>({ capacity: 2 ** 16 });
const sums = new Queue<number>({ capacity: 2 ** 16 });

const produce = closure(async () => {
  for await (const count of orders) {
    for (let id = 0; id < count; id++) await items.put({ id, text: "item" });
  }
}, { orders, items });

const consume = closure(async () => {
  let sum = 0;
  let count = 0;
  for await (const { id } of items) {
    sum += id;
    if (++count < BATCH) continue;
    await sums.put(sum);
    sum = count = 0;
  }
}, { items, sums, BATCH });

const children = [produce, consume].map((target) => new Process({ target, daemon: true }));
for (const child of children) child.start();

await measure(1_000_000, BATCH, async () => {
  await orders.put(BATCH);
  const sum = await sums.get();
  if (sum !== BATCH * (BATCH - 1) / 2) throw new Error(`The sum of the items is ${sum}`);
});

orders.close();
items.close();
for (const child of children) await child.join();
