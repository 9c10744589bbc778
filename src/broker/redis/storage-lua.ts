// Parts of Lua scripts that the scripts of scripts.ts and sweep-scripts.ts share.
//
// What histories occupy is counted for each tenant and partition in one hash: channel → bytes, and '' → the
// sum. Every script that changes a stream changes the hash with it, so a replica, a restored copy and an
// emptied Redis always hold counts that fit their streams. Between two measurements the counts are
// estimates; a sweep replaces them by what Redis says (MEMORY USAGE).
import { epochWindowMs } from '../retention.js'

/** The time of Redis, in milliseconds since the Unix epoch. */
export const nowLua = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

/**
 * - epochOf(stream, epochKey): the stored epoch or nil, whether the stream exists, and whether a stream was
 *   lost. The epoch is stored beside its stream as 'p<epoch>'. A 'p' without its stream means that the stream
 *   was lost. Gateways of earlier versions store 'r<epoch>' when they read a channel before its first
 *   publication.
 * - newStreamEpoch(record, fresh): the epoch of a channel without a stream. ADR 0016 explains its parts.
 */
export const epochLua = `${nowLua}
local function epochOf(stream, epochKey)
  local known = redis.call('GET', epochKey)
  local exists = redis.call('EXISTS', stream) == 1
  if known and (exists or string.sub(known, 1, 1) == 'r') then return string.sub(known, 2), exists, false end
  return nil, exists, exists or known ~= false
end

local function newStreamEpoch(record, fresh)
  local store = redis.call('HGET', record, 'store')
  if not store then
    store = fresh
    redis.pcall('HSET', record, 'store', store)
  end
  return store .. '.' .. math.floor(now() / ${epochWindowMs})
end
`

/** The most entries that one call of `dropExpired` checks. */
const checkedMax = 1_024

/**
 * dropExpired(stream, length, time, ruleTtl): removes the oldest entries while they are expired. An entry
 * lives as long as it was published for, and no longer than the rule in force says; `ruleTtl` is '' when no
 * rule is known. Returns the new length, and the time at which the oldest entry expires, or nil when there is
 * none or more may be expired. Entries are in the order of their times, except after a failover to a node
 * whose clock is behind, and after the time to live was changed: then an entry goes when those before it go.
 */
export const expiryLua = `
local function dropExpired(stream, length, time, ruleTtl)
  local page, checked = 1, 0
  while length > 0 and checked < ${checkedMax} do
    local expired, firstEnd = 0, nil
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', page)) do
      local at, ttl = string.match(entry[2][2], '^{"t":(%d+),"x":(%d+)')
      at = at or string.match(entry[2][2], '^{"t":(%d+)')
      local limit = math.min(tonumber(ttl) or math.huge, tonumber(ruleTtl) or math.huge)
      if at + limit > time then
        firstEnd = at + limit
        break
      end
      expired = expired + 1
    end
    checked = checked + page
    page = 64
    if expired > 0 then
      length = length - expired
      redis.call('XTRIM', stream, 'MAXLEN', '=', length)
    end
    if firstEnd then return length, firstEnd end
  end
  return length, nil
end
`

/**
 * listForSweep: makes `stream` due when its oldest entry expires at the latest. It uses the local variables
 * of the two scripts that append, and `now`. The member is the tenant's id, a space and the channel.
 */
export const listForSweepLua = `
  local tenant = string.match(stream, '^parley:{[^}]*}:([^:]+):stream:')
  redis.call('ZADD', sweep, 'LT', now() + ttl, tenant .. ' ' .. channel)
`

/** Streams of at most this many entries are measured at each append. Longer ones are estimated. */
const measuredMax = 32

/**
 * - costOf(bytes): an estimate of what an entry occupies. Redis rounds allocations up, by a quarter at worst.
 * - recount(stream, stored, channel, added): adds to the count of a channel, and returns the tenant's sum.
 *   Without `added`, and when the channel is not counted yet, the count becomes what the channel occupies.
 *   The constant is what Redis needs for the keys beside the stream; the name of the channel is part of
 *   three of them.
 * - trim(stream, length, size): keeps the newest entries, and returns the bytes that this frees, or nil when
 *   it is cheaper to measure the stream.
 * - settle(stream, stored, channel, length, size, added): removes the excess after an append, counts, and
 *   returns the sum. A tenth of the size may stay for a while, so that entries are not removed one by one;
 *   reads remove the rest before they return anything. A short stream is measured: Redis reserves 4 KiB for
 *   its first entries.
 */
export const countLua = `
local function costOf(bytes)
  return bytes + 40 + math.floor(bytes / (bytes > 1500 and 4 or 10))
end

local function recount(stream, stored, channel, added)
  -- The cheap case comes first. A channel that was not counted now has the count that was added.
  if added and redis.call('HINCRBY', stored, channel, added) ~= added then
    return redis.call('HINCRBY', stored, '', added)
  end
  local counts = redis.call('HMGET', stored, channel, '')
  local before, sum = (tonumber(counts[1]) or 0) - (added or 0), tonumber(counts[2]) or 0
  local count = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0) + 450 + 3 * #channel
  if count == before then return sum end
  sum = sum + count - before
  redis.call('HSET', stored, channel, count, '', sum)
  return sum
end

local function trim(stream, length, size)
  local freed
  if size > 1024 and length - size <= 64 then
    freed = 0
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', length - size)) do
      freed = freed + costOf(#entry[2][2])
    end
  end
  redis.call('XTRIM', stream, 'MAXLEN', '=', size)
  return freed
end

local function settle(stream, stored, channel, length, size, added)
  if length > size + math.min(math.floor(size / 10), 50) then
    local freed = trim(stream, length, size)
    added = freed and added - freed
    length = size
  end
  if length <= ${measuredMax} then added = nil end
  return recount(stream, stored, channel, added)
end
`
