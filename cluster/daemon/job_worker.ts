/**
 * BullMQ's worker, two round trips sooner: it asks for a job in the same breath as it waits for one.
 *
 * BullMQ waits by BZPOPMIN until there is something. Having heard of that it asks for a job, then for a
 * second one, and only then begins the first. Here the question, BullMQ's own script `moveToActive`, is
 * sent right behind BZPOPMIN, on the connection that waits. Redis keeps it until the wait is over and then
 * runs it at once: both answers come together. For a second job the worker waits anew, while the first runs.
 *
 * | the question is | meaning                         | ends by                                           |
 * | --------------- | ------------------------------- | ------------------------------------------------- |
 * | none            | nothing is under way            | asked, with the next wait                         |
 * | asked           | Redis has it, behind the wait   | answered; none, if the connection was closed      |
 * | answered        | a job is ours, or there was none | none: the worker takes the answer                |
 *
 * Nobody leaves a question behind, whether stopped or killed: when a connection ends, Redis drops what it
 * has not run yet of what that has sent; what it has run, the client reads before its own end. Who is cut
 * off may be given a last job; as any job of a lost daemon it is begun anew. If it must not be, nobody
 * asks before there is something.
 *
 * @module
 */

import {
  type Job,
  type JobJson,
  type Processor,
  QueueKeys,
  RedisConnection,
  RedisQueueBackend,
  Worker,
  type WorkerOptions,
} from "bullmq";
import type { Redis } from "ioredis";
import { randomUUID } from "../runtime/host.ts";
import { writeResult } from "../wire/messages.ts";
import { inOneWrite } from "../wire/server.ts";

/** Takes jobs out of a queue, and has them processed. */
export class JobWorker<Data, Result> extends Worker<Data, Result, string, EagerBackend> {
  /**
   * Begins at once.
   *
   * @param redis A connection like the one to wait on; it stays the caller's.
   * @param results Channel on which results are said of jobs that came alone.
   */
  constructor(
    queue: string,
    process: Processor<Data, Result, string>,
    options: WorkerOptions,
    redis: Redis,
    results: string,
  ) {
    super(queue, process, options, () => new EagerBackend(queue, options, redis, results));
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    const answer = this.backend.takeAnswer();
    if (answer !== undefined) {
      return await this.nextJobFromJobData(answer.job, answer.id, answer.token);
    }
    if (this.backend.askedByWait()) return await this.nextJobFromJobData();
    return await super.moveToActive(token, name);
  }
}

/** What `moveToActive` has answered. */
interface Answer {
  job: JobJson | undefined;
  id: string | undefined;
  /** Marks the job's lock as ours. */
  token: string;
}

/** BullMQ's commands; its wait asks for the job, too, and what came of that job is said at once. */
class EagerBackend extends RedisQueueBackend {
  /** The same commands, on the connection that waits. */
  readonly #behind: RedisQueueBackend;
  readonly #id = randomUUID();
  #asks = 0;
  #asked: Promise<void> | undefined;
  #answer: Answer | undefined;
  #gaveJob = false;
  readonly #results: string;
  /** Whether no job may be begun anew. */
  readonly #onlyOnce: boolean;
  /** Jobs that came by a wait, and their results. */
  readonly #alone = new Map<string, string | undefined>();

  constructor(queue: string, options: WorkerOptions, redis: Redis, results: string) {
    const { connection, prefix } = options;
    const waiting = redis.duplicate();
    const keys = new QueueKeys(prefix);
    const all = keys.getKeys(queue);
    const keyOf = (type: string) => keys.toKey(queue, type);
    const blocking = new RedisConnection(waiting, { shared: false });
    const main = new RedisConnection(connection, { shared: false, blocking: false });
    super(main, queue, all, keyOf, options, blocking);
    this.#behind = new RedisQueueBackend(blocking, queue, all, keyOf, options, undefined, false);
    this.#results = results;
    this.#onlyOnce = options.maxStalledCount === 0;
    const bzpopmin = waiting.bzpopmin.bind(waiting) as (...args: unknown[]) => Promise<never>;
    waiting.bzpopmin = (...args: unknown[]): Promise<never> => {
      inOneWrite(waiting);
      const popped = bzpopmin(...args);
      this.#ask();
      return popped;
    };
  }

  /** Sends the question, behind the wait. */
  #ask(): void {
    // Who is cut off would have a job that it never begins.
    if (this.#onlyOnce) return;
    // One that was not answered yet, the client sends again by itself when it has a new connection.
    if (this.#asked !== undefined || this.#answer?.job !== undefined) return;
    this.#answer = undefined;
    const token = `${this.#id}:${this.#asks++}`;
    this.#asked = this.#behind.moveToActive(token)
      .then(([job, id]) => void (this.#answer = { job: job ?? undefined, id, token }))
      .catch(() => {}) // The connection was closed.
      .finally(() => this.#asked = undefined);
  }

  override async waitForJob(seconds: number): ReturnType<RedisQueueBackend["waitForJob"]> {
    this.#gaveJob = false;
    try {
      return await super.waitForJob(seconds);
    } finally {
      await this.#asked; // Both answers come together.
    }
  }

  /** What was answered, if it was. */
  takeAnswer(): Answer | undefined {
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer !== undefined) this.#gaveJob = answer.job !== undefined;
    if (answer?.job !== undefined) this.#alone.set(answer.id!, undefined);
    return answer;
  }

  /** Whether a wait has just given a job. Then another ends at once, and asks for the next. True once. */
  askedByWait(): boolean {
    const gave = this.#gaveJob;
    this.#gaveJob = false;
    return gave;
  }

  override moveToCompletedArgs(
    ...words: Parameters<RedisQueueBackend["moveToCompletedArgs"]>
  ): ReturnType<RedisQueueBackend["moveToCompletedArgs"]> {
    const [{ id }, result] = words;
    if (this.#alone.has(id!)) this.#alone.set(id!, result as string);
    return super.moveToCompletedArgs(...words);
  }

  override async moveToFinished(
    id: string,
    words: Parameters<RedisQueueBackend["moveToFinished"]>[1],
  ): Promise<unknown[]> {
    const result = this.#alone.get(id);
    this.#alone.delete(id);
    if (result === undefined) return await super.moveToFinished(id, words);
    const client = await this.client as unknown as Redis;
    inOneWrite(client);
    const finished = super.moveToFinished(id, words);
    void this.#tell(writeResult(id, result));
    return await finished;
  }

  /** Tells a result, right behind what makes it last. Who does not hear it finds it among the events. */
  async #tell(text: string): Promise<void> {
    const client = await this.client as unknown as Redis;
    client.publish(this.#results, text).catch(() => {});
  }
}
