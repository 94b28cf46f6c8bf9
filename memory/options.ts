import { show } from "./show.ts";

/** The option that a bare value is taken for, by its `typeof`. */
type Meant = Readonly<Record<string, string>>;

/**
 * Checks that options are an object. In Python some are positional, so a bare value is often given.
 *
 * @param call What was called, for the error: `create Pool`.
 * @param options What was given.
 * @param meant Which option to propose.
 * @throws {TypeError} If it is no object.
 */
export function checkOptions(call: string, options: unknown, meant: Meant): void {
  // Waits come through here: what is small gets inlined.
  if (typeof options !== "object" || options === null) throw noOptions(call, options, meant);
}

function noOptions(call: string, options: unknown, meant: Meant): TypeError {
  const option = meant[typeof options];
  const value = ["function", "undefined"].includes(typeof options) ? "fn" : show(options);
  return new TypeError(
    `Cannot ${call}: 'options' must be an object, but is ${show(options)}` +
      (option === undefined ? "" : `; write { ${option}: ${value} }`),
  );
}

/**
 * Checks a signal given by the user.
 *
 * @param call What was called, for the error.
 * @param signal The signal, if there is one.
 * @throws {TypeError} If it is no AbortSignal.
 */
export function checkSignal(call: string, signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw noSignal(call, signal);
}

function noSignal(call: string, signal: unknown): TypeError {
  return new TypeError(
    `Cannot ${call}: 'signal' must be an AbortSignal, but is ${show(signal)}`,
  );
}
