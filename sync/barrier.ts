import {
  BrokenBarrierError,
  ProcessError,
  type WaitOptions,
  type WaitSyncOptions,
} from "../errors.ts";
import {
  ACT,
  type Arrival,
  type BarrierOutcome,
  BarrierState,
  type BREAK,
} from "../memory/barrier.ts";
import { bootRecord } from "../memory/control.ts";
import { checkOptions } from "../memory/options.ts";
import { checkTimeout, checkWait } from "../memory/timeout.ts";
import { PENDING, waitSync } from "../memory/wait.ts";
import { Unsendable } from "../wire/codec/kinds.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import type { TargetRef } from "../wire/protocol.ts";
import { registerExports } from "../wire/target/exports.ts";
import { describeIfLoaded } from "../wire/target/describer.ts";
import { resolveLoaded, resolveTarget } from "../wire/target/target_resolve.ts";

/** Options of a {@linkcode Barrier}. */
export interface BarrierOptions {
  /**
   * Called by one of the parties, once all have arrived and before any passes; see `Target` for what it
   * may be. If it throws, the barrier breaks, and its party gets what it has thrown.
   */
  action?: (() => void) | undefined;
  /** What `timeout` is for waits that give none; in milliseconds. */
  timeout?: number | undefined;
}

/** How a Barrier crosses. */
interface BarrierParts {
  buffer: SharedArrayBuffer;
  timeout: number | null;
  action: TargetRef | null;
}

/** Options of a handle on a barrier that another process has made; not for users. */
class AdoptOptions implements BarrierOptions {
  readonly timeout?: number;
  readonly parts: BarrierParts;

  constructor(parts: BarrierParts) {
    this.parts = parts;
  }
}

/**
 * A point at which a number of parties wait for each other, round after round; shareable, robust.
 *
 * **All or none.** A party that gives up, or whose action throws, breaks the barrier: all others get a
 * BrokenBarrierError, until it is {@linkcode reset}. An aborted signal takes its party back instead.
 * **Each once.** The parties of a round get the indices from 0 to `parties - 1`.
 *
 * **Death.** A process that dies while it waits at the barrier, or runs its action, breaks it within
 * 250 ms. So does one that has the barrier and has crashed, been terminated or been killed before it
 * came; it is no longer missed when another process has been given the barrier since, or after a reset.
 * A process that ends well without coming is not missed: give a timeout where that may happen.
 *
 * Semantics: Python's `multiprocessing.Barrier`.
 *
 * @example Usage
 * ```ts
 * import { Barrier } from "@multiprocessing/core/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const barrier = new Barrier(2);
 * const indices = await Promise.all([barrier.wait(), barrier.wait()]);
 * assertEquals(indices.sort(), [0, 1]);
 * ```
 */
export class Barrier {
  readonly #state: BarrierState;
  readonly #timeout: number | undefined;
  /** What the action is elsewhere; null if there is none, undefined if that is not known yet. */
  #ref: TargetRef | null | undefined;
  #action: (() => void) | undefined;

  static {
    registerShareable(
      "Barrier",
      Barrier,
      (barrier, { to }): BarrierParts => {
        if (to !== undefined) barrier.#state.expect(to);
        return {
          buffer: barrier.#state.buffer,
          timeout: barrier.#timeout ?? null,
          action: barrier.#describe(),
        };
      },
      (parts) => new Barrier(1, new AdoptOptions(parts as BarrierParts)),
    );
  }

  /**
   * Creates a barrier.
   *
   * @param parties How many must arrive before they pass.
   * @param options Action, and default timeout.
   * @throws {RangeError} If `parties` is below 1 or no integer, or `timeout` is NaN.
   * @throws {TypeError} If `action` is no function.
   * @throws {TargetError} If `action` cannot be sent to other processes.
   */
  constructor(parties: number, options: BarrierOptions = {}) {
    if (options instanceof AdoptOptions) {
      const { buffer, timeout, action } = options.parts;
      this.#state = BarrierState.attach(buffer);
      this.#timeout = timeout ?? undefined;
      this.#ref = action;
      this.#action = action === null ? undefined : resolveLoaded(action) as () => void;
      return;
    }
    if (!Number.isSafeInteger(parties) || parties < 1 || parties >= 2 ** 31) {
      throw new RangeError(
        "Cannot create Barrier: 'parties' must be an integer >= 1 and < 2^31, " +
          `but is ${String(parties)}`,
      );
    }
    checkOptions("create Barrier", options, { function: "action", number: "timeout" });
    const { action, timeout } = options;
    if (action !== undefined && typeof action !== "function") {
      throw new TypeError(
        `Cannot create Barrier: 'action' must be a function, but is ${String(action)}`,
      );
    }
    checkTimeout(timeout);
    this.#ref = action === undefined ? null : describeIfLoaded(action);
    this.#action = action;
    this.#timeout = timeout;
    this.#state = BarrierState.create(parties);
  }

