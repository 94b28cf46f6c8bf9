import type { Redis, RedisOptions } from "ioredis";
import { ClosedError, TimeoutError } from "@multiprocessing/core/errors";
import { toBuffer } from "../runtime/host.ts";
import { clearTimeout, setTimeout } from "../runtime/timers.ts";
import { checkCluster, keyOf, type Kind } from "./keys.ts";
import { ANSWER_KEPT, type Script, SCRIPTS } from "./scripts.ts";
import { isRefusal, isReply, keepAlive, SILENCE_MS } from "./server.ts";
import { keepSubscribed } from "./subscriptions.ts";
import { parseUrl } from "./url.ts";

/** Options of a {@linkcode RedisConnection}. */
export interface ConnectionOptions {
  /**
   * The name of the cluster: programs with the same name on the same Redis meet.
   *
   * @default {"default"}
   */
  name?: string;
  /**
   * How long an operation waits for a Redis that cannot be reached, in milliseconds; at most 120,000.
   *
   * @default {60_000}
   */
  patience?: number;
}

/** What a script can be given. */
export type Argument = string | number | Uint8Array;

const DEFAULT_PATIENCE = 60_000;

/** A client waits for Redis no longer than half of the time for which answers are kept. */
const MAX_PATIENCE = ANSWER_KEPT / 2;

/** How long a client may take to notice that its socket is gone, in milliseconds. */
const NOTICE = 20;

/** So many answers are acknowledged in one request at most: Lua's `unpack` has a limit. */
const MAX_ACKNOWLEDGED = 1_000;

type Command = (...args: Argument[]) => Promise<unknown>;

/** Who waits for a connection. */
interface Gate {
  open(): void;
  fail(error: unknown): void;
}

/**
 * A connection to Redis that all primitives of a program share.
 *
 * **Two sockets.** One for all requests, which go out without waiting for each other's answers; one,
 * once it is needed, to hear of changes. No wait takes a socket of its own.
 *
 * **Lost connections.** They are made anew. A request whose answer was lost is sent again, and runs
 * once all the same; see `scripts.ts`. One that finds no Redis for `patience` fails.
 *
 * **Idle connections** do not keep the program alive: only requests and waits do.
 */
export class RedisConnection implements AsyncDisposable {
  /** The name of the cluster. */
  readonly name: string;
  readonly #options: Omit<RedisOptions, "replyMapping">;
  readonly #where: string;
  readonly #patience: number;
  /** Tells the requests of this client from those of others. */
  readonly #id = crypto.randomUUID();
  readonly #answers: string;
  #requests = 0;
  #acknowledged: number[] = [];
  #client: Promise<Redis> | undefined;
  #subscriber: Promise<Redis> | undefined;
  readonly #sockets = new Set<Redis>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #gates = new Set<Gate>();
  #lastError: unknown;
  #users = 0;
  #closed = false;

