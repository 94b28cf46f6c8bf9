/**
 * Processes: functions that run elsewhere, each in a heap and on a thread of its own.
 *
 * @example A process that prints
 * ```ts no-eval
 * import { Process } from "@multiprocessing/core/process";
 *
 * if (import.meta.main) {
 *   const process = new Process({ target: (name: string) => console.log("hello", name), args: ["bob"] });
 *   process.start();
 *   await process.join();
 * }
 * ```
 *
 * @module
 */

import { ClosedError, ProcessError, type WaitOptions, type WaitSyncOptions } from "./errors.ts";
import {
  bootRecord,
  ended,
  endOf,
  exitCodeOf,
  interrupted,
  interruptProcess,
  isAlive,
  KILLED,
  ownPid,
  TERMINATED,
  wasInterrupted,
} from "./memory/control.ts";
import { checkOptions } from "./memory/options.ts";
import { registerWaitable } from "./memory/readiness.ts";
import { show } from "./memory/show.ts";
import { checkWait, within } from "./memory/timeout.ts";
import { PENDING, waitSync } from "./memory/wait.ts";
import { runtime } from "./runtime/mod.ts";
import type { Passage } from "./wire/codec/shareable.ts";
import { refuseToSend } from "./wire/codec/kind_of.ts";
import { registerExports } from "./wire/target/exports.ts";
import { userFrames } from "./wire/frames.ts";
import { pack } from "./wire/packet.ts";
import { packTarget } from "./wire/target/target_pack.ts";
import type { CallPayload, SourceRef, TargetRef } from "./wire/protocol.ts";
import { closed, dropPid, ownName, spawn, stop, takePid } from "./wire/spawn.ts";
import { taskSignal } from "./wire/pool/task_signal.ts";
import { describeTarget } from "./wire/target/target_ref.ts";
import type { Target } from "./target.ts";
import { WORKER_URL } from "./_worker.ts";
import type { Transferable } from "./target.ts";

export type { Target, WaitOptions, WaitSyncOptions };

/** Options of a {@linkcode Process}. */
export type ProcessOptions<Args extends unknown[]> = {
  /** The function to run; see {@linkcode Target} for what can be sent. */
  target: Target<Args, unknown>;
  /**
   * Its arguments, copied when the process is started; shareables arrive as live handles. May be left
   * out only if the function needs none.
   *
   * @default {[]}
   */
  args?: readonly [...Args] | undefined;
  /**
   * A label for people.
   *
   * @default {"Process-1"}, in a child `"Process-1:2"`
   */
  name?: string | undefined;
  /**
   * Whether the process never keeps the program alive, is terminated with its parent, and may not
   * start children.
   *
   * @default {false} in the main process, and in any that is no daemon itself
   */
  daemon?: boolean | undefined;
  /** What among `args` is moved instead of copied. */
  transfer?: Transferable[] | undefined;
} & ([Args] extends [never] ? unknown : [] extends Args ? unknown : { args: unknown });

/** The running process, as it sees itself. */
export interface CurrentProcess {
  /** Its name; `"MainProcess"` for the first. */
  readonly name: string;
  /** Its pid; 1 for the first. */
  readonly pid: number;
  /** Whether it is a daemon. */
  readonly daemon: boolean;
  /** Aborts when somebody calls {@linkcode Process.interrupt}. */
  readonly signal: AbortSignal;
}

/** The process that started this one. */
export interface ParentProcess {
  /** Its name. */
  readonly name: string;
  /** Its pid. */
  readonly pid: number;
  /** Whether it has not ended yet. */
  isAlive(): boolean;
  /** Waits for its end. Resolves with true, or with false when `timeout` is over. */
  join(options?: WaitOptions): Promise<boolean>;
}

const children = new Set<Process<never>>();
const identity = bootRecord?.start.identity;
let started = 0;

