// Calls to a scripted API server that is slow, overloaded, silent or stopped.
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Agent } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NotLeadingError } from '../../src/kube/api-error.js'
import { KubeConfigTarget, loadKubeConfig } from '../../src/kube/api-target.js'
import { userAgentOf } from '../../src/kube/api-transport.js'
import { KubeObjectApi } from '../../src/kube/object-api.js'
import { ScriptedKube, thing, things, type Exchange } from '../support/kube-scripted.js'
import { within } from '../support/waiting.js'

let kube: ScriptedKube
let folder: string
/** The delay before every retry. The pause ends immediately. */
let delaysMs: number[]

beforeEach(async () => {
  kube = await ScriptedKube.start()
  folder = await mkdtemp(join(tmpdir(), 'parley-transport-'))
  delaysMs = []
})

afterEach(async () => {
  await kube.stop()
  await rm(folder, { recursive: true, force: true })
})

const pause = async (ms: number) => void delaysMs.push(ms)
const objects = (options: Parameters<ScriptedKube['transport']>[0] = {}) =>
  new KubeObjectApi(kube.transport({ pause, ...options }))
const found = (exchange: Exchange) => exchange.json(200, thing('a'))
const metadata = { name: 'a', namespace: 'default' }

test('P1: the client library is pinned to a version that runs on the oldest supported Node', async () => {
  const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
  expect(manifest.engines.node).toBe('>=20.19')
  // Version 2 fails at its import on Node 20.
  expect(manifest.dependencies['@kubernetes/client-node']).toBe('1.4.0')
  const { KubeConfig } = await import('@kubernetes/client-node')
  expect(new KubeConfig()).toHaveProperty('loadFromDefault')
})

