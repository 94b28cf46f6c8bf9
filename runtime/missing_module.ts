import { pathToFileURL } from "node:url";

/**
 * Whether an import failed because there is no such module, rather than none of those that it imports.
 *
 * @param error What the import failed with.
 * @param url The absolute URL that was imported.
 */
export function isMissing(error: unknown, url: string): boolean {
  const { code, url: ofNode, specifier: ofBun, message: ofDeno } = Object(error);
  if (code !== "ERR_MODULE_NOT_FOUND") return false;
  if (typeof ofNode === "string") return ofNode === url;
  // An absolute path, if no module asked for it.
  if (typeof ofBun === "string") return ofBun === url || pathToFileURL(ofBun).href === url;
  return ofDeno === `Module not found "${url}".`;
}
