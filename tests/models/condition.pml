// memory/condition.ts (ConditionState.enlist, leave, notify, #inherit, #grant, lookAfterTheDead and
// ConditionWait.attempt), between the release and the new acquisition of the lock as sync/condition.ts
// (Condition.waitSync) has them; without what Condition does when it gets the lock of a dead owner, which
// is the same as what a wait does that sees it.
//
// Two processes wait until there is a token, and take it; a third makes two tokens, and notifies once
// for each. All come to their end: no notification is lost, and none wakes two.
//
// With DEATH, the second token is made only if the first one's taker is the one that dies: else the
// first must reach the other waiter, also if the notification had gone to the dead one.
//
// check: no notification is lost, no slice is needed:
// check: a timeout takes nobody's notification along: -DDEADLINES | -DSAFETY -DCOLLAPSE
// check: one dies, two slices each are enough: -DDEATH -DSLICES=3 | -DSAFETY -DCOLLAPSE
// caught: nobody looks after the dead: -DMUTANT=1 -DDEATH -DSLICES=3
// caught: a grant wakes nobody: -DMUTANT=2
// caught: a grant is used up before its wait has the lock: -DMUTANT=3 -DDEATH -DSLICES=3
// caught: who dies with the lock wakes nobody: -DMUTANT=4 -DDEATH -DSLICES=3

#define PROCS 3
#define NOTIFIER 2
// The user's lock, the monitor's lock, and GRANTED of each process.
#define WORDS 5
#define USER_LOCK 0
#define LOCK 1
#define GRANTED(p) (2 + p)

#ifndef MUTANT
#define MUTANT 0
#endif

#ifdef DEADLINES
#define LATE(me) (me == 0)
#endif

#include "futex.pml"
#include "robust_lock.pml"

// WAITING of each process; a process has one wait at most here.
byte waiting[PROCS];

// What the processes wait for; changed with the user's lock held.
byte tokens;

// Whether the one that dies has taken a token; whether the other has.
bool spent;
bool served;

// Who holds the user's lock.
byte holder = NOBODY;

// How many notifications there were, and how many waits have returned true.
byte notified;
byte returned;

inline acquire(me, lock, slept) {
  got = false;
  do
  :: lock_attempt(me, lock, slept, got, expected);
    if
    :: got -> break
    :: else -> sleep_on(me, lock, expected)
    fi
  od;
  atomic { got = false; expected = 0 }
}

inline take_user_lock(me) {
  acquire(me, USER_LOCK, user_slept);
  atomic { assert(holder == NOBODY || gone[holder]); holder = me }
}

inline give_user_lock(me) {
  atomic { assert(holder == me); holder = NOBODY };
  lock_release(me, USER_LOCK, held)
}

// ConditionState.enlist
inline enlist(me) {
  acquire(me, LOCK, slept);
  waiting[me]++;
  lock_release(me, LOCK, held)
}

// ConditionState.#grant, of one
inline grant_one() {
  d_step {
    at = 0;
    do
    :: at < PROCS && (waiting[at] <= words[GRANTED(at)] || ended[at]) -> at++
    :: else -> break
    od
  };
  if
  :: at < PROCS ->
    words[GRANTED(at)] = words[GRANTED(at)] + 1;
#if MUTANT != 2
    wake(GRANTED(at), ALL)
#endif
  :: else
  fi;
  at = 0
}

// ConditionState.#inherit
inline inherit() {
  atomic { dead = 0 };
  do
  :: dead < PROCS && ended[dead] ->
    do
    :: words[GRANTED(dead)] > 0 ->
      grant_one();
      words[GRANTED(dead)] = words[GRANTED(dead)] - 1
    :: else -> break
    od;
    waiting[dead] = 0;
    dead++
  :: dead < PROCS && !ended[dead] -> dead++
  :: else -> break
  od;
  dead = 0
}

// ConditionState.notify, of one; the lock is held.
inline notify_one(me) {
  acquire(me, LOCK, slept);
  inherit();
  grant_one();
  lock_release(me, LOCK, held)
}

// Mutex.orphaned, and ConditionState.notify of all.
#define ORPHANED (words[USER_LOCK] != FREE && gone[OWNER(words[USER_LOCK])])

inline notify_all(me) {
  acquire(me, LOCK, slept);
  inherit();
  grant_one();
  grant_one();
  lock_release(me, LOCK, held)
}

#define SOMETHING_LEFT ((ended[0] && words[GRANTED(0)] > 0) || (ended[1] && words[GRANTED(1)] > 0) || (ended[2] && words[GRANTED(2)] > 0))

// ConditionState.lookAfterTheDead
inline look_after_the_dead(me) {
  if
  :: SOMETHING_LEFT ->
    acquire(me, LOCK, slept);
    inherit();
    lock_release(me, LOCK, held)
  :: else
  fi
}

// ConditionState.leave. Leaves in `granted` whether the wait was notified.
inline leave(me) {
  acquire(me, LOCK, slept);
  granted = words[GRANTED(me)] > 0;
  waiting[me]--;
  if
  :: granted -> words[GRANTED(me)] = words[GRANTED(me)] - 1
  :: else
  fi;
  lock_release(me, LOCK, held)
}

// Condition.waitSync
inline wait_for_notification(me) {
  enlist(me);
  give_user_lock(me);
  do
  :: true;
#if MUTANT != 4
    if
    :: ORPHANED -> notify_all(me)
    :: else
    fi;
#endif
#if MUTANT != 1
    look_after_the_dead(me);
#endif
    expected = words[GRANTED(me)];
    if
    :: words[GRANTED(me)] > 0 || late[me] -> break
    :: else -> sleep_on(me, GRANTED(me), expected)
    fi;
    check_alive(me)
  od;
  expected = 0;
#if MUTANT == 3
  leave(me);
  take_user_lock(me)
#else
  take_user_lock(me);
  leave(me)
#endif
}

proctype waiter(byte me) {
  byte held, expected, at, dead;
  bool got, slept, user_slept, granted;
  {
    take_user_lock(me);
    do
    :: tokens == 0 && !late[me] ->
      wait_for_notification(me);
      atomic { returned = returned + (granted -> 1 : 0); granted = false }
    :: tokens > 0 ->
      atomic { tokens--; spent = spent || me == 0; served = served || me == 1 };
      break
    :: tokens == 0 && late[me] -> break
    od;
    give_user_lock(me);
    finished++
  } unless {
    gone[me] -> bury(me)
  }
}

proctype notifier(byte me) {
  byte held, expected, at, dead, round;
  bool got, slept, user_slept;
  {
    do
    :: round < 2 ->
      take_user_lock(me);
      tokens++;
      notify_one(me);
      notified++;
      give_user_lock(me);
      round++;
#ifdef DEATH
      if
      :: spent
      :: served -> break
      fi
#endif
    :: else -> break
    od;
    finished++
  } unless {
    gone[me] -> bury(me)
  }
}

init {
  atomic {
    run waiter(0);
    run waiter(1);
    run notifier(NOTIFIER);
#ifdef DEATH
    run reaper(0)
#endif
  }
  finished == PROCS;
#ifndef DEATH
  // As many as were notified, at most.
  assert(returned <= notified);
  assert(words[GRANTED(0)] == 0 && words[GRANTED(1)] == 0)
#endif
}
