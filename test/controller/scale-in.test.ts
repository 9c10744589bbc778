// Before the gateways' autoscaler removes pods, the leader writes the order in which they are deleted. The
// test uses the rights of the chart, a real API server and a real Redis. Nothing scales here: the test writes
// the status of the autoscaler.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { GatewayReport } from '../../src/catalog/heartbeat.js'
import { endControllers, type TestController } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeObject } from '../support/kube-client.js'
import { namespace } from '../support/kube-parley.js'
import { endEnvironments, TestEnvironment } from '../support/reconciled.js'
import { openHeartbeats } from '../support/redis-catalog.js'
import { until } from '../support/redis-processes.js'
import { find, flag, render, type Tree } from '../chart/rendering.js'

const costAnnotation = 'controller.kubernetes.io/pod-deletion-cost'
const leaseRef = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  namespace: 'chat',
  name: 'parley-controller',
}

let environment: TestEnvironment
let kubeconfig: string
let autoscaler: Tree
let container: Tree
/** The open connections of each pod. */
const connections = new Map<string, number>()
const stopping = new AbortController()
const running: Promise<void>[] = []

beforeAll(async () => {
  environment = await TestEnvironment.start({ gateways: 0 })
  const objects = await render({})
  await environment.client.apply(namespace('chat'))
  const access = objects.filter(
    ({ kind, metadata }) =>
      /Role/.test(kind) && metadata.labels['app.kubernetes.io/component'] === 'controller',
  )
  for (const object of access) await environment.client.apply(object)
  autoscaler = find(objects, 'HorizontalPodAutoscaler')
  container = find(objects, 'Deployment', '-controller').spec.template.spec.containers[0]
  const account = find(objects, 'ServiceAccount', '-controller').metadata.name
  kubeconfig = await environment.kube.kubeconfigOfServiceAccount('chat', account)
  // Pods need this service account, and no controller creates it here.
  await environment.client.create({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: 'chat' },
  })
  const { labels } = find(objects, 'Deployment', '-gateway').spec.template.metadata
  for (const name of ['gateway-a', 'gateway-b', 'gateway-c']) {
    await environment.client.create(pod(name, labels))
    await startHeartbeats(name)
  }
  await environment.client.create(pod('another', { app: 'another' }))
}, kubeStartMsMax)
afterAll(async () => {
  stopping.abort()
  await Promise.all(running)
  await endEnvironments()
})

beforeEach(async () => {
  for (const { metadata } of await pods())
    await environment.client.patch(podRef(metadata.name), { metadata: { annotations: null } })
  await environment.client.apply(autoscaler)
  await setAbleToScale('ReadyForNewScale')
})
afterEach(endControllers)

const podRef = (name: string) => ({ apiVersion: 'v1', kind: 'Pod', namespace: 'chat', name })

function pod(name: string, labels: Record<string, string>): KubeObject {
  const spec = { automountServiceAccountToken: false, containers: [{ name: 'c', image: 'i' }] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'chat', labels }, spec }
}

const pods = () => environment.client.list({ apiVersion: 'v1', kind: 'Pod', namespace: 'chat' })

/** Sends the heartbeats of a gateway in that pod. */
async function startHeartbeats(name: string): Promise<void> {
  const { installation, redis } = environment.target
  const report = (): GatewayReport => ({
    version: undefined,
    problems: [],
    connections: connections.get(name) ?? 0,
    ready: true,
    usage: new Map(),
  })
  const place = { url: redis, installation }
  const { heartbeats } = await openHeartbeats(place, { id: `${name}-0f3a2b`, report })
  sendNow.push(() => heartbeats.sendNow())
  running.push(heartbeats.run(stopping.signal))
}
const sendNow: (() => void)[] = []

/** Sets the connections of the gateways, and waits until their heartbeats contain them. */
async function setConnections(counts: Record<string, number>): Promise<void> {
  for (const [name, count] of Object.entries(counts)) connections.set(name, count)
  for (const send of sendNow) send()
  const { client } = await environment.redis()
  await until('the heartbeats', async () => {
    const heartbeats = Object.values(
      await client.hgetall(`parley:{catalog}:${environment.target.installation}:gateways`),
    )
    return Object.values(counts).every((count) =>
      heartbeats.some((text) => text.includes(`"connections":${count},`)),
    )
  })
}

/** Sets the reason of the autoscaler's condition AbleToScale. */
async function setAbleToScale(reason: string): Promise<void> {
  const { apiVersion, kind, metadata } = autoscaler
  const lastTransitionTime = new Date().toISOString()
  await environment.client.apply(
    {
      apiVersion,
      kind,
      metadata: { name: metadata.name, namespace: 'chat' },
      status: {
        desiredReplicas: 3,
        currentMetrics: null,
        conditions: [{ type: 'AbleToScale', status: 'True', reason, lastTransitionTime }],
      },
    },
    { subresource: 'status' },
  )
}

