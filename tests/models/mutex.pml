// Mutual exclusion, waking and taking over: memory/mutex.ts, Mutex.tryAcquire, attempt, #takeOver,
// release and forceRelease, as they are waited for by memory/wait.ts, waitSync and Line.#sleep.
//
// The first process takes the mutex ROUNDS times, and each other OTHERS times, or gives up. Without a death nobody needs a slice; after
// one, all together need one at most, and who takes over from a dead holder, and nobody else, is told.
//
// check: without a death nobody needs a slice, release():
// check: without a death nobody needs a slice, forceRelease(): -DFORCE
// check: two go on for longer: -DPROCS=2 -DROUNDS=4 -DOTHERS=4
// check: who gives up at its timeout takes nobody's wake-up along: -DDEADLINES -DROUNDS=1
// check: who leaves a line passes a wake-up on: -DLINE -DROUNDS=1
// check: one dies, slices end at any time: -DDEATH -DSLICES=1 -DROUNDS=1
// check: one dies, one slice is enough for all: -DDEATH -DSLICES=2 -DROUNDS=1
// check: one dies, all others get the mutex and finish: -DDEATH -DGONE_AT_ONCE -DSLICES=1 -DROUNDS=1 -DLIVENESS | -DNFAIR=3 | -a -f
// check: one dies, two go on for longer: -DDEATH -DSLICES=1 -DPROCS=2 -DROUNDS=3 -DOTHERS=3
// caught: a waiter acquires it as not contended: -DMUTANT=1 -DROUNDS=1
// caught: a waiter sleeps without the contended bit: -DMUTANT=2 -DROUNDS=1
// caught: release wakes before it frees: -DMUTANT=3 -DROUNDS=1
// caught: a take-over leaves the contended bit out: -DMUTANT=4 -DDEATH -DSLICES=2 -DROUNDS=1
// caught: taken over from who may still run: -DMUTANT=5 -DDEATH -DSLICES=1 -DPROCS=2
// caught: a take-over does not compare: -DMUTANT=6 -DDEATH -DSLICES=1 -DROUNDS=1
// caught: who leaves a line keeps the wake-up: -DMUTANT=7 -DLINE -DROUNDS=1
// caught: a take-over is not reported: -DMUTANT=8 -DDEATH -DSLICES=1 -DROUNDS=1

#define WORDS 1
#ifndef PROCS
#define PROCS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef OTHERS
#define OTHERS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define WORD 0
#define FREE 0
#define CONTENDED 1
#define MINE(p) ((p + 1) << 1)
#define OWNER(held) ((held >> 1) - 1)

// Whether the victim held the mutex when it died.
#define AT_DEATH(victim) orphaned = (words[WORD] != FREE && OWNER(words[WORD]) == victim)
bool orphaned;

// One slice is enough, whoever has it.
#define PURSE(me) 0

#ifdef DEADLINES
#define LATE(me) (me == 0)
#endif

#include "futex.pml"

mtype = { PENDING, ACQUIRED, ABANDONED };

// Who is between an acquisition and its release.
byte inside = NOBODY;

// How often a take-over was reported.
byte reports;

// Mutex.#takeOver
inline take_over(me) {
  if
#if MUTANT == 5
  :: ended[OWNER(held)] ->
#else
  :: gone[OWNER(held)] ->
#endif
    atomic {
      if
#if MUTANT == 6
      :: true ->
#else
      :: words[WORD] == held ->
#endif
#if MUTANT == 4
        words[WORD] = MINE(me);
#else
        words[WORD] = MINE(me) | CONTENDED;
#endif
#if MUTANT == 8
        result = ACQUIRED
#else
        result = ABANDONED
#endif
      :: else
      fi
    }
  :: else
  fi
}

// Mutex.tryAcquire
inline try_acquire(me) {
  check_alive(me);
  atomic {
    held = words[WORD];
    if
    :: held == FREE -> words[WORD] = MINE(me) | (slept -> CONTENDED : 0); result = ACQUIRED
    :: else
    fi
  }
  if
  :: result == PENDING -> take_over(me)
  :: else
  fi
}

