// Measures what 100,000 revocations of the tenant add to a connect. Both gateways are the same program on a
// Redis of its own, and run in turn.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import type { MeasuredConnects } from './load-commands.js'
import { LoadProcess } from './load-process.js'
import { publishResult, type Column } from './results.js'
import { endSubjects, parleyOnRedis } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const counts = [0, 100_000] as const
const clients = 2_000
const nameOf = (count: number): string => `${count.toLocaleString('en-US')} revocations`
const [without, withAll] = [nameOf(counts[0]), nameOf(counts[1])]

const columns: readonly Column[] = [
  { key: 'perSecond', title: 'connects per second', unit: 'count' },
  { key: 'perCpuSecond', title: 'connects per CPU-second', unit: 'count' },
  { key: 'p50', title: 'p50', unit: 'ms' },
  { key: 'p99', title: 'p99', unit: 'ms' },
]

const perCpuSecond = ({ cpuSeconds, ready }: MeasuredConnects): number => ready / cpuSeconds.server

test('revocations', async () => {
  const runs = new Map<string, () => Promise<MeasuredConnects>>()
  for (const count of counts) {
    const { name, ...subject } = await parleyOnRedis(nameOf(count), { revocations: count })
    const plan = { ...subject, issuer: acmeIssuer, channels: 10, channelsEach: 1, channelPrefix: 'kept:' }
    const load = new LoadProcess({ ...plan, subscribers: clients, publishers: 0, connectingMax: 50 })
    await load.connect()
    runs.set(name, async () => {
      await load.disconnect()
      return load.connectAtOnce(50, { recovers: false })
    })
  }
  const comparison = await Comparison.run(runs)
  const rows = comparison.names.map((subject) => ({
    subject,
    values: {
      perSecond: comparison.median(subject, ({ ready, seconds }) => ready / seconds),
      perCpuSecond: comparison.median(subject, perCpuSecond),
      p50: comparison.median(subject, ({ latency }) => latency.p50Ms),
      p99: comparison.median(subject, ({ latency }) => latency.p99Ms),
    },
  }))
  await publishResult('revocations', {
    title: 'Revocations',
    conditions:
      'Each connect verifies an HS256 token with a jti and makes one subscription. A third of the revocations each is of users, of tokens, and of users by time of issue; none of them hits a client.',
    columns,
    groups: [{ title: `${clients.toLocaleString('en-US')} clients, 50 at a time`, rows }],
    targets: [
      {
        metric: `${withAll}: connects per CPU-second, relative to ${without}`,
        value: comparison.ratio(withAll, without, perCpuSecond),
        required: 0.95,
        is: 'atLeast',
      },
    ],
  })
  for (const name of comparison.names)
    for (const report of comparison.reports(name)) expect(report.failures).toEqual({})
})
