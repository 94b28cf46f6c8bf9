/** Calls of pools, and what may come of them. */

/** What came of a call. */
export interface Settled {
  value?: unknown;
  error?: unknown;
}

/** A call, and whether what came of it is right. */
export interface Call {
  what: string;
  promise: Promise<unknown>;
  judge: (settled: Settled) => boolean;
  /** Says what is wrong, whatever came of it; undefined if nothing is. */
  wrong?: () => string | undefined;
}

/** Whatever must settle has settled by then. */
export const SETTLE_MS = 60_000;

/** What comes of a promise in time. */
export async function settled(promise: Promise<unknown>): Promise<Settled | "late"> {
  let timer;
  const late = new Promise<"late">((resolve) => timer = setTimeout(resolve, SETTLE_MS, "late"));
  const found = promise.then((value) => ({ value }), (error) => ({ error }));
  try {
    return await Promise.race([found, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What came of a call, in words. */
export function show(found: Settled): string {
  const { error } = found;
  return error instanceof Error ? error.stack ?? String(error) : JSON.stringify(found);
}
