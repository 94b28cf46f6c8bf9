/** What the members of a round share. */

import { JoinableQueue, Queue, SimpleQueue } from "../../queue.ts";
import { SharedArray, Value } from "../../shared.ts";
import {
  Barrier,
  BoundedSemaphore,
  Condition,
  Event,
  Lock,
  RLock,
  RWLock,
  Semaphore,
} from "../../sync.ts";
import { Ledger } from "./ledger.ts";
import type { Random } from "./random.ts";

/** An item of a queue, which shows whether it came as it was put. */
export interface Item {
  id: number;
  length: number;
  body: Uint8Array;
  /** A handle on the counter, which its receiver adds to. */
  cargo?: Value<"i32">;
}

/** Two numbers that are equal whenever nobody is inside of what protects them. */
export type Halves = SharedArray<"i32">;

/** All that is shared. */
export interface World {
  /** The {@linkcode Ledger}'s cells. */
  ledger: Int32Array;
  lock: Lock;
  rlock: RLock;
  condition: Condition;
  /** Protected by its own lock. */
  array: Halves;
  /** Protected by the lock of that name. */
  halves: { lock: Halves; rlock: Halves; condition: Halves };
  semaphore: Semaphore;
  bounded: BoundedSemaphore;
  rwlock: RWLock;
  barrier: Barrier;
  flag: Event;
  /** Set at the end, when whoever waits for ever gets what it waits for. */
  closing: Event;
  counter: Value<"i32">;
  locked: Value<"i32">;
  queues: Queue<Item>[];
}

/** The permits of {@linkcode World.semaphore}, and of {@linkcode World.bounded}. */
export const PERMITS = { semaphore: 2, bounded: 1 } as const;

const halves = () => new SharedArray("i32", 2, { lock: false });

/** Makes what a round needs. */
export function makeWorld(random: Random): World {
  const options = () => ({ capacity: 4096, maxSize: random.pick([0, 1, 3]) });
  return {
    ledger: new Ledger().cells,
    lock: new Lock(),
    rlock: new RLock(),
    condition: new Condition(random.chance(0.5) ? new RLock() : new Lock()),
    array: new SharedArray("i32", 2),
    halves: { lock: halves(), rlock: halves(), condition: halves() },
    semaphore: new Semaphore(PERMITS.semaphore),
    bounded: new BoundedSemaphore(PERMITS.bounded),
    rwlock: new RWLock(),
    barrier: new Barrier(2 + random.below(2)),
    flag: new Event(),
    closing: new Event(),
    counter: new Value("i32"),
    locked: new Value("i32"),
    queues: [new Queue(options()), new SimpleQueue(options()), new JoinableQueue(options())],
  };
}
