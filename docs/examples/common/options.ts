/** The command line of an example: options with defaults, `--help`, and one clear line of error. */

import { basename } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

/** One option. A number is whole, and lies between `from` and `to`, both of which it may be. */
export interface Option {
  initial: number | string;
  about: string;
  /** @default 1 */
  from?: number;
  to?: number;
}

/** The values of options: numbers where the defaults are numbers, else texts. */
export type Values<O extends Record<string, Option>> = {
  [K in keyof O]: O[K]["initial"] extends number ? number : string;
};

/** Ends the program with code 1, and says why in one line. */
export function refuse(reason: string): never {
  console.error(`Cannot run ${basename(process.argv[1]!)}: ${reason}`);
  process.exit(1);
}

/** What the command line says; `--help` prints it all and ends the program. */
export function readOptions<const O extends Record<string, Option>>(
  purpose: string,
  options: O,
): Values<O> {
  const texts = parse(options);
  if (texts.help) {
    printHelp(purpose, options);
    process.exit(0);
  }
  const values = Object.entries(options).map(([name, option]) => [
    name,
    typeof option.initial === "number" ? toNumber(name, texts[name], option) : texts[name],
  ]);
  return Object.fromEntries(values);
}

function parse(options: Record<string, Option>): Record<string, unknown> {
  const strings = Object.entries(options).map(([name, { initial }]) =>
    [name, { type: "string", default: String(initial) }] as const
  );
  try {
    return parseArgs({ options: { ...Object.fromEntries(strings), help: { type: "boolean" } } })
      .values;
  } catch (error) {
    refuse((error as Error).message);
  }
}

function toNumber(name: string, text: unknown, { from = 1, to = Infinity }: Option): number {
  const number = text === "" ? NaN : Number(text);
  if (Number.isInteger(number) && number >= from && number <= to) return number;
  const range = to === Infinity ? `${from} or more` : `${from} to ${to}`;
  refuse(`'--${name}' must be a whole number, ${range}, but is '${text}'`);
}

function printHelp(purpose: string, options: Record<string, Option>): void {
  console.log(`${purpose}\n`);
  for (const [name, { initial, about }] of Object.entries(options)) {
    const value = initial === "" ? "" : ` (${initial})`;
    console.log(`  --${name.padEnd(10)} ${about}${value}`);
  }
}
