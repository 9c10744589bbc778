// The embedded Redis loses pods while clients are connected: its master, all pods with volumes, and all pods
// without volumes.
import { afterAll, describe, expect, test } from 'vitest'
import type { KubeObject } from '../support/kube-client.js'
import { kubectl } from './cluster.js'
import { ClientGroup } from './client-group.js'
import { recordMeasurement, recordDuration } from './measurements.js'
import {
  resetNamespaces,
  expectPods,
  inNamespace,
  install,
  killPod,
  pods,
  uninstallAll,
  rolloutDeadlineMs,
  serviceUrl,
} from './installation.js'
import { createTenants } from './tenants.js'
import { createVolumes } from './volumes.js'

/**
 * Target for the time from the deletion to acknowledgements in every room, as documented in docs/install.md.
 */
const pauseTargetMs = 10_000

async function connectClients(persistence: () => Promise<object>): Promise<ClientGroup> {
  await resetNamespaces()
  const redis = { embedded: { persistence: await persistence() } }
  await install({ values: [{ autoscaling: { provider: 'none' }, redis }] })
  const [url, tenants] = await Promise.all([serviceUrl(), createTenants()])
  return ClientGroup.connect({ url, tenants, clients: 100, rooms: 3, publishesPerSecond: 30 })
}

async function isMaster({ metadata: { name } }: KubeObject): Promise<boolean> {
  const role = await kubectl([
    'exec',
    name,
    ...inNamespace,
    '--container=redis',
    '--',
    'redis-cli',
    '--raw',
    'role',
  ])
  return role.startsWith('master')
}

/**
 * Kills pods. Resolves when every room has acknowledgements again and all pods are ready. Records the times.
 */
async function killRedisPods(
  name: string,
  group: ClientGroup,
  targets: readonly KubeObject[],
  targetMs?: number,
): Promise<void> {
  const sinceMs = performance.now()
  await Promise.all(targets.map(killPod))
  await group.waitForAcksInEachRoom(10, rolloutDeadlineMs)
  const pause = { test: name, what: 'publishing paused', value: group.publishingPausedMs(sinceMs) } as const
  await recordMeasurement({ ...pause, unit: 'ms', ...(targetMs !== undefined && { target: targetMs }) })
  await expectPods('redis', 3, rolloutDeadlineMs)
  await recordDuration(name, 'three Redis ready', { sinceMs })
}

describe('with volumes', () => {
  let group: ClientGroup

  afterAll(async () => {
    group?.close()
    await uninstallAll()
  })

  test('the pod of the Redis master is deleted with grace period 0', async ({ task }) => {
    group = await connectClients(createVolumes)
    const all = await expectPods('redis', 3, rolloutDeadlineMs)
    const roles = await Promise.all(all.map(isMaster))
    const masters = all.filter((_, index) => roles[index])
    expect(masters).toHaveLength(1)
    await killRedisPods(task.name, group, masters, pauseTargetMs)
    group.expectNoViolations()
  })

  test('all Redis pods are deleted at once: nothing acknowledged is lost', async ({ task }) => {
    group.resetResumption()
    await killRedisPods(task.name, group, await pods('redis'))
    await group.waitForResumption(120_000)
    expect(group.acked).toBeGreaterThan(0)
    await group.expectNothingLost()
    await recordMeasurement({ test: task.name, what: 'messages acknowledged', value: group.acked })
  })
})

describe('without volumes', () => {
  let group: ClientGroup

  afterAll(async () => {
    group?.close()
    await uninstallAll()
  })

  test('all Redis pods are deleted at once: every client is notified, and the service resumes', async ({
    task,
  }) => {
    group = await connectClients(async () => ({ enabled: false }))
    await killRedisPods(task.name, group, await pods('redis'))
    await group.waitForResumption(120_000)
    await group.waitForAcksInEachRoom(10, 120_000)
    // Every client is in a room with history, so every client is notified.
    expect(group.notifiedOfGap).toBe(group.size)
    group.expectNoViolations({ allowGaps: true })
    await recordMeasurement({ test: task.name, what: 'clients notified', value: group.notifiedOfGap })
  })
})
