/**
 * How SharedArrayBuffers and moved things reach whoever gets a message out of shared memory.
 *
 * Bytes in a ring cannot hold them, and the sender does not know who will read. So it deposits them
 * with the main process, under a token that goes with the bytes; the reader fetches them.
 *
 * @module
 */

import { bootRecord, ownPid } from "../memory/control.ts";
import { Latch } from "../memory/latch.ts";
import { Line, type PENDING, waitSync } from "../memory/wait.ts";
import { receive } from "../runtime/mod.ts";
import { drainLinks, mainLink, onRequest, request } from "./link.ts";
import type { DepositRequest, FetchReply, FetchRequest, WithdrawRequest } from "./protocol.ts";
import type { Transferable } from "../runtime/port.ts";

const TOKENS_PER_PROCESS = 2 ** 26;

const deposits = new Map<number, DepositRequest>();
const replies = new Map<number, unknown[]>();
let count = 0;

/** Leaves attachments for whoever will know the token. */
export function deposit(attachments: unknown[], transfer: Transferable[]): number {
  const token = ownPid * TOKENS_PER_PROCESS + count++ % TOKENS_PER_PROCESS;
  const message: DepositRequest = { kind: "deposit", token, attachments, transfer };
  // Nothing is posted where the main process deposits; what is moved must be gone all the same.
  const local = mainLink === undefined && transfer.length > 0;
  request(local ? structuredClone(message, { transfer: transfer as never[] }) : message, transfer);
  return token;
}

/** Takes a deposit back: nobody will know the token. */
export function withdraw(token: number): void {
  request({ kind: "withdraw", token });
}

/** Fetches a deposit, blocking until the main process answers. */
export function fetchSync(token: number): unknown[] {
  if (mainLink === undefined) return take(token);
  waitSync(ask(token));
  return reply(token);
}

/** Fetches a deposit without blocking. */
export async function fetch(token: number): Promise<unknown[]> {
  if (mainLink === undefined) return take(token);
  const line = new Line();
  await line.wait(ask(token)) satisfies true | typeof PENDING;
  return reply(token);
}

function ask(token: number): Latch {
  const latch = new Latch();
  request({ kind: "fetch", token, done: latch.buffer });
  return latch;
}

function reply(token: number): unknown[] {
  while (!replies.has(token)) {
    const next = mainLink && receive(mainLink);
    if (next === undefined) throw new Error(`Deposit ${token} has got lost`);
    const { token: got, attachments } = next.message as FetchReply;
    replies.set(got, attachments);
  }
  const attachments = replies.get(token) ?? [];
  replies.delete(token);
  return attachments;
}

function take(token: number): unknown[] {
  // Deposited before the bytes were written, but perhaps still in the link of its sender.
  if (!deposits.has(token)) drainLinks();
  const found = deposits.get(token);
  deposits.delete(token);
  return found?.attachments ?? [];
}

if (bootRecord === undefined) {
  onRequest("deposit", (message) => {
    const made = message as DepositRequest;
    deposits.set(made.token, made);
  });
  onRequest("withdraw", (message) => {
    deposits.delete((message as WithdrawRequest).token);
  });
  onRequest("fetch", (message, from) => {
    const { token, done } = message as FetchRequest;
    if (!deposits.has(token)) drainLinks();
    const found = deposits.get(token);
    deposits.delete(token);
    from?.post({ token, attachments: found?.attachments ?? [] }, found?.transfer ?? []);
    new Latch(done).open();
  });
}
