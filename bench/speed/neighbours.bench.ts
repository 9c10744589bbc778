// Measures what a well-behaved tenant notices while another tenant uses ten times every quota: one dimension
// at a time, and all at once. The bare ws server runs beside it, because the load uses the same processors.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { GatewayProcess } from '../../test/support/gateway-process.js'
import { acmeIssuer, acmeSecret } from '../../test/support/policies.js'
import { startRedis } from '../../test/support/redis-processes.js'
import {
  dimensions,
  excess,
  neighbourLimits,
  type ProbeCommand,
  type ProbeReport,
  type ProbeTarget,
} from './neighbours.js'
import { publishResult, type Column, type Target } from './results.js'
import { CommandProcess, startScript } from './script.js'
import { endSubjects, wsBaseline } from './subjects.js'
import { TenantFolder } from './tenants.js'

const [same, other, echo] = ['same gateway', 'other gateway', 'bare ws'] as const
const seconds = Number(process.env['PARLEY_BENCH_SECONDS'] ?? 6)
const chosen = (process.env['PARLEY_BENCH_DIMENSIONS'] ?? dimensions.join(',')).split(',')
/** Each limit by its name, so that a page can wrap it. */
const planText = Object.entries(neighbourLimits)
  .flatMap(([group, limits]) =>
    Object.entries(limits).map(([name, value]) => `\`${group}.${name}\` ${String(value)}`),
  )
  .join(', ')
const apiKey = 'a sample key of the benchmark, never in production'

let folder: TenantFolder | undefined

afterAll(async () => {
  await endSubjects()
  await folder?.remove()
})

function writeTenants(): Promise<TenantFolder> {
  const apiVersion = 'parley.chat/v1alpha1'
  const namespace = 'bench'
  const subjects = [{ authenticated: true }]
  const rule = (name: string, fields: object) => ({
    name,
    match: { type: 'Prefix', value: `${name}:` },
    grants: [{ operations: ['Subscribe', 'Publish', 'History', 'Presence'], subjects }],
    ...fields,
  })
  const secret = (name: string, stringData: object) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace, labels: { 'parley.chat/secret': 'import' } },
    stringData,
  })
  const documents = [
    { apiVersion, kind: 'ChatPlan', metadata: { name: 'usual' }, spec: { limits: neighbourLimits } },
    secret('key', { hmac: acmeSecret.toString() }),
    secret('api-key', { 'api-key': apiKey }),
    {
      apiVersion,
      kind: 'ChatCredential',
      metadata: { name: 'backend', namespace },
      spec: {
        tenantRef: { name: 'a' },
        role: 'Admin',
        importSecretRef: { name: 'api-key', key: 'api-key' },
      },
    },
    ...['a', 'b'].map((name) => ({
      apiVersion,
      kind: 'ChatTenant',
      metadata: { name, namespace },
      spec: {
        planRef: { name: 'usual' },
        auth: [{ name: 'main', type: 'SharedKey', keyRef: { name: 'key', key: 'hmac' } }],
        channels: [
          rule('kept', { history: { size: 1000, ttl: '1h' } }),
          rule('ephemeral', {}),
          rule('present', { presence: true, joinLeave: true }),
        ],
      },
    })),
  ]
  return TenantFolder.write(documents)
}

const replyDeadlineMs = 120_000

const columns: readonly Column[] = [
  { key: 'quietP50', title: 'quiet p50', unit: 'ms' },
  { key: 'p50', title: 'p50', unit: 'ms' },
  { key: 'quietP99', title: 'quiet p99', unit: 'ms' },
  { key: 'p99', title: 'p99', unit: 'ms' },
  { key: 'max', title: 'max', unit: 'ms' },
  { key: 'connectP50', title: 'connect p50', unit: 'ms' },
  { key: 'connectP99', title: 'connect p99', unit: 'ms' },
  { key: 'refused', title: 'refused', unit: 'count' },
  { key: 'lost', title: 'lost', unit: 'count' },
]

interface Measured {
  readonly dimension: string
  readonly quiet: readonly ProbeReport[]
  readonly loaded: readonly ProbeReport[]
}

