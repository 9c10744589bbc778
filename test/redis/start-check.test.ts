import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.js'
import { createLocator } from '../../src/redis/topology/create-locator.js'
import { ClusterMap } from '../../src/redis/topology/cluster-map.js'
import { neededClusterGrants, neededGrants } from '../../src/redis/permissions.js'
import { checkAtStart, checkClusterAtStart } from '../../src/redis/start-check.js'
import { parseRedisUrl, type SeparateCredentials } from '../../src/redis/url.js'
import { makeCertificate } from '../support/certificates.js'
import { FakeRedis, resp } from '../support/redis-fake.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { endLinks, recordingLog, startLink } from '../support/redis-links.js'
import {
  endRedisProcesses,
  startRedis,
  startReplica,
  startSentinelTrio,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'

afterEach(endLinks)
afterAll(endRedisProcesses)

const urlOf = (redis: { port: number }) => `redis://127.0.0.1:${redis.port}`

/**
 * Runs the start check. Resolves with undefined when Redis can be used, otherwise with the problems.
 * `reasons` collects the reasons for which the check waited.
 */
async function check(
  url: string,
  credentials?: SeparateCredentials,
  reasons: string[] = [],
): Promise<readonly string[] | undefined> {
  const target = parseRedisUrl(url, credentials)
  const { log } = recordingLog()
  const stopper = new AbortController()
  const waiting = { signal: stopper.signal, onUnavailable: (reason: string) => void reasons.push(reason) }
  let ended: Promise<void> | undefined
  try {
    if (target.kind === 'cluster') {
      const map = new ClusterMap(target, { log })
      ended = map.run(stopper.signal)
      await checkClusterAtStart(target, { map, ...waiting })
    } else {
      const locator = createLocator(target, { log })
      ended = locator.run(stopper.signal)
      await checkAtStart(target, { locator, ...waiting })
    }
    return undefined
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  } finally {
    stopper.abort()
    await ended
  }
}

describe('a standalone Redis', () => {
  test('that can be used passes', async () => {
    const redis = await startRedis()
    expect(await check(urlOf(redis))).toBeUndefined()
    expect(await redis.cli('DBSIZE')).toBe('0')
  })

  test('that is not running yet is waited for', async () => {
    const redis = await startRedis()
    await redis.kill()
    const reasons: string[] = []
    const checked = check(urlOf(redis), {}, reasons)
    await until('a reason to wait', () => reasons.length > 0)
    expect(reasons).toEqual([expect.stringContaining('ECONNREFUSED')])
    await redis.start()
    expect(await checked).toBeUndefined()
  })

  test('that is a replica is a config error', async () => {
    const replica = await startReplica(await startRedis())
    expect(await check(urlOf(replica))).toEqual([
      `Redis at 127.0.0.1:${replica.port} is a replica: use the address of its master, or of the Sentinels that monitor it (redis+sentinel://…)`,
    ])
  })

  test('that is too old is a config error', async () => {
    const fake = await new FakeRedis(([name = '']) => {
      if (name === 'hello')
        return resp(new Error('ERR unknown command `HELLO`, with args beginning with: `3`, '))
      if (name === 'role') return resp(['master', '0'])
      if (name === 'info') return resp('# Server\r\nredis_version:5.0.14\r\n')
      return '+OK\r\n'
    }).start()
    expect(await check(urlOf(fake))).toEqual([
      `Redis at 127.0.0.1:${fake.port} is version 5.0.14: Parley needs 7.0 or newer`,
    ])
    await fake.close()
  })

  test('without the configured database is a config error', async () => {
    const redis = await startRedis({ config: ['databases 4'] })
    expect(await check(`${urlOf(redis)}/4`)).toEqual([
      `Redis at 127.0.0.1:${redis.port} has no database with this number`,
    ])
  })
})

describe('a Redis with a password', () => {
  const password = 'correct horse: battery/staple@1'
  let redis: RedisProcess
  beforeAll(async () => {
    redis = await startRedis({
      config: [`requirepass "${password}"`],
      cliArgs: ['--no-auth-warning', '-a', password],
    })
  })

  test('accepts the password from the URL or from the separate credentials', async () => {
    expect(await check(`redis://:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`)).toBeUndefined()
    expect(
      await check(`redis://default:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`),
    ).toBeUndefined()
    expect(await check(urlOf(redis), { password })).toBeUndefined()
  })

  test('rejects a login without a password', async () => {
    expect(await check(urlOf(redis))).toEqual([
      `Redis at 127.0.0.1:${redis.port} requires a password, and none is configured`,
    ])
  })

  test('rejects a wrong password, which appears in no message', async () => {
    const wrong = 'incorrect-donkey'
    expect(await check(urlOf(redis), { password: wrong })).toEqual([
      `Redis at 127.0.0.1:${redis.port} rejects the user or the password`,
    ])
    const { link, logged } = startLink(urlOf(redis), { credentials: { password: wrong } })
    await until('the reason', () => link.unavailableReason?.includes('WRONGPASS'))
    await expect(link.ready(300)).rejects.toThrow('WRONGPASS')
    expect(logged()).toContain('WRONGPASS')
    expect(logged() + (link.unavailableReason ?? '')).not.toContain(wrong)
  })
})

describe('a Redis user with limited permissions', () => {
  let redis: RedisProcess
  beforeAll(async () => {
    redis = await startRedis()
    await redis.cli('ACL', 'SETUSER', 'exact', 'on', '>pass', ...neededGrants)
    await redis.cli(
      'ACL',
      'SETUSER',
      'lacking',
      'on',
      '>pass',
      ...neededGrants,
      '-XADD',
      '-SUBSCRIBE',
      '-XINFO',
      '-role',
    )
    await redis.cli('ACL', 'SETUSER', 'other-keys', 'on', '>pass', '+@all', '~other:*', '&other:*')
    await redis.cli('ACL', 'SETUSER', 'nothing', 'on', '>pass')
  })
  const as = (username: string) => check(urlOf(redis), { username, password: 'pass' })
  const lacks = (user: string, grants: string) => [
    `Redis at 127.0.0.1:${redis.port}: the user "${user}" lacks permissions. Grant: ${grants}`,
  ]

  test('with the permissions in the documentation passes', async () => {
    expect(await as('exact')).toBeUndefined()
    const { link } = startLink(urlOf(redis), { credentials: { username: 'exact', password: 'pass' } })
    expect((await link.ready(5_000)).lost.aborted).toBe(false)
  })

  test('without some commands: the missing ones are listed', async () => {
    expect(await as('lacking')).toEqual(lacks('lacking', '+XADD +XINFO|STREAM +ROLE +SUBSCRIBE'))
  })

  test('without keys and topics: the missing patterns are listed', async () => {
    expect(await as('other-keys')).toEqual(lacks('other-keys', '~parley:* &parley:*'))
  })

  test('without any permission: all grants are listed', async () => {
    expect(await as('nothing')).toEqual(lacks('nothing', neededGrants.join(' ')))
  })
})

describe('Sentinels', () => {
  test('that do not monitor a master of this name are a config error', async () => {
    const trio = await startSentinelTrio({ nodes: 1 })
    const url = trio.url.replace('mymaster', 'yourmaster')
    expect(await check(url)).toEqual([expect.stringContaining('monitor no master named "yourmaster"')])
    expect(await check(trio.url)).toBeUndefined()
  })

  test('with their own password require that password, and Redis does not', async () => {
    const trio = await startSentinelTrio({
      nodes: 2,
      config: ['requirepass data', 'masterauth data'],
      cliArgs: ['--no-auth-warning', '-a', 'data'],
      sentinelConfig: ['sentinel auth-pass mymaster data'],
    })
    const [master] = trio.nodes
    await Promise.all(
      trio.sentinels.map((sentinel) => sentinel.cli('CONFIG', 'SET', 'requirepass', 'watch').catch(() => {})),
    )
    await Promise.all(
      trio.sentinels.map((sentinel) => sentinel.cli('ACL', 'SETUSER', 'default', 'resetpass', '>watch')),
    )
    expect(await check(trio.url, { password: 'data' })).toEqual([
      expect.stringContaining('The Sentinels reject'),
    ])
    expect(await check(trio.url, { password: 'data', sentinelPassword: 'wrong' })).toEqual([
      expect.stringContaining('The Sentinels reject'),
    ])
    expect(await check(trio.url, { sentinelPassword: 'watch' })).toEqual([
      `Redis at 127.0.0.1:${master?.port} requires a password, and none is configured`,
    ])
    expect(await check(trio.url, { password: 'data', sentinelPassword: 'watch' })).toBeUndefined()
  })
})

describe('a Cluster', () => {
  const password = 'all of us'
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster({
      replicasPerMaster: 0,
      config: [`requirepass "${password}"`, `masterauth "${password}"`],
      cliArgs: ['--no-auth-warning', '-a', password],
    })
    const grants = [...neededGrants, ...neededClusterGrants]
    for (const node of cluster.nodes) await node.cli('ACL', 'SETUSER', 'exact', 'on', '>pass', ...grants)
    await cluster.nodes[1]?.cli('ACL', 'SETUSER', 'exact', '-SSUBSCRIBE', '-CLUSTER|INFO', '-XADD')
    for (const node of cluster.nodes) await node.cli('ACL', 'SETUSER', 'enough', 'on', '>pass', ...grants)
    for (const node of cluster.nodes) await node.cli('ACL', 'SETUSER', 'one', 'on', '>pass', ...neededGrants)
  })

  test('passes with the permissions in the documentation', async () => {
    const [, second] = cluster.nodes
    expect(await check(`redis+cluster://127.0.0.1:${second?.port}`, { password })).toBeUndefined()
    expect(await check(cluster.url, { username: 'enough', password: 'pass' })).toBeUndefined()
    const sizes = await Promise.all(cluster.nodes.map((node) => node.cli('DBSIZE')))
    expect(sizes).toEqual(['0', '0', '0'])
  })

  test('a node that lacks permissions is named with the missing grants', async () => {
    expect(await check(cluster.url, { username: 'exact', password: 'pass' })).toEqual([
      `Redis at 127.0.0.1:${cluster.nodes[1]?.port}: the user "exact" lacks permissions. Grant: +XADD +CLUSTER|INFO +SSUBSCRIBE`,
    ])
  })

  test('the additional grants of a Cluster are required on every node', async () => {
    const lacks = cluster.nodes.map(
      ({ port }) =>
        `Redis at 127.0.0.1:${port}: the user "one" lacks permissions. Grant: ${neededClusterGrants.join(' ')}`,
    )
    const problems = await check(cluster.url, { username: 'one', password: 'pass' })
    expect(problems?.toSorted()).toEqual(lacks.toSorted())
  })

  test('rejects a missing or wrong password', async () => {
    const each = (problem: string) => cluster.nodes.map(({ port }) => `Redis at 127.0.0.1:${port} ${problem}`)
    expect(await check(cluster.url)).toEqual(each('requires a password, and none is configured'))
    expect(await check(cluster.url, { password: 'wrong' })).toEqual(each('rejects the user or the password'))
  })

  test('a URL of the wrong kind is a config error, for a Cluster and for a standalone Redis', async () => {
    const [node] = cluster.nodes
    expect(await check(`redis://127.0.0.1:${node?.port}`, { password })).toEqual([
      `Redis at 127.0.0.1:${node?.port} is a node of a Cluster: use redis+cluster://…`,
    ])
    const redis = await startRedis()
    expect(await check(`redis+cluster://127.0.0.1:${redis.port}`)).toEqual([
      `Redis at 127.0.0.1:${redis.port} is not a node of a Cluster: use redis://… or redis+sentinel://…`,
    ])
  })

  test('with slots that no master holds is waited for', async () => {
    const [node] = cluster.nodes
    await Promise.all(cluster.nodes.map((each) => each.cli('CLUSTER', 'DELSLOTS', '0')))
    const reasons: string[] = []
    const checked = check(cluster.url, { password }, reasons)
    await until('a reason to wait', () =>
      reasons.some((reason) => reason.includes('reports that the Cluster is down')),
    )
    await node?.cli('CLUSTER', 'ADDSLOTS', '0')
    expect(await checked).toBeUndefined()
  })

  test('that is not running yet is waited for, even when one of the listed nodes never starts', async () => {
    const own = await startRedisCluster({ replicasPerMaster: 0 })
    for (const node of own.nodes) await node.kill()
    const reasons: string[] = []
    const checked = check(`${own.url},127.0.0.1:1`, {}, reasons)
    await until('a reason to wait', () => reasons.length > 0)
    expect(reasons[0]).toMatch(/no node of the Cluster reports which master holds which slots|ECONNREFUSED/)
    for (const node of own.nodes) await node.start()
    expect(await checked).toBeUndefined()
  })
})

