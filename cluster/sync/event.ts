import type { WaitOptions } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { Line, type Outcome, PENDING } from "../wire/line.ts";
import { EVENT_LOOK, EVENT_WRITE, FORGET } from "../wire/scripts.ts";
import { checkKeep } from "../wire/duration.ts";

/** Options of what lasts without anybody who holds it. */
export interface KeepOptions {
  /**
   * It is forgotten when nobody has used it for so many milliseconds; `Infinity`: never.
   *
   * @default {604_800_000}
   */
  keep?: number;
}

interface Look {
  /** How often it had been set when this waiter first looked. */
  since: number | undefined;
}

/**
 * A flag that the programs of a cluster wait for, by name.
 *
 * **Kept.** It stays as it is until somebody sets or clears it, or nobody has used it for a week; see
 * `keep`. It belongs to nobody, so no death changes it.
 *
 * Semantics: the asynchronous half of the core's `Event`.
 *
 * @example Usage
 * ```ts ignore
 * const ready = new Event(connection, "ready");
 * setTimeout(() => ready.set(), 10);
 * await ready.wait({ timeout: 1000 });
 * ```
 */
export class Event {
  /** The name. */
  readonly name: string;
  readonly #connection: RedisConnection;
  readonly #key: string;
  readonly #keep: number;
  readonly #line: Line<Look, true>;

  /**
   * A handle on the event of that name, which is not set at first.
   *
   * @param connection Where it is.
   * @param name Its name: 1 to 200 characters, no control characters.
   * @param options How long it is kept.
   * @throws {RangeError} If one of them is out of range.
   */
  constructor(connection: RedisConnection, name: string, options: KeepOptions = {}) {
    this.name = checkName("Event", name);
    this.#connection = connection;
    this.#key = connection.key("event", name);
    this.#keep = checkKeep("create Event", options.keep);
    this.#line = new Line(connection, {
      channel: this.#key,
      atOnce: Infinity,
      ask: (looks) => this.#ask(looks),
      undo: () => undefined,
    });
  }

  /**
   * Tells whether the flag is set.
   *
   * @returns True after {@linkcode set}, false at first and after {@linkcode clear}.
   */
  async isSet(): Promise<boolean> {
    const [set] = await this.#look();
    return set === 1;
  }

  /** Sets the flag: all who wait pass. */
  async set(): Promise<void> {
    await this.#connection.run(EVENT_WRITE, [this.#key], [this.#keep, 1]);
  }

  /** Clears the flag: who comes from now on waits. */
  async clear(): Promise<void> {
    await this.#connection.run(EVENT_WRITE, [this.#key], [this.#keep, 0]);
  }

  /**
   * Waits until the flag is set. Passes even if it is cleared again at once.
   *
   * @param options Timeout and signal.
   * @returns True; false when `timeout` is over.
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    return await this.#line.wait({ since: undefined }, options) !== PENDING;
  }

  /** Forgets it, as if it had never been set. */
  async delete(): Promise<void> {
    await this.#connection.run(FORGET, [this.#key, this.#key], []);
  }

  async #look(): Promise<[number, number]> {
    return await this.#connection.run(EVENT_LOOK, [this.#key], [this.#keep]) as [number, number];
  }

  /** Who came earlier has seen a smaller number, so those who pass are always the first ones. */
  async #ask(looks: Look[]): Promise<Outcome<true>> {
    const [set, times] = await this.#look();
    const passes = looks.filter((look) => {
      const first = look.since ??= times;
      return set === 1 || times > first;
    });
    return { served: passes.map(() => true) };
  }
}
