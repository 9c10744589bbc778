// A thousand clients while gateways are added and removed by the HPA, a rollout, a kill and a drain. Each
// test continues from the state of the previous one.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { KubeObject } from '../support/kube-client.js'
import { eventually, get, kubectl } from './cluster.js'
import { ClientGroup } from './client-group.js'
import { recordMeasurement, reportResumption, recordDuration } from './measurements.js'
import {
  expectPods,
  freshInstall,
  inNamespace,
  killPod,
  pods,
  readyPods,
  release,
  uninstallAll,
  rolloutDeadlineMs,
  serviceUrl,
} from './installation.js'
import { createTenants } from './tenants.js'

const gatewaysMax = 4
/**
 * The publishers add a few connections. All of them need four gateways, because three would have more than
 * 280 each.
 */
const clients = 1_000
/** One gateway is sufficient for these. */
const clientsLeft = 200
const deployment = `deployment/${release}-gateway`
const balancedTargetMs = 300_000

let group: ClientGroup

beforeAll(async () => {
  await freshInstall({
    autoscaling: { minReplicas: 1, maxReplicas: gatewaysMax, targetConnections: 280 },
  })
  const [url, tenants] = await Promise.all([serviceUrl(), createTenants()])
  group = await ClientGroup.connect({ url, tenants, clients: 0, rooms: 10, publishesPerSecond: 50 })
})

afterAll(async () => {
  group?.close()
  await uninstallAll()
})

/** The number of connections of each ready gateway, from its metrics. */
async function connections(): Promise<number[]> {
  return Promise.all(
    (await readyPods('gateway')).map(async ({ metadata: { name, namespace } }) => {
      const text = await kubectl([
        'get',
        '--raw',
        `/api/v1/namespaces/${namespace}/pods/${name}:9090/proxy/metrics`,
      ])
      return Number(/^parley_gateway_connections (\d+)$/m.exec(text)?.[1])
    }),
  )
}

/** Expects that publishing works, that all clients are back in their rooms, and that they missed nothing. */
async function expectGroupResumed(name: string): Promise<void> {
  await group.waitForAcksInEachRoom(5, 120_000)
  await group.waitForResumption(120_000)
  await reportResumption(name, group)
  group.expectNoViolations()
}

test('1,000 clients connect: the HPA scales from 1 gateway to 4', async ({ task }) => {
  await expectPods('gateway', 1, rolloutDeadlineMs)
  const sinceMs = performance.now()
  await group.add(clients)
  await recordDuration(task.name, 'all in their rooms', { sinceMs })
  await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
  await recordDuration(task.name, 'four gateways ready', { sinceMs })
  group.expectNoViolations()
})

test('rebalancing reduces the fullest gateway to 1.25 times the mean', async ({ task }) => {
  const sinceMs = performance.now()
  const fullest = async () => {
    const counts = await connections()
    expect(counts).toHaveLength(gatewaysMax)
    return (Math.max(...counts) * gatewaysMax) / counts.reduce((sum, one) => sum + one, 0)
  }
  await recordMeasurement({
    test: task.name,
    what: 'fullest / mean before',
    value: Number((await fullest()).toFixed(2)),
  })
  await eventually('balanced gateways', async () => (await fullest()) < 1.25, balancedTargetMs * 2)
  await recordDuration(task.name, 'balanced', { sinceMs, targetMs: balancedTargetMs })
  await reportResumption(task.name, group)
  group.expectNoViolations()
})

test('a rollout replaces all gateways while clients are connected', async ({ task }) => {
  const before = new Set((await readyPods('gateway')).map(({ metadata }) => metadata.name))
  group.resetResumption()
  const sinceMs = performance.now()
  await kubectl(['rollout', 'restart', deployment, ...inNamespace])
  await kubectl(['rollout', 'status', deployment, ...inNamespace, `--timeout=${rolloutDeadlineMs / 1_000}s`])
  const after = await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
  await recordDuration(task.name, 'all replaced', { sinceMs })
  expect(after.filter(({ metadata }) => before.has(metadata.name))).toEqual([])
  await expectGroupResumed(task.name)
})

