// A release is upgraded under a crowd, uninstalled, and installed again.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { get, helm, kubectl, list } from './cluster.js'
import { Crowd } from './crowd.js'
import { reportResumption } from './figures.js'
import {
  chart,
  clear,
  expectPods,
  inside,
  install,
  readyPods,
  release,
  removeAll,
  rolloutDeadlineMs,
  serviceUrl,
  type Component,
} from './installation.js'
import { makeTenants, tenantNamespaces, type Tenant } from './tenants.js'

const values = { autoscaling: { provider: 'none' }, gateway: { replicas: 2 } }
let crowd: Crowd
let tenants: Tenant[]

afterAll(async () => {
  crowd?.disperse()
  await removeAll()
})

const uidsOf = async (component: Component) =>
  (await readyPods(component)).map(({ metadata }) => String(metadata['uid'])).toSorted()

test('the release is upgraded from the previous version under a crowd', async ({ task }) => {
  // None was released yet: it is this chart under a lower number.
  const folder = await mkdtemp(join(tmpdir(), 'parley-e2e-'))
  try {
    await helm(['package', chart, '--version=0.0.1', '--app-version=0.0.1', `--destination=${folder}`])
    await clear()
    await install({ from: join(folder, 'parley-0.0.1.tgz'), values: [values] })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  tenants = await makeTenants()
  const url = await serviceUrl()
  crowd = await Crowd.gather({ url, tenants, fans: 100, rooms: 3, publishesPerSecond: 30 })
  const before = await Promise.all([uidsOf('gateway'), uidsOf('controller'), uidsOf('redis')])
  crowd.forgetResumes()

  await install({ values: [values, { gateway: { logLevel: 'debug' } }] })
  await expectPods('gateway', 2, rolloutDeadlineMs)
  const [gateways, controllers, redis] = await Promise.all([
    uidsOf('gateway'),
    uidsOf('controller'),
    uidsOf('redis'),
  ])
  // What has changed is replaced, and nothing else.
  expect(gateways.filter((uid) => before[0].includes(uid))).toEqual([])
  expect([controllers, redis]).toEqual([before[1], before[2]])
  await crowd.someAcksEach(5, 120_000)
  await crowd.resumed(120_000)
  await reportResumption(task.name, crowd)
  await crowd.expectNothingLost()
})

/** What the chart, and what it installs, makes. */
const kinds = {
  namespaced:
    'all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,persistentvolumeclaims',
  ofCluster:
    'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions',
}

/** Kubernetes' own in every namespace. */
const everywhere = new Set(['ConfigMap kube-root-ca.crt', 'ServiceAccount default'])

async function leftovers(): Promise<string[]> {
  const found = [
    ...(await list(kinds.namespaced, ...inside)),
    ...(await list(kinds.ofCluster, `--selector=app.kubernetes.io/instance=${release}`)),
  ]
  return found
    .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    .filter((name) => !everywhere.has(name) && !name.startsWith('Event '))
    .toSorted()
}

test('uninstalled, it leaves CRDs, tenants and Secrets; installed again, it goes on', async () => {
  crowd.disperse()
  await helm(['uninstall', release, ...inside, '--wait', '--timeout=300s'])
  await expectPods('gateway', 0, rolloutDeadlineMs)
  expect(await leftovers()).toEqual([
    'CustomResourceDefinition chatcredentials.parley.chat',
    'CustomResourceDefinition chatplans.parley.chat',
    'CustomResourceDefinition chattenants.parley.chat',
    // The controllers' own; nobody holds it.
    `Lease ${release}-controller`,
    `Secret ${release}-redis`,
    `Secret ${release}-sealing-key`,
  ])
  const secretOf = async (ns: string) => (await get('secret/acme-credentials', '--namespace', ns))['data']
  const secrets = await Promise.all(tenantNamespaces.map(secretOf))
  expect(await list('chattenants', '--all-namespaces')).toHaveLength(2)

  await install({ values: [values] })
  await Promise.all(
    tenantNamespaces.map((ns) =>
      kubectl(['wait', '--for=condition=Ready', 'chattenant/acme', '--timeout=120s', '--namespace', ns]),
    ),
  )
  expect(await Promise.all(tenantNamespaces.map(secretOf))).toEqual(secrets)
  // Tokens of before still count.
  crowd = await Crowd.gather({
    url: await serviceUrl(),
    tenants,
    fans: 20,
    rooms: 1,
    publishesPerSecond: 4,
  })
  await crowd.expectNothingLost()
})
