// Does a delivery cost more where there is more of everything? The same publications and deliveries, among few and among many.
import { afterAll, expect, test } from 'vitest'
import { Contest } from './contest.js'
import { deliveryColumns, deliveryValues, lostOf, perCpuSecond } from './delivery.js'
import { Load } from './load.js'
import type { RanReport, Visit } from './orders.js'
import { publishResult, type Bar } from './results.js'
import { endSubjects, parleyOnRedis, wsFloor, type Subject } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

type Size = Pick<Visit, 'subscribers' | 'channels' | 'channelsEach' | 'publishers' | 'tenants'>

/** Each pair reaches as many subscribers with a publication: what differs is how many others there are. */
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

/** The bare loop stands beside Parley where it has what grows: what a kernel asks for more sockets, it asks of both. */
async function compared(what: string, pair: readonly [Size, Size]): Promise<Contest<RanReport>> {
  const turns = new Map<string, () => Promise<RanReport>>()
  const enter = async (subject: Subject, size: Size): Promise<void> => {
    const crowd = { issuer: benchIssuer(), channelPrefix: 'kept:', arrivingMax: 50 }
    const load = new Load({ ...subject, ...size, ...crowd })
    await load.come()
    const pace = { kind: 'rate', perSecond } as const
    turns.set(subject.name, () => load.run({ seconds: 3, pace, payloadBytes, drainMs: 60_000 }))
  }
  for (const size of pair)
    await enter(await parleyOnRedis(countOf(what, size), { tenants: size.tenants }), size)
  if (what === 'connections')
    for (const size of pair) await enter(await wsFloor(`bare ws loop, ${countOf(what, size)}`), size)
  const contest = await Contest.held(turns)
  await endSubjects()
  return contest
}

test('growth', async () => {
  const groups: { title: string; rows: { subject: string; values: Record<string, number> }[] }[] = []
  const bars: Bar[] = []
  for (const [what, pair] of Object.entries(sizes)) {
    const contest = await compared(what, pair)
    const [few = '', many = ''] = contest.names
    const rows = contest.names.map((subject) => ({ subject, values: deliveryValues(contest, subject) }))
    groups.push({ title: what, rows })
    const value = contest.ratio(many, few, perCpuSecond)
    bars.push({
      what: `${many}: deliveries per CPU-second to those of ${few}`,
      value,
      wanted: 0.9,
      is: 'atLeast',
    })
    for (const name of contest.names)
      expect(contest.reports(name).map((report) => lostOf(report, pair[0].subscribers))).not.toContain(true)
  }
  await publishResult('growth', {
    title: 'Growth',
    conditions: `${perSecond} publications/s, ${payloadBytes} bytes, Redis and history; a publication reaches as many in both of a pair.`,
    columns: deliveryColumns,
    groups,
    bars,
  })
})
