/**
 * How errors cross: richer than structured clone, which loses subclass, own properties, `errors` and,
 * on Bun, `cause`.
 *
 * An envelope is flat: it holds the error's `cause`, `errors` and own properties as they are, and
 * whoever carries it (the codec) encodes them in turn. That is what lets an error be its own cause.
 *
 * @module
 */

import {
  BrokenBarrierError,
  ClosedError,
  EncodingError,
  MultiprocessingError,
  ProcessError,
  ProcessLostError,
  QueueEmptyError,
  QueueFullError,
  TargetError,
  TimeoutError,
} from "../../errors.ts";
import { describe } from "../../memory/show.ts";

/** An error, taken apart. */
export interface ErrorEnvelope {
  /** The class to make again: the nearest one above the error that both sides can name. */
  class: string;
  /** `error.name`. */
  name: string;
  /** `error.message`. */
  message: string;
  /** The stack where the error was made; empty if it has none. */
  stack: string;
  /** Own properties that enumeration does not show, such as `cause`. */
  hidden: ErrorField[];
  /** Own properties that enumeration shows, such as `code`. */
  visible: ErrorField[];
}

/** One own property of an error. */
export type ErrorField = [key: string, value: unknown];

/** A class that errors can cross as. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** Own hidden properties that mean something; engines keep notes of their own in others. */
const HIDDEN_KEYS = new Set(["cause", "errors", "error", "suppressed", "code"]);
/** What {@linkcode ErrorEnvelope} has fields of its own for. */
const TEXT_KEYS = new Set(["name", "message", "stack"]);

const classes = new Map<string, ErrorClass>();
const names = new Map<object, string>();

/** Those of ECMAScript and the web, as far as the runtime has them. */
const STANDARD_CLASSES = [
  "Error",
  "EvalError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "TypeError",
  "URIError",
  "AggregateError",
  "SuppressedError",
  "DOMException",
];
for (const name of STANDARD_CLASSES) {
  const ctor = (globalThis as Record<string, unknown>)[name];
  if (typeof ctor === "function") add(name, ctor as unknown as ErrorClass);
}
add("MultiprocessingError", MultiprocessingError);
add("TimeoutError", TimeoutError);
add("ClosedError", ClosedError);
add("QueueEmptyError", QueueEmptyError);
add("QueueFullError", QueueFullError);
add("BrokenBarrierError", BrokenBarrierError);
add("TargetError", TargetError);
add("EncodingError", EncodingError);
add("ProcessError", ProcessError);
add("ProcessLostError", ProcessLostError);
const BUILT_IN = new Set(classes.keys());

function add(name: string, ctor: ErrorClass): void {
  classes.set(name, ctor);
  names.set(ctor.prototype, name);
}

/**
 * Lets the errors of a class keep their class when they cross, if both sides have registered it.
 *
 * The receiver's error is made without calling the constructor: private fields are not there. Of two
 * classes with one name the later wins.
 *
 * @param ctor The class.
 * @param name What both sides know it by.
 * @throws {TypeError} If it is not a class of errors, has no name, or the name of a built-in one.
 */
export function registerErrorClass(ctor: ErrorClass, name: string = ctor.name): void {
  if (!(ctor.prototype instanceof Error) || name === "") {
    throw new TypeError(
      `Cannot register error class: it must be a class with a name and extend Error`,
    );
  }
  if (classes.get(name) === ctor) return;
  if (BUILT_IN.has(name)) {
    throw new TypeError(`Cannot register error class ${name}: a built-in class has that name`);
  }
  add(name, ctor);
}

/**
 * Takes an error apart. Never throws, whatever the error's getters do.
 *
 * @param error The error.
 * @returns The envelope; it shares the error's property values.
 */
export function toEnvelope(error: Error): ErrorEnvelope {
  const envelope: ErrorEnvelope = {
    class: classOf(error),
    name: textOf(error, "name"),
    message: textOf(error, "message"),
    stack: textOf(error, "stack"),
    hidden: [],
    visible: [],
  };
  for (const [key, enumerable] of ownKeys(error)) {
    if (TEXT_KEYS.has(key)) continue;
    if (enumerable) envelope.visible.push([key, read(error, key)]);
    else if (HIDDEN_KEYS.has(key)) envelope.hidden.push([key, read(error, key)]);
  }
  return envelope;
}

/**
 * Makes the error again.
 *
 * @param envelope What {@linkcode toEnvelope} made.
 * @returns An error of the envelope's class or, if this process does not know it, an `Error`.
 */
export function fromEnvelope(envelope: ErrorEnvelope): Error {
  return fillError(emptyError(envelope), envelope);
}

/**
 * Makes the error without its properties: the first half of {@linkcode fromEnvelope}, for errors
 * that are part of a cycle.
 *
 * @param envelope Its class, name and message.
 * @returns The error, to be passed to {@linkcode fillError}.
 */
export function emptyError(envelope: Pick<ErrorEnvelope, "class" | "name" | "message">): Error {
  const { message, name } = envelope;
  if (envelope.class === "DOMException") return new DOMException(message, name);
  const error = new Error(message); // A real error, whatever its prototype becomes.
  const ctor = classes.get(envelope.class);
  if (ctor !== undefined) Object.setPrototypeOf(error, ctor.prototype);
  if (error.name !== name) define(error, "name", name, false);
  return error;
}

/**
 * Gives an error its properties: the second half of {@linkcode fromEnvelope}.
 *
 * @param error What {@linkcode emptyError} made.
 * @param envelope The properties.
 * @returns The error.
 */
export function fillError(
  error: Error,
  envelope: Pick<ErrorEnvelope, "stack" | "hidden" | "visible">,
): Error {
  // Bun's DOMException has none, and should not get an empty one.
  if (envelope.stack !== "" || Object.hasOwn(error, "stack")) {
    define(error, "stack", envelope.stack, false);
  }
  for (const [key, value] of envelope.hidden) define(error, key, value, false);
  for (const [key, value] of envelope.visible) define(error, key, value, true);
  return error;
}

function classOf(error: Error): string {
  try {
    for (let at: object | null = error; at !== null; at = Object.getPrototypeOf(at)) {
      const name = names.get(at);
      if (name !== undefined) return name;
    }
    return "Error";
  } catch {
    return "Error"; // A proxy that does not tell its prototype.
  }
}

function textOf(error: Error, key: "name" | "message" | "stack"): string {
  const value = read(error, key);
  return typeof value === "string" ? value : value === undefined ? "" : describe(value);
}

function read(error: Error, key: string): unknown {
  try {
    return (error as unknown as Record<string, unknown>)[key];
  } catch (thrown) {
    return describe(thrown);
  }
}

function ownKeys(error: Error): [key: string, enumerable: boolean][] {
  try {
    return Object.entries(Object.getOwnPropertyDescriptors(error))
      .map(([key, descriptor]) => [key, descriptor.enumerable === true]);
  } catch {
    return []; // A proxy that does not tell its keys.
  }
}

function define(error: Error, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, key, { value, enumerable, configurable: true, writable: true });
}
