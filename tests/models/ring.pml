// A first-in-first-out ring for many producers and consumers: memory/ring.ts, Ring.close, size, tryPut,
// tryPutQuietly, wakeGetters, streamPut, endStream, #leaveStream, #lockPuts, tryGet, #beginGet, #endGet,
// #lock, #sleepOn, #nothing, #refuse, #streaming, #putFrame, #dropRests, #drop, #room, #getFrames and
// #commitGet;
// Frames.write of memory/frames.ts; RingPut and RingGet of memory/ring_wait.ts; the sleeper counts of
// memory/wait.ts. The locks are those of robust_lock.pml.
//
// Each producer puts its items, and each consumer gets until the ring is closed and empty. What was put
// is got once and whole, in its producer's order, unless a consumer died with it in its hand. What was
// refused is not got. Without a death nobody needs a slice; after one, each at most two.
//
// check: two producers: -DITEMS=2 -DCAPACITY=1
// check: two producers, one item at most: -DITEMS=2 -DMAX_ITEMS=1
// check: two consumers, frames of many lengths: -DPRODUCERS=1 -DCONSUMERS=2 -DITEMS=2 -DWIDE_ITEMS=2
// check: three consumers: -DPRODUCERS=0 -DCONSUMERS=3 -DPREFILLED=1
// check: two consumers, one with a timeout: -DPRODUCERS=1 -DCONSUMERS=2 -DITEMS=2 -DLATE_CONSUMER
// check: size is exact: -DPRODUCERS=1 -DITEMS=2 -DOBSERVER
// check: close at any time: -DCAPACITY=1 -DCLOSE_EARLY
// check: close without consumers: -DCONSUMERS=0 -DITEMS=2 -DCLOSE_EARLY
// check: close without consumers, three producers: -DPRODUCERS=3 -DCONSUMERS=0 -DCAPACITY=1 -DCLOSE_EARLY -DPREFILLED=1
// check: close amid a large item: -DPRODUCERS=1 -DLARGE_ITEMS=1 -DCAPACITY=1 -DCLOSE_EARLY
// check: a large item, two consumers: -DPRODUCERS=1 -DCONSUMERS=2 -DITEMS=2 -DLARGE_ITEMS=1
// check: two producers of large items: -DLARGE_ITEMS=3 -DCAPACITY=1
// check: a large item given up, perhaps nothing to come: -DLARGE_ITEMS=1 -DCAPACITY=1 -DCANCEL -DNO_CLOSE
// check: a producer dies, slices end at any time: -DVICTIM=0 -DSLICES=1 -DCAPACITY=1
// check: a producer dies, two slices are enough: -DVICTIM=0 -DSLICES=3 -DCAPACITY=1
// check: a consumer dies, slices end at any time: -DPRODUCERS=1 -DCONSUMERS=2 -DVICTIM=1 -DSLICES=1
// check: a consumer dies, two slices are enough: -DPRODUCERS=1 -DCONSUMERS=2 -DITEMS=2 -DVICTIM=1 -DSLICES=3
// check: a producer dies amid a large item: -DLARGE_ITEMS=1 -DVICTIM=0 -DSLICES=3 -DCAPACITY=1
// check: a producer dies amid a large item, another begins one: -DLARGE_ITEMS=3 -DVICTIM=0 -DSLICES=3
// check: a consumer dies amid a large item: -DPRODUCERS=1 -DCONSUMERS=2 -DLARGE_ITEMS=1 -DVICTIM=1 -DSLICES=3
// check: a producer dies and leaves the ring full of rests: -DCONSUMERS=0 -DLARGE_ITEMS=1 -DFRAMES=3 -DVICTIM=0 -DSLICES=3
// caught: a put writes the current record on its way: -DMUTANT=1 -DVICTIM=0 -DSLICES=3
// caught: a get writes the current record on its way: -DMUTANT=2 -DPRODUCERS=1 -DCONSUMERS=2 -DVICTIM=1 -DSLICES=3
// caught: a put wakes before it commits: -DMUTANT=3
// caught: a put commits before it writes the frame: -DMUTANT=4
// caught: a get looks for the stream after it looked for frames: -DMUTANT=5 -DPRODUCERS=1 -DLARGE_ITEMS=1
// caught: a put looks for sleepers before it commits: -DMUTANT=6
// caught: a put commits without comparing: -DMUTANT=7 -DCLOSE_EARLY
// caught: a large item's producer leaves before the last frame: -DMUTANT=8 -DPRODUCERS=1 -DLARGE_ITEMS=1
// caught: a get takes what it did not see the beginning of: -DMUTANT=9 -DPRODUCERS=1 -DCONSUMERS=2 -DLARGE_ITEMS=1 -DVICTIM=1 -DSLICES=3
// caught: rests are dropped without the lock: -DMUTANT=10 -DLARGE_ITEMS=1 -DFRAMES=3 -DVICTIM=0 -DSLICES=3 | -DSAFETY -DREVERSE
// caught: a first frame does not end what was before: -DMUTANT=11 -DLARGE_ITEMS=1 -DVICTIM=0 -DSLICES=3 | -DSAFETY -DREVERSE
// caught: who needs no lock any more keeps the wake-up: -DMUTANT=12 -DPRODUCERS=0 -DCONSUMERS=3 -DPREFILLED=1
// caught: close does not change what producers sleep on: -DMUTANT=13 -DPRODUCERS=1 -DCONSUMERS=0 -DITEMS=3 -DCLOSE_EARLY
// caught: giving up does not change what consumers sleep on: -DMUTANT=14 -DPRODUCERS=1 -DLARGE_ITEMS=1 -DCAPACITY=1 -DCANCEL -DNO_CLOSE
// caught: a put sleeps on a count that it saw later: -DMUTANT=15 -DCAPACITY=1
// caught: a get reads the frame after it commits: -DMUTANT=16 -DCAPACITY=1

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
// So many items puts the first producer, and one each other; their numbers are `producer * ITEMS + n`.
#ifndef ITEMS
#define ITEMS 1
#endif
// So many items are in the ring at first; ITEMS is 1 then.
#ifndef PREFILLED
#define PREFILLED 0
#endif
// In units; a frame takes one, or two if its item is in the set WIDE_ITEMS.
#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef MAX_ITEMS
#define MAX_ITEMS 0
#endif
// The set of items that are streamed, and in how many frames.
#ifndef LARGE_ITEMS
#define LARGE_ITEMS 0
#endif
#ifndef WIDE_ITEMS
#define WIDE_ITEMS 0
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#ifdef VICTIM
#define DEATH
#define GONE_AT_ONCE
#endif

