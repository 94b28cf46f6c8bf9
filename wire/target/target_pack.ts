import { EncodingError } from "../../errors.ts";
import type { Transferable } from "../../runtime/port.ts";
import type { Destination } from "../codec/shareable.ts";
import { pack } from "../packet.ts";
import type { Packed, TargetRef } from "../protocol.ts";

/**
 * Encodes a function for a port; see {@linkcode pack}.
 *
 * @throws {EncodingError} If a value of its scope cannot be sent; the message has the variable's name.
 */
export function packTarget(
  ref: TargetRef,
  transfer: Transferable[],
  destination?: Destination,
): Packed {
  return namingVariables(ref, () => pack(ref, "scope", transfer, [], destination));
}

/** Lets an error about a value in a function's scope say `scope.lock`, not where it is in the reference. */
export function namingVariables<R>(ref: TargetRef, encode: () => R): R {
  try {
    return encode();
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new EncodingError(
      error.message.replace(
        /^Cannot send scope((?:\.scope\[\d+\]\[1\]\.(?:value|target))+)/,
        (_, path: string) => `Cannot send scope${variables(ref, path)}`,
      ),
      { cause: error.cause },
    );
  }
}

/** The names of variables on a path; a closure may be in the scope of another. */
function variables(ref: TargetRef, path: string): string {
  let names = "";
  let inner: TargetRef | undefined = ref;
  for (const [, index] of path.matchAll(/\[(\d+)\]\[1\]/g)) {
    if (inner?.kind !== "source") break;
    const [name, binding]: typeof inner.scope[number] = inner.scope[Number(index)]!;
    names += `.${name}`;
    inner = binding.kind === "target" ? binding.target : undefined;
  }
  return names;
}
