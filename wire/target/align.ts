/**
 * How the words of one text lie in another that has more of them.
 *
 * As many words as possible shall go together, in order, and rather in rows than one by one. Stretches in
 * which both texts go on alike are taken as they are; at a difference, dynamic programming over a window
 * of both texts finds the best way on. So the time grows with the length of the text, not with its square.
 *
 * @module
 */

import type { Words } from "./words.ts";

/** Two words in a row that are so in both texts count half a word more than two that are apart. */
const RUN = 0.5;
/** A word that is passed over costs so much, so that what is near is preferred. */
const SKIP = 0.02;
/** A stretch of words that are passed over costs at most this. */
const MAX_SKIP = 2;

/** A window: so many words of the first text against so many of the second. */
const ROWS = 16;
const COLUMNS = 48;
/** For a long type or a part that the compiler has dropped. */
const WIDE_COLUMNS = 2500;

/** The score of the best way to each pair of offsets; and of the best one whose last step is a match. */
const best = new Float32Array((ROWS + 1) * (WIDE_COLUMNS + 1));
const matched = new Float32Array((ROWS + 1) * (WIDE_COLUMNS + 1));

/** So many places are looked at, the likeliest first. */
const MAX_PLACES = 256;
/** So many words at the beginning tell which of them are looked at as a whole. */
const BEGINNING = 32;
/** So many steps a search may take: some 30 ms. */
const MAX_STEPS = 8e6;

/** Steps that are left. Below 0, alignments end early, with what they have. */
interface Budget {
  steps: number;
}

/** Aligns a window in place: fills `map` from `i` on, and returns the window's score. */
function alignWindow(
  [a, b]: [Int32Array, Int32Array],
  [i, j]: [number, number],
  [rows, columns]: [number, number],
  map: Int32Array,
): number {
  const width = columns + 1;
  for (let c = 0; c <= columns; c++) {
    best[c] = -SKIP * c;
    matched[c] = -Infinity;
  }
  for (let r = 1; r <= rows; r++) {
    const word = a[i + r - 1];
    let cell = r * width;
    best[cell] = 0;
    matched[cell] = -Infinity;
    for (let c = 1; c <= columns; c++) {
      cell++;
      let score = Math.max(best[cell - width]!, best[cell - 1]! - SKIP);
      if (b[j + c - 1] === word) {
        const before = cell - width - 1;
        matched[cell] = 1 + Math.max(best[before]!, matched[before]! + RUN);
        score = Math.max(score, matched[cell]!);
      } else {
        matched[cell] = -Infinity;
      }
      best[cell] = score;
    }
  }
  let end = rows * width;
  for (let c = 1; c <= columns; c++) {
    if (best[rows * width + c]! > best[end]!) end = rows * width + c;
  }
  const score = best[end]!;
  // Back along the best way. A word that occurs twice takes the second place: it goes with what follows.
  let inRun = false;
  for (let r = rows, c = end - rows * width; r > 0;) {
    const cell = r * width + c;
    if (c > 0 && (inRun || matched[cell] === best[cell])) {
      map[i + --r] = j + --c;
      inRun = matched[cell - width - 1]! + RUN >= best[cell - width - 1]!;
    } else if (c > 0 && best[cell]! === Math.fround(best[cell - 1]! - SKIP)) {
      c--;
    } else {
      map[i + --r] = -1;
    }
  }
  return score;
}

/** Aligns the words of `a` up to `to` with those of `b` from `from` on. */
function align(
  a: Words,
  b: Words,
  from: number,
  to: number,
  budget: Budget,
): Int32Array {
  const map = new Int32Array(to).fill(-1);
  let [i, j, found] = [0, from, 0];
  while (i < to && j < b.ids.length && budget.steps > 0 && found * 3 >= i - ROWS) {
    let run = 0;
    while (i + run < to && a.ids[i + run] === b.ids[j + run]) run++;
    // The last words before a difference may match by chance.
    const sure = i + run === to ? run : Math.max(run - 4, 0);
    for (let k = 0; k < sure; k++) map[i++] = j++;
    found += sure;
    budget.steps -= run + 1;
    if (i === to) break;

    const rows = Math.min(ROWS, to - i);
    const columns = Math.min(COLUMNS, b.ids.length - j);
    const score = alignWindow([a.ids, b.ids], [i, j], [rows, columns], map);
    budget.steps -= rows * columns;
    if (score < rows * 0.75 && to === a.ids.length && columns === COLUMNS) {
      const wide = Math.min(WIDE_COLUMNS, b.ids.length - j);
      budget.steps -= rows * wide;
      if (alignWindow([a.ids, b.ids], [i, j], [rows, wide], map) <= score) {
        alignWindow([a.ids, b.ids], [i, j], [rows, columns], map);
      }
    }
    // What is near the end of the window is seen better by the next one.
    const keep = rows < ROWS ? rows : ROWS / 2;
    for (let k = 0; k < keep; k++, i++) {
      if (map[i]! < 0) continue;
      j = map[i]! + 1;
      found++;
    }
  }
  map.fill(-1, i);
  return map;
}

