/**
 * Spies and stubs: functions that record their calls.
 *
 * @module
 */

import { AssertionError } from "@std/assert";

// deno-lint-ignore no-explicit-any
type AnyFunction = (this: any, ...args: any[]) => any;

/** A misuse of a spy or stub. */
export class MockError extends Error {
  static {
    this.prototype.name = "MockError";
  }
}

/** Call information recorded by a spy. */
export interface SpyCall<F extends AnyFunction = AnyFunction> {
  /** Arguments passed to the function. */
  args: Parameters<F>;
  /** The value that was returned. */
  returned?: ReturnType<F>;
  /** The error that was thrown. */
  error?: Error;
  /** The object that a method was called on. */
  self?: unknown;
}

/** A function that records all calls made to it. */
export type Spy<F extends AnyFunction = AnyFunction> = F & {
  /** The function that is being spied on. */
  original: F;
  /** The calls, in order of their end. */
  calls: SpyCall<F>[];
  /** Whether the original method has been restored. */
  readonly restored: boolean;
  /** Puts the original method back. */
  restore(): void;
};

/** A spy in the place of an object's method. */
export type MethodSpy<F extends AnyFunction = AnyFunction> = Spy<F> & Disposable;

/** A method's replacement that records all calls made to it. */
export type Stub<F extends AnyFunction = AnyFunction> = MethodSpy<F> & {
  /** The function that is used instead of the original. */
  fake: F;
};

/** The function type of an object's method. */
export type Method<Self, Prop extends keyof Self> = Self[Prop] extends AnyFunction ? Self[Prop]
  : AnyFunction;

/** A function that records its calls and passes them on. */
function record<F extends AnyFunction>(
  original: F,
  run: F,
  restore: () => void,
): Stub<F> {
  const calls: SpyCall<F>[] = [];
  let restored = false;
  const spy = function (this: unknown, ...args: Parameters<F>): ReturnType<F> {
    const call: SpyCall<F> = { args };
    if (this) call.self = this;
    try {
      return call.returned = run.apply(this, args);
    } catch (error) {
      call.error = error as Error;
      throw error;
    } finally {
      calls.push(call);
    }
  };
  const restoreOnce = () => {
    if (restored) throw new MockError("instance method already restored");
    restore();
    restored = true;
  };
  return Object.defineProperties(spy, {
    original: { enumerable: true, value: original },
    fake: { enumerable: true, value: run },
    calls: { enumerable: true, value: calls },
    restored: { enumerable: true, get: () => restored },
    restore: { enumerable: true, value: restoreOnce },
    [Symbol.dispose]: { value: restoreOnce },
  }) as unknown as Stub<F>;
}

/** Puts a recording function in the place of an object's method. */
function replace<Self extends object, Prop extends keyof Self>(
  self: Self,
  property: Prop,
  fake?: Method<Self, Prop>,
): Stub<Method<Self, Prop>> {
  const original = self[property] as Method<Self, Prop>;
  if (typeof original !== "function") throw new MockError("property is not an instance method");
  if ("calls" in original) throw new MockError("already spying on instance method");
  const descriptor = Object.getOwnPropertyDescriptor(self, property);
  if (descriptor?.configurable === false) {
    throw new MockError("cannot spy on non configurable instance method");
  }
  const spy = record(original, fake ?? original, () => {
    if (descriptor) Object.defineProperty(self, property, descriptor);
    else delete self[property];
  });
  Object.defineProperty(self, property, {
    configurable: true,
    enumerable: descriptor?.enumerable ?? false,
    writable: true,
    value: spy,
  });
  return spy;
}

/** Creates a function that records its calls and does nothing. */
// deno-lint-ignore no-explicit-any
export function spy(): Spy<(...args: any[]) => undefined>;
/** Wraps a function with a spy. */
export function spy<F extends AnyFunction>(func: F): Spy<F>;
/** Wraps an object's method with a spy. */
export function spy<Self extends object, Prop extends keyof Self>(
  self: Self,
  property: Prop,
): MethodSpy<Method<Self, Prop>>;
export function spy(target: unknown = () => {}, property?: PropertyKey): Spy {
  if (property !== undefined) return replace(target as Record<PropertyKey, AnyFunction>, property);
  return record(target as AnyFunction, target as AnyFunction, () => {
    throw new MockError("function cannot be restored");
  });
}

/** Replaces an object's method with a recording one that does nothing, or calls `func`. */
export function stub<Self extends object, Prop extends keyof Self>(
  self: Self,
  property: Prop,
  func?: Method<Self, Prop>,
): Stub<Method<Self, Prop>> {
  return replace(self, property, func ?? ((() => {}) as Method<Self, Prop>));
}

/** Asserts that a spy is called as much as expected and no more. */
export function assertSpyCalls(spy: { calls: unknown[] }, expectedCalls: number): void {
  const { length } = spy.calls;
  if (length === expectedCalls) return;
  const what = length < expectedCalls
    ? "spy not called as much as expected"
    : "spy called more than expected";
  throw new AssertionError(`${what}:\n\n-   ${length}\n+   ${expectedCalls}\n`);
}
