import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createLocator } from '../../src/redis/topology/create-locator.js'
import { formatAddress } from '../../src/redis/url.js'
import { FakeRedis, sentinelAnswer } from '../support/redis-fake.js'
import { endLinks, lostWithin, recordingLog, startLink, targetOf } from '../support/redis-links.js'
import {
  endRedisProcesses,
  SentinelTrio,
  startRedis,
  startReplica,
  startSentinels,
  startSentinelTrio,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'

const patienceMs = 15_000
const fakes: FakeRedis[] = []

afterEach(async () => {
  await endLinks()
  await Promise.all(fakes.splice(0).map((fake) => fake.close()))
})
afterAll(endRedisProcesses)

interface PortLink {
  ready(waitMs: number): Promise<{ client: { options: { port?: number | undefined } } }>
}

async function portOf(link: PortLink) {
  return (await link.ready(patienceMs)).client.options.port
}

/**
 * Waits until the link leads to the master that the Sentinels report. On a slow machine there may be one
 * failover more than the test caused, so the port is not fixed.
 */
async function leadsToMaster(link: PortLink, trio: SentinelTrio): Promise<void> {
  await until('a link to the master', async () => (await portOf(link)) === (await trio.master()).port)
}

describe('a link by Sentinel', () => {
  let trio: SentinelTrio
  beforeAll(async () => {
    // The time is twice the default, so that a machine that stalls for a second does not count as down.
    trio = await startSentinelTrio({ downAfterMs: 2_000 })
  })

  test('leads to the master and knows how many replicas form a majority', async () => {
    const { link, locator } = startLink(trio.url)
    expect(await portOf(link)).toBe((await trio.master()).port)
    expect(locator.waitReplicas).toBe(1)
    expect(locator.unavailableReason).toBeUndefined()
  })

  test('follows one failover after the other', { timeout: 120_000 }, async () => {
    const { link } = startLink(trio.url)
    for (let round = 1; round <= 3; round += 1) {
      const live = await link.ready(patienceMs)
      const old = await trio.master()
      const startMs = performance.now()
      await old.kill()
      await lostWithin(live, 5_000)
      const next = await link.ready(patienceMs)
      console.info(`failover ${round}: a new connection after ${Math.round(performance.now() - startMs)} ms`)
      expect(next.client.options.port).not.toBe(old.port)
      expect(await next.client.role()).toContain('master')
      await trio.rejoin(old)
      await leadsToMaster(link, trio)
    }
  })

  test('leaves a frozen master and does not come back to it', { timeout: 60_000 }, async () => {
    const { link } = startLink(trio.url)
    const live = await link.ready(patienceMs)
    const old = await trio.master()
    old.stop()
    const lostMs = await lostWithin(live, 5 * 5_500)
    const next = await link.ready(patienceMs)
    expect(next.client.options.port).not.toBe(old.port)
    old.cont()
    await trio.settled()
    await leadsToMaster(link, trio)
    expect(await (await trio.master()).role()).toBe('master')
    console.info(`frozen master left after ${Math.round(lostMs)} ms`)
  })

  test('stays open while one or all Sentinels are down, and reports it', { timeout: 60_000 }, async () => {
    const { link, locator } = startLink(trio.url)
    const live = await link.ready(patienceMs)
    const [first, ...others] = trio.sentinels
    first?.stop()
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(locator.unavailableReason).toBeUndefined()
    for (const other of others) other.stop()
    await until('a locator without answers', () =>
      locator.unavailableReason?.includes('only 0 of 3 Sentinels report the address of the master'),
    )
    expect(locator.address).toBeDefined()
    expect(live.lost.aborted).toBe(false)
    for (const sentinel of trio.sentinels) sentinel.cont()
    await until('a locator with answers', () => locator.unavailableReason === undefined)
  })

  test('a replica that is down still counts for the majority', async () => {
    const { link, locator } = startLink(trio.url)
    await link.ready(patienceMs)
    const [replica] = await trio.replicas()
    replica?.stop()
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(locator.waitReplicas).toBe(1)
    replica?.cont()
  })
})

test(
  'the failover of another master of the same Sentinels leaves the link open',
  { timeout: 60_000 },
  async () => {
    const set = async () => {
      const master = await startRedis()
      return { master, replicas: [await startReplica(master), await startReplica(master)] }
    }
    const [ours, theirs] = await Promise.all([set(), set()])
    const sentinels = await startSentinels([
      { masterName: 'ours', ...ours },
      { masterName: 'theirs', ...theirs },
    ])
    const trioOf = (
      masterName: string,
      { master, replicas }: { master: RedisProcess; replicas: RedisProcess[] },
    ) => new SentinelTrio({ masterName, nodes: [master, ...replicas], sentinels })
    const [ourTrio, theirTrio] = [trioOf('ours', ours), trioOf('theirs', theirs)]
    await Promise.all([ourTrio.settled(), theirTrio.settled()])
    const { link } = startLink(ourTrio.url)
    const live = await link.ready(patienceMs)
    await theirs.master.kill()
    await theirTrio.failedOver(theirs.master)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(live.lost.aborted).toBe(false)
    expect(link.current).toBe(live)
  },
)

describe('the locator', () => {
  const a = { host: '127.0.0.1', port: 7001 }
  const b = { host: 'b.example', port: 7002 }

  async function fakeSentinel(masterOf: () => typeof a | null, waitMs = 0): Promise<FakeRedis> {
    const fake = await new FakeRedis(sentinelAnswer(masterOf, waitMs)).start()
    fakes.push(fake)
    return fake
  }

  function locate(
    sentinels: readonly { port: number }[],
    options: { dataNodes?: number; deadlineMs?: number } = {},
  ) {
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
    const { dataNodes, deadlineMs = 1_000 } = options
    const locator = createLocator(targetOf(`redis+sentinel://${hosts}/mymaster`), {
      log: recordingLog().log,
      dataNodes,
      sentinelTiming: { intervalMs: 20, deadlineMs },
    })
    const stopper = new AbortController()
    const ended = locator.run(stopper.signal)
    return {
      locator,
      stop: async () => {
        stopper.abort()
        await ended
      },
    }
  }

  test('accepts what a majority of all Sentinels reports, not of those that answer', async () => {
    let third: typeof a = a
    const sentinels = [
      await fakeSentinel(() => a),
      await fakeSentinel(() => b),
      await fakeSentinel(() => third),
    ]
    const { locator, stop } = locate(sentinels)
    await until('an address', () => locator.address)
    expect(locator.address).toEqual(a)
    third = b
    await until('the other address', () => locator.address?.host === b.host)
    await sentinels[1]?.close()
    third = a
    await until(
      'disagreement',
      () => locator.unavailableReason === undefined && locator.address?.host === a.host,
    )
    await sentinels[2]?.close()
    await until('the reason', () => locator.unavailableReason)
    expect(locator.address).toEqual(a)
    await stop()
  })

  test('does not accept the first answer', async () => {
    const sentinels = [
      await fakeSentinel(() => b),
      await fakeSentinel(() => a, 300),
      await fakeSentinel(() => a, 300),
    ]
    const { locator, stop } = locate(sentinels)
    await until('an answer', () => (sentinels[0]?.asked ?? 0) > 6)
    expect(locator.address).toBeUndefined()
    expect(locator.unavailableReason).toBe('only 1 of 3 Sentinels report the address of the master')
    await until('an address', () => locator.address)
    expect(locator.address).toEqual(a)
    await stop()
  })

  test('sends at most one request at a time to each Sentinel, however slow it is', async () => {
    const slow = await fakeSentinel(() => a, 100)
    const { locator, stop } = locate([slow])
    await until('several answers', () => slow.asked > 12)
    expect(slow.answeringMax).toBe(1)
    expect(slow.connections).toBe(1)
    expect(locator.address).toEqual(a)
    await stop()
  })

  test('abandons a request after its deadline, and polls again on a new connection', async () => {
    let waitMs = 60_000
    const fake = await new FakeRedis((command) => sentinelAnswer(() => a, waitMs)(command)).start()
    fakes.push(fake)
    const { locator, stop } = locate([fake], { deadlineMs: 100 })
    await until('the reason', () => locator.unavailableReason?.includes('no reply within 100 ms'))
    await expect.poll(() => fake.connections).toBeLessThanOrEqual(1)
    waitMs = 0
    await until('an address', () => locator.address)
    await stop()
  })

  test('notifies once for each change, and only for a change', async () => {
    let master = a
    const sentinels = [await fakeSentinel(() => master)]
    const { locator, stop } = locate(sentinels)
    const notified: string[] = []
    const unsubscribe = locator.onChange(() =>
      notified.push(locator.address ? formatAddress(locator.address) : ''),
    )
    await until('an address', () => locator.address)
    master = b
    await until('a change', () => notified.length === 2)
    unsubscribe()
    master = a
    await until('another change', () => locator.address?.host === a.host)
    expect(notified).toEqual(['127.0.0.1:7001', 'b.example:7002'])
    await stop()
  })

  test('counts the data nodes as configured, or otherwise the most ever reported with at least one replica', async () => {
    const fake = await fakeSentinel(() => a)
    const seen = locate([fake])
    expect(seen.locator.waitReplicas).toBeUndefined()
    await until('an address', () => seen.locator.address)
    expect(seen.locator.waitReplicas).toBe(1)
    await seen.stop()
    for (const [dataNodes, waitReplicas] of [
      [1, 0],
      [2, 1],
      [3, 1],
      [4, 2],
      [5, 2],
    ] as const) {
      expect(locate([fake], { dataNodes }).locator.waitReplicas).toBe(waitReplicas)
    }
  })

  test('a name that most Sentinels do not monitor is a config error', async () => {
    const sentinels = [
      await fakeSentinel(() => null),
      await fakeSentinel(() => a),
      await fakeSentinel(() => null),
    ]
    const { locator, stop } = locate(sentinels)
    expect(locator.configError).toBeUndefined()
    await until('a config error', () => locator.configError)
    expect(locator.configError).toContain('monitor no master named "mymaster"')
    await stop()
  })
})
