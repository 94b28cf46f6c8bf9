import { channel, initRuntime, move, Mutex, spawn } from "multithreading";
import type { Prepare, Turn } from "./primitives_child.ts";

function timed(run: () => void): number {
  const begun = performance.now();
  run();
  return performance.now() - begun;
}

/** Items from a worker: from the first until the last has come. */
function got(kind: "ints" | "records"): Turn {
  initRuntime({ maxWorkers: 1 });
  const [sender, receiver] = channel<unknown>();
  return async (count) => {
    const sent = spawn(move(sender.clone(), count + 1, kind), (sender, count, kind) => {
      for (let at = 0; at < count; at++) {
        sender.blockingSend(kind === "ints" ? at : { id: at, name: "worker", v: [1, 2, 3.5] });
      }
    }).join();
    await receiver.recv();
    const time = timed(() => {
      for (let at = 0; at < count; at++) receiver.blockingRecv();
    });
    await sent;
    return time;
  };
}

function guards(): Turn {
  const mutex = new Mutex();
  return (count) =>
    timed(() => {
      for (let at = 0; at < count; at++) {
        const guard = mutex.blockingLock();
        guard.dispose();
      }
    });
}

function increments(): Turn {
  initRuntime({ maxWorkers: 2 });
  const mutex = new Mutex(new Int32Array(new SharedArrayBuffer(4)));
  return async (count) => {
    const half = Math.floor(count / 2);
    const begun = performance.now();
    await Promise.all([half, half].map((count) =>
      spawn(move(mutex, count), (mutex, count) => {
        for (let at = 0; at < count; at++) {
          const guard = mutex.blockingLock();
          guard.value[0]! += 1;
          guard.dispose();
        }
      }).join()
    ));
    return performance.now() - begun;
  };
}

/** https://github.com/W4G1/multithreading: a channel, and a mutex that holds what it protects. */
const primitives: Record<string, Prepare> = {
  ints: () => got("ints"),
  records: () => got("records"),
  lockGuards: guards,
  increments,
};

export default primitives;