describe('P2: sockets, deadlines, retries and the load on the server', () => {
  test('P2: two hundred calls, in sequence or four at a time, share connections', async () => {
    kube.always('get', found)
    const api = objects()
    for (let call = 0; call < 200; call += 1) await api.get(things, metadata)
    expect(kube.connections).toBe(1)
    await Promise.all(Array.from({ length: 200 }, () => api.get(things, metadata)))
    expect(kube.connections).toBeLessThanOrEqual(8)
    await expect.poll(() => kube.openConnections, { timeout: 20_000 }).toBe(1)
  })

  test('P2: a call to a server that never responds ends at its deadline', async () => {
    const api = objects({ attemptMs: 200 })
    const error = await api.get(things, metadata).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      name: 'ApiUnreachableError',
      message: expect.stringContaining('no response within 200 ms'),
    })
    // A busy machine may not have sent all five attempts in time.
    expect(kube.count('get'), 'a read is retried').toBeGreaterThan(1)
    expect(kube.count('get')).toBeLessThanOrEqual(5)
    await expect.poll(() => kube.openConnections, { timeout: 20_000 }).toBe(0)
  })

  test('P2: a response that stops in the middle ends at the deadline too', async () => {
    kube.always(
      'get',
      ({ response }) => void response.writeHead(200, { 'content-length': '100' }).write('{"meta'),
    )
    await expect(objects({ attemptMs: 30 }).get(things, metadata)).rejects.toMatchObject({
      name: 'ApiUnreachableError',
    })
  })

  test('P2: the whole call has its own deadline', async () => {
    const call = kube.transport({ pause }).call({ method: 'GET', path: '/apis/x', deadlineMs: 40 })
    await expect(call).rejects.toMatchObject({ message: 'GET /apis/x: no response within 40 ms' })
  })

  test('P2: an unthrottled call leaves a hanging connection after half of its deadline', async () => {
    const unthrottled = new KubeObjectApi(kube.transport({ pause }), { unthrottled: { deadlineMs: 4_000 } })
    kube.script('get', () => {}, found)
    await unthrottled.get(things, metadata)
    expect(kube.connections).toBe(2)
  })

  test('P2: Retry-After of a 429 is honoured', async () => {
    kube.script('get', (exchange) => exchange.status(429, 'TooManyRequests', { 'retry-after': '7' }), found)
    await objects().get(things, metadata)
    expect(delaysMs).toEqual([7_000])
  })

  test('P2: a Retry-After beyond the deadline is left to the caller', async () => {
    kube.always('get', (exchange) => exchange.status(429, 'TooManyRequests', { 'retry-after': '60' }))
    await expect(objects().get(things, metadata)).rejects.toMatchObject({
      reason: 'TooManyRequests',
      retryAfterMs: 60_000,
    })
    expect(delaysMs).toEqual([])
  })

  test('P2: 5xx and broken connections are retried up to five attempts, with growing delays', async () => {
    const answers = [503, 500, 502, 504].map(
      (code) => (exchange: Exchange) => exchange.status(code, 'Broken'),
    )
    kube.script('get', ...answers, found)
    await objects().get(things, metadata)
    expect(delaysMs).toHaveLength(4)
    delaysMs.forEach((ms, index) => {
      expect(ms).toBeGreaterThanOrEqual(50 * 2 ** index)
      expect(ms).toBeLessThan(150 * 2 ** index)
    })
    kube.script('get', (exchange) => exchange.cut(), found)
    await objects().get(things, metadata)
    kube.always('get', (exchange) => exchange.status(500, 'InternalError'))
    await expect(objects().get(things, metadata)).rejects.toMatchObject({ code: 500 })
    expect(kube.count('get')).toBe(5 + 2 + 5)
  })

  test('P2: a create without a response is not retried, because it may have happened', async () => {
    kube.script('write', (exchange) => exchange.cut())
    await expect(objects().create(things, { metadata })).rejects.toMatchObject({
      name: 'ApiUnreachableError',
    })
    kube.script('write', (exchange) => exchange.status(500, 'InternalError'))
    await expect(objects().create(things, { metadata })).rejects.toMatchObject({ code: 500 })
    expect(kube.count('write')).toBe(2)
    // With Retry-After the server says that it did nothing.
    kube.script(
      'write',
      (exchange) => exchange.status(503, 'ServiceUnavailable', { 'retry-after': '1' }),
      found,
    )
    await objects().create(things, { metadata })
    expect(delaysMs).toEqual([1_000])
  })

  test('P2: refused calls are not retried', async () => {
    for (const [code, reason] of [
      [403, 'Forbidden'],
      [404, 'NotFound'],
      [409, 'Conflict'],
      [422, 'Invalid'],
    ] as const) {
      kube.script('write', (exchange) => exchange.status(code, reason))
      await expect(objects().apply(things, { metadata })).rejects.toMatchObject({ code, reason })
    }
    expect(kube.count('write')).toBe(4)
  })

  test('P2: an unthrottled call does not wait behind hanging calls', async () => {
    const transport = kube.transport({ pause })
    const stuck = Array.from({ length: 20 }, () => new KubeObjectApi(transport).get(things, metadata))
    const ended = Promise.allSettled(stuck)
    for (let call = 0; call < 4; call += 1) await kube.held.next()
    kube.always('get', found)
    const unthrottled = new KubeObjectApi(transport, { unthrottled: { deadlineMs: 20_000 } })
    await within('the unthrottled call', unthrottled.get(things, metadata))
    expect(kube.count('get'), 'four of the hanging calls and the unthrottled one').toBe(5)
    await kube.stop()
    await ended
    kube = await ScriptedKube.start()
  })
})

test('P7: a missing token file fails the call, and only that call', async () => {
  const user = { authProvider: { name: 'tokenFile', config: { tokenFile: join(folder, 'token') } } }
  const target = new KubeConfigTarget(() => kube.kubeConfig(user))
  const api = objects({ target })
  kube.always('get', found)
  await expect(api.get(things, metadata)).rejects.toMatchObject({
    name: 'ApiUnreachableError',
    message: expect.stringMatching(/^credentials: ENOENT/),
  })
  await writeFile(join(folder, 'token'), 'first\n')
  await api.get(things, metadata)
  expect(kube.requests.at(-1)?.headers.authorization).toBe('Bearer first')
})

