/**
 * Nanoseconds to encode and decode one value: this codec, bare msgpackr and structured clone, in turn
 * within one run, so that they share whatever else the machine does.
 *
 * Run it with `deno run -A`, `bun` or `node` and this file's path.
 *
 * @module
 */

import { Packr } from "msgpackr/pack";
import { decode, encode } from "../wire/codec/codec.ts";
import { median, ratio } from "./lib/figures.ts";
import { figure, type Outcome, record, versionOf } from "./lib/results.ts";

const ROUNDS = 7;
const ROUND_MS = 15;

const bare = new Packr({ structuredClone: false });
const inbox = new Uint8Array(16 * 1024 * 1024);

/** As the library does it: the bytes are copied to the receiver's memory before they are decoded. */
function codec(value: unknown): unknown {
  const { bytes, length, attachments } = encode(value);
  inbox.set(length === bytes.length ? bytes : bytes.subarray(0, length));
  return decode(inbox, 0, length, attachments);
}

function msgpackr(value: unknown): unknown {
  return bare.unpack(bare.pack(value));
}

const rows = Array.from({ length: 1000 }, (_, id) => ({ id, name: `row ${id}`, price: id * 1.25 }));
const cyclic: Record<string, unknown> = { id: 1, when: new Date() };
cyclic.self = cyclic;

const VALUES: [name: string, value: unknown][] = [
  ["int", 42],
  ["float", 3.25],
  ["short string", "hello world"],
  ["string of 1000", "x".repeat(1000)],
  ["number[10]", Array.from({ length: 10 }, (_, at) => at * 1.5)],
  ["number[1000]", Array.from({ length: 1000 }, (_, at) => at * 1.5)],
  ["small object", { id: 7, name: "hello world", v: [1, 2, 3.5] }],
  ["1000 rows", rows],
  ["1000 rows with a Date", rows.map((row) => ({ ...row, when: new Date(row.id) }))],
  ["object with a Date and itself", cyclic],
  ["Error", new TypeError("no", { cause: "why" })],
  ["Float64Array of 1 MiB", new Float64Array(131072)],
];

/** One round: how long one call takes, in nanoseconds. */
function once(run: (value: unknown) => unknown, value: unknown): number {
  const begun = performance.now();
  let calls = 0;
  let batch = 1;
  do {
    for (let call = 0; call < batch; call++) run(value);
    calls += batch;
    if (batch < 1024) batch *= 2;
  } while (performance.now() - begun < ROUND_MS);
  return (performance.now() - begun) / calls * 1e6;
}

const TITLE = "ns per encode + decode";
const outcomes: Record<string, Outcome> = {};
console.log(TITLE.padEnd(32), "codec   msgpackr   structuredClone");
for (const [name, value] of VALUES) {
  const runs = { codec, msgpackr, structuredClone };
  const times = { codec: [], msgpackr: [], structuredClone: [] } as Record<string, number[]>;
  for (let round = 0; round < ROUNDS; round++) {
    for (const [who, run] of Object.entries(runs)) {
      try {
        times[who]!.push(once(run, value));
      } catch {
        // A cycle, to msgpackr.
      }
    }
  }
  const [own, other, clone] = Object.values(times).map((each) => median(each).toFixed(0));
  console.log(name.padEnd(28), own!.padStart(9), other!.padStart(10), clone!.padStart(17));

  const rounds = (who: string) => times[who]!.map((time) => [time]);
  const contestants = Object.entries(times).map(([who, values]) => [
    who,
    values.length === 0
      ? { out: "does not take it" }
      : figure(values, who === "codec" ? {} : { ratio: ratio(rounds("codec"), rounds(who)) }),
  ]);
  outcomes[name] = {
    title: `${TITLE}: ${name}`,
    unit: "ns",
    better: "less",
    contestants: Object.fromEntries(contestants),
    bars: [],
  };
}
record("codec", outcomes, { msgpackr: versionOf("msgpackr") });
