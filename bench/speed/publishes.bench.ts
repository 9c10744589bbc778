// Measures what a publish costs until it is acknowledged, without subscribers: stored on the master,
// confirmed by replicas, and by a bare ioredis loop.
import { afterAll, expect, test } from 'vitest'
import { Comparison } from './comparison.js'
import { LoadProcess } from './load-process.js'
import { publishResult, type Column } from './results.js'
import { endSubjects, ioredisBaseline, parleyOnRedis } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'

afterAll(endSubjects)

const clients = 64
/** Publishes in progress of each client. Enough that groups of writes fill without waiting. */
const inFlight = 8
const seconds = 3
const payloadBytes = 128
const [replicated, accepted, baseline] = [
  'Parley, replicated',
  'Parley, accepted',
  'ioredis: XADD, WAIT, PUBLISH',
] as const

interface PublishFigures {
  readonly perSecond: number
  readonly perCpuSecond: number
  /** Latency of the acknowledgement. Undefined for the loop, which has none. */
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

/** One gateway serves both durabilities, since the durability belongs to the channel. */
async function parleyRuns(): Promise<Map<string, () => Promise<PublishFigures>>> {
  const subject = await parleyOnRedis('the gateway', { sentinels: true })
  const runs = new Map<string, () => Promise<PublishFigures>>()
  for (const [name, channelPrefix] of [
    [replicated, 'replicated:'],
    [accepted, 'accepted:'],
  ] as const) {
    const channels = { subscribers: 0, channels: 10, channelsEach: 1, channelPrefix }
    const load = new LoadProcess({
      ...subject,
      ...channels,
      issuer: acmeIssuer,
      publishers: clients,
      connectingMax: 50,
    })
    await load.connect()
    runs.set(name, async () => {
      const pace = { kind: 'inFlight', perPublisher: inFlight } as const
      const round = await load.run({ seconds, pace, payloadBytes, drainMs: 20_000 })
      const { replyLatency, replied, cpuSeconds, errors } = round
      const refused = Object.values(errors).reduce((sum, count) => sum + count, 0)
      return {
        perSecond: (replied - refused) / round.seconds,
        perCpuSecond: (replied - refused) / cpuSeconds.server,
        p50Ms: replyLatency.p50Ms,
        p99Ms: replyLatency.p99Ms,
        refused,
      }
    })
  }
  return runs
}

async function baselineRun(): Promise<() => Promise<PublishFigures>> {
  const { program } = await ioredisBaseline(payloadBytes)
  let runs = 0
  return async () => {
    const index = runs
    runs += 1
    program.writeLine(JSON.stringify({ inFlight: clients * inFlight, replicas: 1, seconds }))
    const {
      cpuSeconds,
      published,
      seconds: wallSeconds,
    } = await program.waitForOutput('its figures', (output) => {
      const line = output.split('\n').slice(0, -1)[index]
      return line === undefined
        ? undefined
        : (JSON.parse(line) as Record<'cpuSeconds' | 'published' | 'seconds', number>)
    })
    return { perSecond: published / wallSeconds, perCpuSecond: published / cpuSeconds, refused: 0 }
  }
}

test('publishes', async () => {
  const runs = await parleyRuns()
  runs.set(baseline, await baselineRun())
  const comparison = await Comparison.run(runs)
  const value = (subject: string, key: keyof PublishFigures): number =>
    comparison.median(subject, (report) => report[key] ?? Number.NaN)
  const keys = ['perSecond', 'perCpuSecond', 'p50Ms', 'p99Ms', 'refused'] as const
  await publishResult('publishes', {
    title: 'Publishes',
    conditions: `${clients} clients, ${inFlight} publishes of ${payloadBytes} bytes in progress from each, 10 channels with history, a master with two replicas. The loop sends the same number in one pipeline.`,
    columns,
    groups: [
      {
        title: `${clients} clients`,
        rows: comparison.names.map((subject) => ({
          subject,
          values: Object.fromEntries(
            keys.map((key) => [key, value(subject, key)]).filter(([, median]) => !Number.isNaN(median)),
          ),
        })),
      },
    ],
    targets: [
      {
        metric: 'replicated: throughput, relative to accepted',
        value: comparison.ratio(replicated, accepted, ({ perSecond }) => perSecond),
        required: 0.9,
        is: 'atLeast',
      },
      {
        metric: 'replicated: p50 of the ack, relative to accepted',
        value: comparison.ratio(replicated, accepted, ({ p50Ms }) => p50Ms ?? Number.NaN),
        required: 2,
        is: 'atMost',
      },
      {
        metric: 'replicated: publishes per CPU-second, relative to the ioredis loop',
        value: comparison.ratio(replicated, baseline, ({ perCpuSecond }) => perCpuSecond),
        required: 0.5,
        is: 'atLeast',
      },
      {
        metric: 'replicated: publishes per CPU-second of the gateway',
        value: value(replicated, 'perCpuSecond'),
        required: 20_000,
        is: 'atLeast',
        unit: 'count',
      },
    ],
  })
  expect(value(replicated, 'perSecond')).toBeGreaterThan(0)
})