#define WORDS 4
#define PROCS (PRODUCERS + CONSUMERS)
// For the proof only. Sets of items: those that were put as a whole, those that a consumer came to use,
// those of which a consumer has taken at least the first frame, and those of them that it died with.
byte committed;
byte delivered;
byte hand[PROCS];
byte lost;
#define AT_DEATH(victim) lost = hand[victim]

#ifdef LATE_CONSUMER
// Amid a large item a get goes on.
#define LATE(me) (me == PRODUCERS && hand[me] == 0)
#endif
#ifdef NO_CLOSE
#define LATE(me) (me >= PRODUCERS && hand[me] == 0 && producers_finished == PRODUCERS)
#endif

#include "futex.pml"
#include "robust_lock.pml"

// The words that are slept on; PUTS and GETS count in steps of 2, above the bit that says closed.
#define PUTS 0
#define GETS 1
#define PUT_LOCK 2
#define GET_LOCK 3
#define CLOSED_BIT 1
#define STEP 2
#define RECORD(count) ((count & STEP) >> 1)
#define BETWEEN(gets, puts) ((puts >> 1) - (gets >> 1))

byte stream;
byte getters_asleep;
byte putters_asleep;

// The records of even and odd counts.
byte tail_position[2];
byte tail_items[2];
byte head_position[2];
byte head_items[2];

#define NO_ITEM 7

