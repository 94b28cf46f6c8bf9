/** Processes and workers that cannot be started, and iterators whose get fails. */

import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { WORKER_URL } from "../_worker.ts";
import { exitCodeOf, isAlive } from "../memory/control.ts";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Crew } from "../wire/pool/crew.ts";
import { spawn, takePid } from "../wire/spawn.ts";
import { soon } from "./fixtures/processes.ts";

test("spawn() throws what the runtime throws, and its pid has ended", async () => {
  const pid = takePid("Stillborn");
  assert(isAlive(pid));
  const start = () =>
    spawn({
      pid,
      module: WORKER_URL,
      name: "Stillborn",
      identity: "0",
      daemon: false,
      plain: null,
      payload: () => "functions cannot be cloned",
      transfer: [],
    });
  assertThrows(start);
  assertEquals(exitCodeOf(pid), 1);
  const other = new Process({ target: () => {} });
  other.start();
  assertEquals(await soon(other.exited), 0);
});

test("Crew gives up with the error of a worker that cannot be replaced", async () => {
  const errors: unknown[] = [];
  let asked = 0;
  const crew = new Crew({
    size: 1,
    module: "data:text/javascript,throw new Error('expected in this test')",
    name: "Mayfly",
    payload(slot, port) {
      if (asked++ > 0) throw new RangeError("no payload");
      const payload = { kind: "tasks", slot, port } as never;
      return { payload, transfer: [port as Transferable] };
    },
    greet: () => {},
    bury: () => Promise.resolve(true),
    giveUp: (reason) => errors.push(reason),
  });
  crew.start();
  await soon(crew.ended);
  assertEquals(errors.map(String), ["RangeError: no payload"]);
  assertEquals(crew.replaced, 1);
  assertEquals([...crew.workers()], []);
});

test("for await of a Queue ends with whatever else than the queue's end its get throws", async () => {
  class Broken extends Queue<number> {
    override get(): Promise<number> {
      return Promise.reject(new RangeError("broken"));
    }
  }
  const read = async () => {
    for await (const _ of new Broken()) assert(false, "there is no item");
  };
  await assertRejects(read, RangeError, "broken");
});
