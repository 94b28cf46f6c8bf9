import { currentFolder, resolve } from "../runtime/host.ts";
import { checkCluster } from "../wire/keys.ts";
import { Server } from "../wire/server.ts";

/** Options of a cluster. */
export interface ClusterOptions {
  /**
   * The cluster's name: daemons of the same name work for it.
   *
   * @default {"default"}
   */
  name?: string;
  /**
   * The folder that client and daemons have in common. Functions are found by the path of their module
   * in there.
   *
   * @default {the current directory}
   */
  root?: string;
  /**
   * When a client has been silent for so many milliseconds, its pools are given up; at least 1,000.
   *
   * @default {10_000}
   */
  lease?: number;
  /**
   * So often is a job begun anew whose daemon was lost. 0 for tasks that must not run twice.
   *
   * @default {1}
   */
  lossRetries?: number;
  /**
   * So many milliseconds are tasks kept while no daemon is there; then they reject with
   * {@linkcode NoWorkersError}.
   *
   * @default {10_000}
   */
  waitForWorkers?: number;
  /**
   * So many milliseconds may Redis be out of reach; then tasks, and what waits for a primitive, reject
   * with {@linkcode TimeoutError}. At most 120,000.
   *
   * @default {60_000}
   */
  patience?: number;
}

/** Options, each with its value. */
export interface Settled extends Required<ClusterOptions> {
  /** Where the cluster's Redis is. */
  server: Server;
}

/** Fills in and checks the options. */
export function settle(url: string | URL, options: ClusterOptions): Settled {
  const settled: Settled = {
    server: new Server(url),
    name: "default",
    root: ".",
    lease: 10_000,
    lossRetries: 1,
    waitForWorkers: 10_000,
    patience: 60_000,
    ...options,
  };
  checkCluster(settled.name);
  if (typeof settled.root !== "string") {
    throw new TypeError(`Cannot use cluster: 'root' must be a path, but is ${settled.root}`);
  }
  settled.root = resolve(currentFolder(), settled.root);
  checkNumber("lease", settled.lease, 1_000);
  checkNumber("lossRetries", settled.lossRetries, 0);
  checkNumber("waitForWorkers", settled.waitForWorkers, 0);
  checkNumber("patience", settled.patience, 0);
  return settled;
}

function checkNumber(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  if (name === "waitForWorkers" && value === Infinity) return;
  throw new RangeError(
    `Cannot use cluster: '${name}' must be a whole number of at least ${least}, but is ${value}`,
  );
}
