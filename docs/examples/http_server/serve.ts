/** An HTTP server on each runtime. A request's signal aborts when its client disconnects. */

import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Answers a request. */
export type Handler = (request: Request) => Promise<Response>;

/** A server that listens. */
export interface Server {
  url: string;
  close(): Promise<void>;
}

const hostname = "127.0.0.1";

/** Serves at a port, or at any that is free if it is 0. */
export function serve(port: number, handler: Handler): Promise<Server> {
  if ("Deno" in globalThis) return serveOnDeno(port, handler);
  return "Bun" in globalThis ? serveOnBun(port, handler) : serveOnNode(port, handler);
}

/** Unless it is run with `--unstable-no-legacy-abort`, Deno warns here that it aborts late, too. */
function serveOnDeno(port: number, handler: Handler): Promise<Server> {
  return new Promise((resolve) => {
    const server = Deno.serve({
      hostname,
      port,
      onListen: (address) =>
        resolve({ url: `http://${hostname}:${address.port}/`, close: () => server.shutdown() }),
    }, handler);
  });
}

/** What is used of Bun here; its own types are in the package `@types/bun`. */
interface Bun {
  serve(options: { hostname: string; port: number; idleTimeout: number; fetch: Handler }): {
    url: URL;
    stop(): Promise<void>;
  };
}

function serveOnBun(port: number, handler: Handler): Promise<Server> {
  const { Bun } = globalThis as unknown as { Bun: Bun };
  // Else Bun hangs up on clients after ten seconds without a byte.
  const server = Bun.serve({ hostname, port, idleTimeout: 0, fetch: handler });
  return Promise.resolve({ url: server.url.href, close: () => server.stop() });
}

async function serveOnNode(port: number, handler: Handler): Promise<Server> {
  const server = createServer(async (incoming, outgoing) => {
    const disconnect = new AbortController();
    outgoing.on("close", () => disconnect.abort());
    const request = new Request(new URL(incoming.url!, url), { signal: disconnect.signal });
    const response = await handler(request);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  });
  await new Promise<void>((resolve) => server.listen(port, hostname, resolve));
  const url = `http://${hostname}:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
