/**
 * What Redis runs: each change is one Lua script, so nobody sees half of it.
 *
 * **Once.** A client whose connection breaks does not know whether its script has run, and sends it
 * anew. So a script that changes something leaves its answer in a hash of that client, under the
 * request's number; a second run finds it there, and only gives it. The next request says which answers
 * have come, and they are removed. The record and the change are one script: both survive a crash of
 * Redis, or neither does.
 *
 * **Time** is that of Redis, in microseconds, everywhere: the clocks of the machines may differ.
 *
 * @module
 */

/** One script. */
export interface Script {
  /** The name that it has as a command of the client. */
  readonly name: string;
  /** How many keys it takes, that of the answers not counted. */
  readonly keys: number;
  /** Whether it changes something, so that it must not run twice. */
  readonly once: boolean;
  /** Whether its answer has bytes. */
  readonly binary: boolean;
  /** The code. */
  readonly lua: string;
}

/**
 * How long an answer is kept for a client that has lost its connection, in milliseconds. Longer than a
 * client may wait for Redis, so that nothing runs twice.
 */
export const ANSWER_KEPT = 240_000;

/** How long a lock's last token outlives its use, in milliseconds: only a clock set back needs it. */
const TOKEN_KEPT = 3_600_000;

const COMMON = `
local function now()
  local time = redis.call("TIME")
  return time[1] * 1000000 + time[2]
end
-- Lua would write 1.7e+15.
local function whole(number)
  return string.format("%.0f", number)
end
-- Keeps a key for so many milliseconds from now; 0: for ever.
local function keep(key, ms)
  if tonumber(ms) > 0 then
    redis.call("PEXPIRE", key, ms)
  else
    redis.call("PERSIST", key)
  end
end
`;

/** Around a script that must not run twice; `work()` returns the answer, and whether it changed something. */
const ONCE_BEFORE = `
local function work()
`;
const ONCE_AFTER = `
end
local come = {}
for number in string.gmatch(ARGV[2], "%d+") do come[#come + 1] = number end
if #come > 0 then redis.call("HDEL", KEYS[1], unpack(come)) end
local before = redis.call("HGET", KEYS[1], ARGV[1])
if before then
  redis.call("PEXPIRE", KEYS[1], ${ANSWER_KEPT})
  return cmsgpack.unpack(before)
end
local answer, changed = work()
if changed then
  redis.call("HSET", KEYS[1], ARGV[1], cmsgpack.pack(answer))
  redis.call("PEXPIRE", KEYS[1], ${ANSWER_KEPT})
end
return answer
`;

function reading(name: string, keys: number, lua: string): Script {
  return { name, keys, once: false, binary: false, lua: COMMON + lua };
}

function changing(name: string, keys: number, lua: string, binary = false): Script {
  return { name, keys, once: true, binary, lua: COMMON + ONCE_BEFORE + lua + ONCE_AFTER };
}

// -- Lock: a hash
//
//   o  the owner, unique for each acquisition
//   t  the last token
//   u  until when it is held
//
//   state    u                 becomes
//   free     no hash, no u     held, by acquire
//   held     u > now           free, by release; held, by renew; lapsed, by time
//   lapsed   u <= now          held by another, by acquire. Its owner has lost it for good
//
// A token is larger than the last one, and not smaller than the time: so they increase even if Redis
// has forgotten the last one.

/** KEYS lock; ARGV owner, lease in ms. Answers {1, token, abandoned} or {0, ms until it lapses}. */
export const LOCK_ACQUIRE: Script = changing(
  "mpLockAcquire",
  1,
  `
local time = now()
local state = redis.call("HMGET", KEYS[2], "u", "t")
local till = tonumber(state[1])
if till and till > time then return {0, math.ceil((till - time) / 1000)} end
local token = math.max((tonumber(state[2]) or 0) + 1, time)
local lease = tonumber(ARGV[4])
redis.call("HSET", KEYS[2], "o", ARGV[3], "t", whole(token), "u", whole(time + lease * 1000))
redis.call("PEXPIRE", KEYS[2], whole(lease + ${TOKEN_KEPT}))
return {1, token, till and 1 or 0}, true
`,
);

