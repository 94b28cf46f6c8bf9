import { checkAlive } from "../memory/control.ts";
import {
  checkType,
  type ElementOf,
  type ElementType,
  isElement,
  misfit,
  textOf,
} from "../memory/element.ts";
import { type Field, fieldsOf, newRecordBuffer, type Schema } from "../memory/record.ts";
import type { Lock, RLock } from "../sync.ts";
import { registerShareable } from "../wire/codec/shareable.ts";
import { registerExports } from "../wire/target/exports.ts";
import { AdoptOptions, checkLock, noLock, type Parts, type SharedOptions } from "./options.ts";

/** How a SharedStruct crosses. */
interface StructParts extends Parts {
  schema: Schema;
}

/**
 * A record of typed fields in one block of shared memory; shareable.
 *
 * **Never torn.** A read of a field gives a value that somebody wrote as a whole. **Not atomic
 * together.** Several fields, and `s.fields.n += 1`, are several steps: hold {@linkcode getLock}.
 * **Death.** A process that dies between two writes leaves some fields old and some new, each of them
 * whole; the next owner of the lock finds its guard `abandoned`. Numbers out of range wrap as in the
 * typed array of the type.
 *
 * Semantics: Python's `multiprocessing.Value` of a `ctypes.Structure`.
 *
 * @typeParam S The element type of each field.
 *
 * @example Usage
 * ```ts
 * import { SharedStruct } from "@multiprocessing/core/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const point = new SharedStruct({ x: "f64", y: "f64", hits: "i32" }, { x: 1.5 });
 * point.fields.y = point.fields.x * 2;
 * point.fields.hits += 1;
 * assertEquals({ ...point.fields }, { x: 1.5, y: 3, hits: 1 });
 * ```
 */
export class SharedStruct<
  S extends Record<string, ElementType> = Record<string, ElementType>,
> {
  /**
   * The fields, enumerable in the order of the schema.
   *
   * `{ ...struct.fields }` copies them, field after field. Assigning what is not of a field's type, or
   * to a name that is no field, throws TypeError.
   */
  readonly fields: { -readonly [K in keyof S]: ElementOf<S[K]> };
  readonly #schema: Schema;
  readonly #buffer: SharedArrayBuffer;
  readonly #lock: Lock | RLock | undefined;

  static {
    registerShareable<SharedStruct>("SharedStruct", SharedStruct, (struct): StructParts => ({
      schema: struct.#schema,
      buffer: struct.#buffer,
      lock: struct.#lock ?? null,
    }), (parts) => {
      const { schema } = parts as StructParts;
      const options = new AdoptOptions(parts as StructParts);
      return new SharedStruct(Object.fromEntries(schema), undefined, options);
    });
  }

  /**
   * Creates a record.
   *
   * @param schema The element type of each field, by its name.
   * @param initial First values of fields; zero or false where undefined.
   * @param options Which lock goes with it.
   * @throws {TypeError} If a type is unknown, `initial` has a field that the schema has not, or one of
   * its values is not of the field's type.
   */
  constructor(
    schema: S,
    initial: { [K in keyof S]?: ElementOf<S[K]> | undefined } = {},
    options: SharedOptions = {},
  ) {
    this.#schema = checkSchema(schema);
    this.#lock = checkLock("SharedStruct", options);
    this.#buffer = options instanceof AdoptOptions ? options.buffer : newRecordBuffer(this.#schema);
    this.fields = propertiesOf(fieldsOf(this.#schema, this.#buffer)) as typeof this.fields;
    if (!isRecord(initial)) {
      throw new TypeError(
        `Cannot create SharedStruct: 'initial' must be an object of values, but is ${
          textOf(initial)
        }`,
      );
    }
    for (const [name, value] of Object.entries(initial)) {
      if (!Object.hasOwn(this.fields, name)) {
        throw unknownField("create", "'initial' has an unknown field", name, this.fields);
      }
      if (value !== undefined) (this.fields as Record<string, unknown>)[name] = value;
    }
  }

  /**
   * The lock that goes with the record.
   *
   * @returns An RLock, or the lock given to the constructor.
   * @throws {TypeError} If the record was created with `lock: false`.
   */
  getLock(): RLock | Lock {
    return this.#lock ?? noLock("SharedStruct");
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkSchema(schema: unknown): Schema {
  if (isRecord(schema)) {
    return Object.entries(schema).map((
      [name, type],
    ) => [name, checkType(`SharedStruct: field '${name}' has`, type)]);
  }
  throw new TypeError(
    `Cannot create SharedStruct: 'schema' must be an object of element types, but is ${
      textOf(schema)
    }`,
  );
}

/** The fields as properties. Writing to any other name throws, also in code that is not strict. */
function propertiesOf(fields: readonly Field[]): object {
  const guard = new Proxy({}, {
    set(_target, name) {
      throw unknownField("write", "there is no field", String(name), properties);
    },
  });
  const properties: object = Object.create(guard);
  for (const { name, type, cells } of fields) {
    Object.defineProperty(properties, name, {
      enumerable: true,
      get: () => cells.load(0),
      set(value) {
        checkAlive();
        if (!isElement(type, value)) throw misfit(`SharedStruct: field '${name}'`, type, value);
        cells.store(0, value);
      },
    });
  }
  return Object.preventExtensions(properties);
}

function unknownField(verb: string, text: string, name: string, fields: object): TypeError {
  const known = Object.keys(fields).join(", ") || "none";
  return new TypeError(`Cannot ${verb} SharedStruct: ${text} '${name}'; known are ${known}`);
}

registerExports({ SharedStruct });
