// Measures what a delivery costs, from a rate at which each delivery is one write to a rate at which many
// deliveries share a write.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import { deliveryColumns, deliveryValues, lostOf, perCpuSecond } from './delivery.js'
import { LoadProcess } from './load-process.js'
import type { MeasuredRound } from './load-commands.js'
import { publishResult, type Target } from './results.js'
import { endSubjects, parleyInMemory, parleyOnRedis, socketIo, wsBaseline } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const subscribers = 1_000
const channels = 10
const payloadBytes = 128
const [ours, memory, baseline, theirs] = [
  'Parley, Redis and history',
  'Parley, in memory',
  'bare ws loop',
  'Socket.IO, Redis adapter',
] as const

test('fan-out', async () => {
  const subjects = await Promise.all([
    parleyOnRedis(ours),
    parleyInMemory(memory),
    wsBaseline(baseline),
    socketIo(theirs),
  ])
  const plan = { issuer: acmeIssuer, subscribers, publishers: channels, channels, channelsEach: 1 }
  const loads = new Map<string, LoadProcess>()
  for (const { name, ...subject } of subjects) {
    const load = new LoadProcess({ ...subject, ...plan, channelPrefix: 'kept:', connectingMax: 50 })
    await load.connect()
    loads.set(name, load)
  }
  const at = (perSecond: number, seconds: number): Promise<Comparison<MeasuredRound>> => {
    const pace = { kind: 'rate', perSecond: (perSecond * channels) / subscribers } as const
    return Comparison.run(
      new Map(
        [...loads].map(([name, load]) => [
          name,
          () => load.run({ seconds, pace, payloadBytes, drainMs: 120_000 }),
        ]),
      ),
    )
  }
  // The highest rate runs first: V8 compiles rarely used code late, and this way all servers are warm at the
  // lower rates.
  const fast = await at(300_000, 2)
  const middle = await at(100_000, 3)
  const slow = await at(30_000, 4)
  const comparisons = {
    '30,000 deliveries/s': slow,
    '100,000 deliveries/s': middle,
    '300,000 deliveries/s': fast,
  }
  const atLeast = (metric: string, value: number, required: number): Target => ({
    metric,
    value,
    required,
    is: 'atLeast',
  })
  await publishResult('fan-out', {
    title: 'Deliveries',
    conditions: `${subscribers} subscribers on ${channels} channels, ${payloadBytes} bytes each. Medians of the rounds; CPU time is the server’s alone.`,
    columns: deliveryColumns,
    groups: Object.entries(comparisons).map(([title, comparison]) => ({
      title,
      rows: comparison.names.map((subject) => ({ subject, values: deliveryValues(comparison, subject) })),
    })),
    targets: [
      atLeast('30k/s: relative to the bare loop', slow.ratio(ours, baseline, perCpuSecond), 0.9),
      atLeast('30k/s: relative to Socket.IO', slow.ratio(ours, theirs, perCpuSecond), 1.5),
      atLeast('100k/s: relative to the bare loop', middle.ratio(ours, baseline, perCpuSecond), 1.8),
      atLeast('300k/s: relative to the bare loop', fast.ratio(ours, baseline, perCpuSecond), 4),
    ],
  })
  for (const comparison of Object.values(comparisons))
    expect(comparison.reports(ours).map((report) => lostOf(report, subscribers / channels))).not.toContain(
      true,
    )
})
