/** Process checks its arguments against its target. */

import {
  activeChildren,
  closure,
  currentProcess,
  isMainProcess,
  type ParentProcess,
  parentProcess,
  Process,
  type ProcessOptions,
  type Queue,
  type Target,
  task,
} from "@multiprocessing/core";
import { is } from "./expect.ts";

const add = (a: number, b: number): number => a + b;

/** Arguments that fit. */
export function fits(queue: Queue<string>): void {
  is<Process<[a: number, b: number]>>()(new Process({ target: add, args: [1, 2] }));
  is<Process<[a: number, b: number]>>()(new Process({ args: [1, 2], target: add }));
  new Process({ target: () => {} });
  new Process({ target: () => {}, args: [] });
  new Process({ target: (name = "bob") => console.log(name) });
  new Process({ target: (name?: string) => console.log(name), args: ["bob"] });
  new Process({ target: (...names: string[]) => console.log(names), args: ["a", "b", "c"] });
  new Process({ target: async (n: number) => await Promise.resolve(n), args: [1] });
  new Process({ target: (q: Queue<string>, n: number) => q.putSync(`${n}`), args: [queue, 1] });
  new Process({ target: task(import.meta, function named(_: bigint) {}), args: [1n] });
  new Process({ target: closure((item: string) => queue.put(item), { queue }), args: ["x"] });
  new Process({
    target: function* (n: number) {
      yield n;
    },
    args: [3],
  });
}

/** A target that says nothing of its parameters gets them from the arguments. */
export function inferred(): void {
  new Process({ args: [1, "two"], target: (a, b) => console.log(a.toFixed(), b.length) });
}

/** Arguments that do not fit. */
export function doesNotFit(queue: Queue<string>): void {
  // @ts-expect-error: one argument too few
  new Process({ target: add, args: [1] });
  // @ts-expect-error: none at all
  new Process({ target: add });
  // @ts-expect-error: one too many
  new Process({ target: add, args: [1, 2, 3] });
  // @ts-expect-error: of another type
  new Process({ target: add, args: [1, "2"] });
  // @ts-expect-error: of another type
  new Process({ target: async (n: number) => await Promise.resolve(n), args: ["1"] });
  // @ts-expect-error: it takes none
  new Process({ target: () => {}, args: [1] });
  // @ts-expect-error: not a queue of numbers
  new Process({ target: (q: Queue<number>) => q.putSync(1), args: [queue] });
  // @ts-expect-error: arguments are an array
  new Process({ target: (n: number) => console.log(n), args: 1 });
  // @ts-expect-error: a target is a function
  new Process({ target: "add" });
  // @ts-expect-error: there is no process without a target
  new Process({ name: "idle" });
  // @ts-expect-error: no such option
  new Process({ target: () => {}, deamon: true });
  // @ts-expect-error: options, not a function
  new Process(() => {});
}

/** By module and name. */
export function byName(module: URL): void {
  new Process({ target: { module, name: "main" } });
  new Process({ target: { module: module.href, name: "main" }, args: [1, "two"] });
  const target: Target<[n: number], void> = { module, name: "main" };
  new Process({ target, args: [1] });
  new Process<[n: number]>({ target: { module, name: "main" }, args: [1] });
  const any: Process<never> = new Process({ target: { module, name: "main" } });
  any.start();
  // @ts-expect-error: the parameters say otherwise
  new Process<[n: number]>({ target: { module, name: "main" }, args: ["one"] });
  // @ts-expect-error: the target's type says otherwise
  new Process({ target, args: ["one"] });
  // @ts-expect-error: a module alone is no target
  new Process({ target: { module } });
}

/** Options may be undefined. */
export function options(
  name: string | undefined,
  daemon: boolean | undefined,
  signal: AbortSignal | undefined,
  timeout: number | undefined,
): void {
  const process = new Process({ target: () => {}, name, daemon, args: undefined });
  process.join({ signal, timeout });
  process.joinSync({ timeout });
  const given: ProcessOptions<[n: number]> = { target: (n) => console.log(n.toFixed()), args: [1] };
  new Process(given);
  // @ts-expect-error: who blocks cannot hear a signal
  process.joinSync({ signal });
}

/** One generic over its target. */
export function start<Args extends unknown[]>(
  target: Target<Args, unknown>,
  args: Args,
): Process<Args> {
  const process = new Process({ target, args });
  process.start();
  return process;
}
is<Process<[a: number, b: number]>>()(start(add, [1, 2]));
// @ts-expect-error: of another type
start(add, [1, "2"]);

/** What a process has. */
export async function members(process: Process<[number]>): Promise<void> {
  is<string>()(process.name);
  is<number | null>()(process.pid);
  is<number | null>()(process.exitCode);
  is<number>()(await process.exited);
  is<boolean>()(process.daemon);
  is<boolean>()(process.isAlive());
  is<boolean>()(await process.join());
  is<boolean>()(process.joinSync());
  process.daemon = true;
  // @ts-expect-error: cannot be written
  process.name = "other";
  // @ts-expect-error: cannot be written
  process.pid = 2;
  // @ts-expect-error: cannot be written
  process.exitCode = 0;
  const any: Process = process;
  is<Process[]>()(activeChildren());
  activeChildren().push(any, process);
}

/** What surrounds it. */
export async function surroundings(): Promise<void> {
  is<AbortSignal>()(currentProcess().signal);
  is<ParentProcess | null>()(parentProcess());
  is<boolean | undefined>()(await parentProcess()?.join({ timeout: 1 }));
  is<boolean>()(isMainProcess());
  // @ts-expect-error: the main process has no parent
  parentProcess().pid;
}

/** `await using` joins. */
export async function disposes(): Promise<void> {
  await using process = new Process({ target: () => {} });
  process.start();
  const disposable: AsyncDisposable = process;
  await disposable[Symbol.asyncDispose]();
}
