// Measures whether a delivery costs more with more connections, channels or tenants. The publications and
// deliveries are the same among few and among many.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import { deliveryColumns, deliveryValues, lostOf, perCpuSecond } from './delivery.js'
import { LoadProcess } from './load-process.js'
import type { MeasuredRound, LoadPlan } from './load-commands.js'
import { publishResult, type Target } from './results.js'
import { endSubjects, parleyOnRedis, wsBaseline, type Subject } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

type Size = Pick<LoadPlan, 'subscribers' | 'channels' | 'channelsEach' | 'publishers' | 'tenants'>

/**
 * In both sizes of a pair, a publication reaches the same number of subscribers. Only the number of others
 * differs.
 */
const sizes: Readonly<Record<string, readonly [Size, Size]>> = {
  connections: [
    { subscribers: 100, channels: 10, channelsEach: 1, publishers: 10, tenants: 1 },
    { subscribers: 16_000, channels: 1_600, channelsEach: 1, publishers: 10, tenants: 1 },
  ],
  channels: [
    { subscribers: 1_000, channels: 100, channelsEach: 1, publishers: 10, tenants: 1 },
    { subscribers: 1_000, channels: 10_000, channelsEach: 100, publishers: 10, tenants: 1 },
  ],
  tenants: [
    { subscribers: 2_000, channels: 2_000, channelsEach: 1, publishers: 2_000, tenants: 1 },
    { subscribers: 2_000, channels: 2_000, channelsEach: 1, publishers: 2_000, tenants: 2_000 },
  ],
}
const perSecond = 1_000
const payloadBytes = 128

const countOf = (what: string, size: Size): string =>
  `${size[what === 'connections' ? 'subscribers' : (what as keyof Size)].toLocaleString('en-US')} ${what}`

/**
 * For connections, the bare loop is measured too, since the kernel’s cost of more sockets applies to both.
 */
async function compared(what: string, pair: readonly [Size, Size]): Promise<Comparison<MeasuredRound>> {
  const runs = new Map<string, () => Promise<MeasuredRound>>()
  const addRun = async (subject: Subject, size: Size): Promise<void> => {
    const options = { issuer: acmeIssuer, channelPrefix: 'kept:', connectingMax: 50 }
    const load = new LoadProcess({ ...subject, ...size, ...options })
    await load.connect()
    const pace = { kind: 'rate', perSecond } as const
    runs.set(subject.name, () => load.run({ seconds: 3, pace, payloadBytes, drainMs: 60_000 }))
  }
  for (const size of pair)
    await addRun(await parleyOnRedis(countOf(what, size), { tenants: size.tenants }), size)
  if (what === 'connections')
    for (const size of pair) await addRun(await wsBaseline(`bare ws loop, ${countOf(what, size)}`), size)
  const comparison = await Comparison.run(runs)
  await endSubjects()
  return comparison
}

test('growth', async () => {
  const groups: { title: string; rows: { subject: string; values: Record<string, number> }[] }[] = []
  const targets: Target[] = []
  for (const [what, pair] of Object.entries(sizes)) {
    const comparison = await compared(what, pair)
    const [few = '', many = ''] = comparison.names
    const rows = comparison.names.map((subject) => ({ subject, values: deliveryValues(comparison, subject) }))
    groups.push({ title: what, rows })
    const value = comparison.ratio(many, few, perCpuSecond)
    targets.push({
      metric: `${many}: deliveries per CPU-second, relative to ${few}`,
      value,
      required: 0.9,
      is: 'atLeast',
    })
    for (const name of comparison.names)
      expect(comparison.reports(name).map((report) => lostOf(report, pair[0].subscribers))).not.toContain(
        true,
      )
  }
  await publishResult('growth', {
    title: 'Growth',
    conditions: `${perSecond} publications/s, ${payloadBytes} bytes, Redis and history; a publication reaches the same number of subscribers in both sizes of a pair.`,
    columns: deliveryColumns,
    groups,
    targets,
  })
})
