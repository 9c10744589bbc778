// What a connection costs that does nothing but stay: pinged, subscribed to one channel, its token kept in mind.
import { afterAll, expect, test } from 'vitest'
import { Load } from './load.js'
import type { Usage } from './orders.js'
import { publishResult } from './results.js'
import { endSubjects, parleyOnRedis, wsFloor, type Subject } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

const subscribers = 8_000
const channels = 100
/** All have been pinged by then, and what connecting left behind is collected. */
const settleSeconds = 40
const aloneSeconds = 20
const idleSeconds = 50

async function idle(subject: Subject): Promise<{ rssBytes: number; cpuUs: number }> {
  const visit = { issuer: benchIssuer(), publishers: 0, channels, channelsEach: 1, channelPrefix: 'kept:' }
  // What the first connection loads is not each one's.
  const first = new Load({ ...subject, ...visit, subscribers: 100, arrivingMax: 10 })
  await first.come()
  // Nor is what starting left behind: it would hide what they add.
  await first.idle(settleSeconds)
  const alone = await first.idle(aloneSeconds)
  const load = new Load({ ...subject, ...visit, subscribers, arrivingMax: 50 })
  await load.come()
  await load.idle(settleSeconds)
  const settled = await load.idle(idleSeconds)
  if (settled.present !== subscribers) throw new Error(`only ${settled.present} are left`)
  await Promise.all([first.end(), load.end()])
  return {
    rssBytes: (settled.rssBytes.server - alone.rssBytes.server) / subscribers,
    cpuUs: ((perSecond(settled) - perSecond(alone)) / subscribers) * 1e6,
  }
}

const perSecond = ({ cpuSeconds, wallSeconds }: Usage): number => cpuSeconds.server / wallSeconds

test('idle connections', async () => {
  const values = {
    'Parley, Redis and history': await idle(await parleyOnRedis('Parley')),
    'bare ws, which pings nobody': await idle(await wsFloor('bare ws')),
  }
  const { 'Parley, Redis and history': ours } = values
  await publishResult('idle', {
    title: 'Idle connections',
    conditions: `${subscribers.toLocaleString('en-US')} connections with one subscription each, ${idleSeconds} s, pinged every 25 s. What a gateway with 100 connections uses is taken off.`,
    columns: [
      { key: 'rssBytes', title: 'RSS each', unit: 'bytes' },
      { key: 'cpuUs', title: 'CPU each, per second', unit: 'us' },
    ],
    groups: [
      { title: 'idle', rows: Object.entries(values).map(([subject, row]) => ({ subject, values: row })) },
    ],
    bars: [
      { what: 'RSS each', value: ours.rssBytes, wanted: 11 * 1024, is: 'atMost', unit: 'bytes' },
      { what: 'CPU each, per second', value: ours.cpuUs, wanted: 3, is: 'atMost', unit: 'us' },
    ],
  })
  expect(ours.cpuUs).toBeGreaterThan(0)
})