  /**
   * Does not connect yet: the first request does.
   *
   * @param url `redis://`, `rediss://`, `unix:///path` or `redis+unix:///path`.
   * @param options The cluster's name, and how patient to be.
   * @throws {TypeError} If the URL is none of these.
   * @throws {RangeError} If a name or a number is out of range.
   */
  constructor(url: string | URL, options: ConnectionOptions = {}) {
    const { name = "default", patience = DEFAULT_PATIENCE } = options;
    this.name = checkCluster(name);
    if (!(patience >= 0 && patience <= MAX_PATIENCE)) {
      throw new RangeError(
        `Cannot connect: 'patience' must be 0 to ${MAX_PATIENCE} ms, but is ${patience}`,
      );
    }
    this.#patience = patience;
    const { options: address, shown } = parseUrl(url);
    this.#where = shown;
    this.#answers = keyOf(this.name, "answers", this.#id);
    this.#options = {
      ...address,
      lazyConnect: true,
      protocol: 2,
      // Requests are sent anew by run(), which knows how long, and that they run once.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      socketTimeout: SILENCE_MS,
      retryStrategy: (times) => this.#users > 0 ? Math.min(10 * 2 ** times, 1_000) : null,
    };
  }

  /** The key of one thing, which is also the channel of its changes. */
  key(kind: Kind, name: string): string {
    return keyOf(this.name, kind, name);
  }

  /** A name that nobody else has. */
  unique(): string {
    return `${this.#id}:${++this.#requests}`;
  }

  /**
   * Runs a script: once, if it changes something, however often the connection breaks.
   *
   * @param script One of `scripts.ts`.
   * @param keys Its keys.
   * @param args Its arguments.
   * @returns Its answer.
   * @throws {TimeoutError} If Redis could not be reached for `patience`; whether it has run is not known.
   * @throws {ClosedError} If this connection is closed.
   * @throws {Error} What Redis says, as it is.
   */
  async run(script: Script, keys: string[], args: Argument[]): Promise<unknown> {
    this.hold();
    const number = ++this.#requests;
    const words: Argument[] = script.once
      ? [this.#answers, ...keys, number, this.#takeAcknowledged(), ...args]
      : [...keys, ...args];
    const command = script.binary ? `${script.name}Buffer` : script.name;
    try {
      let lostAt = performance.now();
      for (;;) {
        const client = await this.#ready(lostAt + this.#patience);
        try {
          return await (client as unknown as Record<string, Command>)[command]!(
            ...words.map((word) => word instanceof Uint8Array ? toBuffer(word) : word),
          );
        } catch (error) {
          if (isReply(error)) throw error;
          lostAt = performance.now();
        }
        // Until the client has noticed that its socket is gone, it would fail at once again.
        await new Promise((resolve) => setTimeout(resolve, NOTICE));
      }
    } finally {
      if (script.once) this.#acknowledged.push(number);
      this.release();
    }
  }

  /**
   * Hears of changes; `listener` is also called when some may have been missed.
   *
   * @param channel The key of what changes.
   * @param listener Called without arguments.
   * @returns Ends it.
   */
  listen(channel: string, listener: () => void): () => void {
    let listeners = this.#listeners.get(channel);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(channel, listeners);
      void this.#subscribe(channel, listeners);
    } else {
      // Nobody knows whether the subscription stood when the caller last looked.
      queueMicrotask(listener);
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      // Whoever is not connected has nothing to end.
      void this.#subscriber?.then((client) => client.unsubscribe(channel)).catch(() => {});
    };
  }

  /** From now on the connection keeps the program alive, until as many {@linkcode release}. */
  hold(): void {
    if (this.#users++ > 0) return;
    for (const client of this.#sockets) {
      keepAlive(client, true);
      // It gave up while nobody needed it.
      if (client.status === "end") connect(client);
    }
  }

  /** Undoes one {@linkcode hold}. */
  release(): void {
    if (--this.#users > 0) return;
    for (const client of this.#sockets) keepAlive(client, false);
  }

  /** Closes it: what waits rejects with a ClosedError. Leases end by themselves. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const gate of this.#gates) gate.fail(closedError());
    const clients = await Promise.all([this.#client, this.#subscriber]);
    const [client] = clients;
    // Only tidies up: without it, the answers expire.
    if (client?.status === "ready") await client.unlink(this.#answers).catch(() => {});
    for (const open of clients) open?.disconnect();
    for (const listeners of this.#listeners.values()) for (const wake of listeners) wake();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #takeAcknowledged(): string {
    return this.#acknowledged.splice(0, MAX_ACKNOWLEDGED).join(" ");
  }

  /** The client of requests, connected. */
  async #ready(deadline: number): Promise<Redis> {
    for (;;) {
      if (this.#closed) throw closedError();
      const client = await (this.#client ??= this.#open(true));
      if (client.status === "ready") return client;
      await this.#opened(client, deadline);
    }
  }

  #opened(client: Redis, deadline: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      const finish = (end: () => void): void => {
        clearTimeout(timer);
        this.#gates.delete(gate);
        end();
      };
      const gate: Gate = {
        open: () => finish(resolve),
        fail: (error) => finish(() => reject(error)),
      };
      const timer = setTimeout(
        () => gate.fail(this.#unreachable()),
        Math.max(0, deadline - performance.now()),
      );
      this.#gates.add(gate);
      connect(client);
    });
  }

  #unreachable(): TimeoutError {
    return new TimeoutError(
      `Cannot reach Redis at ${this.#where} within ${this.#patience} ms`,
      { cause: this.#lastError },
    );
  }

  async #open(requests: boolean): Promise<Redis> {
    // Takes 25 to 40 ms, which whoever only imports this package need not spend.
    const { Redis } = await import("ioredis");
    const client = new Redis(this.#options);
    this.#sockets.add(client);
    client.on("connect", () => keepAlive(client, this.#users > 0));
    client.on("end", () => {
      setTimeout(() => {
        if (!this.#closed && this.#users > 0) connect(client);
      }, NOTICE).unref();
    });
    client.on("error", (error) => this.#failed(client, error, requests));
    if (requests) {
      for (const { name, keys, once, lua } of SCRIPTS) {
        client.defineCommand(name, { numberOfKeys: keys + (once ? 1 : 0), lua });
      }
      client.on("ready", () => {
        for (const gate of this.#gates) gate.open();
      });
    }
    return client;
  }

  #failed(client: Redis, error: unknown, requests: boolean): void {
    this.#lastError = error;
    if (!requests || !isRefusal(error)) return;
    for (const gate of this.#gates) gate.fail(error);
    // It would go on without, such as on another database.
    client.disconnect();
  }

  async #subscribe(channel: string, listeners: Set<() => void>): Promise<void> {
    if (this.#closed) return;
    const client = await (this.#subscriber ??= this.#openSubscriber());
    connect(client);
    // Once it is connected, it subscribes to this, too; until then, those who wait look by themselves.
    if (client.status !== "ready") return;
    await client.subscribe(channel).catch(() => {});
    for (const wake of listeners) wake();
  }

  async #openSubscriber(): Promise<Redis> {
    const client = await this.#open(false);
    client.on("message", (channel: string) => {
      for (const wake of this.#listeners.get(channel) ?? []) wake();
    });
    const channels = () => [...this.#listeners.keys()];
    keepSubscribed(client, channels, () => {
      for (const listeners of this.#listeners.values()) for (const wake of listeners) wake();
    }).catch(() => {});
    return client;
  }
}

/** Connects a client that never was, or has given up. */
function connect(client: Redis): void {
  // A failure is told by the event "error".
  if (client.status === "wait" || client.status === "end") client.connect().catch(() => {});
}

function closedError(): ClosedError {
  return new ClosedError("Cannot use the cluster: its connection is closed");
}
