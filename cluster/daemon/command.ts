/**
 * The command line of `multiprocessing-worker`.
 *
 * @module
 */

import {
  availableParallelism,
  currentFolder,
  exit,
  isFolder,
  onStopSignal,
  parseArgs,
  resolve,
  setVariable,
  variable,
} from "../runtime/host.ts";
import { checkCluster } from "../wire/keys.ts";
import { Server } from "../wire/server.ts";
import { DAEMON_VARIABLE, NAME_VARIABLE, URL_VARIABLE } from "../wire/variables.ts";
import { Daemon } from "./daemon.ts";
import { statusOf } from "./status.ts";

const HELP = `Runs tasks of pools that use a cluster.

  multiprocessing-worker --url redis://host:6379 [options]    works until it is stopped
  multiprocessing-worker status --url redis://host:6379       shows daemons and pools

  --url URL        the cluster's Redis; default: MULTIPROCESSING_CLUSTER_URL
  --cluster NAME   the cluster's name; default: MULTIPROCESSING_CLUSTER_NAME, or else default
  --slots N        jobs at once, for each pool; default: the number of processors
  --root DIR       the folder that clients and daemons have in common; default: .
  --allow-code     also runs functions that come as text: whoever can write to Redis can then run
                   any code here
  --lock MS        after so long a silence its jobs are given to others; default: 10000
  --grace MS       after SIGTERM running jobs may go on for so long; default: 20000
  --help           shows this

SIGTERM and SIGINT: takes no more jobs, and finishes those that run; what takes longer than --grace is
given back, to be begun anew by another daemon. A second signal gives all back at once.
Exit codes: 0 stopped, 1 failed, 2 wrong usage.
`;

const OPTIONS = {
  url: { type: "string" },
  cluster: { type: "string" },
  slots: { type: "string" },
  root: { type: "string" },
  lock: { type: "string" },
  grace: { type: "string" },
  "allow-code": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** What is wrong with a command line. */
class UsageError extends Error {}

/** Runs a command line. Returns the exit code. */
export async function runCommand(args: string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    const { message } = error as Error;
    console.error(`multiprocessing-worker: ${message}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [command = "work", ...rest] = positionals;
  if (rest.length > 0 || !["work", "status"].includes(command)) {
    throw new UsageError(`'${positionals.join(" ")}' is no command; see --help`);
  }
  const url = values.url ?? variable(URL_VARIABLE);
  if (url === undefined) throw new UsageError("--url is missing; see --help");
  const cluster = values.cluster ?? variable(NAME_VARIABLE) ?? "default";
  const server = check(() => new Server(url));
  check(() => checkCluster(cluster));
  const slots = whole("slots", values.slots, availableParallelism(), 1);
  const lock = whole("lock", values.lock, 10_000, 500);
  const grace = whole("grace", values.grace, 20_000, 0);
  const root = resolve(currentFolder(), values.root ?? ".");
  if (!isFolder(root)) throw new UsageError(`--root must be a folder, but is ${root}`);
  await checkServer(server);
  if (command === "status") {
    console.log(await statusOf(server, cluster));
    return 0;
  }
  // For tasks: cluster() without a URL means this one.
  setVariable(URL_VARIABLE, url);
  setVariable(NAME_VARIABLE, cluster);
  setVariable(DAEMON_VARIABLE, "1");
  const allowCode = values["allow-code"] ?? false;
  const log = (line: string) => console.log(`${new Date().toISOString()} ${line}`);
  const daemon = await Daemon.start({ server, cluster, slots, lock, root, allowCode, log });
  log(`ready: cluster ${cluster} at ${server.shown}, ${slots} slots, root ${root}`);
  await stopped(daemon, grace, log);
  // BullMQ would go on to wait for a Redis that is away.
  exit(0);
}

/** What is wrong with an option is wrong usage. */
function check<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.replaceAll("\n", " "));
  }
}

function whole(name: string, text: string | undefined, otherwise: number, least: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} must be a whole number of at least ${least}, but is ${text}`);
}

/** Who cannot reach Redis says so at once, rather than wait for it in silence. */
async function checkServer(server: Server): Promise<void> {
  const redis = await server.connect({
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let reason: unknown;
  redis.on("error", (error) => reason = error);
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    const { message } = (reason ?? error) as Error;
    throw new Error(`cannot reach Redis at ${server.shown}: ${message}`);
  } finally {
    redis.disconnect();
  }
}

/** Resolves when signals have stopped the daemon. */
function stopped(daemon: Daemon, grace: number, log: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let asked = false;
    onStopSignal((signal) => {
      log(asked ? `${signal}: giving back what runs` : `${signal}: finishing what runs`);
      if (asked) return daemon.giveBack();
      asked = true;
      daemon.stop(grace).then(resolve, reject);
    });
  });
}
