/**
 * The errors of the library, and the options that every wait takes.
 *
 * This file is the house's vocabulary: it imports nothing, and any floor may import it.
 *
 * @module
 */

/** Options of a wait that blocks the calling thread. */
export interface WaitSyncOptions {
  /**
   * How long to wait, in milliseconds. `undefined` waits for ever, `0` or less looks once and does
   * not wait. `NaN` is a `RangeError`.
   */
  timeout?: number | undefined;
}

/** Options of a wait that returns a promise. */
export interface WaitOptions extends WaitSyncOptions {
  /** Ends the wait: the promise rejects with the signal's reason, and nothing has changed. */
  signal?: AbortSignal | undefined;
}

/** The base of all errors of this library. */
export class MultiprocessingError extends Error {
  static {
    this.prototype.name = "MultiprocessingError";
  }
}

/** A wait with `timeout` ran out. */
export class TimeoutError extends MultiprocessingError {
  static {
    this.prototype.name = "TimeoutError";
  }
}

/** Use of a `Process`, `Pool`, `Queue` or `Connection` that has been closed. */
export class ClosedError extends MultiprocessingError {
  static {
    this.prototype.name = "ClosedError";
  }
}

/** `getNowait()`, or a `get()` whose timeout ran out: Python's `queue.Empty`. */
export class QueueEmptyError extends MultiprocessingError {
  static {
    this.prototype.name = "QueueEmptyError";
  }
}

/** `putNowait()`, or a `put()` whose timeout ran out: Python's `queue.Full`. */
export class QueueFullError extends MultiprocessingError {
  static {
    this.prototype.name = "QueueFullError";
  }
}

/** The barrier was reset, aborted, or one of its parties gave up or died. */
export class BrokenBarrierError extends MultiprocessingError {
  static {
    this.prototype.name = "BrokenBarrierError";
  }
}

/** A function that cannot be sent: the message names what it captures, and the mend. */
export class TargetError extends MultiprocessingError {
  static {
    this.prototype.name = "TargetError";
  }
}

/** A value that cannot be sent: the message names its path, such as `args[0].socket`. */
export class EncodingError extends MultiprocessingError {
  static {
    this.prototype.name = "EncodingError";
  }
}

/** A use of processes, pools or locks that their rules forbid: Python's `ProcessError`. */
export class ProcessError extends MultiprocessingError {
  static {
    this.prototype.name = "ProcessError";
  }
}

/** What is known of a process that ended before it answered. */
export interface LostProcess {
  /** `n` of `exit(n)`, 1 after an uncaught error, -15 if terminated, -9 if killed. */
  exitCode: number;
  /** The process's pid. */
  pid: number;
  /** The process's name. */
  processName: string;
}

/** The process that ran the task ended before it answered; `cause` is its uncaught error, if any. */
export class ProcessLostError extends MultiprocessingError {
  static {
    this.prototype.name = "ProcessLostError";
  }
  /** `n` of `exit(n)`, 1 after an uncaught error, -15 if terminated, -9 if killed. */
  readonly exitCode: number;
  /** The pid of the lost process. */
  readonly pid: number;
  /** The name of the lost process. */
  readonly processName: string;

  /**
   * Says what was lost, and how.
   *
   * @param message What was lost.
   * @param lost Which process, and how it ended.
   * @param options The error that ended the process, as `cause`.
   */
  constructor(message: string, lost: LostProcess, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = lost.exitCode;
    this.pid = lost.pid;
    this.processName = lost.processName;
  }
}
