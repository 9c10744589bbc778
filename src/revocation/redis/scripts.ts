// The Lua scripts of revocations. Each connection loads them when it is prepared.
//
// An entry is `<name>\n<expires> <issuedBefore>`, with times in milliseconds and `-` for none. A
// tenant's entries are a sorted set in which all scores are 0, so that they are in the order of their names.
// The log is a stream with a field of a random nonce beside each change: a reader that finds the entry at its
// position again, with the same nonce, has missed nothing, whichever master answers. The hash of the tenants
// has a field with the empty name: the random id of the store. Another id means that Redis has lost its data.
import type { LiveRedis } from '../../redis/link.js'
import { loadScripts, script } from '../../redis/scripts.js'

/** Names hold no control characters, so `\n` ends one. */
const helpers = `
local function find(key, name)
  return redis.call('ZRANGE', key, '[' .. name .. '\\n', '(' .. name .. '\\11', 'BYLEX', 'LIMIT', 0, 1)[1]
end
local function newestId(log)
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return newest and newest[1] or ''
end
`

/**
 * Adds a revocation, or moves the times of the one with its name forward.
 * - KEYS: log, tenants, entries of the tenant.
 * - ARGV: nonce, tenant id, name, expires, issued before, the most entries of the tenant, the most entries of
 *   the log, topic, 'known' to change only a revocation that exists or ''.
 * - Returns {1, entry, id}, or {0, number of entries, id} when the tenant has too many, or {0, '', id} when
 *   there is none to change. The id is that of the newest change in the log, this one included.
 *
 * An unchanged entry is written to the log only when there is no log: every Redis with revocations has one.
 *
 * The new entry is written before the old one is removed, because a Redis that is out of memory refuses the
 * first write.
 */
export const addRevocation = script(`${helpers}
local old = find(KEYS[3], ARGV[3])
local expires, before = ARGV[4], ARGV[5]
if old then
  local oldExpires, oldBefore = string.match(old, '\\n(%S+) (%S+)$')
  if oldExpires == '-' or (expires ~= '-' and tonumber(oldExpires) > tonumber(expires)) then
    expires = oldExpires
  end
  if oldBefore ~= '-' and before ~= '-' and tonumber(oldBefore) > tonumber(before) then before = oldBefore end
elseif ARGV[9] == 'known' then
  return {0, '', newestId(KEYS[1])}
elseif ARGV[3] ~= 'tenant' then
  local count = redis.call('ZCARD', KEYS[3])
  if count >= tonumber(ARGV[6]) then return {0, tostring(count), newestId(KEYS[1])} end
end
local entry = ARGV[3] .. '\\n' .. expires .. ' ' .. before
if entry ~= old or newestId(KEYS[1]) == '' then
  redis.call('ZADD', KEYS[3], 0, entry)
  if old and entry ~= old then redis.call('ZREM', KEYS[3], old) end
  redis.call('HSET', KEYS[2], ARGV[2], 1)
  if not redis.call('HGET', KEYS[2], '') then redis.call('HSET', KEYS[2], '', ARGV[1]) end
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[7], '*', 'nonce', ARGV[1], 'tenant', ARGV[2], 'entry', entry)
  redis.call('PUBLISH', ARGV[8], '')
end
return {1, entry, newestId(KEYS[1])}
`)

/**
 * Ends a revocation. The log gets its name alone.
 * - KEYS: log, tenants, entries of the tenant.
 * - ARGV: nonce, tenant id, name, the most entries of the log, topic.
 * - Returns {1, '', id}, or {0, '', id} when there is none, with the id of the newest change in the log.
 */
export const removeRevocation = script(`${helpers}
local old = find(KEYS[3], ARGV[3])
if not old then return {0, '', newestId(KEYS[1])} end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'nonce', ARGV[1], 'tenant', ARGV[2], 'entry', ARGV[3])
redis.call('ZREM', KEYS[3], old)
if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
redis.call('PUBLISH', ARGV[5], '')
return {1, '', newestId(KEYS[1])}
`)

/**
 * Removes revocations that expired a minute ago by the clock of Redis. The gateways forget them by
 * themselves, so the log gets nothing.
 * - KEYS: tenants, entries of the tenant.
 * - ARGV: tenant id, names.
 * - Returns the number of entries that are left.
 */
export const removeExpired = script(`${helpers}
local time = redis.call('TIME')
local now = time[1] * 1000
for i = 2, #ARGV do
  local entry = find(KEYS[2], ARGV[i])
  local expires = entry and tonumber(string.match(entry, '\\n(%S+) %S+$'))
  if expires and expires + 60000 < now then redis.call('ZREM', KEYS[2], entry) end
end
local left = redis.call('ZCARD', KEYS[2])
if left == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return left
`)

/**
 * Reads the changes that follow a position.
 * - KEYS: log.
 * - ARGV: id and nonce of the last change that was read (both '' when the log was empty, 'none' and '' when
 *   nothing was read yet), the most changes.
 * - Returns {1, id and nonce of the last change of this page, {tenant id, entry, tenant id, entry …}}, or
 *   {0, id, nonce of the newest change ('' for an empty log), {}} when the reader must read everything.
 */
export const readChanges = script(`
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest then return {ARGV[1] == '' and 1 or 0, '', '', {}} end
if ARGV[1] == '' or ARGV[1] == 'none' then return {0, newest[1], newest[2][2], {}} end
local page = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[3] + 1)
local known = page[1]
if not known or known[1] ~= ARGV[1] or known[2][2] ~= ARGV[2] then return {0, newest[1], newest[2][2], {}} end
local changes = {}
for i = 2, #page do
  changes[#changes + 1] = page[i][2][4]
  changes[#changes + 1] = page[i][2][6]
end
local last = page[#page]
return {1, last[1], last[2][2], changes}
`)

/** Loads all scripts of this file on a new connection. */
export async function loadRevocationScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, [addRevocation, removeRevocation, removeExpired, readChanges])
}
