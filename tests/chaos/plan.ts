/** What the members of a round will do, and how they will die: all of it follows from the seed. */

import { ACTORS } from "./ledger.ts";
import type { Random } from "./random.ts";

/** What ends a wait before it has what it wants. */
export interface Limit {
  by: "nothing" | "timeout" | "signal";
  ms: number;
}

const SHARED_OPS = [
  "lock",
  "lock",
  "write",
  "write",
  "read",
  "read",
  "semaphore",
  "semaphore",
  "bounded",
  "bounded",
  "flag",
  "barrier",
  "put",
  "put",
  "put",
  "get",
  "get",
  "get",
  "look",
  "refusedPut",
  "add",
  "addWide",
  "lookAtStruct",
  "swap",
  "swap",
  "select",
] as const;

// What a process holds, or counts, as a whole: not for two strands of one.
const OWNED_OPS = [
  "rlock",
  "rlock",
  "array",
  "wait",
  "wait",
  "notify",
  "lockedAdd",
  "struct",
  "struct",
  "parcel",
  "parcel",
  "takeParcel",
  "takeParcel",
] as const;

// What half of the operations of a round are about; of most rounds nothing: these meet too seldom by chance.
const THEMES: readonly (readonly OpKind[])[] = [
  [],
  [],
  [],
  ["parcel", "takeParcel"],
  ["parcel", "takeParcel"],
  ["struct", "lookAtStruct", "add", "addWide", "addWide", "swap"],
];

/** What an operation is about. */
export type OpKind =
  | typeof SHARED_OPS[number]
  | typeof OWNED_OPS[number]
  | "pipe"
  | "child"
  | "killChild"
  | "stillborn"
  | "pool"
  | "reset";

/** One operation. */
export interface Op {
  kind: OpKind;
  /** Whether it takes the form that blocks. */
  sync: boolean;
  limit: Limit;
  /** How long it holds what it has got, in milliseconds. */
  ms: number;
  /** Which queue, which child, how many, how large. */
  n: number;
}

/** How a member dies by itself. */
export interface Death {
  way: "none" | "exit" | "throw" | "reject" | "timer" | "return" | "spin" | "step" | "park";
  /** At which operation of its first strand. */
  at: number;
  code: number;
  /** Before how many more atomic steps. */
  step: number;
}

/** A member: a process, whose strands run at once. */
export interface Plan {
  /** The actor of its first strand; the next strand is the next actor. */
  actor: number;
  strands: Op[][];
  death: Death;
  daemon: boolean;
  /** What is done to it from outside, and so many milliseconds after what. */
  stopped: {
    how: "kill" | "terminate" | "interrupt";
    after: "start" | "begin";
    ms: number;
  } | undefined;
  children: Plan[];
}

/** Makes the plans of a round. */
export class Planner {
  readonly #random: Random;
  readonly #theme: readonly OpKind[];
  #actors = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#theme = random.pick(THEMES);
  }

  /** The main process's own part: it never blocks, and lives. */
  main(): Plan {
    const strands = [this.#strand(10, false, true), this.#strand(6, false, false)];
    for (const op of strands[0]!) if (this.#random.chance(0.1)) op.kind = "reset";
    return {
      actor: this.#take(2),
      strands,
      death: { way: "none", at: 0, code: 0, step: 0 },
      daemon: false,
      stopped: undefined,
      children: [],
    };
  }

  /** A member, with children down to the depth; undefined if there are too many already. */
  member(depth: number, pipe: boolean): Plan | undefined {
    const random = this.#random;
    const many = random.chance(0.3) ? 2 : 1;
    if (this.#actors + many > ACTORS) return undefined;
    const actor = this.#take(many);
    const daemon = random.chance(0.2);
    const strands = Array.from({ length: many }, (_, i) => this.#strand(12, many === 1, i === 0));
    const children: Plan[] = [];
    if (depth > 1 && !daemon && random.chance(0.3)) {
      const child = this.member(depth - 1, false);
      if (child !== undefined) children.push(child);
    }
    const first = strands[0]!;
    if (children.length > 0) {
      first.splice(random.below(3), 0, { ...this.#op("child", false), n: 0 });
      if (random.chance(0.5)) first.push({ ...this.#op("killChild", false), n: 0 });
    }
    if (random.chance(0.3)) first.splice(random.below(4), 0, this.#op("stillborn", false));
    if (random.chance(0.15)) first.splice(random.below(4), 0, this.#op("pool", false));
    if (pipe) {
      for (let i = 0; i < 6; i++) {
        first.splice(random.below(first.length), 0, this.#op("pipe", many === 1));
      }
    }
    const death = this.#death(depth);
    // Who returns waits for its children, which may wait for what it holds.
    if (children.length > 0 && death.way === "return") death.way = "exit";
    return { actor, strands, death, daemon, stopped: this.#stop(), children };
  }

  #take(actors: number): number {
    this.#actors += actors;
    return this.#actors - actors;
  }

  #strand(length: number, mayBlock: boolean, first: boolean): Op[] {
    const kinds: readonly OpKind[] = first ? [...SHARED_OPS, ...OWNED_OPS] : SHARED_OPS;
    const random = this.#random;
    return Array.from({ length }, () => {
      const isThemed = first && this.#theme.length > 0 && random.chance(0.5);
      return this.#op(random.pick(isThemed ? this.#theme : kinds), mayBlock);
    });
  }

  #op(kind: OpKind, mayBlock: boolean): Op {
    const random = this.#random;
    const sync = mayBlock && random.chance(0.5);
    const by = random.pick(["nothing", "timeout", "timeout", sync ? "timeout" : "signal"] as const);
    return {
      kind,
      sync,
      limit: { by, ms: random.chance(0.2) ? 0 : random.below(40) },
      ms: random.chance(0.5) ? 0 : random.below(random.chance(0.1) ? 30 : 4),
      n: random.below(1000),
    };
  }

  #death(depth: number): Death {
    const random = this.#random;
    // Nobody but its parent has the handle of a process, to kill it while it parks.
    const ways = depth === 3 ? ["park", "park"] as const : ["step", "exit"] as const;
    const way = random.pick(
      ["none", "exit", "throw", "reject", "timer", "return", "spin", "step", "step", "step", "step"]
        .concat(ways) as Death["way"][],
    );
    const steps = random.pick([8, 30, 120, 400]);
    return { way, at: random.below(5), code: random.below(4), step: random.below(steps) };
  }

  #stop(): Plan["stopped"] {
    const random = this.#random;
    if (random.chance(0.5)) return undefined;
    const how = random.pick(["kill", "kill", "terminate", "terminate", "interrupt"] as const);
    if (random.chance(0.3)) return { how, after: "start", ms: random.pick([0, 1, 30, 100]) };
    return { how, after: "begin", ms: random.below(random.pick([10, 50, 150])) };
  }
}
