/** Whether the processes of a round ended as their plans say. */

import { exitCodeOf } from "../../memory/control.ts";
import { STEPPED, UNPARKED } from "./dying.ts";
import type { Ledger } from "./ledger.ts";
import type { Mayfly } from "./mayflies.ts";
import type { Plan } from "./plan.ts";

type Report = (message: string) => void;

/** Reports each that ended otherwise. */
export function judgeExits(
  plans: Plan[],
  mayflies: Mayfly[],
  ledger: Ledger,
  report: Report,
): void {
  for (const { kind, process, code } of mayflies) {
    const { exitCode } = process;
    // One that is stopped may have been faster, also where it was stopped right after its start: on
    // Deno the start takes the starter longer than the started.
    if (exitCode === code || (code < 0 && exitCode === 0)) continue;
    report(`a process that should ${kind} ended with ${exitCode} instead of ${code}`);
  }
  for (const plan of plans) judge(plan, [], ledger, report);
}

/** Judges a member and its children, which may end with these codes besides. */
function judge(plan: Plan, more: number[], ledger: Ledger, report: Report): void {
  const { actor, death, stopped, daemon, children } = plan;
  const pid = ledger.get(actor, "pid");
  const codes = [0, ...more];
  if (death.way === "exit") codes.push(death.code);
  if (["throw", "reject", "timer"].includes(death.way)) codes.push(1);
  if (death.way === "step") codes.push(STEPPED);
  if (death.way === "park") codes.push(UNPARKED, -9);
  if (stopped?.how === "kill") codes.push(-9);
  if (stopped?.how === "terminate" || daemon) codes.push(-15);
  const code = pid === 0 ? 0 : exitCodeOf(pid);
  if (!codes.includes(code!)) report(`actor ${actor} ended with ${code}, not ${codes}`);
  for (const child of children) judge(child, [-9], ledger, report);
}
