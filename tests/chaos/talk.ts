/** What actors send through a pipe that two of them share, and receive from it. */

import { ClosedError, type WaitOptions, type WaitSyncOptions } from "../../errors.ts";
import type { Connection, RecvBytesSyncOptions } from "../../queue.ts";
import type { Actor } from "./actor.ts";
import { bytesOf, numberOf } from "./letter.ts";

/** How many messages a strand has sent, or received. */
const counts = new WeakMap<Actor, number>();

/** A message that was refused, and must still be there. */
const REFUSED: unique symbol = Symbol("refused");

/** Sends, or receives, through an end of a pipe. */
export async function talk(actor: Actor, end: Connection): Promise<void> {
  if (end.writable) await say(actor, end);
  else await hear(actor, end);
}

async function say(actor: Actor, end: Connection): Promise<void> {
  const { n } = actor.op;
  const number = (counts.get(actor) ?? 0) + 1;
  const bytes = bytesOf(number, 4 * n);
  const done = n % 2 === 0
    ? await actor.wait(
      (o) => end.sendBytesSync(bytes, o),
      (o) => end.sendBytes(bytes, o),
      ClosedError,
    )
    : await actor.wait(
      (o) => end.sendSync({ bytes }, o),
      (o) => end.send({ bytes }, o),
      ClosedError,
    );
  if (done !== undefined) counts.set(actor, number);
}

async function hear(actor: Actor, end: Connection): Promise<void> {
  const { n } = actor.op;
  if (n % 5 === 0) await actor.wait((o) => end.pollSync(o), (o) => end.poll(o));
  const maxLength = n % 4 === 1 ? 100 : Infinity;
  let got = n % 2 === 0
    ? await actor.wait(...receiving(end), ClosedError)
    : await actor.wait(...receivingBytes(end, { maxLength }), ClosedError);
  if (got !== undefined && n % 2 === 1) checkBytes(actor, got.value, maxLength);
  if (got?.value === REFUSED) got = await actor.wait(...receiving(end), ClosedError);
  if (got === undefined) return;
  const { value } = got;
  const bytes = value instanceof Uint8Array ? value : (value as { bytes: Uint8Array }).bytes;
  const number = numberOf(bytes);
  // Nobody else receives: a message that was not sent in time was not sent, and no other is missing.
  const expected = (counts.get(actor) ?? 0) + 1;
  if (number !== expected) actor.violate(`received message ${number} instead of ${expected}`);
  counts.set(actor, expected);
}

/** What is no bytes, or too many, must have been refused. */
function checkBytes(actor: Actor, value: unknown, maxLength: number): void {
  if (value === REFUSED || value instanceof Uint8Array && value.length <= maxLength) return;
  actor.violate(`recvBytes() gave ${(value as Uint8Array).length} bytes, at most ${maxLength}`);
}

type Forms = [
  sync: (options: WaitSyncOptions) => unknown,
  async: (options: WaitOptions) => Promise<unknown>,
];

function receiving(end: Connection): Forms {
  return [(o) => end.recvSync(o), (o) => end.recv(o)];
}

function receivingBytes(end: Connection, options: RecvBytesSyncOptions): Forms {
  return [
    (o) => {
      try {
        return end.recvBytesSync({ ...o, ...options });
      } catch (error) {
        return refusal(error);
      }
    },
    (o) => end.recvBytes({ ...o, ...options }).catch(refusal),
  ];
}

/** What is no bytes, or too many, is refused; any other error is one. */
function refusal(error: unknown): typeof REFUSED {
  if (error instanceof TypeError || error instanceof RangeError) return REFUSED;
  throw error;
}
