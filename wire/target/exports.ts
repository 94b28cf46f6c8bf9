/**
 * The library's own exports by name, so that a closure may mention `Lock` without copying its code.
 *
 * @module
 */

const byName = new Map<string, unknown>();
const byValue = new Map<unknown, string>();

/**
 * Makes exports known by name. Every public module calls it for its own.
 *
 * @param record The exports, as in `registerExports({ Lock, RLock })`.
 */
export function registerExports(record: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(record)) {
    byName.set(name, value);
    byValue.set(value, name);
  }
}

/**
 * Under which name the library exports a value.
 *
 * @param value Any value.
 * @returns The name, or `undefined` if the value is no export of the library.
 */
export function exportName(value: unknown): string | undefined {
  return byValue.get(value);
}

/**
 * What the library exports under a name.
 *
 * @param name The name.
 * @returns The export, or `undefined` if no loaded module of the library has one of that name.
 */
export function exportNamed(name: string): unknown {
  return byName.get(name);
}

let loadAll: () => Promise<unknown> = () => Promise.resolve();

/** Sets how the modules of the library that a process has not loaded yet are loaded. */
export function onMissingExport(load: () => Promise<unknown>): void {
  loadAll = load;
}

/**
 * What the library exports under a name; loads the library's other modules if that takes them.
 *
 * @param name The name.
 * @returns The export, or `undefined` if there is none of that name.
 */
export async function loadExport(name: string): Promise<unknown> {
  if (!byName.has(name)) await loadAll();
  return byName.get(name);
}
