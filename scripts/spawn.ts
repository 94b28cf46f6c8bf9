/**
 * Child processes that cannot outlive their time.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { ROOT } from "./runtimes.ts";

/** How a child process ended. */
export interface Outcome {
  /** Its exit code; 1 if a signal ended it. */
  code: number;
  /** What it printed on both streams, in order. */
  output: string;
  /** Whether it was killed because its time was over. */
  timedOut: boolean;
}

/** The environment of all children: no colours, no questions, nothing inherited from a test runner. */
function environment(): Record<string, string | undefined> {
  const env: Record<string, string | undefined> = {
    ...process.env,
    NO_COLOR: "1",
    DENO_NO_UPDATE_CHECK: "1",
    DENO_NO_PROMPT: "1",
  };
  for (const name of ["FORCE_COLOR", "NODE_OPTIONS", "NODE_TEST_CONTEXT"]) delete env[name];
  return env;
}

/** Runs a command to its end, or kills it and all its descendants after `timeout` milliseconds. */
export function capture(command: string[], timeout: number): Promise<Outcome> {
  const [file, ...args] = command as [string, ...string[]];
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd: ROOT,
      env: environment(),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true, // leads a process group of its own, which can be killed as one
    });
    const chunks: Buffer[] = [];
    let timedOut = false;

    const killGroup = () => {
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        child.kill("SIGKILL"); // nobody left, or no process groups on this system
      }
    };
    const finish = (code: number) => {
      clearTimeout(timer);
      process.off("exit", killGroup);
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code, output: Buffer.concat(chunks).toString(), timedOut });
    };
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup();
      setTimeout(finish, 2_000, 1).unref(); // should someone outside the group hold the pipes open
    }, timeout);

    process.once("exit", killGroup); // when this script is interrupted, its children go too
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => chunks.push(chunk));
    child.once("error", (error) => {
      chunks.push(Buffer.from(`Cannot run ${file}: ${error.message}\n`));
      finish(1);
    });
    // A descendant that lives on would hold the pipes open, and "close" would not come.
    child.once("exit", killGroup);
    child.once("close", (code) => finish(code ?? 1));
  });
}

/** Runs a command on this terminal and resolves to its exit code. */
export function inherit(command: string[]): Promise<number> {
  const [file, ...args] = command as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: ROOT, stdio: "inherit" });
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}
