/** Event: its contract in one process and between processes. */

import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertFalse,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Process } from "../process.ts";
import { Queue } from "../queue.ts";
import { Value } from "../shared.ts";
import { Event } from "../sync.ts";
import { closure } from "../target.ts";
import {
  ask,
  isPending,
  run,
  SOON,
  soon,
  start,
  TAKEOVER_MS,
  until,
} from "./fixtures/processes.ts";
import { assertOneStep, victim } from "./fixtures/step_death.ts";

declare const process: { exit(code: number): never };

// -- One process

test("Event is clear at first, set from set() to clear()", () => {
  const event = new Event();
  assertFalse(event.isSet());
  assertEquals(event.set(), undefined);
  assert(event.isSet());
  event.set();
  assert(event.isSet());
  assertEquals(event.clear(), undefined);
  assertFalse(event.isSet());
  event.clear();
  assertFalse(event.isSet());
});

test("Event.wait() of a set event passes at once, whatever the timeout", async () => {
  const event = new Event();
  event.set();
  for (const timeout of [undefined, 0, -1, -Infinity, 0.5, 1e9, 2 ** 40, Infinity]) {
    const options = timeout === undefined ? {} : { timeout };
    assertEquals(await event.wait(options), true);
    assertEquals(event.waitSync(options), true);
  }
  assert(event.isSet());
});

test("Event.wait() of a clear event gives false when its timeout is over", async () => {
  const event = new Event();
  for (const timeout of [0, -1, -Infinity]) {
    assertEquals(await event.wait({ timeout }), false);
    assertEquals(event.waitSync({ timeout }), false);
  }
  let began = performance.now();
  assertEquals(await event.wait({ timeout: 40 }), false);
  assertGreaterOrEqual(performance.now() - began, 38);
  began = performance.now();
  assertEquals(event.waitSync({ timeout: 40 }), false);
  assertGreaterOrEqual(performance.now() - began, 38);
  assertFalse(event.isSet());
});

test("Event.wait() refuses NaN as a timeout, set or clear", async () => {
  const event = new Event();
  for (const prepare of [() => event.clear(), () => event.set()]) {
    prepare();
    const error = await assertRejects(() => event.wait({ timeout: NaN }), RangeError);
    assertMatch(error.message, /'timeout'.*NaN/);
    assertThrows(() => event.waitSync({ timeout: NaN }), RangeError, "NaN");
  }
  const options = { timeout: "10" as unknown as number };
  await assertRejects(() => event.wait(options), TypeError, "'timeout'");
  assertThrows(() => event.waitSync(options), TypeError, "'timeout'");
});

test("Event.wait() with a signal aborted before rejects with its reason, even if it is set", async () => {
  const event = new Event();
  const reason = new Error("never mind");
  const options = { signal: AbortSignal.abort(reason) };
  assertStrictEquals(await assertRejects(() => event.wait(options)), reason);
  event.set();
  assertStrictEquals(await assertRejects(() => event.wait(options)), reason);
  assert(event.isSet());
});

test("Event.wait() whose signal aborts while it waits rejects, and the others wait on", async () => {
  const event = new Event();
  const controller = new AbortController();
  const reason = { any: "value" };
  const first = event.wait({ signal: controller.signal });
  const second = event.wait();
  const third = event.wait({ signal: controller.signal, timeout: SOON });
  assert(await isPending(first));
  controller.abort(reason);
  for (const waiting of [first, third]) {
    assertStrictEquals(await waiting.then(() => undefined, (error) => error), reason);
  }
  assert(await isPending(second));
  assertFalse(event.isSet());
  event.set();
  assertEquals(await soon(second), true);
});

test("Event.set() lets a thousand waiters pass, and later ones too", async () => {
  const event = new Event();
  const waiting = Array.from({ length: 1000 }, () => event.wait({ timeout: SOON }));
  assert(await isPending(waiting[0]!));
  event.set();
  assertEquals(await Promise.all(waiting), Array(1000).fill(true));
  assertEquals(await event.wait({ timeout: 0 }), true);
});

test("Event.set() lets those pass who wait, though clear() follows at once", async () => {
  const event = new Event();
  for (let i = 0; i < 20; i++) {
    const early = [event.wait(), event.wait({ timeout: SOON })];
    if (i % 2 === 0) assert(await isPending(early[0]!, 1));
    event.set();
    event.clear();
    const late = event.wait({ timeout: 20 });
    assertEquals(await soon(Promise.all(early), `round ${i}`), [true, true]);
    assertEquals(await late, false);
  }
});