// The frames: of which item, and which one of it. What lies in them at first is of no item.
byte frame_item[CAPACITY] = NO_ITEM;
byte frame_part[CAPACITY];

#define IS_FIRST(part) (part == 0)
#define LARGE(item) (((LARGE_ITEMS >> item) & 1) != 0)
#define WIDTH(item) (1 + ((WIDE_ITEMS >> item) & 1))
#define PARTS(item) (LARGE(item) -> FRAMES : 1)
#define IS_LAST(item, part) (part + 1 == PARTS(item))
// Neither the first nor the last.
#define VOID 100

mtype = { PENDING, DONE, CLOSED };


#ifdef OBSERVER
// For the proof only: the items in the ring.
byte items_in_ring;
#endif

// For the proof only: the number that each producer's next item has at least.
byte next_item[PRODUCERS + PREFILLED];
byte producers_finished;
// Whether a consumer went on until the ring was closed and empty.
bool drained;

#define BIT(item) (1 << item)

inline sleep_here(me) {
  if
  :: index == GETS -> putters_asleep++
  :: index == PUTS -> getters_asleep++
  :: else
  fi;
  sleep_on(me, index, expected);
  atomic {
    if
    :: index == GETS -> putters_asleep--
    :: index == PUTS -> getters_asleep--
    :: else
    fi;
    index = 0;
    expected = 0;
    result = 0
  }
}

// Ring.#sleepOn
inline set_spot(where, what) {
  atomic { index = where; expected = what; result = PENDING }
}

// Mutex.forgo: who was perhaps woken to take the lock, and goes without it, wakes another.
inline forgo(lock) {
#if MUTANT == 12
  skip
#else
  if
  :: slept -> d_step { wake(lock, 1); slept = (woken > 0) }
  :: else
  fi
#endif
}

// Ring.#room: sets `gets`, and whether there is none.
inline look_for_room() {
  do
  :: gets = words[GETS];
    position = head_position[RECORD(gets)];
    count = head_items[RECORD(gets)];
    atomic {
      if
      :: words[GETS] == gets ->
        assert(tail >= position && tail - position <= CAPACITY);
        crowded = tail - position + WIDTH(item) > CAPACITY ||
          (MAX_ITEMS > 0 && IS_FIRST(part) && items - count >= MAX_ITEMS);
        position = 0;
        count = 0;
        break
      :: else
      fi
    }
  od
}

// Ring.#commitGet; what is to happen in the same step follows.
inline commit_get(gets) {
  assert((words[GETS] | CLOSED_BIT) == (gets | CLOSED_BIT));
  words[GETS] = words[GETS] + STEP
}

// Ring.#dropRests and #drop: sets `got`.
inline drop_rests(me) {
  // Ring.size; the producers' side is ours
  do
  :: seen = words[GETS];
    count = head_items[RECORD(seen)];
    atomic {
      if
      :: words[GETS] == seen -> break
      :: else
      fi
    }
  od;
  if
  :: items != count -> got = false
#if MUTANT == 10
  :: else -> got = true
#else
  :: else -> lock_try(me, GET_LOCK, false, got)
#endif
  fi;
  if
  :: got ->
    seen = words[GETS];
    do
    :: BETWEEN(seen, puts) > 0 ->
      d_step {
        position = head_position[RECORD(seen)];
        count = head_items[RECORD(seen)]
      };
      d_step {
        head_position[RECORD((seen + STEP))] = position + WIDTH(frame_item[position % CAPACITY]);
        head_items[RECORD((seen + STEP))] = count +
          (IS_LAST(frame_item[position % CAPACITY], frame_part[position % CAPACITY]) -> 1 : 0)
      };
      atomic { commit_get(seen); seen = seen + STEP }
    :: else -> break
    od;
#if MUTANT != 10
    lock_release(me, GET_LOCK, held);
#endif
    if
    :: putters_asleep > 0 -> wake(GETS, ALL)
    :: else
    fi
  :: else
  fi;
  atomic { position = 0; count = 0; seen = 0 }
}

