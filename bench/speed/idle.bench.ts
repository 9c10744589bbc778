// Measures what an idle connection costs: pings, one subscription and the state of its token.
import { afterAll, expect, test } from 'vitest'
import { LoadProcess } from './load-process.js'
import type { Usage } from './load-commands.js'
import { publishResult } from './results.js'
import { endSubjects, parleyOnRedis, wsBaseline, type Subject } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const subscribers = 8_000
const channels = 100
/** After this time all connections have been pinged, and the garbage of the connects is collected. */
const settleSeconds = 40
const aloneSeconds = 20
const idleSeconds = 50

async function idle(subject: Subject): Promise<{ rssBytes: number; cpuUs: number }> {
  const plan = { issuer: acmeIssuer, publishers: 0, channels, channelsEach: 1, channelPrefix: 'kept:' }
  // The first connections load code, which is not a cost of each connection.
  const first = new LoadProcess({ ...subject, ...plan, subscribers: 100, connectingMax: 10 })
  await first.connect()
  // The garbage of the start is collected first. Otherwise it would hide the memory that connections add.
  await first.idle(settleSeconds)
  const alone = await first.idle(aloneSeconds)
  const load = new LoadProcess({ ...subject, ...plan, subscribers, connectingMax: 50 })
  await load.connect()
  await load.idle(settleSeconds)
  const settled = await load.idle(idleSeconds)
  if (settled.connected !== subscribers) throw new Error(`Only ${settled.connected} connections are left`)
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
    'bare ws, without pings': await idle(await wsBaseline('bare ws')),
  }
  const { 'Parley, Redis and history': ours } = values
  await publishResult('idle', {
    title: 'Idle connections',
    conditions: `${subscribers.toLocaleString('en-US')} connections with one subscription each, ${idleSeconds} s, pinged every 25 s. The usage of a gateway with 100 connections is subtracted.`,
    columns: [
      { key: 'rssBytes', title: 'RSS each', unit: 'bytes' },
      { key: 'cpuUs', title: 'CPU each, per second', unit: 'us' },
    ],
    groups: [
      { title: 'idle', rows: Object.entries(values).map(([subject, row]) => ({ subject, values: row })) },
    ],
    targets: [
      { metric: 'RSS each', value: ours.rssBytes, required: 11 * 1024, is: 'atMost', unit: 'bytes' },
      { metric: 'CPU each, per second', value: ours.cpuUs, required: 3, is: 'atMost', unit: 'us' },
    ],
  })
  expect(ours.cpuUs).toBeGreaterThan(0)
})
