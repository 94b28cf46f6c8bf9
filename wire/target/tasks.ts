/**
 * What `task()` and `closure()` have noted about functions.
 *
 * Both ends keep the registry of tasks: the sender asks it for the name of a function, the receiver
 * for the function of a name. Scopes are the sender's alone.
 *
 * @module
 */

/** Any function: what it takes and returns is between the user's two ends. */
export type AnyFunction = (...args: never[]) => unknown;

/** Where a marked function is found. */
export interface TaskName {
  /** URL of the module that marked it. */
  module: string;
  /** The function's name, unique within the module. */
  name: string;
}

const byModule = new Map<string, Map<string, AnyFunction>>();
const byFunction = new WeakMap<AnyFunction, TaskName>();
const scopes = new WeakMap<AnyFunction, { scope: Record<string, unknown> }>();

/**
 * Registers a function under its module's URL and its own name.
 *
 * @param module URL of the module.
 * @param name The function's name.
 * @param fn The function.
 * @returns Whether the name was free; if not, nothing has changed.
 */
export function registerTask(module: string, name: string, fn: AnyFunction): boolean {
  let tasks = byModule.get(module);
  if (tasks === undefined) byModule.set(module, tasks = new Map());
  if (tasks.has(name)) return false;
  tasks.set(name, fn);
  byFunction.set(fn, { module, name });
  return true;
}

/**
 * Where a function is registered.
 *
 * @param fn Any function.
 * @returns Its module and name, or `undefined` if it is no task.
 */
export function taskName(fn: AnyFunction): TaskName | undefined {
  return byFunction.get(fn);
}

/**
 * The function that a module has registered under a name.
 *
 * @param module URL of the module.
 * @param name The name.
 * @returns The function, or `undefined` if the module has registered none of that name.
 */
export function taskNamed(module: string, name: string): AnyFunction | undefined {
  return byModule.get(module)?.get(name);
}

/**
 * Notes the values of a function's free names.
 *
 * @param fn The function.
 * @param scope Free name → value. Read when the function is sent.
 */
export function setScope(fn: AnyFunction, scope: Record<string, unknown>): void {
  scopes.set(fn, { scope });
}

/**
 * The scope that a function was given.
 *
 * @param fn Any function.
 * @returns The scope, or `undefined` if it is no closure.
 */
export function scopeOf(fn: AnyFunction): Record<string, unknown> | undefined {
  return scopes.get(fn)?.scope;
}

/** What a function is known by to whoever has sent it: another object after each `closure()`. */
export function sendingKey(target: unknown): unknown {
  return scopes.get(target as AnyFunction) ?? target;
}

/**
 * Whether a name may stand in a closure's scope. Strict mode binds neither `eval` nor `arguments`.
 *
 * @param name The name.
 * @returns Whether it is an identifier, reserved words aside: those are never free.
 */
export function isScopeName(name: string): boolean {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u.test(name) &&
    name !== "eval" && name !== "arguments";
}
