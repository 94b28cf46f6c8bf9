/** What the workers of http_server.ts do: they draw pictures until nobody wants them any more. */

import { encode } from "fast-png";
import { currentProcess, task, type Value } from "@multiprocessing/core";
import { drawRow, joinRows, type View } from "../mandelbrot/draw.ts";

/** How many rows all workers have drawn. Each worker has this module, and so a variable, of its own. */
let drawn: Value<"u32">;

/** Keeps what the workers share: the pool's initializer. */
export const share = task(import.meta, function share(rows: Value<"u32">): void {
  drawn = rows;
});

/** Draws a picture as PNG, unless its client leaves. Then it ends by itself, and keeps its worker. */
export const drawPng = task(import.meta, function drawPng(view: View): Uint8Array {
  const rows: Uint8Array[] = [];
  for (let row = 0; row < view.height; row++) {
    currentProcess().signal.throwIfAborted(); // Looks anew each time, without waiting for events.
    rows.push(drawRow(view, row));
    drawn.add(1);
  }
  const { width, height } = view;
  return encode({ width, height, channels: 3, data: joinRows(rows, view) });
});
