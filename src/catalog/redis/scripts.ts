// The Lua scripts of the catalog and of the heartbeats. A script contains only what must be atomic. Each
// connection loads the scripts when it is prepared.
import type { LiveRedis } from '../../redis/link.js'
import { loadScripts, script, type Script } from '../../redis/scripts.js'

/**
 * Lua functions that several scripts use. The key `version` is a hash with the fields epoch, n, fence, replid
 * (the replication id of the master at the last complete snapshot), confirmed (time of Redis in ms),
 * installation and owner (the cluster).
 */
const helpers = `
local function nowMs()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
local function replid()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
end
local function head(key)
  local known = redis.call('HMGET', key, 'epoch', 'n', 'confirmed')
  if not known[1] then return {'', '', '', nowMs()} end
  return {known[1], known[2], known[3], nowMs()}
end
`

/**
 * A Lua function that checks whether a writer may continue: the epoch must be the same, no change may be
 * lost, and the master must be the same. A writer with a lower fence than the last one is stale. The fences
 * of two owners are not compared. Returns n, or nil, the refusal and the owner.
 */
const checkWriter = `${helpers}
local function checkWriter(version, owner, fence, epoch, n, how)
  local known = redis.call('HMGET', version, 'epoch', 'n', 'fence', 'replid', 'owner')
  if not known[1] then return nil, 'snapshotNeeded' end
  if owner ~= '' and known[5] ~= owner then
    if known[5] then return nil, 'foreign', known[5] end
    return nil, 'snapshotNeeded'
  end
  if tonumber(fence) < tonumber(known[3]) then return nil, 'fenced' end
  local behind = tonumber(known[2]) < tonumber(n) or (how == 'exactly' and known[2] ~= n)
  if known[1] ~= epoch or behind or known[4] ~= replid() then return nil, 'snapshotNeeded' end
  return tonumber(known[2])
end
`

/**
 * Writes all changes and the new version atomically. Unchanged records are not written.
 * - KEYS: version, tenants, stamps, log.
 * - ARGV: fence, epoch, n, whether n must match 'atLeast' or 'exactly', the epoch after the commit, the most
 *   entries that the log keeps, topic, owner or ''; then for each change 'put', tenant, stamp without its n,
 *   record; or 'remove', tenant, tenant id or '' for any, ''. A change of the epoch here keeps n and the log.
 * - Returns {'written' or 'unchanged', n, n of the last change's record}, or
 *   {'snapshotNeeded', 'fenced' or 'foreign', owner}.
 *
 * The log is written before anything is removed. When Redis is out of memory, it refuses this first write,
 * and nothing has changed.
 */
export const commitChanges = script(`${checkWriter}
local n, refusal, owner = checkWriter(KEYS[1], ARGV[8], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if not n then return {refusal, owner or ''} end
local fence = redis.call('HGET', KEYS[1], 'fence')
if tonumber(ARGV[1]) > tonumber(fence) then redis.call('HSET', KEYS[1], 'fence', ARGV[1]) end
local before, last = n, n
local function log(tenant)
  n = n + 1
  last = n
  redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[6], string.format('%.0f-0', n), 't', tenant)
end
for i = 9, #ARGV, 4 do
  local op, tenant, body, record = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local old = redis.call('HGET', KEYS[3], tenant)
  if op == 'put' then
    local oldN, oldBody = string.match(old or '', '^(%d+) (.*)$')
    if oldBody == body then
      last = tonumber(oldN)
    else
      log(tenant)
      redis.call('HSET', KEYS[2], tenant, record)
      redis.call('HSET', KEYS[3], tenant, string.format('%.0f ', n) .. body)
    end
  elseif old and (body == '' or string.match(old, '^%d+ %S+ %S+ (.*)$') == body) then
    log(tenant)
    redis.call('HDEL', KEYS[2], tenant)
    redis.call('HDEL', KEYS[3], tenant)
  end
end
if n == before and ARGV[5] == ARGV[2] then return {'unchanged', n, last} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'n', string.format('%.0f', n), 'confirmed', nowMs())
redis.call('PUBLISH', ARGV[7], ARGV[5] .. ' ' .. string.format('%.0f', n))
return {'written', n, last}
`)

/**
 * Replaces the catalog atomically by the staged one, if the catalog has not changed since the writer read it.
 * - KEYS: version, tenants, stamps, log, staged tenants, staged stamps.
 * - ARGV: fence, the epoch and n that the writer has read ('' when there were none), new epoch, number of
 *   records, number of stamps, topic, installation, owner or '', another owner that may be replaced or ''.
 * - Returns {'written', 1}, {'fenced'}, {'moved'} or {'foreign', owner}.
 */
