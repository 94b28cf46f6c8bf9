"""Python's multiprocessing as a contestant of primitives_bench.ts.

Takes a turn for each line of its input, as primitives_child.ts does, and answers in milliseconds.
"""

import json
import sys
from array import array
from multiprocessing import Array, Event, Lock, Process, Queue, RLock, SimpleQueue, Value
from time import perf_counter

MARK = "@bench "
NUMBERS = 8 * 2**20


def number(at):
    return at


def record(at):
    return {"id": at, "name": "worker", "v": [1, 2, 3.5]}


def numbers():
    return array("d", bytes(8 * NUMBERS))


def produce(orders, items, make):
    while count := orders.get():
        for at in range(count):
            items.put(make(at))


def produce_arrays(orders, items):
    item = numbers()
    while count := orders.get():
        for _ in range(count):
            items.put(item)


def start(target, *args):
    process = Process(target=target, args=args, daemon=True)
    process.start()
    return process


def got(items, make, *args):
    """Items from a process: from the first until the last has come."""
    orders = SimpleQueue()
    start(make and produce or produce_arrays, orders, items, *([make] if make else []), *args)

    def turn(count):
        orders.put(count + 1)
        items.get()
        begun = perf_counter()
        for _ in range(count):
            items.get()
        return perf_counter() - begun

    return turn


def drain(items, answers):
    while (item := items.get()) is not None:
        answers.put(item[0])


def put_arrays():
    items, answers = Queue(), Queue()
    start(drain, items, answers)
    item = numbers()

    def turn(count):
        begun = perf_counter()
        for _ in range(count):
            items.put(item)
        for _ in range(count):
            answers.get()
        return perf_counter() - begun

    return turn


def pairs(lock):
    def turn(count):
        begun = perf_counter()
        for _ in range(count):
            lock.acquire()
            lock.release()
        return perf_counter() - begun

    return turn


def guards(lock):
    def turn(count):
        begun = perf_counter()
        for _ in range(count):
            with lock:
                pass
        return perf_counter() - begun

    return turn


def count_up(value, orders, ends):
    while count := orders.get():
        for _ in range(count):
            with value.get_lock():
                value.value += 1
        ends.put(None)


def increments():
    value, orders, ends = Value("i", 0), SimpleQueue(), SimpleQueue()
    for _ in range(2):
        start(count_up, value, orders, ends)

    def turn(count):
        value.value = 0
        begun = perf_counter()
        for _ in range(2):
            orders.put(count // 2)
        for _ in range(2):
            ends.get()
        time = perf_counter() - begun
        assert value.value == count // 2 * 2
        return time

    return turn


def echo(asked, answered):
    while True:
        asked.wait()
        asked.clear()
        answered.set()


def event_trips():
    asked, answered = Event(), Event()
    start(echo, asked, answered)

    def turn(count):
        begun = perf_counter()
        for _ in range(count):
            asked.set()
            answered.wait()
            answered.clear()
        return perf_counter() - begun

    return turn


def reply(items, answers):
    while True:
        answers.put(items.get())


def queue_trips():
    items, answers = Queue(), Queue()
    start(reply, items, answers)

    def turn(count):
        begun = perf_counter()
        for at in range(count):
            items.put(at)
            answers.get()
        return perf_counter() - begun

    return turn


def first_use(shared, ready):
    ready.put(shared[0])


def life(bytes):
    shared, ready = Array("B", bytes, lock=False), SimpleQueue()

    def turn(count):
        time = 0
        for _ in range(count):
            begun = perf_counter()
            process = start(first_use, shared, ready)
            ready.get()
            time += perf_counter() - begun
            process.join()
        return time

    return turn


TURNS = {
    "ints": lambda: got(Queue(), number),
    "simpleInts": lambda: got(SimpleQueue(), number),
    "records": lambda: got(Queue(), record),
    "simpleRecords": lambda: got(SimpleQueue(), record),
    "queueTrips": queue_trips,
    "lockPairs": lambda: pairs(Lock()),
    "lockGuards": lambda: guards(Lock()),
    "rlockPairs": lambda: pairs(RLock()),
    "increments": increments,
    "eventTrips": event_trips,
    "arraysIn": lambda: got(Queue(), None),
    "arraysOut": put_arrays,
    "shareSmall": lambda: life(8),
    "shareLarge": lambda: life(2**30),
}

turn = TURNS[sys.argv[1]]()
for line in sys.stdin:
    milliseconds = turn(int(line)) * 1_000
    print(MARK + json.dumps({"ms": milliseconds}), flush=True)
