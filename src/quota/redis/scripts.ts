// The Lua of the ledger. A tenant has, in one slot, and gone with their last gateway:
//   connections      hash: gateway → when it ends (milliseconds of Redis's own clock), places it holds
//   users:<gateway>  hash: user → places; ends with its gateway
//   rates            hash: gateway → when it ends, deliveries per second; then of publish and of connect: wanted per second, share granted
// The installation has
//   gateways         sorted set: gateway → when it ends
// All is read by time: what has ended counts for nobody, whether it still lies there or not.
import { script, type Script } from '../../redis/scripts.js'

const reading = String.raw`
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** The names of the others' keys are made here: only Redis knows at this moment who they are. All have the slot of KEYS[1]. */
const counting = String.raw`${reading}
local all, own, living = 0, 0, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local ends, held = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(ends) > nowMs then
    all = all + held
    living[entries[i]] = true
    if entries[i] == ARGV[1] then own = tonumber(held) end
  end
end
local reply, max, perUser = {all - own}, tonumber(ARGV[4]), tonumber(ARGV[5])
local function hasRoom(i)
  if all >= max then
    reply[#reply + 1] = {i - 6, 'tenant', all}
    return false
  end
  local ofUser = 0
  for gateway in pairs(living) do ofUser = ofUser + (redis.call('HGET', ARGV[2] .. gateway, ARGV[i]) or 0) end
  if ofUser < perUser then return true end
  reply[#reply + 1] = {i - 6, 'user', ofUser}
  return false
end
`

/** Users that one question names at most. */
export const usersPerAskMax = 100

/**
 * Whether there is room for one more connection of each user, whatever the others get. O(gateways × users).
 * KEYS: connections · ARGV: gateway, users key without a gateway, time to live in ms (of no use here), places of the tenant, places of a user;
 * then users, up to 100
 * Returns {held by other gateways, then of each who finds none {which, counted from 0, limit, used}}.
 */
export const lookForRoom = script(`#!lua flags=no-writes
${counting}
for i = 6, #ARGV do hasRoom(i) end
return reply
`)

/**
 * Atomic: looking for room, and taking it, for one user after the other. O(gateways × users).
 * KEYS: connections, users of this gateway · ARGV and reply: as above
 */
export const takePlaces = script(`#!lua
${counting}
local before = own
for i = 6, #ARGV do
  if hasRoom(i) then
    all, own = all + 1, own + 1
    living[ARGV[1]] = true
    redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
  end
end
if own > before then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f', nowMs + ARGV[3], own))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return reply
`)

/** Users that one write names at most. */
export const usersPerWriteMax = 500

/**
 * Atomic: the count and the users that it is made of. Says how things are, not what changed: it mends what was lost before. Works in a
 * full Redis too. O(gateways + users).
 * KEYS: connections, users of this gateway · ARGV: gateway, time to live in ms, places held, 1 to forget all users first; then user and
 * places, up to 500 times
 * Returns {held by other gateways}.
 */
export const writePlaces = script(`#!lua flags=allow-oom
${reading}
if ARGV[4] == '1' then redis.call('DEL', KEYS[2]) end
local gone, there = {}, {}
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    gone[#gone + 1] = ARGV[i]
  else
    there[#there + 1] = ARGV[i]
    there[#there + 1] = ARGV[i + 1]
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
if #there > 0 then redis.call('HSET', KEYS[2], unpack(there)) end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', nowMs + ARGV[2], ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
local elsewhere = 0
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local ends, held = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(ends) <= nowMs then
    redis.call('HDEL', KEYS[1], entries[i])
  elseif entries[i] ~= ARGV[1] then
    elsewhere = elsewhere + held
  end
end
return {elsewhere}
`)

/**
 * Atomic: telling what this gateway wants, and being granted a share that the others have not. Where all want more than the limit, a share
 * is what one wants of what all want. Where they want less, it is what one wants of the limit, and of what is left as much as everybody else
 * who wants something: who wanted little may want much the next moment. But no more than is free; and no less than an equal part, if so much is
 * due: who begins need not wait until the others have given back, which they do when they come by next. O(gateways).
 * KEYS: rates · ARGV: gateway, time to live in ms, an equal part, deliveries per second, then for each rate what is wanted per second and
 * the limit; wanted -1: it has just begun, so nobody knows
 * Returns {deliveries per second of other gateways, then for each rate the share}, as texts.
 */
export const exchangeRates = script(`#!lua
${reading}
local part, delivered = tonumber(ARGV[3]), 0
local wanted, granted, wanting = {0, 0}, {0, 0}, {1, 1}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local numbers = {}
  for number in string.gmatch(entries[i + 1], '[^ ]+') do numbers[#numbers + 1] = tonumber(number) end
  if numbers[1] <= nowMs then
    redis.call('HDEL', KEYS[1], entries[i])
  elseif entries[i] ~= ARGV[1] then
    delivered = delivered + numbers[2]
    for rate = 1, 2 do
      wanted[rate] = wanted[rate] + numbers[2 * rate + 1]
      granted[rate] = granted[rate] + numbers[2 * rate + 2]
      if numbers[2 * rate + 1] > 0 then wanting[rate] = wanting[rate] + 1 end
    end
  end
end
local entry = string.format('%.0f %s', nowMs + ARGV[2], ARGV[4])
local reply = {string.format('%.3f', delivered)}
local idle = tonumber(ARGV[4]) == 0
for rate = 1, 2 do
  local own, limit, share = tonumber(ARGV[3 + 2 * rate]), tonumber(ARGV[4 + 2 * rate]), 0
  if own < 0 then
    -- As much as makes the others leave an equal part.
    share = math.min(part, 0.5)
    own = math.max(1, wanted[rate] * share / (1 - share))
    share = part
  elseif own > 0 then
    local all = own + wanted[rate]
    share = own / all
    if all < limit then share = own / limit + (1 - all / limit) / wanting[rate] end
    share = math.max(math.min(share, 1 - granted[rate]), math.min(share, part))
  end
  if own > 0 then idle = false end
  entry = entry .. string.format(' %.3f %.6f', own, share)
  reply[#reply + 1] = string.format('%.6f', share)
end
if idle then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], entry)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return reply
`)

/**
 * Atomic: being there, and counting who is. O(log n).
 * KEYS: gateways · ARGV: gateway, time to live in ms
 * Returns {1 when it was there before, gateways}.
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
  lookForRoom,
  takePlaces,
  writePlaces,
  exchangeRates,
  countGateways,
]
