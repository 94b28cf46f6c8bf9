/**
 * The functions that a pool's tasks name by number: the workers' half. The pool's is `definitions.ts`.
 *
 * @module
 */

import { bootRecord } from "../../memory/control.ts";
import { type Port, receive } from "../../runtime/mod.ts";
import { unpack, unpackWhole } from "../packet.ts";
import type { Packed, PoolMessage, TargetRef } from "../protocol.ts";
import { resolveTarget } from "../target/target_resolve.ts";
import type { AnyFunction } from "../target/tasks.ts";

/** Makes functions when they are first needed, from the definitions that lie in the port. */
export class Functions {
  readonly #port: Port;
  readonly #definitions = new Map<number, Packed>();
  readonly #ready = new Map<number, AnyFunction>();
  #lastAbort: { task: number; reason: Packed } | undefined;

  constructor(port: Port) {
    this.#port = port;
  }

  /** The function, if it was loaded before. */
  get(index: number): AnyFunction | undefined {
    return this.#ready.get(index);
  }

  /**
   * Loads the function: compiles its source, or imports its module.
   *
   * @throws What its module threw, or a TargetError.
   */
  async load(index: number): Promise<AnyFunction> {
    const ready = this.#ready.get(index);
    if (ready !== undefined) return ready;
    const fn = await loadTarget(this.#definition(index));
    this.#ready.set(index, fn);
    return fn;
  }

  /** Why a task was told to stop. */
  abortReason(task: number): unknown {
    while (this.#learn());
    if (this.#lastAbort?.task !== task) return undefined;
    try {
      return unpack(this.#lastAbort.reason);
    } catch (error) {
      // The task is told to stop all the same.
      return error;
    }
  }

  // The pool has posted the definition before it put the task or started this worker: it lies in the port.
  #definition(index: number): Packed {
    while (!this.#definitions.has(index)) {
      if (!this.#learn()) throw new Error(`Definition ${index} has got lost`);
    }
    return this.#definitions.get(index) as Packed;
  }

  /** Takes the next message in. Returns false if there is none. */
  #learn(): boolean {
    const message = receive(this.#port)?.message as PoolMessage | undefined;
    if (message === undefined) return false;
    if ("task" in message) {
      this.#lastAbort = message;
    } else if (message.target !== null) {
      this.#definitions.set(message.index, message.target);
    } else {
      this.#definitions.delete(message.index);
      this.#ready.delete(message.index);
    }
    return true;
  }
}

/**
 * Makes a function of what crossed: compiles its source, or imports its module. No process may be
 * started meanwhile.
 *
 * @throws What its module threw, or a TargetError.
 */
export async function loadTarget(packed: Packed): Promise<AnyFunction> {
  const { importModule } = bootRecord!.inside;
  const ref = await unpackWhole(packed) as TargetRef;
  bootRecord!.importing++;
  try {
    return await resolveTarget(ref, importModule);
  } finally {
    bootRecord!.importing--;
  }
}
