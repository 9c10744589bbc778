// Links to a real Cluster, and the catalog and the quota ledger, each with all keys in one slot, while
// masters crash and slots move.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { catalogTag, leaseKey, quotasTag } from '../../src/redis/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { openCatalog, openWriter, revisionsOf, tenant } from '../support/redis-catalog.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { endLedgers, connectionsIn, startLedgers } from '../support/redis-ledger.js'
import { endLinks, lostWithin, startLink, type TestLink } from '../support/redis-links.js'
import { endRedisProcesses, until, type RedisProcess } from '../support/redis-processes.js'

let cluster: RedisCluster
beforeAll(async () => {
  cluster = await startRedisCluster()
})
afterEach(async () => {
  await endLinks()
  await endLedgers()
  for (const node of cluster.nodes) {
    if (node.alive) node.cont()
    else await node.start()
  }
  await cluster.settled(60_000)
  for (const master of await cluster.masters()) await master.cli('FLUSHALL')
}, 70_000)
afterAll(endRedisProcesses)

const patienceMs = 25_000
const wide = { max: 1_000, perUser: 1_000, guests: 10_000 }

async function portOf({ link }: TestLink): Promise<number | undefined> {
  return (await link.ready(patienceMs)).client.options.port
}

async function otherMaster(than: RedisProcess): Promise<RedisProcess> {
  const node = (await cluster.masters()).find((master) => master !== than)
  if (!node) throw new Error('there is only one master')
  return node
}

/** Writes a key. The reply shows whether the link leads to the master of its slot. */
async function write({ link }: TestLink, key: string): Promise<unknown> {
  const live = await link.ready(patienceMs)
  const [reply] = await live.run(live.client.pipeline().set(key, 'x'))
  return reply
}

test(
  'a link leads to the master of its tag, and to the next one after a crash',
  { timeout: 90_000 },
  async () => {
    const started = startLink(cluster.url, { tag: 'mine' })
    const old = await cluster.masterOf('mine')
    expect(await portOf(started)).toBe(old.port)
    const live = await started.link.ready(patienceMs)
    await old.kill()
    await lostWithin(live, 5_000)
    const now = await cluster.failedOver(old, slotOf('mine'))
    expect(await portOf(started)).toBe(now.port)
    expect(await write(started, 'parley:{mine}:x')).toBe('OK')
  },
)

test('a link leaves a frozen master and does not come back to it', { timeout: 90_000 }, async () => {
  const started = startLink(cluster.url, { tag: 'mine' })
  const live = await started.link.ready(patienceMs)
  const old = await cluster.masterOf('mine')
  old.stop()
  await lostWithin(live, 20_000)
  const next = await started.link.ready(patienceMs)
  expect(next.client.options.port).not.toBe(old.port)
  expect(await next.confirmMaster()).toBe(true)
  old.cont()
  await cluster.settled()
  expect(next.lost.aborted).toBe(false)
})

test(
  'a master that was silent is not confirmed when it was replaced meanwhile',
  { timeout: 90_000 },
  async () => {
    const started = startLink(cluster.url, {
      tag: 'mine',
      timing: { pingIntervalMs: 600_000, pingDeadlineMs: 600_000 },
      clusterTiming: { intervalMs: 600_000 },
    })
    const live = await started.link.ready(patienceMs)
    expect(await live.confirmMaster()).toBe(true)
    const old = await cluster.masterOf('mine')
    old.stop()
    const others = cluster.nodes.filter((node) => node !== old)
    const isReplaced = async (node: RedisProcess) => {
      const lines = (await node.cli('CLUSTER', 'NODES')).split('\n')
      return !lines.some((line) => line.startsWith(cluster.idOf(old)) && /\d+-\d+/.test(line))
    }
    await until('another master', async () => (await Promise.all(others.map(isReplaced))).every(Boolean), {
      deadlineMs: patienceMs,
    })
    const delayed = live.run(live.client.pipeline().get('parley:{mine}:x'), { deadlineMs: patienceMs })
    old.cont()
    await delayed.catch(() => {})
    expect(await live.confirmMaster()).toBe(false)
  },
)

test('a link follows its slot at the first redirect', { timeout: 60_000 }, async () => {
  const started = startLink(cluster.url, { tag: 'mine', clusterTiming: { intervalMs: 600_000 } })
  const from = await cluster.masterOf('mine')
  expect(await portOf(started)).toBe(from.port)
  const live = await started.link.ready(patienceMs)
  const to = await otherMaster(from)
  await cluster.moveSlots([slotOf('mine')], to)
  const replies = await live.run(live.client.pipeline().set('parley:{mine}:x', 'x').ping())
  expect(replies).toEqual([expect.objectContaining({ message: expect.stringContaining('MOVED') }), 'PONG'])
  expect(live.lost.aborted).toBe(true)
  await until('the other master', async () => (await portOf(started)) === to.port)
  expect(await write(started, 'parley:{mine}:x')).toBe('OK')
})

