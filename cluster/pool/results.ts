/**
 * What becomes of a pool's jobs: what Redis tells of them, and what is known of those that are lost.
 *
 * **Settled once.** A job leaves the outbox before it is settled, so that a second result finds nothing.
 *
 * **Not awaited for ever.** Events may be lost: when there is no news for a while, each job is asked for.
 * One that Redis does not know is sent again under its id, if it may run twice.
 *
 * @module
 */

import {
  decodeValue,
  isCall,
  NO_SOURCES,
  rejectJob,
  resolveJob,
  rethrow,
  SETTLED,
} from "@multiprocessing/core/backend";
import { ProcessLostError } from "@multiprocessing/core/errors";
import { ModuleMismatchError } from "../errors.ts";
import { fromBase64 } from "../runtime/host.ts";
import { Gone, type Parcels } from "../wire/bytes.ts";
import type { ChunkResult, JobResult } from "../wire/messages.ts";
import type { Functions } from "./functions.ts";
import type { Link, Listener } from "./link.ts";
import type { Outbox, Sent } from "./outbox.ts";

/** After so many milliseconds without news each job is asked for. */
const SILENCE_MS = 2_000;

/** So often a job is sent again of which Redis has lost a part. */
const AGAIN = 5;

/** What {@linkcode Results} are made of. */
export interface ResultsOptions {
  /** The pool's name. */
  name: string;
  /** How often a job may be begun anew. */
  lossRetries: number;
  outbox: Outbox;
  functions: Functions;
  link(): Promise<Link>;
  /** Inputs and results that lie beside their jobs; none before the first job was sent. */
  parcels(): Parcels | undefined;
  /** Called after a job was settled. */
  onSettled(): void;
}

/** Settles jobs by what is heard of them. */
export class Results {
  /** Jobs that daemons have begun. */
  running = 0;
  /** Jobs that gave a result. */
  completed = 0;
  /** Jobs that were rejected. */
  failed = 0;
  readonly #options: ResultsOptions;
  #heard = 0;

  constructor(options: ResultsOptions) {
    this.#options = options;
  }

  /** What to do with what Redis tells. */
  hears(): Omit<Listener, "refused" | "since"> {
    const mark = (id: string, running: boolean): void => {
      const sent = this.#options.outbox.sent.get(id);
      if (sent !== undefined) this.#mark(sent, running);
    };
    return {
      active: (id) => (this.hear(), mark(id, true)),
      waiting: (id) => mark(id, false),
      completed: (id, result) => (this.hear(), this.#take(id, result)),
      failed: (id, reason) => (this.hear(), this.#lose(id, reason)),
    };
  }

  /** Silence counts from now. */
  hear(): void {
    this.#heard = performance.now();
  }

  #mark(sent: Sent, running: boolean): void {
    if (sent.running === running) return;
    sent.running = running;
    this.running += running ? 1 : -1;
  }

  /** Takes a result; of a job that is settled, it is dropped. */
  #take(id: string, result: JobResult | null): void {
    const { outbox, parcels } = this.#options;
    const sent = outbox.sent.get(id);
    if (sent === undefined) return;
    if (result === null) {
      this.reject(sent, this.#lost(`The result of job ${id} is lost`));
    } else if ("r" in result) {
      this.reject(sent, new ModuleMismatchError(result.r));
    } else if ("g" in result) {
      void this.#sendAgain(sent, result.g);
    } else {
      const answer = "v" in result ? result.v : result.e;
      const failed = "e" in result;
      // At once: no promise for each of thousands.
      if ("b" in answer) return this.#settle(sent, fromBase64(answer.b), failed);
      if (sent.fetching === answer.k) return;
      sent.fetching = answer.k;
      const there = parcels()!;
      there.fetch(answer).then(
        (bytes) => this.#settle(sent, bytes, failed),
        (error) => this.#missResult(sent, error),
      ).finally(() => there.drop(answer));
    }
  }

  #settle(sent: Sent, bytes: Uint8Array, failed: boolean): void {
    const { job } = sent;
    let value: unknown;
    try {
      value = decodeValue(bytes);
      if (!failed && !isCall(job)) value = mapResult(value as ChunkResult);
    } catch (error) {
      return void this.reject(sent, error);
    }
    if (failed && !isCall(job)) return void this.reject(sent, value);
    if (!this.#forget(sent)) return;
    if (failed) this.failed++;
    else this.completed++;
    resolveJob(job, failed ? rethrow(value, job.mark, NO_SOURCES) : value);
    this.#options.onSettled();
  }

  /** Returns false if the job was settled before. */
  reject(sent: Sent, error: unknown): boolean {
    if (!this.#forget(sent)) return false;
    this.failed++;
    rejectJob(sent.job, error);
    this.#options.onSettled();
    return true;
  }

  #forget(sent: Sent): boolean {
    const { outbox, parcels } = this.#options;
    if (!outbox.delete(sent)) return false;
    this.#mark(sent, false);
    const { job: { watch }, data } = sent;
    if (watch !== undefined) watch.task = SETTLED;
    if (data !== undefined) parcels()?.drop(data.i);
    return true;
  }

  // ── Losses

  /** Settles a job that its daemons have not survived; unless it had not begun when the last one was lost. */
  #lose(id: string, reason: string): void {
    // Should Redis be away, the job is asked for when it is back.
    this.#tryLose(id, reason).catch(() => {});
  }

