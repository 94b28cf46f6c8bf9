/**
 * What runs the tasks of a pool, where that is not the workers of this machine.
 *
 * For those who write a backend; whoever uses one passes it to `new Pool({ backend })`. A
 * {@linkcode Pool} does all that is the same everywhere: it checks what it is given, reads the items of
 * maps, cuts them into chunks, puts results in order, and tells how far it got. A backend gets
 * {@linkcode Job}s, and settles each once.
 *
 * @module
 */

import { decode, encode, encodeThrown } from "./wire/codec/codec.ts";
import type { Encoded, TargetRef } from "./wire/protocol.ts";
import { namingVariables } from "./wire/target/target_pack.ts";
import type { Target } from "./target.ts";
import type { Backend } from "./wire/pool/job.ts";

export { checkWait } from "./memory/timeout.ts";
export { isCall, rejectJob, resolveJob, SETTLED, WAITS } from "./wire/pool/job.ts";
export type {
  Answer,
  Backend,
  FullJob,
  Job,
  JobMode,
  MapResult,
  Moving,
  PoolStats,
  Watch,
} from "./wire/pool/job.ts";
export { NO_SOURCES, rethrow, type Sources } from "./wire/pool/caller.ts";
export type { ModuleRef, ScopeBinding, SourceRef, TargetRef } from "./wire/protocol.ts";
export { describeTarget } from "./wire/target/target_ref.ts";
export { type ImportModule, resolveTarget } from "./wire/target/target_resolve.ts";
export type { AnyFunction } from "./wire/target/tasks.ts";
export type { Target } from "./target.ts";

/** Opens a backend for each pool. */
export interface PoolBackend {
  /**
   * Called once by each `new Pool()`. What fails later rejects the pool's jobs.
   *
   * @throws Whatever is wrong with the options: `new Pool()` throws it.
   */
  open(options: BackendOptions): Backend;
}

/** What a pool was created with; counts and names are checked. */
export interface BackendOptions {
  /** How many workers were asked for. */
  processes: number | undefined;
  /** What each worker calls before its first job. */
  initializer: Target<never[], unknown> | undefined;
  /** Its arguments. */
  initargs: unknown[];
  /** A worker is replaced after so many jobs. */
  maxTasksPerChild: number | undefined;
  /** What workers are called. */
  name: string;
}

/** The backend of pools that name none; undefined for workers on this machine. */
export let defaultBackend: PoolBackend | undefined;

/** Sets the backend of all pools to come that name none; undefined for workers on this machine. */
export function setDefaultBackend(backend: PoolBackend | undefined): void {
  defaultBackend = backend;
}

/** Says why a thing is refused that lives in this program's memory; given the name of its class. */
export type Refusal = (what: string) => string;

/**
 * Encodes a value as bytes that any process on any machine can decode, with the fidelity of structured
 * clone. What lives in shared memory, and what would have to be moved, is refused.
 *
 * @param value The value.
 * @param root Names the value in errors, such as `args`.
 * @param refuse What is said of a thing that is refused.
 * @returns Memory of its own.
 * @throws {EncodingError} If something in the value cannot be sent; the message has its path.
 */
export function encodeValue(
  value: unknown,
  root: string,
  refuse: Refusal = ofThisMachine,
): Uint8Array {
  return bytesOf(encode(value, { root, refuse }));
}

/**
 * Encodes what {@linkcode describeTarget} tells of a function; {@linkcode decodeValue} decodes it.
 *
 * @throws {EncodingError} If a value of its scope cannot be sent; the message has the variable's name.
 */
export function encodeTarget(ref: TargetRef, refuse: Refusal = ofThisMachine): Uint8Array {
  return namingVariables(ref, () => encodeValue(ref, "scope", refuse));
}

/** Like {@linkcode encodeValue}, for what a function has thrown; never fails. */
export function encodeError(thrown: unknown, refuse: Refusal = ofThisMachine): Uint8Array {
  return bytesOf(encodeThrown(thrown, refuse));
}

/**
 * Decodes what {@linkcode encodeValue} and {@linkcode encodeError} have made.
 *
 * @throws {EncodingError} If the bytes are something else.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  return decode(bytes, 0, bytes.length, []);
}

function ofThisMachine(what: string): string {
  return `a ${what} is of this machine only`;
}

function bytesOf({ bytes, length }: Encoded): Uint8Array {
  return new Uint8Array(bytes.subarray(0, length));
}
