// Measures the controller between a real API server and a real Redis, and a bare loop in the same run. The
// figures are printed, not asserted. Only what would make them worthless is asserted.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Program } from '../../test/support/child-process.js'
import { until } from '../../test/support/redis-processes.js'
import { each, quantile, range } from './measuring.js'
import { namespace, Rig, usageOf } from './rig.js'

const envNumber = (name: string): number => Number(process.env[`PARLEY_BENCH_${name}`] ?? 0)
const [tenants, idleTenants] = [envNumber('TENANTS'), envNumber('IDLE_TENANTS')]
const [edits, idleMinutes] = [envNumber('EDITS'), envNumber('IDLE_MINUTES')]
const burst = 500
const gateways = 2

let rig: Rig
let leader: Program

beforeAll(async () => {
  rig = await Rig.start()
  await rig.startGateways(gateways)
  leader = await rig.startController('one')
})
afterAll(() => rig.stop())

const rows: string[][] = []
afterAll(() => {
  console.log('\n| what | p50 | p99 | max | target |\n| --- | ---: | ---: | ---: | --- |')
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
})

const nameOf = (index: number): string => `t${String(index).padStart(5, '0')}`
const refTo = (name: string) => ({
  apiVersion: 'parley.chat/v1alpha1',
  kind: 'ChatTenant',
  namespace,
  name,
})

async function createTenantsUpTo(count: number): Promise<void> {
  await each(range(rig.tenants.size, count), (index) =>
    rig.client.create(rig.tenantOf(nameOf(index), 'first')),
  )
  await rig.shown(() => rig.tenants.size === count)
  await rig.shown(() => [...rig.tenants.keys()].every((name) => rig.programmed(name, 1)))
}

function addRow(label: string, ms: readonly number[], target: string): { p50: number; p99: number } {
  const sorted = ms.toSorted((a, b) => a - b)
  const [p50, p99, max] = [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0]
  rows.push([label, ...[p50, p99, max].map((value) => `${value.toFixed(1)} ms`), target])
  return { p50, p99 }
}

test(`one edit at a time, ${tenants} tenants`, async () => {
  await createTenantsUpTo(tenants)
  const baseline = await rig.startBaseline()
  const [recorded, baselineMs, programmed]: [number[], number[], number[]] = [[], [], []]
  for (let edit = 0; edit < edits; edit += 1) {
    const name = nameOf((edit * 7) % tenants)
    const generation = Number(rig.tenants.get(name)?.metadata['generation']) + 1
    const before = await rig.stampOf(name)
    const baselineSaw = rig.baselineSaw(name, generation)
    const startMs = performance.now()
    const [, recordedMs, baselineSeenMs, programmedMs] = await Promise.all([
      rig.client.patch(refTo(name), { spec: { displayName: `edit ${edit}` } }),
      rig.recorded(name, before),
      baselineSaw,
      rig.shown(() => rig.programmed(name, generation)),
    ])
    recorded.push(recordedMs - startMs)
    baselineMs.push(baselineSeenMs - startMs)
    programmed.push(programmedMs - startMs)
  }
  await baseline.kill()
  const ours = addRow('edit to catalog', recorded, 'p50 < 25 ms, p99 < 75 ms')
  const bare = addRow('the same edit to a Redis key, by the bare loop', baselineMs, 'the baseline')
  const [p50, p99] = [ours.p50 / bare.p50, ours.p99 / bare.p99]
  rows.push(['relative to the baseline', p50.toFixed(2), p99.toFixed(2), '', '≤ 3'])
  addRow('edit to Programmed on both gateways', programmed, 'p99 < 1,000 ms')
  expect(rig.tenants.size).toBe(tenants)
})

