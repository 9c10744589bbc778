// The Lua scripts of presence. A channel has four keys in one slot:
//   sessions  sorted set: session → expiry, in milliseconds of Redis's own clock
//   records   hash: session → the user's key, a newline, the info that other members see
// order sorted set with all scores 0, ordered by member: user's key, expiry, session. A user's last member is
// the session that expires last
// users sorted set: user's key → the last expiry of its sessions All reads compare expiries with the current
// time: an expired entry does not count from that millisecond on, whether it is still stored or not, so no
// count and no user edge depends on the sweep. The sweep frees memory: each write sweeps up to 100 expired
// entries and names at most 100 sessions, so expired entries cannot accumulate while there are writes.
// Without writes the keys expire with their last entry.
import { script, type Script } from '../../redis/scripts.js'

/** The most sessions in one refresh. This many and a full sweep take Redis 2 ms. */
export const sessionsPerRefreshMax = 100
/** The most members in one read, which takes Redis 2 ms. */
export const membersPerReadMax = 1_000

const reading = String.raw`
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local living = '(' .. string.format('%.0f', nowMs)
`

const writing = String.raw`${reading}
local sessions, records, order, users = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function userOf(record) return string.match(record, '^[^\n]*') end

-- An expiry has 13 digits until the year 2286, so members sort by time. A user's key is JSON without a newline.
local function orderMemberOf(user, expiry, session) return user .. '\n' .. expiry .. '\n' .. session end

local function isPresent(user)
  local expiry = redis.call('ZSCORE', users, user)
  return expiry and tonumber(expiry) > nowMs
end

local function updateUser(user)
  local last = redis.call('ZRANGE', order, '(' .. user .. '\11', '[' .. user .. '\n', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
  if last then
    redis.call('ZADD', users, string.sub(last, #user + 2, #user + 14), user)
  else
    redis.call('ZREM', users, user)
  end
end

-- Removes sessions. Takes a list: session, expiry, session, expiry…
local function drop(expiring)
  if #expiring == 0 then return end
  local gone, names, owners = {}, {}, {}
  for i = 1, #expiring, 2 do gone[#gone + 1] = expiring[i] end
  for i, record in ipairs(redis.call('HMGET', records, unpack(gone))) do
    if record then
      local user = userOf(record)
      names[#names + 1] = orderMemberOf(user, expiring[2 * i], gone[i])
      owners[user] = true
    end
  end
  redis.call('ZREM', sessions, unpack(gone))
  redis.call('HDEL', records, unpack(gone))
  if #names > 0 then redis.call('ZREM', order, unpack(names)) end
  for user in pairs(owners) do updateUser(user) end
end

local function sweep()
  drop(redis.call('ZRANGE', sessions, '-inf', nowMs, 'BYSCORE', 'LIMIT', 0, ${sessionsPerRefreshMax}, 'WITHSCORES'))
end
`

const putting = String.raw`${writing}
local endMs = string.format('%.0f', nowMs + ARGV[1])

-- Adds or refreshes sessions. Takes two lists of equal length. The earlier state of a session is removed: only its
-- member of the order when nothing but its expiry changes and moves forward; all of it when the session belongs to
-- another user now, or when its expiry lies too far ahead (given by another clock before a failover). Afterwards
-- expiries only grow, so a user's last expiry is the greater of the stored one and this.
local function put(named, latest)
  local expiries = redis.call('ZMSCORE', sessions, unpack(named))
  local known = redis.call('HMGET', records, unpack(named))
  local replaced, renamed, fresh = {}, {}, {}
  local ofSessions, ofOrder, ofUsers = {}, {}, {}
  for i, session in ipairs(named) do
    local user = userOf(latest[i])
    local same = expiries[i] and expiries[i] <= endMs and known[i] == latest[i]
    if same then
      renamed[#renamed + 1] = orderMemberOf(user, expiries[i], session)
    else
      if expiries[i] then
        replaced[#replaced + 1] = session
        replaced[#replaced + 1] = expiries[i]
      end
      fresh[#fresh + 1] = session
      fresh[#fresh + 1] = latest[i]
    end
    ofSessions[2 * i - 1], ofSessions[2 * i] = endMs, session
    ofOrder[2 * i - 1], ofOrder[2 * i] = 0, orderMemberOf(user, endMs, session)
    ofUsers[2 * i - 1], ofUsers[2 * i] = endMs, user
  end
  drop(replaced)
  if #renamed > 0 then redis.call('ZREM', order, unpack(renamed)) end
  if #fresh > 0 then redis.call('HSET', records, unpack(fresh)) end
  redis.call('ZADD', sessions, unpack(ofSessions))
  redis.call('ZADD', order, unpack(ofOrder))
  redis.call('ZADD', users, 'GT', unpack(ofUsers))
end

-- No entry expires later than the time to live from now.
local function expire()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
end
`

/**
 * Atomic: checks whether the user is present and adds one session. O(log n).
 * KEYS: sessions, records, order, users · ARGV: time to live in ms, session, record
 * Returns {1 when the user was not present before, sessions after it}.
 */
export const addPresence = script(`#!lua
${putting}
local edge = isPresent(userOf(ARGV[3])) and 0 or 1
put({ARGV[2]}, {ARGV[3]})
sweep()
expire()
return {edge, redis.call('ZCOUNT', sessions, living, '+inf')}
`)

/**
 * Atomic: removes one session and checks whether the user is still present. O(log n). It also works when
 * Redis is at maxmemory. KEYS: sessions, records, order, users · ARGV: session Returns {1 when it was the
 * user's last session, sessions after it}.
 */
export const removePresence = script(`#!lua flags=allow-oom
${writing}
local edge = 0
local expiry = redis.call('ZSCORE', sessions, ARGV[1])
if expiry then
  local record = redis.call('HGET', records, ARGV[1])
  drop({ARGV[1], expiry})
  if record and tonumber(expiry) > nowMs and not isPresent(userOf(record)) then edge = 1 end
end
sweep()
return {edge, redis.call('ZCOUNT', sessions, living, '+inf')}
`)

/**
 * Atomic: refreshes sessions; the four keys change together. O(log n) per session, in one command for each
 * key. KEYS: sessions, records, order, users · ARGV: time to live in ms, then session and record, 1 to 100
 * times
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
 * Atomic: reads the members of one moment. O(log n + limit), at most 1000. KEYS: sessions, records · ARGV:
 * limit Returns {session, record, session, record…}, the most recently refreshed first, since those are most
 * likely still connected.
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

/** Atomic: reads both counts of one moment. O(log n). KEYS: sessions, users. Returns {sessions, users}. */
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
