/** Shared values have the types of their elements. */

import {
  type ElementOf,
  type ElementType,
  Lock,
  RLock,
  SharedArray,
  SharedStruct,
  Value,
} from "@multiprocessing/core";
import { is } from "./expect.ts";

/** One value. */
export function values(value: Value<"i32">, big: Value<"i64">, flag: Value<"bool">): void {
  is<Value<"i32">>()(new Value("i32"));
  is<Value<"d">>()(new Value("d", 1.5, { lock: false }));
  is<number>()(value.value);
  is<bigint>()(big.value);
  is<boolean>()(flag.value);
  is<number>()(new Value("u8", 1).add(1));
  is<bigint>()(new Value("Q", 1n).exchange(2n));
  is<boolean>()(new Value("?", true).value);
  is<Lock | RLock>()(value.getLock());
  value.value += 1;
  big.value += 1n;
  flag.value = !flag.value;
  is<bigint>()(big.compareExchange(1n, 2n));
  new Value("i32", undefined, { lock: undefined });
  new Value("i32", 1, { lock: new Lock() });
  new Value("i32", 1, { lock: new RLock() });

  // @ts-expect-error: 64 bits are a bigint
  new Value("i64", 1);
  // @ts-expect-error: 32 bits are a number
  new Value("i32", 1n);
  // @ts-expect-error: no such type
  new Value("i33");
  // @ts-expect-error: no number
  value.value = "1";
  // @ts-expect-error: no bigint
  big.value = 1;
  // @ts-expect-error: no bigint
  big.add(1);
  // @ts-expect-error: no boolean
  flag.value = 1;
  // @ts-expect-error: no lock
  new Value("i32", 1, { lock: "yes" });
  // @ts-expect-error: another type of element
  const other: Value<"i64"> = value;
  return void other;
}

/** Many values. */
export function arrays(array: SharedArray<"f64">, big: SharedArray<"u64">): void {
  is<SharedArray<"f64">>()(new SharedArray("f64", 8));
  is<SharedArray<"i64">>()(new SharedArray("i64", [1n, 2n]));
  is<SharedArray<"u8">>()(new SharedArray("u8", new Uint8Array(8)));
  is<number>()(array.at(0));
  is<bigint>()(big.at(-1));
  is<number[]>()(array.slice(1));
  is<bigint[]>()([...big]);
  is<number>()(array.length);
  for (const element of new SharedArray("bool", 2)) is<boolean>()(element);
  array.set(0, 1.5);
  is<SharedArray<"f64">>()(array.fill(0));
  const doubles: Float64Array = array.array;
  const longs: BigUint64Array = big.array;
  const iterable: Iterable<number> = array;
  is<Uint8Array>()(new SharedArray("u8", 1).array);

  // @ts-expect-error: 64 bits are a bigint
  new SharedArray("i64", [1, 2]);
  // @ts-expect-error: no numbers
  new SharedArray("f64", ["1"]);
  // @ts-expect-error: no number
  array.set(0, 1n);
  // @ts-expect-error: no bigint
  big.fill(0);
  // @ts-expect-error: not such an array
  const ints: Int32Array = array.array;
  // @ts-expect-error: elements are read by at()
  array[0];
  return void [doubles, longs, iterable, ints];
}

/** Several fields. */
export function structs(): void {
  const point = new SharedStruct({ x: "f64", n: "i64", on: "bool" }, { x: 1.5, n: undefined });
  is<number>()(point.fields.x);
  is<bigint>()(point.fields.n);
  is<boolean>()(point.fields.on);
  point.fields.x = 2;
  point.fields.n += 1n;
  new SharedStruct({ x: "f64" } as const);
  // @ts-expect-error: no bigint
  point.fields.n = 1;
  // @ts-expect-error: no such field
  point.fields.y;
  // @ts-expect-error: no such field
  new SharedStruct({ x: "f64" }, { y: 1 });
  // @ts-expect-error: no number
  new SharedStruct({ x: "f64" }, { x: "1" });
  // @ts-expect-error: no such type
  new SharedStruct({ x: "float" });
}

/** Types by their names. */
export function elements(): void {
  const number: ElementOf<"i32" | "f64" | "b"> = 1;
  const bigint: ElementOf<"i64" | "q"> = 1n;
  const type: ElementType = "f32";
  is<Value<ElementType>>()(new Value<ElementType>(type));
  is<number | bigint | boolean>()(new Value<ElementType>(type).value);
  return void [number, bigint];
}
