/** Draws pictures for thumbnails.ts where there are none: ever smaller parts of the Mandelbrot set. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import jpeg from "jpeg-js";
import { task } from "@multiprocessing/core";
import { drawRow, joinRows } from "../mandelbrot/draw.ts";

/** Draws one, as large as a photograph on a page; every other one is a JPEG. */
export const drawPicture = task(import.meta, function drawPicture(folder: string, n: number): void {
  const [width, height] = [1280, 960];
  const view = { x: -0.7436, y: 0.1318, span: 3 * 0.6 ** n, width, height, depth: 200 };
  const data = joinRows(Array.from({ length: height }, (_, row) => drawRow(view, row)), view);
  if (n % 2 === 1) {
    writeFileSync(join(folder, `${n}.png`), encode({ width, height, channels: 3, data }));
    return;
  }
  const rgba = new Uint8Array(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
  writeFileSync(join(folder, `${n}.jpg`), jpeg.encode({ width, height, data: rgba }, 90).data);
});
