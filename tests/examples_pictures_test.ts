/** The programs of docs/examples that make pictures: their files, and their answers over HTTP. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { decode, encode } from "fast-png";
import jpeg from "jpeg-js";
import { drawRow, joinRows, WHOLE } from "../docs/examples/mandelbrot/draw.ts";
import { ROOT } from "../scripts/runtimes.ts";
import { command, numbersIn, run, SPEED_UP, temporary } from "./fixtures/examples.ts";
import { soon } from "./fixtures/processes.ts";

test("mandelbrot.ts writes a PNG of the right size and pixels", async (t) => {
  const out = join(temporary(t), "set.png");
  const sizes = { width: 90, height: 60, depth: 50 };
  const args = Object.entries(sizes).flatMap(([name, size]) => [`--${name}`, String(size)]);
  const output = await run("mandelbrot", "--out", out, "--processes", "3", ...args);
  assertMatch(output, SPEED_UP);
  const { width, height, channels, depth, data } = decode(readFileSync(out));
  assertEquals({ width, height, channels, depth }, {
    width: 90,
    height: 60,
    channels: 3,
    depth: 8,
  });
  const view = { ...WHOLE, ...sizes };
  const rows = Array.from({ length: 60 }, (_, row) => drawRow(view, row));
  assertEquals(data, joinRows(rows, view));
  const pixel = (
    x: number,
    y: number,
  ) => [...data.subarray(3 * (90 * y + x), 3 * (90 * y + x) + 3)];
  assertEquals(pixel(60, 30), [0, 0, 0]); // 0 is in the set,
  assert(pixel(0, 0).every((byte) => byte > 0)); // the corner is not.
});

/** The size of a JPEG file, and its middle pixel. */
function look(path: string) {
  const { width, height, data } = jpeg.decode(readFileSync(path), { useTArray: true });
  const middle = 4 * (width * (height >> 1) + (width >> 1));
  return { width, height, pixel: [...data.subarray(middle, middle + 3)] };
}

function assertThumbnail(path: string, width: number, height: number, colour: number[]): void {
  const { pixel, ...size } = look(path);
  assertEquals(size, { width, height });
  for (const [i, byte] of pixel.entries()) assertAlmostEquals(byte, colour[i]!, 6);
}

test("thumbnails.ts shrinks PNG and JPEG files of all kinds", async (t) => {
  const [folder, out] = [temporary(t), temporary(t)];
  /** Writes a picture in which all pixels are alike. */
  const write = (
    name: string,
    width: number,
    height: number,
    pixel: number[],
    depth: 8 | 16 = 8,
  ) => {
    const values = Array.from({ length: width * height }, () => pixel).flat();
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    if (/\.jpe?g$/i.test(name)) {
      return writeFileSync(path, jpeg.encode({ width, height, data: values }, 90).data);
    }
    const data = depth === 8 ? Uint8Array.from(values) : Uint16Array.from(values);
    writeFileSync(path, encode({ width, height, data, channels: pixel.length, depth }));
  };
  write("wide.jpg", 120, 80, [200, 100, 50, 255]);
  write("deep/er/TALL.JPEG", 80, 121, [10, 20, 30, 255]);
  write("rgb.png", 90, 90, [0, 128, 255]);
  write("half.png", 60, 40, [0, 0, 0, 51]); // One fifth of black on white.
  write("grey16.png", 64, 32, [0x8000], 16);
  write("small.png", 3, 2, [255, 0, 0]);
  const indexed = { width: 64, height: 64, channels: 1, data: new Uint8Array(64 * 64).fill(1) };
  const palette = [[255, 255, 255], [40, 80, 120]];
  writeFileSync(join(folder, "indexed.png"), encode({ ...indexed, palette }));
  writeFileSync(join(folder, "broken.jpg"), "this is no picture");
  writeFileSync(join(folder, "other.txt"), "this is not looked at");

  const args = ["--folder", folder, "--out", out, "--size", "30", "--processes", "3"];
  const output = await run("thumbnails", ...args);
  assertThumbnail(join(out, "wide.jpg.jpg"), 30, 20, [200, 100, 50]);
  assertThumbnail(join(out, "deep_er_TALL.JPEG.jpg"), 20, 30, [10, 20, 30]);
  assertThumbnail(join(out, "rgb.png.jpg"), 30, 30, [0, 128, 255]);
  assertThumbnail(join(out, "half.png.jpg"), 30, 20, [204, 204, 204]);
  assertThumbnail(join(out, "grey16.png.jpg"), 30, 15, [128, 128, 128]);
  assertThumbnail(join(out, "small.png.jpg"), 3, 2, [255, 0, 0]);
  assertThumbnail(join(out, "indexed.png.jpg"), 30, 30, [40, 80, 120]);
  assertMatch(output, /^thumbnails 100 %$/m);
  assertMatch(output, /^left out .*broken\.jpg: ./m);
  assertMatch(output, /^7 thumbnails in /m);
  assertMatch(output, SPEED_UP);
});

