/**
 * A browser without a window, driven over its DevTools protocol.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The browser may take this long to start, and a page to load, in milliseconds. */
const TIMEOUT = 30_000;

/** A message of the protocol. */
interface Message {
  id?: number;
  method?: string;
  // deno-lint-ignore no-explicit-any
  params?: any;
  // deno-lint-ignore no-explicit-any
  result?: any;
  error?: { message: string };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where Chromium is: `CHROME_PATH`, or the first of its names on the PATH; undefined if nowhere. */
export function findBrowser(): string | undefined {
  const { CHROME_PATH, PATH = "" } = process.env;
  if (CHROME_PATH) return CHROME_PATH;
  const folders = PATH.split(delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

/** A running browser with one tab. */
export class Browser {
  readonly #socket: WebSocket;
  readonly #end: () => Promise<void>;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #sent = 0;
  #session: string | undefined;
  #loaded = Promise.withResolvers<void>();
  #problems: string[] = [];

  private constructor(socket: WebSocket, end: () => Promise<void>) {
    this.#socket = socket;
    this.#end = end;
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(String(data))));
  }

  /** Starts a browser. */
  static async start(binary: string): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "browser_"));
    const child = spawn(binary, [
      "--headless=new",
      "--no-sandbox", // which root cannot have
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--remote-debugging-port=0",
      `--user-data-dir=${profile}`,
      "about:blank",
    ], { stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    const end = async () => {
      kill();
      await ended;
      process.off("exit", kill);
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    };
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let said = "";
        const fail = () => reject(new Error(`Cannot start ${binary}: ${said}`));
        setTimeout(fail, TIMEOUT).unref();
        child.once("error", reject);
        child.once("close", fail);
        child.stderr.on("data", (chunk) => {
          said += chunk;
          const [, found] = /DevTools listening on (ws:\S+)/.exec(said) ?? [];
          if (found) resolve(found);
        });
      });
      const socket = new WebSocket(url);
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve);
        socket.addEventListener("error", reject);
      });
      const browser = new Browser(socket, end);
      await browser.#openTab();
      return browser;
    } catch (error) {
      await end();
      throw error;
    }
  }

  async #openTab(): Promise<void> {
    const { targetId } = await this.#send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.#send("Target.attachToTarget", { targetId, flatten: true });
    this.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) {
      await this.#send(`${domain}.enable`);
    }
  }

  // deno-lint-ignore no-explicit-any
  #send(method: string, params: object = {}): Promise<any> {
    const id = ++this.#sent;
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId: this.#session }));
    return answer.promise;
  }

  #hear({ id, method, params, result, error }: Message): void {
    if (id !== undefined) {
      const answer = this.#answers.get(id);
      this.#answers.delete(id);
      error ? answer?.reject(new Error(error.message)) : answer?.resolve(result);
    } else if (method === "Page.loadEventFired") {
      this.#loaded.resolve();
    } else if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params.exceptionDetails;
      this.#problems.push(`uncaught: ${exception?.description ?? text}`);
    } else if (method === "Runtime.consoleAPICalled" && params.type === "error") {
      const words = params.args.map((arg: { value?: unknown; description?: string }) =>
        arg.value ?? arg.description
      );
      this.#problems.push(`console.error: ${words.join(" ")}`);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.#problems.push(`${params.entry.text} ${params.entry.url ?? ""}`.trim());
    } else if (method === "Network.loadingFailed") {
      this.#problems.push(`failed request: ${params.errorText}`);
    } else if (method === "Network.requestWillBeSent") {
      const { url } = params.request;
      if (!/^(?:file|data|blob|about):/.test(url)) this.#problems.push(`request to ${url}`);
    }
  }

  /**
   * Opens a page, and waits until it is loaded.
   *
   * @param url Its URL.
   * @param expression What is then evaluated in the page.
   * @returns The expression's value; and, as sentences, errors on the console, requests that failed,
   * and requests to other machines.
   */
  async open(url: string, expression: string): Promise<{ value: unknown; problems: string[] }> {
    await this.#send("Log.clear"); // else the last page's entries come again
    this.#problems = [];
    this.#loaded = Promise.withResolvers();
    const { errorText } = await this.#send("Page.navigate", { url });
    if (errorText) return { value: undefined, problems: [`cannot be opened: ${errorText}`] };
    const timer = setTimeout(
      () => this.#loaded.reject(new Error(`${url} did not load in ${TIMEOUT} ms`)),
      TIMEOUT,
    );
    try {
      await this.#loaded.promise;
    } finally {
      clearTimeout(timer);
    }
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) this.#problems.push(`cannot evaluate: ${exceptionDetails.text}`);
    return { value: result.value, problems: this.#problems };
  }

  /** Ends the browser. */
  async close(): Promise<void> {
    this.#socket.close();
    await this.#end();
  }
}
