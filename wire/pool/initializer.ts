import { EncodingError } from "../../errors.ts";
import { show } from "../../memory/show.ts";
import { pack } from "../packet.ts";
import { packTarget } from "../target/target_pack.ts";
import type { PackedCall } from "../protocol.ts";
import { describeTarget } from "../target/target_ref.ts";
import type { Transferable } from "../../runtime/port.ts";

/**
 * Makes what each worker of a pool calls before its first task.
 *
 * @throws {TargetError} If the function cannot be sent.
 * @throws {EncodingError} If the arguments cannot be sent to more than one.
 */
export function packInitializer(target: unknown, args: unknown[]): PackedCall {
  const isExport = typeof target === "object" && target !== null && "module" in target;
  if (typeof target !== "function" && !isExport) {
    throw new TypeError(
      "Cannot create Pool: 'initializer' must be a function or { module, name }, but is " +
        show(target),
    );
  }
  const moved: Transferable[] = [];
  const packed = {
    target: packTarget(describeTarget(target), moved),
    args: pack(args, "initargs", moved),
  };
  if (moved.length === 0) return packed;
  throw new EncodingError(
    "Cannot send initargs: every worker of a pool gets them, so nothing in them can be moved; " +
      "give them without transfer()",
  );
}