/** Starts a controller with the flags of the chart. */
function start(): TestController {
  const fleet = {
    namespace: 'chat',
    autoscaler: flag(container, 'gateway-hpa') ?? '',
    selector: flag(container, 'gateway-selector') ?? '',
  }
  const lease = { namespace: 'chat', name: flag(container, 'lease-name') ?? '' }
  return environment.controller({ kubeconfig, fleet, lease })
}

async function costs(): Promise<Record<string, string>> {
  const entries = (await pods()).map(({ metadata }): [string, string] => {
    const annotations = (metadata['annotations'] ?? {}) as Record<string, string>
    return [metadata.name, annotations[costAnnotation] ?? '']
  })
  return Object.fromEntries(entries.filter(([, cost]) => cost !== ''))
}

const untilCosts = (expected: Record<string, string>) =>
  until(`the costs ${JSON.stringify(expected)}`, async () => {
    const now = await costs()
    return JSON.stringify(now) === JSON.stringify(expected)
  }).catch((error: unknown) => {
    throw new Error(environment.errorLog, { cause: error })
  })

const leads = (controller: TestController) => until('a leader', async () => controller.controller.leading)

test('the gateway with the fewest connections gets the lowest cost; other pods stay untouched', async () => {
  await setConnections({ 'gateway-a': 300, 'gateway-b': 20, 'gateway-c': 100 })
  const controller = start()
  await leads(controller)
  expect(await costs()).toEqual({})
  await setAbleToScale('ScaleDownStabilized')
  await untilCosts({ 'gateway-a': '3', 'gateway-b': '1', 'gateway-c': '2' })
  const { metadata } = await environment.client.get(podRef('gateway-b'))
  const managers = (metadata['managedFields'] as { manager: string }[]).map(({ manager }) => manager)
  expect(managers).toContain('parley-controller')
  await controller.stop()
  expect(controller.logged()).not.toContain('cannot write pod deletion costs')
})

test('costs are written once per scale-in', async () => {
  await setConnections({ 'gateway-a': 301, 'gateway-b': 21, 'gateway-c': 101 })
  const controller = start()
  await leads(controller)
  await setAbleToScale('ScaleDownStabilized')
  await untilCosts({ 'gateway-a': '3', 'gateway-b': '1', 'gateway-c': '2' })
  await setConnections({ 'gateway-a': 1, 'gateway-b': 22, 'gateway-c': 102 })
  // The same reason again is not a new scale-in: otherwise the costs of this moment would be written.
  await setAbleToScale('ScaleDownStabilized')
  await setConnections({ 'gateway-a': 302, 'gateway-b': 200, 'gateway-c': 103 })
  const later = { 'gateway-a': '3', 'gateway-b': '2', 'gateway-c': '1' }
  await until('the costs of the next time', async () => {
    // The watch may miss a reason that is set only for a moment.
    await setAbleToScale('SucceededRescale')
    await setAbleToScale('ScaleDownStabilized')
    return JSON.stringify(await costs()) === JSON.stringify(later)
  })
  // The costs are visible before the controller has the response and logs them. After the stop the log is
  // complete.
  await controller.stop()
  const lines = controller.logged().split('\n')
  const written = lines.flatMap((line) => /"costs":(\{".*?\})/.exec(line)?.[1] ?? [])
  expect(written).toEqual(['{"gateway-a":3,"gateway-b":1,"gateway-c":2}', '{"gateway-b":2,"gateway-c":1}'])
})

test('a standby writes nothing', async () => {
  await setConnections({ 'gateway-a': 303, 'gateway-b': 23, 'gateway-c': 104 })
  const renewTime = new Date().toISOString().replace('Z', '000Z')
  const spec = { holderIdentity: 'another', leaseDurationSeconds: 3_600, leaseTransitions: 1, renewTime }
  await until('the lease to be free', async () => {
    const found = await environment.client.find(leaseRef)
    return !found || !found['spec'].holderIdentity
  })
  if (await environment.client.find(leaseRef)) await environment.client.delete(leaseRef)
  const { apiVersion, kind, name } = leaseRef
  await environment.client.create({ apiVersion, kind, metadata: { name, namespace: 'chat' }, spec })
  const controller = start()
  await until('a warm standby', async () => controller.controller.unready().length === 0)
  // Each write changes the object, and the gauge shows that the watch has received it within the last second.
  await until(
    'the watch to receive the autoscaler',
    async () => {
      await setAbleToScale('ScaleDownStabilized')
      return (await controller.metrics.registry.metrics()).includes('kind="HorizontalPodAutoscaler"} 0')
    },
    { everyMs: 200 },
  )
  expect(controller.controller.leading).toBe(false)
  expect(await costs()).toEqual({})
  await environment.client.delete(leaseRef)
  await untilCosts({ 'gateway-a': '3', 'gateway-b': '1', 'gateway-c': '2' })
  await controller.stop()
})
