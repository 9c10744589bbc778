// The embedded Redis loses pods under a crowd: its master, all of them with volumes, all of them without.
import { afterAll, describe, expect, test } from 'vitest'
import type { KubeObject } from '../support/kube-client.js'
import { kubectl } from './cluster.js'
import { Crowd } from './crowd.js'
import { figure, took } from './figures.js'
import {
  clear,
  expectPods,
  inside,
  install,
  kill,
  pods,
  removeAll,
  rolloutDeadlineMs,
  serviceUrl,
} from './installation.js'
import { makeTenants } from './tenants.js'
import { makeVolumes } from './volumes.js'

/** From the deletion on until every room is acknowledged again: what docs/install.md says of a failover. */
const pauseBarMs = 10_000

async function gather(persistence: () => Promise<object>): Promise<Crowd> {
  await clear()
  const redis = { embedded: { persistence: await persistence() } }
  await install({ values: [{ autoscaling: { provider: 'none' }, redis }] })
  const [url, tenants] = await Promise.all([serviceUrl(), makeTenants()])
  return Crowd.gather({ url, tenants, fans: 100, rooms: 3, publishesPerSecond: 30 })
}

async function isMaster({ metadata: { name } }: KubeObject): Promise<boolean> {
  const role = await kubectl([
    'exec',
    name,
    ...inside,
    '--container=redis',
    '--',
    'redis-cli',
    '--raw',
    'role',
  ])
  return role.startsWith('master')
}

/** Pods go at once, and come back. Until everybody is acknowledged again. */
async function strike(
  name: string,
  crowd: Crowd,
  victims: readonly KubeObject[],
  barMs?: number,
): Promise<void> {
  const sinceMs = performance.now()
  await Promise.all(victims.map(kill))
  await crowd.someAcksEach(10, rolloutDeadlineMs)
  const pause = { test: name, what: 'publishing paused', value: crowd.publishingPausedMs(sinceMs) } as const
  await figure({ ...pause, unit: 'ms', ...(barMs !== undefined && { bar: barMs }) })
  await expectPods('redis', 3, rolloutDeadlineMs)
  await took(name, 'three Redis ready', { sinceMs })
}

describe('with volumes', () => {
  let crowd: Crowd

  afterAll(async () => {
    crowd?.disperse()
    await removeAll()
  })

  test('the pod of the Redis master is deleted with grace 0', async ({ task }) => {
    crowd = await gather(makeVolumes)
    const all = await expectPods('redis', 3, rolloutDeadlineMs)
    const roles = await Promise.all(all.map(isMaster))
    const masters = all.filter((_, index) => roles[index])
    expect(masters).toHaveLength(1)
    await strike(task.name, crowd, masters, pauseBarMs)
    crowd.expectWhole()
  })

  test('all Redis pods are deleted at once: nothing acknowledged is lost', async ({ task }) => {
    crowd.forgetResumes()
    await strike(task.name, crowd, await pods('redis'))
    await crowd.resumed(120_000)
    expect(crowd.acked).toBeGreaterThan(0)
    await crowd.expectNothingLost()
    await figure({ test: task.name, what: 'messages acknowledged', value: crowd.acked })
  })
})

describe('without volumes', () => {
  let crowd: Crowd

  afterAll(async () => {
    crowd?.disperse()
    await removeAll()
  })

  test('all Redis pods are deleted at once: everybody is told, and the service resumes', async ({ task }) => {
    crowd = await gather(async () => ({ enabled: false }))
    await strike(task.name, crowd, await pods('redis'))
    await crowd.resumed(120_000)
    await crowd.someAcksEach(10, 120_000)
    // Who is in no room with a history is told nothing; all are in one.
    expect(crowd.told).toBe(crowd.size)
    crowd.expectWhole({ gapsMayBeTold: true })
    await figure({ test: task.name, what: 'clients told', value: crowd.told })
  })
})
