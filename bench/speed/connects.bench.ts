// Measures what a connect costs (upgrade, token and subscription), and a reconnect of all clients at once
// with recovery.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import { LoadProcess } from './load-process.js'
import type { MeasuredConnects } from './load-commands.js'
import { publishResult, type Column } from './results.js'
import { endSubjects, parleyOnRedis, wsBaseline } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const [ours, baseline] = ['Parley, Redis and history', 'bare ws'] as const
const [batchedClients, stormClients] = [2_000, 8_000]
const payloadBytes = 128

const columns: readonly Column[] = [
  { key: 'perCpuSecond', title: 'connects per CPU-second', unit: 'count' },
  { key: 'seconds', title: 'time to connect all', unit: 'seconds' },
  { key: 'p50', title: 'p50', unit: 'ms' },
  { key: 'p99', title: 'p99', unit: 'ms' },
  { key: 'deferred', title: 'told to retry later', unit: 'count' },
  { key: 'failed', title: 'refused', unit: 'count' },
  { key: 'recovered', title: 'recovered', unit: 'count' },
]

const perCpuSecond = ({ cpuSeconds, ready }: MeasuredConnects): number => ready / cpuSeconds.server

function values(comparison: Comparison<MeasuredConnects>, name: string): Record<string, number> {
  const of = (measure: (report: MeasuredConnects) => number): number => comparison.median(name, measure)
  return {
    perCpuSecond: of(perCpuSecond),
    seconds: of(({ seconds }) => seconds),
    p50: of(({ latency }) => latency.p50Ms),
    p99: of(({ latency }) => latency.p99Ms),
    deferred: of(({ deferred }) => deferred),
    failed: of(({ failures }) => Object.values(failures).reduce((sum, count) => sum + count, 0)),
    recovered: of(({ recovered }) => recovered),
  }
}

/**
 * In each round all clients disconnect, publications go to each channel, and all clients connect: as new
 * clients, or with recovery.
 */
async function connectRuns(
  subscribers: number,
  { connectingMax, recovers }: { connectingMax: number; recovers: boolean },
): Promise<Comparison<MeasuredConnects>> {
  const runs = new Map<string, () => Promise<MeasuredConnects>>()
  for (const { name, ...subject } of [await parleyOnRedis(ours), await wsBaseline(baseline)]) {
    const plan = { ...subject, issuer: acmeIssuer, channels: 10, channelsEach: 1, channelPrefix: 'kept:' }
    const publishing = new LoadProcess({ ...plan, subscribers: 10, publishers: 1, connectingMax: 1 })
    await publishing.connect()
    const load = new LoadProcess({ ...plan, subscribers, publishers: 0, connectingMax: 50 })
    await load.connect()
    runs.set(name, async () => {
      await load.disconnect()
      const pace = { kind: 'rate', perSecond: 20 } as const
      await publishing.run({ seconds: 1, pace, payloadBytes, drainMs: 20_000 })
      return load.connectAtOnce(connectingMax, { recovers })
    })
  }
  return Comparison.run(runs)
}

test('connects', async () => {
  const batched = await connectRuns(batchedClients, { connectingMax: 50, recovers: false })
  await endSubjects()
  const storm = await connectRuns(stormClients, { connectingMax: stormClients, recovers: true })
  const rows = (comparison: Comparison<MeasuredConnects>) =>
    comparison.names.map((subject) => ({ subject, values: values(comparison, subject) }))
  await publishResult('connects', {
    title: 'Connects',
    conditions:
      'Each connect verifies an HS256 token and makes one subscription. In the storm, each client also recovers what it missed. The bare ws server only accepts connections.',
    columns,
    groups: [
      { title: `${batchedClients.toLocaleString('en-US')}, 50 at a time`, rows: rows(batched) },
      { title: `${stormClients.toLocaleString('en-US')} at once`, rows: rows(storm) },
    ],
    targets: [
      {
        metric: 'connects per CPU-second, relative to bare ws',
        value: batched.ratio(ours, baseline, perCpuSecond),
        required: 0.4,
        is: 'atLeast',
      },
      {
        metric: 'storm: time to connect all, relative to bare ws',
        value: storm.ratio(ours, baseline, ({ seconds }) => seconds),
        required: 2.5,
        is: 'atMost',
      },
    ],
  })
  for (const report of [...batched.reports(ours), ...storm.reports(ours)]) expect(report.failures).toEqual({})
  for (const report of storm.reports(ours)) expect(report.recovered).toBe(report.ready)
})
