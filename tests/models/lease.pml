// Leases: memory/lease.ts (Leases.limit, drop, holder, revoke, abort, left, takeBack, clear; Lease.begin,
// dropped, open, next, end) as wire/pool/task_loop.ts (#begin, #beginItem, #put, #end),
// wire/pool/overseer.ts (cancel, #haunt, #stop, #split) and wire/pool/local_backend.ts (#bury) use them.
//
// A pool and two workers run two jobs: 0 may be cancelled at any time, 1 is a chunk of three items that
// may be split at any time. What is given back becomes a job of its own. There are two numbers: one
// comes again as soon as its job is settled, so no word needs more of it than the low bits.
//
// Whatever happens: only the worker of the cancelled job is stopped, and no other job fails by that;
// each item runs once if nobody dies, and at most once otherwise; what had not begun of a chunk is
// given back; what was dropped before it began never runs; who was revoked never answers; only who was
// cancelled is told so; and all jobs are settled.
//
// Exact here: claims (a claim names its job), the rings, and that who is buried is gone.
//
// check: a call is cancelled, and ends by itself; a chunk is split:
// check: a call is cancelled that never ends by itself: -DHANGS
// check: a call of another job comes after them: -DCALLS=1
// check: a chunk is cancelled: -DCHUNK
// check: a call is cancelled, a worker dies: -DDEATH -DCHUNK_ITEMS=2
// check: a worker dies amid three items: -DDEATH -DSPLITS=0
// check: a chunk is cancelled, a worker dies: -DCHUNK -DDEATH -DCHUNK_ITEMS=2 -DSPLITS=0
// caught: a worker ends its lease without comparing: -DMUTANT=1
// caught: a worker looks whether the task was dropped, and then sets its lease: -DMUTANT=2
// caught: a range does not say whose it is: -DMUTANT=3 -DCHUNK -DCHUNK_ITEMS=2
// caught: a worker is stopped without having been revoked: -DMUTANT=4
// caught: the pool looks for the lease, and then drops the task: -DMUTANT=5 -DHANGS
// caught: a number comes again, and is dropped still: -DMUTANT=6
// caught: who ends a chunk leaves its range behind: -DMUTANT=7 -DCHUNK -DDEATH -DCHUNK_ITEMS=2 -DSPLITS=0
// caught: a task has ended, and is still to be stopped when its grace is over: -DMUTANT=8
// caught: a number comes again, and is told to stop still: -DMUTANT=9
// caught: items are taken back without comparing: -DMUTANT=10
// caught: an item is taken without comparing: -DMUTANT=11
// caught: a cancelled task gives its number back at once: -DMUTANT=12
// caught: a buried worker leaves its lease behind: -DMUTANT=13 -DCHUNK -DDEATH -DCHUNK_ITEMS=2
// caught: how many items are left is read from another range than the one compared: -DMUTANT=14

#ifndef MUTANT
#define MUTANT 0
#endif

#define WORKERS 2
#define NUMBERS 2
#define JOBS 7

#ifndef SPLITS
#define SPLITS 1
#endif
#ifndef CALLS
#define CALLS 0
#endif
#ifdef CHUNK
#define CANCELLED_ITEMS 2
#else
#define CANCELLED_ITEMS 1
#endif
#ifndef CHUNK_ITEMS
#define CHUNK_ITEMS 3
#endif
#define ITEMS (CANCELLED_ITEMS + CHUNK_ITEMS + CALLS)

// -- Shared memory

#define REVOKED 8

// RANGE: the low bits of the number, the end, the next item.
#define RANGE_WORD(number, next, end) ((number - 1) * 16 + (end) * 4 + next)
#define NEXT(range) (range & 3)
#define END(range) ((range >> 2) & 3)
#if MUTANT == 3
#define LEFT(range, number) (END(range) - NEXT(range))
#else
#define LEFT(range, number) ((range >> 4) == number - 1 -> END(range) - NEXT(range) : 0)
#endif

