// The Lua of presence. A channel has four keys in one slot:
//   sessions  sorted set: session → when it ends, in milliseconds of Redis's own clock
//   records   hash: session → the user's key, a newline, what others see of it
//   order     sorted set, all scores 0, so by name: user's key, end, session. A user's last name there is the session that ends last
//   users     sorted set: user's key → when the last of its sessions ends
// All that is answered is read by time: what has ended counts for nobody from that millisecond on, whether it still lies there or not, so
// no count and no edge ever waits for the sweep. Sweeping frees memory: a write sweeps up to 100 of what has ended, and names 100 at most,
// so as much is swept as put and what has ended cannot pile up while anybody writes; when nobody does, the keys expire with their last entry.
import { script, type Script } from '../../redis/scripts.js'

/** Sessions that one refresh names at most. All of them and a full sweep take Redis 2 ms. */
export const sessionsPerRefreshMax = 100
/** Members that one read gives at most: 2 ms. */
export const membersPerReadMax = 1_000

const reading = String.raw`
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local living = '(' .. string.format('%.0f', nowMs)
`

const writing = String.raw`${reading}
local sessions, records, order, users = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function userOf(record) return string.match(record, '^[^\n]*') end

-- An end has 13 digits until the year 2286, so names sort as times do. A user's key is JSON: it holds no newline.
local function nameOf(user, ends, session) return user .. '\n' .. ends .. '\n' .. session end

local function isThere(user)
  local ends = redis.call('ZSCORE', users, user)
  return ends and tonumber(ends) > nowMs
end

local function settle(user)
  local last = redis.call('ZRANGE', order, '(' .. user .. '\11', '[' .. user .. '\n', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
  if last then
    redis.call('ZADD', users, string.sub(last, #user + 2, #user + 14), user)
  else
    redis.call('ZREM', users, user)
  end
end

-- Takes a list: session, end, session, end…
local function drop(ending)
  if #ending == 0 then return end
  local gone, names, owners = {}, {}, {}
  for i = 1, #ending, 2 do gone[#gone + 1] = ending[i] end
  for i, record in ipairs(redis.call('HMGET', records, unpack(gone))) do
    if record then
      local user = userOf(record)
      names[#names + 1] = nameOf(user, ending[2 * i], gone[i])
      owners[user] = true
    end
  end
  redis.call('ZREM', sessions, unpack(gone))
  redis.call('HDEL', records, unpack(gone))
  if #names > 0 then redis.call('ZREM', order, unpack(names)) end
  for user in pairs(owners) do settle(user) end
end

local function sweep()
  drop(redis.call('ZRANGE', sessions, '-inf', nowMs, 'BYSCORE', 'LIMIT', 0, ${sessionsPerRefreshMax}, 'WITHSCORES'))
end
`

const putting = String.raw`${writing}
local endMs = string.format('%.0f', nowMs + ARGV[1])

-- Takes two lists, as long as each other. What a session was before is taken away: by its name in the order alone when nothing but its
-- end changes and it moves on; altogether when it is another's now, or when its end lies too far ahead (another clock gave it, before a
-- failover). From there on ends only rise, so a user's last end is the greater of the one known and this.
local function put(named, latest)
  local ends = redis.call('ZMSCORE', sessions, unpack(named))
  local known = redis.call('HMGET', records, unpack(named))
  local replaced, renamed, fresh = {}, {}, {}
  local ofSessions, ofOrder, ofUsers = {}, {}, {}
  for i, session in ipairs(named) do
    local user = userOf(latest[i])
    local same = ends[i] and ends[i] <= endMs and known[i] == latest[i]
    if same then
      renamed[#renamed + 1] = nameOf(user, ends[i], session)
    else
      if ends[i] then
        replaced[#replaced + 1] = session
        replaced[#replaced + 1] = ends[i]
      end
      fresh[#fresh + 1] = session
      fresh[#fresh + 1] = latest[i]
    end
    ofSessions[2 * i - 1], ofSessions[2 * i] = endMs, session
    ofOrder[2 * i - 1], ofOrder[2 * i] = 0, nameOf(user, endMs, session)
    ofUsers[2 * i - 1], ofUsers[2 * i] = endMs, user
  end
  drop(replaced)
  if #renamed > 0 then redis.call('ZREM', order, unpack(renamed)) end
  if #fresh > 0 then redis.call('HSET', records, unpack(fresh)) end
  redis.call('ZADD', sessions, unpack(ofSessions))
  redis.call('ZADD', order, unpack(ofOrder))
  redis.call('ZADD', users, 'GT', unpack(ofUsers))
end

-- No entry ends later than now and its time to live.
local function expire()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
end
`

/**
 * Atomic: looking who is there, and coming. O(log n).
 * KEYS: sessions, records, order, users · ARGV: time to live in ms, session, record
 * Returns {1 when the user was not there before, sessions after it}.
 */
export const addPresence = script(`#!lua
${putting}
local edge = isThere(userOf(ARGV[3])) and 0 or 1
put({ARGV[2]}, {ARGV[3]})
sweep()
expire()
return {edge, redis.call('ZCOUNT', sessions, living, '+inf')}
`)

/**
 * Atomic: going, and looking who is left. O(log n). Works in a full Redis too.
 * KEYS: sessions, records, order, users · ARGV: session
 * Returns {1 when it was the user's last session there, sessions after it}.
 */
export const removePresence = script(`#!lua flags=allow-oom
${writing}
local edge = 0
local ends = redis.call('ZSCORE', sessions, ARGV[1])
if ends then
  local record = redis.call('HGET', records, ARGV[1])
  drop({ARGV[1], ends})
  if record and tonumber(ends) > nowMs and not isThere(userOf(record)) then edge = 1 end
end
sweep()
return {edge, redis.call('ZCOUNT', sessions, living, '+inf')}
`)

/**
 * Atomic: the four keys change together. O(log n) a session, in one command for each key.
 * KEYS: sessions, records, order, users · ARGV: time to live in ms, then session and record, 1 to 100 times
 */
export const refreshPresence = script(`#!lua
${putting}
local named, latest = {}, {}
for i = 2, #ARGV, 2 do
  named[#named + 1] = ARGV[i]
  latest[#latest + 1] = ARGV[i + 1]
end
put(named, latest)
sweep()
expire()
return redis.status_reply('OK')
`)

/**
 * Atomic: members of one moment. O(log n + limit), at most 1000.
 * KEYS: sessions, records · ARGV: limit
 * Returns {session, record, session, record…}; those seen last come first, as they are the surest.
 */
export const readMembers = script(`#!lua flags=no-writes
${reading}
local named = redis.call('ZRANGE', KEYS[1], '+inf', living, 'BYSCORE', 'REV', 'LIMIT', 0, math.min(ARGV[1], ${membersPerReadMax}))
if #named == 0 then return {} end
local members = {}
for i, record in ipairs(redis.call('HMGET', KEYS[2], unpack(named))) do
  if record then
    members[#members + 1] = named[i]
    members[#members + 1] = record
  end
end
return members
`)

/** Atomic: both counts of one moment. O(log n). KEYS: sessions, users. Returns {sessions, users}. */
export const countPresence = script(`#!lua flags=no-writes
${reading}
return {redis.call('ZCOUNT', KEYS[1], living, '+inf'), redis.call('ZCOUNT', KEYS[2], living, '+inf')}
`)

export const presenceScripts: readonly Script[] = [
  addPresence,
  removePresence,
  refreshPresence,
  readMembers,
  countPresence,
]