export const beginEpoch = script(`${helpers}
local known = redis.call('HMGET', KEYS[1], 'epoch', 'n', 'fence', 'owner')
local own = ARGV[9] == '' or not known[4] or known[4] == ARGV[9]
if not own and known[4] ~= ARGV[10] then return {'foreign', known[4]} end
if own and known[3] and tonumber(ARGV[1]) < tonumber(known[3]) then return {'fenced'} end
if (known[1] or '') ~= ARGV[2] or (known[2] or '') ~= ARGV[3] then return {'moved'} end
local records, stamps = redis.call('HLEN', KEYS[5]), redis.call('HLEN', KEYS[6])
if records ~= tonumber(ARGV[5]) or stamps ~= tonumber(ARGV[6]) then return {'moved'} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'n', '1', 'fence', ARGV[1], 'replid', replid(), 'confirmed', nowMs(), 'installation', ARGV[8])
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'owner', ARGV[9]) end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
if records > 0 then
  redis.call('RENAME', KEYS[5], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
if stamps > 0 then
  redis.call('RENAME', KEYS[6], KEYS[3])
  redis.call('PERSIST', KEYS[3])
end
redis.call('PUBLISH', ARGV[7], ARGV[4] .. ' 1')
return {'written', 1}
`)

/**
 * Records that the catalog is as its writer wants it, or reports that it is not.
 * - KEYS: version.
 * - ARGV: fence, epoch, n, owner or ''.
 * - Returns 'confirmed', 'snapshotNeeded', 'fenced' or 'foreign'.
 */
export const confirmCatalog = script(`${checkWriter}
local n, refusal = checkWriter(KEYS[1], ARGV[4], ARGV[1], ARGV[2], ARGV[3], 'atLeast')
if not n then return refusal end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'confirmed', nowMs())
return 'confirmed'
`)

/**
 * Reads a consistent view for a writer.
 * - KEYS: version, stamps.
 * - Returns {epoch, n, fence, 1 when the master is the same as at the last snapshot, time of Redis in ms,
 *   owner, alternating tenants and stamps}. A missing value is ''.
 */
export const readForWriting = script(`${helpers}
local known = redis.call('HMGET', KEYS[1], 'epoch', 'n', 'fence', 'replid', 'owner')
local same = known[4] == replid() and 1 or 0
return {known[1] or '', known[2] or '', known[3] or '', same, nowMs(), known[5] or '', redis.call('HGETALL', KEYS[2])}
`)

/**
 * Reads a consistent list of all stamps.
 * - KEYS: version, stamps.
 * - Returns {head, alternating tenants and stamps}; head is {epoch, n, confirmed, time of Redis in ms}.
 */
export const readDirectory = script(`${helpers}
return {head(KEYS[1]), redis.call('HGETALL', KEYS[2])}
`)

/**
 * Reads records.
 * - KEYS: version, tenants.
 * - ARGV: epoch, tenants.
 * - Returns {1, records}, or {0, {}} when the epoch is another one.
 */
export const readRecords = script(`
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {0, {}} end
return {1, redis.call('HMGET', KEYS[2], unpack(ARGV, 2))}
`)

/**
 * Reads the next entries of the log together with the records of their tenants, atomically, so that no reader
 * sees a version without its records. A tenant that changed twice is listed once, with its present record.
 * - KEYS: version, tenants, stamps, log.
 * - ARGV: epoch, n, the most entries to read.
 * - Returns {head, n of the last entry, tenants, their stamps, their records}. n and the lists are empty when
 *   there are no later entries, or when the log does not reach back to n.
 */
export const readChanges = script(`${helpers}
local at = head(KEYS[1])
local nothing = {at, '', {}, {}, {}}
if at[1] == '' or at[1] ~= ARGV[1] or tonumber(at[2]) <= tonumber(ARGV[2]) then return nothing end
local entries = redis.call('XRANGE', KEYS[4], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])
local first = string.format('%.0f-0', tonumber(ARGV[2]) + 1)
if #entries == 0 or entries[1][1] ~= first then return nothing end
local tenants, seen = {}, {}
for i = 1, #entries do
  local tenant = entries[i][2][2]
  if not seen[tenant] then
    seen[tenant] = true
    tenants[#tenants + 1] = tenant
  end
end
local reached = string.match(entries[#entries][1], '^%d+')
return {at, reached, tenants, redis.call('HMGET', KEYS[3], unpack(tenants)), redis.call('HMGET', KEYS[2], unpack(tenants))}
`)

/**
 * Writes a heartbeat, and removes all heartbeats that have expired.
 * - KEYS: gateways, usage.
 * - ARGV: id, time to live in ms, heartbeat, usage.
 */
export const writeHeartbeat = script(`#!lua flags=allow-oom
${helpers}
local now = tonumber(nowMs())
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local expires = tonumber(string.match(all[i + 1], '^%d+'))
  if not expires or expires <= now then
    redis.call('HDEL', KEYS[1], all[i])
    redis.call('HDEL', KEYS[2], all[i])
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now + ARGV[2]) .. ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 'OK'
`)

/**
 * Reads all heartbeats consistently.
 * - KEYS: gateways, usage.
 * - ARGV: 1 to read usage too, otherwise 0.
 * - Returns {time of Redis in ms, alternating ids and heartbeats, alternating ids and usages}.
 */
export const readHeartbeats = script(`${helpers}
return {nowMs(), redis.call('HGETALL', KEYS[1]), ARGV[1] == '1' and redis.call('HGETALL', KEYS[2]) or {}}
`)

const scripts: readonly Script[] = [
  commitChanges,
  beginEpoch,
  confirmCatalog,
  readForWriting,
  readDirectory,
  readRecords,
  readChanges,
  writeHeartbeat,
  readHeartbeats,
]

/** Loads all scripts of this file on a new connection. Called when a link prepares a connection. */
export async function loadCatalogScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, scripts)
}
