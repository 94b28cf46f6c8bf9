/**
 * Any value that structured clone takes, as a flat table of plain data and back: the thorough half
 * of the codec.
 *
 * ```text
 *   const a = { when: new Date(0) }; a.self = a;
 *
 *   root   [0]                                a slot: the thing itself or, as [n], node n
 *   keys   ["when", "self"]                   each property key once
 *   nodes  0: [OBJECT, 0, [1], 1, [0]]        kind, then what the kind says: key, slot, key, slot
 *          1: [DATE, 0]
 *   blobs  the contents of buffers, end to end
 * ```
 *
 * Being flat, the table keeps cycles and shared references, and no depth of nesting exhausts the
 * stack at either end. Which kinds there are, and what their parts mean, is in `kinds.ts`.
 *
 * @module
 */

import { EncodingError } from "../../errors.ts";
import { describe, show } from "../../memory/show.ts";
import { kindOf } from "./kind_of.ts";
import { ATTACHED, type Kind, KINDS, Unsendable } from "./kinds.ts";
import type { EncodeOptions } from "./codec.ts";
import { isPlainPrimitive, type PlainPrimitive } from "./plain.ts";
import type { Destination, Passage } from "./shareable.ts";
import { Transfer } from "./transfer.ts";

/** A plain primitive or, as an array of one, the number of a node. */
export type Slot = PlainPrimitive | [node: number];

/** The number of the node's kind, and what the kind put behind it. */
export type Node = [kind: number, ...parts: Slot[]];

/** How a thing is reached from the one that holds it: by key, by index, or as said. */
export type Step = string | number | (() => string);

/** The table; the blobs travel behind it. */
export type Graph = [root: Slot, keys: Slot[], nodes: Node[]];

/** A node in the making, and where its source was found first. */
interface Entry {
  source: unknown;
  kind: Kind;
  parent: number;
  step: Step | undefined;
  node: Node | undefined;
}

/** How deep errors within errors cross as what they are; this is the one thing that recurses. */
const MAX_TRIALS = 100;

/** Turns one value into a table. */
export class GraphWriter implements Destination {
  /** What bytes cannot hold. */
  readonly attachments: unknown[] = [];
  /** What is moved rather than copied. */
  readonly moved: Set<object> = new Set();
  /** The contents of the buffers that are copied. */
  readonly blobs: Uint8Array[] = [];
  /** Number of bytes in the blobs. */
  blobBytes = 0;
  /** What depends on how the value fares. */
  readonly passages: Passage[] = [];
  /** The process that it is for, if that is known. */
  readonly to: number | undefined;
  /** The step that is being taken, for the path of an error. */
  reading: Step | undefined;

  readonly #root: string;
  readonly #movable: ReadonlySet<unknown> | undefined;
  readonly #refuse: ((what: string) => string) | undefined;
  readonly #entries: Entry[] = [];
  readonly #indices: Map<unknown, number> = new Map();
  readonly #keys: Map<string, number> = new Map();
  /** Nodes that depend on what is moved, which is known at the end only. */
  readonly #late: number[] = [];
  #current = -1;
  #trials = 0;

  /**
   * Begins an empty table.
   *
   * @param options What the value is called in errors, where it goes, and what in it is moved.
   */
  constructor({ root = "value", to, movable, refuse }: EncodeOptions) {
    this.#root = root;
    this.to = to;
    this.#movable = movable;
    this.#refuse = refuse;
  }