describe('a connection with TLS', () => {
  let folder: string
  let ca: string
  let cert: string
  let tlsConfig: string[]
  let redis: RedisProcess
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parley-tls-'))
    const files = await makeCertificate(folder, 'redis')
    cert = files.cert
    ca = await readFile(cert, 'utf8')
    tlsConfig = [
      'tls-port {port}',
      `tls-cert-file ${cert}`,
      `tls-key-file ${files.key}`,
      'tls-auth-clients no',
    ]
    redis = await startRedis({
      config: tlsConfig,
      cliArgs: ['--tls', '--cacert', cert],
    })
  })
  afterAll(() => rm(folder, { recursive: true }))

  test.each(['127.0.0.1', 'localhost'])('works to %s, whose certificate is trusted', async (host) => {
    const url = `rediss://${host}:${redis.port}`
    expect(await check(url, { tls: { ca } })).toBeUndefined()
    const live = await startLink(url, {
      credentials: { tls: { ca } },
      timing: { pingIntervalMs: 100 },
    }).link.ready(5_000)
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(live.lost.aborted).toBe(false)
  })

  test('works to a Cluster, whose nodes report their TLS ports', async () => {
    const cluster = await startRedisCluster({
      replicasPerMaster: 0,
      config: [...tlsConfig, 'tls-cluster yes', 'tls-replication yes', `tls-ca-cert-file ${cert}`],
      cliArgs: ['--tls', '--cacert', cert],
    })
    const url = cluster.url.replace('redis', 'rediss')
    expect(await check(url, { tls: { ca } })).toBeUndefined()
    const { link } = startLink(url, { credentials: { tls: { ca } }, tag: 'mine' })
    const live = await link.ready(5_000)
    expect(await live.client.set('parley:{mine}:x', 'y')).toBe('OK')
  })

  test('a certificate that is not trusted keeps the link from opening', async () => {
    const { link } = startLink(`rediss://127.0.0.1:${redis.port}`)
    await until('the reason', () => link.unavailableReason?.includes('self-signed certificate'))
    await expect(link.ready(300)).rejects.toThrow('self-signed certificate')
  })

  test('a connection to a Redis without TLS does not hang', async () => {
    const plain = await startRedis()
    const { link } = startLink(`rediss://127.0.0.1:${plain.port}`, { timing: { connectMs: 500 } })
    await until('the reason', () =>
      /no connection within|SSL|closed|ECONNRESET/.test(link.unavailableReason ?? ''),
    )
    expect(link.current).toBeUndefined()
  })
})