test('P7: rejected credentials are reloaded, once per call', async () => {
  const file = join(folder, 'token')
  const user = { authProvider: { name: 'tokenFile', config: { tokenFile: file } } }
  await writeFile(file, 'first')
  const api = objects({ target: new KubeConfigTarget(() => kube.kubeConfig(user)) })
  kube.script(
    'get',
    (exchange) => {
      writeFileSync(file, 'second')
      exchange.status(401, 'Unauthorized')
    },
    found,
  )
  await api.get(things, metadata)
  expect(kube.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer first', 'Bearer second'])
  kube.always('get', (exchange) => exchange.status(401, 'Unauthorized'))
  await expect(api.get(things, metadata)).rejects.toMatchObject({ reason: 'Unauthorized' })
  expect(kube.count('get')).toBe(4)
})

describe('P12: an error response', () => {
  const errorOf = async (answer: (exchange: Exchange) => void) => {
    kube.script('get', answer)
    return objects()
      .get(things, metadata)
      .catch((error: unknown) => error)
  }

  test('P12: is parsed with its reason, causes and retry delay', async () => {
    const status = {
      kind: 'Status',
      message: 'nope',
      reason: 'Invalid',
      code: 422,
      details: {
        retryAfterSeconds: 3,
        causes: [{ reason: 'FieldValueInvalid', field: 'spec.x', message: 'bad' }],
      },
    }
    expect(await errorOf((exchange) => exchange.json(422, status))).toMatchObject({
      name: 'ApiError',
      message: 'nope',
      reason: 'Invalid',
      code: 422,
      retryAfterMs: 3_000,
      causes: [{ field: 'spec.x' }],
    })
  })

  test('P12: of a proxy gets the reason of its HTTP status', async () => {
    expect(await errorOf(({ response }) => response.writeHead(404).end('<html>not\n here'))).toMatchObject({
      reason: 'NotFound',
      message: 'status 404: <html>not here',
    })
    expect(await errorOf(({ response }) => response.writeHead(418).end())).toMatchObject({
      reason: 'Unknown',
    })
  })

  test('P12: is not mistaken for an object when a proxy responds 200 with an HTML page', async () => {
    kube.always('get', ({ response }) => response.writeHead(200).end('<html>'))
    await expect(objects().get(things, metadata)).rejects.toMatchObject({ name: 'ApiUnreachableError' })
  })
})

test('P13: an apply has its content type, field manager and resource', async () => {
  kube.always('write', found)
  const api = objects()
  await api.apply(things, { metadata: { ...metadata, labels: { a: 'b' } }, spec: { x: 1 } })
  await api.applyStatus(things, {
    metadata: { ...metadata, labels: { a: 'b' } },
    spec: 'ignored',
    status: { y: 2 },
  })
  const [main, status] = kube.requests
  expect(main).toMatchObject({
    method: 'PATCH',
    path: '/apis/parley.chat/v1alpha1/namespaces/default/things/a',
  })
  expect(status?.path).toBe(`${main?.path}/status`)
  for (const { headers, query } of kube.requests) {
    expect(headers['content-type']).toBe('application/apply-patch+yaml')
    expect(Object.fromEntries(query)).toEqual({ fieldManager: 'example-controller', force: 'true' })
  }
  const identity = { apiVersion: 'parley.chat/v1alpha1', kind: 'Thing' }
  expect(JSON.parse(main?.body ?? '')).toEqual({
    ...identity,
    metadata: { ...metadata, labels: { a: 'b' } },
    spec: { x: 1 },
  })
  expect(JSON.parse(status?.body ?? '')).toEqual({ ...identity, metadata, status: { y: 2 } })
})

describe('P16: the guard of writes', () => {
  test('P16: is called before each attempt, so that a retry after the loss is refused', async () => {
    let leads = true
    const guard = () => {
      if (!leads) throw new NotLeadingError('lost')
    }
    const api = new KubeObjectApi(kube.transport({ pause }), { guard })
    kube.script('write', (exchange) => {
      leads = false
      exchange.status(503, 'ServiceUnavailable')
    })
    await expect(api.apply(things, { metadata })).rejects.toBeInstanceOf(NotLeadingError)
    await expect(api.delete(things, metadata)).rejects.toBeInstanceOf(NotLeadingError)
    await expect(api.create(things, { metadata })).rejects.toBeInstanceOf(NotLeadingError)
    await expect(api.update(things, { metadata })).rejects.toBeInstanceOf(NotLeadingError)
    expect(kube.count('write')).toBe(1)
    kube.script('get', found)
    await api.get(things, metadata)
  })

  test('P16: is called after the credentials were read, not before', async () => {
    let leads = true
    const real = new KubeConfigTarget(() => kube.kubeConfig())
    const access = () => {
      leads = false
      return real.access()
    }
    const target = { url: real.url, access, reloadCredentials: () => {}, close: () => {} }
    const guard = () => {
      if (!leads) throw new NotLeadingError('lost')
    }
    await expect(
      new KubeObjectApi(kube.transport({ target }), { guard }).apply(things, { metadata }),
    ).rejects.toBeInstanceOf(NotLeadingError)
    expect(kube.requests).toEqual([])
  })
})

test('P21: two kubeconfigs with the same user name do not share credentials', async () => {
  kube.always('get', found)
  for (const cluster of ['one', 'two']) {
    const script = join(folder, `${cluster}.sh`)
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: cluster, expirationTimestamp: '2999-01-01T00:00:00Z' },
    }
    await writeFile(script, `echo '${JSON.stringify(credential)}'`)
    const config = {
      clusters: [{ name: 'c', cluster: { server: kube.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'same', user: { exec: { command: 'sh', args: [script] } } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'same' } }],
      'current-context': 'x',
    }
    await writeFile(join(folder, cluster), JSON.stringify(config))
  }
  const of = (cluster: string) =>
    objects({ target: new KubeConfigTarget(() => loadKubeConfig({ path: join(folder, cluster) })) })
  const [one, two] = [of('one'), of('two')]
  for (const api of [one, two, one, two]) await api.get(things, metadata)
  expect(kube.requests.map(({ headers }) => headers.authorization)).toEqual(
    ['one', 'two', 'one', 'two'].map((token) => `Bearer ${token}`),
  )
})

