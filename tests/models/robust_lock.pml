// A mutex of memory/mutex.ts in as few steps as mutex.pml allows: one to take it or to announce a
// waiter, two to release it. It is still a word to sleep on, so its wake-ups go where they go in truth.
//
// Include it behind futex.pml. `slept` says whether the process has ever waited for this lock.

#define FREE 0
#define CONTENDED 1
#define MINE(p) ((p + 1) << 1)
#define OWNER(held) ((held >> 1) - 1)

// Mutex.tryAcquire: takes the lock if it is free, or its owner dead.
inline lock_try(me, lock, slept, got) {
  check_alive(me);
  d_step {
    if
    :: words[lock] == FREE -> words[lock] = MINE(me) | (slept -> CONTENDED : 0); got = true
    :: words[lock] != FREE && gone[OWNER(words[lock])] ->
      words[lock] = MINE(me) | CONTENDED;
      got = true
    :: else -> got = false
    fi
  }
}

// Mutex.tryAcquire, then Mutex.attempt: as lock_try; else announces a waiter, who is to sleep while the
// lock is as this leaves it.
inline lock_attempt(me, lock, slept, got, expected) {
  check_alive(me);
  d_step {
    if
    :: words[lock] == FREE -> words[lock] = MINE(me) | (slept -> CONTENDED : 0); got = true
    :: words[lock] != FREE && gone[OWNER(words[lock])] ->
      words[lock] = MINE(me) | CONTENDED;
      got = true
    :: else ->
      words[lock] = words[lock] | CONTENDED;
      expected = words[lock];
      slept = true;
      got = false
    fi
  }
}

// Mutex.release
inline lock_release(me, lock, held) {
  check_alive(me);
  d_step {
    assert(OWNER(words[lock]) == me);
    held = words[lock];
    words[lock] = FREE
  };
  if
  :: (held & CONTENDED) != 0 -> wake(lock, 1)
  :: else
  fi;
  held = 0
}
