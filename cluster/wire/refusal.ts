const INSTEAD: Record<string, string> = {
  Lock: "Lock",
  RLock: "Lock",
  Semaphore: "Semaphore",
  BoundedSemaphore: "Semaphore",
  Event: "Event",
  Value: "Value",
  Queue: "Queue",
  SimpleQueue: "Queue",
  JoinableQueue: "Queue",
  Connection: "Queue",
};

/** Why a thing that lives in this machine's memory cannot go to another, and what can. */
export function refuse(what: string): string {
  const instead = Object.hasOwn(INSTEAD, what) ? INSTEAD[what] : undefined;
  const mend = instead === undefined
    ? "send what it holds"
    : `use ${instead} of @multiprocessing/cluster, by name`;
  return `${
    /^[AEIOU]/.test(what) ? "an" : "a"
  } ${what} lives in the memory of this machine; ${mend}`;
}
