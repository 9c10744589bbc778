// The Kubernetes client parts against a real kube-apiserver. The other files use a scripted one.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { isApiError } from '../../src/kube/api-error.js'
import { KubeConfigTarget, loadKubeConfig } from '../../src/kube/api-target.js'
import { ApiTransport } from '../../src/kube/api-transport.js'
import { conditionsOf } from '../../src/kube/conditions.js'
import { Events } from '../../src/kube/events.js'
import type { ObjectChange } from '../../src/kube/ports.js'
import { LeaseElector, leaseKind } from '../../src/kube/lease.js'
import { KubeObjectApi } from '../../src/kube/object-api.js'
import type { ApiObject, ResourceKind } from '../../src/kube/object.js'
import { Reflector } from '../../src/kube/reflector.js'
import { createLog } from '../../src/log.js'
import { systemAfter, systemClock } from '../../src/time.js'
import { KubeServer, kubeStartMsMax } from '../support/kube-apiserver.js'
import { Arrivals, within } from '../support/waiting.js'

const log = createLog({ level: 'silent', name: 'test' })
const core = (kind: string, plural: string): ResourceKind => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced: true,
})
const configMaps = core('ConfigMap', 'configmaps')
const secrets = core('Secret', 'secrets')
const services = core('Service', 'services')
const namespace = 'default'

let server: KubeServer
let transport: ApiTransport
let objects: KubeObjectApi
let calls: string[]
let ending: AbortController
let running: Promise<unknown>[]

beforeAll(async () => {
  server = await KubeServer.start()
  const target = new KubeConfigTarget(() => loadKubeConfig({ path: server.kubeconfig }))
  transport = new ApiTransport({
    target,
    userAgent: 'test',
    fieldManager: 'parley-controller',
    onResponse: (method, code) => calls.push(`${method} ${code}`),
  })
  objects = new KubeObjectApi(transport)
  ending = new AbortController()
  running = []
}, kubeStartMsMax)

afterEach(async () => {
  ending.abort()
  await within('everything to end', Promise.all(running))
  ending = new AbortController()
  running = []
})

afterAll(() => server?.stop())

calls = []

/** Runs a reflector until the test ends, and records its changes. */
function follow(kind: ResourceKind, options: { labelSelector?: string } = {}) {
  const changes = new Arrivals<ObjectChange>('a change')
  const reflector = new Reflector({ transport, kind, namespace, log, ...options })
  reflector.cache.onChange((change) => changes.push(change))
  running.push(reflector.run(ending.signal))
  return { reflector, changes, cache: reflector.cache }
}

const versionOf = (object: ApiObject | undefined) => object?.metadata.resourceVersion

describe('a reflector', () => {
  test('reports created, changed, deleted and recreated objects', async () => {
    const { cache, changes } = follow(configMaps, { labelSelector: 'suite=life' })
    await cache.whenSynced(AbortSignal.timeout(20_000))
    expect(cache.size).toBe(0)

    const metadata = { name: 'life', namespace, labels: { suite: 'life' } }
    const first = await objects.create(configMaps, { metadata, data: { a: '1' } })
    expect(await changes.next()).toMatchObject({ key: 'default/life', current: { data: { a: '1' } } })
    await objects.apply(configMaps, { metadata, data: { a: '2' } })
    expect(await changes.next()).toMatchObject({
      previous: { data: { a: '1' } },
      current: { data: { a: '2' } },
    })
    await objects.delete(configMaps, metadata, { uid: first.metadata.uid })
    expect(await changes.next()).toMatchObject({
      previous: { metadata: { uid: first.metadata.uid } },
    })
    expect(cache.get('default/life')).toBeUndefined()
    const second = await objects.create(configMaps, { metadata })
    expect(await changes.next()).toMatchObject({
      current: { metadata: { uid: second.metadata.uid } },
    })
    expect(second.metadata.uid).not.toBe(first.metadata.uid)
  })

  test('reads a list of many pages completely', async () => {
    const names = Array.from({ length: 1_203 }, (_, index) => `page-${index}`)
    const unthrottled = new ApiTransport({
      target: new KubeConfigTarget(() => loadKubeConfig({ path: server.kubeconfig })),
      userAgent: 'test',
      fieldManager: 'parley-controller',
      perSecond: 10_000,
      burst: 10_000,
    })
    const many = new KubeObjectApi(unthrottled)
    const labels = { suite: 'pages' }
    await Promise.all(names.map((name) => many.create(configMaps, { metadata: { name, namespace, labels } })))
    const { cache } = follow(configMaps, { labelSelector: 'suite=pages' })
    await cache.whenSynced(AbortSignal.timeout(20_000))
    expect(cache.size).toBe(names.length)
  })

  test('continues after the API server was killed and restarted', async () => {
    const metadata = { name: 'outage', namespace, labels: { suite: 'outage' } }
    await objects.create(configMaps, { metadata, data: { a: '1' } })
    const { cache, changes, reflector } = follow(configMaps, { labelSelector: 'suite=outage' })
    await changes.next()
    await server.killApiServer()
    await expect.poll(() => reflector.unavailableReason, { timeout: 20_000 }).toMatch(/ConfigMap: /)
    expect(cache.synced, 'the stale cache is still usable').toBe(true)
    expect(cache.size).toBe(1)
    await server.startApiServer()
    await objects.apply(configMaps, { metadata, data: { a: '2' } })
    await within(
      'the change after the outage',
      changes.next(({ current }) => current?.['data'] !== undefined),
      60_000,
    )
    expect(cache.get('default/outage')).toMatchObject({ data: { a: '2' } })
    await expect.poll(() => reflector.unavailableReason).toBeUndefined()
  }, 120_000)

  test('P18: the server sends only the Secrets that the label selector matches', async () => {
    const metadata = { name: 'secret', namespace, labels: { suite: 'secret' } }
    const { cache, changes } = follow(secrets, { labelSelector: 'suite=secret' })
    await cache.whenSynced(AbortSignal.timeout(20_000))
    const foreign = { name: 'foreign-secret', namespace }
    await objects.apply(secrets, { metadata: foreign, data: { key: 'c2VjcmV0' } })
    await objects.apply(secrets, { metadata, data: { key: 'aGVsbG8=' } })
    const { current } = await changes.next()
    expect(current).toMatchObject({
      kind: 'Secret',
      metadata: { name: 'secret', labels: { suite: 'secret' } },
    })
    expect([...cache.list()].map(({ metadata: { name } }) => name)).toEqual(['secret'])
    expect(await objects.get(secrets, foreign)).toMatchObject({ data: { key: 'c2VjcmV0' } })
  })
})

