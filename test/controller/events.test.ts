import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ApiUnreachableError } from '../../src/kube/api-error.js'
import { Events } from '../../src/kube/events.js'
import type { Desired, EventFacts } from '../../src/kube/ports.js'
import { ApiObject } from '../../src/kube/object.js'
import { ManualTime } from '../../src/kube/time.testing.js'
import { createLog } from '../../src/log.js'

const log = createLog({ level: 'silent', name: 'test' })

interface Written extends Desired {
  readonly note: string
  readonly series?: { count: number; lastObservedTime: string }
}

let time: ManualTime
let written: Written[]
let dropped: number
let refuse: boolean
let hang: boolean
let events: Events

beforeEach(() => {
  time = new ManualTime()
  written = []
  dropped = 0
  refuse = false
  hang = false
  events = new Events({
    objects: {
      apply: async (_kind, desired) => {
        if (hang) await new Promise(() => {})
        if (refuse) throw new ApiUnreachableError('connect ECONNREFUSED')
        written.push(desired as Written)
        return tenant('x')
      },
    },
    reportingController: 'parley.chat/controller',
    reportingInstance: 'pod',
    clock: time,
    after: time.after,
    log,
    onDropped: () => (dropped += 1),
  })
})

afterEach(async () => {
  if (!hang) await events.close()
})

const tenant = (name: string, namespace: string | undefined = 'team-a') =>
  ApiObject.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatTenant',
    metadata: { name, namespace, uid: `uid-${name}`, resourceVersion: '1' },
  })
const facts = (message = 'no plan'): EventFacts => ({
  type: 'Warning',
  reason: 'PlanNotFound',
  message,
  action: 'Reconcile',
})
const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('P19: an equal event', () => {
  test('P19: increments the count, which is written at most every ten seconds', async () => {
    events.event(tenant('acme'), facts())
    await settled()
    for (let count = 1; count < 50; count += 1) events.event(tenant('acme'), facts())
    await settled()
    expect(written).toHaveLength(1)
    expect(written[0]).not.toHaveProperty('series')
    time.move(9_999)
    await settled()
    expect(written).toHaveLength(1)
    time.move(1)
    await settled()
    expect(written).toHaveLength(2)
    expect(written[1]).toMatchObject({
      metadata: { name: written[0]?.metadata.name, namespace: 'team-a' },
      series: { count: 50, lastObservedTime: '2026-01-01T00:00:00.000000Z' },
    })
    expect(dropped).toBe(0)
  })

  test('P19: after six minutes without one begins a new series', async () => {
    events.event(tenant('acme'), facts())
    time.move(360_000)
    events.event(tenant('acme'), facts())
    await settled()
    expect(new Set(written.map(({ metadata }) => metadata.name)).size).toBe(2)
  })

  test('P19: has the same object and the same message', async () => {
    events.event(tenant('acme'), facts())
    events.event(tenant('beta'), facts())
    events.event(tenant('acme'), facts('another plan'))
    await settled()
    expect(written).toHaveLength(3)
  })
})

test('P19: an object gets 25 events, then one every five minutes, without an effect on other objects', async () => {
  for (let count = 0; count < 40; count += 1) events.event(tenant('noisy'), facts(`number ${count}`))
  events.event(tenant('quiet'), facts())
  await settled()
  expect(written).toHaveLength(26)
  expect(dropped).toBe(15)
  time.move(300_000)
  events.event(tenant('noisy'), facts('later'))
  events.event(tenant('noisy'), facts('too soon'))
  await settled()
  expect(written).toHaveLength(27)
})

test('P19: series and budgets are removed from memory when they have ended', async () => {
  for (let count = 0; count < 100; count += 1) events.event(tenant(`tenant-${count}`), facts())
  expect(events.size).toBe(200)
  time.move(24 * 3_600_000)
  expect(events.size).toBe(0)
  expect(time.pending).toBe(0)
})

test('a message is cut to the server’s limit, between two characters', async () => {
  events.event(tenant('acme'), facts('ü'.repeat(600)))
  await settled()
  const [{ note } = { note: '' }] = written
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1_024)
  expect(note).toMatch(/^ü{510}…$/)
})

test('an event about a cluster-scoped object is in `default`', async () => {
  const plan = ApiObject.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatPlan',
    metadata: { name: 'gold', uid: 'u', resourceVersion: '1' },
  })
  events.event(plan, facts())
  await settled()
  expect(written[0]?.metadata.namespace).toBe('default')
})

test('an event that cannot be written is dropped and counted', async () => {
  refuse = true
  events.event(tenant('acme'), facts())
  await settled()
  expect(dropped).toBe(1)
})

test('close() writes the pending counts and leaves no timer', async () => {
  events.event(tenant('acme'), facts())
  await settled()
  events.event(tenant('acme'), facts())
  expect(time.delaysMs).toEqual([10_000, 360_000])
  await events.close()
  expect(written.map(({ series }) => series?.count)).toEqual([undefined, 2])
  expect(time.pending).toBe(0)
  events.event(tenant('acme'), facts('after the end'))
  await settled()
  expect(written).toHaveLength(2)
})

test('close() waits at most one second for a slow server', async () => {
  hang = true
  events.event(tenant('acme'), facts())
  let isClosed = false
  const closing = events.close().then(() => (isClosed = true))
  time.move(999)
  await settled()
  expect(isClosed).toBe(false)
  time.move(1)
  await closing
  expect(time.pending).toBe(0)
})
