// Does a master still stand? What the Sentinels say to that, and when a connection asks them at all.
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
  /** Whom it names. */
  readonly master?: typeof here
  /** Whom its flags are about: the old master, while replicas are told of a new one. */
  readonly about?: typeof here
  readonly flags?: string
  readonly configEpoch?: number
  /** Never answers. */
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

const well: View = {}

describe('a master stands', () => {
  test.each<[string, View[]]>([
    ['when all say so', [well, well, well]],
    ['when one has lost sight of it', [well, { flags: 'master,s_down' }, well]],
    ['when one that is behind the times names another', [well, { master: there, configEpoch: 2 }, well]],
    ['when one does not answer', [well, { silent: true }, well]],
    [
      'when it has just replaced another, and one is still telling the replicas',
      [{ about: there, flags: 'master,s_down,o_down,failover_in_progress' }, well, well],
    ],
  ])('%s', async (_, views) => {
    const { locator } = await locate(...views)
    expect(await locator.confirm(here)).toBe(true)
  })
})

describe('a master does not stand', () => {
  test.each<[string, View]>([
    ['when one is replacing it', { flags: 'master,failover_in_progress' }],
    ['when one knows a newer master', { master: there, configEpoch: 4 }],
  ])('%s', async (_, view) => {
    const { locator } = await locate(well, well, view)
    expect(await locator.confirm(here)).toBe(false)
  })

  test('when most have lost sight of it, or do not answer', async () => {
    const { locator, views } = await locate(well, well, well)
    expect(await locator.confirm(here)).toBe(true)
    views[0] = { flags: 'master,s_down' }
    views[1] = { flags: 'master,s_down,o_down' }
    expect(await locator.confirm(here)).toBe(false)
    views[0] = views[1] = { silent: true }
    expect(await locator.confirm(here)).toBe(false)
  })

  test('when it is another', async () => {
    const { locator } = await locate(well, well, well)
    expect(await locator.confirm(there)).toBe(false)
  })
})

test('what was said before the question does not count', async () => {
  const { locator, views } = await locate(well, well, well)
  views[2] = { flags: 'master,failover_in_progress' }
  expect(await locator.confirm(here)).toBe(false)
})

test('a connection asks while it is new, and after a silence; not while the master answers', async () => {
  const trio = await startSentinelTrio({ downAfterMs: 4_000 })
  const { link, locator } = startLink(trio.url, { timing: { pingDeadlineMs: 10_000 } })
  let asked = 0
  const confirm = locator.confirm.bind(locator)
  locator.confirm = (address) => {
    asked += 1
    return confirm(address)
  }
  const live = await link.ready(10_000)
  /** How often that question led to another. */
  const asks = async () => {
    const before = asked
    await live.run(live.client.pipeline().ping())
    expect(await live.confirmMaster()).toBe(true)
    return asked - before
  }
  const untilSure = () => until('no more questions', async () => (await asks()) === 0, { everyMs: 200 })
  expect(await asks()).toBe(1)
  // A Sentinel that is behind may still be about to replace it: one yes is not enough.
  expect(await asks()).toBe(1)
  await untilSure()
  // Again when this machine was silent, and not the master.
  await until('an idle connection that keeps itself informed', async () => {
    await untilSure()
    await sleep(3_000)
    return (await asks()) === 0
  })
  const master = await trio.master()
  master.stop()
  setTimeout(() => master.cont(), 2_600)
  await live.run(live.client.pipeline().ping(), { deadlineMs: 10_000 })
  await live.confirmMaster()
  expect(await asks(), 'after a silence').toBe(1)
  await untilSure()
})