// Mutex.attempt; how often it spins is not counted, for a spin only looks again.
inline attempt(me) {
  check_alive(me);
  do
  :: held = words[WORD];
    if
    :: held == FREE ->
      atomic {
        if
        :: words[WORD] == FREE ->
#if MUTANT == 1
          words[WORD] = MINE(me);
#else
          words[WORD] = MINE(me) | CONTENDED;
#endif
          result = ACQUIRED;
          break
        :: else
        fi
      }
    :: else ->
      take_over(me);
      if
      :: result != PENDING -> break
      :: result == PENDING && (held & CONTENDED) == 0 // spins
      :: result == PENDING ->
        atomic {
          if
#if MUTANT == 2
          :: true -> expected = held; slept = true; break
#else
          :: (held & CONTENDED) != 0 -> expected = held; slept = true; break
          :: (held & CONTENDED) == 0 && words[WORD] == held ->
            words[WORD] = held | CONTENDED;
            expected = held | CONTENDED;
            slept = true;
            break
          :: else
#endif
          fi
        }
      fi
    fi
  od
}

// memory/wait.ts, waitSync and Line.#sleep: tries, sleeps, and tries once more when the time is over.
inline wait(me) {
  do
  :: attempt(me);
    if
    :: result != PENDING || late[me] -> break
    :: else
    fi;
#ifdef LINE
    if
    :: me == 0 ->
      atomic { go_to_bed(me, WORD, expected); napping = (bed[me] != AWAKE) };
      if
      :: napping -> // gives up amid its nap
        atomic {
          if
          :: bed[me] == AWAKE
          :: bed[me] != AWAKE && finished == PROCS - 1 -> get_up(me, WORD); napping = false
          fi
        }
#if MUTANT != 7
        if
        :: napping -> wake(WORD, 1)
        :: else
        fi;
#endif
        break
      :: true ->
        bed[me] == AWAKE
      fi
    :: else -> sleep_on(me, WORD, expected)
    fi;
#else
    sleep_on(me, WORD, expected);
#endif
    check_alive(me)
  od
}

// Mutex.release; or Mutex.forceRelease, of the holder itself.
inline release(me) {
  check_alive(me);
#ifdef FORCE
  atomic { held = words[WORD]; words[WORD] = FREE };
  if
  :: (held & CONTENDED) != 0 ->
    d_step {
      wake(WORD, 1);
      slept = (woken == 0 -> false : slept)
    }
  :: else
  fi
#else
  do
  :: held = words[WORD];
    assert(OWNER(held) == me);
#if MUTANT == 3
    if
    :: (held & CONTENDED) != 0 -> wake(WORD, 1)
    :: else
    fi;
#endif
    atomic {
      if
      :: words[WORD] == held -> words[WORD] = FREE; break
      :: else
      fi
    }
  od;
#if MUTANT != 3
  if
  :: (held & CONTENDED) != 0 -> wake(WORD, 1)
  :: else
  fi
#endif
#endif
}

proctype process(byte me) {
  byte held, expected, round;
  mtype result;
  bool slept;
#ifdef LINE
  bool napping;
#endif
  {
    do
    :: round < (me == 0 -> ROUNDS : OTHERS) ->
      atomic { late[me] = false; result = PENDING };
      if
      :: true -> try_acquire(me)
      :: true
      fi;
      if
      :: result == PENDING -> wait(me)
      :: else
      fi;
      if
      :: result != PENDING ->
        atomic {
          assert(inside == NOBODY || gone[inside]);
          assert(result != ABANDONED || orphaned);
          reports = reports + (result == ABANDONED -> 1 : 0);
          inside = me;
          held = 0;
          expected = 0;
          result = PENDING
        };
        atomic { assert(inside == me); inside = NOBODY };
        release(me)
      :: else
      fi;
      atomic { round++; held = 0; expected = 0 }
    :: else -> break
    od;
    atomic { finished++; round = 0; slept = false; result = PENDING; late[me] = false }
  } unless {
    gone[me] -> bury(me)
  }
}

init {
  byte i;
  atomic {
    for (i : 0 .. PROCS - 1) { run process(i) }
#ifdef DEATH
    run reaper(0)
#endif
  }
  finished == PROCS;
  // Every death of a holder was reported once, or is still to be found by who comes next.
  assert(reports + (words[WORD] != FREE -> 1 : 0) == orphaned);
  assert(words[WORD] == FREE || OWNER(words[WORD]) == 0)
}

#ifdef LIVENESS
ltl all_finish { <> (finished == PROCS) }
#endif
