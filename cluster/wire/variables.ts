/**
 * Variables of the environment.
 *
 * @module
 */

/** The URL of the Redis of `cluster()` and, once the package is imported, of each `new Pool()`. */
export const URL_VARIABLE = "MULTIPROCESSING_CLUSTER_URL";

/** The cluster's name. */
export const NAME_VARIABLE = "MULTIPROCESSING_CLUSTER_NAME";

/**
 * Set within a daemon: its tasks make no pools on the cluster, which could wait for the very slots that
 * their makers hold.
 */
export const DAEMON_VARIABLE = "MULTIPROCESSING_CLUSTER_DAEMON";
