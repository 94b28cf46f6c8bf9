// memory/barrier.ts (BarrierState.#attempt, #count, #collect, #isHopeless, #release, #break, #finish,
// #withdraw, abort, complete) as sync/barrier.ts (Barrier.waitSync, #pass, #act) uses them.
//
// Three processes meet, round after round. Nobody passes before all have come; the indices of a round
// are 0, 1 and 2; if one dies, or gives up, the others do not hang: they pass or the barrier breaks.
//
// check: two rounds: -DROUNDS=2 | -DSAFETY -DCOLLAPSE
// check: two rounds with an action: -DACTION | -DSAFETY -DCOLLAPSE
// check: one party may give up: -DROUNDS=1 -DACTION -DDEADLINES | -DSAFETY -DCOLLAPSE
// check: one dies, one slice each is enough: -DROUNDS=1 -DACTION -DDEATH -DSLICES=2 | -DSAFETY -DCOLLAPSE
// caught: nobody finishes what a dead one began: -DMUTANT=1 -DROUNDS=1 -DDEATH -DSLICES=2
// caught: who crashed before it came is not missed: -DMUTANT=2 -DROUNDS=1 -DDEATH -DSLICES=2
// caught: a change is not announced: -DMUTANT=3

#define PROCS 3
#define WORDS 2
#define LOCK 0
#define CHANGES 1

#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define PARTIES 3

#ifdef DEADLINES
#define LATE(me) (me == 0)
#endif

#include "futex.pml"
#include "robust_lock.pml"

mtype = { FILLING, ACTING, RELEASING, BREAKING, BROKEN };
mtype kind = FILLING;
mtype = { OPEN, PASSED, FAILED };

byte actor = NOBODY;

typedef Entry {
  byte waiting;
  mtype outcome = OPEN;
  byte base;
  bool expected = true;
}
Entry entry[PROCS];

// Exit codes other than 0: who is ended without having finished.
bool well[PROCS];

// How many have come to a round, and which indices the last one has given.
byte come;
byte indices;

#define COUNTS(p) (entry[p].outcome == OPEN && !ended[p] -> entry[p].waiting : 0)
#define WAITING (COUNTS(0) + COUNTS(1) + COUNTS(2))
#define DEAD_WAITS(p) (ended[p] && entry[p].outcome == OPEN && entry[p].waiting > 0)
#define MISSED(p) (ended[p] && entry[p].expected && !well[p])

inline acquire(me) {
  got = false;
  do
  :: lock_attempt(me, LOCK, slept, got, expected);
    if
    :: got -> break
    :: else -> sleep_on(me, LOCK, expected)
    fi
  od;
  atomic { got = false; expected = 0 }
}

// Turn.announce
inline announce() {
  atomic { words[CHANGES] = words[CHANGES] + 1; announced = true }
}

// Turn.end
inline end_turn(me) {
  lock_release(me, LOCK, held);
  if
  :: announced ->
    announced = false;
#if MUTANT != 3
    wake(CHANGES, ALL)
#endif
  :: else
  fi
}

// BarrierState.#finish
inline finish() {
  if
  :: kind == RELEASING || kind == BREAKING ->
    at = 0;
    do
    :: at < PROCS && entry[at].outcome == OPEN && entry[at].waiting > 0 ->
      if
      :: ended[at] -> entry[at].waiting = 0
      :: else ->
        entry[at].outcome = (kind == RELEASING -> PASSED : FAILED)
      fi;
      at++
    :: at < PROCS && !(entry[at].outcome == OPEN && entry[at].waiting > 0) -> at++
    :: else -> break
    od;
    at = 0;
    atomic { kind = (kind == BREAKING -> BROKEN : FILLING); come = 0; indices = 0 };
    announce()
  :: else
  fi
}

inline break_it() {
  if
  :: kind != BROKEN -> kind = BREAKING; finish()
  :: else
  fi
}

// BarrierState.#isHopeless, and what follows from it
inline check_hope() {
  if
  :: (kind == FILLING || kind == ACTING) &&
#if MUTANT == 2
    (DEAD_WAITS(0) || DEAD_WAITS(1) || DEAD_WAITS(2)) ->
#else
    (DEAD_WAITS(0) || DEAD_WAITS(1) || DEAD_WAITS(2) || MISSED(0) || MISSED(1) || MISSED(2) ||
      (kind == ACTING && ended[actor])) ->
#endif
    break_it()
  :: else
  fi
}

