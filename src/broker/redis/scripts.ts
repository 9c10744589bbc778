// The Lua scripts of the broker. A script contains only what must be atomic. Each connection loads the
// scripts when it is prepared.
import { script, type Script } from '../../redis/scripts.js'

/**
 * Reads the generation record and advances it atomically, so that two gateways that connect to the same new
 * master agree on one new number. A record that was lost and created again has a lower number than its
 * streams, and is raised above the given stream. The script always writes, so that a WAIT after it covers the
 * record, whichever gateway wrote it.
 * - KEYS: record; optionally a stream that refuses the recorded generation.
 * - ARGV: master_replid, a random store id for a partition without a record.
 * - Returns {generation, store id}.
 */
export const moveGeneration = script(`
local record = redis.call('HMGET', KEYS[1], 'generation', 'replid', 'store')
local generation, store = tonumber(record[1]), record[3]
if not generation then
  generation, store = 0, ARGV[2]
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

/**
 * A Lua function that returns the epoch of a stream and whether the stream exists. The epoch is stored beside
 * its stream: as 'r<epoch>' when the channel was read before the first publication, and as 'p<epoch>' from
 * the first publication on. A 'p' without its stream means that the stream was lost; the next stream gets
 * another epoch.
 */
const epochOf = `
local function epochOf(stream, nonce, fresh, ttl)
  local known = redis.call('GET', nonce)
  local exists = redis.call('EXISTS', stream) == 1
  if known and (exists or string.sub(known, 1, 1) == 'r') then return string.sub(known, 2), exists end
  if exists and not known then redis.call('DEL', stream) end
  return fresh, false
end
`

/**
 * Appends an entry and returns its epoch atomically. Repeats with the same idempotency key and payload create
 * no further entry. A repeat also writes, so that a WAIT after it covers the first publish.
 * - KEYS: stream, epoch; optionally the idempotency key.
 * - ARGV: generation, size, envelope, a new epoch, idle time to live in seconds; with a key also the digest
 *   of the payload and the window in ms.
 * - Returns {'new' or 'repeated', id, epoch} or {'mismatch'}. id and epoch are '' when the first publish was
 *   not stored (`claimKey`).
 */
export const publishStored = script(`${epochOf}
if KEYS[3] then
  local seen = redis.call('GET', KEYS[3])
  if seen then
    local digest, id, epoch = string.match(seen, '^(%S+) ?(%S*) ?(%S*)$')
    if digest ~= ARGV[6] then return {'mismatch'} end
    redis.call('SET', KEYS[3], seen, 'KEEPTTL')
    return {'repeated', id, epoch}
  end
end
local epoch = epochOf(KEYS[1], KEYS[2], ARGV[4])
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[1] .. '-*', 'e', ARGV[3])
redis.call('SET', KEYS[2], 'p' .. epoch, 'EX', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[5])
if KEYS[3] then redis.call('SET', KEYS[3], ARGV[6] .. ' ' .. id .. ' ' .. epoch, 'PX', ARGV[7]) end
return {'new', id, epoch}
`)

/**
 * Appends entries to one stream with consecutive ids, and publishes them as one message in the format of
 * `Publisher`, atomically. When the first XADD succeeds, the others do. A missing permission to publish
 * causes no error here, because the check at start reports it.
 * - KEYS: stream. The topic is not in KEYS: no key has its name, and Redis would refuse a missing key in a
 *   slot that is being moved.
 * - ARGV: generation, size, entries (each after its length in four bytes, big-endian); to publish them also
 *   PUBLISH or SPUBLISH, topic, epoch.
 * - Returns the first id, or nil when there is no stream.
 */
export const appendAll = script(`
local id, first
local messages = {}
local at = 1
while at <= #ARGV[3] do
  local next = at + 4 + struct.unpack('>I4', ARGV[3], at)
  local entry = string.sub(ARGV[3], at + 4, next - 1)
  id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], ARGV[1] .. '-*', 'e', entry)
  if not id then return id end
  first = first or id
  if ARGV[4] then messages[#messages + 1] = 'S' .. ARGV[6] .. ' ' .. id .. ' ' .. entry end
  at = next
end
if #messages > 1 then
  for i, message in ipairs(messages) do messages[i] = struct.pack('>I4', #message) .. message end
  table.insert(messages, 1, 'M')
end
if ARGV[4] then redis.pcall(ARGV[4], ARGV[5], table.concat(messages)) end
return first
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

/**
 * Reads a consistent epoch, top and list of entries.
 * - KEYS: stream, epoch.
 * - ARGV: command (XRANGE or XREVRANGE), first bound, second bound, count, an id to look up or '', a new
 *   epoch, the time to live in seconds of an epoch under which nothing was published.
 * - Returns {epoch, top id, 1 when the id exists, entries}. The id 0-0, before all entries, exists when no
 *   entry was ever removed.
 */
export const readStream = script(`${epochOf}
local epoch, exists = epochOf(KEYS[1], KEYS[2], ARGV[6])
if not exists then
  redis.pcall('SET', KEYS[2], 'r' .. epoch, 'EX', ARGV[7])
  return {epoch, '0-0', ARGV[5] == '0-0' and 1 or 0, {}}
end
local list = redis.call('XINFO', 'STREAM', KEYS[1])
local info = {}
for i = 1, #list, 2 do info[list[i]] = list[i + 1] end
local top = info['last-generated-id']
local own = 0
if ARGV[5] == '0-0' then
  if info['entries-added'] == info['length'] then own = 1 end
elseif ARGV[5] ~= '' and #redis.call('XRANGE', KEYS[1], ARGV[5], ARGV[5]) > 0 then
  own = 1
end
local entries = {}
if tonumber(ARGV[4]) > 0 then
  entries = redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
end
return {epoch, top, own, entries}
`)

export const brokerScripts: readonly Script[] = [
  moveGeneration,
  publishStored,
  appendAll,
  claimKey,
  readStream,
]
