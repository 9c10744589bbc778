// One channel that everybody is in: a publication is thousands of writes, and the last subscriber waits for all of them.
import { afterAll, expect, test } from 'vitest'
import { Contest } from './contest.js'
import { deliveryColumns, deliveryValues, lostOf } from './delivery.js'
import { Load } from './load.js'
import { publishResult } from './results.js'
import { endSubjects, parleyOnRedis, wsFloor } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

const subscribers = 9_000
const perSecond = 10
const payloadBytes = 128
const [ours, floor] = ['Parley, Redis and history', 'bare ws loop'] as const

test('one channel', async () => {
  const turns = new Map<string, () => ReturnType<Load['run']>>()
  for (const { name, ...subject } of [await parleyOnRedis(ours), await wsFloor(floor)]) {
    const crowd = { issuer: benchIssuer(), subscribers, publishers: 1, channels: 1, channelsEach: 1 }
    const load = new Load({ ...subject, ...crowd, channelPrefix: 'kept:', arrivingMax: 50 })
    await load.come()
    const pace = { kind: 'rate', perSecond } as const
    turns.set(name, () => load.run({ seconds: 4, pace, payloadBytes, drainMs: 60_000 }))
  }
  const contest = await Contest.held(turns)
  const title = `${subscribers.toLocaleString('en-US')} subscribers, ${perSecond} publications/s`
  await publishResult('one-channel', {
    title: 'One large channel',
    conditions: `${payloadBytes} bytes each. Latency includes the load's own time to read: both have the same load.`,
    columns: deliveryColumns,
    groups: [
      {
        title,
        rows: contest.names.map((subject) => ({ subject, values: deliveryValues(contest, subject) })),
      },
    ],
    bars: [
      {
        what: 'p99 to the bare loop',
        value: contest.ratio(ours, floor, ({ delivery }) => delivery.p99Ms),
        wanted: 1.2,
        is: 'atMost',
      },
    ],
  })
  expect(contest.reports(ours).map((report) => lostOf(report, subscribers))).not.toContain(true)
})