// Ring.wakeGetters
inline wake_getters(number) {
  if
#if MUTANT == 6
  :: seen > 0 -> wake(PUTS, number)
#else
  :: getters_asleep > 0 -> wake(PUTS, number)
#endif
  :: else
  fi
}

// Frames.write
inline write_frame() {
  d_step {
    frame_item[tail % CAPACITY] = item;
    frame_part[tail % CAPACITY] = part;
    frame_item[(tail + WIDTH(item) - 1) % CAPACITY] = item
  }
}

// Ring.#putFrame
inline put_frame(me) {
  d_step {
    puts = words[PUTS];
    tail = tail_position[RECORD(puts)];
    items = tail_items[RECORD(puts)]
  };
  if
  :: (puts & CLOSED_BIT) != 0 -> result = CLOSED
  :: else ->
    look_for_room();
    if
    :: crowded && IS_FIRST(part) ->
      drop_rests(me);
      if
      :: got -> look_for_room()
      :: else
      fi
    :: else
    fi;
    if
    :: crowded && (gets & CLOSED_BIT) != 0 -> result = CLOSED
#if MUTANT == 15
    :: crowded && (gets & CLOSED_BIT) == 0 -> set_spot(GETS, words[GETS])
#else
    :: crowded && (gets & CLOSED_BIT) == 0 -> set_spot(GETS, gets)
#endif
    :: else ->
#if MUTANT != 4
      write_frame();
#endif
#if MUTANT == 1
      tail_position[RECORD(puts)] = tail + WIDTH(item);
      tail_items[RECORD(puts)] = items + (IS_LAST(item, part) -> 1 : 0);
#endif
      d_step {
        tail_position[RECORD((puts + STEP))] = tail + WIDTH(item);
        tail_items[RECORD((puts + STEP))] = items + (IS_LAST(item, part) -> 1 : 0)
      };
#if MUTANT == 3
      wake_getters(ALL);
#endif
#if MUTANT == 6
      seen = getters_asleep;
#endif
      atomic {
        if
#if MUTANT == 7
        :: true ->
          words[PUTS] = puts + STEP;
#else
        :: words[PUTS] == puts ->
          words[PUTS] = puts + STEP;
#endif
          if
          :: IS_LAST(item, part) ->
            committed = committed | BIT(item);
#ifdef OBSERVER
            items_in_ring++
#endif
          :: else
          fi;
          result = DONE
        :: else -> result = CLOSED
        fi
      };
#if MUTANT == 4
      write_frame()
#endif
    fi
  fi;
  atomic { puts = 0; gets = 0; tail = 0; items = 0; crowded = false }
}

// Ring.endStream
inline end_stream(me) {
  stream = 0;
#if MUTANT != 14
  part = VOID;
  put_frame(me);
#endif
  lock_release(me, PUT_LOCK, held);
  wake(PUTS, ALL);
  result = CLOSED
}

// RingPut.attempt: Ring.tryPut, or Ring.streamPut for each frame.
inline attempt_put(me) {
  do
  :: if
    :: part > 0 -> got = true
    :: part == 0 && (words[PUTS] & CLOSED_BIT) != 0 ->
      forgo(PUT_LOCK);
      result = CLOSED;
      break
    :: else ->
      lock_attempt(me, PUT_LOCK, slept, got, expected);
      if
      :: !got -> atomic { index = PUT_LOCK; result = PENDING; break }
      :: got && LARGE(item) -> stream = me + 1
      :: else
      fi
    fi;
#if MUTANT == 8
    if
    :: part > 0 && IS_LAST(item, part) -> stream = 0
    :: else
    fi;
#endif
    put_frame(me);
    if
    :: LARGE(item) ->
      if
      :: (result == DONE -> IS_LAST(item, part) : (part == 0 || result == CLOSED)) ->
        stream = 0;
        lock_release(me, PUT_LOCK, held)
      :: else
      fi
    :: else -> lock_release(me, PUT_LOCK, held)
    fi;
    if
    :: result != DONE -> break
    :: else ->
#if MUTANT != 3
      wake_getters((part == 0 -> 1 : ALL));
#endif
      part++;
      if
      :: part == PARTS(item) -> break
      :: else
      fi
    fi
  od
}

