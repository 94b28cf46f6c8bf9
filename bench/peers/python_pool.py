"""Python's multiprocessing.Pool as a contestant of pool_bench.ts.

Takes a turn for each line of its input, as child.ts does, and answers with milliseconds. Its import of
multiprocessing is timed, and so stands in open_pool().
"""

import gc
import json
import sys
from time import perf_counter, sleep

MARK = "@bench "
REST = 0.002
FIB_TASKS = 16
WORKERS = 2

pool = None


def noop():
    pass


def double(x):
    return x * 2


def reprice(item):
    return {"id": item["id"], "name": item["name"], "price": item["price"] * 2}


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def timed(run):
    begun = perf_counter()
    result = run()
    return (perf_counter() - begun) * 1_000, result


def open_pool(workers):
    global pool, WORKERS
    WORKERS = workers

    def first():
        global pool
        from multiprocessing import Pool

        pool = Pool(workers)
        pool.apply(noop)

    time, _ = timed(first)
    for _ in range(5):
        pool.map(double, range(workers), 1)
    return [time]


def submit(count):
    return [pool.apply_async(noop) for _ in range(count)]


def tasks(count):
    return [timed(lambda: [result.get() for result in submit(count)])[0]]


def calls(count, rest):
    times = []
    for _ in range(count):
        if rest:
            sleep(rest)
        times.append(timed(lambda: pool.apply(noop))[0])
    return times


def map_numbers(count):
    numbers = list(range(count))
    time, results = timed(lambda: pool.map(double, numbers))
    assert results == [2 * x for x in numbers]
    return [time]


def map_objects(count):
    items = [{"id": id, "name": f"item {id}", "price": id / 4} for id in range(count)]
    time, results = timed(lambda: pool.map(reprice, items))
    assert len(results) == count and results[-1]["price"] == (count - 1) / 2
    return [time]


def unordered(count):
    time, total = timed(lambda: sum(pool.imap_unordered(double, range(count))))
    assert total == count * (count - 1)
    return [time]


def fib(n):
    return [timed(lambda: pool.map(fibonacci, [n] * FIB_TASKS, 1))[0]]


def fib_alone(n):
    return [timed(lambda: [fibonacci(n) for _ in range(FIB_TASKS)])[0]]


numbers = None
scaling_pool = None


def inherit(shared):
    global numbers
    numbers = memoryview(shared).cast("B").cast("d")


def scale(part):
    for at in range(*part):
        numbers[at] *= 2


def share(count):
    """Shared memory reaches Python's workers when they start, not with a task."""
    global scaling_pool
    if numbers is None:
        from multiprocessing import Pool
        from multiprocessing.sharedctypes import RawArray

        raw = RawArray("d", count)
        inherit(raw)
        numbers[:] = memoryview(bytes(8 * count)).cast("d")
        scaling_pool = Pool(WORKERS, inherit, (raw,))


def in_place(count):
    share(count)
    numbers[0], numbers[count - 1] = 1, 1
    half = count // 2
    time, _ = timed(lambda: scaling_pool.map(scale, [(0, half), (half, count)], 1))
    assert numbers[0] == numbers[count - 1] == 2
    return [time]


def in_place_alone(count):
    share(count)
    return [timed(lambda: scale((0, count)))[0]]


def transfer(size):
    data = bytes(size)
    time, length = timed(lambda: pool.apply(len, (data,)))
    assert length == size
    return [time]


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def resident(count):
    gc.collect()
    before = resident_bytes()
    results = submit(count)
    after = resident_bytes()
    results[0].get()
    return [(after - before) / count]


TURNS = {
    "open": open_pool,
    "tasks": tasks,
    "latency": lambda count: calls(count, 0),
    "rested": lambda count: calls(count, REST),
    "map": map_numbers,
    "objects": map_objects,
    "unordered": unordered,
    "fib": fib,
    "fibAlone": fib_alone,
    "inPlace": in_place,
    "inPlaceAlone": in_place_alone,
    "transfer": transfer,
    "resident": resident,
}


ABOUT = {
    "documentedFor": "",
    "mapIdiom": "pool.map(fn, items)",
    "unorderedIdiom": "for in pool.imap_unordered(fn, numbers)",
}

if __name__ == "__main__":
    for line in sys.stdin:
        turn = json.loads(line)
        try:
            answer = {"values": TURNS[turn["what"]](turn["count"])}
            if turn["what"] == "open":
                answer["about"] = ABOUT
        except Exception as error:
            answer = {"error": repr(error)}
        print(MARK + json.dumps(answer), flush=True)
