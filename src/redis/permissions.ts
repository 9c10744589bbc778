// The permissions that a Redis user needs for Parley, and a check for them that changes no data.
import type { RedisConnection } from './connection.js'

const key = 'parley:{record}:check'
const topic = 'parley:{record}:check'

/**
 * One example of each command that Parley sends or runs in a script. Every new command must be added here,
 * because the documentation is generated from this list.
 */
const queuedCommands: readonly (readonly string[])[] = [
  ['DEL', key],
  ['EVALSHA', '0000000000000000000000000000000000000000', '1', key],
  ['EXISTS', key],
  ['EXPIRE', key, '1'],
  ['GET', key],
  ['HDEL', key, 'field'],
  ['HGET', key, 'field'],
  ['HGETALL', key],
  ['HINCRBY', key, 'field', '1'],
  ['HKEYS', key],
  ['HLEN', key],
  ['HMGET', key, 'field'],
  ['HSCAN', key, '0'],
  ['HSET', key, 'field', 'value'],
  ['INFO', 'replication'],
  ['MEMORY', 'USAGE', key],
  ['PERSIST', key],
  ['PEXPIRE', key, '1'],
  ['PUBLISH', topic, ''],
  ['RENAME', key, key],
  // The controller looks for the data of deleted tenants, and gateways look for streams to sweep.
  ['SCAN', '0'],
  ['SCRIPT', 'LOAD', 'return 0'],
  ['SET', key, ''],
  ['TIME'],
  ['UNLINK', key],
  ['WAIT', '0', '1'],
  ['XADD', key, 'NOMKSTREAM', '*', 'field', 'value'],
  ['XINFO', 'STREAM', key],
  ['XLEN', key],
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

/** The commands that cannot be queued in a transaction. Executing them changes no data. */
const executedCommands: readonly (readonly string[])[] = [
  ['ROLE'],
  ['PING'],
  ['SUBSCRIBE', topic],
  ['UNSUBSCRIBE', topic],
]

/**
 * Commands that are needed in a Cluster only. Redis checks permissions before it redirects a key or topic
 * that another node holds.
 */
const queuedClusterCommands: readonly (readonly string[])[] = [
  ['CLUSTER', 'INFO'],
  ['CLUSTER', 'NODES'],
  ['CLUSTER', 'SLOTS'],
  ['SPUBLISH', topic, ''],
]

const executedClusterCommands: readonly (readonly string[])[] = [
  ['SSUBSCRIBE', topic],
  ['SUNSUBSCRIBE', topic],
]

/** The grants that Parley needs: `ACL SETUSER parley on >… ~parley:* &parley:* …`. */
export const neededGrants: readonly string[] = [
  '~parley:*',
  '&parley:*',
  ...['+MULTI', '+DISCARD', ...[...queuedCommands, ...executedCommands].map(grantOf)].toSorted(),
]

/** The additional grants that Parley needs in a Cluster, on every node. */
export const neededClusterGrants: readonly string[] = [...queuedClusterCommands, ...executedClusterCommands]
  .map(grantOf)
  .toSorted()

/**
 * Resolves with the grants that the user of the connection lacks. The commands are queued in a transaction
 * that is then discarded: Redis checks permissions when it queues a command, and this needs no permission for
 * ACL commands. The connection cannot be used for anything else afterwards.
 */
export async function missingGrants(
  connection: RedisConnection,
  { cluster }: { cluster: boolean },
): Promise<string[]> {
  const missing = new Set<string>()
  const needed = cluster ? [...neededGrants, ...neededClusterGrants] : neededGrants
  const [begun] = await connection.run(connection.client.pipeline().call('MULTI'))
  // Without a transaction Redis would execute the commands, so the check ends here.
  if (begun instanceof Error) return missingGrantIn('+MULTI', begun) ? [...needed] : []
  await collect(connection, cluster ? [...queuedCommands, ...queuedClusterCommands] : queuedCommands, missing)
  const [discarded] = await connection.run(connection.client.pipeline().call('DISCARD'))
  if (missingGrantIn('+DISCARD', discarded)) missing.add('+DISCARD')
  else
    await collect(
      connection,
      cluster ? [...executedCommands, ...executedClusterCommands] : executedCommands,
      missing,
    )
  return [...missing]
}

async function collect(
  connection: RedisConnection,
  commands: readonly (readonly string[])[],
  missing: Set<string>,
): Promise<void> {
  const pipeline = connection.client.pipeline()
  for (const [name = '', ...args] of commands) pipeline.call(name, ...args)
  const replies = await connection.run(pipeline)
  replies.forEach((reply, index) => {
    const grant = missingGrantIn(grantOf(commands[index] ?? []), reply)
    if (grant) missing.add(grant)
  })
}

function grantOf([name = '', first = '']: readonly string[]): string {
  return ['CLUSTER', 'MEMORY', 'SCRIPT', 'XINFO'].includes(name) ? `+${name}|${first}` : `+${name}`
}

/**
 * Returns the grant that is missing when `reply` is a NOPERM error, which Redis gives for the command, for a
 * key or for a topic.
 */
function missingGrantIn(grant: string, reply: unknown): string | undefined {
  if (!(reply instanceof Error && reply.message.startsWith('NOPERM'))) return undefined
  if (/\bkeys?\b/.test(reply.message)) return '~parley:*'
  return /\bchannels?\b/.test(reply.message) ? '&parley:*' : grant
}
