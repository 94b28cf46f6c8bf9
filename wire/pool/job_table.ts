import { WATCHED_TASKS } from "../../memory/lease.ts";
import type { Definition } from "./definitions.ts";
import type { Job } from "./job.ts";

const SLOT_BITS = 20;
const SLOT_MASK = 2 ** SLOT_BITS - 1;
const GENERATIONS = 2 ** (31 - SLOT_BITS);

/**
 * Jobs by number. Numbers are from 1 to 2^31 - 1, and the same one comes again only after 2,047 others
 * in its slot. The first slots are for watched jobs: see `memory/lease.ts`.
 *
 * An array with a list of free slots: at this place a `Map` takes three to six times as long, and a
 * pool passes here twice a task.
 */
export class JobTable {
  readonly #jobs: (Job | undefined)[] = new Array(WATCHED_TASKS).fill(undefined);
  readonly #definitions: (Definition | undefined)[] = new Array(WATCHED_TASKS).fill(undefined);
  readonly #numbers: number[] = new Array(WATCHED_TASKS).fill(0);
  readonly #free: number[] = [];
  readonly #freeWatched: number[] = [];
  #firstFresh = 0;
  #size = 0;

  /** How many jobs there are. */
  get size(): number {
    return this.#size;
  }

  /** Takes a job in, as a user of its function. Returns its number; 0 if too many are watched. */
  add(job: Job, definition: Definition): number {
    const slot = job.watch === undefined
      ? this.#free.pop() ?? this.#jobs.length
      : this.#freeWatched.pop() ?? this.#firstFresh++;
    if (job.watch !== undefined && slot >= WATCHED_TASKS) {
      this.#firstFresh--;
      return 0;
    }
    const generation = ((this.#numbers[slot] ?? 0) >>> SLOT_BITS) % (GENERATIONS - 1) + 1;
    const number = generation * (SLOT_MASK + 1) + slot;
    this.#jobs[slot] = job;
    this.#definitions[slot] = definition;
    this.#numbers[slot] = number;
    this.#size++;
    definition.users++;
    return number;
  }

  /** The job of a number, if it is still there. */
  get(number: number): Job | undefined {
    const slot = number & SLOT_MASK;
    return this.#numbers[slot] === number ? this.#jobs[slot] : undefined;
  }

  /** The function of a number's job. */
  definition(number: number): Definition | undefined {
    return this.get(number) && this.#definitions[number & SLOT_MASK];
  }

  /** Puts another job in the place of a number's, which is there. */
  replace(number: number, job: Job): void {
    this.#jobs[number & SLOT_MASK] = job;
  }

  /** Takes the job of a number out. */
  remove(number: number): Job | undefined {
    const job = this.get(number);
    if (job === undefined) return undefined;
    const slot = number & SLOT_MASK;
    this.#jobs[slot] = undefined;
    (slot < WATCHED_TASKS ? this.#freeWatched : this.#free).push(slot);
    this.#size--;
    (this.#definitions[slot] as Definition).users--;
    return job;
  }

  /** The numbers of all jobs. */
  numbers(): number[] {
    return this.#numbers.filter((number) => this.get(number) !== undefined);
  }
}
