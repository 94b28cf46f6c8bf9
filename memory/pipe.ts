import { checkAlive, ownPid } from "./control.ts";
import { Attachments, identify, IDENTITY_WORDS } from "./identity.ts";
import { type Claim, CLOSED, type Item, Ring, type RingResult } from "./ring.ts";
import { RingPut, RingReady, type RingSource } from "./ring_wait.ts";
import { Roster } from "./roster.ts";
import { PENDING } from "./wait.ts";

const IDENTITY = 0;
const ENDS = IDENTITY + IDENTITY_WORDS;

// Of each end.
const MOVES = 0;
const IN_FLIGHT = 1;
const HOLDERS = 2;
const END_WORDS = HOLDERS + Roster.size(0);

/** What an end is made of, to be handed to other processes. */
export interface PipeParts {
  cells: SharedArrayBuffer;
  /** Which end: 0 or 1. */
  side: number;
  /** The ring that this end reads, and the one that it writes; null if it does not. */
  incoming: SharedArrayBuffer | null;
  outgoing: SharedArrayBuffer | null;
}

const attachments = [new Attachments<PipeEnd>(), new Attachments<PipeEnd>()];

/**
 * One end of a pipe, as this process has it: who holds it, and the rings behind it.
 *
 * | word of each end | meaning |
 * |---|---|
 * | `HOLDERS` | the processes that hold the end |
 * | `IN_FLIGHT` | messages that bring it to somebody: nobody knows to whom |
 * | `MOVES` | counts how often anything was added to the two |
 *
 * An end is **gone** when no living process holds it and none is in flight. Whoever finds that closes its
 * rings: those at the other end drain what is there, their puts fail, all who wait wake up. That is for
 * ever.
 *
 * | transition | by |
 * |---|---|
 * | pid entered, `MOVES + 1` | who makes the pipe, receives the end, or uses one that it handed over; for a new process, the one that starts it |
 * | `IN_FLIGHT + 1`, `MOVES + 1` | who sends the end to an unknown receiver |
 * | `IN_FLIGHT - 1`, never below 0 | who has received it, when it is entered |
 * | pid taken out | who closes its handle, or has started the process that it handed the end over to |
 *
 * Nothing is taken away before what comes in its place has been added and counted. So if `MOVES` is the
 * same before and after a look that found nothing, there was nothing.
 *
 * **Death.** A pid of a dead process holds nothing: those at the other end look every slice. One that
 * dies as it closes is a dead holder. One that dies with the end in its hands, sent or received but not
 * entered, leaves `IN_FLIGHT` too high: then only a close() at the other end ends the pipe.
 */
export class PipeEnd {
  readonly incoming: Ring | undefined;
  readonly outgoing: Ring | undefined;
  readonly #cells: Int32Array;
  readonly #side: number;
  readonly #start: number;
  readonly #holders: Roster;
  readonly #peerHolders: Roster;
  /** Where this process is entered, if it still is. */
  #entry = 0;

  private constructor({ cells, side, incoming, outgoing }: PipeParts) {
    this.#cells = new Int32Array(cells);
    this.#side = side;
    this.#start = startOf(side);
    this.#holders = new Roster(this.#cells, this.#start + HOLDERS, 0);
    this.#peerHolders = new Roster(this.#cells, startOf(1 - side) + HOLDERS, 0);
    this.incoming = incoming === null ? undefined : Ring.attach(incoming);
    this.outgoing = outgoing === null ? undefined : Ring.attach(outgoing);
  }

  /** Makes a pipe, both of whose ends this process holds. */
  static create(capacity: number, duplex: boolean): [PipeEnd, PipeEnd] {
    const ring = () => Ring.create({ capacity, maxItems: 0 }).buffer;
    const cells = new SharedArrayBuffer((ENDS + 2 * END_WORDS) * Int32Array.BYTES_PER_ELEMENT);
    identify(new Int32Array(cells), IDENTITY);
    const [there, back] = [duplex ? ring() : null, ring()];
    const first = PipeEnd.attach({ cells, side: 0, incoming: back, outgoing: there });
    const second = PipeEnd.attach({ cells, side: 1, incoming: there, outgoing: back });
    for (const end of [first, second]) end.enter();
    return [first, second];
  }

  /** The end of these parts: always the same object for the same end. */
  static attach(parts: PipeParts): PipeEnd {
    const cells = new Int32Array(parts.cells);
    return attachments[parts.side]!.get(cells, IDENTITY, () => new PipeEnd(parts));
  }

  /** What {@linkcode attach} takes. */
  get parts(): PipeParts {
    return {
      cells: this.#cells.buffer as SharedArrayBuffer,
      side: this.#side,
      incoming: this.incoming?.buffer ?? null,
      outgoing: this.outgoing?.buffer ?? null,
    };
  }

