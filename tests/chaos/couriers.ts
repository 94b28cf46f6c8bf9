/** Processes that send bytes until they die, or send back what they receive; the main process is at the other end. */

import { ClosedError } from "../../errors.ts";
import { Process } from "../../process.ts";
import { type Connection, Pipe } from "../../queue.ts";
import { task } from "../../target.ts";
import { LATE_MS } from "./actor.ts";
import { arm, disarm, leave, STEPPED } from "./dying.ts";
import { bytesOf, numberOf } from "./letter.ts";
import type { Random } from "./random.ts";

/** What a courier does. */
interface Errand {
  echoes: boolean;
  sync: boolean;
  /** The length of each message. */
  lengths: number[];
  death: "none" | "exit" | "throw" | "step" | "kill" | "terminate";
  /** After which message, before which step, or how many milliseconds later. */
  at: number;
}

/** A process that was started, and what its other end comes to. */
export interface Courier {
  process: Process<[Connection, Errand]>;
  done: Promise<void>;
}

/** The exit code of one who is told to exit. */
const EXIT = 12;

const CODES: Record<Errand["death"], number> = {
  none: 0,
  exit: EXIT,
  throw: 1,
  step: STEPPED,
  kill: -9,
  terminate: -15,
};

/** Starts so many. */
export function startCouriers(
  random: Random,
  count: number,
  report: (message: string) => void,
): Courier[] {
  return Array.from({ length: count }, () => start(plan(random), report));
}

function plan(random: Random): Errand {
  const death = random.pick(
    ["none", "exit", "throw", "step", "step", "step", "kill", "kill", "terminate"] as const,
  );
  // A quarter of the pipe's memory is 256: larger ones are streamed.
  const lengths = Array.from(
    { length: 5 + random.below(20) },
    () => random.pick([0, 5, 100, 300, 3000]),
  );
  const most = { none: 1, exit: 5, throw: 5, step: 600, kill: 100, terminate: 100 }[death];
  return {
    echoes: random.chance(0.5),
    sync: random.chance(0.5),
    lengths,
    death,
    at: random.below(most),
  };
}

function start(errand: Errand, report: (message: string) => void): Courier {
  const [here, there] = Pipe({ capacity: 1024 });
  const process = new Process({ target: run, args: [there, errand] });
  process.start();
  const { death, at, echoes } = errand;
  if (death === "kill" || death === "terminate") setTimeout(() => process[death](), at);
  const what = `a courier, ${echoes ? "echo" : "send"}, ${death} at ${at}`;
  const say = (words: string) => report(`${what}: ${words}`);
  return { process, done: meet(process, here, errand, say) };
}

const run = task(import.meta, async function courier(end: Connection, errand: Errand) {
  const { echoes, sync, lengths, death, at } = errand;
  if (death === "step") arm(at);
  for (const [i, length] of lengths.entries()) {
    if (i === at && death === "exit") leave(EXIT);
    if (i === at && death === "throw") throw new Error("chaos");
    const bytes = echoes
      ? sync ? end.recvBytesSync() : await end.recvBytes()
      : bytesOf(i + 1, length);
    if (sync) end.sendBytesSync(bytes);
    else await end.sendBytes(bytes);
  }
  disarm();
});

/** Is at the other end until it is gone, and looks at what has come until then. */
async function meet(
  process: Courier["process"],
  here: Connection,
  errand: Errand,
  say: (words: string) => void,
): Promise<void> {
  const { lengths, death, at, echoes } = errand;
  let came = 0;
  try {
    for (;; came++) {
      const length = lengths[came];
      if (echoes && length !== undefined) {
        await here.sendBytes(bytesOf(came + 1, length), { timeout: LATE_MS });
      }
      const bytes = await here.recvBytes({ timeout: LATE_MS });
      if (numberOf(bytes) === came + 1 && bytes.length === bytesOf(0, length!).length) continue;
      return say(`received ${numberOf(bytes)} of ${bytes.length} bytes after ${came}`);
    }
  } catch (error) {
    if (!(error instanceof ClosedError)) return say(`threw ${(error as Error).stack}`);
  } finally {
    here.close();
  }
  if (!await process.join({ timeout: LATE_MS })) return say("has no end");
  const { exitCode } = process;
  // It may have been faster.
  if (exitCode !== 0 && exitCode !== CODES[death]) say(`ended with ${exitCode}`);
  const isDue = exitCode === CODES[death] && (death === "exit" || death === "throw");
  const least = exitCode === 0 ? lengths.length : isDue ? at : 0;
  if (came < least) say(`only ${came} of ${least} messages have come`);
}
