// What a Redis user must be allowed to do for Parley, and how that is found out without doing it.
import type { Connection } from './connection.js'

const key = 'parley:{record}:check'
const topic = 'parley:{record}:check'

/** Each command that Parley sends or runs in a script, as an example. A new one belongs here, and with it into the documentation. */
const queued: readonly (readonly string[])[] = [
  ['DEL', key],
  ['EVALSHA', '0000000000000000000000000000000000000000', '1', key],
  ['EXISTS', key],
  ['EXPIRE', key, '1'],
  ['GET', key],
  ['HDEL', key, 'field'],
  ['HGET', key, 'field'],
  ['HGETALL', key],
  ['HINCRBY', key, 'field', '1'],
  ['HLEN', key],
  ['HMGET', key, 'field'],
  ['HSET', key, 'field', 'value'],
  ['INFO', 'replication'],
  ['PERSIST', key],
  ['PEXPIRE', key, '1'],
  ['PUBLISH', topic, ''],
  ['RENAME', key, key],
  // The controller looks for what deleted tenants left.
  ['SCAN', '0'],
  ['SCRIPT', 'LOAD', 'return 0'],
  ['SET', key, ''],
  ['TIME'],
  ['UNLINK', key],
  ['WAIT', '0', '1'],
  ['XADD', key, 'NOMKSTREAM', '*', 'field', 'value'],
  ['XINFO', 'STREAM', key],
  ['XRANGE', key, '-', '+'],
  ['XREVRANGE', key, '+', '-'],
  ['XTRIM', key, 'MAXLEN', '0'],
  ['ZADD', key, '1', 'member'],
  ['ZCARD', key],
  ['ZCOUNT', key, '0', '1'],
  ['ZMSCORE', key, 'member'],
  ['ZRANGE', key, '0', '1'],
  ['ZREM', key, 'member'],
  ['ZREMRANGEBYSCORE', key, '0', '1'],
  ['ZSCORE', key, 'member'],
]

/** These may not be queued, and do no harm. */
const tried: readonly (readonly string[])[] = [
  ['ROLE'],
  ['PING'],
  ['SUBSCRIBE', topic],
  ['UNSUBSCRIBE', topic],
]

/** What an operator grants: `ACL SETUSER parley on >… ~parley:* &parley:* …`. */
export const neededGrants: readonly string[] = [
  '~parley:*',
  '&parley:*',
  ...['+MULTI', '+DISCARD', ...[...queued, ...tried].map(grantOf)].toSorted(),
]

/**
 * The grants that the connection's user lacks. Commands are queued in a transaction that is discarded: Redis checks permissions when it
 * queues, and asking needs no right to ACL commands. The connection is of no other use afterwards.
 */
export async function missingGrants(connection: Connection): Promise<string[]> {
  const missing = new Set<string>()
  const [begun] = await connection.run(connection.client.pipeline().call('MULTI'))
  // Without a transaction the commands would be carried out: nothing can be told apart.
  if (begun instanceof Error) return lacks('+MULTI', begun) ? [...neededGrants] : []
  await collect(connection, queued, missing)
  const [discarded] = await connection.run(connection.client.pipeline().call('DISCARD'))
  if (lacks('+DISCARD', discarded)) missing.add('+DISCARD')
  else await collect(connection, tried, missing)
  return [...missing]
}

async function collect(
  connection: Connection,
  commands: readonly (readonly string[])[],
  missing: Set<string>,
): Promise<void> {
  const pipeline = connection.client.pipeline()
  for (const [name = '', ...args] of commands) pipeline.call(name, ...args)
  const replies = await connection.run(pipeline)
  replies.forEach((reply, index) => {
    const grant = lacks(grantOf(commands[index] ?? []), reply)
    if (grant) missing.add(grant)
  })
}

function grantOf([name = '', first = '']: readonly string[]): string {
  return name === 'SCRIPT' || name === 'XINFO' ? `+${name}|${first}` : `+${name}`
}

/** Redis refuses for the command, for a key or for a topic. */
function lacks(grant: string, reply: unknown): string | undefined {
  if (!(reply instanceof Error && reply.message.startsWith('NOPERM'))) return undefined
  if (/\bkeys?\b/.test(reply.message)) return '~parley:*'
  return /\bchannels?\b/.test(reply.message) ? '&parley:*' : grant
}