test('P23: every call has the user agent', async () => {
  kube.always('get', found)
  const transport = kube.transport({
    userAgent: userAgentOf({ name: 'example-controller', version: '1.2.3' }),
  })
  await new KubeObjectApi(transport).get(things, metadata)
  const watch = await transport.openWatch(
    { method: 'GET', path: '/apis/x/things?watch=true' },
    AbortSignal.timeout(20_000),
  )
  watch.destroy()
  for (const { headers } of kube.requests) {
    expect(headers['user-agent']).toMatch(/^example-controller\/1\.2\.3 \(\w+\/\w+\) node\/\d+\.\d+\.\d+$/)
  }
  expect(kube.requests).toHaveLength(2)
})

test('P23: every response is counted, and every missing one', async () => {
  const responses: string[] = []
  const api = objects({ onResponse: (method, code) => responses.push(`${method} ${code}`) })
  kube.script(
    'write',
    (exchange) => exchange.cut(),
    (exchange) => exchange.status(404, 'NotFound'),
  )
  await api.delete(things, metadata, { uid: 'u' }).catch(() => {})
  expect(responses).toEqual(['DELETE <error>', 'DELETE 404'])
  expect(JSON.parse(kube.requests[0]?.body ?? '')).toMatchObject({ preconditions: { uid: 'u' } })
})

describe('a kubeconfig', () => {
  test('whose certificate is rotated on disk gets new connections from then on, not before', async () => {
    const file = join(folder, 'ca.crt')
    await writeFile(file, 'one')
    const load = () => {
      const config = kube.kubeConfig()
      config.clusters = [{ name: 'c', server: 'https://127.0.0.1:6443', skipTLSVerify: false, caFile: file }]
      config.contexts = [{ name: config.getCurrentContext(), cluster: 'c', user: 'tester' }]
      return config
    }
    const target = new KubeConfigTarget(load)
    const before = await target.access()
    expect((await target.access()).callAgent).toBe(before.callAgent)
    expect((before.callAgent as Agent).options).toMatchObject({ ca: Buffer.from('one'), keepAlive: true })
    await writeFile(file, 'two')
    const after = await target.access()
    expect(after.callAgent).not.toBe(before.callAgent)
    expect(after.watchAgent).not.toBe(before.watchAgent)
    expect((after.callAgent as Agent).options).toMatchObject({ ca: Buffer.from('two') })
    expect(before.callAgent.maxFreeSockets, 'the old sockets close when their calls end').toBe(0)
  })

  test('that does not exist or names no cluster fails with a clear message', async () => {
    expect(() => loadKubeConfig({ path: join(folder, 'none') })).toThrow(
      /^The kubeconfig cannot be read: ENOENT/,
    )
    const empty = join(folder, 'empty')
    await writeFile(empty, '{}')
    expect(() => loadKubeConfig({ path: empty })).toThrow(/^No Kubernetes cluster/)
  })
})
