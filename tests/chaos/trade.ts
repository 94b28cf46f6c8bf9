/** What actors put into queues, and get out of them. */

import { ClosedError, QueueEmptyError, QueueFullError } from "../../errors.ts";
import type { JoinableQueue } from "../../queue.ts";
import type { Value } from "../../shared.ts";
import type { Actor } from "./actor.ts";
import { BEGUN, DONE, type Field, ITEMS, REFUSED } from "./ledger.ts";
import type { Item } from "./world.ts";

/** What a strand knows of what it has put and got. */
interface Trade {
  puts: number;
  /** The last item got, by queue and producer. */
  last: Map<string, number>;
}

const trades = new WeakMap<Actor, Trade>();

function tradeOf(actor: Actor): Trade {
  const trade = trades.get(actor) ?? { puts: 0, last: new Map() };
  trades.set(actor, trade);
  return trade;
}

/** Makes the item with this number. */
function makeItem(id: number, n: number, counter: Value<"i32">): Item {
  // A quarter of the queue's memory is 1024: larger ones are streamed.
  const length = [n % 100, n, 1000 + n, 3 * n, 9 * n][n % 5]!;
  const body = new Uint8Array(length).fill(id);
  return n % 7 === 0 ? { id, length, body, cargo: counter } : { id, length, body };
}

function checkItem(actor: Actor, item: Item): void {
  const { id, length, body } = item;
  if (body.length === length && body.every((byte) => byte === (id & 255))) return;
  actor.violate(`item ${id} has ${body.length} bytes instead of ${length}, or others`);
}

/** Adds to the counter, and announces it. */
export function addOne(actor: Actor, counter: Value<"i32">): void {
  const { ledger, id } = actor;
  ledger.add(id, "adding", 1);
  counter.add(1);
  ledger.add(id, "added", 1);
  ledger.add(id, "adding", -1);
}

/** Notes that the next item of the actor is about to be put. Returns its number, if there is one left. */
export function beginItem(actor: Actor, queue: number): number | undefined {
  const trade = tradeOf(actor);
  if (trade.puts === ITEMS) return undefined;
  const id = actor.id * ITEMS + trade.puts++;
  actor.ledger.notePut(id, queue, BEGUN);
  return id;
}

/** Puts the next item. */
export async function put(actor: Actor): Promise<void> {
  const { ledger, world, op } = actor;
  const number = op.n % 3;
  const id = beginItem(actor, number);
  if (id === undefined) return;
  const queue = world.queues[number]!;
  const item = makeItem(id, op.n, world.counter);
  const done = op.n % 11 === 0
    ? await now(actor, () => queue.putNowait(item), QueueFullError)
    : await actor.wait((o) => queue.putSync(item, o), (o) => queue.put(item, o), ClosedError);
  ledger.notePut(id, number, done === undefined ? REFUSED : DONE);
}

/** Does what does not wait. */
async function now<T>(
  actor: Actor,
  act: () => T,
  refused: new () => Error,
): Promise<{ value: T } | undefined> {
  return await actor.wait(act, async () => await act(), refused, ClosedError);
}

/** Gets an item, and does what it asks for. */
export async function get(actor: Actor): Promise<void> {
  const { ledger, world, op } = actor;
  const number = op.n % 3;
  const queue = world.queues[number]!;
  const field = `get${number}` as Field;
  ledger.add(actor.id, field, 1);
  const got = op.n % 11 === 0
    ? await now(actor, () => queue.getNowait(), QueueEmptyError)
    : await actor.wait((o) => queue.getSync(o), (o) => queue.get(o), ClosedError);
  if (got !== undefined) note(actor, number, got.value);
  ledger.add(actor.id, field, -1);
  if (got === undefined) return;
  const { id, cargo } = got.value;
  const { last } = tradeOf(actor);
  const way = `${number} ${Math.floor(id / ITEMS)}`;
  if (id < (last.get(way) ?? 0)) actor.violate(`got ${id} after ${last.get(way)}`);
  last.set(way, id);
  if (cargo !== undefined) addOne(actor, cargo);
  await actor.dieIfTime();
  if (number === 2) (queue as JoinableQueue).taskDone();
}

function note(actor: Actor, queue: number, item: Item): void {
  checkItem(actor, item);
  noteGot(actor, queue, item.id);
}

/** Notes that an item was got from a queue, where it must have been put, and got by nobody else. */
export function noteGot(actor: Actor, queue: number, id: number): void {
  const before = actor.ledger.noteGot(id);
  const { queue: put, state } = actor.ledger.put(id);
  if (before > 0) actor.violate(`item ${id} was got ${before + 1} times`);
  if (put !== queue) actor.violate(`item ${id} was put into queue ${put}, not ${queue}`);
  if (state === 0 || state === REFUSED) actor.violate(`got item ${id}, which was not put`);
}

/** Takes what is left in a closed queue. Returns how many items that were. */
export async function drain(actor: Actor, number: number): Promise<number> {
  const queue = actor.world.queues[number]!;
  for (let items = 0;; items++) {
    try {
      note(actor, number, await queue.get({ timeout: 10_000 }));
    } catch (error) {
      if (error instanceof ClosedError) return items;
      throw error;
    }
    if (number === 2) (queue as JoinableQueue).taskDone();
  }
}
