import { ProcessError } from "@multiprocessing/core/errors";
import type { RedisConnection } from "../wire/connection.ts";
import { checkName } from "../wire/keys.ts";
import { FORGET, VALUE_CHANGE, VALUE_GET } from "../wire/scripts.ts";
import { checkKeep } from "../wire/duration.ts";
import type { KeepOptions } from "../sync/event.ts";
import type { Fence } from "../sync/guard.ts";

/** Options of a write to a cluster's {@linkcode Value}. */
export interface WriteOptions {
  /** Write only while this lock is held, by this very acquisition: its guard, or name and token. */
  fence?: Fence;
}

type Verb = "set" | "add" | "compare";

/**
 * A number that the programs of a cluster share, by name.
 *
 * **Atomic.** Each call is one step. **A number of JavaScript**: 64-bit floating point, so a count is
 * exact up to 2^53. **Fenced**, if wished: a write with `{ fence: guard }` is refused when that guard's
 * lock is lost, even if its owner does not know yet. **Kept** until nobody has used it for a week; see
 * `keep`.
 *
 * Semantics: the asynchronous form of the core's `Value`, with its names; what changes it returns the
 * value before.
 *
 * @example Usage
 * ```ts ignore
 * const count = new Value(connection, "count");
 * await count.add(2);
 * await count.get(); // 2
 * ```
 */
export class Value {
  /** The name. */
  readonly name: string;
  readonly #connection: RedisConnection;
  readonly #key: string;
  readonly #initial: string;
  readonly #keep: number;

  /**
   * A handle on the value of that name.
   *
   * @param connection Where it is.
   * @param name Its name: 1 to 200 characters, no control characters.
   * @param initial What it is as long as nobody has written it; the same for all who use it.
   * @param options How long it is kept.
   * @throws {TypeError} If `initial` is no number.
   * @throws {RangeError} If the name or `keep` is out of range.
   */
  constructor(connection: RedisConnection, name: string, initial = 0, options: KeepOptions = {}) {
    this.name = checkName("Value", name);
    this.#connection = connection;
    this.#key = connection.key("value", name);
    this.#initial = write(initial);
    this.#keep = checkKeep("create Value", options.keep);
  }

  /**
   * Reads it.
   *
   * @returns The value.
   */
  async get(): Promise<number> {
    const args = [this.#initial, this.#keep];
    return read(await this.#connection.run(VALUE_GET, [this.#key], args) as string);
  }

  /**
   * Writes it.
   *
   * @param value What to write.
   * @param options A fence.
   * @throws {TypeError} If `value`, or the fence's token, is no number.
   * @throws {ProcessError} If the fence's lock is lost: nothing was written.
   */
  async set(value: number, options?: WriteOptions): Promise<void> {
    await this.#change("set", value, options);
  }

  /**
   * Adds to it.
   *
   * @param n What to add.
   * @param options A fence.
   * @returns The value before.
   * @throws {TypeError} If `n`, or the fence's token, is no number.
   * @throws {ProcessError} If the fence's lock is lost: nothing was written.
   */
  async add(n: number, options?: WriteOptions): Promise<number> {
    return await this.#change("add", n, options);
  }

  /**
   * Subtracts from it.
   *
   * @param n What to subtract.
   * @param options A fence.
   * @returns The value before.
   * @throws {TypeError} If `n`, or the fence's token, is no number.
   * @throws {ProcessError} If the fence's lock is lost: nothing was written.
   */
  async sub(n: number, options?: WriteOptions): Promise<number> {
    return await this.#change("add", -checkNumber(n), options);
  }

  /**
   * Writes it.
   *
   * @param value What to write.
   * @param options A fence.
   * @returns The value before.
   * @throws {TypeError} If `value`, or the fence's token, is no number.
   * @throws {ProcessError} If the fence's lock is lost: nothing was written.
   */
  async exchange(value: number, options?: WriteOptions): Promise<number> {
    return await this.#change("set", value, options);
  }

  /**
   * Writes it if it is the expected one, as `===` says.
   *
   * @param expected What the value must be.
   * @param value What to write then.
   * @param options A fence.
   * @returns The value before: `expected`, if it was written.
   * @throws {TypeError} If one of them, or the fence's token, is no number.
   * @throws {ProcessError} If the fence's lock is lost: nothing was written.
   */
  async compareExchange(
    expected: number,
    value: number,
    options?: WriteOptions,
  ): Promise<number> {
    return await this.#change("compare", value, options, expected);
  }

  /** Forgets it: it is the initial one again. */
  async delete(): Promise<void> {
    await this.#connection.run(FORGET, [this.#key, this.#key], []);
  }

  async #change(
    verb: Verb,
    operand: number,
    { fence }: WriteOptions = {},
    expected = 0,
  ): Promise<number> {
    const lock = fence && this.#connection.key("lock", checkName("fence", fence.name));
    if (fence !== undefined && !Number.isSafeInteger(fence.token)) {
      throw new TypeError(
        `Cannot write Value: the fence's 'token' must be an integer, but is ${fence.token}`,
      );
    }
    const [done, answer] = await this.#connection.run(
      VALUE_CHANGE,
      [this.#key, lock ?? this.#key],
      [
        verb,
        write(operand),
        this.#initial,
        this.#keep,
        fence?.token ?? "",
        write(expected),
      ],
    ) as [0, number] | [1, string];
    if (done === 1) return read(answer);
    throw new ProcessError(
      `Cannot write Value ${JSON.stringify(this.name)}: Lock ${JSON.stringify(fence?.name)} ` +
        `is no longer held with token ${fence?.token}; the last one is ${answer || "unknown"}`,
    );
  }
}

function checkNumber(value: number): number {
  if (typeof value === "number") return value;
  throw new TypeError(`Cannot use a Value: it must be a number, but is ${typeof value}`);
}

/** A number as text that Lua reads as the same one. */
function write(value: number): string {
  return Object.is(checkNumber(value), -0) ? "-0" : String(value);
}

/** The number of a text written by {@linkcode write}, or by Lua. */
function read(text: string): number {
  if (/nan/i.test(text)) return NaN;
  return /inf/i.test(text) ? (text.startsWith("-") ? -Infinity : Infinity) : Number(text);
}
