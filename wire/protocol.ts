/**
 * What crosses between processes, as types only: one interface a message, one union.
 *
 * @module
 */

import type { StartRecord } from "../memory/boot.ts";
import type { Transferable } from "../runtime/port.ts";

/** A value as it crosses: bytes, and the things that bytes cannot hold. */
export interface Encoded {
  /** Holds the encoded value in its first `length` bytes; reused by the next `encode()`. */
  bytes: Uint8Array;
  /** Number of bytes used. */
  length: number;
  /** What comes behind them: memory of the value itself, to be copied at once. */
  body: Uint8Array | undefined;
  /** SharedArrayBuffers, ports and moved buffers, by index; they travel beside the bytes. */
  attachments: unknown[];
  /** Those of the attachments that are moved rather than shared. */
  transfer: Transferable[];
}

/** How a function travels. Plain data (but for the scope's values), so that the codec can carry it. */
export type TargetRef =
  | SourceRef
  | ModuleRef;

/** A function as source text, with the values of its free names. */
export interface SourceRef {
  /** Which kind of reference this is. */
  kind: "source";
  /** Shown in errors. */
  name: string;
  /** A JavaScript expression that evaluates, in strict mode, to the function. */
  source: string;
  /** Free name → what it stands for. Empty for a plain function. */
  scope: [name: string, binding: ScopeBinding][];
}

/** One entry of a closure's scope. */
export type ScopeBinding =
  | { kind: "data"; value: unknown }
  | { kind: "target"; target: TargetRef }
  | { kind: "export"; name: string };

/** A function as "module URL + name". */
export interface ModuleRef {
  /** Which kind of reference this is. */
  kind: "module";
  /** Absolute URL. */
  module: string;
  /** Name of the export or, if `task`, the name under which task() registered it. */
  name: string;
  /** Whether the function was registered by task() rather than exported. */
  task: boolean;
}

/** A value ready for a port. */
export interface Packed {
  bytes: Uint8Array;
  attachments: unknown[];
}

/** What a process runs, beyond a plain function. */
export type Payload = CallPayload | TaskLoopPayload;

/** Runs one function. */
export interface CallPayload extends PackedCall {
  kind: "call";
}

/** Runs a pool's tasks; see task_loop.ts. */
export interface TaskLoopPayload {
  kind: "tasks";
  /** Channel from the pool, for definitions of functions; a raw port. */
  port: unknown;
  tasks: SharedArrayBuffer;
  results: SharedArrayBuffer;
  claims: SharedArrayBuffer;
  leases: SharedArrayBuffer;
  /** Which of the claims, and of the leases, is this worker's. */
  slot: number;
  /** The worker ends after so many tasks. */
  maxTasks: number;
  /** Called before the first task. */
  initializer: PackedCall | undefined;
}

/** A function and its arguments. */
export interface PackedCall {
  target: Packed;
  args: Packed;
}

/** Sent by a pool to a worker. */
export type PoolMessage = DefinitionMessage | AbortMessage;

/** Sent by a pool to all its workers, before the first task that needs it. */
export interface DefinitionMessage {
  /** Number of the function, as tasks name it. */
  index: number;
  /** The function's {@linkcode TargetRef}; null if no task will name it any more. */
  target: Packed | null;
}

/** Sent by a pool to a worker before it tells the worker's task to stop. */
export interface AbortMessage {
  /** The task's number. */
  task: number;
  reason: Packed;
}

/** Sent by a worker to its pool: the uncaught error that ends it. */
export interface LastWords {
  error: Packed;
}

/** Sent by any process to the main process. */
export type Request =
  | StartRequest
  | StopRequest
  | DepositRequest
  | WithdrawRequest
  | FetchRequest;

/** Start a process. The record's `link` is still missing. */
export interface StartRequest {
  kind: "start";
  record: StartRecord;
  transfer: Transferable[];
}

/** Stop the worker of a process that has been marked as ended. */
export interface StopRequest {
  kind: "stop";
  pid: number;
}

/** Keep attachments for whoever gets the bytes. */
export interface DepositRequest {
  kind: "deposit";
  token: number;
  attachments: unknown[];
  transfer: Transferable[];
}

/** Drop a deposit: the bytes that name it are sent to nobody. */
export interface WithdrawRequest {
  kind: "withdraw";
  token: number;
}

/** Hand out what was deposited; `done` is woken when the reply lies in the port. */
export interface FetchRequest {
  kind: "fetch";
  token: number;
  done: SharedArrayBuffer;
}

/** Answer to a {@linkcode FetchRequest}. */
export interface FetchReply {
  token: number;
  attachments: unknown[];
}
