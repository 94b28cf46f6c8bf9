/**
 * Draws bench/results.json into docs/bench, for README.md: bars for each contestant on each runtime,
 * and how many times as fast as Python's this project is.
 *
 * Each drawing is one small SVG with a background of its own, light or dark as its reader prefers.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as Plot from "@observablehq/plot";
import { DOMParser } from "linkedom";
import { ROOT, runtime } from "../scripts/runtimes.ts";
import { digits, median } from "./lib/figures.ts";
import { type Outcome, type Part, readResults, type Results } from "./lib/results.ts";

const RUNTIMES = { deno: "Deno", bun: "Bun", node: "Node" };
type RuntimeName = keyof typeof RUNTIMES;

/** Measures of the pool that have a drawing of bars. */
const BARS = ["tasks", "latency", "first", "map", "objects", "imapUnordered", "fib"];

const WIDTH = 860;
const MARGIN = 16;
const HEADER = 58;
const FOOTER = 44;
const ROW = 22;

const STYLE = `
.card { fill: #ffffff; stroke: #d1d9e0 }
svg { color: #1f2328 }
text { fill: currentColor }
.title { font-size: 16px; font-weight: 600 }
.soft, .soft text { fill: #59636e }
.own, .deno { fill: #0969da }
.peer { fill: #b6bfc9 }
.bun { fill: #bf3989 }
.node { fill: #1a7f37 }
.rule { stroke: #59636e }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117; stroke: #3d444d }
  svg { color: #f0f6fc }
  .soft, .soft text { fill: #9198a1 }
  .own, .deno { fill: #4493f8 }
  .peer { fill: #545d68 }
  .bun { fill: #db61a2 }
  .node { fill: #3fb950 }
  .rule { stroke: #9198a1 }
}`;

const document = new DOMParser().parseFromString("<html></html>", "text/html");

/** What is needed here of an element: there are no types of the DOM outside of browsers. */
interface Drawn {
  outerHTML: string;
  querySelector(selector: string): { remove(): void } | null;
  setAttribute(name: string, value: string): void;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** A plot as SVG. */
function draw(options: Plot.PlotOptions): string {
  const svg = Plot.plot({ ...options, width: WIDTH - 2 * MARGIN, document }) as unknown as Drawn;
  svg.querySelector("style")?.remove(); // The card has the only one.
  svg.setAttribute("x", String(MARGIN));
  svg.setAttribute("y", String(HEADER));
  return svg.outerHTML;
}

/** A plot with a title above it and its circumstances below it. */
function card(
  text: { title: string; subtitle: string; footer: string[] },
  plot: string,
  height: number,
): string {
  const whole = HEADER + height + FOOTER;
  const line = (kind: string, y: number, words: string) =>
    `<text class="${kind}" x="${MARGIN}" y="${y}">${escaped(words)}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${whole}"`,
    ` viewBox="0 0 ${WIDTH} ${whole}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>${escaped(text.title)}</title>\n<style>${STYLE}\n</style>`,
    `\n<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${whole - 1}" rx="6"/>\n`,
    line("title", 28, text.title),
    line("soft", 47, text.subtitle),
    `\n${plot}\n`,
    ...text.footer.map((words, at) => line("soft", whole - FOOTER + 18 + 16 * at, words)),
    "</svg>\n",
  ].join("");
}

