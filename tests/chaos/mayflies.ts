/** Processes that share nothing and live for a moment: deaths that cost little. */

import { EncodingError } from "../../errors.ts";
import { Process } from "../../process.ts";
import { closure } from "../../target.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const KINDS = ["exit", "exit", "throw", "kill", "terminate", "spin", "missing", "broken"] as const;

const MISSING = new URL("./missing.ts", import.meta.url);
const BROKEN = new URL("./broken.ts", import.meta.url);

/** A process that was started, and how it must end. */
export interface Mayfly {
  kind: typeof KINDS[number];
  process: Process<never>;
  /** Its exit code. One that is stopped may have been faster. */
  code: number;
}

const exits = (code: number) => {
  (globalThis as unknown as { process: { exit(code: number): void } }).process.exit(code);
};

const throws = (_: number) => {
  throw new Error("chaos");
};

const spins = (ms: number) => {
  const end = performance.now() + ms;
  while (performance.now() < end);
};

function plain(kind: Mayfly["kind"], target: (n: number) => void, n: number, code: number): Mayfly {
  return { kind, process: new Process({ target, args: [n] }) as Process<never>, code };
}

function create(random: Random, world: World): Mayfly {
  const kind = random.pick(KINDS);
  const code = random.below(200);
  const { lock, queues: [queue] } = world;
  switch (kind) {
    case "exit":
      return plain(kind, exits, code, code);
    case "throw":
      return plain(kind, throws, 0, 1);
    case "spin":
      return plain(kind, spins, 100, -9);
    case "kill":
    case "terminate": {
      // It takes what others need, if it ever begins.
      const target = closure(() => [lock.acquireSync(), queue], { lock, queue });
      return { kind, process: new Process({ target }) as never, code: kind === "kill" ? -9 : -15 };
    }
    case "missing":
      return { kind, process: new Process({ target: { module: MISSING, name: "x" } }), code: 1 };
    case "broken":
      return {
        kind,
        process: new Process({ target: { module: BROKEN, name: "nothing" } }),
        code: 1,
      };
  }
}

/** Starts so many, and kills those that are to be killed. */
export function startMayflies(random: Random, world: World, count: number): Mayfly[] {
  return Array.from({ length: count }, () => {
    const mayfly = create(random, world);
    const { process, kind } = mayfly;
    process.start();
    if (kind === "kill") process.kill();
    if (kind === "terminate") process.terminate();
    if (kind === "spin") setTimeout(() => process.kill(), random.below(40));
    return mayfly;
  });
}

/** Starts what cannot be sent. Returns what is wrong with what came of it. */
export function startUnsendable(world: World): string | undefined {
  const args: [unknown] = [{ lock: world.lock, fn: () => {} }];
  const process = new Process({ target: (_: unknown) => {}, args });
  try {
    process.start();
  } catch (error) {
    if (error instanceof EncodingError && process.pid === null) return undefined;
    return `start() with a function in its arguments threw ${error}`;
  }
  return "a function was sent";
}
