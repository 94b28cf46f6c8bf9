import type { ConnectionOptions } from "bullmq";
import type { Redis, RedisOptions } from "ioredis";
import { nextTick } from "../runtime/timers.ts";
import { parseUrl } from "./url.ts";

/** A server that is asked, and does not answer for so long, in ms, is taken for lost. */
export const SILENCE_MS = 20_000;

/** A Redis, to connect to. */
export class Server {
  /** For BullMQ's clients and ours: they connect again by themselves, and their commands wait for it. */
  readonly options: ConnectionOptions;
  /** For people: without a password. */
  readonly shown: string;

  /**
   * Connects to nothing yet.
   *
   * @param url As of `RedisConnection`.
   * @throws {TypeError} If the URL is none.
   */
  constructor(url: string | URL) {
    const { options, shown } = parseUrl(url);
    this.options = {
      ...options,
      maxRetriesPerRequest: null,
      socketTimeout: SILENCE_MS,
    } as ConnectionOptions;
    this.shown = shown;
  }

  /** A connection of one's own. It keeps the program alive; see {@linkcode keepAlive}. */
  async connect(options: Partial<RedisOptions> = {}): Promise<Redis> {
    // Takes 25 to 40 ms, which whoever only imports this package need not spend.
    const { Redis } = await import("ioredis");
    const redis = new Redis({ ...this.options, ...options } as object);
    redis.on("error", () => {}); // Commands tell of it, or wait.
    return redis;
  }
}

/** Whether a connection keeps the program alive. To be said again when it was lost and is there again. */
export function keepAlive(client: Redis, alive: boolean): void {
  const { stream } = client as unknown as { stream?: { ref?(): void; unref?(): void } };
  alive ? stream?.ref?.() : stream?.unref?.();
}

/** What a connection sends until the end of this turn, it sends in one write. */
export function inOneWrite(client: Redis): void {
  const { stream } = client as unknown as { stream?: { cork(): void; uncork(): void } };
  stream?.cork();
  nextTick(() => stream?.uncork());
}

/** Whether a command failed because the connection broke amid it: the client sends those of transactions only once. */
export function isDisconnection(error: unknown): boolean {
  const { name, message } = Object(error) as Partial<Error>;
  return name === "AbortError" || message === "Connection is closed.";
}

/** Whether Redis itself has answered with the error. */
export function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

/** Whether Redis will not let us in, however long we wait. */
export function isRefusal(error: unknown): boolean {
  return isReply(error) && /^(?:WRONGPASS|NOAUTH|NOPERM|ERR)\b/.test((error as Error).message);
}