/** Machine and versions, in two lines. */
function circumstances({ machine }: Results, parts: Part[], names: string[]): string[] {
  const versions = Object.assign({}, ...parts.map((part) => part.versions));
  const date = parts.map((part) => part.date).sort().at(-1)!;
  const systems = [...new Set(parts.map(({ system }) => system))].join(", ");
  return [
    names.filter((name) => name in versions).map((name) => `${name} ${versions[name]}`).join(", "),
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${systems}, ${date}`,
  ];
}

interface Bar {
  runtime: string;
  name: string;
  value: number;
  label: string;
}

function barsOf(runtime: string, { contestants }: Outcome): Bar[] {
  return Object.entries(contestants).map(([name, found]) => {
    if ("out" in found) return { runtime, name, value: 0, label: "no result" };
    const ratio = found.ratio === undefined ? "" : ` · core ${digits(found.ratio)}×`;
    return { runtime, name, value: found.median, label: `${digits(found.median)}${ratio}` };
  });
}

/** One measure: bars by contestant, side by side for the runtimes. */
function drawBars(results: Results, name: string): string | undefined {
  const parts = partsOf(results, "pool").filter(([, { measures }]) => name in measures);
  if (parts.length === 0) return undefined;
  const bars = parts.flatMap(([runtime, { versions, measures }]) =>
    barsOf(`${RUNTIMES[runtime]} ${versions[runtime]}`, measures[name]!)
  );
  const { title, unit, better } = parts[0]![1].measures[name]!;
  const names = [...new Set(bars.map((bar) => bar.name))];
  const height = ROW * names.length + 24;
  // The longest bar ends where the labels of all have room.
  const most = Math.max(...bars.map(({ value }) => value)) * (parts.length > 2 ? 2 : 1.5);
  const marks = [["own", true], ["peer", false]].map(([className, own]) =>
    Plot.barX(bars.filter((bar) => (bar.name === "core") === own), {
      x: "value",
      y: "name",
      fx: "runtime",
      className: className as string,
    })
  );
  const plot = draw({
    height,
    marginTop: 24,
    marginBottom: 0,
    marginLeft: 92,
    marginRight: 0,
    x: { axis: null, domain: [0, most] },
    y: { domain: names, label: null, padding: 0.25 },
    fx: { domain: [...new Set(bars.map(({ runtime }) => runtime))], label: null, padding: 0.04 },
    marks: [
      ...marks,
      Plot.text(bars, {
        x: "value",
        y: "name",
        fx: "runtime",
        text: "label",
        textAnchor: "start",
        dx: 4,
      }),
      Plot.axisY({ label: null, tickSize: 0 }),
      Plot.axisFx({ label: null, anchor: "top", fontWeight: "bold" }),
    ],
  });
  const wish = better === "more" ? "higher is better" : "lower is better";
  const subtitle =
    `2 workers · ${unit}, ${wish} · “core 3×”: this library (core) is 3 times as good`;
  return card(
    { title, subtitle, footer: circumstances(results, parts.map(([, part]) => part), names) },
    plot,
    height,
  );
}

function partsOf({ benches }: Results, bench: string): [RuntimeName, Part][] {
  return (Object.keys(RUNTIMES) as RuntimeName[]).flatMap((runtime) => {
    const part = benches[bench]?.[runtime];
    return part === undefined ? [] : [[runtime, part] as [RuntimeName, Part]];
  });
}

/** All measures that Python has taken part in: how many times as fast this project is. */
function drawPython(results: Results): string | undefined {
  const all = ["pool", "primitives"].flatMap((bench) => partsOf(results, bench));
  const dots = all.flatMap(([runtime, { measures }]) =>
    Object.entries(measures).flatMap(([name, { contestants }]) => {
      const found = contestants.python;
      const ratio = found === undefined || "out" in found ? undefined : found.ratio;
      return ratio === undefined ? [] : [{ runtime, name, ratio }];
    })
  );
  if (dots.length === 0) return undefined;
  const names = [...new Set(dots.map(({ name }) => name))].sort((one, other) => {
    const [of, than] = [one, other].map((each) =>
      median(dots.filter(({ name }) => name === each).map(({ ratio }) => ratio))
    );
    return than! - of!;
  });
  const height = ROW * names.length + 40;
  const runtimes = [...new Set(dots.map(({ runtime }) => runtime))];
  const plot = draw({
    height,
    marginTop: 4,
    marginBottom: 36,
    marginLeft: 112,
    marginRight: 24,
    x: { type: "log", grid: true, label: "times as fast", tickFormat: (x: number) => `${x}×` },
    y: { domain: names, label: null, grid: true },
    marks: [
      Plot.ruleX([1], { className: "rule" }),
      ...runtimes.map((name) =>
        Plot.dot(dots.filter(({ runtime }) => runtime === name), {
          x: "ratio",
          y: "name",
          r: 5,
          stroke: "none",
          className: name,
        })
      ),
    ],
  });
  const legend = runtimes.map((name, at) =>
    `<circle class="${name}" cx="${WIDTH - 210 + 70 * at}" cy="43" r="5"/>` +
    `<text x="${WIDTH - 200 + 70 * at}" y="47">${RUNTIMES[name]}</text>`
  );
  const title = "This library beside Python's multiprocessing";
  const subtitle = "2 workers · right of 1× this library is faster · medians of rounds in turn";
  const footer = circumstances(results, all.map(([, part]) => part), [
    "core",
    ...Object.keys(RUNTIMES),
    "python",
  ]);
  return card({ title, subtitle, footer }, plot + legend.join(""), height);
}

const results = readResults();
if (results === undefined) throw new Error("Cannot draw bench/results.json: there is none yet");
const folder = join(ROOT, "docs", "bench");
mkdirSync(folder, { recursive: true });
const drawings: Record<string, string | undefined> = { python: drawPython(results) };
for (const name of BARS) drawings[name] = drawBars(results, name);
for (const [name, svg] of Object.entries(drawings)) {
  if (svg !== undefined) writeFileSync(join(folder, `${name}.svg`), svg);
}
spawnSync(runtime("deno").binary, ["fmt", "--quiet", folder]); // As all else here: short diffs.
