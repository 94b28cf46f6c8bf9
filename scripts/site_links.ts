/**
 * The links of a static site: each must lead to a file of the site, and to an anchor in it.
 *
 * @module
 */

import { existsSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { read, walk } from "./files.ts";

const ENTITIES: Record<string, string> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  "#39": "'",
  "#x27": "'",
  "#x2F": "/",
  "#x3D": "=",
  "#x60": "`",
};

/** An attribute's value as it is meant. */
export function unescape(text: string): string {
  return text.replace(/&(#?\w+);/g, (all, name) => ENTITIES[name] ?? all);
}

/** A page without what only looks like HTML: scripts, styles and comments. */
function bare(html: string): string {
  return html.replace(/<(script|style)\b([^>]*)>[^]*?<\/\1>/g, "<$1$2></$1>")
    .replace(/<!--[^]*?-->/g, "");
}

/** Where a page that is only a forward leads; undefined for others. */
export function forwardOf(html: string): string | undefined {
  const [, url] = /<meta http-equiv="refresh" content="0; url=([^"]*)"/.exec(html) ?? [];
  return url === undefined ? undefined : unescape(url);
}

/** What a page links to, and what it loads by itself. */
function references(html: string): { url: string; loaded: boolean }[] {
  const tags = [...html.matchAll(/<(\w+)\b[^>]*?\s(?:href|src)="([^"]*)"/g)];
  const found = tags.map(([, tag, url]) => ({ url: unescape(url!), loaded: tag !== "a" }));
  const next = forwardOf(html);
  return next === undefined ? found : [...found, { url: next, loaded: true }];
}

/** The places in a page that a link can lead to. */
export function anchorsIn(html: string): Set<string> {
  const ids = [...bare(html).matchAll(/\s(?:id|name)="([^"]*)"/g)];
  return new Set(ids.map(([, id]) => unescape(id!)));
}

/** What is wrong with a site, as sentences: dead links, missing anchors, resources from elsewhere. */
export function deadLinks(site: string): string[] {
  const pages = new Map<string, { html: string; anchors: Set<string> }>();
  for (const path of walk(site).filter((path) => path.endsWith(".html"))) {
    const html = read(site, path);
    pages.set(path, { html: bare(html), anchors: anchorsIn(html) });
  }

  const problems: string[] = [];
  for (const [path, { html }] of pages) {
    for (const { url, loaded } of references(html)) {
      if (/^[a-z][a-z+.-]*:|^\/\//i.test(url)) {
        if (loaded && !url.startsWith("data:")) problems.push(`${path} loads ${url}`);
        continue;
      }
      const [target, anchor = ""] = url.split("#") as [string, string?];
      const to = target === ""
        ? path
        : posix.join(dirname(path), decodeURIComponent(target.split("?")[0]!));
      if (!existsSync(join(site, to)) || !statSync(join(site, to)).isFile()) {
        problems.push(`${path} links to ${url}, which is not there`);
      } else if (anchor !== "" && !pages.get(to)?.anchors.has(decodeURIComponent(anchor))) {
        problems.push(`${path} links to ${url}, which has no such anchor`);
      }
    }
  }
  return problems;
}
