/** Shows how far some work is: by a bar on a terminal, by a line at each quarter elsewhere. */

import process from "node:process";
import cliProgress from "cli-progress";

/** How far some work is, as people see it; it goes at the end of a `using` block. */
export interface Progress extends Disposable {
  /** So much of the total is done. */
  update(done: number): void;
  /** Ends the display. */
  stop(): void;
}

/** Begins to show how far some work is. */
export function showProgress(label: string, total: number): Progress {
  const shown = process.stdout.isTTY ? bar(label, total) : lines(label, total);
  return { ...shown, [Symbol.dispose]: shown.stop };
}

type Shown = Omit<Progress, typeof Symbol.dispose>;

function bar(label: string, total: number): Shown {
  const bar = new cliProgress.SingleBar({
    format: `${label} {bar} {percentage} % | {value} of {total} | {eta_formatted} left`,
    stream: process.stdout,
  }, cliProgress.Presets.shades_classic);
  bar.start(total, 0);
  return { update: (done) => bar.update(done), stop: () => bar.stop() };
}

function lines(label: string, total: number): Shown {
  let quarters = 0;
  return {
    update(done) {
      const reached = Math.floor(4 * done / total);
      if (reached > quarters) console.log(`${label} ${25 * reached} %`);
      quarters = reached;
    },
    stop() {},
  };
}
