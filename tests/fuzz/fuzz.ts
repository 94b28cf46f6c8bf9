/** Decodes forged messages, one after the other, and watches what each of them costs. */

import process from "node:process";
import { corpus, type Message } from "./corpus.ts";
import { forge } from "./forge.ts";
import { checkDecode, fingerprint } from "./oracle.ts";
import { Random } from "./random.ts";

/** No message may keep its reader for so long, in milliseconds. */
const MAX_MS = 1000;

/** Nor make it allocate more than so much. Engines allocate in steps, and count late. */
const MAX_GROWTH = 64 * 2 ** 20;

/** Globals are looked at after so many messages. */
const LOOK_EVERY = 5000;

/** Which messages to decode. */
export interface FuzzOptions {
  seed: number;
  /** The number of the first message. */
  from?: number;
  /** How many. */
  count: number;
  /** Called with the number of each message before it is decoded. */
  onMessage?: (number: number) => void;
}

/** What came of it. */
export interface Figures {
  values: number;
  errors: number;
  /** The longest that one message took, in milliseconds. */
  slowest: number;
  /** The most that the memory in use grew by one message, in bytes. */
  growth: number;
  /** The longest message, in bytes. */
  longest: number;
}

function memoryInUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Whether it is the message that takes its time, and not a busy machine: a machine is not always busy. */
function isSlow(message: Message): boolean {
  return [1, 2, 3].every(() => {
    const begun = performance.now();
    checkDecode(message);
    return performance.now() - begun > MAX_MS;
  });
}

/**
 * Decodes forged messages: the same ones for the same seed and numbers.
 *
 * @throws {Error} If one of them does harm; it says which.
 */
export function fuzz({ seed, from = 0, count, onMessage }: FuzzOptions): Figures {
  const messages = corpus();
  const before = fingerprint();
  const figures = { values: 0, errors: 0, slowest: 0, growth: 0, longest: 0 };
  let memory = memoryInUse();
  for (let number = from; number < from + count; number++) {
    onMessage?.(number);
    const message = forge(messages, new Random(seed, number));
    const hurt = (text: string, cause?: unknown) => {
      const { bytes, attachments } = message;
      const hex = Array.from(bytes.subarray(0, 400), (byte) => byte.toString(16).padStart(2, "0"));
      return new Error(
        `Message ${number} of seed ${seed} (${bytes.length} bytes, ${attachments.length} ` +
          `attachments: ${hex.join(" ")}): ${text}`,
        { cause },
      );
    };
    const begun = performance.now();
    try {
      figures[`${checkDecode(message)}s`]++;
    } catch (error) {
      throw hurt(error instanceof Error ? error.message : String(error), error);
    }
    const time = performance.now() - begun;
    // Since the last one: what it took to forge this one is little.
    const inUse = memoryInUse();
    const growth = inUse - memory;
    memory = inUse;
    if (time > MAX_MS && isSlow(message)) throw hurt(`It took ${time} ms, and more than once`);
    if (growth > MAX_GROWTH) throw hurt(`It allocated ${growth} bytes`);
    figures.slowest = Math.max(figures.slowest, time);
    figures.growth = Math.max(figures.growth, growth);
    figures.longest = Math.max(figures.longest, message.bytes.length);
    const looks = (number + 1) % LOOK_EVERY === 0 || number + 1 === from + count;
    if (looks && fingerprint() !== before) {
      throw hurt(`It, or one of the ${LOOK_EVERY} before, changed a global`);
    }
  }
  return figures;
}
