/**
 * BullMQ's worker: `bullmq_worker.ts URL CONCURRENCY`. Its processor runs on the main thread; with a
 * third word, `threads`, in worker threads ("sandboxed").
 *
 * @module
 */

import process from "node:process";
import { Worker } from "bullmq";
import run from "./bullmq_processor.ts";

const [url, concurrency, threads] = process.argv.slice(2) as [string, string, string?];
const { pathname, searchParams } = new URL(url);
const db = Number(searchParams.get("db"));

const worker = new Worker(
  "bench",
  threads === undefined
    ? (job) => run(job as never)
    : new URL("./bullmq_processor.ts", import.meta.url),
  {
    connection: { path: pathname, db, maxRetriesPerRequest: null },
    concurrency: Number(concurrency),
    useWorkerThreads: threads !== undefined,
  },
);
worker.on("failed", (_, error) => console.error(`Error: ${error.message}`));