test('a gateway pod is deleted with grace period 0', async ({ task }) => {
  const [first] = await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
  group.resetResumption()
  await killPod(first)
  await group.waitForLosses(1, 60_000)
  await expectGroupResumed(task.name)
  await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
})

test('a node is drained: the PDB allows the eviction of one gateway at a time', async ({ task }) => {
  const [first] = await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
  const node: string = first?.['spec'].nodeName
  const evicted = (await readyPods('gateway')).filter(({ spec }) => spec.nodeName === node)
  group.resetResumption()
  const draining = kubectl([
    ...[
      'drain',
      node,
      `--pod-selector=app.kubernetes.io/instance=${release},app.kubernetes.io/component=gateway`,
    ],
    ...['--ignore-daemonsets', '--delete-emptydir-data', `--timeout=${rolloutDeadlineMs / 1_000}s`],
  ])
  let fewest = gatewaysMax
  const watching = new AbortController()
  const watch = async () => {
    while (!watching.signal.aborted) {
      fewest = Math.min(fewest, (await readyPods('gateway')).length)
      await sleep(500)
    }
  }
  const watched = watch()
  try {
    await eventually('a cordoned node', async () => (await get(`node/${node}`))['spec'].unschedulable, 60_000)
    // The drain continues after the uncordon. If there is no other node, the replacement pods need this one.
    await kubectl(['uncordon', node])
    await draining
  } finally {
    watching.abort()
    await Promise.allSettled([draining, watched])
    await kubectl(['uncordon', node])
  }
  const after = await expectPods('gateway', gatewaysMax, rolloutDeadlineMs)
  const gone = (pod: KubeObject) => !after.some(({ metadata }) => metadata.name === pod.metadata.name)
  expect(evicted.every(gone)).toBe(true)
  await recordMeasurement({ test: task.name, what: 'fewest ready gateways', value: fewest })
  expect(fewest).toBeGreaterThanOrEqual(gatewaysMax - 1)
  await expectGroupResumed(task.name)
})

test('Prometheus has no metrics of the gateways: nothing is scaled in', async () => {
  const annotate = async (change: string) =>
    kubectl([
      'annotate',
      'pods',
      '--overwrite',
      ...inNamespace,
      '--selector=app.kubernetes.io/component=gateway',
      change,
    ])
  await annotate('prometheus.io/scrape-')
  const hpa = `hpa/${release}-gateway`
  const hasNoMetric = async () =>
    (await get(hpa, ...inNamespace))['status'].conditions.some(
      (one: { type: string; status: string }) => one.type === 'ScalingActive' && one.status === 'False',
    )
  try {
    await eventually('an HPA without its metric', hasNoMetric, 300_000)
    group.keepOnly(clientsLeft)
    // Long enough for the HPA to remove the first two gateways. The test expects that it removes none.
    const untilMs = performance.now() + 150_000
    while (performance.now() < untilMs) {
      expect((await get(deployment, ...inNamespace))['spec'].replicas).toBe(gatewaysMax)
      await sleep(5_000)
    }
  } finally {
    await annotate('prometheus.io/scrape=true')
  }
})

test('most clients have disconnected: the HPA scales from 4 gateways to 1', async ({ task }) => {
  expect(await pods('gateway')).toHaveLength(gatewaysMax)
  group.resetResumption()
  const sinceMs = performance.now()
  await expectPods('gateway', 1, 2 * rolloutDeadlineMs)
  await recordDuration(task.name, 'one gateway left', { sinceMs })
  await expectGroupResumed(task.name)
})

test('in all previous tests, nothing that was acknowledged was lost', async ({ task }) => {
  await group.expectNothingLost()
  expect(group.acked).toBeGreaterThan(0)
  await recordMeasurement({ test: task.name, what: 'messages acknowledged', value: group.acked })
})
