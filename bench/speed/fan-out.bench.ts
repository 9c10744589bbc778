// What a delivery costs, from a rate at which every one is a write of its own to a rate at which many share one.
import { afterAll, expect, test } from 'vitest'
import { Contest } from './contest.js'
import { deliveryColumns, deliveryValues, lostOf, perCpuSecond } from './delivery.js'
import { Load } from './load.js'
import type { RanReport } from './orders.js'
import { publishResult, type Bar } from './results.js'
import { endSubjects, parleyInMemory, parleyOnRedis, socketIo, wsFloor } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

const subscribers = 1_000
const channels = 10
const payloadBytes = 128
const [ours, memory, floor, theirs] = [
  'Parley, Redis and history',
  'Parley, in memory',
  'bare ws loop',
  'Socket.IO, Redis adapter',
] as const

test('fan-out', async () => {
  const subjects = await Promise.all([
    parleyOnRedis(ours),
    parleyInMemory(memory),
    wsFloor(floor),
    socketIo(theirs),
  ])
  const visit = { issuer: benchIssuer(), subscribers, publishers: channels, channels, channelsEach: 1 }
  const loads = new Map<string, Load>()
  for (const { name, ...subject } of subjects) {
    const load = new Load({ ...subject, ...visit, channelPrefix: 'kept:', arrivingMax: 50 })
    await load.come()
    loads.set(name, load)
  }
  const at = (perSecond: number, seconds: number): Promise<Contest<RanReport>> => {
    const pace = { kind: 'rate', perSecond: (perSecond * channels) / subscribers } as const
    return Contest.held(
      new Map(
        [...loads].map(([name, load]) => [
          name,
          () => load.run({ seconds, pace, payloadBytes, drainMs: 120_000 }),
        ]),
      ),
    )
  }
  // The fastest first: what runs seldom is compiled late, and all servers have run for a while when it counts.
  const fast = await at(300_000, 2)
  const middle = await at(100_000, 3)
  const slow = await at(30_000, 4)
  const contests = {
    '30,000 deliveries/s': slow,
    '100,000 deliveries/s': middle,
    '300,000 deliveries/s': fast,
  }
  const atLeast = (what: string, value: number, wanted: number): Bar => ({
    what,
    value,
    wanted,
    is: 'atLeast',
  })
  await publishResult('fan-out', {
    title: 'Deliveries',
    conditions: `${subscribers} subscribers on ${channels} channels, ${payloadBytes} bytes each. Medians of the rounds; CPU of the server alone.`,
    columns: deliveryColumns,
    groups: Object.entries(contests).map(([title, contest]) => ({
      title,
      rows: contest.names.map((subject) => ({ subject, values: deliveryValues(contest, subject) })),
    })),
    bars: [
      atLeast('30k/s: to the bare loop', slow.ratio(ours, floor, perCpuSecond), 0.9),
      atLeast('30k/s: to Socket.IO', slow.ratio(ours, theirs, perCpuSecond), 1.5),
      atLeast('100k/s: to the bare loop', middle.ratio(ours, floor, perCpuSecond), 1.8),
      atLeast('300k/s: to the bare loop', fast.ratio(ours, floor, perCpuSecond), 4),
    ],
  })
  for (const contest of Object.values(contests))
    expect(contest.reports(ours).map((report) => lostOf(report, subscribers / channels))).not.toContain(true)
})