describe('server-side apply', () => {
  const metadata = { name: 'applied', namespace, labels: { app: 'parley' } }

  test('P13: nothing is sent when everything is applied already', async () => {
    const desired = { metadata, data: { a: '1', b: '2' } }
    const stored = await objects.apply(configMaps, desired)
    calls = []
    const read = await objects.get(configMaps, metadata)
    expect(await objects.apply(configMaps, desired, { known: read })).toBe(read)
    expect(calls).toEqual(['GET 200'])
    // When it is sent anyway, the server sees that nothing changes.
    expect(versionOf(await objects.apply(configMaps, desired))).toBe(versionOf(stored))
  })

  test('fields that are left out are removed, and fields of other managers stay', async () => {
    const client = server.client
    await objects.apply(configMaps, { metadata, data: { a: '1', b: '2' } })
    await client.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { c: '3' } })
    const known = await objects.get(configMaps, metadata)
    const after = await objects.apply(configMaps, { metadata, data: { a: '1' } }, { known })
    expect(after['data']).toEqual({ a: '1', c: '3' })
  })

  test('drift of an owned field is repaired', async () => {
    await objects.apply(configMaps, { metadata, data: { a: '1' } })
    const ref = { apiVersion: 'v1', kind: 'ConfigMap', ...metadata }
    await server.client.patch(ref, { data: { a: 'drifted' } })
    const known = await objects.get(configMaps, metadata)
    expect(await objects.apply(configMaps, { metadata, data: { a: '1' } }, { known })).toMatchObject({
      data: { a: '1' },
    })
  })

  test('status is applied through its subresource, once', async () => {
    const service = {
      metadata: { name: 'status', namespace },
      spec: { ports: [{ port: 80, protocol: 'TCP' }] },
    }
    const stored = await objects.apply(services, service)
    const conditions = conditionsOf(
      [
        { type: 'Ready', status: 'True', reason: 'Works', message: 'it works' },
        { type: 'Accepted', status: 'True', reason: 'Works', message: '' },
      ],
      { previous: [], generation: 1, epochMs: systemClock.epochMs() },
    )
    const desired = { metadata: service.metadata, status: { conditions } }
    const known = await objects.applyStatus(services, desired, { known: stored })
    expect(known).toMatchObject({ status: { conditions } })
    calls = []
    expect(await objects.applyStatus(services, desired, { known })).toBe(known)
    expect(await objects.apply(services, service, { known })).toBe(known)
    expect(calls).toEqual([])
    const fewer = { metadata: service.metadata, status: { conditions: conditions.slice(0, 1) } }
    const after = await objects.applyStatus(services, fewer, { known })
    expect(after).toMatchObject({ status: { conditions: conditions.slice(0, 1) } })
  })

  test('owner references do not cause a write each time', async () => {
    const owner = await objects.apply(configMaps, { metadata: { name: 'owner', namespace } })
    const { name, uid } = owner.metadata
    const reference = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name,
      uid,
      controller: true,
      blockOwnerDeletion: false,
    }
    const desired = {
      metadata: { name: 'owned', namespace, ownerReferences: [reference] },
      type: 'Opaque',
      data: {},
    }
    const known = await objects.apply(secrets, desired)
    expect(await objects.apply(secrets, desired, { known })).toBe(known)
  })

  test('the uid of a deleted object is a Conflict', async () => {
    const gone = { metadata: { ...metadata, uid: '00000000-0000-0000-0000-000000000000' } }
    await expect(objects.apply(configMaps, gone)).rejects.toMatchObject({ reason: 'Conflict', code: 409 })
  })

  test('P12: a refusal by the server has a reason and names the fields', async () => {
    const wrong = { metadata: { name: 'wrong', namespace }, spec: { ports: [{ port: 0, protocol: 'TCP' }] } }
    const error = await objects.apply(services, wrong).catch((refused: unknown) => refused)
    expect(isApiError(error, 'Invalid')).toBe(true)
    expect(error).toMatchObject({ code: 422, causes: [{ field: 'spec.ports[0].port' }, {}] })
    await expect(objects.get(services, { name: 'none', namespace })).rejects.toMatchObject({
      reason: 'NotFound',
    })
    await expect(
      objects.create(configMaps, { metadata: { name: 'applied', namespace } }),
    ).rejects.toMatchObject({
      reason: 'AlreadyExists',
    })
  })
})