  /** How many parties make a round. */
  get parties(): number {
    return this.#state.parties;
  }

  /** How many parties wait at the moment. */
  get nWaiting(): number {
    return this.#state.waiting;
  }

  /** Whether the barrier is broken: nobody passes until it is reset. */
  get broken(): boolean {
    return this.#state.broken;
  }

  /**
   * Waits until all parties have arrived.
   *
   * @param options Timeout, and signal.
   * @returns From 0 to `parties - 1`, another number for each party of a round.
   * @throws {BrokenBarrierError} If the barrier is broken or reset, or `timeout` is over: then it is
   * broken for all.
   */
  async wait(options?: WaitOptions): Promise<number> {
    const timeout = checkWait(options, this.#timeout);
    options?.signal?.throwIfAborted();
    if (this.#ref && this.#action === undefined) {
      await this.#loadAction(this.#ref);
      options?.signal?.throwIfAborted();
    }
    const arrival = this.#state.arrive(this.#ref !== null);
    // Not in line: each party counts from the moment it comes.
    const outcome = arrival.attempt();
    if (outcome !== PENDING) return this.#pass(arrival, outcome, timeout);
    const later = await this.#state.line.wait(arrival, timeout, options?.signal);
    return this.#pass(arrival, later, timeout);
  }

  /**
   * Waits until all parties have arrived, blocking this thread.
   *
   * @param options Timeout.
   * @returns From 0 to `parties - 1`, another number for each party of a round.
   * @throws {BrokenBarrierError} If the barrier is broken or reset, or `timeout` is over: then it is
   * broken for all.
   * @throws {ProcessError} If the action comes from a module that this process has not loaded.
   */
  waitSync(options?: WaitSyncOptions): number {
    const timeout = checkWait(options, this.#timeout);
    if (this.#ref) this.#action ??= resolveLoaded(this.#ref) as (() => void) | undefined;
    if (this.#ref && this.#action === undefined) {
      throw new ProcessError(
        `Cannot wait for Barrier: its action "${this.#ref.name}" is of a module that this process ` +
          "has not loaded; import that module before, or use wait()",
      );
    }
    const arrival = this.#state.arrive(this.#ref !== null);
    return this.#pass(arrival, waitSync(arrival, timeout), timeout);
  }

  /** Who waits gets a BrokenBarrierError; then the barrier is as new. */
  reset(): void {
    this.#state.reset();
  }

  /** Breaks the barrier: who waits or comes gets a BrokenBarrierError, until it is reset. */
  abort(): void {
    this.#state.abort();
  }

  #pass(arrival: Arrival, outcome: BarrierOutcome | typeof PENDING, timeout: number): number {
    if (outcome === ACT) outcome = this.#act(arrival);
    if (typeof outcome === "number") return outcome;
    if (outcome === PENDING) {
      this.#state.abort();
      throw new BrokenBarrierError(
        `Cannot pass Barrier: the other parties did not come within ${timeout} ms`,
      );
    }
    throw new BrokenBarrierError(
      "Cannot pass Barrier: it was broken or reset; after reset() its parties may wait again",
    );
  }

  #act(arrival: Arrival): number | typeof BREAK {
    try {
      this.#action?.();
    } catch (error) {
      this.#state.complete(arrival, true);
      throw error;
    }
    return this.#state.complete(arrival);
  }

  #describe(): TargetRef | null {
    if (this.#ref === undefined) this.#ref = describeIfLoaded(this.#action);
    if (this.#ref !== undefined) return this.#ref;
    throw new Unsendable(
      "its action cannot be read here; import @multiprocessing/core/process in this process, too",
    );
  }

  async #loadAction(ref: TargetRef): Promise<void> {
    const load = bootRecord?.inside.importModule ?? ((url) => import(url));
    this.#action = await resolveTarget(ref, load) as () => void;
  }
}

registerExports({ Barrier });
