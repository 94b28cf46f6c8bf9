/** Makes thumbnails of all PNG and JPEG files below a folder, and shows a progress bar meanwhile. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { cpuCount, Pool } from "@multiprocessing/core";
import { readOptions, refuse } from "./common/options.ts";
import { printSpeedUp, timed } from "./common/times.ts";
import { showProgress } from "./progress/bar.ts";
import { drawPicture } from "./thumbnails/draw.ts";
import { type Job, type Made, makeThumbnail } from "./thumbnails/make.ts";

/** The paths of all pictures below a folder, in order. */
function findPictures(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:png|jpe?g)$/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function drawInPool(folder: string, count: number, processes: number): Promise<void> {
  const pool = new Pool({ processes });
  await pool.starmap(drawPicture, Array.from({ length: count }, (_, n) => [folder, n] as const));
  pool.close();
  await pool.join();
}

/** map() calls back as chunks of the files are done. */
async function makeInPool(jobs: Job[], processes: number): Promise<Made[]> {
  const pool = new Pool({ processes });
  const progress = showProgress("thumbnails", jobs.length);
  const made = await pool.map(makeThumbnail, jobs, { onProgress: progress.update });
  progress.stop();
  pool.close();
  await pool.join();
  return made;
}

if (import.meta.main) {
  const options = readOptions("Makes thumbnails of PNG and JPEG files.", {
    folder: { initial: "", about: "where they are; without it, some are drawn first" },
    out: {
      initial: "",
      about: "where the thumbnails go; without it, a new folder for temporary files",
    },
    size: { initial: 200, about: "longer side of a thumbnail, in pixels", to: 10_000 },
    draw: { initial: 12, about: "how many are drawn where there is no folder", to: 50 },
    processes: { initial: cpuCount(), about: "how many processes work" },
  });
  const { size, draw, processes } = options;
  if (options.folder !== "" && !existsSync(options.folder)) {
    refuse(`there is no folder '${options.folder}'`);
  }
  const temporary = () => mkdtempSync(join(tmpdir(), "thumbnails-"));
  const folder = options.folder || temporary();
  if (options.folder === "") {
    console.log(`drawing ${draw} pictures into ${folder}`);
    await drawInPool(folder, draw, processes);
  }
  const sources = findPictures(folder);
  if (sources.length === 0) refuse(`there are no PNG and JPEG files below '${folder}'`);

  const out = options.out || temporary();
  mkdirSync(out, { recursive: true });
  const jobs = sources.map((source): Job => {
    const name = relative(folder, source).replaceAll(/[\\/]/g, "_");
    return { source, target: join(out, `${name}.jpg`), size };
  });
  const all = await timed(() => makeInPool(jobs, processes));
  const one = await timed(() => jobs.map((job) => makeThumbnail(job)));
  for (const [i, made] of all.result.entries()) {
    if ("reason" in made) console.log(`left out ${jobs[i]!.source}: ${made.reason}`);
  }
  console.log(`${all.result.filter((made) => "width" in made).length} thumbnails in ${out}`);
  printSpeedUp(processes, one, all);
}
