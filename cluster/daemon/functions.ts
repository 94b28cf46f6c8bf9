/**
 * The functions of a pool, as a daemon finds them: its half. The client's is `pool/functions.ts`.
 *
 * @module
 */

import type { Redis } from "ioredis";
import { inFolder, pathToFileURL, readFile, sha256, within } from "../runtime/host.ts";
import { Gone } from "../wire/bytes.ts";
import type { FunctionRecord, ModuleRecord } from "../wire/messages.ts";
import type { Content, Runnable } from "./run.ts";

/** Why a daemon does not run a function. */
export class Refused extends Error {
  override name = "Refused";
}

/** What a daemon may run. */
export interface Permits {
  /** The folder that it has in common with the clients: nothing outside of it is imported. */
  root: string;
  /** Whether functions may come as text. */
  allowCode: boolean;
}

/** Finds functions by their keys, and checks them. */
export class Functions {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #permits: Permits;
  readonly #found = new Map<string, Runnable | Promise<Runnable>>();

  /** @param key Where the pool's functions lie in Redis. */
  constructor(redis: Redis, key: string, permits: Permits) {
    this.#redis = redis;
    this.#key = key;
    this.#permits = permits;
  }

  /**
   * The function of a key; a promise only of one that is not known yet.
   *
   * @throws {Refused} If it may not be run here, or is another than the client's.
   * @throws {Gone} If Redis does not have it.
   */
  find(key: string): Runnable | Promise<Runnable> {
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    const found = this.#find(key);
    this.#found.set(key, found);
    found.then((runnable) => this.#found.set(key, runnable), () => this.#found.delete(key));
    return found;
  }

  async #find(key: string): Promise<Runnable> {
    const text = await this.#redis.hget(this.#key, key);
    if (text === null) throw new Gone(`The function ${key} is gone: Redis has lost it`);
    const record = JSON.parse(text) as FunctionRecord;
    if (record.kind === "module") return this.#module(record);
    if (this.#permits.allowCode) return runnable({ ref: record.ref });
    throw new Refused(
      "this daemon runs no functions that come as text; put the function into a module under the " +
        "root and mark it by task(), or start the daemon with --allow-code",
    );
  }

  #module({ path, hash, name, task }: ModuleRecord): Runnable {
    const { root } = this.#permits;
    const file = inFolder(root, path);
    let bytes: Uint8Array;
    try {
      if (within(root, file) !== path) throw new Refused(`${path} is not under ${root}`);
      bytes = readFile(file);
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused(`there is no ${path} under ${root}; all machines need the same files`);
    }
    if (sha256(bytes) !== hash) {
      throw new Refused(
        `${path} under ${root} is another than the client's; bring both to the same version, ` +
          "and start the daemon again",
      );
    }
    return runnable({ url: pathToFileURL(file).href, name, task });
  }
}

function runnable(content: Content): Runnable {
  return JSON.stringify(content);
}
