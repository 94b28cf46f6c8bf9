// What all models stand on: words in shared memory that processes sleep on, and death.
//
// Mirrors memory/futex.ts (sleepSync, wake), the slices of memory/wait.ts (waitSync, nap) and what
// memory/control.ts says of the dead (isAlive, isGone, checkAlive, endProcess).
//
// Define before the include:
//   WORDS   the number of words, all 0 at first
//   PROCS   the number of processes
//   SLICES  0: who sleeps is woken or sleeps for ever
//           1: a slice may be over at any time
//           n: slices are long: one is over only when nothing else can happen any more, and every
//              process has at most n - 1 of them; who needs more is stuck
//   PURSE   an expression of `me`, if processes share these slices: 0, if all do
//   DEATH   if one of them may die
//   GONE_AT_ONCE  if nobody asks who has ended, only who is gone: to stop at checkAlive until one is
//           gone is then the same as to die there
//   LATE    an expression of `me`, if some processes have timeouts: whose may be over at any time
//   AT_DEATH  a statement about `victim`, if the model wants to note something when a process dies

#ifndef SLICES
#define SLICES 0
#endif

#ifndef LATE
#define LATE(me) false
#endif

#ifndef PURSE
#define PURSE(me) me
#endif

#ifndef AT_DEATH
#define AT_DEATH(victim)
#endif

#define NOBODY 255
#define AWAKE 255
#define ALL 255

byte words[WORDS];

// Who sleeps on a word, the longest asleep first.
chan sleepers[WORDS] = [PROCS] of { byte };

// On which word a process sleeps.
byte bed[PROCS] = AWAKE;

// What others may know of a process: it has ended, and later: its thread can change nothing any more.
bool ended[PROCS];
bool gone[PROCS];

// Whose timeout is over.
bool late[PROCS];

// How many processes have come to their end, in whatever way.
byte finished;

#if SLICES > 1
byte slices_left[PROCS] = SLICES - 1;
#endif

// Of no meaning between two steps.
hidden byte woken;
hidden byte sleeper;

// Compares and sleeps in one step.
inline go_to_bed(me, index, expected) {
  atomic {
    if
    :: words[index] == expected -> bed[me] = index; sleepers[index] ! me
    :: else
    fi
  }
}

inline get_up(me, index) {
  sleepers[index] ?? eval(me);
  bed[me] = AWAKE
}

// Until woken, or until the slice or the timeout is over.
inline sleep_on(me, index, expected) {
  go_to_bed(me, index, expected);
  atomic {
    if
    :: bed[me] == AWAKE
    :: bed[me] != AWAKE && LATE(me) -> late[me] = true; get_up(me, index)
#if SLICES == 1
    :: bed[me] != AWAKE -> get_up(me, index)
#endif
#if SLICES > 1
    :: bed[me] != AWAKE && slices_left[PURSE(me)] > 0 && timeout ->
      slices_left[PURSE(me)]--;
      get_up(me, index)
#endif
    fi
  }
}

// Wakes at most `count` sleepers, the longest asleep first. Leaves their number in `woken`.
inline wake(index, count) {
  d_step {
    woken = 0;
    do
    :: woken < count && len(sleepers[index]) > 0 ->
      sleepers[index] ? sleeper;
      bed[sleeper] = AWAKE;
      woken++
    :: else -> break
    od;
    sleeper = 0
  }
}

// memory/control.ts, checkAlive: who has ended stops here.
inline check_alive(me) {
#if defined(DEATH) && !defined(GONE_AT_ONCE)
  !ended[me]
#else
  skip
#endif
}

// The last step of a process that died: until then its sleep may have taken a wake-up from another.
inline bury(me) {
  atomic {
    if
    :: bed[me] != AWAKE -> sleepers[bed[me]] ?? eval(me); bed[me] = AWAKE
    :: else
    fi;
    finished++
  }
}

#ifdef DEATH
// Ends one process at any time, and says so in the two steps of memory/control.ts, endProcess.
proctype reaper(byte victim) {
#ifndef GONE_AT_ONCE
  ended[victim] = true;
#endif
  atomic { gone[victim] = true; AT_DEATH(victim) }
}
#endif
