// Measures how long a change that takes rights away needs until it is in the catalog, while another namespace
// floods the controller, and the same change without the flood. A bare loop shows how much of that is the API
// server, whose watch falls behind when its processors are busy. Printed, not asserted.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { KubeClient, KubeObject } from '../../test/support/kube-client.js'
import type { Program } from '../../test/support/child-process.js'
import { each, quantile, range } from './measuring.js'
import { namespace as flooding, Rig, usageOf } from './rig.js'

const flood = Number(process.env['PARLEY_BENCH_FLOOD'] ?? 0)
const quietRounds = 30
/** The tenants of the other namespace, which take turns. */
const tenants = 8
const roundsMax = 400
const other = 'other'
const apiVersion = 'parley.chat/v1alpha1'

let rig: Rig
let client: KubeClient
let leader: Program

beforeAll(async () => {
  rig = await Rig.start()
  await rig.startGateways(2)
  leader = await rig.startController('one')
  await rig.startBaseline()
  client = rig.ownClient()
  await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: other } })
  await client.create({ apiVersion, kind: 'ChatPlan', metadata: { name: other }, spec: {} })
  for (let index = 0; index < tenants; index += 1) {
    const { spec, ...tenant } = rig.tenantOf(nameOf(index), 'B', other)
    await client.create({ ...tenant, spec: { ...(spec as object), planRef: { name: other } } })
  }
  await rig.shown(() => rig.tenants.size === tenants)
  await rig.shown(() => [...rig.tenants.keys()].every((name) => rig.programmed(name, 1)))
})
afterAll(() => rig.stop())

const rows: string[] = []
afterAll(() => {
  console.log('\n| change of another namespace, until it is in the catalog | count | p50 | p99 | max |')
  console.log('| --- | ---: | ---: | ---: | ---: |')
  for (const line of rows) console.log(line)
})

const nameOf = (index: number): string => `b${index}`
const refTo = (name: string, kind = 'ChatTenant', ns = other) => ({ apiVersion, kind, namespace: ns, name })

const lobby = (grants: object[]) => ({
  spec: { channels: [{ name: 'general', match: { type: 'Literal', value: 'general' }, grants }] },
})
const allow = { operations: ['Subscribe', 'Publish'], subjects: [{ authenticated: true }] }
const deny = { effect: 'Deny', operations: ['Publish'], subjects: [{ users: ['eve'] }] }

type Change =
  | 'a Deny is added'
  | 'the tenant is suspended'
  | 'an API key is deleted'
  | 'a signing key is deleted'
const kinds = [
  'a Deny is added',
  'the tenant is suspended',
  'an API key is deleted',
  'a signing key is deleted',
] as const

/** Makes the change of tenant `name`, and returns the function that undoes it. */
async function make(change: Change, name: string): Promise<() => Promise<unknown>> {
  switch (change) {
    case 'a Deny is added':
      await client.patch(refTo(name), lobby([allow, deny]))
      return () => client.patch(refTo(name), lobby([allow]))
    case 'the tenant is suspended':
      await client.patch(refTo(name), { spec: { suspend: true } })
      return () => client.patch(refTo(name), { spec: { suspend: false } })
    case 'an API key is deleted':
      await client.delete(refTo(`${name}-key`, 'ChatCredential'))
      return async () => {}
    case 'a signing key is deleted':
      await client.delete({ apiVersion: 'v1', kind: 'Secret', namespace: other, name: `${name}-credentials` })
      return async () => {}
  }
}

class Latencies {
  readonly #catalog = new Map<Change, number[]>()
  readonly #answer: number[] = []
  readonly #baseline: number[] = []
  readonly #beyond: number[] = []

  /** Makes each kind of change once, with the tenant `index`. */
  async round(index: number): Promise<void> {
    const name = nameOf(index % tenants)
    for (const change of kinds) {
      if (change === 'an API key is deleted') {
        // The Secret of a deleted credential stays, because this server has no garbage collector.
        const importSecretRef = { name: `${name}-import`, key: 'api-key' }
        await settled(name, () => client.create(credential(name, { importSecretRef })))
      }
      const before = await rig.stampOf(name, other)
      const { metadata } = await client.get(refTo(name))
      const startMs = performance.now()
      const recorded = rig.recorded(name, before, other)
      // The deletion of a key changes no ChatTenant.
      const edits = change === 'a Deny is added' || change === 'the tenant is suspended'
      const baselineSaw = edits && rig.baselineSaw(name, Number(metadata['generation']) + 1)
      const undo = await make(change, name)
      this.#answer.push(performance.now() - startMs)
      const known = this.#catalog.get(change) ?? []
      this.#catalog.set(change, known)
      const recordedMs = await recorded
      known.push(recordedMs - startMs)
      if (!baselineSaw) continue
      const seenMs = await baselineSaw
      this.#baseline.push(seenMs - startMs)
      this.#beyond.push(Math.max(0, recordedMs - seenMs))
      await settled(name, undo)
    }
  }

