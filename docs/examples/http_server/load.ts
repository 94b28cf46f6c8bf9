/** The clients of http_server.ts, which run in a process of their own. */

import { task } from "@multiprocessing/core";

/** What the clients have seen. */
export interface Visit {
  /** Clients that got a picture, and its bytes. */
  served: number;
  bytes: number;
  /** Clients that disconnected before. */
  left: number;
}

/** Asks for pictures, all at once; half as many clients ask for one that takes long, and leave. */
export const visit = task(import.meta, async function visit(url: string, clients: number) {
  const result: Visit = { served: 0, bytes: 0, left: 0 };
  const leaving = new AbortController();

  async function wait(): Promise<void> {
    const response = await fetch(new URL("?width=240&height=160", url));
    if (response.status !== 200) throw new Error(await response.text());
    const { length } = await response.bytes();
    result.bytes += length;
    result.served++;
  }

  /** The middle of the set is black: no point of it leaves, each takes all steps. */
  async function leave(): Promise<void> {
    const long = new URL("?width=200&height=2000&span=0.1&x=0&depth=50000", url);
    await fetch(long, { signal: leaving.signal }).then(
      () => Promise.reject(new Error("the picture that takes long is there")),
      () => result.left++,
    );
  }

  const impatient = Array.from({ length: Math.ceil(clients / 2) }, leave);
  const patient = Array.from({ length: clients }, wait);
  // Not before the server has all of them.
  while ((await (await fetch(new URL("stats", url))).json()).waiting < impatient.length) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  leaving.abort();
  await Promise.all([...impatient, ...patient]);
  return result;
});
