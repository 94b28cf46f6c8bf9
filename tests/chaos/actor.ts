/** One strand of a member: it does its operations, and looks at what they give. */

import {
  MultiprocessingError,
  QueueEmptyError,
  QueueFullError,
  TimeoutError,
  type WaitOptions,
  type WaitSyncOptions,
} from "../../errors.ts";
import { isAlive, ownPid } from "../../memory/control.ts";
import type { LockGuard } from "../../sync.ts";
import { arm, FENCED, leave, park, spin, UNPARKED, violate } from "./dying.ts";
import { type Field, Ledger } from "./ledger.ts";
import type { Death, Limit, Op } from "./plan.ts";
import type { Halves, World } from "./world.ts";

type ErrorClass = new (...args: never[]) => Error;

/** Thrown by who returns from the target amid whatever it does. */
export const RETURN: unique symbol = Symbol("return");

/** Thrown by who dies by an error. */
export class Fatal extends Error {}

/** A limited wait may take so much longer than its limit, in milliseconds. */
export const LATE_MS = 60_000;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** An actor at work. */
export class Actor {
  readonly world: World;
  readonly ledger: Ledger;
  readonly id: number;
  readonly #death: Death | undefined;
  #step = 0;
  #dies = false;
  op: Op = { kind: "look", sync: false, limit: { by: "nothing", ms: 0 }, ms: 0, n: 0 };

  constructor(world: World, id: number, death?: Death) {
    this.world = world;
    this.ledger = new Ledger(world.ledger);
    this.id = id;
    this.#death = death;
    this.ledger.set(id, "pid", ownPid);
  }

  /** A number of its own for what it does now. */
  get stamp(): number {
    return this.id * 1000 + this.#step;
  }

  /** Says what must not be. */
  violate(message: string): never {
    const { kind, sync, limit } = this.op;
    violate(`actor ${this.id}, ${kind}${sync ? "Sync" : ""} limited by ${limit.by}: ${message}`);
  }

  /** Begins the next operation. */
  async begin(op: Op): Promise<void> {
    this.op = op;
    this.#step++;
    this.ledger.set(this.id, "op", this.#step);
    const death = this.#death;
    if (death === undefined || this.#step - 1 !== death.at) return;
    // Some die here, others when they have got something.
    this.#dies = true;
    const { way, step } = death;
    if (way === "step") arm(step);
    else if (way === "park") arm(step, () => this.#park());
    else if (step % 4 === 0) await this.dieIfTime();
  }

  /** Blocks until it is killed; not for ever, for the main process may need what it holds amid a step. */
  #park(): void {
    this.ledger.set(this.id, "parked", 1);
    for (let i = 0; i < 20 && isAlive(ownPid); i++) park(20);
    leave(UNPARKED);
  }

  /** Dies if its time has come. */
  async dieIfTime(): Promise<void> {
    if (!this.#dies) return;
    const { way, code } = this.#death as Death;
    if (way === "exit") leave(code);
    if (way === "throw") throw new Fatal("chaos");
    if (way === "return") throw RETURN;
    if (way === "spin") return spin(200);
    if (way === "reject") void Promise.reject(new Fatal("chaos"));
    if (way === "timer") setTimeout(() => void fail(), 0);
    if (way === "reject" || way === "timer") await pause(20);
  }

  /** Waits in the form that the operation says. Undefined if its limit, or something allowed, came first. */
  async wait<T>(
    sync: (options: WaitSyncOptions) => T,
    async: (options: WaitOptions) => Promise<T>,
    ...allowed: ErrorClass[]
  ): Promise<{ value: T } | undefined> {
    return await this.waitWithin(this.op.limit, sync, async, ...allowed);
  }

  /** Waits with a limit of its own. */
  async waitWithin<T>(
    { by, ms }: Limit,
    sync: (options: WaitSyncOptions) => T,
    async: (options: WaitOptions) => Promise<T>,
    ...allowed: ErrorClass[]
  ): Promise<{ value: T } | undefined> {
    const { sync: blocks } = this.op;
    const began = performance.now();
    const controller = new AbortController();
    const reason = new Error("chaos: aborted");
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (by === "signal") {
      if (ms === 0) controller.abort(reason);
      else timer = setTimeout(() => controller.abort(reason), ms);
    }
    const options = by === "timeout" ? { timeout: ms } : {};
    try {
      if (blocks) return { value: sync(options) };
      return { value: await async(by === "signal" ? { signal: controller.signal } : options) };
    } catch (error) {
      // A terminated thread that runs on.
      if (!isAlive(ownPid)) leave(FENCED);
      if (by === "signal" && error === reason) return undefined;
      if (by === "timeout" && TIMEOUTS.some((each) => error instanceof each)) return undefined;
      if (error instanceof MultiprocessingError) {
        if (allowed.some((each) => error instanceof each)) return undefined;
      }
      return this.violate(`threw ${(error as Error)?.stack ?? error}`);
    } finally {
      clearTimeout(timer);
      const late = performance.now() - began - ms;
      if (by !== "nothing" && late > LATE_MS) this.violate(`came ${late} ms too late`);
    }
  }

  /** Holds what it has got: alone, or with so many others. */
  async hold(
    field: Field,
    guard: Pick<LockGuard, "abandoned">,
    most: number,
    halves?: Halves,
  ): Promise<void> {
    const { ledger, id } = this;
    ledger.add(id, field, 1);
    const inside = ledger.living(field);
    if (inside.length > most) this.violate(`held by actors ${inside}: more than ${most}`);
    if (halves !== undefined && !guard.abandoned && halves.at(0) !== halves.at(1)) {
      this.violate(`not abandoned, but ${halves.at(0)} is not ${halves.at(1)}`);
    }
    halves?.set(0, this.stamp);
    await this.dieIfTime();
    if (!this.op.sync) await pause(this.op.ms);
    else if (this.op.ms > 0) spin(this.op.ms);
    // A terminated thread may run on where it does not call the library: Deno cannot stop a busy loop.
    if (!isAlive(ownPid)) leave(FENCED);
    halves?.set(1, this.stamp);
    ledger.add(id, field, -1);
  }
}

const TIMEOUTS: ErrorClass[] = [TimeoutError, QueueEmptyError, QueueFullError];

function fail(): never {
  throw new Fatal("chaos");
}
