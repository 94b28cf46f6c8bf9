/** Shows how far a job is: by a bar on a terminal, by a few lines elsewhere. */

import process from "node:process";
import cliProgress from "cli-progress";

/** A job's progress. */
export interface Progress {
  /** Reports that so much more of the total is done. */
  advance(amount: number): void;
  /** Ends the display. */
  stop(): void;
}

/** Begins to show the progress of a job. */
export function showProgress(label: string, total: number): Progress {
  return process.stderr.isTTY ? bar(label, total) : lines(label, total);
}

function bar(label: string, total: number): Progress {
  const bar = new cliProgress.SingleBar({
    format: `${label} {bar} {percentage} %`,
    clearOnComplete: true,
  }, cliProgress.Presets.shades_classic);
  bar.start(total, 0);
  return { advance: (amount) => bar.increment(amount), stop: () => bar.stop() };
}

function lines(label: string, total: number): Progress {
  let done = 0;
  let quarters = 0;
  return {
    advance(amount) {
      done += amount;
      const reached = Math.floor(4 * done / total);
      if (reached > quarters) console.error(`${label} ${25 * reached} %`);
      quarters = reached;
    },
    stop() {},
  };
}
