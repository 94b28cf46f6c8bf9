/**
 * The signal of the task that a pool's worker is running, for `currentProcess().signal`.
 *
 * @module
 */

import type { Lease } from "../../memory/lease.ts";

let signals: TaskSignals | undefined;

/** The signal of the task that this process is running; undefined if it runs none that is watched. */
export function taskSignal(): AbortSignal | undefined {
  return signals?.current;
}

/** Makes a signal for each task that asks for it. */
export class TaskSignals {
  readonly #lease: Lease;
  readonly #reasonOf: (task: number) => unknown;
  #task = 0;
  #controller: AbortController | undefined;
  #listening = false;

  /** @param reasonOf Why a task was told to stop, as the pool has said. */
  constructor(lease: Lease, reasonOf: (task: number) => unknown) {
    this.#lease = lease;
    this.#reasonOf = reasonOf;
    signals = this;
  }

  /** A watched task begins; 0: it has ended. */
  begin(task: number): void {
    this.#task = task;
    this.#controller = undefined;
  }

  /** Looks by itself, so that also a task that never waits sees when it is told to stop. */
  get current(): AbortSignal | undefined {
    if (this.#task === 0) return undefined;
    this.#controller ??= new AbortController();
    if (!this.#listening) this.#listen();
    this.#look();
    return this.#controller.signal;
  }

  #look(): void {
    if (this.#controller === undefined || this.#controller.signal.aborted) return;
    if (this.#lease.aborted === this.#task) this.#controller.abort(this.#reasonOf(this.#task));
  }

  async #listen(): Promise<void> {
    this.#listening = true;
    // Looks after it has read the word: what is told later has another number.
    for (let seen = this.#lease.aborted;; seen = this.#lease.aborted) {
      this.#look();
      await this.#lease.nextAborted(seen);
    }
  }
}