/** KEYS lock; ARGV owner, lease in ms. Answers 1, or 0 if the owner has lost it. */
export const LOCK_RENEW: Script = changing(
  "mpLockRenew",
  1,
  `
local time = now()
local state = redis.call("HMGET", KEYS[2], "o", "u")
if state[1] ~= ARGV[3] or not state[2] or tonumber(state[2]) <= time then return 0 end
local lease = tonumber(ARGV[4])
redis.call("HSET", KEYS[2], "u", whole(time + lease * 1000))
redis.call("PEXPIRE", KEYS[2], whole(lease + ${TOKEN_KEPT}))
return 1, true
`,
);

/**
 * KEYS lock; ARGV owner, or nothing for whoever it is. Answers 1, or 0 if it is free, lapsed, or
 * another's. One that has lapsed stays so: that its owner comes late does not make it unharmed.
 */
export const LOCK_RELEASE: Script = changing(
  "mpLockRelease",
  1,
  `
local state = redis.call("HMGET", KEYS[2], "o", "u")
if not state[2] or tonumber(state[2]) <= now() then return 0 end
if ARGV[3] ~= "" and state[1] ~= ARGV[3] then return 0 end
redis.call("HDEL", KEYS[2], "o", "u")
redis.call("PEXPIRE", KEYS[2], ${TOKEN_KEPT})
redis.call("PUBLISH", KEYS[2], "")
return 1, true
`,
);

/** KEYS lock. Answers 1 if it is held, 0 if not. */
export const LOCK_LOOK: Script = reading(
  "mpLockLook",
  1,
  `
local till = redis.call("HGET", KEYS[1], "u")
return till and tonumber(till) > now() and 1 or 0
`,
);

// -- Semaphore: a sorted set of the holders by the time at which each one's lease ends, and how many
// permits there are. A holder whose time is over counts no more, and the next who acquires removes it.

/**
 * KEYS holders, value; ARGV holder, lease in ms, value. Answers {1, abandoned}, {0, ms until the next
 * one lapses}, or {-1, value} if it has been created with another value and is in use.
 */
export const SEMAPHORE_ACQUIRE: Script = changing(
  "mpSemaphoreAcquire",
  2,
  `
local time = now()
local lapsed = redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", whole(time))
local held = redis.call("ZCARD", KEYS[2])
local value = redis.call("GET", KEYS[3])
if value and value ~= ARGV[5] and held > 0 then return {-1, tonumber(value)} end
if held >= tonumber(ARGV[5]) then
  local first = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")[2]
  return {0, first and math.ceil((first - time) / 1000) or 1000}
end
local lease = tonumber(ARGV[4])
redis.call("ZADD", KEYS[2], whole(time + lease * 1000), ARGV[3])
local last = redis.call("ZRANGE", KEYS[2], -1, -1, "WITHSCORES")[2]
local left = whole(math.ceil((last - time) / 1000) + ${TOKEN_KEPT})
redis.call("PEXPIRE", KEYS[2], left)
redis.call("SET", KEYS[3], ARGV[5], "PX", left)
return {1, lapsed > 0 and 1 or 0}, true
`,
);

/** KEYS holders, value; ARGV holder, lease in ms. Answers 1, or 0 if the holder has lost its permit. */
export const SEMAPHORE_RENEW: Script = changing(
  "mpSemaphoreRenew",
  2,
  `
local time = now()
local till = redis.call("ZSCORE", KEYS[2], ARGV[3])
if not till or tonumber(till) <= time then return 0 end
local lease = tonumber(ARGV[4])
redis.call("ZADD", KEYS[2], whole(time + lease * 1000), ARGV[3])
local last = redis.call("ZRANGE", KEYS[2], -1, -1, "WITHSCORES")[2]
local left = whole(math.ceil((last - time) / 1000) + ${TOKEN_KEPT})
redis.call("PEXPIRE", KEYS[2], left)
redis.call("PEXPIRE", KEYS[3], left)
return 1, true
`,
);

/** KEYS holders, value; ARGV holder. Answers 1, or 0 if the holder has lost its permit. */
export const SEMAPHORE_RELEASE: Script = changing(
  "mpSemaphoreRelease",
  2,
  `
local till = redis.call("ZSCORE", KEYS[2], ARGV[3])
if not till or tonumber(till) <= now() then return 0 end
redis.call("ZREM", KEYS[2], ARGV[3])
if redis.call("ZCARD", KEYS[2]) == 0 then redis.call("DEL", KEYS[3]) end
redis.call("PUBLISH", KEYS[2], "")
return 1, true
`,
);

