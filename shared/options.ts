import { textOf } from "../memory/element.ts";
import type { CellType } from "../memory/element.ts";
import { checkNoBare, checkOptions } from "../memory/options.ts";
import { Lock, RLock } from "../sync.ts";

/** Options of what lies in shared memory. */
export interface SharedOptions {
  /**
   * The lock that `getLock()` returns; true makes a new RLock, false none.
   *
   * @default {true}
   */
  lock?: boolean | Lock | RLock | undefined;
}

/** How all of them cross. */
export interface Parts {
  buffer: SharedArrayBuffer;
  lock: Lock | null;
}

/** How a Value and a SharedArray cross. */
export interface TypedParts extends Parts {
  type: CellType;
}

/** Options of a handle on what another process has made; not for users. */
export class AdoptOptions implements SharedOptions {
  readonly lock: Lock | false;
  readonly buffer: SharedArrayBuffer;

  constructor({ lock, buffer }: Parts) {
    this.lock = lock ?? false;
    this.buffer = buffer;
  }
}

/** The lock of the options. */
export function checkLock(what: string, options: SharedOptions): Lock | RLock | undefined {
  checkOptions(`create ${what}`, options, { boolean: "lock" });
  checkNoBare(`create ${what}`, options, "lock", Lock);
  const { lock = true } = options;
  if (lock === true) return new RLock();
  if (lock === false) return undefined;
  if (lock instanceof Lock) return lock;
  throw new TypeError(
    `Cannot create ${what}: 'lock' must be a boolean, a Lock or an RLock, but is ${textOf(lock)}`,
  );
}

/** Says that there is no lock. */
export function noLock(what: string): never {
  throw new TypeError(`Cannot get the lock of ${what}: it was created with 'lock: false'`);
}