proctype producer(byte me) {
  byte n, item, part, puts, gets, seen, tail, items, position, count, held, index, expected;
  mtype result;
  bool got, slept, crowded;
  {
    do
    :: n < (me == 0 -> ITEMS : 1) ->
      atomic { item = me * ITEMS + n; part = 0 };
      do
      :: attempt_put(me);
        if
        :: result != PENDING -> break
#ifdef CANCEL
        :: result == PENDING && part > 0 -> end_stream(me); break
#endif
        :: result == PENDING -> sleep_here(me)
        fi
      od;
      assert((result == DONE) == ((committed & BIT(item)) != 0));
      atomic { n++; index = 0; expected = 0; item = 0; part = 0; got = false; result = 0 }
    :: else -> break
    od;
    atomic { finished++; producers_finished++; slept = false; n = 0 }
  } unless {
    atomic { gone[me] -> producers_finished++; bury(me) }
  }
}

// Ring.#nothing
inline nothing() {
  if
  :: (puts & CLOSED_BIT) != 0 -> result = CLOSED
  :: else -> set_spot(PUTS, puts)
  fi
}

// Ring.#streaming
inline look_for_stream() {
  streamer = stream;
  d_step { streaming = (streamer != 0 -> !gone[streamer - 1] : false); streamer = 0 }
}

// Ring.#getFrames
inline get_frames(me) {
  do
  :: gets = words[GETS];
#if MUTANT == 5
    puts = words[PUTS];
#endif
    if
    :: amid -> look_for_stream()
    :: else
    fi;
#if MUTANT != 5
    puts = words[PUTS];
#endif
    if
    :: BETWEEN(gets, puts) == 0 ->
      if
      :: amid && streaming && (puts & CLOSED_BIT) == 0 -> set_spot(PUTS, puts)
      :: else -> atomic { amid = false; hand[me] = 0; nothing() }
      fi;
      break
    :: else ->
      // The consumers' side is ours, and these frames are not written any more.
      d_step {
        position = head_position[RECORD(gets)];
        count = head_items[RECORD(gets)];
        item = frame_item[position % CAPACITY];
        part = frame_part[position % CAPACITY];
        if
#if MUTANT == 11
        :: IS_FIRST(part) && !amid -> inbox = item; parts = 0; amid = !IS_LAST(item, part); orphan = false
#else
        :: IS_FIRST(part) -> inbox = item; parts = 0; amid = !IS_LAST(item, part); orphan = false
#endif
        :: else -> orphan = !amid
        fi;
#if MUTANT == 9
        orphan = false;
#endif
        assert(item != NO_ITEM && frame_item[(position + WIDTH(item) - 1) % CAPACITY] == item);
        assert(orphan || part == VOID || (item == inbox && part == parts));
        parts++
      }
    fi;
#if MUTANT == 2
    head_position[RECORD(gets)] = position + WIDTH(item);
    head_items[RECORD(gets)] = count + (IS_LAST(item, part) -> 1 : 0);
#endif
    d_step {
      head_position[RECORD((gets + STEP))] = position + WIDTH(item);
      head_items[RECORD((gets + STEP))] = count + (IS_LAST(item, part) -> 1 : 0)
    };
    atomic {
      commit_get(gets);
      if
      :: IS_FIRST(part) ->
        assert(item % ITEMS >= next_item[item / ITEMS]);
        next_item[item / ITEMS] = item % ITEMS + 1;
        hand[me] = BIT(item)
      :: else
      fi;
#ifdef OBSERVER
      items_in_ring = items_in_ring - (IS_LAST(item, part) -> 1 : 0)
#endif
    };
#if MUTANT == 16
    inbox = frame_item[position % CAPACITY];
#endif
    if
    :: orphan
    :: !orphan && IS_LAST(item, part) -> atomic { amid = false; result = DONE; break }
    :: else ->
      if
      :: putters_asleep > 0 -> wake(GETS, ALL)
      :: else
      fi
    fi
  od;
  atomic {
    gets = 0; puts = 0; position = 0; count = 0; item = 0; part = 0;
    orphan = false; streaming = false; parts = (amid -> parts : 0)
  }
}

