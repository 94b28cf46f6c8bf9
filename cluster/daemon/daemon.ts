/**
 * A daemon: works for all pools of a cluster.
 *
 * | a pool is          | seen by                                  | then                                          |
 * | ------------------ | ---------------------------------------- | --------------------------------------------- |
 * | announced          | its record, and a lease that has not lapsed | a {@linkcode Member} joins it              |
 * | ended              | its record says so, or is gone           | the member leaves                             |
 * | left by its client | a record without a lease                 | it is marked as ended; the member leaves, and all that the pool has in Redis is removed |
 *
 * A pool that has ended never comes back: its client, should it only have been silent, announces another.
 *
 * @module
 */

import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { hostName, processId, randomUUID, runtimeName } from "../runtime/host.ts";
import {
  clearInterval,
  clearTimeout,
  pause,
  setInterval,
  setTimeout,
  within,
} from "../runtime/timers.ts";
import { type NodeRecord, type PoolRecord, readNode, readPool } from "../wire/messages.ts";
import { Names } from "../wire/names.ts";
import type { Server } from "../wire/server.ts";
import { keepSubscribed } from "../wire/subscriptions.ts";
import type { Permits } from "./functions.ts";
import { Member } from "./member.ts";

/** What a daemon is started with. */
export interface DaemonOptions extends Permits {
  server: Server;
  /** The cluster's name. */
  cluster: string;
  /** So many jobs run at once, for each pool. */
  slots: number;
  /** So long may it be silent before its jobs are given to others, in ms. */
  lock: number;
  /** Takes a line for each thing that happens. */
  log(line: string): void;
}

/** So often a daemon says that it lives, and looks for pools, in ms. */
const BEAT_MS = 1_000;

/** After so much silence a daemon is forgotten, in ms. */
const FORGET_MS = 60_000;

/** Redis has so many milliseconds to hear what a daemon that stops gives back. */
const GOODBYE_MS = 5_000;

/** Marks a pool as ended whose lease has lapsed. Answers 0 if it has not, or the pool is gone. */
const GIVE_UP = `
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
if redis.call("HEXISTS", KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call("HSET", KEYS[2], ARGV[1], ARGV[2])
return 1`;

