/**
 * The functions of a pool, as daemons find them: the client's half. Theirs is `daemon/functions.ts`.
 *
 * @module
 */

import type { Redis } from "ioredis";
import { describeTarget, encodeTarget, type TargetRef } from "@multiprocessing/core/backend";
import { TargetError } from "@multiprocessing/core/errors";
import { fileURLToPath, isFile, readFile, sha256, toBase64, within } from "../runtime/host.ts";
import type { FunctionRecord } from "../wire/messages.ts";
import { refuse } from "../wire/refusal.ts";

/** Gives functions keys, and tells the daemons what they mean. */
export class Functions {
  readonly #root: string;
  #where: string;
  readonly #keys = new WeakMap<object, string>();
  /** Keys of exports, by module and name. Their files are read once: this program has loaded them. */
  readonly #exports = new Map<string, string>();
  readonly #records = new Map<string, string>();
  readonly #untold = new Set<string>();

  /**
   * @param root The folder that client and daemons have in common.
   * @param where The hash in Redis.
   */
  constructor(root: string, where: string) {
    this.#root = root;
    this.#where = where;
  }

  /**
   * The key of a function.
   *
   * @throws {TargetError} If it cannot be sent, or its module is not under the root.
   * @throws {EncodingError} If it has captured something that lives on this machine.
   */
  define(target: unknown): string {
    const known = this.#keys.get(target as object);
    if (known !== undefined) return known;
    const ref = describeTarget(target);
    const name = ref.kind === "module" ? JSON.stringify([ref.module, ref.name, ref.task]) : "";
    const key = this.#exports.get(name) ?? this.#add(ref);
    if (name !== "") this.#exports.set(name, key);
    // What { module, name } says may change; what a function is does not.
    if (typeof target === "function") this.#keys.set(target, key);
    return key;
  }

  #add(ref: TargetRef): string {
    const record = JSON.stringify(this.#record(ref));
    const key = sha256(record).slice(0, 32);
    if (!this.#records.has(key)) {
      this.#records.set(key, record);
      this.#untold.add(key);
    }
    return key;
  }

  #record(ref: TargetRef): FunctionRecord {
    if (ref.kind === "source") {
      return { kind: "code", ref: toBase64(encodeTarget(ref, refuse)) };
    }
    const { module, name, task } = ref;
    if (!module.startsWith("file:")) {
      throw new TargetError(
        `Cannot send "${name}" to the cluster: ${module} is no file; ` +
          "put the function into a module under the root, which all machines have",
      );
    }
    const file = fileURLToPath(module);
    if (!isFile(file)) {
      throw new TargetError(`Cannot send "${name}" to the cluster: there is no file ${file}`);
    }
    const path = within(this.#root, file);
    if (path === undefined) {
      throw new TargetError(
        `Cannot send "${name}" to the cluster: ${file} is not under the root, ${this.#root}; ` +
          "pass the folder that all machines have as cluster(url, { root })",
      );
    }
    return { kind: "module", path, hash: sha256(readFile(file)), name, task };
  }

  /** From now on they are told elsewhere, where nobody knows any yet. */
  move(where: string): void {
    this.#where = where;
    for (const key of this.#records.keys()) this.#untold.add(key);
  }

  /** Writes down what the daemons cannot know yet; with `all`, everything again. */
  async tell(redis: Redis, all = false): Promise<void> {
    const keys = all ? [...this.#records.keys()] : [...this.#untold];
    if (keys.length === 0) return;
    for (const each of keys) this.#untold.delete(each);
    try {
      await redis.hset(this.#where, ...keys.flatMap((each) => [each, this.#records.get(each)!]));
    } catch (error) {
      for (const each of keys) this.#untold.add(each);
      throw error;
    }
  }
}