/** KEYS holders; ARGV value. Answers how many permits nobody holds. */
export const SEMAPHORE_LOOK: Script = reading(
  "mpSemaphoreLook",
  1,
  `
local held = redis.call("ZCOUNT", KEYS[1], "(" .. whole(now()), "+inf")
return math.max(0, tonumber(ARGV[1]) - held)
`,
);

// -- Event: a hash
//
//   s  1 while it is set
//   g  how often it was set: a number that only grows, made as a lock's token
//
// Who waits passes when s is 1, or when g is larger than at his first look: then it was set meanwhile,
// and cleared again.

/** KEYS event; ARGV ms to keep it. Answers {s, g}. */
export const EVENT_LOOK: Script = reading(
  "mpEventLook",
  1,
  `
local state = redis.call("HMGET", KEYS[1], "s", "g")
if state[2] then keep(KEYS[1], ARGV[1]) end
return {tonumber(state[1]) or 0, tonumber(state[2]) or 0}
`,
);

/** KEYS event; ARGV ms to keep it, 1 to set or 0 to clear. Answers what s was. */
export const EVENT_WRITE: Script = changing(
  "mpEventWrite",
  1,
  `
local state = redis.call("HMGET", KEYS[2], "s", "g")
local was = tonumber(state[1]) or 0
if ARGV[4] == "0" then
  if was == 1 then redis.call("HSET", KEYS[2], "s", 0) end
else
  if was == 0 then
    local set = math.max((tonumber(state[2]) or 0) + 1, now())
    redis.call("HSET", KEYS[2], "s", 1, "g", whole(set))
    redis.call("PUBLISH", KEYS[2], "")
  end
end
keep(KEYS[2], ARGV[3])
return was, true
`,
);

// -- Value: a hash
//
//   v  the number, as text with 17 digits, which is exact
//   f  the largest token of a fence with which it was written
//
// A fenced write counts only while the lock is held with that very token. f refuses an older owner too
// where Redis itself has forgotten who holds the lock.

/** KEYS value; ARGV first value, ms to keep it. Answers the number as text. */
export const VALUE_GET: Script = reading(
  "mpValueGet",
  1,
  `
local value = redis.call("HGET", KEYS[1], "v")
if not value then return ARGV[1] end
keep(KEYS[1], ARGV[2])
return value
`,
);

/**
 * KEYS value, lock of the fence or again the value; ARGV what to do, operand, first value, ms to keep
 * it, token or nothing, expected. Answers {1, old value as text} or {0, the lock's last token}.
 */
export const VALUE_CHANGE: Script = changing(
  "mpValueChange",
  2,
  `
local verb, operand = ARGV[3], ARGV[4]
local state = redis.call("HMGET", KEYS[2], "v", "f")
local token = tonumber(ARGV[7])
if token then
  local lock = redis.call("HMGET", KEYS[3], "t", "u")
  local held = lock[2] and tonumber(lock[2]) > now() and tonumber(lock[1]) == token
  if not held or token < (tonumber(state[2]) or 0) then return {0, tonumber(lock[1]) or 0} end
end
local old = state[1] or ARGV[5]
local new = operand
if verb == "add" then
  new = string.format("%.17g", tonumber(old) + tonumber(operand))
elseif verb == "compare" and tonumber(old) ~= tonumber(ARGV[8]) then
  return {1, old}
end
redis.call("HSET", KEYS[2], "v", new)
if token then redis.call("HSET", KEYS[2], "f", whole(token)) end
keep(KEYS[2], ARGV[6])
return {1, old}, true
`,
);

// -- Queue: a list of items, and a hash
//
//   m  items at most, 0 without a bound; as the first one said who knew
//   c  1 once it is closed
//
// Getters wait only when they have seen it empty, putters only when they have seen it full. So it is
// enough to publish when it is no longer so; all who wait look then.

const QUEUE_BOUND = `
-- The bound: said by this client, by another before, or none.
local function bound(key, said, ms)
  local known = redis.call("HGET", key, "m")
  if not known and said ~= "" then
    redis.call("HSET", key, "m", said)
    known = said
  end
  keep(key, ms)
  return tonumber(known) or 0
end
`;

