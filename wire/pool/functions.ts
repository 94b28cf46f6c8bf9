/**
 * The functions that a pool's tasks name by number: the workers' half. The pool's is `definitions.ts`.
 *
 * @module
 */

import { bootRecord } from "../../memory/control.ts";
import { type Port, receive } from "../../runtime/mod.ts";
import { unpack } from "../packet.ts";
import type { DefinitionMessage, Packed, TargetRef } from "../protocol.ts";
import { resolveTarget } from "../target/target_resolve.ts";
import type { AnyFunction } from "../target/tasks.ts";

/** Makes functions when they are first needed, from the definitions that lie in the port. */
export class Functions {
  readonly #port: Port;
  readonly #definitions = new Map<number, Packed>();
  readonly #ready = new Map<number, AnyFunction>();

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
    const { importModule } = bootRecord!.inside;
    const ref = unpack(this.#definition(index)) as TargetRef;
    bootRecord!.importing++;
    try {
      const fn = await resolveTarget(ref, importModule);
      this.#ready.set(index, fn);
      return fn;
    } finally {
      bootRecord!.importing--;
    }
  }

  // The pool has posted the definition before it put the task or started this worker: it lies in the port.
  #definition(index: number): Packed {
    while (!this.#definitions.has(index)) {
      const next = receive(this.#port);
      if (next === undefined) throw new Error(`Definition ${index} has got lost`);
      this.#learn(next.message as DefinitionMessage);
    }
    return this.#definitions.get(index) as Packed;
  }

  #learn({ index, target }: DefinitionMessage): void {
    if (target !== null) {
      this.#definitions.set(index, target);
    } else {
      this.#definitions.delete(index);
      this.#ready.delete(index);
    }
  }
}
