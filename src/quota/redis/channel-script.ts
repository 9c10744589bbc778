// The Lua script that counts the channels of a tenant over all gateways. A tenant has these keys in the slot
// of the ledger:
// - channels, a sorted set: channel → the time until which it counts, in milliseconds of the clock of Redis.
//   Gateways move that time forward while they use the channel.
// - holders, a sorted set: gateway with channels → expiry.
// - channels:<gateway>, a hash: channel that the gateway uses → its subscribers there. It expires with its
//   gateway.
import { script } from '../../redis/scripts.js'

/** The most channels in one call. Redis needs about 1 ms for a call of this size with ten gateways. */
export const channelsPerCallMax = 200

/**
 * Writes the channels of this gateway, and checks the limits for its new channels and subscribers,
 * atomically. It writes totals and not differences, so it repairs earlier losses. It also works when Redis is
 * at maxmemory. O(gateways × channels).
 * - KEYS: channels, holders, channels of this gateway.
 * - ARGV: gateway, channels key without a gateway, time to live in ms, limit of channels, limit of
 *   subscribers, 1 to remove all channels of this gateway first; then up to 200 times: channel, subscribers
 *   that are admitted (-1 when the gateway does not use the channel any more), subscribers that ask for
 *   admission, 1 when the channel itself asks for it, ms for which its history lasts.
 * - Returns {channels of all gateways, channels of this gateway, then for each channel {admitted subscribers
 *   of those that ask, or -1 when the channel is refused; subscribers on the other gateways}}.
 */
export const writeChannels = script(String.raw`#!lua flags=allow-oom
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local now, expiryMs = string.format('%.0f', nowMs), nowMs + ARGV[3]
local expiry = string.format('%.0f', expiryMs)
if ARGV[6] == '1' then redis.call('DEL', KEYS[3]) end
-- Expired channels do not count, whether they are still stored or not.
local expired = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 500)
if #expired > 0 then redis.call('ZREM', KEYS[1], unpack(expired)) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local used = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')
local names = {}
for i = 7, #ARGV, 5 do names[#names + 1] = ARGV[i] end
local held, subscribers = {}, {}
for _, gateway in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if gateway ~= ARGV[1] and #names > 0 then
    for i, count in ipairs(redis.call('HMGET', ARGV[2] .. gateway, unpack(names))) do
      if count then
        held[i] = true
        subscribers[i] = (subscribers[i] or 0) + count
      end
    end
  end
end
local channelsMax, subscribersMax = tonumber(ARGV[4]), tonumber(ARGV[5])
local replies = {}
for i, name in ipairs(names) do
  local at = 2 + 5 * i
  local admitted, asking = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local others = subscribers[i] or 0
  local score = tonumber(redis.call('ZSCORE', KEYS[1], name) or 0)
  local granted = 0
  if admitted < 0 then
    redis.call('HDEL', KEYS[3], name)
    -- A later time is that of a history, which lasts longer than the gateway that stored it.
    if not held[i] and score > nowMs and score <= expiryMs then
      redis.call('ZREM', KEYS[1], name)
      used = used - 1
    end
  elseif score <= nowMs and ARGV[at + 3] == '1' and used >= channelsMax then
    granted = -1
  else
    granted = math.max(0, math.min(asking, subscribersMax - others - admitted))
    if granted > 0 or admitted > 0 or asking == 0 or ARGV[at + 3] == '0' then
      if score <= nowMs then used = used + 1 end
      local untilMs = math.max(expiryMs, nowMs + ARGV[at + 4])
      redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', untilMs), name)
      redis.call('HSET', KEYS[3], name, admitted + granted)
    end
  end
  replies[i] = {granted, others}
end
local own = redis.call('HLEN', KEYS[3])
if own > 0 then
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('ZADD', KEYS[2], expiry, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(1, last - nowMs))) end
return {used, own, unpack(replies)}
`)