  /** This process holds the end, from now on or still. */
  enter(): void {
    checkAlive();
    if (this.#entry !== 0 && this.#holders.pidAt(this.#entry) === ownPid) return;
    this.#entry = this.#holders.own();
    this.#countMove();
  }

  /** A process that is about to be started holds the end. */
  enterFor(pid: number): void {
    this.#holders.enter(pid);
    this.#countMove();
  }

  /** This process does not hold the end any more. */
  leave(): void {
    this.#holders.leave(ownPid);
    this.#notice();
  }

  /** The end is on its way to nobody knows whom. */
  launch(): void {
    Atomics.add(this.#cells, this.#start + IN_FLIGHT, 1);
    this.#countMove();
  }

  /** The end has come, and this process holds it. */
  land(): void {
    this.enter();
    this.#endFlight();
  }

  /** The end is not on its way after all. */
  recall(): void {
    this.#endFlight();
    this.#notice();
  }

  /** Closes the rings if the other end is gone; returns whether it is. */
  noticePeer(): boolean {
    if (!isGone(this.#cells, startOf(1 - this.#side), this.#peerHolders)) return false;
    this.#closeRings();
    return true;
  }

  /** Gives up the large messages that this process is amid of, and lets all who wait look again. */
  interrupt(): void {
    this.incoming?.abandonGet();
    this.outgoing?.streamer?.cancel();
    this.incoming?.wakeAll();
    this.outgoing?.wakeAll();
  }

  /** Puts a message, unless there is no room or nobody at the other end. */
  tryPut(item: Item): RingResult {
    const ring = this.outgoing as Ring;
    this.enter();
    return this.noticePeer() ? CLOSED : ring.tryPut(item);
  }

  #endFlight(): void {
    const index = this.#start + IN_FLIGHT;
    for (;;) {
      const count = Atomics.load(this.#cells, index);
      if (count === 0) return;
      if (Atomics.compareExchange(this.#cells, index, count, count - 1) === count) return;
    }
  }

  /** Closes the rings if this end is gone. */
  #notice(): void {
    if (isGone(this.#cells, this.#start, this.#holders)) this.#closeRings();
  }

  #countMove(): void {
    Atomics.add(this.#cells, this.#start + MOVES, 1);
  }

  #closeRings(): void {
    for (const ring of [this.incoming, this.outgoing]) if (ring?.closed === false) ring.close();
  }
}

/** Throws if the handle on whose behalf somebody waits has been closed. */
type Check = () => void;

/** A put that waits for room, as long as there is somebody at the other end. */
export class PipePut extends RingPut {
  readonly #end: PipeEnd;
  readonly #check: Check;

  constructor(end: PipeEnd, item: Item, check: Check) {
    super(end.outgoing as Ring, item);
    this.#end = end;
    this.#check = check;
  }

  override attempt(): RingResult {
    this.#check();
    this.#end.enter();
    this.#end.noticePeer();
    return super.attempt();
  }
}

/** Gives the messages of an end, and notices when there is nobody at the other. */
export class PipeSource implements RingSource {
  readonly #end: PipeEnd;
  readonly #check: Check;
  readonly #claim: Claim | undefined;
  /** Whether it has begun the large message that this process is amid of getting. */
  #amid = false;

  constructor(end: PipeEnd, check: Check, claim?: Claim) {
    this.#end = end;
    this.#check = check;
    this.#claim = claim;
  }

  tryGet(): RingResult {
    this.#check();
    this.#end.enter();
    const ring = this.#end.incoming as Ring;
    if (this.#claim !== undefined && ring.amidStream && !this.#amid) {
      // The claim has not seen that message: the get that has begun it goes on with it.
      ring.getLine.poke();
      if (ring.amidStream) return PENDING;
    }
    try {
      const result = ring.tryGet(this.#claim);
      // Before it went, the peer may have put something.
      return result === PENDING && this.#end.noticePeer() ? ring.tryGet(this.#claim) : result;
    } catch (error) {
      // A message that was refused is there for others.
      ring.wakeGetters(1);
      throw error;
    } finally {
      this.#amid = ring.amidStream;
    }
  }
}

/** A wait until a get at an end would not have to wait. */
export class PipeReady extends RingReady {
  readonly #end: PipeEnd;
  readonly #check: Check;

  constructor(end: PipeEnd, check: Check) {
    super(end.incoming as Ring);
    this.#end = end;
    this.#check = check;
  }

  override attempt(): true | typeof PENDING {
    this.#check();
    this.#end.enter();
    const result = super.attempt();
    return result === PENDING && this.#end.noticePeer() ? true : result;
  }
}

function startOf(side: number): number {
  return ENDS + side * END_WORDS;
}

function isGone(cells: Int32Array, start: number, holders: Roster): boolean {
  for (;;) {
    const moves = Atomics.load(cells, start + MOVES);
    if (Atomics.load(cells, start + IN_FLIGHT) > 0 || holders.hasLiving) return false;
    if (Atomics.load(cells, start + MOVES) === moves) return true;
  }
}
