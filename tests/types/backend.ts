/** What one needs who runs a pool's tasks elsewhere. */

import { Pool, setDefaultBackend } from "@multiprocessing/core";
import {
  type Backend,
  type BackendOptions,
  decodeValue,
  encodeError,
  encodeValue,
  type Job,
  type PoolBackend,
  rejectJob,
  resolveJob,
} from "@multiprocessing/core/backend";
import { is } from "./expect.ts";

/** Runs nothing. */
const nothing: Backend = {
  size: 1,
  submit(_target, _args, job) {
    is<Job>()(job);
    resolveJob(job, undefined);
    rejectJob(job, new Error("no"));
    return undefined as never;
  },
  cancel() {},
  close() {},
  terminate() {},
  ended: Promise.resolve(),
  stats: () => ({ size: 1, idle: 1, queued: 0, running: 0, completed: 0, failed: 0, replaced: 0 }),
} as Partial<Backend> as Backend;

/** Opens it. */
const backend: PoolBackend = {
  open(options) {
    is<BackendOptions>()(options);
    is<number | undefined>()(options.processes);
    return nothing;
  },
};

/** Bytes for other machines. */
export function bytes(): void {
  is<Uint8Array>()(encodeValue({ a: 1 }, "args"));
  is<Uint8Array>()(encodeError(new Error("no")));
  is<unknown>()(decodeValue(new Uint8Array(1)));
  new Pool({ backend });
  setDefaultBackend(backend);
  setDefaultBackend(undefined);
  // @ts-expect-error: no backend
  new Pool({ backend: {} });
}
