// The Lua scripts of presence. A channel has four keys in one slot:
// - sessions, a sorted set: session → expiry, in milliseconds of the clock of Redis.
// - records, a hash: session → the user's key, a newline, the info that other members see.
// - order, a sorted set with all scores 0, ordered by member: user's key, expiry, session. The last member of
//   a user is the session that expires last.
// - users, a sorted set: user's key → the last expiry of the user's sessions.
//
// All reads compare expiries with the current time: an expired entry does not count, whether it is still
// stored or not, so counts and user edges do not depend on the sweep. The sweep only frees memory: each write
// sweeps up to 100 expired entries and names at most 100 sessions, so expired entries cannot accumulate while
// there are writes. Without writes the keys expire together with their last entry.
import { script, type Script } from '../../redis/scripts.js'

/** The most sessions in one refresh. Redis needs 2 ms for a refresh of this size with a full sweep. */
export const sessionsPerRefreshMax = 100
/** The most members in one read. Redis needs 2 ms for a read of this size. */
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

-- Adds or refreshes sessions. Takes two lists of equal length. When only the expiry of a session changes and moves
-- forward, only its member of the order is removed. When the session now belongs to another user, or its expiry is
-- too far ahead (set by another clock before a failover), its whole earlier state is removed. After that expiries
-- only grow, so a user's last expiry is the greater of the stored one and the new one.
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
 * Checks whether the user is present and adds one session, atomically. O(log n).
 * - KEYS: sessions, records, order, users.
 * - ARGV: time to live in ms, session, record.
 * - Returns {1 when the user was not present before, number of sessions after the call}.
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
 * Removes one session and checks whether the user is still present, atomically. O(log n). It also works when
 * Redis is at maxmemory.
 * - KEYS: sessions, records, order, users.
 * - ARGV: session.
 * - Returns {1 when it was the user's last session, number of sessions after the call}.
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
 * Refreshes sessions; the four keys change atomically. O(log n) per session, with one command for each key.
 * - KEYS: sessions, records, order, users.
 * - ARGV: time to live in ms, then 1 to 100 pairs of session and record.
 * - Returns OK.
 */
export const refreshPresence = script(`#!lua flags=allow-oom
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
 * Reads a consistent list of members, at most 1,000. O(log n + limit).
 * - KEYS: sessions, records.
 * - ARGV: limit, the most bytes of sessions and records.
 * - Returns {1 when members were left out because of their bytes, session, record, session, record…}. The
 *   most recently refreshed session is the first, because it is most likely to be still connected.
 */
export const readMembers = script(`#!lua flags=no-writes
${reading}
local named = redis.call('ZRANGE', KEYS[1], '+inf', living, 'BYSCORE', 'REV', 'LIMIT', 0, math.min(ARGV[1], ${membersPerReadMax}))
local members, bytes, bytesMax = {0}, 0, tonumber(ARGV[2])
for from = 1, #named, 50 do
  local part = {}
  for i = from, math.min(from + 49, #named) do part[#part + 1] = named[i] end
  for i, record in ipairs(redis.call('HMGET', KEYS[2], unpack(part))) do
    if record then
      bytes = bytes + #part[i] + #record
      if bytes > bytesMax then
        members[1] = 1
        return members
      end
      members[#members + 1] = part[i]
      members[#members + 1] = record
    end
  end
end
return members
`)

/** Reads both counts consistently. O(log n). KEYS: sessions, users. Returns {sessions, users}. */
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
