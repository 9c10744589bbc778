// The Lua scripts that remove expired entries from idle channels, and that keep the counts of what histories
// occupy. All of them also run while Redis is at maxmemory, because they free memory.
import { script, type Script } from '../../redis/scripts.js'
import { countLua, expiryLua, nowLua } from './storage-lua.js'

/**
 * How long after the removal of its oldest entry a stream is swept again at the earliest, and how long after
 * a sweep at the latest, in milliseconds. The latter bounds how long a wrong count stays.
 */
const againMs = { min: 10_000, max: 600_000, empty: 86_400_000 }

/** Returns streams to sweep. KEYS: sweep. ARGV: the most members. Returns members. */
export const dueStreams = script(`#!lua flags=no-writes
${nowLua}
return redis.call('ZRANGE', KEYS[1], '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
`)

/**
 * Removes what a stream may no longer keep, and measures what it occupies.
 * - KEYS: stream, counts, sweep.
 * - ARGV: channel, member of the sweep, the size and the time to live in ms of the rule in force, or '' when
 *   no rule is known.
 * - Returns the bytes of the tenant in this partition.
 */
export const sweepStream = script(`#!lua flags=allow-oom
${nowLua}${countLua}${expiryLua}
local stream, stored, sweep = unpack(KEYS)
local channel, member, size, ruleTtl = unpack(ARGV)
if redis.call('EXISTS', stream) == 0 then
  redis.call('ZREM', sweep, member)
  local count = redis.call('HGET', stored, channel)
  if not count then return tonumber(redis.call('HGET', stored, '') or 0) end
  redis.call('HDEL', stored, channel)
  if redis.call('HLEN', stored) == 1 then
    redis.call('DEL', stored)
    return 0
  end
  return redis.call('HINCRBY', stored, '', -count)
end
local length = redis.call('XLEN', stream)
if size ~= '' and length > tonumber(size) then
  redis.call('XTRIM', stream, 'MAXLEN', '=', size)
  length = tonumber(size)
end
local time = now()
local firstEnd
length, firstEnd = dropExpired(stream, length, time, ruleTtl)
local due = time + ${againMs.empty}
if length > 0 and not firstEnd then
  due = time
elseif firstEnd then
  due = math.min(math.max(firstEnd, time + ${againMs.min}), time + ${againMs.max})
end
redis.call('ZADD', sweep, due, member)
return recount(stream, stored, channel)
`)

/**
 * Makes channels of a tenant due for the sweep, because a rule has changed.
 * - KEYS: counts, sweep.
 * - ARGV: the tenant's id, a cursor of HSCAN.
 * - Returns the next cursor; '0' at the end.
 */
export const recheckStreams = script(`#!lua flags=allow-oom
${nowLua}
local found = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
local time = now()
for i = 1, #found[2], 2 do
  local channel = found[2][i]
  if channel ~= '' then redis.call('ZADD', KEYS[2], 'XX', 'LT', time, ARGV[1] .. ' ' .. channel) end
end
return found[1]
`)

/**
 * Reads what tenants occupy in one partition. KEYS: the counts of each tenant. Returns their sums in bytes,
 * in the order of the keys.
 */
export const readSums = script(`#!lua flags=no-writes
local sums = {}
for index, stored in ipairs(KEYS) do sums[index] = tonumber(redis.call('HGET', stored, '') or 0) end
return sums
`)

export const sweepScripts: readonly Script[] = [dueStreams, sweepStream, recheckStreams, readSums]
