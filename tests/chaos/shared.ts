/** What actors do with shared values, and with a shared record. */

import type { Value } from "../../shared.ts";
import type { Actor } from "./actor.ts";
import { DONE } from "./ledger.ts";
import { beginItem, noteGot } from "./trade.ts";
import { type Halves, type Struct, WIDE } from "./world.ts";

/** Both words of what is this long are the number, so that a torn one shows. */
function twice(n: number): bigint {
  return BigInt(n) * WIDE;
}

const words = new DataView(new ArrayBuffer(8));

function realOf(n: number): number {
  words.setBigInt64(0, twice(n));
  return words.getFloat64(0);
}

function bitsOf(real: number): bigint {
  words.setFloat64(0, real);
  return words.getBigInt64(0);
}

/** The first field and the last; all others are written in between. */
export function halvesOf({ fields }: Struct): Halves {
  return {
    at: (index) => index === 0 ? fields.first : fields.second,
    set(index, value) {
      if (index === 1) {
        fields.second = value;
        return;
      }
      fields.first = value;
      fields.wide = twice(value);
      fields.real = realOf(value);
    },
  };
}

/** Takes the lock of the record, and changes all of its fields. */
export async function changeStruct(actor: Actor): Promise<void> {
  const { struct } = actor.world;
  const lock = struct.getLock();
  const got = await actor.wait((o) => lock.acquireSync(o), (o) => lock.acquire(o));
  if (got === undefined) return;
  const wrong = mismatch(struct);
  if (!got.value.abandoned && wrong !== undefined) actor.violate(`not abandoned, but ${wrong}`);
  await actor.hold("struct", got.value, 1, halvesOf(struct));
  got.value.release();
}

/** Says which fields do not follow from one another; undefined if all do. */
export function mismatch({ fields: { first, wide, real, second } }: Struct): string | undefined {
  const whole = twice(first);
  if (first === second && wide === whole && bitsOf(real) === whole) return undefined;
  return `the fields are ${first}, ${wide}, ${real}, ${second}`;
}

/** Reads without a lock: whatever is read was written as a whole. */
export async function lookAtStruct(actor: Actor): Promise<void> {
  const { struct: { fields }, wide } = actor.world;
  for (let i = 0; i < 20; i++) {
    for (const seen of [fields.wide, bitsOf(fields.real), wide.value]) {
      if (seen % WIDE !== 0n) actor.violate(`read ${seen}, which nobody has written`);
    }
  }
  await actor.dieIfTime();
}

/** So many additions take long enough for two actors to meet amid them. */
const ADDITIONS = 10_000;

/** Adds to a value of 64 bits, and announces it. */
export async function addWide(actor: Actor): Promise<void> {
  const { world: { wide }, ledger, id } = actor;
  for (let i = 0; i < ADDITIONS; i++) {
    ledger.add(id, "wideAdding", 1);
    if (i % 3 === 0) wide.add(WIDE);
    else if (i % 3 === 1) wide.sub(-WIDE);
    else addByExchange(wide);
    ledger.add(id, "wideAdded", 1);
    ledger.add(id, "wideAdding", -1);
  }
  await actor.dieIfTime();
}

function addByExchange(wide: Value<"i64">): void {
  for (let seen = wide.value;;) {
    const found = wide.compareExchange(seen, seen + WIDE);
    if (found === seen) return;
    seen = found;
  }
}

/** The number of the place among the queues. */
export const PLACE = 3;

/** Puts an item into the place for what is there, that for what is there now, and so on; takes the last. */
export async function swap(actor: Actor): Promise<void> {
  const { world: { place }, ledger, id } = actor;
  const item = beginItem(actor, PLACE);
  if (item === undefined) return;
  ledger.add(id, "get3", 1);
  let hand = item + 1;
  for (let i = 0; i < 500; i++) hand = place.exchange(hand);
  takePlace(actor, hand);
  ledger.notePut(item, PLACE, DONE);
  ledger.add(id, "get3", -1);
  await actor.dieIfTime();
}

/** Notes what was in the place. */
export function takePlace(actor: Actor, word: number): void {
  if (word !== 0) noteGot(actor, PLACE, word - 1);
}
