import type { Definition } from "./definitions.ts";
import type { Job } from "./job.ts";

/** A job that was submitted, and the function that it needs. */
export interface JobEntry {
  readonly job: Job;
  readonly definition: Definition;
}

const SLOT_BITS = 20;
const SLOT_MASK = 2 ** SLOT_BITS - 1;
const GENERATIONS = 2 ** (31 - SLOT_BITS);

/**
 * Jobs by number. Numbers are from 1 to 2^31 - 1, and the same one comes again only after 2,047 others
 * in its slot.
 *
 * An array with a list of free slots: at this place a `Map` takes three to six times as long, and a
 * pool passes here twice a task.
 */
export class JobTable {
  readonly #entries: (JobEntry | undefined)[] = [];
  readonly #numbers: number[] = [];
  readonly #free: number[] = [];

  /** How many jobs there are. */
  get size(): number {
    return this.#entries.length - this.#free.length;
  }

  /** Takes a job in. Returns its number. */
  add(entry: JobEntry): number {
    const slot = this.#free.pop() ?? this.#entries.length;
    const generation = ((this.#numbers[slot] ?? 0) >>> SLOT_BITS) % (GENERATIONS - 1) + 1;
    const number = generation * (SLOT_MASK + 1) + slot;
    this.#entries[slot] = entry;
    this.#numbers[slot] = number;
    return number;
  }

  /** The job of a number, if it is still there. */
  get(number: number): JobEntry | undefined {
    const slot = number & SLOT_MASK;
    return this.#numbers[slot] === number ? this.#entries[slot] : undefined;
  }

  /** Takes the job of a number out. */
  remove(number: number): JobEntry | undefined {
    const entry = this.get(number);
    if (entry === undefined) return undefined;
    const slot = number & SLOT_MASK;
    this.#entries[slot] = undefined;
    this.#free.push(slot);
    return entry;
  }

  /** The numbers of all jobs. */
  numbers(): number[] {
    return this.#numbers.filter((number) => this.get(number) !== undefined);
  }
}