test("thumbnails.ts draws pictures where it gets none", async (t) => {
  const out = temporary(t);
  const output = await run("thumbnails", "--draw", "2", "--out", out, "--size", "64");
  const [, folder] = /^drawing 2 pictures into (.+)$/m.exec(output) ?? [];
  rmSync(folder!, { recursive: true });
  for (const name of ["0.jpg.jpg", "1.png.jpg"]) {
    const { width, height } = look(join(out, name));
    assertEquals({ width, height }, { width: 64, height: 48 });
  }
  assertMatch(output, /^2 thumbnails in /m);
});

test("http_server.ts answers under load, and cancels the tasks of clients that leave", async () => {
  const output = await run("http_server", "--port", "0", "--load", "12");
  assertMatch(output, /^12 clients got [1-9]\d* bytes; 6 left before$/m);
  assertMatch(output, /^12 tasks ended, 6 were cancelled: /m);
  const [drawn, wanted] = numbersIn(output, /^(\d+) of (\d+) rows were drawn$/m);
  assertEquals(wanted, 12 * 160 + 6 * 2_000);
  assert(drawn! >= 12 * 160 && drawn! < wanted! / 2, output);
  assertMatch(output, /^0 workers were replaced$/m);
});

test("http_server.ts answers a client of another program, until that disconnects", async (t) => {
  const [binary, ...args] = command("http_server");
  const server = spawn(binary!, [...args, "--port", "0", "--processes", "1"], { cwd: ROOT });
  t.after(() => server.kill("SIGKILL"));
  const [line] = await soon(once(server.stdout, "data"), "the server");
  const [, url] = /^listening at (http:\S+)\n$/.exec(String(line)) ?? [];

  const response = await fetch(new URL("?width=30&height=20", url));
  assertEquals([response.status, response.headers.get("content-type")], [200, "image/png"]);
  const { width, height } = decode(new Uint8Array(await response.arrayBuffer()));
  assertEquals({ width, height }, { width: 30, height: 20 });
  for (const path of ["nowhere", "?width=0", "?x=left", "?depth=1e9"]) {
    const refused = await fetch(new URL(path, url));
    assertEquals([refused.status, await refused.text()], [404, "no such picture"]);
  }

  /** Asks the server for its counts until one of them is 1. */
  const untilOne = async (name: string) => {
    for (;;) {
      const counts = await (await fetch(new URL("stats", url))).json();
      if (counts[name] === 1) return counts;
      await sleep(10);
    }
  };
  const leaving = new AbortController();
  const long = new URL("?width=200&height=4000&span=0.1&x=0&depth=50000", url);
  const left = fetch(long, { signal: leaving.signal }).catch((error) => error.name);
  await soon(untilOne("waiting"), "the task");
  leaving.abort();
  assertEquals(await left, "AbortError");
  const { drawn, waiting } = await soon(untilOne("cancelled"), "the cancellation");
  assertEquals({ drawn, waiting }, { drawn: 1, waiting: 0 });
  // The only worker is free again.
  const again = await soon(fetch(new URL("?width=10&height=10", url)), "another picture");
  assertEquals([again.status, (await again.arrayBuffer()).byteLength > 0], [200, true]);
});
