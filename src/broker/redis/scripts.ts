// The Lua scripts of the broker. A script contains only what must be atomic. Each connection loads the
// scripts when it is prepared.
import { script, type Script } from '../../redis/scripts.js'
import { countLua, epochLua, expiryLua, listForSweepLua, nowLua } from './storage-lua.js'

/**
 * Reads the generation record and advances it atomically, so that two gateways that connect to the same new
 * master agree on one new number. A record that was lost and created again has a lower number than its
 * streams, and is raised above the given stream. The script always writes, so that a WAIT after it covers the
 * record, whichever gateway wrote it.
 * - KEYS: record; optionally a stream that refuses the recorded generation.
 * - ARGV: master_replid, a random store id for a partition without a record. A read may have created the
 *   record with only a store id.
 * - Returns {generation, store id}.
 */
export const moveGeneration = script(`#!lua flags=allow-oom
local record = redis.call('HMGET', KEYS[1], 'generation', 'replid', 'store')
local generation, store = tonumber(record[1]), record[3] or ARGV[2]
if not generation then
  generation = 0
elseif record[2] ~= ARGV[1] then
  generation = generation + 1
end
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then
  local list = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #list, 2 do
    if list[i] == 'last-generated-id' then
      local top = tonumber(string.match(list[i + 1], '^%d+'))
      if top > generation then generation = top + 1 end
    end
  end
end
redis.call('HSET', KEYS[1], 'generation', generation, 'replid', ARGV[1], 'store', store)
return {generation, store}
`)

/** Scripts with this flag also run while Redis is at maxmemory. They serve the gateways' own channels. */
const reserve = 'flags=allow-oom'

const publishStoredLua = (flags: string): Script =>
  script(`#!lua ${flags}
${epochLua}${countLua}
local stream, epochKey, record, stored, sweep, once = unpack(KEYS)
local generation, size, envelope, nonce, idle, channel, renew, ttl, digest, window = unpack(ARGV)
if once then
  local seen = redis.call('GET', once)
  if seen then
    local first, id, epoch = string.match(seen, '^(%S+) ?(%S*) ?(%S*)$')
    if first ~= digest then return {'mismatch'} end
    redis.call('SET', once, seen, 'KEEPTTL')
    local entry = id ~= '' and epochOf(stream, epochKey) == epoch and redis.call('XRANGE', stream, id, id)[1]
    return {'repeated', id, epoch, 0, entry and entry[2][2] or ''}
  end
end
local epoch, exists, lost = epochOf(stream, epochKey)
if not epoch then
  if exists then redis.call('DEL', stream) end
  epoch = newStreamEpoch(record, string.sub(nonce, 1, 8))
  if lost then epoch = string.gsub(epoch, '%d+$', '.') .. nonce end
end
local length = redis.call('XLEN', stream)
local id = redis.call('XADD', stream, generation .. '-*', 'e', envelope)
if length == 0 or renew == '1' then
  redis.call('SET', epochKey, 'p' .. epoch, 'EX', idle)
  redis.call('EXPIRE', stream, idle)
${listForSweepLua}end
if once then redis.call('SET', once, digest .. ' ' .. id .. ' ' .. epoch, 'PX', window) end
return {'new', id, epoch, settle(stream, stored, channel, length + 1, tonumber(size), costOf(#envelope))}
`)

/**
 * Appends an entry and returns its epoch atomically. Repeats with the same idempotency key and payload create
 * no further entry. A repeat also writes, so that a WAIT after it covers the first publish.
 * - KEYS: stream, epoch, generation record, counts, sweep; optionally the idempotency key.
 * - ARGV: generation, size, envelope, a nonce for the epoch after a lost stream, idle time to live in
 *   seconds, channel, 1 to renew the expiry of the stream and its place in the sweep although it has entries,
 *   otherwise 0, time to live of the entry in ms; with a key also the digest of the payload and the window in
 *   ms.
 * - Returns {'new', id, epoch, bytes of the tenant in this partition}, {'repeated', id, epoch, 0, the stored
 *   envelope or ''} or {'mismatch'}. id and epoch are '' when the first publish was not stored (`claimKey`).
 */
export const publishStored = publishStoredLua('')
export const publishStoredReserved = publishStoredLua(reserve)

const appendAllLua = (flags: string): Script =>
  script(`#!lua ${flags}
${countLua}
local stream, stored, sweep = unpack(KEYS)
local generation, size, entries, channel, ttl, command, topic, epoch = unpack(ARGV)
local length = redis.call('XLEN', stream)
local id, first
local messages = {}
local count, added, at = 0, 0, 1
while at <= #entries do
  local next = at + 4 + struct.unpack('>I4', entries, at)
  local entry = string.sub(entries, at + 4, next - 1)
  id = redis.call('XADD', stream, 'NOMKSTREAM', generation .. '-*', 'e', entry)
  if not id then return id end
  first = first or id
  count = count + 1
  added = added + costOf(#entry)
  if command then messages[count] = 'S' .. epoch .. ' ' .. id .. ' ' .. entry end
  at = next
end
if length == 0 then
${nowLua}${listForSweepLua}end
local total = settle(stream, stored, channel, length + count, tonumber(size), added)
if count > 1 then
  for i, message in ipairs(messages) do messages[i] = struct.pack('>I4', #message) .. message end
  table.insert(messages, 1, 'M')
end
if command then redis.pcall(command, topic, table.concat(messages)) end
return {first, total}
`)