/**
 * A function that runs in a process of its own: a worker of the runtime.
 *
 * **One start.** {@linkcode start} returns at once and may be called once.
 *
 * **The end.** A process ends when its target's promise has settled and the children that it started,
 * other than daemons, have ended; timers and listeners that the target left do not keep it. An uncaught
 * error is written to stderr, with the process's name and the worker's own stack; the exit code is 1.
 *
 * **Keeping the program.** The program lives until all processes but daemons have ended.
 *
 * Semantics: Python's `multiprocessing.Process`, start method "spawn".
 *
 * @typeParam Args The target's parameters.
 *
 * @example Usage
 * ```ts no-eval
 * import { Process } from "@multiprocessing/core/process";
 *
 * const process = new Process({ target: (n: number) => console.log(n + 1), args: [41] });
 * process.start();
 * await process.join();
 * console.log(process.exitCode); // 0
 * ```
 */
export class Process<Args extends unknown[] = unknown[]> {
  readonly #name: string;
  readonly #identity: string;
  readonly #transfer: Transferable[];
  #args: Args | undefined;
  #target: TargetRef | undefined;
  #daemon: boolean;
  #pid: number | null = null;
  #exitCode: number | null = null;
  #exited: PromiseWithResolvers<number> = Promise.withResolvers();
  #closed = false;
  /** Tells where the process was made. */
  readonly #mark: Error = new Error();

  /**
   * Describes the process; nothing runs before {@linkcode start}.
   *
   * @param options What to run, and how.
   * @throws {TargetError} If the target captures what cannot be sent.
   * @throws {TypeError} If an option is of the wrong type.
   */
  constructor(options: ProcessOptions<Args>) {
    checkOptions("create Process", options, { function: "target", undefined: "target" });
    const { target, args = [], name, daemon, transfer = [] } = options;
    if (!Array.isArray(args)) {
      throw new TypeError(`Cannot create Process: 'args' must be an array, but is ${show(args)}`);
    }
    if (name !== undefined && typeof name !== "string") {
      throw new TypeError(`Cannot create Process: 'name' must be a string, but is ${show(name)}`);
    }
    if (daemon !== undefined) checkDaemon("create Process: 'daemon'", daemon);
    if (!Array.isArray(transfer)) {
      throw new TypeError(
        "Cannot create Process: 'transfer' must be an array of buffers and ports, but is " +
          show(transfer),
      );
    }
    this.#target = describeTarget(target);
    this.#args = args as unknown[] as Args;
    this.#transfer = transfer;
    this.#identity = `${identity === undefined ? "" : `${identity}:`}${++started}`;
    this.#name = name ?? `Process-${this.#identity}`;
    this.#daemon = daemon ?? bootRecord?.start.daemon ?? false;
  }

  /** A label for people. */
  get name(): string {
    this.#checkOpen();
    return this.#name;
  }

  /** Whether the process never keeps the program alive; settable until the start. */
  get daemon(): boolean {
    this.#checkOpen();
    return this.#daemon;
  }

  set daemon(value: boolean) {
    this.#checkOpen();
    if (this.#pid !== null) {
      throw new ProcessError(
        `Cannot set 'daemon' of ${this.#name}: it has been started; set it before start()`,
      );
    }
    checkDaemon(`set 'daemon' of ${this.#name}: it`, value);
    this.#daemon = value;
  }

  /** Unique among all processes of the program, never used again; null before the start. */
  get pid(): number | null {
    this.#checkOpen();
    return this.#pid;
  }

  /**
   * Null until the process has ended; then 0, `n` of `exit(n)`, 1 after an uncaught error, -15 if
   * terminated, -9 if killed.
   */
  get exitCode(): number | null {
    this.#checkOpen();
    return this.#code();
  }

  /** Resolves with the exit code when the process has ended; never rejects. */
  get exited(): Promise<number> {
    this.#checkOpen();
    return this.#exited.promise;
  }

