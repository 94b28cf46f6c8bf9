/** Makes a thumbnail of a PNG or JPEG file: what the workers of thumbnails.ts do. */

import { readFileSync, writeFileSync } from "node:fs";
import { convertIndexedToRgb, decode as decodePng, hasPngSignature } from "fast-png";
import jpeg from "jpeg-js";
import { task } from "@multiprocessing/core";

/** A file to be made smaller. */
export interface Job {
  source: string;
  target: string;
  /** The longer side of the thumbnail, in pixels. */
  size: number;
}

/** The size of a thumbnail, or why there is none. */
export type Made = { width: number; height: number } | { reason: string };

/** A picture of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) values a pixel, from 0 to 255. */
interface Picture {
  width: number;
  height: number;
  channels: number;
  data: ArrayLike<number>;
}

function decode(bytes: Uint8Array): Picture {
  if (!hasPngSignature(bytes)) return { ...jpeg.decode(bytes, { useTArray: true }), channels: 4 };
  const png = decodePng(bytes);
  if (png.palette !== undefined) {
    const channels = png.palette[0]!.length;
    return { ...png, channels, data: convertIndexedToRgb(png) };
  }
  if (png.depth < 8) throw new Error(`pictures of ${png.depth} bits are not supported`);
  return png.depth === 8 ? png : { ...png, data: (png.data as Uint16Array).map((n) => n >> 8) };
}

/** Each new pixel is the mean of the old ones that it covers, on white. */
function shrink({ width, height, channels, data }: Picture, size: number) {
  const factor = Math.min(1, size / Math.max(width, height));
  const small = {
    width: Math.max(1, Math.round(width * factor)),
    height: Math.max(1, Math.round(height * factor)),
  };
  const pixels = new Uint8Array(4 * small.width * small.height).fill(255);
  const colours = channels < 3 ? [0, 0, 0] : [0, 1, 2];
  const hasAlpha = channels % 2 === 0;
  for (let i = 0; i < small.width * small.height; i++) {
    const column = i % small.width;
    const row = (i - column) / small.width;
    const [left, right] = [column, column + 1].map((n) => Math.floor(n * width / small.width));
    const [top, bottom] = [row, row + 1].map((n) => Math.floor(n * height / small.height));
    for (const [channel, colour] of colours.entries()) {
      let sum = 0;
      for (let y = top!; y < bottom!; y++) {
        for (let x = left!; x < right!; x++) {
          const at = (y * width + x) * channels;
          const alpha = hasAlpha ? data[at + channels - 1]! / 255 : 1;
          sum += 255 + alpha * (data[at + colour]! - 255);
        }
      }
      pixels[4 * i + channel] = Math.round(sum / ((bottom! - top!) * (right! - left!)));
    }
  }
  return { ...small, data: pixels };
}

/** Reads, decodes, shrinks, encodes and writes. A file that is no picture is no error of the program. */
export const makeThumbnail = task(import.meta, function makeThumbnail(job: Job): Made {
  try {
    const small = shrink(decode(readFileSync(job.source)), job.size);
    writeFileSync(job.target, jpeg.encode(small, 85).data);
    return { width: small.width, height: small.height };
  } catch (error) {
    return { reason: (error as Error).message };
  }
});
