/**
 * `npm run docs`: the guide and the reference of the API as a static site, in site/.
 *
 * The guide is docs/*.md, in the order of docs/README.md, and whatever files of the repository its
 * pages link to. The reference is what `deno doc --html` makes of the exports of each package. The
 * site needs no server: `site/index.html` can be opened as a file.
 *
 * A link that leads nowhere, an anchor that does not exist, or a page of docs/ that docs/README.md
 * does not list is an error. The last line is `N passed, N failed`: one for each page.
 *
 * @module
 */

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, posix } from "node:path";
import process from "node:process";
import { Marked, type Tokens } from "marked";
import { Reference } from "./docs_reference.ts";
import { packages, read, walk } from "./files.ts";
import { ROOT } from "./runtimes.ts";
import { deadLinks, unescape } from "./site_links.ts";

/** Where the site is written. */
export const SITE: string = join(ROOT, "site");

const INDEX = "docs/README.md";

/** A group of pages in the navigation. */
interface Group {
  title: string;
  pages: { title: string; path: string }[];
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

function isFolder(path: string): boolean {
  return statSync(join(ROOT, path)).isDirectory();
}

/** The anchor of a heading, as GitHub makes it. */
function slug(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
}

/** The reading order: the headings and the first link of each item of docs/README.md. */
function readGroups(): Group[] {
  const groups: Group[] = [];
  for (const line of read(ROOT, INDEX).split("\n")) {
    const [, title] = /^## (.+)$/.exec(line) ?? [];
    if (title) groups.push({ title, pages: [] });
    const [, name, target] = /^- \[(.+?)\]\((.+?)\)/.exec(line) ?? [];
    if (name && target && existsSync(join(ROOT, "docs", target))) {
      groups.at(-1)?.pages.push({ title: name, path: `docs/${target}` });
    }
  }
  return groups;
}

/** Where a file of the repository is in the site. */
function placeOf(path: string): string {
  if (path === INDEX) return "index.html";
  const inside = path.startsWith("docs/") ? path.slice("docs/".length) : `repository/${path}`;
  if (isFolder(path)) return `${inside}/index.html`;
  if (/\.(?:svg|png|jpg)$/.test(inside)) return inside;
  return inside.endsWith(".md") ? inside.replace(/\.md$/, ".html") : `${inside}.html`;
}

function relative(from: string, to: string): string {
  return posix.relative(dirname(from), to);
}

/** The guide: pages as they are found by following links. */
class Guide {
  readonly problems: string[] = [];
  readonly #groups = readGroups();
  readonly #references: Reference[];
  readonly #queue = [INDEX];
  readonly #seen = new Set(this.#queue);

  constructor(references: Reference[]) {
    this.#references = references;
    const listed = this.#groups.flatMap(({ pages }) => pages.map(({ path }) => path));
    for (const path of walk(ROOT, "docs")) {
      if (/^docs\/[^/]+\.md$/.test(path) && path !== INDEX && !listed.includes(path)) {
        this.problems.push(`${INDEX} does not list ${path}`);
      }
    }
  }

  /** Writes all pages, and says how many. */
  write(): number {
    for (const path of this.#queue) {
      const to = join(SITE, placeOf(path));
      mkdirSync(dirname(to), { recursive: true });
      if (placeOf(path).endsWith(".html")) writeFileSync(to, this.#page(path));
      else cpSync(join(ROOT, path), to);
    }
    return this.#queue.length;
  }

  /** The way to what a page links to, which will be written, too. */
  #follow(from: string, url: string): string {
    if (/^[a-z]+:/.test(url)) return url;
    const [target, anchor] = url.split("#") as [string, string?];
    const hash = anchor === undefined ? "" : `#${anchor}`;
    if (target === "") return hash;
    let path = posix.join(dirname(from), target);
    if (existsSync(join(ROOT, path, "README.md"))) path = posix.join(path, "README.md");
    if (!existsSync(join(ROOT, path))) {
      this.problems.push(`${from} links to ${url}, which is not there`);
      return "#";
    }
    if (!this.#seen.has(path)) {
      this.#seen.add(path);
      this.#queue.push(path);
    }
    return relative(placeOf(from), placeOf(path)) + hash;
  }

