// A release is upgraded while clients are connected, uninstalled, and installed again.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { get, helm, kubectl, list } from './cluster.js'
import { ClientGroup } from './client-group.js'
import { reportResumption } from './measurements.js'
import {
  chart,
  resetNamespaces,
  expectPods,
  inNamespace,
  install,
  readyPods,
  release,
  uninstallAll,
  rolloutDeadlineMs,
  serviceUrl,
  type Component,
} from './installation.js'
import { createTenants, tenantNamespaces, type Tenant } from './tenants.js'

const values = { autoscaling: { provider: 'none' }, gateway: { replicas: 2 } }
let group: ClientGroup
let tenants: Tenant[]

afterAll(async () => {
  group?.close()
  await uninstallAll()
})

const uidsOf = async (component: Component) =>
  (await readyPods(component)).map(({ metadata }) => String(metadata['uid'])).toSorted()

test('the release is upgraded from the previous version while clients are connected', async ({ task }) => {
  // There is no earlier release yet, so this is the same chart with a lower version.
  const folder = await mkdtemp(join(tmpdir(), 'parley-e2e-'))
  try {
    await helm(['package', chart, '--version=0.0.1', '--app-version=0.0.1', `--destination=${folder}`])
    await resetNamespaces()
    await install({ from: join(folder, 'parley-0.0.1.tgz'), values: [values] })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  tenants = await createTenants()
  const url = await serviceUrl()
  group = await ClientGroup.connect({ url, tenants, clients: 100, rooms: 3, publishesPerSecond: 30 })
  const before = await Promise.all([uidsOf('gateway'), uidsOf('controller'), uidsOf('redis')])
  group.resetResumption()

  await install({ values: [values, { gateway: { logLevel: 'debug' } }] })
  await expectPods('gateway', 2, rolloutDeadlineMs)
  const [gateways, controllers, redis] = await Promise.all([
    uidsOf('gateway'),
    uidsOf('controller'),
    uidsOf('redis'),
  ])
  // Only pods whose template changed are replaced.
  expect(gateways.filter((uid) => before[0].includes(uid))).toEqual([])
  expect([controllers, redis]).toEqual([before[1], before[2]])
  await group.waitForAcksInEachRoom(5, 120_000)
  await group.waitForResumption(120_000)
  await reportResumption(task.name, group)
  await group.expectNothingLost()
})

/** The kinds of objects that the chart and its programs create. */
const kinds = {
  namespaced:
    'all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,persistentvolumeclaims',
  clusterScoped:
    'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions',
}

/** Objects that Kubernetes creates in every namespace. */
const standardObjects = new Set(['ConfigMap kube-root-ca.crt', 'ServiceAccount default'])

async function leftovers(): Promise<string[]> {
  const found = [
    ...(await list(kinds.namespaced, ...inNamespace)),
    ...(await list(kinds.clusterScoped, `--selector=app.kubernetes.io/instance=${release}`)),
  ]
  return found
    .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    .filter((name) => !standardObjects.has(name) && !name.startsWith('Event '))
    .toSorted()
}

test('uninstalling keeps CRDs, tenants and Secrets, and a new installation continues with them', async () => {
  group.close()
  await helm(['uninstall', release, ...inNamespace, '--wait', '--timeout=300s'])
  await expectPods('gateway', 0, rolloutDeadlineMs)
  expect(await leftovers()).toEqual([
    'CustomResourceDefinition chatcredentials.parley.chat',
    'CustomResourceDefinition chatplans.parley.chat',
    'CustomResourceDefinition chattenants.parley.chat',
    // The controllers created the Lease; it has no holder any more.
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
  // Tokens from before are still valid.
  group = await ClientGroup.connect({
    url: await serviceUrl(),
    tenants,
    clients: 20,
    rooms: 1,
    publishesPerSecond: 4,
  })
  await group.expectNothingLost()
})
