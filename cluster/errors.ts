/**
 * The errors that only a cluster has.
 *
 * @module
 */

import { MultiprocessingError } from "@multiprocessing/core/errors";

/**
 * A daemon refuses a function: its file is another than the client's, or not there, or the function came
 * as text, which the daemon does not run.
 */
export class ModuleMismatchError extends MultiprocessingError {
  static {
    this.prototype.name = "ModuleMismatchError";
  }
}

/** Tasks have waited for longer than `waitForWorkers`, and no daemon of the cluster was there. */
export class NoWorkersError extends MultiprocessingError {
  static {
    this.prototype.name = "NoWorkersError";
  }
}
