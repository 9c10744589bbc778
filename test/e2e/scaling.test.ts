// A thousand clients, and gateways that come and go beneath them by the HPA, a rollout, a kill and a drain. One story, told in this order.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { KubeObject } from '../support/kube-client.js'
import { eventually, get, kubectl } from './cluster.js'
import { Crowd } from './crowd.js'
import { figure, reportResumption, took } from './figures.js'
import {
  expectPods,
  freshInstall,
  inside,
  kill,
  pods,
  readyPods,
  release,
  removeAll,
  rolloutDeadlineMs,
  serviceUrl,
} from './installation.js'
import { makeTenants } from './tenants.js'

const most = 4
/** With the publishers some more, and for all of them four gateways: three would have more than 280 each. */
const fans = 1_000
/** One gateway is enough for them. */
const fansLeft = 200
const deployment = `deployment/${release}-gateway`
const balancedBarMs = 300_000

let crowd: Crowd

beforeAll(async () => {
  await freshInstall({
    autoscaling: { minReplicas: 1, maxReplicas: most, targetConnections: 280 },
  })
  const [url, tenants] = await Promise.all([serviceUrl(), makeTenants()])
  crowd = await Crowd.gather({ url, tenants, fans: 0, rooms: 10, publishesPerSecond: 50 })
})

afterAll(async () => {
  crowd?.disperse()
  await removeAll()
})

/** Of each ready gateway, as it says itself. */
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

/** What befalls the crowd must have befallen somebody, and all must be over it. */
async function expectCrowdResumed(name: string): Promise<void> {
  await crowd.someAcksEach(5, 120_000)
  await crowd.resumed(120_000)
  await reportResumption(name, crowd)
  crowd.expectWhole()
}

test('1,000 clients come: the HPA goes from 1 gateway to 4', async ({ task }) => {
  await expectPods('gateway', 1, rolloutDeadlineMs)
  const sinceMs = performance.now()
  await crowd.add(fans)
  await took(task.name, 'all in their rooms', { sinceMs })
  await expectPods('gateway', most, rolloutDeadlineMs)
  await took(task.name, 'four gateways ready', { sinceMs })
  crowd.expectWhole()
})

test('the fullest gateway comes down to 1.25 times the mean', async ({ task }) => {
  const sinceMs = performance.now()
  const fullest = async () => {
    const counts = await connections()
    expect(counts).toHaveLength(most)
    return (Math.max(...counts) * most) / counts.reduce((sum, one) => sum + one, 0)
  }
  await figure({
    test: task.name,
    what: 'fullest / mean before',
    value: Number((await fullest()).toFixed(2)),
  })
  await eventually('balanced gateways', async () => (await fullest()) < 1.25, balancedBarMs * 2)
  await took(task.name, 'balanced', { sinceMs, barMs: balancedBarMs })
  await reportResumption(task.name, crowd)
  crowd.expectWhole()
})

test('a rollout replaces all gateways under the crowd', async ({ task }) => {
  const before = new Set((await readyPods('gateway')).map(({ metadata }) => metadata.name))
  crowd.forgetResumes()
  const sinceMs = performance.now()
  await kubectl(['rollout', 'restart', deployment, ...inside])
  await kubectl(['rollout', 'status', deployment, ...inside, `--timeout=${rolloutDeadlineMs / 1_000}s`])
  const after = await expectPods('gateway', most, rolloutDeadlineMs)
  await took(task.name, 'all replaced', { sinceMs })
  expect(after.filter(({ metadata }) => before.has(metadata.name))).toEqual([])
  await expectCrowdResumed(task.name)
})

test('a gateway pod is deleted with grace 0', async ({ task }) => {
  const [first] = await expectPods('gateway', most, rolloutDeadlineMs)
  crowd.forgetResumes()
  await kill(first)
  await crowd.lostRooms(1, 60_000)
  await expectCrowdResumed(task.name)
  await expectPods('gateway', most, rolloutDeadlineMs)
})

test('a node is drained: the PDB lets one gateway go at a time', async ({ task }) => {
  const [first] = await expectPods('gateway', most, rolloutDeadlineMs)
  const node: string = first?.['spec'].nodeName
  const toGo = (await readyPods('gateway')).filter(({ spec }) => spec.nodeName === node)
  crowd.forgetResumes()
  const draining = kubectl([
    ...[
      'drain',
      node,
      `--pod-selector=app.kubernetes.io/instance=${release},app.kubernetes.io/component=gateway`,
    ],
    ...['--ignore-daemonsets', '--delete-emptydir-data', `--timeout=${rolloutDeadlineMs / 1_000}s`],
  ])
  let fewest = most
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
    // The drain goes on all the same; and where there is no other node, those that come need this one.
    await kubectl(['uncordon', node])
    await draining
  } finally {
    watching.abort()
    await Promise.allSettled([draining, watched])
    await kubectl(['uncordon', node])
  }
  const after = await expectPods('gateway', most, rolloutDeadlineMs)
  const gone = (pod: KubeObject) => !after.some(({ metadata }) => metadata.name === pod.metadata.name)
  expect(toGo.every(gone)).toBe(true)
  await figure({ test: task.name, what: 'fewest ready gateways', value: fewest })
  expect(fewest).toBeGreaterThanOrEqual(most - 1)
  await expectCrowdResumed(task.name)
})

test('Prometheus knows nothing of the gateways: nothing is scaled in', async () => {
  const annotate = async (change: string) =>
    kubectl([
      'annotate',
      'pods',
      '--overwrite',
      ...inside,
      '--selector=app.kubernetes.io/component=gateway',
      change,
    ])
  await annotate('prometheus.io/scrape-')
  const hpa = `hpa/${release}-gateway`
  const blind = async () =>
    (await get(hpa, ...inside))['status'].conditions.some(
      (one: { type: string; status: string }) => one.type === 'ScalingActive' && one.status === 'False',
    )
  try {
    await eventually('an HPA without its metric', blind, 300_000)
    crowd.leave(fansLeft)
    // Longer than the HPA would wait and take for the first two; nothing happening is what is to be seen.
    const untilMs = performance.now() + 150_000
    while (performance.now() < untilMs) {
      expect((await get(deployment, ...inside))['spec'].replicas).toBe(most)
      await sleep(5_000)
    }
  } finally {
    await annotate('prometheus.io/scrape=true')
  }
})

test('most clients have left: the HPA goes from 4 gateways to 1', async ({ task }) => {
  expect(await pods('gateway')).toHaveLength(most)
  crowd.forgetResumes()
  const sinceMs = performance.now()
  await expectPods('gateway', 1, 2 * rolloutDeadlineMs)
  await took(task.name, 'one gateway left', { sinceMs })
  await expectCrowdResumed(task.name)
})

test('over all of this, nothing that was acknowledged was lost', async ({ task }) => {
  await crowd.expectNothingLost()
  expect(crowd.acked).toBeGreaterThan(0)
  await figure({ test: task.name, what: 'messages acknowledged', value: crowd.acked })
})