/**
 * KEYS items, state; ARGV bound or nothing, ms to keep it, items. Answers how many of the items there
 * was room for, -1 if it is closed, or {-2, bound} if others said another bound.
 */
export const QUEUE_PUT: Script = changing(
  "mpQueuePut",
  2,
  `
${QUEUE_BOUND}
if redis.call("HGET", KEYS[3], "c") then return {-1} end
local most = bound(KEYS[3], ARGV[3], ARGV[4])
if ARGV[3] ~= "" and tonumber(ARGV[3]) ~= most then return {-2, most} end
local size = redis.call("LLEN", KEYS[2])
local given = #ARGV - 4
local room = most == 0 and given or math.min(given, most - size)
if room <= 0 then return {0} end
for i = 1, room do redis.call("RPUSH", KEYS[2], ARGV[4 + i]) end
keep(KEYS[2], ARGV[4])
if size == 0 then redis.call("PUBLISH", KEYS[2], "") end
return {room}, true
`,
);

/**
 * KEYS items, state; ARGV ms to keep it, how many at most, how many bytes are enough. Answers whether
 * it is closed, whether there are more, and the items, of which there may be none.
 */
export const QUEUE_GET: Script = changing(
  "mpQueueGet",
  2,
  `
local state = redis.call("HMGET", KEYS[3], "m", "c")
local size = redis.call("LLEN", KEYS[2])
local answer = {state[2] and 1 or 0, 0}
local most, enough = tonumber(ARGV[4]), tonumber(ARGV[5])
local items, bytes = 0, 0
while items < math.min(size, most) and bytes < enough do
  local item = redis.call("LPOP", KEYS[2])
  items = items + 1
  bytes = bytes + #item
  answer[items + 2] = item
end
if items == 0 then return answer end
if items < size then
  answer[2] = 1
  keep(KEYS[2], ARGV[3])
end
if state[1] then keep(KEYS[3], ARGV[3]) end
local bound = tonumber(state[1]) or 0
if bound > 0 and size >= bound then redis.call("PUBLISH", KEYS[3], "") end
return answer, true
`,
  true,
);

/** KEYS items, state; ARGV ms to keep it, items. Puts them back in front, whatever the bound. */
export const QUEUE_RETURN: Script = changing(
  "mpQueueReturn",
  2,
  `
for i = #ARGV, 4, -1 do redis.call("LPUSH", KEYS[2], ARGV[i]) end
keep(KEYS[2], ARGV[3])
redis.call("PUBLISH", KEYS[2], "")
return 1, true
`,
);

/** KEYS items, state; ARGV ms to keep it. Wakes everybody: who puts and who gets. */
export const QUEUE_CLOSE: Script = changing(
  "mpQueueClose",
  2,
  `
redis.call("HSET", KEYS[3], "c", 1)
keep(KEYS[3], ARGV[3])
redis.call("PUBLISH", KEYS[2], "")
redis.call("PUBLISH", KEYS[3], "")
return 1, true
`,
);

/** KEYS items, state; ARGV bound or nothing. Answers {items, bound}. */
export const QUEUE_LOOK: Script = reading(
  "mpQueueLook",
  2,
  `
local most = redis.call("HGET", KEYS[2], "m") or ARGV[1]
return {redis.call("LLEN", KEYS[1]), tonumber(most) or 0}
`,
);

/** KEYS two of the same thing; those who wait for it look again. */
export const FORGET: Script = changing(
  "mpForget",
  2,
  `
redis.call("DEL", KEYS[2], KEYS[3])
redis.call("PUBLISH", KEYS[2], "")
redis.call("PUBLISH", KEYS[3], "")
return 1, true
`,
);

/** All scripts. */
export const SCRIPTS: readonly Script[] = [
  LOCK_ACQUIRE,
  LOCK_RENEW,
  LOCK_RELEASE,
  LOCK_LOOK,
  SEMAPHORE_ACQUIRE,
  SEMAPHORE_RENEW,
  SEMAPHORE_RELEASE,
  SEMAPHORE_LOOK,
  EVENT_LOOK,
  EVENT_WRITE,
  VALUE_GET,
  VALUE_CHANGE,
  QUEUE_PUT,
  QUEUE_GET,
  QUEUE_RETURN,
  QUEUE_CLOSE,
  QUEUE_LOOK,
  FORGET,
];
