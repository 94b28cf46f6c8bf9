/**
 * A contestant's end of a contest: a process that takes a turn for each line of its input, a JSON value,
 * and answers each with a line. Contestants in other languages do the same.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";

/** What precedes an answer in the output, which may hold other things. */
export const MARK = "@bench ";

/**
 * Takes turns until the input ends, and then ends the process.
 *
 * @param take Takes one turn; an error it throws is the answer.
 */
export async function serve<Turn, Answer extends object>(
  take: (turn: Turn) => Answer | Promise<Answer>,
): Promise<never> {
  const write = process.stdout.write.bind(process.stdout);
  const say = (answer: object) => write(`\n${MARK}${JSON.stringify(answer)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say(await take(JSON.parse(line)));
    } catch (error) {
      say({ error: String(error) });
    }
  }
  process.exit();
}