  async #tryLose(id: string, reason: string): Promise<void> {
    const { outbox, lossRetries, link } = this.#options;
    const sent = outbox.sent.get(id);
    if (sent === undefined) return;
    const times = lossRetries === 0 ? "once" : `${lossRetries + 1} times`;
    const error = this.#lost(
      `The task was lost ${times}: each daemon that ran it has died, or was cut off ` +
        `(job ${id}: ${reason})`,
    );
    if (lossRetries === 0) return void this.reject(sent, error);
    const job = await (await link()).queue.getJob(id);
    // Sent again meanwhile.
    if (!job?.failedReason) return;
    const waited = job.stalledCounter > lossRetries && job.progress !== lossRetries;
    if (waited) await this.#sendAgain(sent, error.message);
    else this.reject(sent, error);
  }

  /** Daemons have dropped all that was sent, which may have begun: whether it may begin again is to be seen. */
  loseAll(): void {
    const { outbox, lossRetries } = this.#options;
    for (const sent of [...outbox.sent.values()]) {
      if (lossRetries > 0) this.#mark(sent, false);
      else this.#loseUnknown(sent);
    }
  }

  /** The job has run, but what came of it is not there. */
  #missResult(sent: Sent, error: unknown): void {
    sent.fetching = undefined;
    if (!(error instanceof Gone)) return void this.reject(sent, error);
    if (this.#options.lossRetries > 0) return void this.#sendAgain(sent, error.message);
    this.reject(sent, this.#lost(`The result of job ${sent.id} is lost: ${error.message}`));
  }

  /** While this program was silent its pool was taken for dead, and a part of a job with it. */
  async #sendAgain(sent: Sent, reason: string): Promise<void> {
    const { outbox, functions, link } = this.#options;
    if (sent.sending || !outbox.sent.has(sent.id)) return;
    if (++sent.again > AGAIN) return void this.reject(sent, this.#lost(reason));
    sent.sending = true;
    sent.data = undefined;
    this.#mark(sent, false);
    try {
      const there = await link();
      await functions.tell(there.redis, true);
      await there.queue.remove(sent.id);
      await outbox.send(there, [sent]);
    } catch (error) {
      this.reject(sent, error);
    }
  }

  #loseUnknown(sent: Sent): void {
    this.reject(sent, this.#lost(`Redis has lost job ${sent.id}, which may have begun`));
  }

  /** Nothing is known of the daemon but that it is silent. */
  #lost(message: string): ProcessLostError {
    const { name } = this.#options;
    return new ProcessLostError(message, { exitCode: -9, pid: 0, processName: name });
  }

  // ── Silence

  /** If there was no news for long: settles what was settled unheard, and sends what Redis has lost. */
  async ask(link: Link): Promise<void> {
    const { outbox, lossRetries } = this.#options;
    if (outbox.sent.size === 0 || performance.now() - this.#heard <= SILENCE_MS) return;
    const asked = [...outbox.sent.values()].filter(({ sending }) => !sending);
    const jobs = await Promise.all(asked.map(({ id }) => link.queue.getJob(id)));
    const lost: Sent[] = [];
    asked.forEach((sent, at) => {
      const job = jobs[at];
      if (job === undefined) {
        // What lay beside it is lost, too.
        sent.data = undefined;
        if (lossRetries > 0) lost.push(sent);
        else this.#loseUnknown(sent);
      } else if (job.finishedOn === undefined) return;
      else if (job.failedReason) this.#lose(sent.id, job.failedReason);
      else this.#take(sent.id, job.returnvalue);
    });
    if (lost.length > 0) await outbox.send(link, lost);
  }
}

function mapResult({ values, errors, took }: ChunkResult) {
  const decoded = errors.map(([at, bytes]): [number, unknown] => [at, decodeValue(bytes)]);
  return { values, errors: new Map(decoded), took, sources: NO_SOURCES };
}
