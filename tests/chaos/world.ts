/** What the members of a round share. */

import { type Connection, JoinableQueue, Queue, SimpleQueue } from "../../queue.ts";
import { SharedArray, SharedStruct, Value } from "../../shared.ts";
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

/** What lets its receiver answer to its sender: it must not be lost with who has it in its hands. */
export interface Parcel {
  id: number;
  end: Connection;
  queue: Queue<number>;
  /** Owned by who has the parcel in its hands. */
  lock: Lock;
}

/** Two numbers that are equal whenever nobody is inside of what protects them. */
export interface Halves {
  at(index: number): number;
  set(index: number, value: number): void;
}

const SCHEMA = { first: "i32", wide: "i64", real: "f64", second: "i32" } as const;

/** A record, each of whose fields follows from any other, whenever nobody is inside of its lock. */
export type Struct = SharedStruct<typeof SCHEMA>;

/** What is added to {@linkcode World.wide} at a time: both of its words must change together. */
export const WIDE = 2n ** 32n + 1n;

/** All that is shared. */
export interface World {
  /** The {@linkcode Ledger}'s cells. */
  ledger: Int32Array;
  lock: Lock;
  rlock: RLock;
  condition: Condition;
  /** Protected by its own lock. */
  array: SharedArray<"i32">;
  struct: Struct;
  /** Protected by the lock of that name. */
  halves: { lock: Halves; rlock: Halves; condition: SharedArray<"i32"> };
  semaphore: Semaphore;
  bounded: BoundedSemaphore;
  rwlock: RWLock;
  barrier: Barrier;
  flag: Event;
  /** Set at the end, when whoever waits for ever gets what it waits for. */
  closing: Event;
  counter: Value<"i32">;
  locked: Value<"i32">;
  wide: Value<"i64">;
  /** The number of an item plus 1, or 0: whoever puts another one here takes it. */
  place: Value<"i32">;
  queues: Queue<Item>[];
  carrier: Queue<Parcel>;
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
    struct: new SharedStruct(SCHEMA),
    halves: { lock: halves(), rlock: halves(), condition: halves() },
    semaphore: new Semaphore(PERMITS.semaphore),
    bounded: new BoundedSemaphore(PERMITS.bounded),
    rwlock: new RWLock(),
    barrier: new Barrier(2 + random.below(2)),
    flag: new Event(),
    closing: new Event(),
    counter: new Value("i32"),
    locked: new Value("i32"),
    wide: new Value("i64"),
    place: new Value("i32"),
    queues: [new Queue(options()), new SimpleQueue(options()), new JoinableQueue(options())],
    carrier: new Queue(options()),
  };
}