  /**
   * Makes the table of a value.
   *
   * @param value The value.
   * @param transferables What is moved, wherever it stands, besides what {@linkcode Transfer} marks.
   * @returns The table.
   * @throws {EncodingError} If something in the value cannot be sent.
   */
  write(value: unknown, transferables: readonly unknown[]): Graph {
    try {
      this.#move(transferables);
      const root = this.slot(value);
      this.#expandFrom(0);
      this.#settle();
      const { length } = this.#entries;
      const keys = [...this.#keys.keys()].map((key) => this.slot(key));
      this.#expandFrom(length);
      return [root, keys, this.#entries.map((entry) => entry.node!)];
    } catch (thrown) {
      this.#lose(0);
      throw this.#refusal(thrown);
    }
  }

  /** Gives up what depends on parts that are not sent after all. */
  #lose(from: number): void {
    for (const passage of this.passages.splice(from)) passage.lost?.();
  }

  /** The slot of a value found at `step` of the thing that is being taken apart. */
  slot(value: unknown, step?: Step): Slot {
    if (isPlainPrimitive(value)) return value;
    this.reading = step;
    let source = value;
    while (source instanceof Transfer) {
      this.#move(source.transferables);
      source = source.value;
    }
    if (isPlainPrimitive(source)) return source;
    let index = this.#indices.get(source);
    if (index === undefined) {
      const entry = { source, kind: kindOf(source), parent: this.#current, step, node: undefined };
      index = this.#entries.push(entry) - 1;
      this.#indices.set(source, index);
    }
    return [index];
  }

  /** As {@linkcode slot}, but what cannot be sent, however deep, leaves no trace and is `null`. */
  trySlot(value: unknown, step: Step): { slot: Slot } | null {
    if (isPlainPrimitive(value)) return { slot: value };
    if (this.#trials === MAX_TRIALS) return null;
    const { length } = this.#entries;
    const current = this.#current;
    const late = this.#late.length;
    const attached = this.attachments.length;
    const passages = this.passages.length;
    this.#trials++;
    try {
      const slot = this.slot(value, step);
      this.#expandFrom(length);
      return { slot };
    } catch {
      for (const { source } of this.#entries.splice(length)) this.#indices.delete(source);
      this.#late.length = late;
      this.attachments.length = attached;
      this.#lose(passages);
      return null;
    } finally {
      this.#trials--;
      this.#current = current;
    }
  }

  /** The number of a property key, which is about to be read. */
  key(key: string): number {
    this.reading = key;
    let index = this.#keys.get(key);
    if (index === undefined) this.#keys.set(key, index = this.#keys.size);
    return index;
  }

  /** Throws if nothing may stand beside the bytes, and a thing of this class would have to. */
  checkAttachable(what: string): void {
    if (this.#refuse !== undefined) throw new Unsendable(this.#refuse(what));
  }

  /** Puts a value beside the bytes; returns its index there. */
  attach(value: unknown): number {
    this.checkAttachable(Object(value).constructor?.name ?? "object");
    return this.attachments.push(value) - 1;
  }

  /** Puts the contents of a buffer behind the table; returns where they begin. */
  append(buffer: ArrayBuffer): number {
    const offset = this.blobBytes;
    this.blobs.push(new Uint8Array(buffer));
    this.blobBytes += buffer.byteLength;
    return offset;
  }

  /** Puts off the decision whether the thing that is being taken apart is moved or copied. */
  settleLater(mustMove = false): void {
    const { source } = this.#entries[this.#current]!;
    if (this.#movable?.has(source)) this.moved.add(source as object);
    // What an error carries along is given up now, rather than fail the error at the end.
    if (mustMove && this.#trials > 0 && !this.moved.has(source as object)) {
      throw new Unsendable("it is not among what is moved");
    }
    this.#late.push(this.#current);
  }

  #move(transferables: readonly unknown[]): void {
    checkMoved(transferables);
    for (const each of transferables) this.moved.add(each as object);
  }

  #expandFrom(start: number): void {
    for (let index = start; index < this.#entries.length; index++) {
      const entry = this.#entries[index]!;
      if (entry.node !== undefined) continue; // Already, as part of an error.
      this.#current = index;
      this.reading = undefined;
      entry.node = [entry.kind.tag];
      entry.kind.flatten(entry.source, entry.node, this);
    }
    this.#current = -1;
  }

  #settle(): void {
    for (const index of this.#late) {
      const entry = this.#entries[index]!;
      const { source, kind, parent, step } = entry;
      this.#current = parent;
      this.reading = step;
      if (this.moved.has(source as object)) entry.node = [ATTACHED.tag, this.attach(source)];
      else kind.settle!(source, entry.node!, this);
    }
    this.#current = -1;
    const present = new Set(this.attachments);
    for (const each of this.moved) if (!present.has(each)) this.attach(each);
  }

  #refusal(thrown: unknown): EncodingError {
    const steps = [this.reading];
    for (let at = this.#current; at >= 0; at = this.#entries[at]!.parent) {
      steps.push(this.#entries[at]!.step);
    }
    const path = this.#root + steps.reverse().map(stepText).join("");
    if (thrown instanceof Unsendable) {
      return new EncodingError(`Cannot send ${path}: ${thrown.text}`);
    }
    const reason = `reading it threw ${describe(thrown)}`;
    return new EncodingError(`Cannot send ${path}: ${reason}`, { cause: thrown });
  }
}

/**
 * Checks a list of what is to be moved, before anything is sent.
 *
 * @param verb What was called, for errors.
 * @param transferables The list.
 * @throws {EncodingError} If it holds what cannot be moved, or the same thing twice.
 */
export function checkTransferables(verb: string, transferables: readonly unknown[]): void {
  try {
    checkMoved(transferables);
  } catch (thrown) {
    throw thrown instanceof Unsendable
      ? new EncodingError(`Cannot ${verb}: ${thrown.text}`)
      : thrown;
  }
}

function checkMoved(transferables: readonly unknown[]): void {
  if (new Set(transferables).size < transferables.length) {
    throw new Unsendable("its list of transferables names one of them twice");
  }
  for (const each of transferables) {
    if (typeof each !== "object" || each === null || kindOf(each).settle === undefined) {
      throw new Unsendable(
        `its list of transferables holds ${show(each)}, which cannot be moved`,
        "list ArrayBuffers, MessagePorts and streams only",
      );
    }
    if (each instanceof ArrayBuffer && each.detached) {
      throw new Unsendable(
        "its list of transferables holds an ArrayBuffer that was moved before",
        "move a copy, buffer.slice()",
      );
    }
  }
}

function stepText(step: Step | undefined): string {
  if (step === undefined) return "";
  if (typeof step === "function") return step();
  if (typeof step === "number") return `[${step}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(step)
    ? `.${step}`
    : `[${JSON.stringify(step)}]`;
}

const UNMADE = Symbol("unmade");
const IN_THE_MAKING = Symbol("in the making");

/** Turns a table back into its value. Trusts nothing it is given. */
export class GraphReader {
  readonly #graph: Graph;
  readonly #blobs: Uint8Array;
  readonly #attachments: readonly unknown[];
  readonly #made: unknown[];
  readonly #unfilled: number[] = [];
  /** Bytes of the blobs that have been copied. */
  #copied = 0;

  /**
   * Looks at a table.
   *
   * @param graph What should be a table.
   * @param blobs The contents of its buffers.
   * @param attachments What travelled beside the bytes.
   */
  constructor(graph: unknown, blobs: Uint8Array, attachments: readonly unknown[]) {
    if (!Array.isArray(graph) || !Array.isArray(graph[1]) || !Array.isArray(graph[2])) {
      throw new Error("there is no table in it");
    }
    this.#graph = graph as Graph;
    this.#blobs = blobs;
    this.#attachments = attachments;
    this.#made = new Array(graph[2].length).fill(UNMADE);
  }

  /** Makes the value. */
  read(): unknown {
    return this.complete(this.#graph[0]);
  }

  /** What a slot stands for, with all that is in it. */
  complete(slot: Slot | undefined): unknown {
    // Not what others have left unfilled: that may hold the very thing being made of this.
    const floor = this.#unfilled.length;
    const value = this.value(slot);
    while (this.#unfilled.length > floor) {
      const index = this.#unfilled.pop()!;
      const node = this.#graph[2][index]!;
      KINDS[node[0]]!.fill!(this.#made[index], node, this);
    }
    return value;
  }

  /** What a slot stands for; arrays, objects and their like may still be empty. */
  value(slot: Slot | undefined): unknown {
    if (Array.isArray(slot)) return this.#node(slot[0]);
    if (typeof slot === "object" && slot !== null) throw new Error("a slot holds an object");
    return slot;
  }

  /** The text that a slot stands for. */
  text(slot: Slot | undefined): string {
    const value = this.value(slot);
    if (typeof value === "string") return value;
    throw new Error("a text is not a string");
  }

  /** The property key of that number. */
  key(index: Slot | undefined): string {
    return this.text(this.#graph[1][index as number]);
  }

  /** Copies the contents of a buffer. */
  blob(offset: Slot | undefined, length: Slot | undefined): ArrayBuffer {
    const { buffer, byteOffset, byteLength } = this.#blobs;
    const [start, size] = [Number(offset), Number(length)];
    if (!(start >= 0 && size >= 0 && start + size <= byteLength)) {
      throw new Error("a buffer reaches beyond the message");
    }
    // Else a short message could make many large buffers of the same bytes.
    if ((this.#copied += size) > byteLength) throw new Error("two buffers have the same bytes");
    return buffer.slice(byteOffset + start, byteOffset + start + size) as ArrayBuffer;
  }

  /** What travelled beside the bytes as that number. */
  attachment(index: Slot | undefined): unknown {
    if (isIndexOf(this.#attachments, index)) return this.#attachments[index];
    throw new Error(`attachment ${String(index)} of ${this.#attachments.length} is missing`);
  }

  #node(index: unknown): unknown {
    if (!isIndexOf(this.#made, index)) throw new Error(`there is no node ${describe(index)}`);
    const made = this.#made[index];
    if (made === IN_THE_MAKING) throw new Error("a shareable is a part of itself");
    if (made !== UNMADE) return made;
    const node = this.#graph[2][index];
    const tag = Array.isArray(node) ? node[0] : undefined;
    const kind = isIndexOf(KINDS, tag) ? KINDS[tag] : undefined;
    if (kind === undefined) throw new Error(`node ${index} is of no known kind`);
    this.#made[index] = IN_THE_MAKING;
    this.#made[index] = kind.create(node!, this);
    if (kind.fill !== undefined) this.#unfilled.push(index);
    return this.#made[index];
  }
}

/** Whether a list has an element of that number: a text such as "length" or "__proto__" is none. */
function isIndexOf(list: readonly unknown[], index: unknown): index is number {
  return typeof index === "number" && Object.hasOwn(list, index);
}
