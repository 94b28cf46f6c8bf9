/**
 * The words of a program's text, and how those of one text lie in another.
 *
 * What a compiler makes of a function has other blanks, brackets, comments and types than the file, but
 * nearly the same words in nearly the same order. `locate.ts` lives on that.
 *
 * @module
 */

/** Words in the order of the text: names, numbers, literals as a whole, and signs such as `+`. */
export interface Words {
  /** A hash of each. A chance of one in 2 ** 32 does no harm here, and there are no strings to cut. */
  ids: Int32Array;
  /** The offset of each. */
  starts: Int32Array;
}

const [BLANK, NAME, SIGN] = [0, 1, 2];

/** What each ASCII character is: a part of a name or number, a sign that counts, or neither. */
const KINDS = Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code);
  return /[\w$]/.test(char) ? NAME : "+-*/%&|^~<>=!?".includes(char) ? SIGN : BLANK;
});

function kindOf(code: number): number {
  if (code < 128) return KINDS[code]!;
  return code > 0xa0 && code !== 0x2028 && code !== 0x2029 && code !== 0xfeff ? NAME : BLANK;
}

function hash(text: string, from: number, to: number): number {
  let id = 0x811c9dc5 | 0;
  for (let at = from; at < to; at++) {
    const code = text.charCodeAt(at);
    // Which quotes need a backslash depends on those around.
    if (code !== 92) id = Math.imul(id ^ code, 0x01000193);
  }
  return id;
}

function idOf(word: string): number {
  return hash(word, 0, word.length);
}

/** After these a slash begins a regular expression rather than a division. */
const BEFORE_REGEXP = new Set(
  "return typeof case in of do else void delete await yield throw new instanceof".split(" ")
    .map(idOf),
);

/** Two words that Bun writes for one: what comes before `0` or `1`, and what the two stand for. */
const SHORTENED = new Map([
  [idOf("!"), [idOf("true"), idOf("false")]],
  [idOf("void"), [idOf("undefined")]],
]);

/** The offset behind a text in quotes or slashes that begins here; `from` if its line does not end it. */
function endOfLiteral(text: string, from: number): number {
  const quote = text[from];
  let inClass = false;
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at];
    if (char === "\\") at++;
    else if (char === "\n") break;
    else if (char === quote && !inClass) return at + 1;
    else if (quote === "/" && char === "[") inClass = true;
    else if (quote === "/" && char === "]") inClass = false;
  }
  return from;
}

/**
 * Splits JavaScript or TypeScript into words. Comments and the texts of templates have none: the first
 * may be gone, the second may be put together differently.
 *
 * Exact as to quotes and templates, by rule of thumb as to where a slash begins a regular expression. A
 * wrong guess costs a few words: the text is read on after it.
 *
 * @param text Any text.
 * @returns Its words.
 */
export function wordsOf(text: string): Words {
  const ids = new Int32Array(text.length);
  const starts = new Int32Array(text.length);
  let count = 0;
  /** For each open template, how many braces are open within its `${}`. */
  const templates: number[] = [];
  let divides = false;
  let at = 0;
  const endOf = (mark: string, from: number) => {
    const end = text.indexOf(mark, from);
    return end < 0 ? text.length : end + mark.length;
  };
  const push = (start: number, end: number, id = hash(text, start, end)) => {
    const digit = end - start === 1 ? text.charCodeAt(start) - 48 : -1;
    const long = digit === 0 || digit === 1 ? SHORTENED.get(ids[count - 1]!)?.[digit] : undefined;
    if (long === undefined) {
      ids[count] = id;
      starts[count++] = start;
    } else {
      ids[count - 1] = long;
    }
    divides = true;
    at = end;
  };
  /** Goes to the end of a template's text, or into its next `${}`. */
  const template = (from: number) => {
    divides = true;
    for (at = from; at < text.length; at++) {
      const char = text[at];
      if (char === "\\") at++;
      else if (char === "`") break;
      else if (char === "$" && text[at + 1] === "{") {
        templates.push(0);
        divides = false;
        at++;
        break;
      }
    }
    at++;
  };
  while (at < text.length) {
    const char = text[at]!;
    const kind = kindOf(text.charCodeAt(at));
    if (kind === NAME) {
      let end = at + 1;
      while (end < text.length && kindOf(text.charCodeAt(end)) === NAME) end++;
      push(at, end);
      divides = !BEFORE_REGEXP.has(ids[count - 1]!);
    } else if (char === "/" && text[at + 1] === "/") {
      at = endOf("\n", at);
    } else if (char === "/" && text[at + 1] === "*") {
      at = endOf("*/", at + 2);
    } else if (char === "`") {
      template(at + 1);
    } else if (char === '"' || char === "'" || char === "/" && !divides) {
      const end = endOfLiteral(text, at);
      if (end > at) push(at, end, hash(text, at + 1, end - 1));
      else at++;
    } else if (kind === SIGN) {
      push(at, at + 1);
      divides = false;
    } else if (char === "}" && templates.at(-1) === 0) {
      templates.pop();
      template(at + 1);
    } else {
      if (char === "{" && templates.length > 0) templates[templates.length - 1]!++;
      if (char === "}" && templates.length > 0) templates[templates.length - 1]!--;
      if (char > " ") divides = char === ")" || char === "]";
      at++;
    }
  }
  return { ids: ids.slice(0, count), starts: starts.slice(0, count) };
}
