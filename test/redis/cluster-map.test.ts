// The shard map of a real Cluster, while masters crash, freeze and move slots.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ClusterMap, type ClusterMapOptions } from '../../src/redis/topology/cluster-map.js'
import { partitionCount, partitionSlots } from '../../src/redis/keys.js'
import type { Shard } from '../../src/redis/topology/shards.js'
import { slotOf } from '../../src/redis/slots.js'
import { formatAddress, parseRedisUrl, type Address } from '../../src/redis/url.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { recordingLog } from '../support/redis-links.js'
import { endRedisProcesses, until, type RedisProcess } from '../support/redis-processes.js'

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()))
})
afterAll(endRedisProcesses)

/** Returns a map that is running. */
function startMap(url: string, options: Partial<ClusterMapOptions> = {}): ClusterMap {
  const target = parseRedisUrl(url)
  if (target.kind !== 'cluster') throw new Error('the URL names no Cluster')
  const map = new ClusterMap(target, { log: recordingLog().log, ...options })
  const stopper = new AbortController()
  const ended = map.run(stopper.signal)
  stops.push(async () => {
    stopper.abort()
    await ended
  })
  return map
}

async function startWholeMap(url: string, options: Partial<ClusterMapOptions> = {}): Promise<ClusterMap> {
  const map = startMap(url, options)
  await until('a whole map', () => holders(map).every(Boolean))
  return map
}

const holders = (map: ClusterMap): (Shard | undefined)[] =>
  Array.from({ length: partitionCount }, (_, partition) => map.holderOf(partition))
const namesIn = (map: ClusterMap): (string | undefined)[] => holders(map).map((shard) => shard?.name)
const addressOf = ({ port }: RedisProcess): Address => ({ host: '127.0.0.1', port })
const nameOf = (node: RedisProcess): string => formatAddress(addressOf(node))
const urlOf = (...nodes: RedisProcess[]): string => `redis+cluster://${nodes.map(nameOf).join(',')}`

async function mastersByPartition(cluster: RedisCluster): Promise<string[]> {
  return (await cluster.mastersOf(partitionSlots)).map(nameOf)
}

const slow = { timing: { intervalMs: 60_000 } }

