// The Lua scripts of the ledger. A tenant has these keys in one slot; they expire together with the last
// gateway that uses them:
// - connections, a hash: gateway → expiry (milliseconds of the clock of Redis), number of connections.
// - guests, a hash: gateway → number of connections of guests. Counts only for gateways in `connections`. It
//   is a key of its own because gateways of an earlier version read every entry of `connections`.
// - users:<gateway>, a hash: user → number of connections. It expires with its gateway.
// - rates, a hash: gateway → expiry, deliveries per second; then for each shared rate the demand per second
//   and the granted share; then `b` and the bytes to clients per second. Gateways of other versions may have
//   fewer or more shared rates, and no bytes.
//
// The installation has one key:
// - gateways, a sorted set: gateway → expiry.
//
// All scripts compare expiries with the current time: an expired entry does not count, whether it is still
// stored or not.
import { script, type Script } from '../../redis/scripts.js'
import { guestPrefix } from '../../tenant/user.js'
import { reportedRates, sharedRates } from '../ledger.js'

const reading = String.raw`
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Lua code that counts connections. The script derives the keys of the other gateways itself, because only
 * Redis knows which gateways exist. All these keys are in the slot of KEYS[1].
 */
const counting = String.raw`${reading}
local all, own, living = 0, 0, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local expiry, held = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(expiry) > nowMs then
    all = all + held
    living[entries[i]] = true
    if entries[i] == ARGV[1] then own = tonumber(held) end
  end
end
local guests, ownGuests = 0, 0
entries = redis.call('HGETALL', KEYS[2])
for i = 1, #entries, 2 do
  if living[entries[i]] then
    guests = guests + entries[i + 1]
    if entries[i] == ARGV[1] then ownGuests = tonumber(entries[i + 1]) end
  end