test("Event.wait() passes those of an earlier round only", async () => {
  const event = new Event();
  const rounds: number[] = [];
  const waiting: Promise<void>[] = [];
  for (let round = 0; round < 5; round++) {
    waiting.push(event.wait().then(() => void rounds.push(round)));
    event.set();
    event.clear();
  }
  const last = event.wait();
  await soon(Promise.all(waiting));
  assertEquals(rounds, [0, 1, 2, 3, 4]);
  assert(await isPending(last));
  event.set();
  assertEquals(await soon(last), true);
});

test("Event.wait() is true if the event was set before its timeout, however busy the thread", async () => {
  const event = new Event();
  const waiting = event.wait({ timeout: 30 });
  assert(await isPending(waiting, 1));
  event.set();
  const end = performance.now() + 60;
  while (performance.now() < end);
  assertEquals(await waiting, true);
});

test("Event.wait() that comes while others wait passes at once if the event is set", async () => {
  const event = new Event();
  const first = event.wait();
  assert(await isPending(first));
  event.set();
  assertEquals(await event.wait({ timeout: 1 }), true);
  assertEquals(await soon(first), true);
});

// -- Between processes

test("Event.set() in a child wakes who waits here, blocking or not", async () => {
  for (const way of ["wait", "waitSync"] as const) {
    const event = new Event();
    const child = start(() => event.set(), { event });
    assertEquals(await event[way]({ timeout: SOON }), true);
    assert(event.isSet());
    await child.join();
  }
});

test("Event.wait() and waitSync() in children pass when the event is set here", async () => {
  const event = new Event();
  const ready = new Value("i32", 0);
  const scope = { event, ready };
  const children = [
    ask(() => {
      ready.add(1);
      return [event.isSet(), event.waitSync(), event.isSet()];
    }, scope),
    ask(async () => {
      const before = event.isSet();
      const waiting = [event.wait(), event.wait({ timeout: 60_000 })];
      ready.add(1);
      return [before, ...await Promise.all(waiting)];
    }, scope),
  ];
  await until(() => ready.value === 2);
  event.set();
  assertEquals(await Promise.all(children.map(({ result }) => result)), [
    [false, true, true],
    [false, true, true],
  ]);
});

test("Event.set() followed by clear() at once lets the waiters of other processes pass", async () => {
  const event = new Event();
  const waiting = new Value("i32", 0);
  const again = new Event();
  const scope = { event, waiting, again };
  const children = [
    ask(() => {
      waiting.add(1);
      return event.waitSync({ timeout: 15_000 });
    }, scope),
    ask(() => {
      const pass = event.wait({ timeout: 15_000 });
      waiting.add(1);
      return pass;
    }, scope),
  ];
  await until(() => waiting.value === 2);
  // The blocking one may be just before its wait: so long as nobody has passed, once more.
  let passed = 0;
  for (const { result } of children) result.then(() => passed++);
  await until(() => {
    event.set();
    event.clear();
    return passed === 2;
  });
  assertEquals(await Promise.all(children.map(({ result }) => result)), [true, true]);
  assertFalse(event.isSet());
});

test("Event plays ping-pong between two processes a few hundred times", async () => {
  const [ping, pong] = [new Event(), new Event()];
  const rounds = 300;
  const { result } = ask(
    async () => {
      for (let i = 0; i < rounds; i++) {
        const got = i % 2 === 0 ? ping.waitSync({ timeout: 15_000 }) : await ping.wait();
        if (!got) throw new Error(`no ping ${i}`);
        ping.clear();
        pong.set();
      }
    },
    { ping, pong, rounds },
  );
  for (let i = 0; i < rounds; i++) {
    ping.set();
    assert(await pong.wait({ timeout: SOON }), `no pong ${i}`);
    pong.clear();
  }
  await result;
});