  addRows(when: string): void {
    for (const [change, ms] of this.#catalog) rows.push(row(`${change}, ${when}`, ms))
    rows.push(row(`(a bare loop sees the first two, ${when})`, this.#baseline))
    rows.push(row(`(the first two, after the bare loop has seen them, ${when})`, this.#beyond))
    rows.push(row(`(the answer of the API server, ${when})`, this.#answer))
  }
}

function credential(name: string, spec: object): KubeObject {
  return {
    apiVersion,
    kind: 'ChatCredential',
    metadata: { name: `${name}-key`, namespace: other },
    spec: { tenantRef: { name }, ...spec },
  }
}

/** Makes a change, and waits until it is in the catalog. */
async function settled(name: string, change: () => Promise<unknown>): Promise<void> {
  const recorded = rig.recorded(name, await rig.stampOf(name, other), other)
  await change()
  await recorded
}

function row(label: string, ms: readonly number[]): string {
  const sorted = ms.toSorted((a, b) => a - b)
  const cells = [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0].map(
    (value) => `${value.toFixed(0)} ms`,
  )
  return `| ${[label, sorted.length, ...cells].join(' | ')} |`
}

/** Measures rounds until `work` has ended, and then prints them. */
async function measureDuring(when: string, work: Promise<unknown>): Promise<void> {
  const latencies = new Latencies()
  const startMs = performance.now()
  const state = { ended: false }
  const { cpuSeconds } = usageOf(leader)
  const watched = work.then(() => (state.ended = true))
  for (let index = 0; index < roundsMax && !state.ended; index += 1) await latencies.round(index)
  await watched
  const seconds = (performance.now() - startMs) / 1000
  const cores = (usageOf(leader).cpuSeconds - cpuSeconds) / seconds
  latencies.addRows(`${when} (${seconds.toFixed(0)} s, ${cores.toFixed(1)} cores)`)
}

const floodNames = range(0, flood).map((index) => `a${String(index).padStart(5, '0')}`)

const floodProgrammed = (generation: number) =>
  rig.shown(() => floodNames.every((name) => rig.programmed(name, generation)))

test(`one namespace creates, suspends and edits ${flood} tenants, while another one takes rights away`, async () => {
  for (let index = 0; index < tenants; index += 1) {
    const key = Buffer.from(`pk_${'x'.repeat(40)}${index}`).toString('base64')
    const metadata = {
      name: `${nameOf(index)}-import`,
      namespace: other,
      labels: { 'parley.chat/secret': 'import' },
    }
    await client.create({ apiVersion: 'v1', kind: 'Secret', metadata, data: { 'api-key': key } })
  }
  const quiet = new Latencies()
  for (let index = 0; index < quietRounds; index += 1) await quiet.round(index)
  quiet.addRows('quiet')

  const create = async () => {
    await each(floodNames, (name) => rig.client.create(rig.tenantOf(name, 'A')))
    await floodProgrammed(1)
  }
  await measureDuring(`while A creates ${flood} tenants`, create())
  const suspend = async () => {
    await each(floodNames, (name) =>
      rig.client.patch(refTo(name, 'ChatTenant', flooding), { spec: { suspend: true } }),
    )
    await floodProgrammed(2)
  }
  await measureDuring(`while A suspends ${flood} tenants`, suspend())
  const plan = async () => {
    const ref = { apiVersion, kind: 'ChatPlan', name: 'bench' }
    await rig.client.patch(ref, { spec: { limits: { connections: { max: 50 } } } })
    const lowered = (tenant: KubeObject) => tenant.metadata.namespace === other || limitOf(tenant) === 50
    await rig.shown(() => [...rig.tenants.values()].every(lowered))
  }
  await measureDuring(`while the plan of ${flood} tenants is lowered`, plan())
  expect(rig.tenants.size).toBe(flood + tenants)
})

function limitOf({ status }: KubeObject): unknown {
  return status?.effective?.limits?.connections?.max
}
