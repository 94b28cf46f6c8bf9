/**
 * The links between the main process and all others: one channel each.
 *
 * The main process serves requests when the doorbell rings and, while it blocks in one of the library's
 * waits, from within that wait. It never listens to a link: what Deno has taken for a listener and not
 * yet handed to it, `receive` does not find.
 *
 * @module
 */

import { bootRecord, doorbellRang, onDoorbell, ringDoorbell } from "../memory/control.ts";
import { onBlocked } from "../memory/wait.ts";
import { openChannel, type Port, receive, wrapPort } from "../runtime/mod.ts";
import type { Request } from "./protocol.ts";
import type { Transferable } from "../runtime/port.ts";

/** What the main process does with a request. */
export type RequestHandler = (request: Request, from: Port | undefined) => void;

const handlers = new Map<Request["kind"], RequestHandler>();
const links = new Map<number, Port>();

/** This process's link to the main process; undefined in the main process. */
export const mainLink: Port | undefined = bootRecord && wrapPort(bootRecord.start.link);

/** Sets what the main process does with requests of a kind. */
export function onRequest(kind: Request["kind"], handler: RequestHandler): void {
  handlers.set(kind, handler);
}

/** Hands a request to the main process, which may be this one. */
export function request(message: Request, transfer: readonly Transferable[] = []): void {
  if (mainLink === undefined) return handle(message, undefined);
  mainLink.post(message, transfer);
  ringDoorbell();
}

/** In the main process: opens the link of a new process. Returns its raw end. */
export function openLink(pid: number): Transferable {
  const [port, raw] = openChannel();
  links.set(pid, port);
  return raw;
}

/** In the main process: serves what an ended process has still asked for, and closes its link. */
export function closeLink(pid: number): void {
  const port = links.get(pid);
  if (port === undefined) return;
  drain(port);
  links.delete(pid);
  port.close();
}

/** In the main process: serves all requests that lie in the links. */
export function drainLinks(): void {
  for (const port of links.values()) drain(port);
}

function drain(port: Port): void {
  for (let next = receive(port); next !== undefined; next = receive(port)) {
    try {
      handle(next.message as Request, port);
    } catch (error) {
      // One request that cannot be served must not keep the others from it.
      console.error("Cannot serve a request of another process:", error);
    }
  }
}

function handle(message: Request, from: Port | undefined): void {
  handlers.get(message.kind)?.(message, from);
}

let look: () => void = () => {};

/** Sets what the main process looks after, besides its links, when somebody has rung. */
export function onRing(listener: () => void): void {
  look = listener;
}

if (mainLink === undefined) {
  onDoorbell(drainLinks);
  onBlocked(() => {
    if (!doorbellRang()) return;
    drainLinks();
    look();
  });
}