// BarrierState.#collect
inline collect(me) {
  if
  :: entry[me].outcome != OPEN ->
    if
    :: arrived && !decided ->
      atomic {
        decided = true;
        passed = (entry[me].outcome == PASSED);
        if
        :: passed ->
          index = entry[me].base;
          assert(index < PARTIES && (indices & (1 << index)) == 0);
          indices = indices | (1 << index);
          index = 0
        :: else
        fi
      }
    :: else
    fi;
    entry[me].waiting = 0;
    entry[me].outcome = OPEN
  :: else
  fi
}

// BarrierState.#release
inline release(me) {
  d_step {
    if
    :: COUNTS(0) > 0 -> entry[0].base = 0
    :: else
    fi;
    if
    :: COUNTS(1) > 0 -> entry[1].base = COUNTS(0)
    :: else
    fi;
    if
    :: COUNTS(2) > 0 -> entry[2].base = COUNTS(0) + COUNTS(1)
    :: else
    fi
  };
  assert(WAITING == PARTIES || (ended[0] || ended[1] || ended[2]));
  kind = RELEASING;
  finish()
}

// MonitorWait.attempt and BarrierState.#attempt. Leaves in `acting` whether this process acts.
inline attempt(me) {
  acquire(me);
  seen = words[CHANGES];
#if MUTANT != 1
  finish();
#endif
  check_hope();
  collect(me);
  if
  :: decided
  :: !decided && kind == BROKEN -> atomic { decided = true; passed = false }
  :: !decided && kind == ACTING
  :: !decided && kind != BROKEN && kind != ACTING ->
    if
    :: !arrived && WAITING < PARTIES ->
      atomic { entry[me].waiting = entry[me].waiting + 1; arrived = true; come++ }
    :: else
    fi;
    if
    :: arrived && WAITING == PARTIES ->
#ifdef ACTION
      actor = me;
      kind = ACTING;
      acting = true
#else
      release(me);
      collect(me)
#endif
    :: else
    fi
  fi;
  end_turn(me)
}

// BarrierState.complete
inline complete(me) {
  acquire(me);
  finish();
  collect(me);
  if
  :: !decided -> release(me); collect(me)
  :: else
  fi;
  end_turn(me);
  if
  :: !decided -> atomic { decided = true; passed = false }
  :: else
  fi
}

// BarrierState.#withdraw, then abort
inline give_up(me) {
  acquire(me);
  finish();
  collect(me);
  if
  :: !decided ->
    if
    :: arrived && kind == ACTING -> break_it(); collect(me)
    :: arrived && kind != ACTING ->
      atomic { entry[me].waiting = entry[me].waiting - 1; come-- }
    :: else
    fi;
    gives_up = true
  :: else
  fi;
  end_turn(me);
  if
  :: gives_up ->
    acquire(me);
    finish();
    break_it();
    end_turn(me);
    atomic { decided = true; passed = false }
  :: else
  fi
}

proctype party(byte me) {
  byte held, expected, at, index, seen, mine;
  bool got, slept, announced, arrived, decided, passed, acting, gives_up;
  {
    do
    :: mine < ROUNDS ->
      atomic { arrived = false; decided = false; passed = false; acting = false; gives_up = false };
      do
      :: attempt(me);
        if
        :: acting ->
#ifdef ACTION
          atomic { assert(kind == BROKEN || come == PARTIES) };
          complete(me)
#else
          skip
#endif
        :: else
        fi;
        if
        :: decided -> break
        :: !decided && late[me] -> give_up(me); break
        :: else -> sleep_on(me, CHANGES, seen); seen = 0
        fi;
        check_alive(me)
      od;
      if
      :: passed ->
        mine++
      :: else -> break
      fi
    :: else -> break
    od;
    atomic { well[me] = true; finished++ }
  } unless {
    gone[me] -> bury(me)
  }
}

init {
  atomic {
    run party(0);
    run party(1);
    run party(2);
#ifdef DEATH
    run reaper(0)
#endif
  }
  finished == PROCS
}
