/** Measures an example with one process and with several. */

/** What came out, and how many milliseconds it took. */
export interface Timed<R> {
  result: R;
  time: number;
}

/** Runs something and takes its time. */
export async function timed<R>(run: () => R | Promise<R>): Promise<Timed<R>> {
  const start = performance.now();
  const result = await run();
  return { result, time: performance.now() - start };
}

/** Prints both times, starting and ending processes included, and how many times faster `all` is. */
export function printSpeedUp(processes: number, one: Timed<unknown>, all: Timed<unknown>): void {
  printTime("1 process", one.time);
  printTime(`${processes} processes`, all.time);
  console.log(`${"speed-up".padEnd(14)} ${(one.time / all.time).toFixed(2).padStart(7)}`);
}

function printTime(label: string, time: number): void {
  console.log(`${label.padEnd(14)} ${Math.round(time).toLocaleString("en-US").padStart(7)} ms`);
}