test(
  'a link is not open while its slot is being moved, or while no master holds it',
  { timeout: 60_000 },
  async () => {
    const started = startLink(cluster.url, { tag: 'mine' })
    const from = await cluster.masterOf('mine')
    const to = await otherMaster(from)
    await started.link.ready(patienceMs)
    await cluster.moveSlots([slotOf('mine')], to, { stopAt: 'announced' })
    expect(String(await write(started, 'parley:{mine}:new'))).toContain('ASK')
    await until('the reason', () => started.link.unavailableReason?.includes('not served here: ASK'))
    await cluster.moveSlots([slotOf('mine')], to)
    expect(await portOf(started)).toBe(to.port)
    await Promise.all(cluster.nodes.map((node) => node.cli('CLUSTER', 'DELSLOTS', '0').catch(() => {})))
    try {
      await until('a Cluster that is down', async () =>
        (await to.cli('CLUSTER', 'INFO')).includes('cluster_state:fail'),
      )
      await write(started, 'parley:{mine}:x').catch(() => {})
      await until('the reason', () => started.link.unavailableReason?.includes('CLUSTERDOWN'))
    } finally {
      await (await cluster.masterOf(1)).cli('CLUSTER', 'ADDSLOTS', '0')
    }
    await started.link.ready(patienceMs)
  },
)

test(
  'quotas: connections are counted on the master that their slot has moved to',
  { timeout: 60_000 },
  async () => {
    const [one, two] = await startLedgers(2, cluster.url)
    if (!one || !two) throw new Error('two gateways')
    for (let n = 0; n < 5; n += 1) await one.lease.acquire(`user ${n}`, wide)
    const from = await cluster.masterOf(quotasTag)
    expect(await connectionsIn(from)).toEqual([5])
    const to = await otherMaster(from)
    await cluster.moveSlots([slotOf(quotasTag)], to)
    // The first request meets the redirect. It is still answered, if necessary by a local decision of the
    // gateway.
    expect(await two.lease.acquire('ann', wide)).toEqual({ admitted: true })
    await until('the move', async () => {
      await Promise.all([one.ledger.sync(), two.ledger.sync()])
      return two.link.current?.client.options.port === to.port
    })
    await until('both counts', async () => {
      await Promise.all([one.ledger.sync(), two.ledger.sync()])
      return (await connectionsIn(to)).join() === '1,5'
    })
    expect(await two.lease.acquire('eve', { max: 6, perUser: 1, guests: 10_000 })).toMatchObject({
      admitted: false,
      used: 6,
    })
  },
)

test('quotas: an unfinished move is an outage without losses', { timeout: 90_000 }, async () => {
  const [one, two] = await startLedgers(2, cluster.url)
  if (!one || !two) throw new Error('two gateways')
  for (let n = 0; n < 5; n += 1) await one.lease.acquire(`user ${n}`, wide)
  const from = await cluster.masterOf(quotasTag)
  const to = await otherMaster(from)
  await cluster.moveSlots([slotOf(quotasTag)], to, { stopAt: 'halfway' })
  // Each gateway's equal part of the limit of ten is five.
  const limits = { max: 10, perUser: 10, guests: 10_000 }
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => two.lease.acquire(`guest ${n}`, limits)),
  )
  expect(answers.filter(({ admitted }) => admitted).length).toBe(5)
  await cluster.moveSlots([slotOf(quotasTag)], to)
  await until('both counts', async () => {
    await Promise.all([one.ledger.sync(), two.ledger.sync()])
    return (await connectionsIn(to)).join() === '5,5'
  })
  expect(await two.lease.acquire('eve', limits)).toMatchObject({ admitted: false, used: 10 })
  expect(await to.cli('EXISTS', leaseKey('t1', 'connections'))).toBe('1')
})

test('the catalog: gateways follow it across a move and a failover', { timeout: 120_000 }, async () => {
  const location = { url: cluster.url, installation: 'parley/moves' }
  const { writer, link } = await openWriter(location, { waitMs: patienceMs })
  const { catalog } = await openCatalog(location)
  await writer.snapshot([tenant('acme')])
  await catalog.refresh()
  const publish = async (...tenants: ReturnType<typeof tenant>[]) => {
    await until(
      'a snapshot',
      async () => ['written', 'unchanged'].includes((await writer.snapshot(tenants)).kind),
      { deadlineMs: patienceMs },
    )
    await until(
      'the snapshot in force',
      async () => {
        await catalog.refresh()
        return JSON.stringify(revisionsOf(catalog.all())) === JSON.stringify(revisionsOf(tenants))
      },
      { deadlineMs: patienceMs },
    )
  }
  const from = await cluster.masterOf(catalogTag)
  const to = await otherMaster(from)
  await cluster.moveSlots([slotOf(catalogTag)], to)
  await publish(tenant('acme', 2), tenant('globex'))
  expect(await portOf(link)).toBe(to.port)
  await to.kill()
  const now = await cluster.failedOver(to, slotOf(catalogTag))
  await publish(tenant('acme', 3), tenant('globex'))
  expect(await portOf(link)).toBe(now.port)
})