end
local max, perUser, guestsMax = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local reply = {all - own, guests - ownGuests}
local function isGuest(i) return string.sub(ARGV[i], 1, ${guestPrefix.length}) == '${guestPrefix}' end
local function hasRoom(i)
  if all >= max then
    reply[#reply + 1] = {i - 7, 'tenant', all}
    return false
  end
  if isGuest(i) and guests >= guestsMax then
    reply[#reply + 1] = {i - 7, 'guests', guests}
    return false
  end
  local ofUser = 0
  for gateway in pairs(living) do ofUser = ofUser + (redis.call('HGET', ARGV[2] .. gateway, ARGV[i]) or 0) end
  if ofUser < perUser then return true end
  reply[#reply + 1] = {i - 7, 'user', ofUser}
  return false
end
`

/** The most users in one request. */
export const usersPerRequestMax = 100

/**
 * Checks for each user whether the limits allow one more connection, independently of the other users.
 * O(gateways × users).
 * - KEYS: connections, guests.
 * - ARGV: gateway, users key without a gateway, time to live in ms (unused), limit of the tenant, limit of a
 *   user, limit of the guests; then up to 100 users.
 * - Returns {connections of other gateways, those of guests, then for each refused user {index from 0, limit,
 *   used}}.
 */
export const checkConnections = script(`#!lua flags=no-writes
${counting}
for i = 7, #ARGV do hasRoom(i) end
return reply
`)

/**
 * Checks the limits and reserves a connection for each user, one after the other, atomically. O(gateways ×
 * users).
 * - KEYS: connections, guests, users of this gateway.
 * - ARGV and reply: as for `checkConnections`.
 */
export const reserveConnections = script(`#!lua
${counting}
local before, guestsBefore = own, ownGuests
for i = 7, #ARGV do
  if hasRoom(i) then
    all, own = all + 1, own + 1
    if isGuest(i) then guests, ownGuests = guests + 1, ownGuests + 1 end
    living[ARGV[1]] = true
    redis.call('HINCRBY', KEYS[3], ARGV[i], 1)
  end
end
if own > before then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f', nowMs + ARGV[3], own))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
if ownGuests > guestsBefore then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', ownGuests))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return reply
`)

/** The most users in one write. */
export const usersPerWriteMax = 500

/**
 * Writes the number of connections of this gateway and of its users, atomically. It writes totals and not
 * differences, so it repairs earlier losses. It also works when Redis is at maxmemory. O(gateways + users).
 * - KEYS: connections, guests, users of this gateway.
 * - ARGV: gateway, time to live in ms, connections, those of guests, 1 to remove all users first; then up to
 *   500 pairs of user and connections.
 * - Returns {connections of other gateways, those of guests}.
 */
export const writeConnections = script(`#!lua flags=allow-oom
${reading}
if ARGV[5] == '1' then redis.call('DEL', KEYS[3]) end
local removed, kept = {}, {}
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    removed[#removed + 1] = ARGV[i]
  else
    kept[#kept + 1] = ARGV[i]
    kept[#kept + 1] = ARGV[i + 1]
  end
end
if #removed > 0 then redis.call('HDEL', KEYS[3], unpack(removed)) end
if #kept > 0 then redis.call('HSET', KEYS[3], unpack(kept)) end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', nowMs + ARGV[2], ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
if ARGV[4] == '0' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
local others, living = 0, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local expiry, held = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(expiry) <= nowMs then
    redis.call('HDEL', KEYS[1], entries[i])
  elseif entries[i] ~= ARGV[1] then
    others = others + held
    living[entries[i]] = true
  end
end
local guests = 0
entries = redis.call('HGETALL', KEYS[2])
for i = 1, #entries, 2 do
  if living[entries[i]] then
    guests = guests + entries[i + 1]
  elseif entries[i] ~= ARGV[1] then
    redis.call('HDEL', KEYS[2], entries[i])
  end
end
return {others, guests}
`)

/**
 * Reports the demand of this gateway and grants it a share, atomically. When the total demand exceeds the
 * limit, the share is the gateway's part of the total demand. Otherwise it is the gateway's demand as a part
 * of the limit, plus an equal part of the rest for each gateway with a demand, because a small demand may
 * grow at any time. A share is never more than the other gateways leave free, with one exception: a gateway
 * gets up to an equal part if it is entitled to that much. A gateway that starts therefore need not wait for
 * the others, which reduce their shares at their next exchange. O(gateways).
 * - KEYS: rates.
 * - ARGV: gateway, time to live in ms, an equal share, deliveries per second, bytes to clients per second;
 *   then for each shared rate the demand per second and the limit. A demand of -1 means that the use has just
 *   started and is not measured yet.
 * - Returns {deliveries and bytes per second of other gateways, then for each shared rate the share}, as
 *   strings.
 */
export const exchangeRates = script(`#!lua
${reading}
local part, delivered, sent = tonumber(ARGV[3]), 0, 0
local demand, granted, demanding = {}, {}, {}
for rate = 1, ${sharedRates.length} do demand[rate], granted[rate], demanding[rate] = 0, 0, 1 end
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local numbers = {}
  for number in string.gmatch(entries[i + 1], '[^ ]+') do numbers[#numbers + 1] = tonumber(number) end
  if numbers[1] <= nowMs then
    redis.call('HDEL', KEYS[1], entries[i])
  elseif entries[i] ~= ARGV[1] then
    delivered = delivered + numbers[2]
    sent = sent + (tonumber(string.match(entries[i + 1], ' b(%S+)$')) or 0)
    for rate = 1, ${sharedRates.length} do
      local wanted = numbers[2 * rate + 1] or 0
      demand[rate] = demand[rate] + wanted
      granted[rate] = granted[rate] + (numbers[2 * rate + 2] or 0)
      if wanted > 0 then demanding[rate] = demanding[rate] + 1 end
    end
  end
end
local entry = string.format('%.0f %s', nowMs + ARGV[2], ARGV[4])
local reply = {string.format('%.3f', delivered), string.format('%.3f', sent)}
local idle = tonumber(ARGV[4]) == 0 and tonumber(ARGV[5]) == 0
for rate = 1, ${sharedRates.length} do
  local at = ${2 + reportedRates.length} + 2 * rate
  local own, limit, share = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), 0
  if own < 0 then
    -- This demand makes the others leave an equal part.
    share = math.min(part, 0.5)
    own = math.max(1, demand[rate] * share / (1 - share))
    share = part
  elseif own > 0 then
    local all = own + demand[rate]
    share = own / all
    if all < limit then share = own / limit + (1 - all / limit) / demanding[rate] end
    share = math.max(math.min(share, 1 - granted[rate]), math.min(share, part))
  end
  if own > 0 then idle = false end
  entry = entry .. string.format(' %.3f %.6f', own, share)
  reply[#reply + 1] = string.format('%.6f', share)
end
entry = entry .. ' b' .. ARGV[5]
if idle then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], entry)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return reply
`)

/**
 * Registers this gateway and counts all gateways, atomically. O(log n).
 * - KEYS: gateways.
 * - ARGV: gateway, time to live in ms.
 * - Returns {1 when this gateway was registered before, number of gateways}.
 */
export const countGateways = script(`#!lua flags=allow-oom
${reading}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', nowMs))
local known = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
redis.call('ZADD', KEYS[1], string.format('%.0f', nowMs + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {known, redis.call('ZCARD', KEYS[1])}
`)

export const ledgerScripts: readonly Script[] = [
  checkConnections,
  reserveConnections,
  writeConnections,
  exchangeRates,
  countGateways,
]
