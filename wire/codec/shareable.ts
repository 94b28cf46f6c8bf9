/**
 * The classes whose instances cross as live handles: by kind, and the parts to rebuild them from.
 *
 * Each shareable class registers itself in the module that defines it, in every process alike. They
 * all live in shared memory, so a message without attachments holds none of them: only one that has
 * attachments makes a process load those modules.
 *
 * @module
 */

/** What depends on how the message fares that an instance was taken apart for. */
export interface Passage {
  /** Called when the process that it is for has been started. */
  sent?(): void;
  /** Called when it goes nowhere: something else in it cannot be sent, or there was no room. */
  lost?(): void;
}

/** Where a message goes. */
export interface Destination {
  /** The process, if it is known. */
  readonly to: number | undefined;
  /** Takes what depends on the message. */
  readonly passages: Passage[];
}

/** How the instances of one class cross. */
export interface Shareable {
  /** Names the class on the wire. */
  readonly kind: string;
  /** Takes an instance apart into values that can be encoded. */
  readonly toParts: (instance: object, destination: Destination) => unknown;
  /** Makes an instance of the parts. */
  readonly fromParts: (parts: unknown) => object;
}

const byPrototype = new Map<object, Shareable>();
const byKind = new Map<string, Shareable>();

/**
 * Makes the instances of a class shareable.
 *
 * The parts are encoded like any other value: they may hold SharedArrayBuffers and other shareables,
 * but never the instance itself. **Subclasses** that register themselves cross as what they are;
 * those that do not cross as the nearest class above them that did.
 *
 * @param kind Names the class on the wire, alike in every process.
 * @param ctor The class.
 * @param toParts Takes an instance apart; called once for each message.
 * @param fromParts Makes an instance of the parts.
 * @throws {TypeError} If the kind is taken by another class.
 */
export function registerShareable<T extends object>(
  kind: string,
  ctor: new (...args: never[]) => T,
  toParts: (instance: T, destination: Destination) => unknown,
  fromParts: (parts: unknown) => T,
): void {
  const taken = byKind.get(kind);
  if (taken !== undefined && taken !== byPrototype.get(ctor.prototype)) {
    throw new TypeError(
      `Cannot register ${ctor.name} as shareable: the kind "${kind}" is taken by another class`,
    );
  }
  const shareable = { kind, toParts: toParts as Shareable["toParts"], fromParts };
  byPrototype.set(ctor.prototype, shareable);
  byKind.set(kind, shareable);
}

/**
 * Finds the class that has this very prototype.
 *
 * @param prototype A prototype of the instance's chain.
 * @returns How its instances cross, `undefined` if they are not shareable.
 */
export function shareableWith(prototype: object): Shareable | undefined {
  return byPrototype.get(prototype);
}

/**
 * Finds the class of a kind.
 *
 * @param kind The name on the wire.
 * @returns How its instances cross, `undefined` if this process has not registered the kind.
 */
export function shareableNamed(kind: string): Shareable | undefined {
  return byKind.get(kind);
}

let loadClasses: () => Promise<unknown> = () => Promise.resolve();

/** Sets how the library's shareable classes are loaded, for a process that may not know them yet. */
export function onMissingShareable(load: () => Promise<unknown>): void {
  loadClasses = load;
}

/** Loads the library's shareable classes: before a message is decoded that may hold their instances. */
export async function loadShareables(): Promise<void> {
  await loadClasses();
}
