/**
 * A cluster at a glance, for people.
 *
 * @module
 */

import { Queue } from "bullmq";
import { SILENT_MS } from "../pool/presence.ts";
import { readNode, readPool } from "../wire/messages.ts";
import { Names } from "../wire/names.ts";
import type { Server } from "../wire/server.ts";

/** The daemons and pools of a cluster, as a text. */
export async function statusOf(server: Server, cluster: string): Promise<string> {
  const names = new Names(cluster);
  const redis = await server.connect();
  try {
    const now = Number((await redis.time())[0]) * 1_000;
    const nodes = Object.values(await redis.hgetall(names.nodes))
      .flatMap((text) => readNode(text) ?? [])
      .filter(({ at }) => at > now - SILENT_MS);
    const pools = Object.values(await redis.hgetall(names.pools))
      .flatMap((text) => readPool(text) ?? []);
    const daemonRows = nodes.map(({ host, pid, runtime, slots, running, pools }) => [
      host,
      `${pid}`,
      runtime,
      `${slots}`,
      `${running}`,
      `${pools}`,
    ]);
    const poolRows: string[][] = [];
    for (const { id, name, processes } of pools) {
      const { queued, running } = await countsOf(server, names, id);
      poolRows.push([id, name, `${processes ?? "all slots"}`, `${queued}`, `${running}`]);
    }
    return [
      table(["daemon", "pid", "runtime", "slots", "running", "pools"], daemonRows),
      table(["pool", "name", "processes", "queued", "running"], poolRows),
    ].join("\n\n");
  } finally {
    redis.disconnect();
  }
}

async function countsOf({ options }: Server, names: Names, pool: string) {
  const queue = new Queue(names.queue(pool), {
    connection: options,
    prefix: names.bull,
    skipMetasUpdate: true, // Who looks changes nothing.
  });
  try {
    const { waiting = 0, prioritized = 0, active = 0 } = await queue.getJobCounts();
    return { queued: waiting + prioritized, running: active };
  } finally {
    await queue.close();
  }
}

function table(head: string[], rows: string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => row[at]!.length)));
  const lines = all.map((row) =>
    row.map((cell, at) => cell.padEnd(widths[at]!)).join("  ").trimEnd()
  );
  return rows.length === 0 ? `${lines[0]}\n(none)` : lines.join("\n");
}
