/** 2,000 processes, four at a time. */

import { Process } from "../../process.ts";
import { measure } from "./meter.ts";

const BATCH = 4;

await measure(2_000, BATCH, async () => {
  const children = Array.from({ length: BATCH }, () => new Process({ target: () => {} }));
  for (const child of children) child.start();
  const codes = await Promise.all(children.map((child) => child.exited));
  if (codes.some((code) => code !== 0)) throw new Error(`Processes ended with ${codes}`);
});