function reportOf(reports: readonly ProbeReport[], name: string): ProbeReport {
  const report = reports.find((one) => one.name === name)
  if (!report) throw new Error(`There is no report of the ${name}`)
  return report
}

/** The figures must stay below a multiple of the quiet run, beyond what the bare server suffers. */
function targetsOf({ dimension, loaded, quiet }: Measured): Target[] {
  const suffered = (quantile: 'p50' | 'p99'): number =>
    Math.max(0, reportOf(loaded, echo)[quantile] - reportOf(quiet, echo)[quantile])
  const target = (name: string, quantile: 'p50' | 'p99', factor: number, plusMs: number): Target => ({
    metric: `${dimension}, ${name}: ${quantile}`,
    value: reportOf(loaded, name)[quantile],
    required: factor * reportOf(quiet, name)[quantile] + plusMs + suffered(quantile),
    is: 'atMost',
    unit: 'ms',
  })
  return [target(same, 'p50', 1.2, 1), target(same, 'p99', 2, 10), target(other, 'p99', 1.2, 5)]
}

test('neighbours', async () => {
  folder = await writeTenants()
  const { path } = folder
  const redis = await startRedis()
  const start = (): Promise<GatewayProcess> =>
    GatewayProcess.start({
      redis: `redis://127.0.0.1:${redis.port}`,
      args: ['--tenants', path],
    })
  const [attacked, neighbour] = [await start(), await start()]
  const targets: ProbeTarget[] = [
    { name: same, kind: 'parley', url: attacked.ws },
    { name: other, kind: 'parley', url: neighbour.ws },
    { name: echo, kind: 'echo', url: (await wsBaseline('the bare server')).url },
  ]
  const probing = new CommandProcess<ProbeCommand>('the neighbour', 'neighbour-probe.mjs')
  const probe = (command: ProbeCommand) => probing.request<ProbeReport[]>(command, replyDeadlineMs)
  await probe({ kind: 'start', issuer: acmeIssuer, targets })
  // V8 compiles during the first round.
  await probe({ kind: 'measure', seconds })
  const rounds: Measured[] = []
  for (const dimension of chosen) {
    const quiet = await probe({ kind: 'measure', seconds })
    const load = startScript('the load', 'neighbour-load.mjs', [
      attacked.ws,
      JSON.stringify(acmeIssuer),
      JSON.stringify({ limits: neighbourLimits, excess, apiKey }),
      dimension,
    ])
    await load.waitForOutput('the attack', (output) => (output.includes('attacking') ? true : undefined))
    await sleep(1_500)
    const loaded = await probe({ kind: 'measure', seconds })
    load.signal('SIGTERM')
    await load.ended
    console.log(dimension, load.output.split('\n').at(-2))
    rounds.push({ dimension, quiet, loaded })
    await sleep(1_500)
  }
  await publishResult('neighbours', {
    title: 'Neighbours',
    conditions: `What tenant B notices while tenant A uses ${excess} times its quotas; 40 messages and 5 connects per second of B at each server, for ${seconds} s. Both tenants have this plan: ${planText}. The load runs on the same processors: the targets allow for what the bare ws server suffers under it.`,
    columns,
    groups: rounds.map(({ dimension, loaded, quiet }) => ({
      title: dimension,
      rows: [same, other, echo].map((name) => {
        const { connectP50, connectP99, lost, max, p50, p99, refused } = reportOf(loaded, name)
        const before = reportOf(quiet, name)
        return {
          subject: name,
          values: {
            quietP50: before.p50,
            quietP99: before.p99,
            ...{ p50, p99, max, connectP50, connectP99, refused, lost },
          },
        }
      }),
    })),
    targets: rounds.flatMap(targetsOf),
  })
  for (const { dimension, loaded } of rounds)
    for (const { closes, lost, name, refused } of loaded)
      expect({ dimension, name, lost, refused, closes }).toEqual({
        ...{ dimension, name, lost: 0, refused: 0, closes: 0 },
      })
})
