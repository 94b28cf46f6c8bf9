/**
 * A round: a tree of processes that share one thing of each kind, and die.
 *
 * All that is decided follows from the seed; when things happen does not.
 *
 * @module
 */

import { controlBuffer, exitCodeOf, isAlive, KILLED } from "../../memory/control.ts";
import { activeChildren } from "../../process.ts";
import { type Connection, Pipe } from "../../queue.ts";
import { stop } from "../../wire/spawn.ts";
import { check } from "./check.ts";
import { type Courier, startCouriers } from "./couriers.ts";
import { judgeExits } from "./exits.ts";
import { runInitialized } from "./initializers.ts";
import { Ledger } from "./ledger.ts";
import { type Mayfly, startMayflies, startUnsendable } from "./mayflies.ts";
import { describe, type Member, member } from "./member.ts";
import { type Plan, Planner } from "./plan.ts";
import { PoolRound, type PoolSize } from "./pools.ts";
import { Random } from "./random.ts";
import { makeWorld, type World } from "./world.ts";

/** What came of a round. */
export interface RoundResult {
  /** Processes that were started, and those that did not end in order. */
  processes: number;
  deaths: number;
  violations: string[];
}

/** How much happens in a round. */
export interface RoundSize {
  members: number;
  mayflies: number;
  /** How often there is a pool. */
  pool: number;
}

/** How much happens in the pool of a round, which is always ended. */
const POOL_SIZE: PoolSize = { least: 6, more: 8, mayLeave: false };

/** So many of those that live for a moment are couriers, at least one. */
const COURIERS = 1 / 7;

/** Whatever must come has come by then. */
const DEADLINE_MS = 60_000;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean, ms = DEADLINE_MS): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await pause(2);
  }
  return true;
}

/** The pid that was given last; the control block's first word. */
function newestPid(): number {
  return Atomics.load(new Int32Array(controlBuffer), 0);
}

/** Runs the round of this seed. */
export async function runRound(seed: number, size: RoundSize): Promise<RoundResult> {
  const round = new Round(seed, size);
  await round.run();
  return round.result();
}

class Round {
  readonly #violations: string[] = [];
  readonly #random: Random;
  readonly #size: RoundSize;
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #firstPid = newestPid() + 1;
  readonly #plans: Plan[] = [];
  readonly #members: Member[] = [];
  readonly #toStop = new Map<Plan, Member>();
  #mayflies: Mayfly[] = [];
  #couriers: Courier[] = [];

  constructor(seed: number, size: RoundSize) {
    this.#random = new Random(seed);
    this.#size = size;
    this.#world = makeWorld(this.#random);
    this.#ledger = new Ledger(this.#world.ledger);
  }

  readonly #report = (message: string): void => void this.#violations.push(message);

