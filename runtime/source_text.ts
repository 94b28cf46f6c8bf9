import { readFileSync } from "node:fs";

/**
 * Reads a source file, for those who want to quote from it or find a place in it. Never asks the user
 * for a permission: what may not be read is not worth a question.
 *
 * @param file A path, or a `file:` URL.
 * @returns The text; undefined if it cannot be read, or only after a question.
 */
export function readSource(file: string): string | undefined {
  try {
    const path = /^file:/i.test(file) ? new URL(file) : file;
    if (typeof Deno !== "undefined") {
      const { state } = Deno.permissions.querySync({ name: "read", path });
      if (state !== "granted") return undefined;
    }
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