// Ring.tryGet
inline attempt_get(me) {
  if
  :: amid -> got = true
  :: else ->
    puts = words[PUTS];
    if
    :: BETWEEN(words[GETS], puts) == 0 ->
      forgo(GET_LOCK);
      atomic { got = false; nothing(); puts = 0 }
    :: else ->
      puts = 0;
      lock_attempt(me, GET_LOCK, slept, got, expected);
      if
      :: !got -> atomic { index = GET_LOCK; result = PENDING }
      :: else
      fi
    fi
  fi;
  if
  :: got ->
    got = false;
    check_alive(me);
    get_frames(me);
    if
    :: !amid -> lock_release(me, GET_LOCK, held)
    :: else
    fi;
    if
    :: putters_asleep > 0 -> wake(GETS, ALL)
    :: else
    fi
  :: else
  fi
}

proctype consumer(byte me) {
  byte item, part, inbox, parts, puts, gets, streamer, position, count, held, index, expected;
  mtype result;
  bool got, slept, amid, streaming, orphan;
  {
    do
    :: attempt_get(me);
      if
      :: result == DONE ->
        atomic {
          assert((committed & BIT(inbox)) != 0);
          assert((delivered & BIT(inbox)) == 0);
          delivered = delivered | BIT(inbox);
          hand[me] = 0;
          inbox = 0;
          index = 0;
          expected = 0;
          result = 0
        }
      :: result == CLOSED -> drained = true; break
      :: result == PENDING && late[me] && !amid -> break
      :: else -> sleep_here(me)
      fi
    od;
    atomic {
      finished++;
      index = 0; expected = 0; inbox = 0; result = 0; slept = false; late[me] = false
    }
  } unless {
    gone[me] -> bury(me)
  }
}

#ifdef OBSERVER
// Ring.size
proctype observer() {
  byte gets, puts, items, seen;
  do
  :: gets = words[GETS];
    puts = words[PUTS];
    items = tail_items[RECORD(puts)];
    items = items - head_items[RECORD(gets)];
    if
    :: atomic { words[GETS] == gets -> seen = items_in_ring };
      if
      :: words[PUTS] == puts -> assert(items == seen); break
      :: else
      fi
    :: else
    fi
  od
}
#endif

init {
  byte i;
  atomic {
#if PREFILLED > 0
    for (i : 1 .. PREFILLED) {
      frame_item[i - 1] = PRODUCERS * ITEMS + i - 1;
      committed = committed | BIT(frame_item[i - 1])
    };
    words[PUTS] = PREFILLED * STEP;
    tail_position[RECORD(words[PUTS])] = PREFILLED;
    tail_items[RECORD(words[PUTS])] = PREFILLED;
#endif
#if PRODUCERS > 0
    for (i : 0 .. PRODUCERS - 1) { run producer(i) };
#endif
#if CONSUMERS > 0
    for (i : PRODUCERS .. PROCS - 1) { run consumer(i) };
#endif
#ifdef OBSERVER
    run observer();
#endif
#ifdef VICTIM
    run reaper(VICTIM)
#endif
  };
#ifndef CLOSE_EARLY
  // Nothing lies about without a consumer who knows of it.
  producers_finished == PRODUCERS && (CONSUMERS == 0 || (committed & ~(delivered | lost)) == 0);
#endif
#ifdef NO_CLOSE
  finished == PROCS;
#endif
  // Ring.close
  words[PUTS] = words[PUTS] | CLOSED_BIT;
#if MUTANT != 13
  words[GETS] = words[GETS] | CLOSED_BIT;
#endif
  wake(PUTS, ALL);
  wake(GETS, ALL);

  finished == PROCS;
  assert((delivered & ~committed) == 0);
  assert(!drained || (committed & ~(delivered | lost)) == 0)
}
