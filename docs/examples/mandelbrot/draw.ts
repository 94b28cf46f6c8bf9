/** Draws the Mandelbrot set, a row of pixels at a time: the work of several examples. */

import { task } from "@multiprocessing/core";

/** What is drawn: a part of the complex plane, and how finely. */
export interface View {
  /** The middle of the picture. */
  x: number;
  y: number;
  /** How much of the plane lies between the left and the right edge. */
  span: number;
  /** Pixels. */
  width: number;
  height: number;
  /** A point that has not left by so many steps belongs to the set, and is black. */
  depth: number;
}

/** The whole set. */
export const WHOLE = { x: -0.6, y: 0, span: 3.6 };

/** How many steps it takes a point to leave, with a fraction that makes colours smooth. */
function stepsOf(cx: number, cy: number, depth: number): number {
  let x = 0;
  let y = 0;
  for (let step = 0; step < depth; step++) {
    const xx = x * x;
    const yy = y * y;
    if (xx + yy > 256) return step + 4 - Math.log2(Math.log2(xx + yy));
    y = 2 * x * y + cy;
    x = xx - yy + cx;
  }
  return Infinity;
}

/** The pixels of one row: red, green and blue, a byte each. */
export const drawRow = task(import.meta, function drawRow(view: View, row: number): Uint8Array {
  const { x, y, span, width, height, depth } = view;
  const pixels = new Uint8Array(3 * width);
  const cy = y + (height / 2 - row - 0.5) * span / width;
  for (let column = 0; column < width; column++) {
    const steps = stepsOf(x + (column + 0.5 - width / 2) * span / width, cy, depth);
    if (steps === Infinity) continue;
    // Three waves, one behind the other, give all colours in turn.
    pixels[3 * column] = 127.5 - 127.5 * Math.cos(0.15 * steps);
    pixels[3 * column + 1] = 127.5 - 127.5 * Math.cos(0.15 * steps + 0.6);
    pixels[3 * column + 2] = 127.5 - 127.5 * Math.cos(0.15 * steps + 1);
  }
  return pixels;
});

/** The rows of a picture, one behind the other. */
export function joinRows(rows: Uint8Array[], { width, height }: View): Uint8Array {
  const pixels = new Uint8Array(3 * width * height);
  for (const [i, row] of rows.entries()) pixels.set(row, 3 * width * i);
  return pixels;
}
