/**
 * Starting and stopping processes.
 *
 * **All workers are started by the main process**, whoever asked. So a process outlives its parent, as
 * in Python; the runtime's own quirks of nested workers (on Deno, a stall of 500 ms each) do not
 * matter; and one place hears of every end. A request waits for the main process to look at it: at
 * once if it is idle or waiting in this library, otherwise when it gets back to its event loop.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { boot, BOOT_KEY, type StartRecord } from "../memory/boot.ts";
import {
  announceEnd,
  bootRecord,
  controlBuffer,
  ended,
  endProcess,
  exitCodeOf,
  gone,
  isAlive,
  livingChildren,
  newPid,
  ownPid,
  stateIndex,
  TERMINATED,
} from "../memory/control.ts";
import { insideTarget, type NativeWorker, runtime } from "../runtime/mod.ts";
import { closeLink, onRequest, onRing, openLink, request } from "./link.ts";
import type { StartRequest, StopRequest } from "./protocol.ts";
import type { Transferable } from "../runtime/port.ts";

/** What to start. */
export interface SpawnOptions {
  /** Its pid, if {@linkcode takePid} has given one. */
  pid?: number;
  /** URL of the worker module. */
  module: string;
  name: string;
  identity: string;
  daemon: boolean;
  plain: StartRecord["plain"];
  payload: unknown;
  caller?: StartRecord["caller"];
  transfer: Transferable[];
}

interface RunningWorker {
  native: NativeWorker;
  record: StartRecord;
  /** Resolves when the runtime has reported the end: all output has come through by then. */
  closed: Promise<void>;
}

// A runtime that fails to report an end must not hold up whoever waits for the process.
const CLOSE_MS = 1000;

const workers = new Map<number, RunningWorker>();
let entry: string | undefined;

/** Name and pid of this process. */
export const ownName: string = bootRecord?.start.name ?? "MainProcess";

/**
 * Starts a process.
 *
 * @returns Its pid.
 * @throws {ProcessError} If this process may not start any, or not now.
 */
export function spawn(options: SpawnOptions): number {
  const { pid = takePid(options.name), transfer, ...rest } = options;
  const refusal = options.plain === null ? refusalOf(options.module) : undefined;
  if (refusal !== undefined) {
    dropPid(pid);
    throw new ProcessError(`Cannot start ${options.name}: ${refusal}`);
  }
  const record: StartRecord = {
    key: BOOT_KEY,
    control: controlBuffer,
    state: stateIndex(pid),
    pid,
    parent: { pid: ownPid, name: ownName },
    link: undefined,
    caller: "",
    ...rest,
  };
  try {
    request({ kind: "start", record, transfer }, transfer);
  } catch (error) {
    dropPid(pid);
    throw error;
  }
  return pid;
}

/** Why a new worker may not load the worker module, if that is known beforehand. */
function refusalOf(module: string): string | undefined {
  if (URL.canParse(module)) return runtime.refusal?.(module);
  return "it loads this library, whose import.meta.url a bundler has taken away; " +
    "let it make an ES module";
}

/**
 * Takes the pid of a process that is about to be started, for what must know it before. It counts as
 * alive: if nothing comes of it, {@linkcode dropPid} it.
 *
 * @throws {ProcessError} If this process may not start any, or not now.
 */
export function takePid(name: string): number {
  checkMayStart(name);
  return newPid();
}

/** The process will not be started: whoever waits for it hears of its end. */
export function dropPid(pid: number): void {
  endProcess(pid, 1, true);
}

/**
 * Throws unless this process may start a child now.
 *
 * A module without main guard starts its processes when it is imported, or soon after; in a process that
 * has imported it to find its target, that would go on without end.
 */
function checkMayStart(name: string): void {
  if (bootRecord === undefined) return;
  const { importing, start: { daemon, plain } } = bootRecord;
  if (importing > 0) throw new ProcessError(mainGuardText(name));
  if (daemon) {
    throw new ProcessError(
      `Cannot start ${name}: ${ownName} is a daemon, which has no children; ` +
        "start it from a process that is none",
    );
  }
  // A plain function came without a module.
  if (plain === null && !insideTarget()) throw new ProcessError(mainGuardText(name));
}

function mainGuardText(name: string): string {
  return `Cannot start ${name}: this module has been imported for ${ownName}, and would start ` +
    "processes without end. Start processes only where the module is the program:\n\n" +
    "    if (import.meta.main) {\n      // start processes here\n    }\n\n" +
    "In what `bun build` makes with --compile or --target=node, import.meta.main is true everywhere: " +
    "use `if (isMainProcess())`.";
}

/** Ends a process from outside, with the given exit code. Harmless after its end. */
export function stop(pid: number, code: number): void {
  if (endProcess(pid, code, false)) request({ kind: "stop", pid });
}

/**
 * Resolves with the exit code when the process has ended and its output has come through.
 *
 * @param patience How long to wait for the output, in ms.
 */
export async function closed(pid: number, patience = CLOSE_MS): Promise<number> {
  const code = await ended(pid);
  const worker = workers.get(pid);
  if (worker !== undefined) {
    let timer;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, patience));
    await Promise.race([worker.closed, late]);
    clearTimeout(timer);
  }
  return code;
}

function start({ record, transfer }: StartRequest): void {
  const { pid } = record;
  // Terminated before it was started.
  if (exitCodeOf(pid) !== null) return;
  // Without a name, stack traces would show the whole text.
  entry ??= `${runtime.entryText(String(boot))}\n//# sourceURL=multiprocessing:entry`;
  const link = openLink(pid);
  const { promise, resolve } = Promise.withResolvers<void>();
  const native = runtime.startWorker({
    entry,
    message: { ...record, link },
    transfer: [...transfer, link],
    onExit(code, error) {
      workers.delete(pid);
      // On every orderly way out the worker itself has marked its end, and said why.
      const isFinal = runtime.endIsFinal || isAlive(pid);
      if (endProcess(pid, code, isFinal) && error !== undefined) {
        console.error(`Process ${record.name} (pid ${pid}) was lost:`, error);
      }
      announceEnd(pid);
      closeLink(pid);
      dropUnborn(pid);
      // A thread that runs on for a moment may be amid taking one.
      if (!isFinal) void gone(pid).then(() => dropUnborn(pid));
      stopDaemonsLeft();
      resolve();
    },
  });
  if (record.daemon) native.unref();
  workers.set(pid, { native, record, closed: promise });
}

/** A process has died: it may have been between taking a pid and asking for the start. */
function dropUnborn(parent: number): void {
  for (const child of livingChildren(parent)) if (!workers.has(child)) dropPid(child);
}

/** Stops the daemons whose parents have ended. */
function stopDaemonsLeft(): void {
  for (const { record } of workers.values()) {
    if (record.daemon && !isAlive(record.parent.pid)) stop(record.pid, TERMINATED);
  }
}

if (bootRecord === undefined) {
  onRequest("start", (message, from) => {
    const asked = message as StartRequest;
    try {
      start(asked);
    } catch (error) {
      endProcess(asked.record.pid, 1, true);
      closeLink(asked.record.pid);
      if (from === undefined) throw error;
      console.error(`Process ${asked.record.name} (pid ${asked.record.pid}) did not start:`, error);
    }
  });
  onRing(stopDaemonsLeft);
  onRequest("stop", (message) => {
    workers.get((message as StopRequest).pid)?.native.terminate();
    stopDaemonsLeft();
  });
}