/**
 * Aligns a text with the place in another that has the most of it.
 *
 * The place begins with the text's first word. Where that is frequent, places around which the rare
 * words of the text are found come first, and then those where the beginning goes well.
 *
 * @param a The words to find.
 * @param b Those among which they are.
 * @returns For each of the words, its index in `b` or -1; rising.
 */
export function alignBest(a: Words, b: Words): Int32Array {
  const count = a.ids.length;
  // How much of what is rare comes before each word of b: a sum, so that any stretch of it is quick.
  // Words are told apart by some bits only, which is enough to guess by.
  const [own, frequency] = [new Uint8Array(1 << 16), new Int32Array(1 << 16)];
  for (const id of a.ids) own[id & 0xffff] = 1;
  for (const id of b.ids) frequency[id & 0xffff]!++;
  const rare = new Float64Array(b.ids.length + 1);
  for (let at = 0; at < b.ids.length; at++) {
    const bits = b.ids[at]! & 0xffff;
    rare[at + 1] = rare[at]! + own[bits]! / frequency[bits]!;
  }
  const reach = Math.ceil(count * 1.25) + BEGINNING;
  const rareFrom = (at: number) => rare[Math.min(at + reach, b.ids.length)]! - rare[at]!;

  const first = a.ids.find((id) => b.ids.includes(id));
  const places: number[] = [];
  for (let at = b.ids.indexOf(first!); at >= 0; at = b.ids.indexOf(first!, at + 1)) {
    places.push(at);
  }
  const budget = { steps: MAX_STEPS };
  const head = Math.max(0, Math.min(BEGINNING, count - 1));
  const likely = places.sort((one, other) => rareFrom(other) - rareFrom(one)).slice(0, MAX_PLACES)
    .map((at) => ({ at, score: scoreOf(align(a, b, at, head, budget)) }))
    .sort((one, other) => other.score - one.score);

  let best: Int32Array = new Int32Array(count).fill(-1);
  let bestScore = 0;
  for (const { at, score } of likely) {
    if (score + PERFECT * (count - head) <= bestScore) break;
    const map = align(a, b, at, count, budget);
    const mapScore = scoreOf(map);
    if (mapScore > bestScore) [best, bestScore] = [map, mapScore];
  }
  return best;
}

/** The score of an alignment, for each word, in which all stand in a row. */
export const PERFECT: number = 1 + RUN;

/** How good an alignment is. */
export function scoreOf(map: Int32Array): number {
  let score = 0;
  let last = -1;
  for (const at of map) {
    if (at < 0) continue;
    const skipped = last < 0 ? 0 : at - last - 1;
    score += 1 + (skipped === 0 ? RUN : -Math.min(skipped * SKIP, MAX_SKIP));
    last = at;
  }
  return score;
}

/**
 * Finds near by what an alignment has left over because it was moved: `const x = f(); return x` may
 * have become `return f()`.
 *
 * @param a The words to find.
 * @param b Those among which they are.
 * @param map Their alignment, which is completed.
 */
export function addMoved(a: Words, b: Words, map: Int32Array): void {
  const taken = new Set(map);
  let last = map.find((at) => at >= 0) ?? 0;
  for (let i = 0; i < map.length; i++) {
    if (map[i]! >= 0) {
      last = map[i]!;
      continue;
    }
    for (let distance = 1; distance <= ROWS && map[i]! < 0; distance++) {
      const at = [last + distance, last - distance]
        .find((at) => b.ids[at] === a.ids[i] && !taken.has(at));
      if (at === undefined) continue;
      map[i] = at;
      taken.add(at);
    }
  }
}
