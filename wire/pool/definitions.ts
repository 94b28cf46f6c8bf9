/**
 * The functions that a pool's tasks name by number: the pool's half. The workers' is `functions.ts`.
 *
 * @module
 */

import { EncodingError } from "../../errors.ts";
import type { Port } from "../../runtime/mod.ts";
import type { Sources } from "./caller.ts";
import { packTarget } from "../target/target_pack.ts";
import type { DefinitionMessage, Packed, TargetRef } from "../protocol.ts";
import { describeTarget } from "../target/target_ref.ts";
import { sourcesOf } from "../target/target_resolve.ts";
import { sendingKey } from "../target/tasks.ts";
import type { Transferable } from "../../runtime/port.ts";

/** A function that the workers know, or will before they see a task that needs it. */
export interface Definition {
  readonly index: number;
  readonly packed: Packed;
  /** Under which it is known here: its source text if that is all there is to it, or itself. */
  readonly key: unknown;
  /** What of it travels as text, by the name in stacks. */
  readonly sources: Sources;
  /** Unsettled jobs that need it. */
  users: number;
}

// So many functions are remembered although no job needs them: closures made anew for each call must
// not fill the memory.
const MAX_IDLE = 1000;

/** Gives functions numbers, and tells the workers what they mean. */
export class Definitions {
  readonly #byKey = new Map<unknown, Definition>();
  readonly #workers: () => Iterable<{ port: Port }>;
  #next = 0;
  #lastKey: unknown;
  #last: Definition | undefined;

  /** @param workers All living workers. */
  constructor(workers: () => Iterable<{ port: Port }>) {
    this.#workers = workers;
  }

  /**
   * The definition of a target; the caller counts itself among its users.
   *
   * @throws {TargetError} If it cannot be sent.
   */
  define(target: unknown): Definition {
    // One function is called many times in a row.
    const key = sendingKey(target);
    if (this.#last !== undefined && key === this.#lastKey) return this.#last;
    this.#last = this.#byKey.get(key) ?? this.#describe(target, key);
    this.#lastKey = key;
    return this.#last;
  }

  #describe(target: unknown, ownKey: unknown): Definition {
    const ref = describeTarget(target);
    const key = keyOf(ref) ?? ownKey;
    return this.#byKey.get(key) ?? this.#add(key, ref);
  }

  /** Tells a new worker all that the others know. */
  tellAll(port: Port): void {
    for (const { index, packed } of this.#byKey.values()) post(port, { index, target: packed });
  }

  #add(key: unknown, ref: TargetRef): Definition {
    const moved: Transferable[] = [];
    const packed = packTarget(ref, moved);
    if (moved.length > 0) {
      throw new EncodingError(
        "Cannot send scope: every worker of a pool gets it, so nothing in it can be moved; " +
          "pass what is moved as an argument",
      );
    }
    const texts = sourcesOf(ref);
    const sources = { texts, mark: texts.size > 0 ? new Error() : undefined };
    const definition = { index: this.#next++, packed, key, sources, users: 0 };
    this.#byKey.set(key, definition);
    for (const { port } of this.#workers()) {
      post(port, { index: definition.index, target: definition.packed });
    }
    if (this.#byKey.size > MAX_IDLE) this.#forgetOldest();
    return definition;
  }

  #forgetOldest(): void {
    for (const { key, users, index } of this.#byKey.values()) {
      if (users > 0 || index === this.#next - 1) continue;
      this.#last = undefined;
      this.#byKey.delete(key);
      for (const { port } of this.#workers()) post(port, { index, target: null });
      return;
    }
  }
}

function post(port: Port, message: DefinitionMessage): void {
  port.post(message);
}

/** What is the same function, however often it is made: a text without scope, an export of a module. */
function keyOf(ref: TargetRef): string | undefined {
  if (ref.kind === "module") return JSON.stringify([ref.module, ref.name, ref.task]);
  return ref.scope.length === 0 ? ref.source : undefined;
}
