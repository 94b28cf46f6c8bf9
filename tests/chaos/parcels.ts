/**
 * Handles inside of messages: an end of a pipe, a queue and a lock, which go from hand to hand.
 *
 * Their sender waits until the end of the pipe is gone: because its holder has let it go, or is dead. It
 * hears of either; only of a parcel that is on its way, or was lost with one who died amid taking it,
 * there is nothing to hear. The ledger knows which it is.
 *
 * @module
 */

import { ClosedError, QueueEmptyError } from "../../errors.ts";
import { isAlive } from "../../memory/control.ts";
import { type Connection, Pipe, Queue } from "../../queue.ts";
import { Lock } from "../../sync.ts";
import { type Actor, LATE_MS } from "./actor.ts";
import { BEGUN, DONE, PARCELS } from "./ledger.ts";
import type { Limit } from "./plan.ts";
import type { Parcel, World } from "./world.ts";

/** How many parcels an actor has sent. */
const counts = new WeakMap<Actor, number>();

/** A look at what has come. */
const LOOK: Limit = { by: "timeout", ms: 30 };

/** What was orphaned is taken over within 250 ms; on a busy machine a few times later. */
const TAKEOVER: Limit = { by: "timeout", ms: 30_000 };

/** The other end of the pipe is gone. */
const GONE: unique symbol = Symbol("gone");

/** Sends a parcel, and waits for what comes of it. */
export async function sendParcel(actor: Actor): Promise<void> {
  const count = counts.get(actor) ?? 0;
  if (count === PARCELS) return;
  counts.set(actor, count + 1);
  const [here, end] = Pipe({ capacity: 1024 });
  const parcel: Parcel = {
    id: actor.id * PARCELS + count,
    end,
    queue: new Queue({ capacity: 1024 }),
    lock: new Lock(),
  };
  if (await give(actor, parcel)) {
    await actor.dieIfTime();
    await waitForEnd(actor, parcel, here);
  } else if (await listen(actor, here, TAKEOVER) !== GONE) {
    actor.violate("what was not sent holds an end of a pipe");
  }
  here.close();
}

/** Takes a parcel, and lets it go: without a word, with an answer, or to the next one. */
export async function takeParcel(actor: Actor): Promise<void> {
  const { world: { carrier }, ledger, id, op: { n } } = actor;
  ledger.add(id, "parcel", 1);
  const got = await actor.wait((o) => carrier.getSync(o), (o) => carrier.get(o), ClosedError);
  if (got !== undefined) {
    ledger.noteHolder(got.value.id, id);
    ledger.add(id, "parcelsTaken", 1);
  }
  ledger.add(id, "parcel", -1);
  if (got === undefined) return;
  const parcel = got.value;
  await actor.dieIfTime();
  if (n % 4 === 0 && await give(actor, parcel)) return;
  const { lock, end } = parcel;
  const guard = await actor.waitWithin(
    TAKEOVER,
    (o) => lock.acquireSync(o),
    (o) => lock.acquire(o),
  );
  if (guard === undefined) actor.violate("the lock in a parcel is not free");
  if (n % 4 !== 1) await answer(actor, parcel);
  await actor.dieIfTime();
  guard.value.release();
  ledger.noteLetGo(parcel.id);
  end.close();
}

/** Takes what is left in the closed carrier. Returns how many parcels that were. */
export async function drainParcels({ carrier }: World): Promise<number> {
  for (let count = 0;; count++) {
    try {
      (await carrier.get({ timeout: 10_000 })).end.close();
    } catch (error) {
      if (error instanceof ClosedError) return count;
      throw error;
    }
  }
}

/** Hands a parcel to nobody knows whom. Returns false if it still has it. */
async function give(actor: Actor, parcel: Parcel): Promise<boolean> {
  const { world: { carrier }, ledger, id } = actor;
  const holder = ledger.holder(parcel.id);
  ledger.add(id, "parcel", 1);
  ledger.noteHolder(parcel.id, undefined);
  const done = await actor.wait(
    (o) => carrier.putSync(parcel, o),
    (o) => carrier.put(parcel, o),
    ClosedError,
  );
  if (done !== undefined) ledger.add(id, "parcelsGiven", 1);
  else ledger.noteHolder(parcel.id, holder);
  ledger.add(id, "parcel", -1);
  // Now the message holds it; and whoever makes a parcel never does.
  if (done !== undefined || holder === undefined) parcel.end.close();
  return done !== undefined;
}

