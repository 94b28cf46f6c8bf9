/**
 * TypeScript with its comments and texts blanked out, so that a search finds code only.
 *
 * @module
 */

/** A token at the start of the text; what stands inside it is not code. */
const OPAQUE = [
  /^\/\/[^\n]*/,
  /^\/\*[^]*?\*\//,
  /^"(?:[^"\\\n]|\\[^])*"/,
  /^'(?:[^'\\\n]|\\[^])*'/,
];

/** A regular expression; its class `[...]` may hold a bare slash. */
const REGEXP = /^\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/;

/** After these a slash begins a regular expression rather than a division. */
const BEFORE_REGEXP =
  /(?:^|[([{,;:=!&|?+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|void|delete|await|yield))\s*$/;

/** Keeps line breaks, and the first and last character of a text. */
function blank(token: string): string {
  if (token.startsWith("//") || token.startsWith("/*")) return token.replace(/[^\n]/g, " ");
  return token[0] + token.slice(1, -1).replace(/[^\n]/g, "_") + token.at(-1);
}

/**
 * Replaces comments by blanks and the inside of texts, templates and regular expressions by `_`.
 * Every other character keeps its place, also the code inside a template's `${}`.
 */
export function strip(source: string): string {
  let code = "";
  let rest = source;
  // One entry for each template that is open, with the number of braces open in its `${}`.
  const templates: number[] = [];

  const take = (length: number, as = rest.slice(0, length)) => {
    code += as;
    rest = rest.slice(length);
  };
  /** Takes a template's text up to its end or its next `${`. */
  const takeTemplate = () => {
    const text = /^(?:[^`\\$]|\\[^]|\$(?!\{))*/.exec(rest)![0];
    take(text.length, text.replace(/[^\n]/g, "_"));
    if (rest.startsWith("${")) {
      templates.push(0);
      take(2);
    } else {
      take(1);
    }
  };

  while (rest !== "") {
    const token = OPAQUE.map((pattern) => pattern.exec(rest)?.[0]).find(Boolean) ??
      (BEFORE_REGEXP.test(code.slice(-40)) ? REGEXP.exec(rest)?.[0] : undefined);
    if (token) {
      take(token.length, blank(token));
    } else if (rest[0] === "`") {
      take(1);
      takeTemplate();
    } else if (rest[0] === "}" && templates.at(-1) === 0) {
      templates.pop();
      take(1);
      takeTemplate();
    } else {
      if (templates.length > 0 && rest[0] === "{") templates[templates.length - 1]!++;
      if (templates.length > 0 && rest[0] === "}") templates[templates.length - 1]!--;
      // Words and blanks go in one piece: it is a hundred times fewer steps.
      take(/^(?:[\w$]+|\s+|[^])/.exec(rest)![0].length);
    }
  }
  return code;
}
