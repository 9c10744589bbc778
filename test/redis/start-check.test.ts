import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.js'
import { createLocator } from '../../src/redis/topology/locator.js'
import { ClusterMap } from '../../src/redis/topology/cluster-map.js'
import { neededClusterGrants, neededGrants } from '../../src/redis/permissions.js'
import { checkAtStart, checkClusterAtStart } from '../../src/redis/start-check.js'
import { parseRedisUrl, type ApartFromUrl } from '../../src/redis/url.js'
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

/** Undefined: Redis is as it must be. */
async function check(
  url: string,
  apart?: ApartFromUrl,
  troubles: string[] = [],
): Promise<readonly string[] | undefined> {
  const target = parseRedisUrl(url, apart)
  const { log } = recordingLog()
  const stopper = new AbortController()
  const waiting = { signal: stopper.signal, onTrouble: (reason: string) => void troubles.push(reason) }
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
  test('as it should be', async () => {
    const redis = await startRedis()
    expect(await check(urlOf(redis))).toBeUndefined()
    expect(await redis.cli('DBSIZE')).toBe('0')
  })

  test('that is not there yet is waited for', async () => {
    const redis = await startRedis()
    await redis.kill()
    const troubles: string[] = []
    const checked = check(urlOf(redis), {}, troubles)
    await until('trouble', () => troubles.length > 0)
    expect(troubles).toEqual([expect.stringContaining('ECONNREFUSED')])
    await redis.start()
    expect(await checked).toBeUndefined()
  })

  test('a replica', async () => {
    const replica = await startReplica(await startRedis())
    expect(await check(urlOf(replica))).toEqual([
      `Redis at 127.0.0.1:${replica.port} is a replica: name its master, or the Sentinels that know it (redis+sentinel://…)`,
    ])
  })

  test('too old', async () => {
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

  test('without the database that is asked for', async () => {
    const redis = await startRedis({ config: ['databases 4'] })
    expect(await check(`${urlOf(redis)}/4`)).toEqual([
      `Redis at 127.0.0.1:${redis.port} has no database of this number`,
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

  test('lets in who knows it, from the URL or apart from it', async () => {
    expect(await check(`redis://:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`)).toBeUndefined()
    expect(
      await check(`redis://default:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`),
    ).toBeUndefined()
    expect(await check(urlOf(redis), { password })).toBeUndefined()
  })

  test('refuses without one', async () => {
    expect(await check(urlOf(redis))).toEqual([
      `Redis at 127.0.0.1:${redis.port} wants a password, and none is given`,
    ])
  })

  test('refuses with a wrong one, which is named nowhere', async () => {
    const wrong = 'incorrect-donkey'
    expect(await check(urlOf(redis), { password: wrong })).toEqual([
      `Redis at 127.0.0.1:${redis.port} refuses the user or the password`,
    ])
    const { link, logged } = startLink(urlOf(redis), { apart: { password: wrong } })
    await until('the reason', () => link.trouble?.includes('WRONGPASS'))
    await expect(link.ready(300)).rejects.toThrow('WRONGPASS')
    expect(logged()).toContain('WRONGPASS')
    expect(logged() + (link.trouble ?? '')).not.toContain(wrong)
  })
})

describe('a Redis user with few rights', () => {
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
    await redis.cli('ACL', 'SETUSER', 'elsewhere', 'on', '>pass', '+@all', '~other:*', '&other:*')
    await redis.cli('ACL', 'SETUSER', 'nothing', 'on', '>pass')
  })
  const as = (username: string) => check(urlOf(redis), { username, password: 'pass' })
  const lacks = (user: string, grants: string) => [
    `Redis at 127.0.0.1:${redis.port}: its user "${user}" lacks permissions. Grant: ${grants}`,
  ]

  test('has enough with what the documentation lists', async () => {
    expect(await as('exact')).toBeUndefined()
    const { link } = startLink(urlOf(redis), { apart: { username: 'exact', password: 'pass' } })
    expect((await link.ready(5_000)).lost.aborted).toBe(false)
  })

  test('is told which are missing', async () => {
    expect(await as('lacking')).toEqual(lacks('lacking', '+XADD +XINFO|STREAM +ROLE +SUBSCRIBE'))
  })

  test('is told of keys and topics', async () => {
    expect(await as('elsewhere')).toEqual(lacks('elsewhere', '~parley:* &parley:*'))
  })

  test('that may do nothing is told all', async () => {
    expect(await as('nothing')).toEqual(lacks('nothing', neededGrants.join(' ')))
  })
})

describe('Sentinels', () => {
  test('that do not know the name', async () => {
    const trio = await startSentinelTrio({ nodes: 1 })
    const url = trio.url.replace('mymaster', 'yourmaster')
    expect(await check(url)).toEqual([expect.stringContaining('know no master "yourmaster"')])
    expect(await check(trio.url)).toBeUndefined()
  })

  test('with a password of their own', async () => {
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
      expect.stringContaining('The Sentinels refuse'),
    ])
    expect(await check(trio.url, { password: 'data', sentinelPassword: 'wrong' })).toEqual([
      expect.stringContaining('The Sentinels refuse'),
    ])
    expect(await check(trio.url, { sentinelPassword: 'watch' })).toEqual([
      `Redis at 127.0.0.1:${master?.port} wants a password, and none is given`,
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

  test('as it should be, with what the documentation lists', async () => {
    const [, second] = cluster.nodes
    expect(await check(`redis+cluster://127.0.0.1:${second?.port}`, { password })).toBeUndefined()
    expect(await check(cluster.url, { username: 'enough', password: 'pass' })).toBeUndefined()
    const sizes = await Promise.all(cluster.nodes.map((node) => node.cli('DBSIZE')))
    expect(sizes).toEqual(['0', '0', '0'])
  })

  test('one node that lacks permissions is named, and what it lacks', async () => {
    expect(await check(cluster.url, { username: 'exact', password: 'pass' })).toEqual([
      `Redis at 127.0.0.1:${cluster.nodes[1]?.port}: its user "exact" lacks permissions. Grant: +XADD +CLUSTER|INFO +SSUBSCRIBE`,
    ])
  })

  test('what a Cluster needs besides is asked for, on every node', async () => {
    const lacks = cluster.nodes.map(
      ({ port }) =>
        `Redis at 127.0.0.1:${port}: its user "one" lacks permissions. Grant: ${neededClusterGrants.join(' ')}`,
    )
    const problems = await check(cluster.url, { username: 'one', password: 'pass' })
    expect(problems?.toSorted()).toEqual(lacks.toSorted())
  })

  test('refuses without password or with a wrong one', async () => {
    const each = (words: string) => cluster.nodes.map(({ port }) => `Redis at 127.0.0.1:${port} ${words}`)
    expect(await check(cluster.url)).toEqual(each('wants a password, and none is given'))
    expect(await check(cluster.url, { password: 'wrong' })).toEqual(each('refuses the user or the password'))
  })

  test('is no single Redis, and a single Redis is no Cluster', async () => {
    const [node] = cluster.nodes
    expect(await check(`redis://127.0.0.1:${node?.port}`, { password })).toEqual([
      `Redis at 127.0.0.1:${node?.port} is a node of a Cluster: use redis+cluster://…`,
    ])
    const redis = await startRedis()
    expect(await check(`redis+cluster://127.0.0.1:${redis.port}`)).toEqual([
      `Redis at 127.0.0.1:${redis.port} is no node of a Cluster: use redis://… or redis+sentinel://…`,
    ])
  })

  test('with slots that nobody holds is waited for', async () => {
    const [node] = cluster.nodes
    await Promise.all(cluster.nodes.map((each) => each.cli('CLUSTER', 'DELSLOTS', '0')))
    const troubles: string[] = []
    const checked = check(cluster.url, { password }, troubles)
    await until('trouble', () =>
      troubles.some((trouble) => trouble.includes('says that the Cluster is down')),
    )
    await node?.cli('CLUSTER', 'ADDSLOTS', '0')
    expect(await checked).toBeUndefined()
  })

  test('that is not there yet is waited for, also when one of the nodes named is away for good', async () => {
    const own = await startRedisCluster({ replicasPerMaster: 0 })
    for (const node of own.nodes) await node.kill()
    const troubles: string[] = []
    const checked = check(`${own.url},127.0.0.1:1`, {}, troubles)
    await until('trouble', () => troubles.length > 0)
    expect(troubles[0]).toMatch(/no node of the Cluster tells who holds what|ECONNREFUSED/)
    for (const node of own.nodes) await node.start()
    expect(await checked).toBeUndefined()
  })
})

describe('TLS', () => {
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

  test.each(['127.0.0.1', 'localhost'])('to %s, whose certificate is trusted', async (host) => {
    const url = `rediss://${host}:${redis.port}`
    expect(await check(url, { tls: { ca } })).toBeUndefined()
    const live = await startLink(url, { apart: { tls: { ca } }, timing: { pingIntervalMs: 100 } }).link.ready(
      5_000,
    )
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(live.lost.aborted).toBe(false)
  })

  test('to a Cluster, whose nodes tell where each of them speaks it', async () => {
    const cluster = await startRedisCluster({
      replicasPerMaster: 0,
      config: [...tlsConfig, 'tls-cluster yes', 'tls-replication yes', `tls-ca-cert-file ${cert}`],
      cliArgs: ['--tls', '--cacert', cert],
    })
    const url = cluster.url.replace('redis', 'rediss')
    expect(await check(url, { tls: { ca } })).toBeUndefined()
    const { link } = startLink(url, { apart: { tls: { ca } }, tag: 'mine' })
    const live = await link.ready(5_000)
    expect(await live.client.set('parley:{mine}:x', 'y')).toBe('OK')
  })

  test('a certificate that is not trusted keeps the link from opening', async () => {
    const { link } = startLink(`rediss://127.0.0.1:${redis.port}`)
    await until('the reason', () => link.trouble?.includes('self-signed certificate'))
    await expect(link.ready(300)).rejects.toThrow('self-signed certificate')
  })

  test('a Redis that speaks no TLS is no hanging connection', async () => {
    const plain = await startRedis()
    const { link } = startLink(`rediss://127.0.0.1:${plain.port}`, { timing: { connectMs: 500 } })
    await until('the reason', () => /no connection within|SSL|closed|ECONNRESET/.test(link.trouble ?? ''))
    expect(link.current).toBeUndefined()
  })
})