test("Event is not harmed by waiters that are terminated, killed or exit", async () => {
  const event = new Event();
  const ready = new Value("i32", 0);
  const wait = async () => {
    ready.add(1);
    await event.wait();
  };
  const waitSync = () => {
    ready.add(1);
    event.waitSync();
  };
  const leave = () => {
    ready.add(1);
    event.wait();
    setTimeout(() => process.exit(4), 1);
    return new Promise(() => {});
  };
  const scope = { event, ready };
  const children = [start(wait, scope), start(waitSync, scope), start(leave, scope)] as const;
  const survivor = ask(() => {
    ready.add(1);
    return event.waitSync({ timeout: 15_000 });
  }, scope);
  const here = event.wait({ timeout: SOON });
  await until(() => ready.value === 4);
  children[0].terminate();
  children[1].kill();
  await Promise.all(children.map((child) => child.join()));
  assertEquals(children.map((child) => child.exitCode), [-15, -9, 4]);
  assertFalse(event.isSet());
  assert(await isPending(here));
  const began = performance.now();
  event.set();
  assertEquals([await here, await survivor.result], [true, true]);
  assertLess(performance.now() - began, SOON);
});

test("Event that a process has set stays set after its death", async () => {
  const event = new Event();
  const child = start(() => {
    event.set();
    process.exit(2);
  }, { event });
  assertEquals(await event.wait({ timeout: SOON }), true);
  await child.join();
  assert(event.isSet());
});

// -- Deaths amid an operation

/** The steps at which somebody dies. */
const steps = (count: number, first = 0) => Array.from({ length: count }, (_, i) => first + i);

/** The event is clear, and as good as new. */
async function assertUnharmed(event: Event): Promise<void> {
  assertFalse(event.isSet());
  assertEquals(await event.wait({ timeout: 0 }), false);
  assertEquals(event.waitSync({ timeout: 1 }), false);
  const waiting = event.wait({ timeout: SOON });
  event.set();
  assertEquals([await waiting, event.waitSync()], [true, true]);
  event.clear();
  assertFalse(event.isSet());
}

test("Event.set() of a process that dies before any of its steps has set it, or not", async () => {
  const [set, survived]: [boolean[], boolean[]] = [[], []];
  const dying = steps(7).map((step) => {
    const event = new Event();
    const waiting = event.wait();
    const act = () => event.set();
    return { event, waiting, ...victim({ act, scope: { event }, step }) };
  });
  for (const { event, waiting, ...dead } of dying) {
    survived.push(await dead.survived());
    set.push(event.isSet());
    // Who died before the wake-up has set it all the same: the others see for themselves.
    if (!event.isSet()) {
      assert(await isPending(waiting, 1));
      event.set();
    }
    assertEquals(await soon(waiting), true);
    event.clear();
    await assertUnharmed(event);
  }
  assertOneStep(set, survived, false, true);
});

test("Event.set() of a process that dies before it wakes anybody lets them pass, blocking or not", async () => {
  // The second step changes the word, the third wakes.
  const scope = { event: new Event(), ready: new Value("i32", 0) };
  const { event, ready } = scope;
  const blocked = ask(() => {
    ready.add(1);
    return event.waitSync({ timeout: 15_000 });
  }, scope);
  const here = event.wait({ timeout: SOON });
  await until(() => ready.value === 1);
  const dead = victim({ act: () => event.set(), scope, step: 2 });
  assertFalse(await dead.survived());
  const began = performance.now();
  assert(event.isSet());
  assertEquals([await here, await blocked.result], [true, true]);
  assertLess(performance.now() - began, TAKEOVER_MS);
});

test("Event.clear() of a process that dies before any of its steps has cleared it, or not", async () => {
  const [set, survived]: [boolean[], boolean[]] = [[], []];
  const dying = steps(5).map((step) => {
    const event = new Event();
    event.set();
    const act = () => event.clear();
    return { event, ...victim({ act, scope: { event }, step }) };
  });
  for (const { event, ...dead } of dying) {
    survived.push(await dead.survived());
    set.push(event.isSet());
    assertEquals(await event.wait({ timeout: 0 }), set.at(-1));
    event.clear();
    await assertUnharmed(event);
  }
  assertOneStep(set, survived, true, false);
});

