// Measures one channel with all clients as subscribers: a publication causes thousands of writes, and the
// last subscriber waits for all of them.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import { deliveryColumns, deliveryValues, lostOf } from './delivery.js'
import { LoadProcess } from './load-process.js'
import { publishResult } from './results.js'
import { endSubjects, parleyOnRedis, wsBaseline } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const subscribers = 9_000
const perSecond = 10
const payloadBytes = 128
const [ours, baseline] = ['Parley, Redis and history', 'bare ws loop'] as const

test('one channel', async () => {
  const runs = new Map<string, () => ReturnType<LoadProcess['run']>>()
  for (const { name, ...subject } of [await parleyOnRedis(ours), await wsBaseline(baseline)]) {
    const options = { issuer: acmeIssuer, subscribers, publishers: 1, channels: 1, channelsEach: 1 }
    const load = new LoadProcess({ ...subject, ...options, channelPrefix: 'kept:', connectingMax: 50 })
    await load.connect()
    const pace = { kind: 'rate', perSecond } as const
    runs.set(name, () => load.run({ seconds: 4, pace, payloadBytes, drainMs: 60_000 }))
  }
  const comparison = await Comparison.run(runs)
  const title = `${subscribers.toLocaleString('en-US')} subscribers, ${perSecond} publications/s`
  await publishResult('one-channel', {
    title: 'One large channel',
    conditions: `${payloadBytes} bytes each. Latency includes the time that the load process takes to read; it is the same for both.`,
    columns: deliveryColumns,
    groups: [
      {
        title,
        rows: comparison.names.map((subject) => ({ subject, values: deliveryValues(comparison, subject) })),
      },
    ],
    targets: [
      {
        metric: 'p99, relative to the bare loop',
        value: comparison.ratio(ours, baseline, ({ deliveryLatency }) => deliveryLatency.p99Ms),
        required: 1.2,
        is: 'atMost',
      },
    ],
  })
  expect(comparison.reports(ours).map((report) => lostOf(report, subscribers))).not.toContain(true)
})