  #markdown(path: string): string {
    const follow = (url: string) => escape(this.#follow(path, url));
    const used = new Map<string, number>();
    const marked = new Marked({
      renderer: {
        heading({ tokens, text, depth }: Tokens.Heading) {
          const name = slug(text);
          const count = used.get(name) ?? 0;
          used.set(name, count + 1);
          const id = count === 0 ? name : `${name}-${count}`;
          const inner = this.parser.parseInline(tokens);
          return `<h${depth} id="${id}">${inner} <a class="anchor" href="#${id}">#</a></h${depth}>\n`;
        },
        code({ text, lang = "" }: Tokens.Code) {
          const language = lang.split(" ")[0] || "text";
          return `<pre><code class="language-${language}">${escape(text)}\n</code></pre>\n`;
        },
        link({ href, tokens }: Tokens.Link) {
          return `<a href="${follow(href)}">${this.parser.parseInline(tokens)}</a>`;
        },
        image({ href, text }: Tokens.Image) {
          return `<img src="${follow(href)}" alt="${escape(text)}">`;
        },
      },
    });
    return (marked.parse(read(ROOT, path)) as string)
      .replaceAll("<table>", '<div class="table"><table>')
      .replaceAll("</table>", "</table></div>");
  }

  #listing(folder: string): string {
    const items = readdirSync(join(ROOT, folder)).map((name) =>
      `<li><a href="${escape(this.#follow(folder, `${basename(folder)}/${name}`))}">${
        escape(name)
      }</a></li>\n`
    );
    return `<h1>${basename(folder)}</h1>\n<ul>\n${items.join("")}</ul>\n`;
  }

  #page(path: string): string {
    const place = placeOf(path);
    const to = (other: string) => escape(relative(place, other));
    const content = path.endsWith(".md")
      ? this.#markdown(path)
      : isFolder(path)
      ? this.#listing(path)
      : `<h1>${basename(path)}</h1>\n<pre><code class="language-${path.split(".").at(-1)}">` +
        `${escape(read(ROOT, path))}</code></pre>\n`;
    const [, heading = basename(path)] =
      /<h1[^>]*>(.*?)(?: <a class="anchor"|<\/h1>)/.exec(content) ??
        [];
    const link = (other: { title: string; path: string }) =>
      `<a href="${to(placeOf(other.path))}"${other.path === path ? ' aria-current="page"' : ""}>` +
      `${escape(other.title)}</a>`;
    const groups = this.#groups.map(({ title, pages }) =>
      `<p>${escape(title)}</p>\n<ul>\n${
        pages.map((page) => `<li>${link(page)}</li>\n`).join("")
      }</ul>\n`
    );
    const references = this.#references.map(({ folder, name }) =>
      `<li><a href="${to(`${folder}/index.html`)}">${escape(name)}</a></li>\n`
    );
    const order = [
      { title: "Documentation", path: INDEX },
      ...this.#groups.flatMap((g) => g.pages),
    ];
    const at = order.findIndex((other) => other.path === path);
    const [before, after] = at < 0 ? [] : [order[at - 1], order[at + 1]];
    return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${unescape(heading).replace(/<[^>]+>/g, "")} – @multiprocessing/core</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${to("docs.css")}">
<script src="${to(`${this.#references[0]!.folder}/prism.js`)}" defer></script>
</head>
<body>
<header><a href="${to("index.html")}">@multiprocessing/core</a></header>
<nav aria-label="Pages">
${groups.join("")}<p>Reference</p>
<ul>
${references.join("")}</ul>
</nav>
<main>
${content}<footer>
${before ? `<span>← ${link(before)}</span>\n` : ""}${after ? `<span>${link(after)} →</span>\n` : ""}
</footer>
</main>
</body>
</html>
`;
  }
}

/** Builds the site anew. Returns the number of pages of the guide, and what is wrong. */
export async function build(): Promise<{ pages: number; problems: string[] }> {
  rmSync(SITE, { recursive: true, force: true });
  mkdirSync(SITE);
  const references = packages(ROOT).map((root) => new Reference(root));
  const failed: string[] = [];
  for (const reference of references) failed.push(...await reference.write(SITE));
  cpSync(join(ROOT, "scripts/docs.css"), join(SITE, "docs.css"));
  const guide = new Guide(references);
  const pages = guide.write();
  return { pages, problems: [...failed, ...guide.problems, ...deadLinks(SITE)] };
}

if (import.meta.main) {
  const { pages, problems } = await build();
  for (const problem of problems) console.log(problem);
  if (problems.length === 0) console.log(`open ${join("site", "index.html")}`);
  console.log(`\n${pages} passed, ${problems.length} failed`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
