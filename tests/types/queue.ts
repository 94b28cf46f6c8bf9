/** Queues and pipes have the types of what goes through them. */

import {
  type Connection,
  Event,
  JoinableQueue,
  Pipe,
  type Process,
  Queue,
  type QueueOptions,
  SimpleQueue,
  wait,
} from "@multiprocessing/core";
import { is } from "./expect.ts";

interface Job {
  id: number;
  text?: string;
}

/** What is put is what is got. */
export async function queues(queue: Queue<Job>, signal: AbortSignal | undefined): Promise<void> {
  await queue.put({ id: 1 }, { timeout: 10, signal });
  queue.putSync({ id: 1, text: "one" });
  queue.putNowait({ id: 1 });
  is<Job>()(await queue.get());
  is<Job>()(queue.getSync({ timeout: 10 }));
  is<Job>()(queue.getNowait());
  is<number>()(queue.qsize());
  for await (const job of queue) is<Job>()(job);
  const iterable: AsyncIterable<Job> = queue;

  // @ts-expect-error: no job
  queue.put("one");
  // @ts-expect-error: a job has an id
  queue.putSync({});
  // @ts-expect-error: nothing else is in a job
  queue.putNowait({ id: 1, name: "one" });
  // @ts-expect-error: jobs come out
  const text: string = queue.getSync();
  // @ts-expect-error: it never ends by itself
  for (const job of queue) console.log(job);
  // @ts-expect-error: who blocks cannot hear a signal
  queue.getSync({ signal });
  return void [iterable, text];
}

/** All kinds. */
export async function kinds(): Promise<void> {
  is<Queue<unknown>>()(new Queue());
  is<unknown>()(await new Queue().get());
  is<string>()(await new SimpleQueue<string>().get());
  const tasks = new JoinableQueue<[number, number]>({ maxSize: 10 });
  is<[number, number]>()(await tasks.get());
  tasks.taskDone();
  is<boolean>()(await tasks.join());
  is<boolean>()(tasks.joinSync({ timeout: 1 }));
  const queue: Queue<[number, number]> = tasks;
  const made: QueueOptions = { maxSize: undefined, capacity: undefined };
  new Queue<string>(made);
  // @ts-expect-error: a queue of pairs is none of numbers
  const numbers: Queue<number> = tasks;
  // @ts-expect-error: only a JoinableQueue counts what is done
  queue.taskDone();
  // @ts-expect-error: Python's name
  new Queue({ maxsize: 10 });
  // @ts-expect-error: options, not a number
  new Queue(10);
  return void numbers;
}

/** What goes through a pipe is not known, unless one says it. */
export async function pipes(): Promise<void> {
  const [a, b] = Pipe();
  is<Connection>()(a);
  a.sendSync({ any: "thing" });
  is<unknown>()(await b.recv());
  is<unknown>()(b.recvSync({ timeout: 1 }));
  is<boolean>()(await b.poll());
  is<boolean>()(b.pollSync({ timeout: 1 }));
  await a.sendBytes(new Uint8Array(1));
  is<Uint8Array>()(await b.recvBytes({ maxLength: 1, timeout: undefined }));
  const [receiver, sender] = Pipe({ duplex: false, capacity: undefined });
  is<boolean>()(receiver.readable && sender.writable && !sender.closed);
  // @ts-expect-error: bytes are bytes
  a.sendBytes("text");
  // @ts-expect-error: not known
  b.recvSync().length;
}

/** Connections close by `using`. */
export function disposes(): void {
  using a = Pipe()[0];
  const disposable: Disposable = a;
  disposable[Symbol.dispose]();
}

/** Waits for several. */
export async function several(
  queue: Queue<Job>,
  process: Process<[number]>,
  event: Event,
  connection: Connection,
): Promise<void> {
  is<Queue<Job>[]>()(await wait([queue]));
  is<(Process<[number]> | Event)[]>()(await wait([process, event]));
  const ready = await wait([queue, process, event, connection], { timeout: 10 });
  for (const one of ready) if (one instanceof Event) one.clear();
  // @ts-expect-error: nothing to wait for
  wait([1]);
  // @ts-expect-error: a list
  wait(queue.get);
}