for (const way of ["wait", "waitSync"] as const) {
  test(`Event.${way}() of a process that dies before any of its steps harms no other`, async () => {
    const ends = steps(14).map(async (step) => {
      const event = new Event();
      const act = async () => void await event[way]();
      const dying = victim({ act, scope: { event, way }, step });
      const early = event.wait();
      const slept = await dying.deadOrAsleep();
      assertFalse(event.isSet());
      const late = event.wait({ timeout: SOON });
      assert(await isPending(early, 1));
      event.set();
      assertEquals([await soon(early), await late], [true, true]);
      const survived = await dying.survived();
      event.clear();
      await assertUnharmed(event);
      return { slept, survived };
    });
    const all = await Promise.all(ends);
    assert(all.some(({ slept }) => !slept));
    assert(all.some(({ slept, survived }) => slept && !survived));
    assert(all.at(-1)!.survived, "there are more steps");
  });
}

for (const stop of ["terminate", "kill"] as const) {
  test(`Event of a process that meets ${stop}() between two steps of set() is set, or not`, async () => {
    // Before the flag is set, and before anybody is woken.
    for (const step of [1, 2]) {
      const event = new Event();
      const waiting = event.wait();
      const act = () => event.set();
      const { process, parked } = victim({ act, scope: { event }, step, how: "park" });
      await parked();
      process[stop]();
      assertEquals(event.isSet(), step === 2);
      if (step === 1) event.set();
      const began = performance.now();
      assertEquals(await soon(waiting), true);
      assertLess(performance.now() - began, TAKEOVER_MS);
      await process.join();
      event.clear();
      await assertUnharmed(event);
    }
  });
}

test("Event.wait() that is given up leaves the event, and those who wait, as they were", async () => {
  const event = new Event();
  const waiting = new Value("i32", 0);
  const other = ask(() => {
    waiting.add(1);
    return event.waitSync({ timeout: 15_000 });
  }, { event, waiting });
  const here = event.wait();
  await until(() => waiting.value === 1);
  const controller = new AbortController();
  const leaving = Array.from(
    { length: 20 },
    (_, i) =>
      i % 2 === 0
        ? event.wait({ timeout: 1 + i }).then(assertFalse)
        : assertRejects(() => event.wait({ signal: controller.signal })).then(() => {}),
  );
  assertEquals(event.waitSync({ timeout: 5 }), false);
  controller.abort();
  await Promise.all(leaving);
  assertFalse(event.isSet());
  assert(await isPending(here, 5));
  assert(other.child.isAlive());
  event.set();
  assertEquals([await soon(here), await other.result], [true, true]);
  event.clear();
  await assertUnharmed(event);
});

// -- Sharing

test("Event crosses as itself: argument, deep in objects, in a scope, in a queue item", async () => {
  const events = Array.from({ length: 4 }, () => new Event());
  const [direct, deep, scoped, queued] = events as [Event, Event, Event, Event];
  const items = new Queue<Event[]>();
  await items.put([queued]);
  const nested = { list: [0, new Map([["key", new Set([deep])]])] };
  const child = new Process({
    target: closure((direct: Event, { list }: typeof nested) => {
      const [deep] = (list[1] as Map<string, Set<Event>>).get("key")!;
      for (const event of [direct, deep!, scoped, ...items.getSync()]) event.set();
    }, { scoped, items }),
    args: [direct, nested],
  });
  child.start();
  for (const event of events) assertEquals(await event.wait({ timeout: SOON }), true);
  await child.join();
  assertEquals(child.exitCode, 0);
});

test("Event that stands twice in one message is one object there", async () => {
  const event = new Event();
  const same = new Queue<boolean[]>();
  const child = new Process({
    target: closure((one: Event, { two }: { two: Event }, other: Event) => {
      same.putSync([one === two, one === other]);
    }, { same }),
    args: [event, { two: event }, new Event()],
  });
  child.start();
  assertEquals(await same.get({ timeout: SOON }), [true, false]);
  await child.join();
});

test("Event that a child has made works here after the child's end", async () => {
  const made = new Queue<Event>();
  await run(() => made.putSync(new Event()), { Event, made });
  const event = await made.get();
  assertInstanceOf(event, Event);
  assertFalse(event.isSet());
  const waiting = event.wait({ timeout: SOON });
  event.set();
  assertEquals(await waiting, true);
});

test("Event.wait() that comes when the event is set passes, though others wait and clear() follows at once", async () => {
  const event = new Event();
  const first = event.wait();
  assert(await isPending(first));
  event.set();
  const second = event.wait();
  event.clear();
  assertEquals(await soon(Promise.all([first, second])), [true, true]);
});
