/**
 * The workers of a pool on this machine: started, replaced, stopped.
 *
 * @module
 */

import { ended, GRACE_MS, TERMINATED } from "../../memory/control.ts";
import { openChannel, type Port } from "../../runtime/mod.ts";
import { closed, spawn, stop } from "../spawn.ts";
import type { TaskLoopPayload } from "../protocol.ts";
import type { Transferable } from "../../runtime/port.ts";

/** A living worker. */
export interface Worker {
  readonly slot: number;
  readonly pid: number;
  readonly name: string;
  readonly port: Port;
  /** Whether the pool has stopped it. */
  stopped: boolean;
}

/** What a {@linkcode Crew} is made of. */
export interface CrewOptions {
  /** URL of the worker module. */
  module: string;
  /** Number of workers. */
  size: number;
  /** Workers are named `${name}-1` and so on. */
  name: string;
  /** What a worker is started with. */
  payload(slot: number, port: unknown): { payload: TaskLoopPayload; transfer: Transferable[] };
  /** Called before a worker is started: a task may lie there already. */
  greet(port: Port): void;
  /** Settles what a worker has left behind. Returns whether another is to take its place. */
  bury(worker: Worker, exitCode: number): Promise<boolean>;
  /** Called when a worker cannot be started. */
  giveUp(reason: unknown): void;
}

/** A fixed number of workers: who ends is replaced. */
export class Crew {
  /** Workers that were replaced. */
  replaced = 0;
  readonly #options: CrewOptions;
  readonly #workers: (Worker | undefined)[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #started = 0;
  #alive = 0;

  constructor(options: CrewOptions) {
    this.#options = options;
    for (let slot = 0; slot < options.size; slot++) this.#workers.push(undefined);
  }

  /** Resolves when all workers have ended, and none is to be replaced. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Starts all workers. */
  start(): void {
    for (let slot = 0; slot < this.#options.size; slot++) this.#start(slot);
  }

  /** Number of workers. */
  get size(): number {
    return this.#options.size;
  }

  /** The living workers. */
  *workers(): Iterable<Worker> {
    for (const worker of this.#workers) if (worker !== undefined) yield worker;
  }

  /** The living worker in a slot. */
  at(slot: number): Worker | undefined {
    return this.#workers[slot];
  }

  /** Stops a worker now. */
  stop(slot: number): void {
    const worker = this.#workers[slot];
    if (worker === undefined) return;
    worker.stopped = true;
    stop(worker.pid, TERMINATED);
  }

  /** Stops all workers now. */
  stopAll(): void {
    for (let slot = 0; slot < this.#options.size; slot++) this.stop(slot);
  }

  #start(slot: number): void {
    const { module, name: prefix, greet, payload } = this.#options;
    const [port, raw] = openChannel();
    greet(port);
    const name = `${prefix}-${++this.#started}`;
    const pid = spawn({
      module,
      name,
      identity: name,
      daemon: true,
      plain: null,
      ...payload(slot, raw),
    });
    const worker: Worker = { slot, pid, name, port, stopped: false };
    this.#workers[slot] = worker;
    this.#alive++;
    this.#watch(worker);
  }

  async #watch(worker: Worker): Promise<void> {
    // Who was stopped has nothing more to say, and may be in a loop that the runtime cannot end.
    await ended(worker.pid);
    const code = await closed(worker.pid, worker.stopped ? 2 * GRACE_MS : undefined);
    const replace = await this.#options.bury(worker, code);
    worker.port.close();
    this.#workers[worker.slot] = undefined;
    this.#alive--;
    if (replace) this.#replace(worker.slot);
    if (this.#alive === 0) this.#ended.resolve();
  }

  #replace(slot: number): void {
    this.replaced++;
    try {
      this.#start(slot);
    } catch (error) {
      this.#options.giveUp(error);
    }
  }
}