test(`${burst} tenants at once`, async () => {
  const others = rig.tenants.size
  const indices = range(others, others + burst)
  const all = (generation: number) => (): boolean =>
    indices.every((index) => rig.programmed(nameOf(index), generation))
  const startMs = performance.now()
  await each(indices, (index) => rig.client.create(rig.tenantOf(nameOf(index), 'first')))
  const createdMs = await rig.shown(all(1))
  await each(indices, (index) => rig.client.patch(refTo(nameOf(index)), { spec: { displayName: 'second' } }))
  const modifiedMs = await rig.shown(all(2))
  await each(indices, (index) => rig.client.delete(refTo(nameOf(index))))
  const deletedMs = await rig.catalogHolds(others)
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
  rows.push([
    `create, modify, delete ${burst} tenants, each step until it is in effect (${seconds(createdMs - startMs)} + ${seconds(modifiedMs - createdMs)} + ${seconds(deletedMs - modifiedMs)})`,
    '',
    '',
    seconds(deletedMs - startMs),
    '< 60 s',
  ])
  expect(await rig.catalogSize()).toBe(others)
})

/** Returns the number of writes that the API server processed, by verb and resource. */
async function writes(): Promise<Map<string, number>> {
  const { body } = await rig.client.request('GET', '/metrics')
  const counts = new Map<string, number>()
  for (const line of String(body['text']).split('\n')) {
    const match = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line)
    if (!match) continue
    const [, labels = '', value = '0'] = match
    const label = (name: string): string => new RegExp(`[,{]?${name}="([^"]*)"`).exec(labels)?.[1] ?? ''
    if (!/^(POST|PUT|PATCH|DELETE|APPLY)$/.test(label('verb'))) continue
    const name = `${label('verb')} ${label('resource')}${label('subresource') && `/${label('subresource')}`}`
    counts.set(name, (counts.get(name) ?? 0) + Number(value))
  }
  return counts
}

test(`${idleTenants} tenants, idle for ${idleMinutes} minutes`, async () => {
  await createTenantsUpTo(idleTenants)
  // The last writes still cause updates of status and events.
  await new Promise((resolve) => setTimeout(resolve, 45_000))
  const [before, used] = [await writes(), usageOf(leader)]
  const startMs = performance.now()
  let rssMaxMiB = 0
  while (performance.now() - startMs < idleMinutes * 60_000) {
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    rssMaxMiB = Math.max(rssMaxMiB, usageOf(leader).rssMiB)
  }
  const seconds = (performance.now() - startMs) / 1000
  const cores = (usageOf(leader).cpuSeconds - used.cpuSeconds) / seconds
  const after = await writes()
  const writesMade = [...after].flatMap(([name, count]) => {
    const more = count - (before.get(name) ?? 0)
    return more > 0 ? [`${name} × ${more}`] : []
  })
  rows.push([`CPU with ${idleTenants} idle tenants`, '', '', `${cores.toFixed(4)} cores`, '< 0.05 cores'])
  rows.push([`memory with ${idleTenants} idle tenants`, '', '', `${rssMaxMiB.toFixed(0)} MiB`, '< 256 MiB'])
  rows.push([`API writes meanwhile: ${writesMade.join(', ') || 'none'}`, '', '', '', 'Lease renewals alone'])
  expect(rig.tenants.size).toBe(idleTenants)
}, 7_200_000)

/** Returns the time from the signal until an edit that was made right after it is in the catalog. */
async function takeoverMs(signal: 'SIGTERM' | 'SIGKILL', successor: string): Promise<number> {
  const standby = await rig.startController(successor)
  const name = nameOf(0)
  const before = await rig.stampOf(name)
  const startMs = performance.now()
  leader.signal(signal)
  await rig.client.patch(refTo(name), { spec: { displayName: `after ${signal} ${successor}` } })
  const recordedMs = await rig.recorded(name, before)
  await until('the end of the former leader', async () => {
    await leader.ended
    return true
  })
  leader = standby
  return recordedMs - startMs
}

test('the leader is stopped', async () => {
  const afterSigtermMs = await takeoverMs('SIGTERM', 'two')
  const afterSigkillMs = await takeoverMs('SIGKILL', 'three')
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
  rows.push(['an edit after SIGTERM of the leader, to catalog', '', '', seconds(afterSigtermMs), '< 3 s'])
  rows.push([
    'an edit after SIGKILL of the leader, to catalog',
    '',
    '',
    seconds(afterSigkillMs),
    '< 17 s (lease 15 s)',
  ])
  expect(rig.tenants.size).toBe(idleTenants)
})
