/** BullMQ's processor, where it runs in worker threads. */
import { double } from "./tasks.ts";

/** Doubles a number, or many. */
export default function process(
  { name, data }: { name: string; data: never },
): Promise<number | number[]> {
  return Promise.resolve(name === "one" ? double(data) : (data as number[]).map(double));
}
