/**
 * A contest: contestants in processes of their own, which take turns when they are told to.
 *
 * Some replace globals, some hang, some end; here that costs a contestant its turn, not the others theirs.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { MARK } from "./serve.ts";

/** A contestant's process. */
export interface Player<Answer extends object> {
  /** Why it takes no more turns. */
  out?: string;
  readonly child: ChildProcess;
  readonly answers: AsyncIterator<Answer | Failure>;
}

interface Failure {
  error: string;
}

const children = new Set<ChildProcess>();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

async function* answersOf<Answer>(child: ChildProcess): AsyncGenerator<Answer | Failure, Failure> {
  let complaint: string | undefined;
  child.on("error", (error) => complaint = error.message);
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (/\w*Error\b/.test(line)) complaint ??= line;
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    if (line.startsWith(MARK)) yield JSON.parse(line.slice(MARK.length));
  }
  return { error: `its process ended: ${complaint ?? "no error shown"}` };
}

/** Starts a contestant. */
export function enter<Answer extends object>(command: string[]): Player<Answer> {
  const [file, ...words] = command as [string, ...string[]];
  const child = spawn(file, words, {
    stdio: "pipe",
    env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  child.stdin!.on("error", () => {}); // It has ended, as its answers say.
  children.add(child);
  return { child, answers: answersOf(child) };
}

/** Ends a contestant's process. */
export async function leave({ child }: Player<object>): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  child.kill("SIGKILL");
  await promise; // Its memory and processors are free for the next.
}

/**
 * Lets a contestant take a turn.
 *
 * @returns Its answer; `undefined` if it is out, by an error, its end, or no answer in so many seconds.
 */
export async function ask<Answer extends object>(
  player: Player<Answer>,
  turn: unknown,
  seconds: number,
): Promise<Answer | undefined> {
  if (player.out !== undefined) return undefined;
  player.child.stdin!.write(`${JSON.stringify(turn)}\n`);
  const { promise, resolve } = Promise.withResolvers<Answer | Failure>();
  const timer = setTimeout(resolve, 1_000 * seconds, { error: `no answer in ${seconds} s` });
  player.answers.next().then(({ value }) => resolve(value));
  const answer = await promise;
  clearTimeout(timer);
  if (!("error" in answer)) return answer;
  player.out = answer.error;
  await leave(player);
  return undefined;
}