describe('the map of three masters with one replica each', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterEach(async () => {
    for (const node of cluster.nodes) {
      if (node.alive) node.cont()
      else await node.start()
    }
    await cluster.settled(60_000)
  }, 70_000)

  test('knows the holder of every partition, regardless of which node the URL names', async () => {
    const [, , , replica] = cluster.nodes
    const map = await startWholeMap(urlOf(replica as RedisProcess))
    expect(namesIn(map)).toEqual(await mastersByPartition(cluster))
    expect(map.shards.map(({ name }) => name).toSorted()).toEqual(
      (await cluster.masters()).map(nameOf).toSorted(),
    )
    expect(map.unavailableReason).toBeUndefined()
    for (const { locator, name } of map.shards) {
      expect(locator.address && formatAddress(locator.address)).toBe(name)
      expect(locator.waitReplicas).toBe(1)
    }
  })

  test('is empty and states the reason while no node answers', async () => {
    const [node] = cluster.nodes
    node?.stop()
    const map = startMap(urlOf(node as RedisProcess), { timing: { deadlineMs: 200 } })
    await until('the reason', () =>
      map.unavailableReason?.includes('no node of the Cluster reports which master holds which slots (no '),
    )
    expect(map.shards).toEqual([])
    expect(map.holderOf(0)).toBeUndefined()
    expect(map.waitReplicas).toBeUndefined()
  })

  test('uses the endpoint that the nodes prefer: none, or a host name', async () => {
    const configure = (...args: string[]) =>
      Promise.all(cluster.nodes.map((node) => node.cli('CONFIG', 'SET', ...args)))
    const ports = (names: (string | undefined)[]) => names.map((name) => name?.split(':')[1])
    const byAddress = await mastersByPartition(cluster)
    try {
      await configure('cluster-preferred-endpoint-type', 'unknown-endpoint')
      const unknown = await startWholeMap(cluster.url.replaceAll('127.0.0.1', 'localhost'))
      expect(namesIn(unknown)).toEqual(byAddress.map((name) => name.replace('127.0.0.1', 'localhost')))
      await configure('cluster-announce-hostname', 'localhost')
      await configure('cluster-preferred-endpoint-type', 'hostname')
      const named = startMap(cluster.url)
      await until('names', () => namesIn(named).every((name) => name?.startsWith('localhost:')))
      expect(ports(namesIn(named))).toEqual(ports(byAddress))
    } finally {
      await configure('cluster-preferred-endpoint-type', 'ip')
      await configure('cluster-announce-hostname', '')
    }
  })

  test(
    'a failover creates another shard, retires the old one and leaves the others',
    { timeout: 90_000 },
    async () => {
      const map = await startWholeMap(cluster.url)
      const before = holders(map)
      const old = await cluster.masterOf(0)
      const oldShard = map.shards.find(({ name }) => name === nameOf(old))
      let changes = 0
      map.onChange(() => (changes += 1))
      await old.kill()
      const now = await cluster.failedOver(old, 0)
      await until('another shard', () => map.holderOf(0)?.name === nameOf(now))
      expect(oldShard?.retired.aborted).toBe(true)
      expect(map.shards.map(({ name }) => name)).not.toContain(nameOf(old))
      expect(changes).toBeGreaterThan(0)
      before.forEach((shard, partition) => {
        if (shard !== oldShard) expect(map.holderOf(partition)).toBe(shard)
        else expect(map.holderOf(partition)?.name).toBe(nameOf(now))
      })
      // The shard has no replica now, and publishes must still wait for one.
      expect(map.holderOf(0)?.locator.waitReplicas).toBe(1)
      expect(await map.holderOf(0)?.locator.confirm(addressOf(now))).toBe(true)
      expect(await oldShard?.locator.confirm(addressOf(old))).toBe(false)
      // A map that starts after the failover uses the number of replicas of the other shards.
      const late = await startWholeMap(urlOf(now))
      expect(late.waitReplicas).toBe(1)
    },
  )

  test(
    'a stale master is not accepted when it is the only node that answers',
    { timeout: 90_000 },
    async () => {
      const map = await startWholeMap(cluster.url, { timing: { intervalMs: 50, deadlineMs: 300 } })
      const old = await cluster.masterOf(0)
      // The node restarts with the file from its time as master. A frozen master would first read the
      // messages that the others sent meanwhile.
      await old.kill()
      const now = await until(
        'a failover',
        () => cluster.nodes.find((node) => node !== old && nameOf(node) === map.holderOf(0)?.name),
        { deadlineMs: 40_000 },
      )
      await cluster.failedOver(old, 0)
      const names = namesIn(map)
      const others = cluster.nodes.filter((node) => node !== old)
      for (const node of others) node.stop()
      await old.start()
      expect(await old.cli('CLUSTER', 'SLOTS')).toContain(String(old.port))
      expect(await old.role()).toBe('master')
      let asked = 0
      await until('some answers of the stale master', async () => {
        expect(namesIn(map)).toEqual(names)
        asked = Number(/cluster\|slots:calls=(\d+)/.exec(await old.cli('INFO', 'commandstats'))?.[1])
        return map.unavailableReason?.includes('only 1 of 6 nodes of the Cluster answer') && asked > 5
      })
      expect(await map.holderOf(0)?.locator.confirm(addressOf(old))).toBe(false)
      expect(await map.holderOf(0)?.locator.confirm(addressOf(now))).toBe(false)
      // A map without earlier knowledge does not accept it either.
      const fresh = startMap(cluster.url, { timing: { deadlineMs: 300 } })
      await until('the reason', () =>
        fresh.unavailableReason?.includes('no majority of the masters confirms'),
      )
      expect(fresh.shards).toEqual([])
      for (const node of others) node.cont()
    },
  )

  test(
    'no master is confirmed while fewer than half of the masters answer',
    { timeout: 60_000 },
    async () => {
      const map = await startWholeMap(cluster.url)
      const [first, second, third] = await cluster.masters()
      if (!first || !second || !third) throw new Error('three masters')
      const confirm = (node: RedisProcess) => map.locatorOf('x').confirm(addressOf(node))
      expect(await Promise.all([first, second, third].map(confirm))).toEqual([true, true, true])
      const [replica] = await cluster.replicasOf(first)
      expect(await confirm(replica as RedisProcess)).toBe(false)
      second.stop()
      third.stop()
      expect(await confirm(first)).toBe(false)
      second.cont()
      third.cont()
      await until('confirmation', () => confirm(first))
    },
  )

  test('concurrent confirmations share the polls of the nodes', async () => {
    const map = await startWholeMap(cluster.url, slow)
    const [first] = await cluster.masters()
    const calls = async () =>
      Number(/cluster\|slots:calls=(\d+)/.exec((await first?.cli('INFO', 'commandstats')) ?? '')?.[1])
    const callsBefore = await calls()
    const startMs = performance.now()
    const confirmRepeatedly = async () => {
      while (performance.now() - startMs < 1_000)
        await map.locatorOf('x').confirm(addressOf(first as RedisProcess))
    }
    await Promise.all(Array.from({ length: 10 }, confirmRepeatedly))
    expect((await calls()) - callsBefore).toBeLessThan((performance.now() - startMs) / 50 + 8)
  })

  test('follows moved slots immediately after refresh()', { timeout: 60_000 }, async () => {
    const map = await startWholeMap(cluster.url, slow)
    const [slot = 0] = partitionSlots
    const partition = 0
    const from = await cluster.masterOf(slot)
    const to = (await cluster.masters()).find((node) => node !== from) as RedisProcess
    const locator = map.locatorOf('x')
    const calls = async () =>
      Number(/cluster\|slots:calls=(\d+)/.exec(await from.cli('INFO', 'commandstats'))?.[1])
    const callsBefore = await calls()
    await cluster.moveSlots([slot], to)
    for (let n = 0; n < 1_000; n += 1) map.refresh()
    await until('the move', () => map.holderOf(partition)?.name === nameOf(to))
    await cluster.moveSlots([slot], from)
    map.refresh()
    await until('the move back', () => map.holderOf(partition)?.name === nameOf(from))
    // The number of polls stays small even when refresh() is called often.
    const startMs = performance.now()
    while (performance.now() - startMs < 1_000) {
      map.refresh()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect((await calls()) - callsBefore).toBeLessThan((performance.now() - startMs) / 200 + 8)
    expect(locator.address).toEqual(addressOf(await cluster.masterOf('x')))
  })

  test('a slot that is being moved belongs to the old master; an unfinished move can be completed', async () => {
    const map = await startWholeMap(cluster.url)
    const slot = partitionSlots[1] ?? 0
    const from = await cluster.masterOf(slot)
    const to = (await cluster.masters()).find((node) => node !== from) as RedisProcess
    await cluster.moveSlots([slot], to, { stopAt: 'halfway' })
    map.refresh()
    expect(await map.holderOf(1)?.locator.confirm(addressOf(from))).toBe(true)
    expect(map.holderOf(1)?.name).toBe(nameOf(from))
    await cluster.moveSlots([slot], to)
    map.refresh()
    await until('the move', () => map.holderOf(1)?.name === nameOf(to))
    await cluster.moveSlots([slot], from)
  })

  test('each shard waits for its own replicas, even when one has received those of others', async () => {
    const map = await startWholeMap(cluster.url)
    const [first, second, third] = await cluster.masters()
    if (!first || !second || !third) throw new Error('three masters')
    const [a] = await cluster.replicasOf(first)
    const [c] = await cluster.replicasOf(third)
    const setMigration = (word: string) =>
      Promise.all(
        cluster.nodes.map((node) => node.cli('CONFIG', 'SET', 'cluster-allow-replica-migration', word)),
      )
    const waits = () =>
      [first, second, third].map(
        (node) => map.shards.find(({ name }) => name === nameOf(node))?.locator.waitReplicas,
      )
    expect(waits()).toEqual([1, 1, 1])
    await setMigration('no')
    try {
      for (const node of [a, c]) await node?.cli('CLUSTER', 'REPLICATE', cluster.idOf(second))
      await until('more in one shard', () => waits()[1] === 2)
      expect(waits()).toEqual([1, 2, 1])
    } finally {
      await a?.cli('CLUSTER', 'REPLICATE', cluster.idOf(first))
      await c?.cli('CLUSTER', 'REPLICATE', cluster.idOf(third))
      await setMigration('yes')
    }
    await until('as before', () => waits().join() === '1,1,1')
  })

  test('the locator of a tag follows its slot and notifies its listeners', { timeout: 60_000 }, async () => {
    const map = await startWholeMap(cluster.url)
    const locator = map.locatorOf('quotas')
    const from = await cluster.masterOf('quotas')
    expect(locator.address).toEqual(addressOf(from))
    const to = (await cluster.masters()).find((node) => node !== from) as RedisProcess
    const notified: (number | undefined)[] = []
    locator.onChange(() => notified.push(locator.address?.port))
    await cluster.moveSlots([slotOf('quotas')], to)
    map.refresh()
    await until('the move', () => locator.address?.port === to.port)
    expect(notified).toEqual([to.port])
    await cluster.moveSlots([slotOf('quotas')], from)
  })
})