byte lease[WORKERS];
byte ranges[WORKERS];
byte aborted[WORKERS];
bool dropped[NUMBERS + 1];

chan ring = [NUMBERS] of { byte };
chan results = [NUMBERS] of { byte, bool };

// The job that a worker took last, + 1.
byte claim[WORKERS];

// Its thread is to be stopped; can do nothing any more; does nothing any more.
bool doomed[WORKERS];
bool gone[WORKERS];
bool dead[WORKERS];
bool closed;

// -- The pool's own

mtype = { UNBORN, WAITS, PENDING, SETTLED };

typedef Job {
  mtype state = UNBORN;
  byte number;
  byte first;
  byte count;
  bool chunk;
  // What was given to MapRun as more than one item.
  bool splits
}
Job jobs[JOBS];

// The job of a number, + 1.
byte job_at[NUMBERS + 1];

byte unsettled;
byte splits_left = SPLITS;
byte born;
bool cancelled;

// The number that is to be stopped when its grace is over.
byte grace;

typedef Burial {
  bool begun;
  byte job;
  bool gives_back;
  byte rest
}
Burial burial[WORKERS];

// -- What is to be true

// The cancelled job has set its lease; was dropped before that.
bool leased;
bool outlawed;

// Which items were run, by bits.
byte ran;

// Items that were lost with a worker that died before it opened them.
byte excused;

bool revoked[WORKERS];

#define BIT(job, item) (1 << (jobs[job].first + item))
#define BITS(job) (((1 << jobs[job].count) - 1) << jobs[job].first)
#define GHOST(job) (job == 0 && cancelled)

// -- A worker

// Calls the function; it may look at its signal: TaskSignals.#look.
inline run_item(me, which) {
  assert((ran & BIT(job, which)) == 0);
  assert(!(job == 0 && outlawed));
  assert(aborted[me] != number || GHOST(job));
  ran = ran | BIT(job, which)
}

// Lease.begin. Leaves in `drops` whether the task was dropped.
inline begin(me) {
#if MUTANT != 9
  aborted[me] = 0;
#endif
#if MUTANT == 7
  ranges[me] = 0;
#endif
#if MUTANT == 2
  drops = dropped[number];
#endif
  atomic { lease[me] = number; leased = (job == 0 -> true : leased) };
#if MUTANT != 2
  drops = dropped[number]
#endif
}

// Lease.next, and the call. Leaves in `over` whether there was no item left.
inline next(me) {
  range = ranges[me];
  do
  :: NEXT(range) >= END(range) -> over = true; break
  :: NEXT(range) < END(range) ->
    atomic {
      if
#if MUTANT == 11
      :: true ->
#else
      :: ranges[me] == range ->
#endif
        ranges[me] = range + 1;
        run_item(me, NEXT(range));
        break
      :: else -> range = ranges[me]
      fi
    }
  od;
  range = 0
}

// TaskLoop.#map
inline map(me) {
  ranges[me] = RANGE_WORD(number, 0, jobs[job].count);
  do
  :: dropped[number] -> break
  :: true -> // Lease.droppedSoon may be late.
    next(me);
    if
    :: over -> over = false; break
    :: else
    fi
  od
}

// Lease.end, and TaskLoop.#put
inline put(me) {
#if MUTANT != 7
  ranges[me] = 0;
#endif
  atomic {
    if
#if MUTANT == 1
    :: true -> lease[me] = 0
#else
    :: lease[me] == number -> lease[me] = 0
    :: lease[me] != number -> goto stuck
#endif
    fi
  };
  atomic { assert(!revoked[me]); results ! number, drops; claim[me] = 0; job = 0; number = 0; drops = false }
}

