/**
 * The reference of a package's API: what `deno doc --html` makes of its exports, fit to be opened as
 * files, and with links that lead somewhere.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { read, readJson, walk } from "./files.ts";
import { ROOT, runtime } from "./runtimes.ts";
import { anchorsIn, unescape } from "./site_links.ts";
import { capture } from "./spawn.ts";

/** A link, in three parts: what stands before the URL, the URL, and the quote behind it. */
const LINK = /(<a\b[^>]*?\shref=")([^"]*)(")/g;

const DENO_DOC_TIMEOUT = 120_000;

/** The reference of a package. */
export class Reference {
  /** The package's name. */
  readonly name: string;
  /** Where it is in the site. */
  readonly folder: string;
  readonly #files: string[];
  /** What deno doc takes for the name of a module, and the name that it is imported by. */
  readonly #specifiers: Map<string, string>;

  constructor(root: string) {
    const { name, exports } = readJson<{ name: string; exports: Record<string, string> }>(
      ROOT,
      `${root}/deno.json`,
    )!;
    this.name = name;
    this.folder = root === "." ? "api" : `${root}-api`;
    this.#files = Object.values(exports).map((path) => `./${posix.join(root, path)}`);
    this.#specifiers = new Map(
      Object.entries(exports).flatMap(([entry, path]) => {
        const file = posix.basename(path);
        return [entry, file, file.replace(/\.ts$/, "")].map((
          key,
        ) => [key, posix.join(name, entry)]);
      }),
    );
  }

  /** Writes all pages. Returns what went wrong. */
  async write(site: string): Promise<string[]> {
    const command = [runtime("deno").binary, "doc", "--html", `--name=${this.name}`];
    const output = `--output=${join(site, this.folder)}`;
    const { code, output: said } = await capture(
      [...command, output, ...this.#files],
      DENO_DOC_TIMEOUT,
    );
    if (code !== 0) return [`deno doc failed for ${this.name}:\n${said}`];

    const pages = new Map<string, string>();
    for (const path of walk(site, this.folder).filter((path) => path.endsWith(".html"))) {
      pages.set(path, nameAnchors(this.#nameModules(nameFiles(read(site, path), path))));
    }
    const anchors = new Map([...pages].map(([path, html]) => [path, anchorsIn(html)]));
    for (const [path, html] of pages) {
      writeFileSync(join(site, path), dropDeadAnchors(html, path, anchors));
    }
    return [];
  }

  #nameModules(html: string): string {
    return html.replace(/(from &quot;)([^&]*)(&quot;)/g, (usage, head, module, tail) => {
      const specifier = this.#specifiers.get(module);
      return specifier === undefined ? usage : head + specifier + tail;
    });
  }
}

/** Names `index.html` where a server would find it, and leads back to the guide. */
function nameFiles(html: string, path: string): string {
  const home = posix.relative(dirname(path), "index.html");
  return html
    .replace(LINK, (link, head, url, tail) => {
      const plain = unescape(url);
      return plain === "" || plain.endsWith("/") ? `${head}${plain}index.html${tail}` : link;
    })
    .replace(
      '<ul class="breadcrumbs">',
      `$&<li><a href="${home}" class="contextLink">Guide</a></li>`,
    )
    .replace("</title>", '$&\n  <link rel="icon" href="data:,">');
}

/** Headings of examples link to themselves, but have no id. */
function nameAnchors(html: string): string {
  const anchors = anchorsIn(html);
  return html.replace(/<a href="#([^"]+)" class="anchor"/g, (link, id) => {
    if (anchors.has(unescape(id))) return link;
    anchors.add(unescape(id));
    return `<a id="${id}" href="#${id}" class="anchor"`;
  });
}

/** Some members are linked to that have no place of their own: then the page is enough. */
function dropDeadAnchors(
  html: string,
  path: string,
  anchors: Map<string, Set<string>>,
): string {
  return html.replace(LINK, (link, head, url, tail) => {
    const [target, anchor] = unescape(url).split("#") as [string, string?];
    const to = target === "" ? path : posix.join(dirname(path), decodeURIComponent(target));
    const known = anchors.get(to);
    if (anchor === undefined || known === undefined || known.has(anchor)) return link;
    return `${head}${target === "" ? posix.basename(path) : target}${tail}`;
  });
}