async function answer(actor: Actor, { id, end, queue }: Parcel): Promise<void> {
  const { ledger } = actor;
  ledger.noteAnswer(id, "queue", BEGUN);
  const put = await actor.waitWithin(
    TAKEOVER,
    (o) => queue.putSync(id, o),
    (o) => queue.put(id, o),
  );
  if (put === undefined) actor.violate("the queue in a parcel has no room");
  ledger.noteAnswer(id, "queue", DONE);
  ledger.noteAnswer(id, "end", BEGUN);
  // Who has sent the parcel may have given up, or be dead.
  const done = await actor.wait((o) => end.sendSync(id, o), (o) => end.send(id, o), ClosedError);
  if (done !== undefined) ledger.noteAnswer(id, "end", DONE);
}

/** Waits until the other end is gone, and looks at what its last holder has left. */
async function waitForEnd(actor: Actor, parcel: Parcel, here: Connection): Promise<void> {
  const { ledger, world: { closing }, op: { n } } = actor;
  const { id } = parcel;
  const patience = performance.now() + n;
  let over = Infinity;
  let heard = false;
  for (;;) {
    const got = await listen(actor, here, LOOK);
    if (got === GONE) break;
    if (got !== undefined) {
      if (got !== id || heard) actor.violate(`the answer to ${id} is ${got}`);
      heard = true;
    }
    const holder = ledger.holder(id);
    const now = performance.now();
    // It may lie there for ever, or have been lost with who was about to take it.
    if (holder === undefined && (now > patience || closing.isSet())) return;
    if (holder === undefined || isHeld(actor, id, holder)) continue;
    over = Math.min(over, now);
    if (now - over > LATE_MS) {
      actor.violate(`actor ${holder} has let go of a pipe, and it has no end`);
    }
  }
  const holder = ledger.holder(id);
  if (holder === undefined && ledger.dead("parcel").length === 0) {
    actor.violate("an end of a pipe that is on its way is gone");
  }
  if (holder !== undefined && isHeld(actor, id, holder)) {
    actor.violate(`the end of a pipe that actor ${holder} holds is gone`);
  }
  if (!heard && ledger.answer(id, "end") === DONE) actor.violate("the answer is lost");
  await lookAtQueue(actor, parcel);
  await lookAtLock(actor, parcel);
}

/** Whether a living actor has it in its hands. */
function isHeld({ ledger }: Actor, parcel: number, holder: number): boolean {
  return !ledger.isLetGo(parcel) && isAlive(ledger.get(holder, "pid"));
}

async function lookAtQueue(actor: Actor, { id, queue }: Parcel): Promise<void> {
  const state = actor.ledger.answer(id, "queue");
  const got = await actor.wait(
    () => queue.getNowait(),
    async () => await queue.getNowait(),
    QueueEmptyError,
  );
  if (got === undefined ? state === DONE : state === 0 || got.value !== id) {
    actor.violate(`the queue in parcel ${id} gave ${got?.value}; its put was ${state}`);
  }
}

async function lookAtLock(actor: Actor, { id, lock }: Parcel): Promise<void> {
  const got = await actor.waitWithin(TAKEOVER, (o) => lock.acquireSync(o), (o) => lock.acquire(o));
  if (got === undefined) actor.violate(`nobody lives who has the lock in parcel ${id}`);
  if (got.value.abandoned && actor.ledger.isLetGo(id)) {
    actor.violate(`the lock in parcel ${id} was released, and is abandoned`);
  }
  got.value.release();
}

/** What the other end has sent, if anything, or that it is gone. */
async function listen(actor: Actor, here: Connection, limit: Limit): Promise<unknown> {
  const got = await actor.waitWithin<unknown>(
    limit,
    (o) => {
      try {
        return here.recvSync(o);
      } catch (error) {
        return gone(error);
      }
    },
    (o) => here.recv(o).catch(gone),
  );
  return got?.value;
}

function gone(error: unknown): typeof GONE {
  if (error instanceof ClosedError) return GONE;
  throw error;
}
