/**
 * Which kind a thing is of: by the prototypes it has, and for strangers by what structured clone
 * makes of them.
 *
 * @module
 */

import {
  ARRAY,
  ATTACHED,
  BIGINT,
  BOXED,
  BUFFER,
  DATE,
  ERROR,
  globalClass,
  isOfGlobalClass,
  type Kind,
  MAP,
  MOVABLE,
  MOVABLE_CLASSES,
  NEGATIVE0,
  OBJECT,
  REGEXP,
  SET,
  SHAREABLE,
  SPARSE,
  STRING,
  Unsendable,
  VIEW,
} from "./kinds.ts";
import { isDense } from "./plain.ts";
import { shareableWith } from "./shareable.ts";
import { TYPED_ARRAY_PROTOTYPE } from "./views.ts";

const byPrototype = new Map<object | undefined, Kind>([
  [Object.prototype, OBJECT],
  [Map.prototype, MAP],
  [Set.prototype, SET],
  [Date.prototype, DATE],
  [RegExp.prototype, REGEXP],
  [Number.prototype, BOXED],
  [String.prototype, BOXED],
  [Boolean.prototype, BOXED],
  [BigInt.prototype, BOXED],
  [ArrayBuffer.prototype, BUFFER],
  [SharedArrayBuffer.prototype, ATTACHED],
  [TYPED_ARRAY_PROTOTYPE, VIEW],
  [DataView.prototype, VIEW],
  [Error.prototype, ERROR],
  ...MOVABLE_CLASSES.map((name) => [globalClass(name)?.prototype, MOVABLE] as const),
]);

/** What to do instead of sending one of these. */
const MENDS = new Map([
  ["Promise", "await it first"],
  ["Generator", "send an array of its items"],
  ["AsyncGenerator", "send an array of its items"],
  ["Array Iterator", "send an array of its items"],
  ["URL", "send its href"],
  ["URLSearchParams", "send its text"],
  ["Headers", "send an array of its entries"],
  ["Request", "send its URL and what else is needed"],
  ["Response", "send its body, such as await response.bytes()"],
  ["AbortSignal", "give it as the option signal of the call"],
  ["WeakMap", "send a Map"],
  ["WeakSet", "send a Set"],
]);

/** What is refused: prototype → name and mend. */
const refused = new Map<object, readonly [name: string, mend: string]>();

/**
 * Refuses objects of a class, which would arrive as empty objects.
 *
 * @param prototype The prototype of its instances.
 * @param name Its name, whatever a minifier has made of it.
 * @param mend What to do instead of sending one.
 */
export function refuseToSend(prototype: object, name: string, mend: string): void {
  refused.set(prototype, [name, mend]);
}

/**
 * Finds the kind of anything that is not a plain primitive.
 *
 * @param source The thing.
 * @returns Its kind.
 * @throws {Unsendable} If it is of none.
 */
export function kindOf(source: unknown): Kind {
  switch (typeof source) {
    case "string":
      return STRING;
    case "number":
      return NEGATIVE0;
    case "bigint":
      return BIGINT;
    case "object":
      return Array.isArray(source)
        ? isDense(source) ? ARRAY : SPARSE
        : kindOfObject(source as object);
    case "function":
      throw new Unsendable(
        `a function${source.name && ` (${source.name})`} cannot be sent between processes`,
        "send data, or give the function as a target or in the scope of closure()",
      );
    default:
      throw new Unsendable(`a ${typeof source} cannot be sent between processes`, "send its name");
  }
}

function kindOfObject(source: object): Kind {
  const prototype = Object.getPrototypeOf(source);
  if (prototype === Object.prototype) return OBJECT;
  for (let at = prototype; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    const kind = shareableWith(at) === undefined ? byPrototype.get(at) : SHAREABLE;
    if (kind !== undefined) return kind;
    const refusal = refused.get(at);
    if (refusal !== undefined) throw unsendable(...refusal);
  }
  return kindOfStranger(source);
}

/** The kind of an instance of a class of which the table knows nothing. */
function kindOfStranger(source: object): Kind {
  const name = Object.prototype.toString.call(source).slice("[object ".length, -1);
  if (name === "Object") return OBJECT;
  if (name === "Error") return ERROR;
  let clone: object;
  try {
    clone = structuredClone(source);
  } catch {
    // The user's own classes may be tagged too; then what is in the way has a path of its own.
    if (Object.keys(source).length > 0) return OBJECT;
    throw unsendable(name);
  }
  const prototype = Object.getPrototypeOf(clone);
  if (prototype === Object.getPrototypeOf(source)) return ATTACHED;
  if (prototype !== Object.prototype) return asClone(clone);
  // Some of the platform's objects clone to nothing, such as an AbortSignal on Deno and Node.
  if (isOfGlobalClass(source, name)) throw unsendable(name);
  return OBJECT;
}

/** The kind of what is cloned first: a Map of another realm, or a File where that becomes a Blob. */
function asClone(clone: object): Kind {
  const kind = kindOf(clone);
  return { ...kind, flatten: (_source, node, writer) => kind.flatten(clone, node, writer) };
}

function unsendable(name: string, mend: string | undefined = MENDS.get(name)): Unsendable {
  const article = /^[AEIO]/.test(name) ? "an" : "a";
  return new Unsendable(`${article} ${name} cannot be sent between processes`, mend);
}
