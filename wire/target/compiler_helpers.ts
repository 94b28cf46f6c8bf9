/**
 * The small functions that compilers add at the top of a file and call from within the functions of
 * it. A function that is sent on its own gets those that it uses as part of its source.
 *
 * Only helpers with a fixed name are here; a minifier's short names cannot be told from the user's.
 *
 * @module
 */

/** Name of a helper → a JavaScript expression for it. It may use those that stand above it. */
export const COMPILER_HELPERS: ReadonlyMap<string, string> = new Map(Object.entries({
  // esbuild with keepNames, and so tsx.
  __name: `(fn, value) => Object.defineProperty(fn, "name", { value, configurable: true })`,

  // esbuild for older targets.
  __async: `(self, args, body) => new Promise((resolve, reject) => {
    const step = (method, value) => {
      try {
        const result = steps[method](value);
        if (result.done) resolve(result.value);
        else Promise.resolve(result.value).then((v) => step("next", v), (e) => step("throw", e));
      } catch (error) { reject(error); }
    };
    const steps = body.apply(self, args);
    step("next");
  })`,
  __pow: `Math.pow`,
  __publicField: `(object, key, value) => {
    Object.defineProperty(object, typeof key === "symbol" ? key : key + "", {
      value, writable: true, enumerable: true, configurable: true,
    });
    return value;
  }`,
  __spreadValues: `(target, source) => {
    for (const key of Reflect.ownKeys(source ?? {})) {
      const { enumerable } = Object.getOwnPropertyDescriptor(source, key) ?? {};
      if (enumerable) {
        Object.defineProperty(target, key, {
          value: source[key], writable: true, enumerable, configurable: true,
        });
      }
    }
    return target;
  }`,
  __spreadProps: `(target, source) =>
    Object.defineProperties(target, Object.getOwnPropertyDescriptors(source))`,
  __objRest: `(source, excluded) => {
    const rest = { ...source };
    for (const key of excluded) delete rest[key];
    return rest;
  }`,

  // "using" of esbuild, and of bun build for targets other than Bun.
  __using: `(stack, value, async) => {
    if (value == null) {
      if (async) stack.push([async]);
      return value;
    }
    if (typeof value !== "object" && typeof value !== "function") throw TypeError("Object expected");
    const later = async ? value[Symbol.asyncDispose] : undefined;
    const dispose = later ?? value[Symbol.dispose];
    if (typeof dispose !== "function") throw TypeError("Object not disposable");
    stack.push([async, later || !async ? dispose : function () {
      try { dispose.call(this); } catch (error) { return Promise.reject(error); }
    }, value]);
    return value;
  }`,
  __callDispose: `(stack, error, failed) => {
    const fail = (e) => {
      if (!failed) error = e;
      else if (typeof SuppressedError === "function") error = new SuppressedError(e, error);
      else error = Object.assign(Error(), { name: "SuppressedError", error: e, suppressed: error });
      failed = true;
    };
    const next = () => {
      for (let entry; entry = stack.pop();) {
        try {
          const result = entry[1]?.call(entry[2]);
          if (entry[0]) {
            return Promise.resolve(result).then(next, (e) => (fail(e), next()));
          }
        } catch (e) { fail(e); }
      }
      if (failed) throw error;
    };
    return next();
  }`,

  // "using" of the TypeScript compiler.
  __addDisposableResource: `(env, value, async) => __using(env.stack, value, async)`,
  __disposeResources: `(env) => __callDispose(env.stack, env.error, env.hasError)`,
}));

/**
 * Gives an expression the helpers that it uses.
 *
 * @param expression A JavaScript expression.
 * @param free The names that are free in it.
 * @returns An expression of the same value, in which the helpers among those names are declared.
 */
export function withHelpers(expression: string, free: ReadonlySet<string>): string {
  let declarations = "";
  for (const [name, source] of [...COMPILER_HELPERS].reverse()) {
    if (free.has(name) || declarations.includes(`${name}(`)) {
      declarations = `const ${name} = ${source};\n${declarations}`;
    }
  }
  return declarations === "" ? expression : `(() => {\n${declarations}return ${expression};\n})()`;
}
