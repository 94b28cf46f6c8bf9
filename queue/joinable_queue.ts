import type { WaitOptions, WaitSyncOptions } from "../errors.ts";
import { Ledger } from "../memory/joinable.ts";
import { checkWait } from "../memory/timeout.ts";
import { Line, PENDING, waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { AdoptOptions, getThrough, Queue, type QueueOptions, ringOf } from "./queue.ts";

/**
 * A queue that knows when all its items are done; shareable.
 *
 * **Unfinished** are the items in the queue, and those that living processes have got and not yet called
 * {@linkcode taskDone} for. **Death.** What a process had got and not done when it died counts as
 * finished: {@linkcode join} is not held up by more than 250 ms. **Closing** the queue does not
 * finish what is in it.
 *
 * Semantics: Python's `multiprocessing.JoinableQueue`.
 *
 * @typeParam T What the items are.
 *
 * @example Usage
 * ```ts
 * import { JoinableQueue } from "@multiprocessing/core/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new JoinableQueue<number>();
 * await queue.put(1);
 * assertEquals(await queue.get(), 1);
 * assertEquals(await queue.join({ timeout: 10 }), false);
 * queue.taskDone();
 * assertEquals(await queue.join(), true);
 * ```
 */
export class JoinableQueue<T = unknown> extends Queue<T> {
  readonly #ledger: Ledger;
  readonly #joinLine = new Line();

  static {
    registerShareable("JoinableQueue", JoinableQueue, (queue): unknown => [
      ringOf(queue).buffer,
      queue.#ledger.buffer,
    ], (parts) => {
      const [ring, ledger] = parts as [SharedArrayBuffer, SharedArrayBuffer];
      return new JoinableQueue(new AdoptOptions(ring, ledger));
    });
  }

  /**
   * Creates an empty queue.
   *
   * @param options Bounds in items and in bytes.
   * @throws {RangeError} If a bound is no whole number in range.
   */
  constructor(options: QueueOptions = {}) {
    super(options);
    const ring = ringOf(this);
    const buffer = options instanceof AdoptOptions ? options.ledger : undefined;
    this.#ledger = buffer === undefined ? Ledger.create(ring) : Ledger.attach(buffer, ring);
    getThrough(this, this.#ledger);
  }

  /**
   * Marks an item that was got as done. Called once for each, in the process that has got it or, if
   * that has none left, in another.
   *
   * @throws {RangeError} If all items that were got are done.
   */
  taskDone(): void {
    if (this.#ledger.done()) return;
    throw new RangeError(
      "Cannot mark a task as done: all that were got are; call taskDone() once for each get",
    );
  }

  /**
   * Waits until all items are done.
   *
   * @param options Timeout and signal.
   * @returns True; false when `timeout` is over.
   */
  async join(options?: WaitOptions): Promise<boolean> {
    const timeout = checkWait(options);
    return await this.#joinLine.wait(this.#ledger.join(), timeout, options?.signal) !== PENDING;
  }

  /**
   * Waits until all items are done, blocking this thread.
   *
   * @param options Timeout.
   * @returns True; false when `timeout` is over.
   */
  joinSync(options?: WaitSyncOptions): boolean {
    return waitSync(this.#ledger.join(), checkWait(options)) !== PENDING;
  }
}

registerExports({ JoinableQueue });
