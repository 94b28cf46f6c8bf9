import { type JobsOptions, Queue, QueueEvents } from "bullmq";
import type { ClusterContestant } from "./cluster_contestant.ts";

/** So many jobs are in Redis at once: else events are cut from their stream before they are read. */
const WINDOW = 1_000;

/** So many are added by one command. */
const BULK = 250;

/** With `true` a job whose event was lost could not be found. */
const KEPT: JobsOptions = { removeOnComplete: { count: 2 * WINDOW }, removeOnFail: true };

let queue: Queue;
let count = 0;
const pending = new Map<string, (result: unknown) => void>();

/** Adds jobs as others end. Resolves with their results, in order. */
function run<Result>(name: string, all: unknown[]): Promise<Result[]> {
  const { promise, resolve, reject } = Promise.withResolvers<Result[]>();
  const results = new Array<Result>(all.length);
  let [next, ended, adding] = [0, 0, false];
  const addSome = async (): Promise<void> => {
    if (adding) return;
    adding = true;
    while (next < all.length && next - ended < WINDOW) {
      const size = Math.min(BULK, WINDOW - (next - ended), all.length - next);
      const jobs = all.slice(next, next + size).map((data, index) => {
        const at = next + index;
        const jobId = `job-${count++}`;
        pending.set(jobId, (result) => {
          results[at] = result as Result;
          if (++ended === all.length) return resolve(results);
          // Not single ones while many wait.
          if (next - ended <= WINDOW - BULK) void addSome();
        });
        return { name, data, opts: { ...KEPT, jobId } };
      });
      next += size;
      await queue.addBulk(jobs);
    }
    adding = false;
  };
  addSome().catch(reject);
  return promise;
}

/** BullMQ as one would use it by hand: each job's result by its event. */
const bullmq: ClusterContestant = {
  async open(url) {
    const { pathname, searchParams } = new URL(url);
    const db = Number(searchParams.get("db"));
    const connection = { path: pathname, db, maxRetriesPerRequest: null };
    queue = new Queue("bench", { connection });
    // From the beginning: else an event before the first read is lost.
    const events = new QueueEvents("bench", { connection, lastEventId: "0" });
    events.on("completed", ({ jobId, returnvalue }) => {
      pending.get(jobId)?.(returnvalue);
      pending.delete(jobId);
    });
    await events.waitUntilReady();
    await this.one(1);
  },
  async one(number) {
    const jobId = `job-${count++}`;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    pending.set(jobId, resolve);
    await queue.add("one", number, { ...KEPT, jobId });
    return await promise as number;
  },
  single: (numbers) => run("one", numbers),
  async chunked(numbers, chunkSize = 100) {
    const chunks: number[][] = [];
    for (let at = 0; at < numbers.length; at += chunkSize) {
      chunks.push(numbers.slice(at, at + chunkSize));
    }
    return (await run<number[]>("many", chunks)).flat();
  },
};

export default bullmq;
