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

/** Streams of at most this many entries are measured at each append. Longer ones are estimated. */
const measuredMax = 32

/**
 * - costOf(bytes): an estimate of what an entry occupies. Redis rounds allocations up, by a quarter at worst.
 * - account(stored, channel, bytes): adds to the count of a channel, and returns the tenant's sum.
 * - measure(stream, stored, channel): replaces the count of a channel by what it occupies, and returns the
 *   sum. The constant is what Redis needs for the keys beside the stream; the name of the channel is part of
 *   three of them.
 * - drop(stream, length, count): removes the oldest entries, and returns the bytes that this frees. Few
 *   entries are read for it; many are measured.
 * - excess(length, size): how many entries are to be removed. A tenth of the size may stay for a while, so
 *   that entries are not removed one by one; reads remove the rest before they return anything.
 * - settle(stream, stored, channel, length, size, added): removes the excess after an append, counts, and
 *   returns the sum. A short stream is measured: Redis reserves 4 KiB for its first entries.
 */
export const countLua = `
local function costOf(bytes)
  return bytes + 40 + math.floor(bytes / (bytes > 1500 and 4 or 10))
end

local function account(stored, channel, bytes)
  redis.call('HINCRBY', stored, channel, bytes)
  return redis.call('HINCRBY', stored, '', bytes)
end

local function measure(stream, stored, channel)
  local occupied = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0) + 450 + 3 * #channel
  return account(stored, channel, occupied - (redis.call('HGET', stored, channel) or 0))
end

local function drop(stream, length, count)
  local freed = 0
  if count <= 64 then
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', count)) do
      freed = freed + costOf(#entry[2][2])
    end
    redis.call('XTRIM', stream, 'MAXLEN', '=', length - count)
  else
    freed = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0)
    redis.call('XTRIM', stream, 'MAXLEN', '=', length - count)
    freed = freed - redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0)
  end
  return freed
end

local function excess(length, size)
  if length <= size + math.min(math.floor(size / 10), 50) then return 0 end
  return length - size
end

local function settle(stream, stored, channel, length, size, added)
  local surplus = excess(length, size)
  if length - surplus <= ${measuredMax} then
    if surplus > 0 then redis.call('XTRIM', stream, 'MAXLEN', '=', size) end
    return measure(stream, stored, channel)
  end
  if surplus > 0 then added = added - drop(stream, length, surplus) end
  return account(stored, channel, added)
end
`
