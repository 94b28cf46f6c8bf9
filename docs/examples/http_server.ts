/** An HTTP server that draws pictures in a pool; a client that disconnects cancels its task. */

import { cpuCount, Pool, Value } from "@multiprocessing/core";
import { readOptions } from "./common/options.ts";
import { visit } from "./http_server/load.ts";
import { drawPng, share } from "./http_server/picture.ts";
import { serve } from "./http_server/serve.ts";
import { type View, WHOLE } from "./mandelbrot/draw.ts";

/** So long may a task go on that was told to stop; after that its worker is stopped. */
const GRACE = 2_000;

const LARGEST = { width: 4_000, height: 4_000, depth: 100_000 };

/** The view in a query such as `?x=-0.75&y=0.1&span=0.05&width=900`; null if it makes no sense. */
function readView(query: URLSearchParams): View | null {
  const view = { ...WHOLE, width: 900, height: 600, depth: 500 };
  for (const name of Object.keys(view) as (keyof View)[]) {
    const number = Number(query.get(name) ?? view[name]);
    const fits = name in LARGEST
      ? Number.isInteger(number) && number >= 1 && number <= LARGEST[name as keyof typeof LARGEST]
      : Number.isFinite(number);
    if (!fits) return null;
    view[name] = number;
  }
  return view;
}

/** Draws in the pool what requests ask for, and counts. */
function pictures(pool: Pool) {
  const counts = { drawn: 0, cancelled: 0, waiting: 0, rows: 0 };
  async function answer({ url, signal }: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(url);
    if (pathname === "/stats") return Response.json(counts);
    const view = readView(searchParams);
    if (pathname !== "/" || view === null) return new Response("no such picture", { status: 404 });
    counts.waiting++;
    counts.rows += view.height;
    try {
      const png = await pool.apply(drawPng, [view], { signal, grace: GRACE });
      counts.drawn++;
      return new Response(png as BodyInit, { headers: { "content-type": "image/png" } });
    } catch (error) {
      if (!signal.aborted) return new Response(String(error), { status: 500 });
      counts.cancelled++;
      return new Response(null, { status: 499 }); // Nobody reads it.
    } finally {
      counts.waiting--;
    }
  }
  return { counts, answer };
}

if (import.meta.main) {
  const { port, processes, load } = readOptions("Draws the Mandelbrot set for HTTP clients.", {
    port: { initial: 8000, about: "where it listens; 0: at any that is free", from: 0, to: 65_535 },
    processes: { initial: cpuCount(), about: "how many processes draw" },
    load: { initial: 0, about: "lets so many clients come, and ends; 0: serves for ever", from: 0 },
  });
  const rows = new Value("u32", 0, { lock: false });
  const pool = new Pool({ processes, initializer: share, initargs: [rows] });
  const { counts, answer } = pictures(pool);
  const server = await serve(port, answer);
  console.log(`listening at ${server.url}`);

  if (load > 0) {
    const clients = new Pool({ processes: 1, name: "Clients" });
    const start = performance.now();
    const { served, bytes, left } = await clients.apply(visit, [server.url, load]);
    console.log(`${served} clients got ${bytes} bytes; ${left} left before`);
    await server.close();
    pool.close();
    await pool.join();
    const time = Math.round(performance.now() - start);
    console.log(`${counts.drawn} tasks ended, ${counts.cancelled} were cancelled: ${time} ms`);
    console.log(`${rows.value} of ${counts.rows} rows were drawn`);
    console.log(`${pool.stats().replaced} workers were replaced`);
  }
}
