// Tests of the confirmation of a master: how the answers of the Sentinels are evaluated, and when a
// connection asks them.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { createLocator } from '../../src/redis/topology/create-locator.js'
import type { Locator } from '../../src/redis/topology/locator.js'
import { FakeRedis, resp } from '../support/redis-fake.js'
import { endLinks, recordingLog, startLink, targetOf } from '../support/redis-links.js'
import { endRedisProcesses, startSentinelTrio, until } from '../support/redis-processes.js'

const here = { host: '127.0.0.1', port: 7001 }
const there = { host: '127.0.0.1', port: 7002 }

interface View {
  /** The master that the Sentinel names. */
  readonly master?: typeof here
  /**
   * The master that the flags describe. While the Sentinel reconfigures the replicas for a new master, it is
   * the old one. Default: the named master.
   */
  readonly about?: typeof here
  readonly flags?: string
  readonly configEpoch?: number
  /** Whether the Sentinel never answers. */
  readonly silent?: boolean
}

const fakes: FakeRedis[] = []
const stoppers: (() => Promise<void>)[] = []

afterEach(async () => {
  await Promise.all(stoppers.splice(0).map((stop) => stop()))
  await Promise.all(fakes.splice(0).map((fake) => fake.close()))
  await endLinks()
})
afterAll(endRedisProcesses)

async function sentinel(view: () => View): Promise<FakeRedis> {
  const fake = new FakeRedis(([name = '', sub = '']) => {
    const { about, configEpoch = 3, flags = 'master', master = here, silent = false } = view()
    if (silent) return new Promise<string>(() => {})
    if (name.toUpperCase() === 'HELLO') return resp(new Error('NOPROTO unsupported protocol version'))
    if (name.toUpperCase() !== 'SENTINEL') return '+OK\r\n'
    if (sub !== 'master') return resp([master.host, String(master.port)])
    const { host, port } = about ?? master
    const fields = { ip: host, port, flags, 'config-epoch': configEpoch, 'num-slaves': 2 }
    return resp([
      ...Object.entries({ ...fields, 'down-after-milliseconds': 1_000 })
        .flat()
        .map(String),
    ])
  })
  fakes.push(fake)
  return fake.start()
}

async function locate(...views: View[]): Promise<{ locator: Locator; views: View[] }> {
  const sentinels = await Promise.all(views.map((_, index) => sentinel(() => views[index] ?? {})))
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
  const locator = createLocator(targetOf(`redis+sentinel://${hosts}/mymaster`), {
    log: recordingLog().log,
    sentinelTiming: { intervalMs: 50 },
  })
  const stopper = new AbortController()
  const ended = locator.run(stopper.signal)
  stoppers.push(async () => {
    stopper.abort()
    await ended
  })
  await until('an address', () => locator.address)
  return { locator, views }
}

const healthy: View = {}

describe('a master is confirmed', () => {
  test.each<[string, View[]]>([
    ['when all Sentinels confirm it', [healthy, healthy, healthy]],
    ['when one cannot reach it', [healthy, { flags: 'master,s_down' }, healthy]],
    [
      'when one with an older configuration names another master',
      [healthy, { master: there, configEpoch: 2 }, healthy],
    ],
    ['when one does not answer', [healthy, { silent: true }, healthy]],
    [
      'when it has just replaced another master, and one is still reconfiguring the replicas',
      [{ about: there, flags: 'master,s_down,o_down,failover_in_progress' }, healthy, healthy],
    ],
  ])('%s', async (_, views) => {
    const { locator } = await locate(...views)
    expect(await locator.confirm(here)).toBe(true)
  })
})

describe('a master is not confirmed', () => {
  test.each<[string, View]>([
    ['when one is replacing it', { flags: 'master,failover_in_progress' }],
    ['when one knows a newer master', { master: there, configEpoch: 4 }],
  ])('%s', async (_, view) => {
    const { locator } = await locate(healthy, healthy, view)
    expect(await locator.confirm(here)).toBe(false)
  })

  test('when most cannot reach it, or do not answer', async () => {
    const { locator, views } = await locate(healthy, healthy, healthy)
    expect(await locator.confirm(here)).toBe(true)
    views[0] = { flags: 'master,s_down' }
    views[1] = { flags: 'master,s_down,o_down' }
    expect(await locator.confirm(here)).toBe(false)
    views[0] = views[1] = { silent: true }
    expect(await locator.confirm(here)).toBe(false)
  })

  test('when another server is the master', async () => {
    const { locator } = await locate(healthy, healthy, healthy)
    expect(await locator.confirm(there)).toBe(false)
  })
})

test('an answer from before the request does not count', async () => {
  const { locator, views } = await locate(healthy, healthy, healthy)
  views[2] = { flags: 'master,failover_in_progress' }
  expect(await locator.confirm(here)).toBe(false)
})

test('a connection asks the Sentinels while it is new and after a silence, and not while the master answers', async () => {
  const trio = await startSentinelTrio({ downAfterMs: 4_000 })
  const { link, locator } = startLink(trio.url, { timing: { pingDeadlineMs: 10_000 } })
  let asked = 0
  const confirm = locator.confirm.bind(locator)
  locator.confirm = (address) => {
    asked += 1
    return confirm(address)
  }
  const live = await link.ready(10_000)
  /** Returns how often one command makes the connection ask the Sentinels. */
  const questions = async () => {
    const before = asked
    await live.run(live.client.pipeline().ping())
    expect(await live.confirmMaster()).toBe(true)
    return asked - before
  }
  const untilConfirmed = () =>
    until('no more questions', async () => (await questions()) === 0, { everyMs: 200 })
  expect(await questions()).toBe(1)
  // A Sentinel with an older state may be about to replace the master: one confirmation is not enough.
  expect(await questions()).toBe(1)
  await untilConfirmed()
  // When this machine stalls, the connection also asks again, so the check is repeated.
  await until('an idle connection that stays confirmed', async () => {
    await untilConfirmed()
    await sleep(3_000)
    return (await questions()) === 0
  })
  const master = await trio.master()
  master.stop()
  setTimeout(() => master.cont(), 2_600)
  await live.run(live.client.pipeline().ping(), { deadlineMs: 10_000 })
  await live.confirmMaster()
  expect(await questions(), 'after a silence').toBe(1)
  await untilConfirmed()
})
