import type { Definition } from "./definitions.ts";
import type { Job } from "./job.ts";

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
  readonly #jobs: (Job | undefined)[] = [];
  readonly #definitions: Definition[] = [];
  readonly #numbers: number[] = [];
  readonly #free: number[] = [];

  /** How many jobs there are. */
  get size(): number {
    return this.#jobs.length - this.#free.length;
  }

  /** Takes a job in, as a user of its function. Returns its number. */
  add(job: Job, definition: Definition): number {
    const slot = this.#free.pop() ?? this.#jobs.length;
    const generation = ((this.#numbers[slot] ?? 0) >>> SLOT_BITS) % (GENERATIONS - 1) + 1;
    const number = generation * (SLOT_MASK + 1) + slot;
    this.#jobs[slot] = job;
    this.#definitions[slot] = definition;
    this.#numbers[slot] = number;
    definition.users++;
    return number;
  }

  /** The job of a number, if it is still there. */
  get(number: number): Job | undefined {
    const slot = number & SLOT_MASK;
    return this.#numbers[slot] === number ? this.#jobs[slot] : undefined;
  }

  /** Takes the job of a number out. */
  remove(number: number): Job | undefined {
    const job = this.get(number);
    if (job === undefined) return undefined;
    const slot = number & SLOT_MASK;
    this.#jobs[slot] = undefined;
    this.#free.push(slot);
    (this.#definitions[slot] as Definition).users--;
    return job;
  }

  /** The numbers of all jobs. */
  numbers(): number[] {
    return this.#numbers.filter((number) => this.get(number) !== undefined);
  }
}
