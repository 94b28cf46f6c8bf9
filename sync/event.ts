import type { WaitOptions, WaitSyncOptions } from "../errors.ts";
import { checkAlive } from "../memory/control.ts";
import { EventFlag } from "../memory/event_flag.ts";
import { registerWaitable } from "../memory/readiness.ts";
import { checkWait } from "../memory/timeout.ts";
import { Line, PENDING, waitSync } from "../memory/wait.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";

/**
 * A flag that processes wait for; shareable, robust.
 *
 * **Death.** A process that dies while it sets or clears the flag has done so, or not; if it had set it
 * but not yet woken the waiters, they see for themselves within 250 ms. A waiter that dies is forgotten.
 *
 * Semantics: Python's `multiprocessing.Event`.
 *
 * @example Usage
 * ```ts
 * import { Event } from "@multiprocessing/core/sync";
 * import { assert } from "@std/assert";
 *
 * const event = new Event();
 * setTimeout(() => event.set(), 10);
 * assert(await event.wait());
 * assert(event.isSet());
 * ```
 */
export class Event {
  #flag = new EventFlag();
  readonly #line = new Line();

  static {
    registerShareable("Event", Event, (event) => event.#flag.buffer, (parts) => {
      const event = new Event();
      event.#flag = new EventFlag(parts as SharedArrayBuffer);
      return event;
    });
    registerWaitable(Event, (event: Event) => event.#flag.waiter());
  }

  /**
   * Tells whether the flag is set.
   *
   * @returns True after {@linkcode set}, false at first and after {@linkcode clear}.
   */
  isSet(): boolean {
    return this.#flag.isSet;
  }

  /** Sets the flag: all who wait pass. */
  set(): void {
    checkAlive();
    this.#flag.set();
  }

  /** Clears the flag: who comes from now on waits. */
  clear(): void {
    checkAlive();
    this.#flag.clear();
  }

  /**
   * Waits until the flag is set. Passes even if it is cleared again at once.
   *
   * @param options Timeout and signal.
   * @returns True; false when `timeout` is over.
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    const timeout = checkWait(options);
    return await this.#line.wait(this.#flag.waiter(), timeout, options?.signal) !== PENDING;
  }

  /**
   * Waits until the flag is set, blocking this thread.
   *
   * @param options Timeout.
   * @returns True; false when `timeout` is over.
   */
  waitSync(options?: WaitSyncOptions): boolean {
    const timeout = checkWait(options);
    return waitSync(this.#flag.waiter(), timeout) !== PENDING;
  }
}

registerExports({ Event });