describe('a lease', () => {
  const elector = (identity: string, name: string, signal: AbortSignal) => {
    const led = new Arrivals<string>(`${identity} to lead`)
    const lost = new Arrivals<string>(`${identity} to lose`)
    const candidate: LeaseElector = new LeaseElector({
      objects: new KubeObjectApi(transport, { unthrottled: { deadlineMs: 5_000 } }),
      name: { name, namespace },
      identity,
      clock: systemClock,
      log,
      onLeading: () => led.push(identity),
      onLost: (reason) => lost.push(reason),
    })
    const run = candidate.run(signal)
    running.push(run)
    return { candidate, led, lost, run }
  }

  test('is handed over: the standby leads as soon as the leader stops, with a higher term', async () => {
    const stop = new AbortController()
    const first = elector('first', 'handed-over', stop.signal)
    await first.led.next()
    const second = elector('second', 'handed-over', ending.signal)
    const lease = await objects.get(leaseKind, { name: 'handed-over', namespace })
    expect(lease).toMatchObject({ spec: { holderIdentity: 'first', leaseTransitions: first.candidate.term } })
    expect(second.candidate.leading).toBe(false)
    stop.abort()
    await first.run
    expect(() => first.candidate.assertLeading()).toThrow('not held')
    // The requirement is three seconds; the deadline leaves room for a slow machine.
    await within('the standby to lead', second.led.next(), 15_000)
    expect(second.candidate.term).toBe(first.candidate.term + 1)
    expect(first.lost.waiting).toEqual([])
  })

  test('that another process has taken ends the leadership', async () => {
    const { candidate, led, lost } = elector('taken', 'taken', ending.signal)
    await led.next()
    const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', name: 'taken', namespace }
    await server.client.patch(ref, {
      spec: { holderIdentity: 'another', leaseTransitions: candidate.term + 1 },
    })
    expect(await lost.next()).toBe('another holds the lease now')
    expect(candidate.leading).toBe(false)
  })

  test('that was deleted and created again has a higher term than before', async () => {
    const { candidate, led, lost } = elector('before', 'deleted', ending.signal)
    await led.next()
    await objects.delete(leaseKind, { name: 'deleted', namespace })
    await lost.next()
    // The term of a new lease is a number of seconds.
    await expect
      .poll(() => Date.now() / 1000, { timeout: 5_000 })
      .toBeGreaterThan(Math.ceil(Date.now() / 1000))
    const next = elector('after', 'deleted', ending.signal)
    await next.led.next()
    expect(next.candidate.term).toBeGreaterThan(candidate.term)
  })
})

test('P19: Events are written to the events.k8s.io API, and repetitions become a series', async () => {
  const owner = await objects.apply(configMaps, { metadata: { name: 'regarded', namespace } })
  const events = new Events({
    objects,
    reportingController: 'parley.chat/controller',
    reportingInstance: 'test',
    clock: systemClock,
    after: systemAfter,
    log,
  })
  const facts = { type: 'Warning', reason: 'PlanNotFound', message: 'no plan', action: 'Reconcile' } as const
  events.event(owner, facts)
  events.event(owner, facts)
  events.event(owner, facts)
  await events.close()
  const query = `fieldSelector=regarding.uid=${owner.metadata.uid}`
  // close() waits at most a second for pending writes.
  const list = () => server.client.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event', namespace }, query)
  await expect.poll(async () => (await list())[0]?.['series']?.count).toBe(3)
  const listed = await list()
  expect(listed).toHaveLength(1)
  expect(listed[0]).toMatchObject({
    type: 'Warning',
    reason: 'PlanNotFound',
    note: 'no plan',
    regarding: { kind: 'ConfigMap', name: 'regarded' },
    series: { count: 3 },
  })
})
