/** Draws the Mandelbrot set into a PNG file; a pool computes the rows. */

import { writeFileSync } from "node:fs";
import { encode } from "fast-png";
import { closure, cpuCount, Pool } from "@multiprocessing/core";
import { readOptions } from "./common/options.ts";
import { printSpeedUp, timed } from "./common/times.ts";
import { drawRow, joinRows, type View, WHOLE } from "./mandelbrot/draw.ts";

/** Rows through the set take a hundred times longer than others: idle processes take the next ones. */
async function drawInPool(view: View, rows: number[], processes: number): Promise<Uint8Array> {
  const pool = new Pool({ processes });
  const draw = closure((row: number) => drawRow(view, row), { drawRow, view });
  const drawn = await pool.map(draw, rows);
  pool.close();
  await pool.join();
  return joinRows(drawn, view);
}

function drawHere(view: View, rows: number[]): Uint8Array {
  return joinRows(rows.map((row) => drawRow(view, row)), view);
}

if (import.meta.main) {
  const { width, height, depth, out, processes } = readOptions("Draws the Mandelbrot set.", {
    width: { initial: 1800, about: "of the picture, in pixels", to: 20_000 },
    height: { initial: 1200, about: "of the picture, in pixels", to: 20_000 },
    depth: { initial: 1000, about: "steps after which a point belongs to the set" },
    out: { initial: "mandelbrot.png", about: "the file that is written" },
    processes: { initial: cpuCount(), about: "how many processes draw" },
  });
  const view = { ...WHOLE, width, height, depth };
  const rows = Array.from({ length: height }, (_, row) => row);
  const all = await timed(() => drawInPool(view, rows, processes));
  const one = await timed(() => drawHere(view, rows));
  if (all.result.some((byte, i) => byte !== one.result[i])) throw new Error("the pictures differ");

  writeFileSync(out, encode({ width, height, channels: 3, data: all.result }));
  console.log(`${out}: ${width} × ${height} pixels`);
  printSpeedUp(processes, one, all);
}