proctype worker(byte me) {
  byte job, number, range;
  bool drops, over;
life:
  {
    do
    :: atomic { ring ? job -> claim[me] = job + 1; number = jobs[job].number };
      begin(me);
      if
      :: drops
      :: !drops && jobs[job].chunk -> map(me)
      :: !drops && !jobs[job].chunk ->
        atomic { run_item(me, 0) };
#ifdef HANGS
        job != 0
#endif
      fi;
      put(me)
    :: atomic { closed && empty(ring) -> goto ended }
    od;
stuck:
    false
  } unless {
    gone[me] -> atomic { job = 0; number = 0; range = 0; drops = false; over = false; dead[me] = true }
  };
  // Another takes its place.
  atomic {
    if
    :: !dead[me] -> goto life
    :: closed
    fi
  };
ended:
  skip
}

// -- The pool

inline submit(from, size, is_chunk) {
  jobs[born].state = WAITS;
  jobs[born].first = from;
  jobs[born].count = size;
  jobs[born].chunk = is_chunk;
  jobs[born].splits = size > 1;
  unsettled++;
  born++
}

// MapRun.giveBack
inline give_back(from) {
  submit(jobs[job].first + from, jobs[job].count - from, true);
  jobs[job].count = from
}

// JobTable.remove, and Overseer.end or the end of a ghost
inline take_out() {
  job_at[jobs[job].number] = 0;
  jobs[job].state = SETTLED;
  jobs[job].number = 0;
  jobs[job].first = 0;
  jobs[job].count = 0;
  jobs[job].chunk = false;
  jobs[job].splits = false;
#if MUTANT != 8
  grace = (job == 0 -> 0 : grace);
#endif
  unsettled--
}

// LocalBackend.#put
inline put_job() {
  atomic {
    which < born && jobs[which].state == WAITS && (job_at[1] == 0 || job_at[2] == 0) ->
    number = (job_at[1] == 0 -> 1 : 2);
    job_at[number] = which + 1;
    jobs[which].number = number;
    jobs[which].state = PENDING
  };
#if MUTANT != 6
  dropped[number] = false;
#endif
  atomic { ring ! which; which++; number = 0 }
}

// Leases.holder. Leaves it in `at`; WORKERS if there is none.
inline holder(n) {
  at = 0;
  do
  :: at < WORKERS && lease[at] != n -> at++
  :: else -> break
  od
}

// Overseer.#stop
inline stop(n) {
  holder(n);
  if
  :: at < WORKERS ->
    atomic {
      if
#if MUTANT == 4
      :: true ->
#else
      :: lease[at] == n ->
#endif
#if MUTANT != 4
        lease[at] = n + REVOKED;
#endif
        revoked[at] = true
      :: else -> at = WORKERS
      fi
    };
    if
    :: at < WORKERS -> doomed[at] = true
    :: else
    fi
  :: else
  fi;
  at = 0
}

// Overseer.cancel, #haunt and #tellToStop
inline cancel() {
  if
  :: jobs[0].state == WAITS -> atomic { jobs[0].state = SETTLED; unsettled-- }
  :: jobs[0].state == PENDING ->
    number = jobs[0].number;
#if MUTANT == 12
    atomic { job = 0; take_out() };
#endif
#if MUTANT == 5
    holder(number);
#endif
    atomic { dropped[number] = true; outlawed = !leased };
#if MUTANT != 5
    holder(number);
#endif
    if
    :: at < WORKERS -> stop(number)
    :: at < WORKERS -> aborted[at] = number; grace = number
    :: else
    fi;
    atomic { at = 0; number = 0 }
  fi
}

// Overseer.#split, and Leases.takeBack
inline split(w) {
  atomic {
    splits_left > 0 && lease[w] > 0 && lease[w] < REVOKED && job_at[lease[w]] > 0 ->
    number = lease[w];
    job = job_at[number] - 1
  };
  if
  :: !GHOST(job) && jobs[job].splits ->
    do
    :: range = ranges[w];
#if MUTANT == 14
      left = LEFT(ranges[w], number);
#endif
      atomic {
#if MUTANT != 14
        left = LEFT(range, number);
#endif
        at = NEXT(range) + left - (left + 1) / 2;
        if
        :: left == 0 -> break
#if MUTANT == 10
        :: left > 0 ->
#else
        :: left > 0 && ranges[w] == range ->
#endif
          ranges[w] = RANGE_WORD(number, NEXT(range), at);
          give_back(at);
          splits_left--;
          break
        :: else
        fi
      }
    od
  :: else
  fi;
  atomic { job = 0; number = 0; range = 0; left = 0; at = 0 }
}