/**
 * Appends entries to one stream with consecutive ids, and publishes them as one message in the format of
 * `Publisher`, atomically. When the first XADD succeeds, the others do. A missing permission to publish
 * causes no error here, because the check at start reports it.
 * - KEYS: stream, counts, sweep. The topic is not in KEYS: no key has its name, and Redis would refuse a
 *   missing key in a slot that is being moved.
 * - ARGV: generation, size, entries (each after its length in four bytes, big-endian), channel, time to live
 *   of the entries in ms; to publish them also PUBLISH or SPUBLISH, topic, epoch.
 * - Returns {first id, bytes of the tenant in this partition}, or nil when there is no stream.
 */
export const appendAll = appendAllLua('')
export const appendAllReserved = appendAllLua(reserve)

/**
 * Removes all entries of a stream. KEYS: stream, counts. ARGV: channel. Returns the bytes of the tenant in
 * this partition, or nil when there is no stream.
 */
export const trimStream = script(`#!lua flags=allow-oom
${countLua}
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', 0)
return recount(KEYS[1], KEYS[2], ARGV[1])
`)

/**
 * Writes a fence, also while Redis is at maxmemory. KEYS: fence. ARGV: time to live in seconds. Returns OK.
 */
export const writeFence = script(`#!lua flags=allow-oom
return redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
`)

/**
 * Claims an idempotency key atomically, for channels without history: only the first publish with the key is
 * new, whether it was stored or not.
 * - KEYS: idempotency key.
 * - ARGV: digest of the payload, window in ms.
 * - Returns 'new', 'repeated' or 'mismatch'.
 */
export const claimKey = script(`
local seen = redis.call('GET', KEYS[1])
if not seen then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 'new'
end
redis.call('SET', KEYS[1], seen, 'KEEPTTL')
return string.match(seen, '^%S+') == ARGV[1] and 'repeated' or 'mismatch'
`)

/** The bytes of entries at which one read ends, whatever its limit. More than any page has. */
export const readBytesMax = 1_048_576
const entriesPerPart = 16

/**
 * Reads a consistent epoch, top and list of entries. It creates no key for a channel without a stream: the
 * epoch of such a channel is derived (ADR 0016).
 * - KEYS: stream, epoch, generation record, counts.
 * - ARGV: command (XRANGE or XREVRANGE), first bound, second bound, count, an id to look up or '', channel,
 *   the size and the time to live in force or '' when they are unknown, a store id for a partition without a
 *   record.
 * - Returns {epoch, top id, 1 when the id exists, entries, time of Redis in ms}. The last entry is the one
 *   with which they reach `readBytesMax`, although more may follow. The id 0-0, before all entries, exists
 *   when no entry was ever removed. Entries beyond the size, and expired ones before the others, are removed
 *   before the read.
 */
export const readStream = script(`#!lua flags=allow-oom
${epochLua}${countLua}${expiryLua}
local stream, epochKey, record, stored = unpack(KEYS)
local command, from, to, limit, lookedUp, channel, size, ttl, fresh = unpack(ARGV)
local epoch, exists = epochOf(stream, epochKey)
if not epoch or not exists then
  return {epoch or newStreamEpoch(record, fresh), '0-0', lookedUp == '0-0' and 1 or 0, {}, now()}
end
local time = now()
local length = redis.call('XLEN', stream)
if size ~= '' and length > tonumber(size) then
  local freed = trim(stream, length, tonumber(size))
  recount(stream, stored, channel, freed and -freed)
  length = tonumber(size)
end
-- Expired entries would take the places of others on a page.
if tonumber(limit) > 0 and command == 'XRANGE' then
  local left = dropExpired(stream, length, time, ttl)
  if left < length then recount(stream, stored, channel) end
end
local list = redis.call('XINFO', 'STREAM', stream)
local info = {}
for i = 1, #list, 2 do info[list[i]] = list[i + 1] end
local top = info['last-generated-id']
local own = 0
if lookedUp == '0-0' then
  if info['entries-added'] == info['length'] then own = 1 end
elseif lookedUp ~= '' and #redis.call('XRANGE', stream, lookedUp, lookedUp) > 0 then
  own = 1
end
-- The entries are read in parts, because their sizes are not known.
local entries, bytes, left, part = {}, 0, tonumber(limit), ${entriesPerPart}
while left > 0 and bytes < ${readBytesMax} do
  local asked = math.min(left, part)
  local list = redis.call(command, stream, from, to, 'COUNT', asked)
  for _, entry in ipairs(list) do
    entries[#entries + 1] = entry
    bytes = bytes + #entry[2][2]
    if bytes >= ${readBytesMax} then break end
  end
  if #list < asked then break end
  from, left = '(' .. list[#list][1], left - #list
  part = math.max(part, math.floor((${readBytesMax} - bytes) * #entries / math.max(1, bytes)))
end
return {epoch, top, own, entries, time}
`)

export const brokerScripts: readonly Script[] = [
  moveGeneration,
  publishStored,
  publishStoredReserved,
  appendAll,
  appendAllReserved,
  claimKey,
  trimStream,
  writeFence,
  readStream,
]
