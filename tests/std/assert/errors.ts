/**
 * Assertions that always fail, and those on errors.
 *
 * @module
 */

/** Error thrown when an assertion fails. */
export class AssertionError extends Error {
  static {
    this.prototype.name = "AssertionError";
  }

  /**
   * @param message What was expected, and what was found.
   * @param options The error's `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Any error class. */
// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Ends a message with `: msg`, or with a full stop. */
export function suffix(msg: string | undefined): string {
  return msg ? `: ${msg}` : ".";
}

/** Forcefully throws a failed assertion. */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${suffix(msg)}`);
}

/** Use this to assert unreachable code. */
export function unreachable(msg?: string): never {
  throw new AssertionError(`Unreachable${suffix(msg)}`);
}

/** Asserts that `error` is an `Error`, of this class and with this text or pattern in its message. */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: ErrorClass<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    throw new AssertionError(`Expected "error" to be an Error object${suffix(msg)}`);
  }
  if (ErrorClass && !(error instanceof ErrorClass)) {
    // The cause shows where the unexpected error came from.
    throw new AssertionError(
      `Expected error to be instance of "${ErrorClass.name}", but was "${error.constructor?.name}"${
        suffix(msg)
      }`,
      { cause: error },
    );
  }
  const matches = typeof msgMatches === "string"
    ? error.message.includes(msgMatches)
    : msgMatches?.test(error.message) ?? true;
  if (!matches) {
    const wanted = typeof msgMatches === "string" ? JSON.stringify(msgMatches) : String(msgMatches);
    throw new AssertionError(
      `Expected error message to include ${wanted}, but got ${JSON.stringify(error.message)}${
        suffix(msg)
      }`,
      { cause: error },
    );
  }
}

/** Sorts out the two forms of {@linkcode assertThrows}: `(fn, msg)` and `(fn, class, text, msg)`. */
function checkError<E extends Error>(
  error: unknown,
  verb: "thrown" | "rejected",
  args: [classOrMsg?: ErrorClass<E> | string, msgIncludes?: string, msg?: string],
): void {
  const [classOrMsg, msgIncludes, msg] = args;
  if (typeof classOrMsg !== "function") return;
  if (!(error instanceof Error)) {
    throw new AssertionError(`A non-Error object was ${verb}${suffix(msg)}`);
  }
  assertIsError(error, classOrMsg, msgIncludes, msg);
}

/** Executes a function, expecting it to throw, and returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Executes a function, expecting it to throw an error of this class, and returns the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error>(
  fn: () => unknown,
  ...args: [classOrMsg?: ErrorClass<E> | string, msgIncludes?: string, msg?: string]
): unknown {
  try {
    fn();
  } catch (error) {
    checkError(error, "thrown", args);
    return error;
  }
  const msg = typeof args[0] === "string" ? args[0] : args[2];
  throw new AssertionError(`Expected function to throw${suffix(msg)}`);
}

/** Executes a function, expecting its promise to reject, and resolves to the reason. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Executes a function, expecting its promise to reject with an error of this class. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  ...args: [classOrMsg?: ErrorClass<E> | string, msgIncludes?: string, msg?: string]
): Promise<unknown> {
  const msg = typeof args[0] === "string" ? args[0] : args[2];
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
  } catch (cause) {
    throw new AssertionError(`Function throws when expected to reject${suffix(msg)}`, { cause });
  }
  if (typeof promise?.then !== "function") {
    throw new AssertionError(`Function throws when expected to reject${suffix(msg)}`);
  }
  try {
    await promise;
  } catch (error) {
    checkError(error, "rejected", args);
    return error;
  }
  throw new AssertionError(`Expected function to reject${suffix(msg)}`);
}
