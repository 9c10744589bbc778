// What it costs to come: upgrade, token, subscription. And to come back all at once, with recovery.
import { afterAll, expect, test } from 'vitest'
import { Contest } from './contest.js'
import { Load } from './load.js'
import type { CameReport } from './orders.js'
import { publishResult, type Column } from './results.js'
import { endSubjects, parleyOnRedis, wsFloor } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

const [ours, floor] = ['Parley, Redis and history', 'bare ws'] as const
const [calm, storm] = [2_000, 8_000]
const payloadBytes = 128

const columns: readonly Column[] = [
  { key: 'perCpuSecond', title: 'connects per CPU-second', unit: 'count' },
  { key: 'seconds', title: 'all back', unit: 'seconds' },
  { key: 'p50', title: 'p50', unit: 'ms' },
  { key: 'p99', title: 'p99', unit: 'ms' },
  { key: 'postponed', title: 'told to come later', unit: 'count' },
  { key: 'failed', title: 'refused', unit: 'count' },
  { key: 'recovered', title: 'recovered', unit: 'count' },
]

const perCpuSecond = ({ cpuSeconds, ready }: CameReport): number => ready / cpuSeconds.server

function values(contest: Contest<CameReport>, name: string): Record<string, number> {
  const of = (measure: (report: CameReport) => number): number => contest.median(name, measure)
  return {
    perCpuSecond: of(perCpuSecond),
    seconds: of(({ seconds }) => seconds),
    p50: of(({ latency }) => latency.p50Ms),
    p99: of(({ latency }) => latency.p99Ms),
    postponed: of(({ postponed }) => postponed),
    failed: of(({ failures }) => Object.values(failures).reduce((sum, count) => sum + count, 0)),
    recovered: of(({ recovered }) => recovered),
  }
}

/** Everybody goes, a message is published to each channel, and everybody comes: for the first time, or back with recovery. */
async function coming(
  subscribers: number,
  { arrivingMax, returning }: { arrivingMax: number; returning: boolean },
): Promise<Contest<CameReport>> {
  const turns = new Map<string, () => Promise<CameReport>>()
  for (const { name, ...subject } of [await parleyOnRedis(ours), await wsFloor(floor)]) {
    const visit = { ...subject, issuer: benchIssuer(), channels: 10, channelsEach: 1, channelPrefix: 'kept:' }
    const publishing = new Load({ ...visit, subscribers: 10, publishers: 1, arrivingMax: 1 })
    await publishing.come()
    const load = new Load({ ...visit, subscribers, publishers: 0, arrivingMax: 50 })
    await load.come()
    turns.set(name, async () => {
      await load.vanish()
      const pace = { kind: 'rate', perSecond: 20 } as const
      await publishing.run({ seconds: 1, pace, payloadBytes, drainMs: 20_000 })
      return load.comeAtOnce(arrivingMax, { returning })
    })
  }
  return Contest.held(turns)
}

test('connects', async () => {
  const few = await coming(calm, { arrivingMax: 50, returning: false })
  await endSubjects()
  const all = await coming(storm, { arrivingMax: storm, returning: true })
  const rows = (contest: Contest<CameReport>) =>
    contest.names.map((subject) => ({ subject, values: values(contest, subject) }))
  await publishResult('connects', {
    title: 'Connects',
    conditions:
      'An HS256 token checked and one subscription; in the storm with recovery of what was missed. The bare ws server only accepts.',
    columns,
    groups: [
      { title: `${calm.toLocaleString('en-US')}, 50 at a time`, rows: rows(few) },
      { title: `${storm.toLocaleString('en-US')} at once`, rows: rows(all) },
    ],
    bars: [
      {
        what: 'connects per CPU-second to bare ws',
        value: few.ratio(ours, floor, perCpuSecond),
        wanted: 0.4,
        is: 'atLeast',
      },
      {
        what: 'a storm: time to bare ws',
        value: all.ratio(ours, floor, ({ seconds }) => seconds),
        wanted: 2.5,
        is: 'atMost',
      },
    ],
  })
  for (const report of [...few.reports(ours), ...all.reports(ours)]) expect(report.failures).toEqual({})
  for (const report of all.reports(ours)) expect(report.recovered).toBe(report.ready)
})