/** Works for all pools of a cluster, until it is stopped. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #names: Names;
  readonly #redis: Redis;
  readonly #ear: Redis;
  readonly #members = new Map<string, Member>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #id = randomUUID().slice(0, 13);
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #stopped = false;
  readonly #hurry = Promise.withResolvers<void>();

  private constructor(options: DaemonOptions, redis: Redis, ear: Redis) {
    this.#options = options;
    this.#names = new Names(options.cluster);
    this.#redis = redis;
    this.#ear = ear;
  }

  /** Starts one. Resolves when it hears of pools. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { server } = options;
    const daemon = new Daemon(
      options,
      await server.connect(),
      await server.connect({ autoResubscribe: false }),
    );
    try {
      await daemon.#begin();
    } catch (error) {
      await daemon.stop(0);
      throw error;
    }
    return daemon;
  }

  async #begin(): Promise<void> {
    this.#ear.on("message", (channel: string, text: string) => this.#hear(channel, text));
    await keepSubscribed(this.#ear, () => this.#channels());
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
    await this.#announce();
    await this.#look();
  }

  /**
   * Ends: jobs that run are finished; those that take longer than `grace` ms are given back. Where Redis
   * is away nobody hears of either, and others begin them anew some time.
   */
  async stop(grace: number): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    const timer = setTimeout(() => this.giveBack(), within(grace));
    await Promise.race([this.#leaveAll(), this.#hurry.promise.then(() => this.#away())]);
    clearTimeout(timer);
    this.#ear.disconnect();
    this.#redis.disconnect();
  }

  async #leaveAll(): Promise<void> {
    await this.#redis.hdel(this.#names.nodes, this.#id).catch(() => {});
    await this.#looking?.catch(() => {});
    await Promise.allSettled([...this.#members.values()].map((member) => member.stop()));
    await Promise.allSettled(this.#leaving);
  }

  /** Resolves when Redis is away, and has been given time to come back. */
  async #away(): Promise<void> {
    do await pause(GOODBYE_MS); while (this.#redis.status === "ready");
  }

  /** Gives back what runs, once it is stopping. */
  giveBack(): void {
    for (const member of this.#members.values()) member.giveBack();
    this.#hurry.resolve();
  }

  #channels(): string[] {
    const cancels = [...this.#members.keys()].map((id) => this.#names.cancel(id));
    return [this.#names.wake, ...cancels];
  }

  #hear(channel: string, text: string): void {
    if (channel === this.#names.wake) {
      this.#look().catch(() => {}); // At the next beat, then.
      return;
    }
    for (const member of this.#members.values()) {
      if (channel === this.#names.cancel(member.pool.id)) member.cancel(text);
    }
  }

  #beat(): void {
    this.#announce().then(() => this.#look()).catch(() => {});
  }

  async #announce(): Promise<void> {
    const { slots } = this.#options;
    let running = 0;
    for (const member of this.#members.values()) running += member.running;
    // One that only listens would not notice that nobody is there any more.
    this.#ear.ping().catch(() => {});
    const [seconds] = await this.#redis.time();
    if (this.#stopped) return;
    const record: NodeRecord = {
      id: this.#id,
      host: hostName(),
      pid: processId(),
      runtime: runtimeName(),
      slots,
      running,
      pools: this.#members.size,
      at: Number(seconds) * 1_000,
    };
    await this.#redis.hset(this.#names.nodes, this.#id, JSON.stringify(record));
    await this.#forgetOthers(record.at);
  }

  /** Removes the records of daemons that have died. */
  async #forgetOthers(now: number): Promise<void> {
    const { nodes } = this.#names;
    for (const [id, text] of Object.entries(await this.#redis.hgetall(nodes))) {
      const at = readNode(text)?.at ?? 0;
      if (at < now - FORGET_MS) await this.#redis.hdel(nodes, id);
    }
  }

  /** Joins and leaves pools: one look at a time, and one more if asked meanwhile. */
  async #look(): Promise<void> {
    this.#lookAgain = true;
    this.#looking ??= this.#lookAll().finally(() => this.#looking = undefined);
    await this.#looking;
  }

  async #lookAll(): Promise<void> {
    while (this.#lookAgain && !this.#stopped) {
      this.#lookAgain = false;
      const records = await this.#redis.hgetall(this.#names.pools);
      for (const [id, text] of Object.entries(records)) {
        const pool = readPool(text);
        if (await this.#redis.exists(this.#names.lease(id)) === 0) await this.#bury(id, pool);
        else if (pool?.ended) void this.#leave(id);
        else if (pool !== undefined) this.#join(id, pool);
      }
      for (const id of this.#members.keys()) {
        if (records[id] === undefined) void this.#leave(id);
      }
    }
  }

  #join(id: string, pool: PoolRecord): void {
    if (this.#members.has(id) || this.#stopped) return;
    const { server, slots, lock, root, allowCode, log } = this.#options;
    const most = Math.min(slots, pool.processes ?? slots);
    const [redis, names] = [this.#redis, this.#names];
    this.#members.set(
      id,
      new Member({ server, redis, names, pool, slots: most, lock, root, allowCode }),
    );
    this.#ear.subscribe(names.cancel(id)).catch(() => {});
    log(`pool ${id} (${pool.name}): joined, ${most} at once`);
  }

  async #leave(id: string): Promise<void> {
    const member = this.#members.get(id);
    if (member === undefined) return;
    this.#members.delete(id);
    this.#ear.unsubscribe(this.#names.cancel(id)).catch(() => {});
    const left = member.abandon().then(() => this.#sweep(id)).catch(() => {});
    this.#leaving.add(left);
    await left;
    this.#leaving.delete(left);
    this.#options.log(`pool ${id} (${member.pool.name}): left`);
  }

  /** A member may have written something just after its client has removed all. */
  async #sweep(id: string): Promise<void> {
    if (await this.#redis.hexists(this.#names.pools, id) === 0) await this.#remove(id);
  }

  /** Removes what a client has left behind that is gone. */
  async #bury(id: string, pool: PoolRecord | undefined): Promise<void> {
    const names = this.#names;
    const ended = JSON.stringify({ ...pool, ended: true });
    const keys = [names.lease(id), names.pools];
    if (await this.#redis.eval(GIVE_UP, keys.length, ...keys, id, ended) === 0) return;
    await this.#leave(id);
    await this.#remove(id);
    const removed = await this.#redis.hdel(names.pools, id);
    if (removed === 1) this.#options.log(`pool ${id}: its client is gone, removed`);
  }

  /** Several daemons may do so at a time: BullMQ pauses the queue, then removes all of it. */
  async #remove(id: string): Promise<void> {
    const names = this.#names;
    await this.#redis.unlink(names.lease(id), names.functions(id), names.bytes(id));
    const queue = new Queue(this.#names.queue(id), {
      connection: this.#redis,
      prefix: this.#names.bull,
      // Else it writes some, perhaps after another daemon has removed all.
      skipMetasUpdate: true,
    });
    queue.on("error", () => {});
    try {
      await queue.obliterate({ force: true });
    } finally {
      await queue.close();
    }
  }
}
