/** A line to Redis that is longer than a unix socket: a network between machines. */

import { connect, createServer, type Socket } from "node:net";

/**
 * Opens a line, for this process's life.
 *
 * @param from Path of the socket to connect to.
 * @param to Path of Redis's socket.
 * @param ms Each way takes so many milliseconds more, and what its timer adds.
 */
export async function openSlowLine(from: string, to: string, ms: number): Promise<void> {
  const late = (source: Socket, target: Socket): void => {
    source.on("data", (bytes) => void setTimeout(() => target.write(bytes), ms));
    source.on("close", () => target.destroy());
    source.on("error", () => target.destroy());
  };
  const server = createServer((near) => {
    const far = connect(to);
    late(near, far);
    late(far, near);
  });
  server.unref();
  await new Promise<void>((resolve) => server.listen(from, resolve));
}
