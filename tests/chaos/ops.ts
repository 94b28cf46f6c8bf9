/** What an actor can do. */

import { BrokenBarrierError, ClosedError, EncodingError } from "../../errors.ts";
import { type Connection, wait } from "../../queue.ts";
import type { Lock, Semaphore } from "../../sync.ts";
import type { Actor } from "./actor.ts";
import type { Field } from "./ledger.ts";
import { sendParcel, takeParcel } from "./parcels.ts";
import type { OpKind } from "./plan.ts";
import { addWide, changeStruct, lookAtStruct, swap } from "./shared.ts";
import { talk } from "./talk.ts";
import { addOne, get, put } from "./trade.ts";
import { type Halves, PERMITS } from "./world.ts";

type Operation = (actor: Actor) => Promise<void>;

async function exclusive(actor: Actor, field: Field, lock: Lock, halves: Halves): Promise<void> {
  const got = await actor.wait((o) => lock.acquireSync(o), (o) => lock.acquire(o));
  if (got === undefined) return;
  await actor.hold(field, got.value, 1, halves);
  if (actor.op.n % 2 === 0) lock.release();
  else got.value.release();
}

async function permit(actor: Actor, field: "semaphore" | "bounded"): Promise<void> {
  const semaphore: Semaphore = actor.world[field];
  const got = await actor.wait((o) => semaphore.acquireSync(o), (o) => semaphore.acquire(o));
  if (got === undefined) return;
  await actor.hold(field, got.value, PERMITS[field]);
  if (actor.op.n % 2 === 0) semaphore.release();
  else got.value.release();
}

const OPERATIONS: Partial<Record<OpKind, Operation>> = {
  lock: (actor) => exclusive(actor, "lock", actor.world.lock, actor.world.halves.lock),
  array: (actor) => exclusive(actor, "array", actor.world.array.getLock(), actor.world.array),

  async rlock(actor) {
    const { world: { rlock, halves } } = actor;
    const got = await actor.wait((o) => rlock.acquireSync(o), (o) => rlock.acquire(o));
    if (got === undefined) return;
    const again = rlock.acquireSync({ timeout: 0 });
    await actor.hold("rlock", got.value, 1, halves.rlock);
    again.release();
    got.value.release();
  },

  async write(actor) {
    const { world: { rwlock }, ledger } = actor;
    const got = await actor.wait((o) => rwlock.writeSync(o), (o) => rwlock.write(o));
    if (got === undefined) return;
    const readers = ledger.living("read");
    if (readers.length > 0) actor.violate(`actors ${readers} read`);
    await actor.hold("write", got.value, 1);
    got.value.release();
  },

  async read(actor) {
    const { world: { rwlock }, ledger } = actor;
    const got = await actor.wait((o) => rwlock.readSync(o), (o) => rwlock.read(o));
    if (got === undefined) return;
    const writers = ledger.living("write");
    if (writers.length > 0) actor.violate(`actors ${writers} write`);
    await actor.hold("read", got.value, Infinity);
    got.value.release();
  },

  semaphore: (actor) => permit(actor, "semaphore"),
  bounded: (actor) => permit(actor, "bounded"),

  async wait(actor) {
    const { world: { condition, halves, closing }, op } = actor;
    const guard = await condition.acquire();
    await actor.hold("condition", guard, 1, halves.condition);
    if (op.limit.by === "nothing") {
      const done = () => {
        // What a dead one has left half done: only the predicate can see it, for it waits on.
        halves.condition.fill(actor.stamp);
        return closing.isSet();
      };
      if (op.sync) condition.waitForSync(done);
      else await condition.waitFor(done);
      if (!closing.isSet()) actor.violate("waitFor() returned too early");
    } else {
      await actor.wait((o) => condition.waitSync(o), (o) => condition.wait(o));
    }
    // What another has left half done, its successor in the wait was not told.
    await actor.hold("condition", { abandoned: true }, 1, halves.condition);
    guard.release();
  },

  async notify(actor) {
    const { world: { condition, halves }, op: { n } } = actor;
    const got = await actor.wait((o) => condition.acquireSync(o), (o) => condition.acquire(o));
    if (got === undefined) return;
    await actor.hold("condition", got.value, 1, halves.condition);
    if (n % 3 === 0) condition.notifyAll();
    else condition.notify(n % 3);
    got.value.release();
  },

  async flag(actor) {
    const { world: { flag, closing }, op: { n, limit } } = actor;
    if (n % 3 === 0) flag.set();
    else if (n % 3 === 1) flag.clear();
    else {
      const event = limit.by === "nothing" ? closing : flag;
      const got = await actor.wait((o) => event.waitSync(o), (o) => event.wait(o));
      if (got?.value === false && limit.by !== "timeout") actor.violate("gave up");
    }
  },

  async barrier(actor) {
    const { world: { barrier }, ledger, id } = actor;
    ledger.add(id, "barrier", 1);
    const got = await actor.wait(
      (o) => barrier.waitSync(o),
      (o) => barrier.wait(o),
      BrokenBarrierError,
    );
    if (got !== undefined) {
      if (!(got.value >= 0 && got.value < barrier.parties)) actor.violate(`index ${got.value}`);
      ledger.add(id, `index${got.value}` as Field, 1);
    }
    ledger.add(id, "barrier", -1);
  },

  reset: async (actor) => await actor.world.barrier.reset(),

  put,
  get,

  async look(actor) {
    const queue = actor.world.queues[actor.op.n % 3]!;
    const [size, empty, full] = [queue.qsize(), queue.empty(), queue.full()];
    if (!(size >= 0 && size <= 1000)) actor.violate(`qsize() is ${size}`);
    if (typeof empty !== "boolean" || typeof full !== "boolean") actor.violate("no answer");
    const value = actor.world.semaphore.getValue();
    if (!(value >= 0 && value <= PERMITS.semaphore)) actor.violate(`getValue() is ${value}`);
    await actor.dieIfTime();
  },

  async refusedPut(actor) {
    const queue = actor.world.queues[actor.op.n % 3]!;
    const item = { id: -1, length: 0, body: new Uint8Array(0), refused: () => {} };
    const done = await actor.wait(
      (o) => queue.putSync(item, o),
      (o) => queue.put(item, o),
      EncodingError,
      ClosedError,
    );
    if (done !== undefined) actor.violate("a function was sent");
  },

  async add(actor) {
    for (let i = 0; i < 20; i++) addOne(actor, actor.world.counter);
    await actor.dieIfTime();
  },

  struct: changeStruct,
  lookAtStruct,
  addWide,
  swap,

  parcel: sendParcel,
  takeParcel,

  async lockedAdd(actor) {
    const { world: { locked }, ledger, id } = actor;
    const lock = locked.getLock();
    const got = await actor.wait((o) => lock.acquireSync(o), (o) => lock.acquire(o));
    if (got === undefined) return;
    ledger.add(id, "lockedAdding", 1);
    locked.value += 1;
    ledger.add(id, "lockedAdded", 1);
    ledger.add(id, "lockedAdding", -1);
    await actor.dieIfTime();
    got.value.release();
  },

  async select(actor) {
    const { world: { queues, flag, closing }, op: { limit } } = actor;
    const objects = [...queues, flag, closing];
    const ready = await wait(objects, { timeout: limit.ms });
    if (ready.some((object) => !objects.includes(object))) actor.violate("something else is ready");
  },
};

/** Does what is not about other processes. */
export async function operate(actor: Actor, end: Connection | null): Promise<void> {
  if (actor.op.kind === "pipe" && end !== null) await talk(actor, end);
  await OPERATIONS[actor.op.kind]?.(actor);
}