  /**
   * Starts the process. Returns at once.
   *
   * @throws {ProcessError} If it was started before, if this process is a daemon, or if this module is
   * just being imported for another process: see the message for the mend.
   * @throws {EncodingError} If an argument cannot be sent; the process may be started again.
   */
  start(): void {
    this.#checkOpen();
    if (this.#pid !== null) {
      throw new ProcessError(
        `Cannot start ${this.#name}: it has been started before; create another Process`,
      );
    }
    const target = this.#target as TargetRef;
    const plain = plainCall(target, this.#args as Args, this.#transfer);
    const passages: Passage[] = [];
    const pid = takePid(this.#name);
    try {
      const transfer: Transferable[] = [];
      const destination = { to: pid, passages };
      const payload: CallPayload | null = plain !== null ? null : {
        kind: "call",
        target: packTarget(target, transfer, destination),
        args: pack(this.#args, "args", transfer, this.#transfer, destination),
      };
      spawn({
        pid,
        module: WORKER_URL,
        name: this.#name,
        identity: this.#identity,
        daemon: this.#daemon,
        plain,
        payload,
        caller: userFrames(this.#mark),
        transfer,
      });
    } catch (error) {
      dropPid(pid);
      for (const passage of passages) passage.lost?.();
      throw error;
    }
    this.#pid = pid;
    for (const passage of passages) passage.sent?.();
    this.#args = undefined;
    this.#target = undefined;
    children.add(this as unknown as Process<never>);
    if (bootRecord !== undefined) bootRecord.finish = joinChildren;
    this.#watch(this.#pid);
  }

  async #watch(pid: number): Promise<void> {
    this.#exitCode = await ended(pid);
    children.delete(this as unknown as Process<never>);
    this.#exited.resolve(await closed(pid));
  }

  /** Whether the process has been started and has not ended. */
  isAlive(): boolean {
    this.#checkOpen();
    return this.#pid !== null && this.#code() === null;
  }

  /**
   * Waits for the end. May be called any number of times.
   *
   * @param options Timeout and signal.
   * @returns True once the process has ended; false when `timeout` is over.
   * @throws {ProcessError} If the process was not started.
   */
  async join(options?: WaitOptions): Promise<boolean> {
    this.#checkStarted("join");
    const timeout = checkWait(options);
    options?.signal?.throwIfAborted();
    if (!(timeout > 0)) return this.#code() !== null;
    return await within(this.#exited.promise, timeout, options?.signal) !== PENDING ||
      this.#code() !== null;
  }

  /**
   * Waits for the end, blocking this thread.
   *
   * @param options Timeout.
   * @returns True once the process has ended; false when `timeout` is over.
   * @throws {ProcessError} If the process was not started.
   */
  joinSync(options?: WaitSyncOptions): boolean {
    const pid = this.#checkStarted("join");
    const timeout = checkWait(options);
    return this.#code() !== null || waitSync(endOf(pid), timeout) !== PENDING;
  }

  /**
   * Asks the process to stop: aborts `currentProcess().signal` there.
   *
   * @throws {ProcessError} If the process was not started.
   */
  interrupt(): void {
    const pid = this.#checkStarted("interrupt");
    if (this.#code() === null) interruptProcess(pid);
  }

  /**
   * Stops the process now, exit code -15. Whatever it holds is freed; calls that wait for it settle.
   *
   * A thread that the runtime cannot stop (a busy loop on Deno) is fenced: the process counts as ended,
   * and the thread ends at its next use of this library.
   *
   * @throws {ProcessError} If the process was not started.
   */
  terminate(): void {
    stop(this.#checkStarted("terminate"), TERMINATED);
  }

  /**
   * Like {@linkcode terminate}, exit code -9.
   *
   * @throws {ProcessError} If the process was not started.
   */
  kill(): void {
    stop(this.#checkStarted("kill"), KILLED);
  }

  /**
   * Gives the handle up: all other members throw {@linkcode ClosedError} from now on.
   *
   * @throws {ProcessError} If the process is alive.
   */
  close(): void {
    if (this.#closed) return;
    if (this.isAlive()) {
      throw new ProcessError(
        `Cannot close ${this.#name}: it is alive; join() or terminate() it first`,
      );
    }
    this.#closed = true;
    children.delete(this as unknown as Process<never>);
  }

  static {
    registerWaitable(Process, (process: Process) => endOf(process.#checkStarted("wait for")));
  }

  /** Joins the process if it was started. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed && this.#pid !== null) await this.join();
  }

  #code(): number | null {
    if (this.#exitCode === null && this.#pid !== null) this.#exitCode = exitCodeOf(this.#pid);
    return this.#exitCode;
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedError(`Cannot use ${this.#name}: it has been closed`);
  }

  #checkStarted(verb: string): number {
    this.#checkOpen();
    if (this.#pid !== null) return this.#pid;
    throw new ProcessError(`Cannot ${verb} ${this.#name}: it was not started; call start() first`);
  }
}

// JSR leaves methods that are named by a symbol out of the declarations that it makes for npm.
/** A process is joined at the end of `await using`. */
export interface Process<Args extends unknown[] = unknown[]> extends AsyncDisposable {}

function checkDaemon(what: string, daemon: unknown): void {
  if (typeof daemon === "boolean") return;
  throw new TypeError(`Cannot ${what} must be true or false, but is ${show(daemon)}`);
}

/** A call that needs nothing of the library in the new process, which then starts much faster. */
function plainCall(
  target: TargetRef,
  args: unknown[],
  transfer: Transferable[],
): { source: string; args: unknown[] } | null {
  if (target.kind !== "source" || (target as SourceRef).scope.length > 0) return null;
  if (transfer.length > 0 || !args.every(isPrimitive)) return null;
  return { source: target.source, args };
}

function isPrimitive(value: unknown): boolean {
  return value === null || (typeof value !== "object" && typeof value !== "function" &&
    typeof value !== "symbol");
}

/** What a process does after its target has settled: Python's exit function. */
async function joinChildren(): Promise<void> {
  for (const child of children) if (child.daemon) child.terminate();
  await Promise.all(Array.from(children, (child) => child.join()));
}

/**
 * The process that this code runs in.
 *
 * @returns Its name, pid, whether it is a daemon, and the signal of {@linkcode Process.interrupt}.
 */
export function currentProcess(): CurrentProcess {
  return current;
}

let interruption: AbortController | undefined;

const current: CurrentProcess = {
  name: ownName,
  pid: ownPid,
  daemon: bootRecord?.start.daemon ?? false,
  get signal() {
    return taskSignal() ?? interruptionSignal();
  },
};

/** Looks by itself, so that also a target that never waits sees when it is interrupted. */
function interruptionSignal(): AbortSignal {
  if (interruption === undefined) {
    interruption = new AbortController();
    interrupted().then(() => interruption!.abort(interruptionReason()));
  }
  if (wasInterrupted()) interruption.abort(interruptionReason());
  return interruption.signal;
}

function interruptionReason(): DOMException {
  return new DOMException(`${ownName} was interrupted`, "AbortError");
}

/** One wait for all who ask: it goes on when they have given up. */
let parentEnded: Promise<number> | undefined;

/**
 * The process that started this one.
 *
 * @returns Null in the main process.
 */
export function parentProcess(): ParentProcess | null {
  if (bootRecord === undefined) return null;
  const { name, pid } = bootRecord.start.parent;
  return {
    name,
    pid,
    isAlive: () => isAlive(pid),
    async join(options?: WaitOptions) {
      parentEnded ??= ended(pid);
      return await within(parentEnded, checkWait(options), options?.signal) !== PENDING;
    },
  };
}

/**
 * Whether this is the program's first process: true only there, whatever `import.meta.main` says.
 *
 * @returns False in every process that this library started.
 */
export function isMainProcess(): boolean {
  return bootRecord === undefined;
}

/**
 * The living processes that this one has started. The workers of a pool are not among them: they are
 * the pool's.
 *
 * @returns A new array, in order of start.
 */
export function activeChildren(): Process[] {
  return Array.from(children as Set<unknown> as Set<Process>).filter((child) => child.isAlive());
}

/**
 * The number of CPUs that this program may use: the default size of a pool.
 *
 * @returns At least 1.
 */
export function cpuCount(): number {
  return Math.max(1, runtime.cpuCount());
}

registerExports({
  Process,
  activeChildren,
  cpuCount,
  currentProcess,
  isMainProcess,
  parentProcess,
});
refuseToSend(Process.prototype, "Process", "send its name, or a queue that it reads");
