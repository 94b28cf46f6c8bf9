/** What must hold when all members of a round have ended. */

import type { LockGuard } from "../../sync.ts";
import { Actor } from "./actor.ts";
import { ACTORS, BEGUN, DONE, type Field, ITEMS, Ledger } from "./ledger.ts";
import { drainParcels } from "./parcels.ts";
import { halvesOf, PLACE, takePlace } from "./shared.ts";
import { drain } from "./trade.ts";
import { type Halves, PERMITS, WIDE, type World } from "./world.ts";

type Report = (message: string) => void;

/** What was orphaned is taken over within 250 ms; on a busy machine a few times later. */
const TAKEOVER = { timeout: 30_000 };

interface Lockable {
  acquire(options: { timeout: number }): Promise<LockGuard>;
}

async function checkLock(lock: Lockable, halves: Halves | undefined, what: string): Promise<void> {
  const guard = await lock.acquire(TAKEOVER);
  const [a, b] = [halves?.at(0), halves?.at(1)];
  guard.release();
  if (!guard.abandoned && a !== b) {
    throw new Error(`${what} is not abandoned, but ${a} is not ${b}`);
  }
  const again = await lock.acquire({ timeout: 0 });
  again.release();
  if (again.abandoned) throw new Error(`${what} is abandoned for the second time`);
}

async function checkLocks(world: World): Promise<void> {
  const { lock, rlock, condition, array, struct, halves, locked, rwlock } = world;
  await checkLock(lock, halves.lock, "Lock");
  await checkLock(rlock, halves.rlock, "RLock");
  await checkLock(array.getLock(), array, "SharedArray.getLock()");
  await checkLock(struct.getLock(), halvesOf(struct), "SharedStruct.getLock()");
  await checkLock(locked.getLock(), undefined, "Value.getLock()");
  await checkLock({ acquire: (o) => rwlock.write(o) }, undefined, "RWLock.write()");
  await checkLock({ acquire: (o) => rwlock.read(o) }, undefined, "RWLock.read()");
  // Not of who has waited, and was not told.
  await checkLock(condition, undefined, "Condition");
  for (const each of [lock, rlock, array.getLock(), struct.getLock(), locked.getLock()]) {
    if (each.locked()) throw new Error(`${each.constructor.name} is locked`);
  }
}

async function checkSemaphore(world: World, name: keyof typeof PERMITS): Promise<void> {
  const semaphore = world[name];
  const value = () => {
    const value = semaphore.getValue();
    if (value !== PERMITS[name]) throw new Error(`${name} has ${value} permits`);
  };
  value();
  const guards: LockGuard[] = [];
  for (let i = 0; i < PERMITS[name]; i++) guards.push(await semaphore.acquire(TAKEOVER));
  if (semaphore.tryAcquire() !== null) throw new Error(`${name} has one permit more`);
  for (const guard of guards) guard.release();
  value();
}

function checkBarrier({ barrier }: World, ledger: Ledger): void {
  barrier.reset();
  if (barrier.nWaiting !== 0) throw new Error(`${barrier.nWaiting} wait at the barrier`);
  const counts = Array.from(
    { length: barrier.parties },
    (_, i) => ledger.sum(`index${i}` as Field),
  );
  const most = Math.max(...counts);
  const missing = counts.reduce((sum, count) => sum + most - count, 0);
  const dead = ledger.sum("barrier");
  // One round may have given its indices to the dead only.
  if (missing > dead) throw new Error(`indices were given ${counts} times, ${dead} died with one`);
}

/** Exact, but for who died between the addition and its announcement. */
function checkCounters({ counter, locked, wide }: World, ledger: Ledger): void {
  if (wide.value % WIDE !== 0n) throw new Error(`a Value of 64 bits is ${wide.value}`);
  const steps = Number(wide.value / WIDE);
  for (
    const [what, value, done, begun] of [
      ["Value.add()", counter.value, ledger.sum("added"), ledger.sum("adding")],
      ["a locked Value", locked.value, ledger.sum("lockedAdded"), ledger.sum("lockedAdding")],
      ["a Value of 64 bits", steps, ledger.sum("wideAdded"), ledger.sum("wideAdding")],
    ] as const
  ) {
    if (value >= done && value <= done + begun) continue;
    throw new Error(`${what} counted ${value} of ${done}, and ${begun} died amid one`);
  }
}

async function checkQueue(world: World, ledger: Ledger, number: number): Promise<void> {
  const queue = world.queues[number]!;
  await drain(new Actor(world, 0), number);
  const { size, empty } = { size: queue.qsize(), empty: queue.empty() };
  if (size !== 0 || !empty) throw new Error(`queue ${number} has ${size} items when it is drained`);
  checkItems(ledger, number);
}

/** Every item was got once, or is in a dead hand. */
function checkItems(ledger: Ledger, number: number): void {
  const dead = ledger.sum(`get${number}` as Field);
  const lost: number[] = [];
  for (let id = 0; id < ACTORS * ITEMS; id++) {
    const { queue: into, state } = ledger.put(id);
    if (into !== number || state < BEGUN) continue;
    if (ledger.got(id) > 1) throw new Error(`item ${id} was got ${ledger.got(id)} times`);
    if (state === DONE && ledger.got(id) === 0) lost.push(id);
  }
  if (lost.length > dead) {
    throw new Error(`queue ${number} lost items ${lost}, but only ${dead} died amid a get`);
  }
}

function checkPlace(world: World, ledger: Ledger): void {
  takePlace(new Actor(world, 0), world.place.exchange(0));
  checkItems(ledger, PLACE);
}

/** What nobody has taken still lies there; all others were taken once, or are in dead hands. */
async function checkParcels(world: World, ledger: Ledger): Promise<void> {
  const left = await drainParcels(world);
  const size = world.carrier.qsize();
  if (size !== 0) throw new Error(`the carrier has ${size} parcels when it is drained`);
  const [given, taken] = [ledger.sum("parcelsGiven"), ledger.sum("parcelsTaken") + left];
  // Given and not noted, or taken and not noted.
  const dead = ledger.sum("parcel");
  if (Math.abs(given - taken) <= dead) return;
  throw new Error(`${given} parcels were given, ${taken} were taken, ${dead} died amid`);
}

async function checkJoin({ queues: [, , joinable] }: World): Promise<void> {
  if (await (joinable as unknown as Joinable).join(TAKEOVER)) return;
  throw new Error("JoinableQueue.join() waits for the dead");
}

interface Joinable {
  join(options: { timeout: number }): Promise<boolean>;
}

/** Reports what does not hold. */
export async function check(world: World, report: Report): Promise<void> {
  const ledger = new Ledger(world.ledger);
  const checks = [
    () => checkLocks(world),
    () => checkSemaphore(world, "semaphore"),
    () => checkSemaphore(world, "bounded"),
    async () => await checkBarrier(world, ledger),
    async () => await checkCounters(world, ledger),
    async () => {
      for (const number of world.queues.keys()) await checkQueue(world, ledger, number);
      await checkJoin(world);
    },
    async () => await checkPlace(world, ledger),
    () => checkParcels(world, ledger),
  ];
  await Promise.all(checks.map(async (each) => {
    try {
      await each();
    } catch (error) {
      report(error instanceof Error ? error.message : String(error));
    }
  }));
}
