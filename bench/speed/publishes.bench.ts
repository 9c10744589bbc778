// What a publish costs until it is acknowledged, with nobody listening: on the master, on a majority, and by a bare ioredis loop.
import { afterAll, expect, test } from 'vitest'
import { Contest } from './contest.js'
import { Load } from './load.js'
import { publishResult, type Column } from './results.js'
import { endSubjects, ioredisFloor, parleyOnRedis } from './subjects.js'
import { benchIssuer } from './tenants.js'

afterAll(endSubjects)

const clients = 64
/** Of each client: enough that groups fill by themselves. */
const inFlight = 8
const seconds = 3
const payloadBytes = 128
const [replicated, accepted, floor] = [
  'Parley, replicated',
  'Parley, accepted',
  'ioredis: XADD, WAIT, PUBLISH',
] as const

interface Published {
  readonly perSecond: number
  readonly perCpuSecond: number
  /** Of the acknowledgement; the loop has none. */
  readonly p50Ms?: number
  readonly p99Ms?: number
  readonly refused: number
  readonly redisPerCpuSecond?: number
}

const columns: readonly Column[] = [
  { key: 'perSecond', title: 'publishes/s', unit: 'count' },
  { key: 'perCpuSecond', title: 'publishes per CPU-second', unit: 'count' },
  { key: 'p50Ms', title: 'ack p50', unit: 'ms' },
  { key: 'p99Ms', title: 'ack p99', unit: 'ms' },
  { key: 'refused', title: 'refused', unit: 'count' },
]

/** One gateway for both: the durability is its channels'. */
async function parley(): Promise<Map<string, () => Promise<Published>>> {
  const subject = await parleyOnRedis('the gateway', { trio: true })
  const turns = new Map<string, () => Promise<Published>>()
  for (const [name, channelPrefix] of [
    [replicated, 'replicated:'],
    [accepted, 'accepted:'],
  ] as const) {
    const nobody = { subscribers: 0, channels: 10, channelsEach: 1, channelPrefix }
    const load = new Load({
      ...subject,
      ...nobody,
      issuer: benchIssuer(),
      publishers: clients,
      arrivingMax: 50,
    })
    await load.come()
    turns.set(name, async () => {
      const pace = { kind: 'inFlight', each: inFlight } as const
      const ran = await load.run({ seconds, pace, payloadBytes, drainMs: 20_000 })
      const { answer, answered, cpuSeconds, refusals } = ran
      const refused = Object.values(refusals).reduce((sum, count) => sum + count, 0)
      return {
        perSecond: (answered - refused) / ran.seconds,
        perCpuSecond: (answered - refused) / cpuSeconds.server,
        p50Ms: answer.p50Ms,
        p99Ms: answer.p99Ms,
        refused,
      }
    })
  }
  return turns
}

async function loop(): Promise<() => Promise<Published>> {
  const { program } = await ioredisFloor(payloadBytes)
  let runs = 0
  return async () => {
    const nth = runs
    runs += 1
    program.tell(JSON.stringify({ inFlight: clients * inFlight, replicas: 1, seconds }))
    const {
      cpuSeconds,
      published,
      seconds: took,
    } = await program.saying('its figures', (said) => {
      const line = said.split('\n').slice(0, -1)[nth]
      return line === undefined
        ? undefined
        : (JSON.parse(line) as Record<'cpuSeconds' | 'published' | 'seconds', number>)
    })
    return { perSecond: published / took, perCpuSecond: published / cpuSeconds, refused: 0 }
  }
}

test('publishes', async () => {
  const turns = await parley()
  turns.set(floor, await loop())
  const contest = await Contest.held(turns)
  const value = (subject: string, key: keyof Published): number =>
    contest.median(subject, (report) => report[key] ?? Number.NaN)
  const keys = ['perSecond', 'perCpuSecond', 'p50Ms', 'p99Ms', 'refused'] as const
  await publishResult('publishes', {
    title: 'Publishes',
    conditions: `${clients} clients, ${inFlight} publishes of ${payloadBytes} bytes under way from each, 10 channels with history, a master with two replicas. The loop sends as many in one pipeline.`,
    columns,
    groups: [
      {
        title: `${clients} clients`,
        rows: contest.names.map((subject) => ({
          subject,
          values: Object.fromEntries(
            keys.map((key) => [key, value(subject, key)]).filter(([, median]) => !Number.isNaN(median)),
          ),
        })),
      },
    ],
    bars: [
      {
        what: 'replicated to accepted, throughput',
        value: contest.ratio(replicated, accepted, ({ perSecond }) => perSecond),
        wanted: 0.9,
        is: 'atLeast',
      },
      {
        what: 'replicated to accepted, p50 of the ack',
        value: contest.ratio(replicated, accepted, ({ p50Ms }) => p50Ms ?? Number.NaN),
        wanted: 2,
        is: 'atMost',
      },
      {
        what: 'replicated to the ioredis loop, per CPU-second',
        value: contest.ratio(replicated, floor, ({ perCpuSecond }) => perCpuSecond),
        wanted: 0.5,
        is: 'atLeast',
      },
      {
        what: 'replicated, per CPU-second of the gateway',
        value: value(replicated, 'perCpuSecond'),
        wanted: 20_000,
        is: 'atLeast',
        unit: 'count',
      },
    ],
  })
  expect(value(replicated, 'perSecond')).toBeGreaterThan(0)
})