  async run(): Promise<void> {
    const random = this.#random;
    const planner = new Planner(random);
    const own = planner.main();
    const [receiver, sender] = Pipe({ duplex: false, capacity: 4096 });
    const ends: Connection[] = [receiver, sender];
    for (let i = 0; i < this.#size.members; i++) {
      const plan = planner.member(3, i < 2);
      if (plan !== undefined) this.#start(plan, ends[i] ?? null);
    }
    const couriers = Math.ceil(this.#size.mayflies * COURIERS);
    this.#mayflies = startMayflies(random, this.#world, this.#size.mayflies - couriers);
    this.#couriers = startCouriers(random, couriers, this.#report);
    const unsendable = startUnsendable(this.#world);
    if (unsendable !== undefined) this.#report(unsendable);
    const pools: Promise<void>[] = [];
    if (random.chance(this.#size.pool)) {
      pools.push(new PoolRound(random.fork(), this.#world.lock, this.#report, POOL_SIZE).run());
    }
    if (random.chance(this.#size.pool / 2)) pools.push(runInitialized(random.fork(), this.#report));
    const lifeMs = random.pick([50, 200, 400]);
    const ownPart = member(this.#world, own, null).catch((error) =>
      this.#report(`in the main process: ${(error as Error).stack}`)
    );
    const tending = setInterval(() => this.#tend(), 5);
    const begun = (plan: Plan) => this.#ledger.get(plan.actor, "pid") !== 0;
    await until(
      () => this.#plans.every((plan, i) => begun(plan) || !this.#members[i]!.isAlive()),
    );
    await until(() => this.#living().length === 0, lifeMs);
    await this.#close(own);
    await Promise.all(pools);
    await Promise.all(this.#couriers.map(({ done }) => done));
    await this.#end(ownPart);
    clearInterval(tending);
    judgeExits(this.#plans, this.#mayflies, this.#ledger, this.#report);
    if (this.#violations.length === 0) await check(this.#world, this.#report);
  }

  result(): RoundResult {
    const pids = Array.from(
      { length: newestPid() - this.#firstPid + 1 },
      (_, i) => this.#firstPid + i,
    );
    const deaths = pids.filter((pid) => exitCodeOf(pid) !== 0).length;
    return { processes: pids.length, deaths, violations: this.#violations };
  }

  #start(plan: Plan, end: Connection | null): void {
    const process = describe(this.#world, plan, end);
    process.start();
    this.#plans.push(plan);
    this.#members.push(process);
    if (plan.stopped?.after === "start") this.#stop(plan, process);
    else if (plan.stopped !== undefined) this.#toStop.set(plan, process);
  }

  #stop({ stopped }: Plan, process: Member): void {
    const { how, ms } = stopped!;
    if (ms === 0) process[how]();
    else setTimeout(() => process[how](), ms);
  }

  /** Looks after those that are to be stopped. */
  #tend(): void {
    for (const [plan, process] of this.#toStop) {
      if (this.#ledger.get(plan.actor, "pid") === 0) continue;
      this.#toStop.delete(plan);
      this.#stop(plan, process);
    }
    for (const [i, { actor }] of this.#plans.entries()) {
      if (this.#ledger.get(actor, "parked") === 0) continue;
      this.#ledger.set(actor, "parked", 0);
      this.#members[i]!.kill();
    }
  }

  /** The pids of this round that live. */
  #living(): number[] {
    const pids: number[] = [];
    for (let pid = this.#firstPid; pid <= newestPid(); pid++) if (isAlive(pid)) pids.push(pid);
    return pids;
  }

  /** Whoever waits for ever gets what it waits for. */
  async #close(own: Plan): Promise<void> {
    const { closing, condition, queues, carrier, barrier, halves } = this.#world;
    closing.set();
    for (const queue of [...queues, carrier]) queue.close();
    barrier.abort();
    try {
      const guard = await condition.acquire({ timeout: DEADLINE_MS });
      // Who comes next is not told whether it was abandoned. An actor of this process may hold it, too.
      const held = own.strands.some((_, i) => this.#ledger.get(own.actor + i, "condition") !== 0);
      if (!held) halves.condition.fill(0);
      condition.notifyAll();
      guard.release();
    } catch (error) {
      this.#report(`the condition cannot be had: ${error}; ${this.#doing()}`);
    }
  }

  /** Waits for the end of all. */
  async #end(own: Promise<unknown>): Promise<void> {
    if (!await until(() => this.#living().length === 0)) {
      this.#report(`pids ${this.#living()} do not end; ${this.#doing()}`);
      for (const pid of this.#living()) stop(pid, KILLED);
    }
    let done = false;
    own.finally(() => done = true);
    if (!await until(() => done)) this.#report(`the main process waits; ${this.#doing()}`);
    if (!await until(() => activeChildren().length === 0)) {
      this.#report(`activeChildren() has ${activeChildren().map(({ name }) => name)}`);
    }
    const others = [...this.#mayflies, ...this.#couriers].map(({ process }) => process);
    await Promise.all([...this.#members, ...others]
      .map(async (process) => {
        if (await process.join({ timeout: DEADLINE_MS })) return;
        this.#report(`${process.name} cannot be joined`);
      }));
  }

  /** What the living are at. */
  #doing(): string {
    const ledger = this.#ledger;
    const kinds = new Map<number, string>();
    const visit = ({ actor, strands, children }: Plan) => {
      for (const [i, ops] of strands.entries()) {
        const op = ops[ledger.get(actor + i, "op") - 1];
        if (op !== undefined) kinds.set(actor + i, JSON.stringify(op));
      }
      children.forEach(visit);
    };
    this.#plans.forEach(visit);
    return ledger.living("pid").map((actor) =>
      `actor ${actor} (pid ${ledger.get(actor, "pid")}): ${kinds.get(actor)}`
    ).join("; ");
  }
}