// LocalBackend.#bury, up to Leases.clear: nobody else uses these words now.
inline begin_burial(w) {
  atomic {
    dead[w] && !burial[w].begun ->
    burial[w].begun = true;
    burial[w].job = claim[w];
    if
    :: claim[w] > 0 ->
      left = LEFT(ranges[w], jobs[claim[w] - 1].number);
      burial[w].gives_back = left > 0;
      burial[w].rest = NEXT(ranges[w])
    :: else
    fi;
    left = 0;
    claim[w] = 0;
#if MUTANT != 13
    lease[w] = 0;
    ranges[w] = 0;
#endif
    aborted[w] = 0
  }
}

// The rest of LocalBackend.#bury, once all results have been taken. Then another worker is started.
inline end_burial(w) {
  atomic {
    burial[w].begun && empty(results) ->
    if
    :: burial[w].job > 0 && jobs[burial[w].job - 1].state == PENDING ->
      job = burial[w].job - 1;
      // Nobody else's task is lost by the stop of a worker.
      assert(!revoked[w] || GHOST(job));
      if
      :: !GHOST(job) && burial[w].gives_back && jobs[job].splits -> give_back(burial[w].rest)
      :: else -> excused = excused | BITS(job)
      fi;
      // What is left of it was begun.
      assert(GHOST(job) || ((ran | excused) & BITS(job)) == BITS(job));
      take_out();
      job = 0
    :: else
    fi;
    burial[w].begun = false;
    burial[w].job = 0;
    burial[w].gives_back = false;
    burial[w].rest = 0;
    revoked[w] = false;
    doomed[w] = false;
    gone[w] = false;
    dead[w] = false
  }
}

// LocalBackend.#settle
inline settle() {
  atomic {
    results ? number, drops ->
    job = job_at[number];
    assert(job > 0);
    job--;
    // Only who was cancelled gets no answer, and an answer has all that was not given back.
    assert(GHOST(job) || (!drops && (ran & BITS(job)) == BITS(job)));
    take_out();
    job = 0;
    number = 0;
    drops = false
  }
}

proctype pool() {
  byte job, number, range, left, at, which;
  bool drops;
  do
  :: put_job()
  :: atomic { which < born && jobs[which].state == SETTLED -> which++ }
  :: settle()
  :: atomic { !cancelled && jobs[0].state != SETTLED -> cancelled = true }; cancel()
  :: atomic { grace > 0 -> number = grace; grace = 0 }; stop(number); number = 0
  :: split(0)
  :: split(1)
  :: begin_burial(0)
  :: begin_burial(1)
  :: end_burial(0)
  :: end_burial(1)
  :: atomic { unsettled == 0 -> closed = true; break }
  od;
  // Items of what was cancelled may have been left out.
  assert((ran | excused | (cancelled -> (1 << CANCELLED_ITEMS) - 1 : 0)) == (1 << ITEMS) - 1)
}

// A thread that is to be stopped runs on for a moment.
proctype runtime() {
  do
  :: atomic { doomed[0] && !gone[0] -> gone[0] = true }
  :: atomic { doomed[1] && !gone[1] -> gone[1] = true }
  :: closed -> break
  od
}

#ifdef DEATH
proctype reaper(byte victim) {
  gone[victim] = true
}
#endif

init {
  atomic {
    born = 0;
    submit(0, CANCELLED_ITEMS, CANCELLED_ITEMS > 1);
    submit(CANCELLED_ITEMS, CHUNK_ITEMS, true);
#if CALLS > 0
    submit(CANCELLED_ITEMS + CHUNK_ITEMS, 1, false);
#endif
    run worker(0);
    run worker(1);
    run runtime();
    run pool();
#ifdef DEATH
    run reaper(0)
#endif
  }
}
