import { MessageChannel, type MessagePort, receiveMessageOnPort } from "node:worker_threads";

/**
 * What can be moved rather than copied: an ArrayBuffer, a MessagePort or a stream, of whichever runtime.
 * A view of a buffer cannot; its `buffer` can. Not the global type of this name, which only browsers'
 * and Deno's libraries have.
 */
export type Transferable = object & { readonly buffer?: never };

/** One end of a channel between two processes. It never keeps an event loop alive. */
export interface Port {
  /** Sends `message`; what `transfer` lists is moved. */
  post(message: unknown, transfer?: readonly Transferable[]): void;
  /** Calls `listener` with each message that comes, unless {@linkcode receive} took it before. */
  listen(listener: (message: unknown) => void): void;
  /** Closes both ends. */
  close(): void;
  /** The port itself, to be sent to the process that shall have this end. */
  readonly raw: Transferable;
}

/** Opens a channel; the second end is raw, to be sent to another process. */
export function openChannel(): [Port, Transferable] {
  const { port1, port2 } = new MessageChannel();
  return [wrapPort(port1), port2 as unknown as Transferable];
}

/** Takes the end of a channel that another process sent. */
export function wrapPort(raw: unknown): Port {
  const port = raw as MessagePort;
  return {
    post: (message, transfer = []) => port.postMessage(message, transfer as never[]),
    listen(listener) {
      port.on("message", listener);
      // Only now: attaching a listener refers the port again.
      port.unref();
    },
    close: () => port.close(),
    raw: port as unknown as Transferable,
  };
}

/** Takes the next message of a port without the event loop, or nothing if there is none. */
export function receive(port: Port): { message: unknown } | undefined {
  try {
    return receiveMessageOnPort(port.raw as unknown as MessagePort);
  } catch (error) {
    // Deno throws this where the others return undefined: the other end has gone.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
