/** Errors, and what marks and wraps functions and values. */

import {
  BrokenBarrierError,
  ClosedError,
  closure,
  EncodingError,
  MultiprocessingError,
  ProcessError,
  ProcessLostError,
  QueueEmptyError,
  QueueFullError,
  type Target,
  TargetError,
  task,
  TimeoutError,
  transfer,
  type Transferable,
  type WaitOptions,
  type WaitSyncOptions,
} from "@multiprocessing/core";
import { TimeoutError as SameError } from "@multiprocessing/core/errors";
import { is } from "./expect.ts";

/** All are errors of the library. */
export const all: MultiprocessingError[] = [
  new BrokenBarrierError(),
  new ClosedError("closed"),
  new EncodingError("no", { cause: 1 }),
  new ProcessError(),
  new QueueEmptyError(),
  new QueueFullError(),
  new TargetError(),
  new TimeoutError(),
  new SameError(),
];

/** What they tell. */
export function tell(error: unknown): void {
  if (error instanceof ProcessLostError) {
    is<number>()(error.exitCode);
    is<number>()(error.pid);
    is<string>()(error.processName);
    is<unknown>()(error.cause);
    // @ts-expect-error: cannot be written
    error.exitCode = 0;
  }
  if (error instanceof MultiprocessingError) is<string>()(error.message);
  const base: Error = new TimeoutError();
  // @ts-expect-error: an error of any kind is none of the library
  const own: ProcessLostError = base;
  return void own;
}

/** A task and a closure are the function itself. */
export function functions(): void {
  const add = task(import.meta, function add(a: number, b: number) {
    return a + b;
  });
  is<(a: number, b: number) => number>()(add);
  const target: Target<[number, number], number> = add;
  const scaled = closure(<T>(item: T): T => item, { add });
  is<string>()(scaled("a"));
  class OwnError extends Error {}
  is<typeof OwnError>()(task(import.meta, OwnError));
  // @ts-expect-error: the module is to be known
  task(function lost() {});
  // @ts-expect-error: not a function
  task(import.meta, "add");
  // @ts-expect-error: a scope is an object
  closure(() => {}, 1);
  return void target;
}

/** What is wrapped keeps its type. */
export function wrapped(bytes: Uint8Array<ArrayBuffer>, stream: ReadableStream): void {
  is<ArrayBuffer>()(transfer(bytes.buffer, [bytes.buffer]));
  const { port1, port2 } = new MessageChannel();
  transfer({ port: port1 }, [port1, port2, stream]);
  const list: Transferable[] = [bytes.buffer, port1];
  transfer([port1], list);
  // @ts-expect-error: not a thing that can be moved
  transfer(1, [1]);
  // @ts-expect-error: its buffer is what can be moved
  transfer(bytes, [bytes]);
  // @ts-expect-error: a list
  transfer(bytes.buffer, bytes.buffer);
}

/** Options of waits. */
export const options: [WaitOptions, WaitSyncOptions] = [
  { timeout: undefined, signal: undefined },
  { timeout: 1 },
];
