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
  const value = typeof options === "object" && options !== null
    ? option
    : ["function", "undefined"].includes(typeof options)
    ? "fn"
    : show(options);
  return new TypeError(
    `Cannot ${call}: 'options' must be an object, but is ${show(options)}` +
      (option === undefined ? "" : `; write { ${option}: ${value} }`),
  );
}

/**
 * Refuses an object that is itself what an option is for: a signal, a lock. It would else count as
 * options that leave out everything.
 *
 * @param call What was called, for the error.
 * @param options What was given; an object.
 * @param option The option to propose.
 * @param Class What the option takes.
 * @throws {TypeError} If it is one of that class.
 */
export function checkNoBare(
  call: string,
  options: object,
  option: string,
  Class: abstract new (...args: never[]) => object,
): void {
  if (options instanceof Class) throw noOptions(call, options, { object: option });
}

/** Names of options, each by itself and by what {@linkcode plainName} leaves of it. */
export type Spelling = ReadonlyMap<string, string>;

/** Collects the names of options for {@linkcode checkSpelling}. */
export function spelling(...names: string[]): Spelling {
  return new Map(names.flatMap((name) => [[name, name], [plainName(name), name]]));
}

function plainName(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}

/**
 * Refuses options in Python's spelling, `chunksize` or `chunk_size`, which would else be ignored. Other
 * unknown names are, as everywhere in JavaScript.
 *
 * @param call What was called, for the error.
 * @param options The options; an object.
 * @param names Their names.
 * @throws {TypeError} If a name is spelled differently.
 */
export function checkSpelling(call: string, options: object, names: Spelling): void {
  for (const name in options) {
    if (names.get(name) === name) continue;
    const right = names.get(plainName(name));
    if (right === undefined || right === name) continue;
    throw new TypeError(`Cannot ${call}: there is no option '${name}'; write '${right}'`);
  }
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