describe('the map of masters without replicas', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasPerMaster: 0 })
  })

  test('waits for no replica, unless the operator configures data nodes', async () => {
    const map = await startWholeMap(cluster.url)
    expect(map.waitReplicas).toBe(0)
    expect(startMap(cluster.url, { dataNodes: 3 }).waitReplicas).toBe(1)
  })

  test('a master without slots is no shard; when it gets slots back it is a new shard', async () => {
    const map = await startWholeMap(cluster.url)
    const [first, second] = await cluster.masters()
    if (!first || !second) throw new Error('two masters')
    const old = map.shards.find(({ name }) => name === nameOf(first))
    const held = partitionSlots.filter((_, partition) => map.holderOf(partition) === old)
    await cluster.moveSlots(held, second)
    map.refresh()
    await until('two shards', () => map.shards.length === 2)
    expect(old?.retired.aborted).toBe(true)
    await cluster.moveSlots(held, first)
    map.refresh()
    await until('three shards', () => map.shards.length === 3)
    const now = map.shards.find(({ name }) => name === nameOf(first))
    expect(now).not.toBe(old)
    expect(now?.retired.aborted).toBe(false)
  })

  test('partitions that no master holds have no holder, and the map states the reason', async () => {
    const map = await startWholeMap(cluster.url)
    const slot = partitionSlots[5] ?? 0
    const owner = await cluster.masterOf(slot)
    await Promise.all(cluster.nodes.map((node) => node.cli('CLUSTER', 'DELSLOTS', String(slot))))
    await until('the reason', () => map.unavailableReason?.includes('no master holds some slots'))
    expect(map.holderOf(5)).toBeUndefined()
    expect(map.holderOf(6)).toBeDefined()
    await owner.cli('CLUSTER', 'ADDSLOTS', String(slot))
    await until('no reason', () => map.unavailableReason === undefined)
    expect(map.holderOf(5)?.name).toBe(nameOf(owner))
  })

  test('a crashed master keeps its slots until another master takes them', { timeout: 60_000 }, async () => {
    const map = await startWholeMap(cluster.url, { timing: { intervalMs: 100 } })
    const names = namesIn(map)
    const [first] = await cluster.masters()
    await first?.kill()
    await until('the failed state on the other nodes', async () => {
      const infos = await Promise.all(cluster.nodes.slice(1).map((node) => node.cli('CLUSTER', 'INFO')))
      return infos.every((info) => info.includes('cluster_state:fail'))
    })
    map.refresh()
    expect(await map.locatorOf('x').confirm(addressOf(first as RedisProcess))).toBe(false)
    expect(namesIn(map)).toEqual(names)
    expect(map.shards.every(({ retired }) => !retired.aborted)).toBe(true)
    await first?.start()
    await cluster.settled()
  })
})
