/**
 * Cells of several types in one block, by name.
 *
 * Laid out as in C: in the order of the schema, each cell at a multiple of its size. Every process makes
 * the same layout of the same schema.
 *
 * @module
 */

import { type Cells, newCells } from "./cell.ts";
import { bytesOf, type CellType } from "./element.ts";

/** Names and types; not an object, whose keys cannot be any text. */
export type Schema = readonly (readonly [name: string, type: CellType])[];

/** One cell of a record, at index 0. */
export interface Field {
  readonly name: string;
  readonly type: CellType;
  readonly cells: Cells<unknown>;
}

/** The memory of a record, all zero. */
export function newRecordBuffer(schema: Schema): SharedArrayBuffer {
  const offsets = offsetsOf(schema);
  return new SharedArrayBuffer(offsets.at(-1) as number);
}

/** The cells of a record. */
export function fieldsOf(schema: Schema, buffer: SharedArrayBuffer): Field[] {
  const offsets = offsetsOf(schema);
  return schema.map(([name, type], index) => ({
    name,
    type,
    cells: newCells(type, buffer, offsets[index] as number, 1),
  }));
}

/** Where each cell begins, and where the last one ends. */
function offsetsOf(schema: Schema): number[] {
  let end = 0;
  const offsets = schema.map(([, type]) => {
    const bytes = bytesOf(type);
    const offset = Math.ceil(end / bytes) * bytes;
    end = offset + bytes;
    return offset;
  });
  return [...offsets, end];
}
