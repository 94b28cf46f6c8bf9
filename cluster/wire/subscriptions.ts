import type { Redis } from "ioredis";
import { isReply } from "./server.ts";

/**
 * Keeps a client subscribed, however often its connection breaks.
 *
 * By itself (`autoResubscribe`, to be turned off) ioredis 6 subscribes to what the last connection was
 * subscribed to. What one had only asked for when it broke is lost for ever, with all that it had taken
 * over from those before it. So each new connection asks for everything.
 *
 * @param client One that is for this alone.
 * @param channels Tells what to subscribe to by now.
 * @param subscribed Called each time it is: what was published before, it may have missed.
 * @returns Resolves when it is subscribed for the first time; rejects if Redis refuses.
 */
export function keepSubscribed(
  client: Redis,
  channels: () => string[],
  subscribed = (): void => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const subscribe = async (): Promise<void> => {
      const names = channels();
      try {
        if (names.length > 0) await client.subscribe(...names);
      } catch (error) {
        if (isReply(error)) reject(error);
        return; // Or the connection has broken: there will be another.
      }
      resolve();
      subscribed();
    };
    client.on("ready", subscribe);
    if (client.status === "ready") void subscribe();
  });
}
